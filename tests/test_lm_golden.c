/* test_lm_golden.c: every family of encoders against its reference implementation: hidden
 * states, logits, the gradient of every parameter and ten steps of AdamW, by way of lm_verify;
 * and that lm_verify notices what is wrong. */
#include "tests/data_help.h"

#include "lm/verify.h"

#define GOLDEN "../shared/data/golden/lm/"

static const char *const families[] = {
    "bert",       "electra",      "roberta",        "xlm-roberta", "mpnet",
    "deberta-v3", "bigbird-full", "bigbird-sparse", "modernbert",
};

static void test_family(const char *name)
{
    struct checks checks = {0};
    medley_error err;
    char folder[128];
    snprintf(folder, sizeof folder, GOLDEN "%s", name);
    medley_status st = lm_verify(folder, &checks, &err);
    ok(st == MEDLEY_OK, "%s is compared%s%s", name, st ? ": " : "", st ? err.message : "");
    ok(checks.n > 25, "%s: %zu checks", name, checks.n);
    for (size_t i = 0; i < checks.n; i++)
        ok(checks.items[i].error <= checks.items[i].tolerance, "%s: %s (%.1e)", name,
           checks.items[i].name, checks.items[i].error);
    checks_deinit(&checks);
}

static void copy(const char *name, const char *folder)
{
    char *text = NULL;
    size_t n = 0;
    char from[256];
    snprintf(from, sizeof from, GOLDEN "bert/%s", name);
    if (file_read(from, 1 << 24, &text, &n, NULL))
        abort();
    put_bytes(folder, name, text, n);
    mem_free(text);
}

/* BERT's folder with another GELU, with damaged inputs, and with parts missing. */
static void test_wrong(const char *folder)
{
    struct checks checks = {0};
    medley_error err;
    copy("config.json", folder);
    copy("model.safetensors", folder);
    copy("inputs.json", folder);
    copy("outputs.safetensors", folder);
    copy("grads.safetensors", folder);
    ok(lm_verify(folder, &checks, &err) == MEDLEY_OK && checks_passed(&checks),
       "expected.json may be absent");
    checks_deinit(&checks);
    char *config = NULL;
    size_t n = 0;
    if (file_read(GOLDEN "bert/config.json", 1 << 20, &config, &n, NULL))
        abort();
    char *gelu = strstr(config, "\"gelu\"");
    memcpy(gelu, "\"relu\"", 6);
    put_bytes(folder, "config.json", config, n);
    mem_free(config);
    ok(lm_verify(folder, &checks, &err) == MEDLEY_OK && !checks_passed(&checks),
       "another activation does not pass");
    bool embeddings = false, logits = true;
    for (size_t i = 0; i < checks.n; i++) {
        bool passed = checks.items[i].error <= checks.items[i].tolerance;
        if (strcmp(checks.items[i].name, "hidden_0") == 0)
            embeddings = passed;
        if (strcmp(checks.items[i].name, "logits") == 0)
            logits = passed;
    }
    ok(embeddings && !logits, "its embeddings do, its logits do not");
    checks_deinit(&checks);

    static const struct {
        const char *inputs, *message;
    } bad[] = {
        {"{\"input_ids\": [[1, 2], [3]], \"labels\": [0, 1]}", "differ in length"},
        {"{\"input_ids\": [[1, 900]], \"labels\": [0]}", "vocab_size"},
        {"{\"input_ids\": [[1, 2]], \"labels\": [4]}", "label"},
        {"{\"input_ids\": [[1, 2]], \"labels\": []}", "row per text"},
        {"{\"input_ids\": [[1, 2]], \"attention_mask\": [[0, 0]], \"labels\": [1]}", "hides"},
        {"{\"input_ids\": 7, \"labels\": [1]}", "list of lists"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put(folder, "inputs.json", bad[i].inputs);
        medley_status st = lm_verify(folder, &checks, &err);
        ok(st == MEDLEY_EFORMAT && strstr(err.message, bad[i].message), "inputs refused: %s",
           st ? err.message : "they were not");
        checks_deinit(&checks);
    }
    remove(at(folder, "inputs.json"));
    ok(lm_verify(folder, &checks, &err) != MEDLEY_OK && strstr(err.message, "inputs.json"),
       "inputs.json must be there: %s", err.message);
    checks_deinit(&checks);
}

int main(void)
{
    if (!file_exists(GOLDEN "bert/config.json")) {
        skip("no golden checkpoints here");
        return tap_done();
    }
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        test_family(families[i]);
    test_wrong(tap_folder());
    return tap_done();
}
