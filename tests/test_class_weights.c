/* test_class_weights.c: what weights may be written, what balanced ones are, and that the
 * ensemble heeds them. */
#include "base/file.h"
#include "base/memory.h"
#include "base/npy.h"
#include "data/class_weights.h"
#include "tests/ensemble_shop.h"

#include <math.h>

static void refused(const char *text)
{
    struct class_weights w;
    medley_error err = {0};
    ok(class_weights_parse(text, 3, &w, &err) == MEDLEY_EINVAL &&
           strstr(err.message, "option 'class_weights'"),
       "refused: %s", err.message);
}

static bool fills(const char *text, const double *expected)
{
    static const size_t counts[] = {60, 30, 10, 0};
    struct class_weights w;
    double got[4];
    if (class_weights_parse(text, 4, &w, NULL))
        return false;
    class_weights_fill(&w, counts, 4, got);
    for (int c = 0; c < 4; c++)
        if (fabs(got[c] - expected[c]) > 1e-12)
            return false;
    return true;
}

static void test_text(void)
{
    static const char *const wrong[] = {"",          "1,2",        "1,2,3,4",     "1,x,3",
                                        "0,0,0",     "1,-1,2",     "1,2,",        "balance",
                                        "balancedx", "balanced^2", "balanced^-1", "balanced^"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        refused(wrong[i]);
    ok(fills(NULL, (double[]){1, 1, 1, 1}), "nothing said: 1 each");
    ok(fills("3, 0,0.5,1e3", (double[]){3, 0, 0.5, 1000}), "numbers");
    ok(fills("balanced", (double[]){100 / 240.0, 100 / 120.0, 100 / 40.0, 0}),
       "balanced: n / (K n_k), 0 for a class that is not there");
    ok(fills("balanced^0.5",
             (double[]){sqrt(100 / 240.0), sqrt(100 / 120.0), sqrt(100 / 40.0), 0}),
       "a power of that");
}

/* Means over training pairs of the probabilities that the ensemble gives out of fold. */
static bool ensemble_means(const char *weights, double mean[3])
{
    char folder[64], line[64];
    medley_error err = {0};
    struct workspace w;
    struct npy a;
    snprintf(folder, sizeof folder, "%s", tap_folder());
    shop_write(folder, "");
    char *yaml = NULL;
    size_t n = 0;
    file_read(at(folder, "medley.yaml"), 1 << 16, &yaml, &n, &err);
    struct strbuf b;
    sb_init(&b);
    const char *cut = strstr(yaml, "rounds: 40");
    sb_add(&b, yaml, (size_t)(cut - yaml));
    if (weights) {
        snprintf(line, sizeof line, "class_weights: \"%s\", ", weights);
        sb_addz(&b, line);
    }
    sb_addz(&b, cut);
    put(folder, "medley.yaml", b.s);
    sb_deinit(&b);
    mem_free(yaml);
    bool good = workspace_open(folder, &w, &err) == MEDLEY_OK;
    if (good) {
        good = stages_run(&w, &err) == MEDLEY_OK;
        workspace_close(&w);
    }
    if (good && npy_open(at(folder, "ensemble/out_of_fold.npy"), &a, &err) == MEDLEY_OK) {
        float *p = mem_alloc(a.rows * a.cols, sizeof *p);
        npy_to_float(&a, p);
        memset(mean, 0, 3 * sizeof *mean);
        for (int i = 0; i < SHOP_PAIRS; i++)
            for (int c = 0; c < 3 && !shop_is_test(i); c++)
                mean[c] += p[i * 3 + c] / SHOP_PAIRS;
        mem_free(p);
        npy_close(&a);
    }
    return ok(good, "runs with %s: %s", weights ? weights : "no weights", err.message);
}

static void test_ensemble(void)
{
    double none[3], ones[3], heavy[3];
    if (!ensemble_means(NULL, none) || !ensemble_means("1,1,1", ones) ||
        !ensemble_means("1,1,8", heavy))
        return;
    ok(none[0] == ones[0] && none[1] == ones[1] && none[2] == ones[2],
       "weights of 1 change nothing");
    ok(heavy[2] > none[2] * 1.3 && heavy[0] < none[0] && heavy[1] < none[1],
       "a heavier class is found more probable: %.3f instead of %.3f", heavy[2], none[2]);
}

int main(void)
{
    test_text();
    test_ensemble();
    return tap_done();
}
