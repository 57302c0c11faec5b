/* test_attribute.c: integrated gradients: the shares of all tokens sum to what the pair has
 * over its masked self, for every family of encoders and both heads. */
#include "tests/lm_shop.h"

#include "lm/attribute.h"

#define GOLDEN "../shared/data/golden/lm/"

static void copy_file(const char *from, const char *to, const char *name)
{
    char *text = NULL;
    size_t n = 0;
    if (file_read(from, 1 << 24, &text, &n, NULL))
        abort();
    put_bytes(to, name, text, n);
    mem_free(text);
}

/* Of the tokenizer's frame and the fields' markers, nothing is attributed. */
static void check(const struct lm_attribution *a, const float *p, size_t *wrong)
{
    double sums[MAX_CLASSES] = {0}, most = 1, total = 0, all = 0;
    size_t k = a->n_classes, parts[3] = {0};
    for (size_t i = 0; i < a->n_tokens; i++) {
        parts[a->tokens[i].part]++;
        for (size_t c = 0; c < k; c++) {
            sums[c] += a->values[i * k + c];
            *wrong += a->tokens[i].part == PART_FRAME && a->values[i * k + c] != 0;
        }
        *wrong += a->tokens[i].text.n == 0;
    }
    *wrong += parts[0] == 0 || parts[1] == 0 || parts[2] == 0;
    for (size_t c = 0; c < k; c++)
        most = fmax(most, fabs(a->output[c] - a->masked[c]));
    for (size_t c = 0; c < k; c++) {
        double gap = fabs(sums[c] - (a->output[c] - a->masked[c]));
        *wrong += !(gap <= 1e-3 * most) || !(gap <= a->gap + 1e-12);
        all += sums[c];
        total += exp(a->output[c]);
    }
    *wrong += !(fabs(all) < 1e-3 * most * (double)k); /* centred: classes cancel */
    for (size_t c = 0; c < k; c++)                    /* the output is what is predicted */
        *wrong += !(fabs(exp(a->output[c]) / total - (double)p[c]) < 2e-4);
}

static void test_model(const struct cross_encoder *m, const char *name)
{
    enum { PAIRS = 3 };
    struct pair_text *pairs = pairs_of_shop();
    float *p = predict(m, PAIRS);
    double moved = 0;
    unsigned steps = 0;
    size_t wrong = 0;
    for (size_t i = 0; i < PAIRS; i++) {
        struct lm_attribution a = {.n_tokens = 0};
        medley_error err = {0};
        if (!ok(cross_encoder_attribute(m, &pairs[i], &a, &err) == MEDLEY_OK,
                "%s: attributes%s", name, err.message))
            continue;
        check(&a, p + i * m->n_classes, &wrong);
        for (size_t c = 0; c < a.n_classes; c++)
            moved = fmax(moved, fabs(a.output[c] - a.masked[c]));
        steps = a.steps > steps ? a.steps : steps;
        lm_attribution_free(&a);
    }
    ok(wrong == 0, "%s: shares sum to the difference of outputs (%u steps at most)", name,
       steps);
    ok(moved > 1e-4, "%s: which there is (%.4f)", name, moved);
    mem_free(p);
    mem_free(pairs);
}

static void test_same(const struct cross_encoder *m)
{
    struct pair_text *pairs = pairs_of_shop();
    struct lm_attribution a, b;
    unsigned threads = pool_threads();
    ok(cross_encoder_attribute(m, &pairs[0], &a, NULL) == MEDLEY_OK, "once");
    pool_set_threads(threads == 1 ? 2 : 1);
    ok(cross_encoder_attribute(m, &pairs[0], &b, NULL) == MEDLEY_OK &&
           memcmp(a.values, b.values, a.n_tokens * a.n_classes * sizeof *a.values) == 0,
       "the same bits with other threads");
    pool_set_threads(threads);
    lm_attribution_free(&a), lm_attribution_free(&b);
    mem_free(pairs);
}

static void test_family(const char *name)
{
    char from[256], here[512];
    struct cross_encoder *m = NULL;
    medley_error err = {0};
    snprintf(here, sizeof here, "%s/family-%s", folder, name);
    make_folders(here, &err);
    snprintf(from, sizeof from, GOLDEN "%s/config.json", name);
    copy_file(from, here, "config.json");
    snprintf(from, sizeof from, GOLDEN "%s/model.safetensors", name);
    copy_file(from, here, "model.safetensors");
    copy_file("tests/data/tokenizers/bpe-suffix.json", here, "tokenizer.json");
    struct lm_options o = {.pretrained = here, .max_tokens = 40, .seed = 3};
    if (ok(cross_encoder_new(&o, &shop, &m, &err) == MEDLEY_OK, "%s loads: %s", name,
           err.message))
        test_model(m, name);
    cross_encoder_free(m);
}

int main(void)
{
    static const char *const families[] = {"roberta",    "mpnet",         "deberta-v3",
                                           "modernbert", "electra",       "bigbird-full",
                                           "bert",       "bigbird-sparse"};
    char own[64];
    struct lm_options segments = tiny;
    segments.head = "segments";
    snprintf(own, sizeof own, "%s", tap_folder());
    folder = own;
    make_shop();
    struct cross_encoder *m = trained(&tiny, 200);
    test_model(m, "first token");
    test_same(m);
    ok(cross_encoder_set_precision(m, PRECISION_INT8, NULL) == MEDLEY_OK, "int8");
    struct lm_attribution a = {.n_tokens = 0};
    struct pair_text *pairs = pairs_of_shop();
    ok(cross_encoder_attribute(m, &pairs[0], &a, NULL) == MEDLEY_OK && a.gap < 1e-3,
       "of the exact weights all the same");
    lm_attribution_free(&a);
    mem_free(pairs);
    cross_encoder_free(m);
    m = trained(&segments, 200);
    test_model(m, "means of segments");
    cross_encoder_free(m);
    if (file_exists(GOLDEN "bert/config.json"))
        for (size_t i = 0; i < sizeof families / sizeof *families; i++)
            test_family(families[i]);
    else
        skip("no golden checkpoints here");
    mem_free(rows);
    dataset_close(&shop);
    return tap_done();
}
