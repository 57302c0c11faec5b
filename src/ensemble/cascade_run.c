/* cascade_run.c: fits the stages' ensembles and lets rows through them; see cascade.h. */
#include "ensemble/cascade.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "ensemble/calibrate.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

void cascade_models_free(struct cascade_models *m, size_t n_stages)
{
    for (size_t i = 0; m->items && i < m->n_sets * n_stages; i++)
        medley_gbdt_free(m->items[i]);
    mem_free(m->items);
    memset(m, 0, sizeof *m);
}

void cascade_run_free(struct cascade_run *r)
{
    mem_free(r->stage);
    mem_free(r->probabilities);
    memset(r, 0, sizeof *r);
}

/* ---- ensembles ---- */

struct fitting {
    const struct stack *s;
    const struct cascade *c;
    struct cascade_models *models;
    atomic_int failed;
    medley_error error;
};

/* Fitted on all rows but those of `fold` (n_folds: on all). */
static medley_status fit_one(const struct fitting *t, size_t stage, unsigned fold,
                             medley_gbdt **out, medley_error *err)
{
    const struct stack *s = t->s;
    struct design_shape shape = stack_shape(s, t->c->prefix[stage]);
    size_t f = design_columns(&shape), n = 0;
    float *x = NULL;
    uint8_t *label = mem_alloc(s->n, 1);
    uint32_t *players = mem_alloc(f, sizeof *players);
    medley_status st = label && players ? stack_design(s, t->c->prefix[stage], &x, err)
                                        : fail_memory(err, "a stage's ensemble");
    for (size_t i = 0; i < s->n && !st; i++) {
        if (s->fold[i] == fold)
            continue;
        memmove(x + n * f, x + i * f, f * sizeof *x);
        label[n++] = s->label[i];
    }
    if (!st) {
        stack_mask_players(&shape, players);
        medley_gbdt_options o = stack_gbdt_options(s, players);
        medley_table table = {x, label, NULL, n, f, s->n_classes};
        o.rounds = t->c->rounds;
        o.quiet = true;
        st = medley_gbdt_train(&table, NULL, &o, out, err);
    }
    mem_free(x);
    mem_free(label);
    mem_free(players);
    return st;
}

static void fit_some(void *context, size_t begin, size_t end, unsigned worker)
{
    struct fitting *t = context;
    size_t stages = t->c->n_stages;
    (void)worker;
    for (size_t i = begin; i < end && !atomic_load(&t->failed); i++) {
        medley_error error = {0};
        unsigned fold = t->models->n_sets > 1 ? (unsigned)(i / stages) : t->s->n_folds;
        medley_status st = fit_one(t, i % stages, fold, &t->models->items[i], &error);
        int none = MEDLEY_OK;
        if (st && atomic_compare_exchange_strong(&t->failed, &none, (int)st))
            t->error = error;
    }
}

medley_status cascade_fit(const struct stack *s, const struct cascade *c, bool by_fold,
                          struct cascade_models *out, medley_error *err)
{
    struct cascade_models m = {.n_sets = by_fold ? s->n_folds : 1};
    struct fitting t = {.s = s, .c = c, .models = &m};
    m.items = mem_zalloc(m.n_sets * c->n_stages, sizeof *m.items);
    if (!m.items)
        return fail_memory(err, "stages");
    parallel_for(m.n_sets * c->n_stages, 1, fit_some, &t);
    medley_status st = (medley_status)atomic_load(&t.failed);
    if (st) {
        if (err)
            *err = t.error;
        cascade_models_free(&m, c->n_stages);
        return st;
    }
    *out = m;
    return MEDLEY_OK;
}

medley_status cascade_stage(const struct stack *s, const struct cascade *c,
                            const struct cascade_models *models, size_t stage,
                            float *probabilities, medley_error *err)
{
    struct design_shape shape = stack_shape(s, c->prefix[stage]);
    size_t f = design_columns(&shape), k = s->n_classes;
    float *x = NULL, *own = mem_alloc(s->n, f * sizeof *own),
          *p = mem_alloc(s->n, k * sizeof *p);
    medley_status st = own && p ? stack_design(s, c->prefix[stage], &x, err)
                                : fail_memory(err, "a stage's answers");
    for (size_t set = 0; set < models->n_sets && !st; set++) {
        size_t n = 0;
        for (size_t i = 0; i < s->n; i++)
            if (models->n_sets == 1 || s->fold[i] == set)
                memcpy(own + n++ * f, x + i * f, f * sizeof *x);
        st = medley_gbdt_predict(models->items[set * c->n_stages + stage], own, n, p, err);
        n = 0;
        for (size_t i = 0; i < s->n && !st; i++)
            if (models->n_sets == 1 || s->fold[i] == set)
                memcpy(probabilities + i * k, p + n++ * k, k * sizeof *p);
    }
    if (!st && c->temperature[stage] > 0)
        temperature_apply(c->temperature[stage], probabilities, s->n, k);
    mem_free(x);
    mem_free(own);
    mem_free(p);
    return st;
}

/* ---- guesses ---- */

/* Solves a[n*n] w = b[n*m] in place by elimination; a is symmetric and, with its ridge,
 * positive. */
static void solve(double *a, double *b, size_t n, size_t m)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t r = i + 1; r < n; r++) {
            double t = a[r * n + i] / a[i * n + i];
            for (size_t c = i; c < n; c++)
                a[r * n + c] -= t * a[i * n + c];
            for (size_t c = 0; c < m; c++)
                b[r * m + c] -= t * b[i * m + c];
        }
    }
    for (size_t i = n; i-- > 0;) {
        for (size_t c = 0; c < m; c++) {
            for (size_t r = i + 1; r < n; r++)
                b[i * m + c] -= a[i * n + r] * b[r * m + c];
            b[i * m + c] /= a[i * n + i];
        }
    }
}

