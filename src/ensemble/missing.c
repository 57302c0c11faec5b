/* missing.c: see missing.h. Proof: tests/test_cascade.c. */
#include "ensemble/missing.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

/* Columns of models of `mask` that are not available become NaN. */
static void take_away(const struct stack *s, uint32_t mask, uint32_t available, float *x,
                      size_t n)
{
    struct design_shape shape = stack_shape(s, mask);
    size_t f = design_columns(&shape), width = design_model_columns(&shape), place = 0;
    for (size_t m = 0; m < s->n_models; m++) {
        if (!(mask >> m & 1))
            continue;
        for (size_t i = 0; i < n && !(available >> m & 1); i++)
            for (size_t c = 0; c < width; c++)
                x[i * f + place * width + c] = NAN;
        place++;
    }
}

medley_status missing_predict(const struct stack *s, uint32_t mask, uint32_t available,
                              const medley_gbdt *model, float *probabilities, medley_error *err)
{
    float *x = NULL;
    medley_status st = stack_design(s, mask, &x, err);
    if (!st) {
        take_away(s, mask, available, x, s->n);
        st = medley_gbdt_predict(model, x, s->n, probabilities, err);
    }
    mem_free(x);
    return st;
}

/* One fold's table, and what it is fitted on. */
struct part {
    float *fit, *held, *asked, *probabilities;
    uint8_t *label;
    uint32_t *row; /* of held */
    size_t n_fit, n_held;
};

static void divide(const struct stack *s, const float *x, size_t f, unsigned fold,
                   struct part *p)
{
    p->n_fit = p->n_held = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->fold[i] == fold) {
            memcpy(p->held + p->n_held * f, x + i * f, f * sizeof *x);
            p->row[p->n_held++] = (uint32_t)i;
        } else {
            memcpy(p->fit + p->n_fit * f, x + i * f, f * sizeof *x);
            p->label[p->n_fit++] = s->label[i];
        }
    }
}

static medley_status ask(const struct stack *s, uint32_t mask, uint32_t available, size_t f,
                         const medley_gbdt *model, struct part *p, float *out,
                         medley_error *err)
{
    size_t k = s->n_classes;
    memcpy(p->asked, p->held, p->n_held * f * sizeof *p->asked);
    take_away(s, mask, available, p->asked, p->n_held);
    medley_status st = medley_gbdt_predict(model, p->asked, p->n_held, p->probabilities, err);
    for (size_t i = 0; i < p->n_held && !st; i++)
        memcpy(out + p->row[i] * k, p->probabilities + i * k, k * sizeof *out);
    return st;
}

medley_status missing_cross_validate(const struct stack *s, uint32_t mask, unsigned rounds,
                                     const uint32_t *available, size_t n_available, float **out,
                                     medley_error *err)
{
    struct design_shape shape = stack_shape(s, mask);
    size_t f = design_columns(&shape), k = s->n_classes;
    float *x = NULL;
    uint32_t *players = mem_alloc(f, sizeof *players);
    struct part p = {.fit = mem_alloc(s->n, f * sizeof *p.fit),
                     .held = mem_alloc(s->n, f * sizeof *p.held),
                     .asked = mem_alloc(s->n, f * sizeof *p.asked),
                     .probabilities = mem_alloc(s->n, k * sizeof *p.probabilities),
                     .label = mem_alloc(s->n, 1),
                     .row = mem_alloc(s->n, sizeof *p.row)};
    bool good = players && p.fit && p.held && p.asked && p.probabilities && p.label && p.row;
    medley_status st = good ? stack_design(s, mask, &x, err) : fail_memory(err, "fold tables");
    for (unsigned fold = 0; fold < s->n_folds && !st; fold++) {
        medley_gbdt *model = NULL;
        stack_mask_players(&shape, players);
        medley_gbdt_options o = stack_gbdt_options(s, players);
        o.rounds = rounds;
        divide(s, x, f, fold, &p);
        medley_table table = {p.fit, p.label, NULL, p.n_fit, f, k};
        st = medley_gbdt_train(&table, NULL, &o, &model, err);
        for (size_t i = 0; i < n_available && !st; i++)
            st = ask(s, mask, available[i], f, model, &p, out[i], err);
        medley_gbdt_free(model);
    }
    mem_free(x), mem_free(players);
    mem_free(p.fit), mem_free(p.held), mem_free(p.asked);
    mem_free(p.probabilities), mem_free(p.label), mem_free(p.row);
    return st;
}
