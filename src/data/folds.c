/* folds.c: query-grouped, label-balanced folds. Every query goes to the fold where its labels
 * are rarest so far. Tested by test_folds.c. */
#include "data/folds.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "data/dataset_file.h"

#include <stdlib.h>
#include <string.h>

#define CELLS (MAX_CLASSES + 1) /* one for LABEL_NONE */

struct group {
    uint32_t query, count; /* training examples of the query */
    uint64_t order;        /* hash: the order among queries of one size */
};

struct folding {
    const struct dataset *d;
    struct group *groups;      /* [n_queries], those with training examples first */
    uint32_t (*labels)[CELLS]; /* [n_queries] training examples by label */
    uint8_t *fold_of;          /* [n_queries] */
    size_t n_groups;
    double total[CELLS];
    double filled[FOLD_TEST][CELLS]; /* of each fold, by label */
    double size[FOLD_TEST];
};

static int by_size(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return x->query < y->query ? -1 : x->query > y->query;
}

static size_t cell_of(uint8_t label)
{
    return label < MAX_CLASSES ? label : MAX_CLASSES;
}

static void count_groups(struct folding *f, uint64_t seed)
{
    const struct dataset *d = f->d;
    for (size_t q = 0; q < d->n_queries; q++) {
        struct str locale = str_of(d->locale_names[d->query_locale[q]]);
        uint64_t key = dataset_key(locale, column_at(&d->query_id, q));
        f->groups[q] = (struct group){(uint32_t)q, 0, mix64(seed, key, 0x666f6c64)};
    }
    for (size_t i = 0; i < d->n_examples; i++) {
        if (d->example_split[i] != SPLIT_TRAIN)
            continue;
        size_t cell = cell_of(d->example_label[i]);
        f->groups[d->example_query[i]].count++;
        f->labels[d->example_query[i]][cell]++;
        f->total[cell]++;
    }
    if (d->n_queries)
        qsort(f->groups, d->n_queries, sizeof *f->groups, by_size);
    while (f->n_groups < d->n_queries && f->groups[f->n_groups].count > 0)
        f->n_groups++;
}

/* By how much a fold's squared shares of each label, and of all examples, would grow: smallest
 * where the query is needed most. */
static double growth(const struct folding *f, unsigned fold, const struct group *g, double all)
{
    double n = g->count, cost = (2 * f->size[fold] + n) * n / (all * all);
    for (size_t c = 0; c < CELLS; c++) {
        double add = f->labels[g->query][c];
        if (add > 0)
            cost += (2 * f->filled[fold][c] + add) * add / (f->total[c] * f->total[c]);
    }
    return cost;
}

static void place(struct folding *f, const struct group *g, unsigned n_folds, double all)
{
    unsigned best = 0;
    double best_cost = growth(f, 0, g, all);
    for (unsigned k = 1; k < n_folds; k++) {
        double cost = growth(f, k, g, all);
        if (cost < best_cost || (cost <= best_cost && f->size[k] < f->size[best])) {
            best = k;
            best_cost = cost;
        }
    }
    f->size[best] += g->count;
    for (size_t c = 0; c < CELLS; c++)
        f->filled[best][c] += f->labels[g->query][c];
    f->fold_of[g->query] = (uint8_t)best;
}

static medley_status assign(struct folding *f, unsigned n_folds, uint64_t seed, uint8_t *fold,
                            medley_error *err)
{
    const struct dataset *d = f->d;
    count_groups(f, seed);
    if (f->n_groups < n_folds)
        return fail(err, MEDLEY_EINVAL,
                    "%zu queries in the training split are too few for %u folds", f->n_groups,
                    n_folds);
    double all = 0;
    for (size_t c = 0; c < CELLS; c++)
        all += f->total[c];
    for (size_t g = 0; g < f->n_groups; g++)
        place(f, &f->groups[g], n_folds, all);
    for (size_t i = 0; i < d->n_examples; i++)
        fold[i] =
            d->example_split[i] == SPLIT_TRAIN ? f->fold_of[d->example_query[i]] : FOLD_TEST;
    return MEDLEY_OK;
}

medley_status folds_assign(const struct dataset *d, unsigned n_folds, uint64_t seed,
                           uint8_t *fold, medley_error *err)
{
    if (n_folds < 2 || n_folds >= FOLD_TEST)
        return fail(err, MEDLEY_EINVAL, "%u folds; expected 2 to %d", n_folds, FOLD_TEST - 1);
    struct folding *f = mem_zalloc(1, sizeof *f);
    if (!f)
        return fail_memory(err, "folds");
    f->d = d;
    f->groups = mem_alloc(d->n_queries, sizeof *f->groups);
    f->labels = mem_zalloc(d->n_queries, sizeof *f->labels);
    f->fold_of = mem_zalloc(d->n_queries, sizeof *f->fold_of);
    medley_status st = MEDLEY_OK;
    if (d->n_queries && (!f->groups || !f->labels || !f->fold_of))
        st = fail_memory(err, "folds");
    else
        st = assign(f, n_folds, seed, fold, err);
    mem_free(f->groups);
    mem_free(f->labels);
    mem_free(f->fold_of);
    mem_free(f);
    return st;
}
