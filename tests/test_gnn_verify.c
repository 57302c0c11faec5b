/* test_gnn_verify.c: layers against recordings of PyTorch Geometric (skipped without
 * ../shared/data), and what is refused. */
#include "tests/data_help.h"

#include "gnn/verify.h"

#define GOLDEN "../shared/data/golden/gnn/"

static void test_golden(const char *name)
{
    char path[256];
    struct checks c = {0};
    medley_error err = {0};
    size_t gradients = 0;
    snprintf(path, sizeof path, GOLDEN "%s", name);
    medley_status st = gnn_verify(path, &c, &err);
    for (size_t i = 0; i < c.n; i++)
        gradients += strncmp(c.items[i].name, "gradient", 8) == 0;
    ok(st == MEDLEY_OK && checks_passed(&c) && gradients > 4 && c.n == gradients + 3,
       "%s: outputs, loss and %zu gradients agree %s", name, gradients, err.message);
    checks_deinit(&c);
}

/* A copy of a golden folder with one text of a file exchanged for another of the same length.
 */
static void damaged(const char *folder, const char *file, const char *from, const char *to,
                    const char *why)
{
    static const char *const files[] = {"config.json", "graph.safetensors", "model.safetensors",
                                        "outputs.safetensors", "grads.safetensors"};
    struct checks c = {0};
    medley_error err = {0};
    bool changed = false;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[256], *data = NULL;
        size_t n = 0;
        snprintf(path, sizeof path, GOLDEN "rgcn/%s", files[i]);
        if (file_read(path, 1 << 24, &data, &n, NULL))
            abort();
        char *where = strcmp(files[i], file) == 0 ? memmem(data, n, from, strlen(from)) : NULL;
        if (where) {
            memcpy(where, to, strlen(to));
            changed = true;
        }
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        if (file_write(path, data, n, NULL))
            abort();
        mem_free(data);
    }
    medley_status st = gnn_verify(folder, &c, &err);
    ok(changed && st != MEDLEY_OK && strstr(err.message, why), "refused: %s", err.message);
    checks_deinit(&c);
}

int main(void)
{
    static const char *const golden[] = {"gcn", "sage-mean", "gatv2", "rgcn"};
    struct checks c = {0};
    medley_error err = {0};
    char folder[64];
    snprintf(folder, sizeof folder, "%s", tap_folder());
    ok(gnn_verify(folder, &c, &err) != MEDLEY_OK, "an empty folder: %s", err.message);
    checks_deinit(&c);
    if (!file_exists(GOLDEN "rgcn/config.json")) {
        skip("no golden graphs here");
        return tap_done();
    }
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++)
        test_golden(golden[i]);
    damaged(folder, "config.json", "RGCNConv", "RGANConv", "conv 'RGANConv' is not supported");
    damaged(folder, "config.json", "\"relu\"", "\"rely\"", "activation 'rely'");
    damaged(folder, "model.safetensors", "conv1.weight", "conv1.veight", "conv1: the shapes");
    damaged(folder, "model.safetensors", "conv1.", "conv7.", "conv1");
    damaged(folder, "graph.safetensors", "edge_src", "edge_scr", "edge_src");
    damaged(folder, "graph.safetensors", "edge_dst", "edge_dts", "edge_dst");
    damaged(folder, "graph.safetensors", "edge_type", "edge_tipe", "edge_type");
    return tap_done();
}