static double *guess_of(const struct cascade *c, size_t stage, size_t later, size_t k)
{
    return c->guess + (stage * c->n_stages + later) * (k + 1) * k;
}

/* Least squares of what `later` says on the answers of `stage`, both of all rows. */
static void fit_guess(const struct stack *s, const struct cascade *c, size_t stage,
                      size_t later, const float *answers)
{
    size_t k = s->n_classes, w = k + 1;
    const float *said = s->probabilities[c->order[later]];
    double a[(MAX_CLASSES + 1) * (MAX_CLASSES + 1)] = {0};
    double *b = guess_of(c, stage, later, k);
    memset(b, 0, w * k * sizeof *b);
    for (size_t i = 0; i < s->n; i++) {
        double x[MAX_CLASSES + 1];
        if (isnan(said[i * k]))
            continue;
        for (size_t j = 0; j < k; j++)
            x[j] = (double)answers[i * k + j];
        x[k] = 1;
        for (size_t r = 0; r < w; r++) {
            for (size_t q = 0; q < w; q++)
                a[r * w + q] += x[r] * x[q];
            for (size_t q = 0; q < k; q++)
                b[r * k + q] += x[r] * (double)said[i * k + q];
        }
    }
    for (size_t r = 0; r < w;
         r++) /* answers sum to 1: without a ridge there are many solutions */
        a[r * w + r] += 1e-4 * (double)s->n + 1e-9;
    solve(a, b, w, k);
}

medley_status cascade_guess(const struct stack *s, struct cascade *c,
                            const float *const *answers, medley_error *err)
{
    size_t k = s->n_classes;
    mem_free(c->guess);
    c->guess = mem_zalloc(c->n_stages * c->n_stages, (k + 1) * k * sizeof *c->guess);
    if (!c->guess)
        return fail_memory(err, "guesses");
    for (size_t j = 0; j < c->n_stages; j++)
        for (size_t later = j + 1; later < c->n_stages; later++)
            fit_guess(s, c, j, later, answers[j]);
    return MEDLEY_OK;
}

void cascade_guess_row(const struct cascade *c, size_t stage, size_t later, const float *p,
                       size_t k, float *out)
{
    const double *w = guess_of(c, stage, later, k);
    for (size_t j = 0; j < k; j++) {
        double v = w[k * k + j];
        for (size_t i = 0; i < k; i++)
            v += w[i * k + j] * (double)p[i];
        out[j] = (float)fmin(fmax(v, 0), 1);
    }
}

/* ---- a pass ---- */

bool cascade_stops(const struct cascade *c, size_t stage, const float *p, size_t k)
{
    size_t best = 0;
    float second = -1;
    for (size_t i = 1; i < k; i++)
        if (p[i] > p[best])
            best = i;
    for (size_t i = 0; i < k; i++)
        if (i != best && p[i] > second)
            second = p[i];
    return stage + 1 == c->n_stages || (double)(p[best] - second) >= c->threshold[stage][best];
}

/* What the model of this stage is taken to say: of rows still in, what it said; of the others,
 * the guess. They count in the statistics of their list only. */
static float *said_or_guessed(const struct stack *s, const struct cascade *c, size_t stage,
                              const struct cascade_run *r)
{
    size_t k = s->n_classes;
    const float *said = s->probabilities[c->order[stage]];
    float *p = mem_alloc(s->n, k * sizeof *p);
    for (size_t i = 0; p && i < s->n; i++) {
        if (r->stage[i] >= stage)
            memcpy(p + i * k, said + i * k, k * sizeof *p);
        else
            cascade_guess_row(c, r->stage[i], stage, r->probabilities + i * k, k, p + i * k);
    }
    return p;
}

medley_status cascade_play(const struct stack *s, const struct cascade *c,
                           const struct cascade_models *models, struct cascade_run *out,
                           medley_error *err)
{
    size_t k = s->n_classes;
    struct cascade_run r = {mem_alloc(s->n, 1), mem_alloc(s->n, k * sizeof(float))};
    struct stack seen = *s;
    float *own[MEDLEY_MAX_MODELS] = {NULL};
    float *answers = mem_alloc(s->n, k * sizeof *answers);
    seen.probabilities = mem_alloc(s->n_models, sizeof *seen.probabilities);
    medley_status st = r.stage && r.probabilities && answers && seen.probabilities
                           ? MEDLEY_OK
                           : fail_memory(err, "a cascade");
    if (!st) {
        memset(r.stage, (int)c->n_stages, s->n); /* still in */
        memcpy(seen.probabilities, s->probabilities, s->n_models * sizeof *seen.probabilities);
    }
    for (size_t j = 0; j < c->n_stages && !st; j++) {
        seen.probabilities[c->order[j]] = own[j] = said_or_guessed(s, c, j, &r);
        st = own[j] ? cascade_stage(&seen, c, models, j, answers, err)
                    : fail_memory(err, "a cascade");
        for (size_t i = 0; i < s->n && !st; i++) {
            if (r.stage[i] < j)
                continue;
            memcpy(r.probabilities + i * k, answers + i * k, k * sizeof *answers);
            if (cascade_stops(c, j, answers + i * k, k))
                r.stage[i] = (uint8_t)j;
        }
    }
    for (size_t j = 0; j < c->n_stages; j++)
        mem_free(own[j]);
    mem_free(seen.probabilities);
    mem_free(answers);
    if (st)
        cascade_run_free(&r);
    else
        *out = r;
    return st;
}
