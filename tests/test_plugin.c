/* test_plugin.c: kind plugin: examples/plugin_bm25.c through all stages and from a bundle; a
 * plugin that lies (tests/plugin_liar.c) is told off in training and missing in serving. */
#include "ensemble/answers.h"
#include "ensemble/base_model.h"
#include "tests/plugged_shop.h"

static char bm25[512], liar[512];

static void model_line(char *out, size_t size, const char *library, const char *rest)
{
    snprintf(out, size, "  - {name: mine, kind: plugin, library: %s%s}\n", library, rest);
}

static void test_answers(void)
{
    medley_error err = {0};
    float good[] = {0.5f, 0.5f, NAN, NAN, 0.4996f, 0.5f};
    ok(answers_check("m", good, 3, 2, &err) == MEDLEY_OK, "probabilities, none, rounded ones");
    float bad[][2] = {{NAN, 1}, {INFINITY, 0}, {-0.1f, 1.1f}, {0.5f, 0.52f}, {3, -2}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ok(answers_check("m", bad[i], 1, 2, &err) == MEDLEY_EFORMAT, "%s", err.message);
    ok(answers_drop(&bad[0][0], 5, 2) == 5 && isnan(bad[4][0]) && isnan(bad[3][1]),
       "bad rows become missing");
}

static void test_whole(const char *folder)
{
    char line[700];
    medley_error err = {0};
    medley_bundle *b = NULL;
    medley_result last;
    model_line(line, sizeof line, bm25, ", settings: {k1: 1.5}");
    plugged_write(folder, line);
    if (!ok(plugged_run(folder, true, &err) == MEDLEY_OK, "BM25 through all stages: %s",
            err.message))
        return;
    if (!ok(medley_bundle_open(at(folder, "bundle/current"), &b, &err) == MEDLEY_OK,
            "the bundle opens: %s", err.message))
        return;
    size_t m = 0;
    while (m < medley_bundle_models(b) && strcmp(medley_bundle_model(b, m), "mine") != 0)
        m++;
    ok(m < medley_bundle_models(b), "it was selected");
    int right = plugged_ask(b, PLUGGED_QUERIES, NULL, &last);
    ok(right > PLUGGED_PAIRS * 8 / 10, "%d of %d labels are right", right, PLUGGED_PAIRS);
    ok(last.models_used >> m & 1 && !last.models_failed, "it answered");
    ok(medley_bundle_health(b, m).lists_failed == 0, "and never failed");
    medley_bundle_close(b);
}

/* The library is the one that was trained with, or none. */
static void test_changed(const char *folder)
{
    char own[600], line[700];
    char *bytes = NULL;
    size_t n = 0;
    medley_error err = {0};
    medley_bundle *b = NULL;
    snprintf(own, sizeof own, "%s/own.so", folder);
    if (!ok(file_read(bm25, 1 << 24, &bytes, &n, &err) == MEDLEY_OK, "reads"))
        return;
    put_bytes(folder, "own.so", bytes, n);
    model_line(line, sizeof line, "own.so", "");
    plugged_write(folder, line);
    ok(plugged_run(folder, true, &err) == MEDLEY_OK, "a library in the workspace: %s",
       err.message);
    put_bytes(folder, "own2.so", bytes, n);
    ok(medley_bundle_open(at(folder, "bundle/current"), &b, &err) == MEDLEY_OK, "opens");
    medley_bundle_close(b);
    bytes[n - 1] ^= 1;
    put_bytes(folder, "own.so", bytes, n);
    b = NULL;
    ok(medley_bundle_open(at(folder, "bundle/current"), &b, &err) == MEDLEY_ESTALE,
       "a changed library is refused: %s", err.message);
    unlink(own);
    ok(medley_bundle_open(at(folder, "bundle/current"), &b, &err) == MEDLEY_ENOTFOUND,
       "one that is gone, too: %s", err.message);
    mem_free(bytes);
}

static void test_lies_in_training(const char *folder)
{
    static const char *const ways[] = {"nan",   "infinite", "negative", "sum",  "much",
                                       "fails", "forgets",  "litters",  "mute", "nothing"};
    char line[700], rest[64];
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        medley_error err = {0};
        snprintf(rest, sizeof rest, ", settings: {how: %s}", ways[i]);
        model_line(line, sizeof line, liar, rest);
        plugged_write(folder, line);
        medley_status st = plugged_run(folder, false, &err);
        ok(st != MEDLEY_OK && err.message[0], "%s: %.160s", ways[i], err.message);
    }
    medley_error err = {0};
    model_line(line, sizeof line, "medley.yaml", "");
    plugged_write(folder, line);
    ok(plugged_run(folder, false, &err) == MEDLEY_EFORMAT, "no library: %s", err.message);
    model_line(line, sizeof line, "nowhere.so", "");
    plugged_write(folder, line);
    ok(plugged_run(folder, false, &err) == MEDLEY_ENOTFOUND, "no file: %s", err.message);
    plugged_write(folder, "  - {name: mine, kind: plugin}\n");
    ok(plugged_run(folder, false, &err) == MEDLEY_EFORMAT, "no key: %s", err.message);
    plugged_write(folder, "  - {name: mine, kind: plugin, library: x.so, settings: [1]}\n");
    ok(plugged_run(folder, false, &err) == MEDLEY_EFORMAT, "a list: %s", err.message);
}

