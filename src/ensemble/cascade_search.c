/* cascade_search.c: at which margins may pairs stop? See cascade.h.
 *
 * A pair's stage and label follow from its margins and the thresholds, so a set of thresholds
 * is measured in one pass over the rows. The search begins with thresholds that nobody reaches
 * and takes, again and again, the step (one stage, one class, the next share of its rows) that
 * saves most for the macro-F1 it loses, for as long as the loss stays within what is allowed.
 */
#include "ensemble/cascade.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    STEPS = 20,
    FEWEST = 40
}; /* shares of a class's rows; a threshold rests on so many rows */

struct judged { /* one row at one stage */
    float margin;
    uint8_t label; /* most probable class */
};

struct search {
    struct judged *at;  /* [n_stages * n] */
    const float *truth; /* [n*K] */
    const double *cost;
    size_t n, k, n_stages;
    double (*threshold)[MAX_CLASSES];
    /* margins to choose from, descending; [n_stages][k][STEPS] */
    float grid[MEDLEY_MAX_MODELS][MAX_CLASSES][STEPS];
    uint8_t taken[MEDLEY_MAX_MODELS][MAX_CLASSES]; /* steps */
};

struct measured {
    double f1, cost; /* cost a row */
};

struct expecting {
    double hit[MAX_CLASSES], said[MAX_CLASSES], is[MAX_CLASSES];
};

static void expect(struct expecting *e, const float *truth, size_t k, size_t label)
{
    for (size_t c = 0; c < k; c++)
        e->is[c] += (double)truth[c];
    e->said[label]++;
    e->hit[label] += (double)truth[label];
}

static double expected(const struct expecting *e, size_t k)
{
    double f1 = 0;
    for (size_t c = 0; c < k; c++)
        if (e->said[c] + e->is[c] > 0)
            f1 += 2 * e->hit[c] / (e->said[c] + e->is[c]) / (double)k;
    return f1;
}

static struct measured measure(const struct search *x)
{
    struct expecting e = {{0}, {0}, {0}};
    struct measured m = {0, 0};
    size_t stopped[MEDLEY_MAX_MODELS] = {0};
    for (size_t i = 0; i < x->n; i++) {
        size_t j = 0;
        const struct judged *a = &x->at[i];
        while (j + 1 < x->n_stages && (double)a->margin < x->threshold[j][a->label])
            a = &x->at[++j * x->n + i];
        stopped[j]++;
        expect(&e, x->truth + i * x->k, x->k, a->label);
    }
    double so_far = 0;
    for (size_t j = 0; j < x->n_stages; j++) {
        so_far += x->cost[j];
        m.cost += so_far * (double)stopped[j] / (double)x->n;
    }
    m.f1 = expected(&e, x->k);
    return m;
}

static struct judged judge(const float *p, size_t k)
{
    size_t best = 0;
    float second = -1;
    for (size_t c = 1; c < k; c++)
        if (p[c] > p[best])
            best = c;
    for (size_t c = 0; c < k; c++)
        if (c != best && p[c] > second)
            second = p[c];
    return (struct judged){p[best] - second, (uint8_t)best};
}

double cascade_expected_f1(const float *p, const float *truth, size_t n, size_t k)
{
    struct expecting e = {{0}, {0}, {0}};
    for (size_t i = 0; i < n; i++)
        expect(&e, truth + i * k, k, judge(p + i * k, k).label);
    return expected(&e, k);
}

static int descending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* Margins that a twentieth, two twentieths, ... of a class's rows reach. Classes of few rows
 * are not stopped: their thresholds would be luck. */
static void make_grid(struct search *x, size_t stage, size_t class, float *scratch)
{
    size_t n = 0;
    for (size_t i = 0; i < x->n; i++)
        if (x->at[stage * x->n + i].label == class)
            scratch[n++] = x->at[stage * x->n + i].margin;
    qsort(scratch, n, sizeof *scratch, descending);
    for (size_t t = 0; t < STEPS; t++)
        x->grid[stage][class][t] = n < FEWEST       ? 2
                                   : t + 1 == STEPS ? 0
                                                    : scratch[(t + 1) * n / STEPS];
}

static double threshold_of(const struct search *x, size_t stage, size_t class, unsigned taken)
{
    return taken == 0 ? 2 : (double)x->grid[stage][class][taken - 1];
}

/* The best next step; false when none is allowed. */
static bool take_step(struct search *x, double floor)
{
    struct measured now = measure(x);
    double best = 0;
    size_t stage = 0, class = 0;
    unsigned to = 0;
    for (size_t j = 0; j + 1 < x->n_stages; j++) {
        for (size_t c = 0; c < x->k; c++) {
            double before = x->threshold[j][c];
            /* Also longer steps: a class's first rows may change nothing, or hurt less than
             * they save only together. */
            for (unsigned t = x->taken[j][c] + 1u; t <= STEPS && t <= x->taken[j][c] + 4u;
                 t++) {
                x->threshold[j][c] = threshold_of(x, j, c, t);
                struct measured m = measure(x);
                double saved = now.cost - m.cost, lost = fmax(now.f1 - m.f1, 0);
                double worth = saved / (lost + 2e-4);
                if (saved > 0 && m.f1 >= floor && worth > best)
                    best = worth, stage = j, class = c, to = t;
            }
            x->threshold[j][c] = before;
        }
    }
    if (best <= 0)
        return false;
    x->taken[stage][class] = (uint8_t)to;
    x->threshold[stage][class] = threshold_of(x, stage, class, to);
    return true;
}

medley_status cascade_search(const struct cascade *c, const float *const *stages,
                             const float *truth, size_t n, size_t k, double floor,
                             const double *cost, cascade_thresholds **path, size_t *n_path,
                             medley_error *err)
{
    enum { LONGEST = 400 };
    struct search *x = mem_zalloc(1, sizeof *x);
    struct judged *at = mem_alloc(n + 1, c->n_stages * sizeof *at);
    float *scratch = mem_alloc(n + 1, sizeof *scratch);
    cascade_thresholds now, *out = mem_alloc(LONGEST, sizeof *out);
    if (!x || !at || !scratch || !out) {
        mem_free(x), mem_free(at), mem_free(scratch), mem_free(out);
        return fail_memory(err, "thresholds");
    }
    for (size_t j = 0; j < MEDLEY_MAX_MODELS; j++)
        for (size_t i = 0; i < MAX_CLASSES; i++)
            now[j][i] = 2;
    *x = (struct search){.at = at,
                         .truth = truth,
                         .cost = cost,
                         .n = n,
                         .k = k,
                         .n_stages = c->n_stages,
                         .threshold = now};
    for (size_t j = 0; j < c->n_stages; j++)
        for (size_t i = 0; i < n; i++)
            at[j * n + i] = judge(stages[j] + i * k, k);
    for (size_t j = 0; j < c->n_stages; j++)
        for (size_t i = 0; i < k; i++)
            make_grid(x, j, i, scratch);
    size_t found = 0;
    do
        memcpy(out[found++], now, sizeof now);
    while (found < LONGEST && take_step(x, floor));
    mem_free(x), mem_free(at), mem_free(scratch);
    *path = out;
    *n_path = found;
    return MEDLEY_OK;
}
