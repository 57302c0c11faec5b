/* test_design.c: the ensemble's table, and the guards that keep in-sample predictions out of
 * it. */
#include "base/memory.h"
#include "ensemble/design.h"
#include "ensemble/guard.h"
#include "tests/tap.h"

static struct pair_text pair_of(const char *query, const char *title, const char *brand)
{
    return (struct pair_text){
        .query = str_of(query),
        .locale = STR("us"),
        .product = {.title = str_of(title), .brand = str_of(brand)},
    };
}

static void test_columns(void)
{
    struct design_shape s = {.n_models = 2, .n_classes = 3};
    uint32_t player[2 * 12 + CONTEXT_FEATURES];
    const char *models[] = {"a", "b"}, *classes[] = {"E", "S", "I"};
    char name[64];
    ok(design_columns(&s) == 2 * 3 * 4 + CONTEXT_FEATURES, "columns of two models");
    design_player_of_feature(&s, player);
    ok(player[0] == 0 && player[11] == 0 && player[12] == 1 && player[24] == 2, "players");
    design_feature_name(&s, models, classes, 12 + 3 * 2 + 1, name, sizeof name);
    is_text(name, "b.S.median", "name of a list statistic");
    design_feature_name(&s, models, classes, 24, name, sizeof name);
    is_text(name, "locale", "name of a context feature");
    s.plain = true;
    ok(design_columns(&s) == 6, "plain: probabilities alone");
}

static void test_fill(void)
{
    enum { N = 3, K = 2 };
    struct design_shape s = {.n_models = 2, .n_classes = K};
    float a[N * K] = {0.9f, 0.1f, 0.2f, 0.8f, 0.4f, 0.6f};
    float context[N * CONTEXT_FEATURES] = {0};
    const float *probabilities[2] = {a, NULL};
    size_t f = design_columns(&s);
    float *x = mem_alloc(N, f * sizeof *x);
    ok(design_fill(&s, probabilities, context, N, x), "fills");
    ok(x[0] == 0.9f && x[f] == 0.2f && x[2 * f + 1] == 0.6f, "own probabilities");
    ok(x[2] == 0.2f && x[4] == 0.4f && x[6] == 0.9f, "minimum, median, maximum over the list");
    ok(x[f + 2] == 0.2f && x[f + 6] == 0.9f, "the same for every row");
    int missing = 0;
    for (size_t i = 0; i < N; i++)
        for (size_t j = 8; j < 16; j++)
            missing += isnan(x[i * f + j]);
    ok(missing == N * 8, "a missing model is missing in all its columns");
    a[2 * K] = a[2 * K + 1] = NAN;
    design_fill(&s, probabilities, context, N, x);
    ok(isnan(x[2 * f + 4]) && x[4] == 0.5f * (0.2f + 0.9f),
       "a row without an answer is left out");
    mem_free(x);
}

static void test_context(void)
{
    float out[CONTEXT_FEATURES];
    struct pair_text p = pair_of("Acme usb cable", "USB cable 2 m by ACME, usb-c", "Acme");
    context_features(&p, 1, 7, out);
    ok(out[0] == 1 && out[7] == 7, "locale and list size");
    ok(out[1] == 3, "three query words");
    ok(out[4] == 1 && out[6] == 1, "all met in the title; the brand is asked for");
    p = pair_of("red shoes", "blue shoes", "");
    context_features(&p, -1, 1, out);
    ok(isnan(out[0]) && fabsf(out[4] - 0.5f) < 1e-6f && out[6] == 0, "half met; no brand");
    p = pair_of("", "", "");
    context_features(&p, 0, 1, out);
    ok(out[1] == 0 && out[4] == 0, "empty texts");
}

/* A dataset in memory: query i has one example; even ones are in training. */
enum { QUERIES = 400 };
static struct dataset tiny(uint32_t *query, uint8_t *label, uint8_t *split)
{
    static uint64_t offsets[QUERIES + 1];
    for (uint32_t i = 0; i < QUERIES; i++) {
        query[i] = i;
        label[i] = i / 2 % 2;
        split[i] = i % 2 ? SPLIT_TEST : SPLIT_TRAIN;
    }
    return (struct dataset){.n_examples = QUERIES,
                            .n_queries = QUERIES,
                            .n_classes = 2,
                            .example_query = query,
                            .example_label = label,
                            .example_split = split,
                            .query_text = {offsets, ""}};
}

static void test_guards(void)
{
    uint32_t query[QUERIES];
    uint8_t label[QUERIES], split[QUERIES];
    float p[QUERIES * 2];
    struct dataset d = tiny(query, label, split);
    uint32_t fitted[] = {0, 2, 4}, other[] = {6, 8}, seen[] = {6, 4};
    medley_error err = {0};
    ok(guard_disjoint(&d, fitted, 3, other, 2, &err) == MEDLEY_OK, "unseen queries pass");
    ok(guard_disjoint(&d, fitted, 3, seen, 2, &err) == MEDLEY_EINSAMPLE,
       "a seen query is refused");
    for (int honest = 0; honest < 2; honest++) {
        for (uint32_t i = 0; i < QUERIES; i++) {
            bool right = split[i] == SPLIT_TRAIN && !honest ? true : i % 7 < 4;
            p[2 * i + label[i]] = right ? 0.9f : 0.1f;
            p[2 * i + 1 - label[i]] = right ? 0.1f : 0.9f;
        }
        medley_status st = guard_table(&d, p, "mine", &err);
        ok(st == (honest ? MEDLEY_OK : MEDLEY_EINSAMPLE),
           honest ? "out-of-fold predictions pass" : "in-sample ones are refused");
        if (!honest)
            ok(strstr(err.message, "predictions of 'mine' look in-sample"), "says which: %s",
               err.message);
    }
}

int main(void)
{
    test_columns();
    test_fill();
    test_context();
    test_guards();
    return tap_done();
}