/* What was sane in training lies in serving: the ensemble answers without it. */
static void test_lies_in_serving(const char *folder)
{
    static const char *const ways[] = {"nan", "infinite", "negative", "sum", "much", "fails"};
    char line[700];
    medley_error err = {0};
    medley_bundle *b = NULL;
    medley_result sane, last;
    model_line(line, sizeof line, liar, ", settings: {how: spanish}");
    plugged_write(folder, line);
    sane = last = (medley_result){0};
    if (!ok(plugged_run(folder, false, &err) == MEDLEY_OK, "a model of one locale: %s",
            err.message))
        return;
    struct workspace w;
    struct npy a;
    ok(npy_open(at(folder, "predictions/mine/probabilities.npy"), &a, &err) == MEDLEY_OK &&
           a.rows == PLUGGED_PAIRS,
       "its predictions");
    float *p = mem_alloc(a.rows, a.cols * sizeof *p);
    npy_to_float(&a, p);
    ok(isnan(p[0]) && !isnan(p[PLUGGED_LIST * a.cols]), "missing in us, there in es");
    mem_free(p);
    npy_close(&a);
    if (!ok(workspace_open(folder, &w, &err) == MEDLEY_OK &&
                stages_run(&w, &err) == MEDLEY_OK &&
                medley_bundle_open(at(folder, "bundle/current"), &b, &err) == MEDLEY_OK,
            "the bundle with it: %s", err.message))
        return;
    workspace_close(&w);
    size_t m = medley_bundle_models(b) - 1;
    ok(plugged_ask(b, 2, NULL, &sane) >= 0 && sane.models_used >> m & 1, "it answers in es");
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        setenv("LIAR", ways[i], 1);
        ok(plugged_ask(b, 2, NULL, &last) >= 0 && last.models_failed >> m & 1 &&
               medley_bundle_health(b, m).lists_failed == 2 * (i + 1),
           "%s: the ensemble answers without it", ways[i]);
    }
    unsetenv("LIAR");
    ok(plugged_ask(b, 2, NULL, &last) >= 0 && !last.models_failed &&
           memcmp(last.margins, sane.margins, 3 * sizeof(float)) == 0,
       "and with it once more");
    medley_bundle_close(b);
}

int main(int argc, char **argv)
{
    const char *slash = argc ? strrchr(argv[0], '/') : NULL;
    char build[400], real[400];
    snprintf(build, sizeof build, "%.*s", slash ? (int)(slash - argv[0]) : 1,
             slash ? argv[0] : ".");
    if (build[0] != '/' && getcwd(real, sizeof real / 2)) { /* workspaces lie elsewhere */
        snprintf(real + strlen(real), sizeof real - strlen(real), "/%.150s", build);
        snprintf(build, sizeof build, "%s", real);
    }
    snprintf(bm25, sizeof bm25, "%s/../examples/plugin_bm25.so", build);
    snprintf(liar, sizeof liar, "%s/plugin_liar.so", build);
    char folder[64];
    snprintf(folder, sizeof folder, "%s", tap_folder());
    test_answers();
    test_whole(folder);
    test_changed(tap_folder());
    test_lies_in_training(tap_folder());
    test_lies_in_serving(tap_folder());
    return tap_done();
}
