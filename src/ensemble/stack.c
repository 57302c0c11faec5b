/* stack.c: see stack.h. */
#include "ensemble/stack.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/npy.h"
#include "base/pool.h"
#include "data/class_weights.h"
#include "data/folds.h"

#include <stdlib.h>
#include <string.h>

uint32_t stack_all(const struct stack *s)
{
    return s->n_models >= 32 ? UINT32_MAX : (1u << s->n_models) - 1;
}

void stack_close(struct stack *s)
{
    for (size_t m = 0; s->probabilities && m < s->n_models; m++)
        mem_free(s->probabilities[m]);
    mem_free(s->probabilities);
    mem_free(s->context);
    mem_free(s->row);
    mem_free(s->query);
    mem_free(s->label);
    mem_free(s->fold);
    memset(s, 0, sizeof *s);
}

/* Rows of the split, ordered by (query, row) with a counting sort. */
static medley_status collect_rows(const struct dataset *d, enum split split, struct stack *s,
                                  medley_error *err)
{
    size_t *start = mem_zalloc(d->n_queries + 1, sizeof *start);
    s->row = mem_alloc(d->n_examples, sizeof *s->row);
    s->query = mem_alloc(d->n_examples, sizeof *s->query);
    s->label = mem_alloc(d->n_examples, 1);
    if (!start || !s->row || !s->query || !s->label) {
        mem_free(start);
        return fail_memory(err, "stacking rows");
    }
    for (size_t i = 0; i < d->n_examples; i++)
        if (d->example_split[i] == split && d->example_label[i] != LABEL_NONE)
            start[d->example_query[i] + 1]++;
    for (size_t q = 0; q < d->n_queries; q++)
        start[q + 1] += start[q];
    s->n = start[d->n_queries];
    for (size_t i = 0; i < d->n_examples; i++) {
        if (d->example_split[i] != split || d->example_label[i] == LABEL_NONE)
            continue;
        size_t at = start[d->example_query[i]]++;
        s->row[at] = (uint32_t)i;
        s->query[at] = d->example_query[i];
        s->label[at] = d->example_label[i];
    }
    mem_free(start);
    return s->n ? MEDLEY_OK
                : fail(err, MEDLEY_EINVAL, "the %s split has no labelled examples",
                       split == SPLIT_TRAIN ? "training" : "test");
}

medley_status stack_refold(struct stack *s, uint64_t seed, medley_error *err)
{
    const struct dataset *d = &s->w->data;
    uint8_t *fold = mem_alloc(d->n_examples, 1);
    medley_status st =
        fold ? folds_assign(d, s->n_folds, seed, fold, err) : fail_memory(err, "folds");
    for (size_t i = 0; i < s->n && !st; i++)
        s->fold[i] = fold[s->row[i]];
    mem_free(fold);
    return st;
}

static medley_status load_probabilities(const struct dataset *d, struct stack *s, size_t m,
                                        medley_error *err)
{
    const char *name = s->w->config.models[m].name;
    struct path p = workspace_path(s->w, "predictions/%s/probabilities.npy", name);
    if (!file_exists(p.s))
        return fail(err, MEDLEY_ESTALE,
                    "model '%s' has no predictions (run 'medley train -C %s')", name,
                    s->w->root);
    struct npy a;
    medley_status st = npy_open(p.s, &a, err);
    if (st)
        return st;
    size_t k = d->n_classes;
    float *all = NULL;
    if (a.rows != d->n_examples || a.cols != k) {
        st = fail(err, MEDLEY_EFORMAT, "%s: expected %zu x %zu probabilities, found %zu x %zu",
                  p.s, d->n_examples, k, a.rows, a.cols);
    } else if (!(all = mem_alloc(a.rows, k * sizeof *all)) ||
               !(s->probabilities[m] = mem_alloc(s->n, k * sizeof *all))) {
        st = fail_memory(err, "probabilities");
    } else {
        npy_to_float(&a, all);
        for (size_t i = 0; i < s->n; i++)
            memcpy(s->probabilities[m] + i * k, all + s->row[i] * k, k * sizeof *all);
    }
    mem_free(all);
    npy_close(&a);
    return st;
}

static medley_status weigh_classes(struct stack *s, medley_error *err)
{
    struct class_weights w;
    size_t counts[MAX_CLASSES] = {0};
    for (size_t i = 0; i < s->n; i++)
        counts[s->label[i]]++;
    medley_status st =
        class_weights_parse(s->w->config.ensemble.class_weights, s->n_classes, &w, err);
    if (!st)
        class_weights_fill(&w, counts, s->n_classes, s->class_weights);
    return st ? fail_within(err, st, "medley.yaml, ensemble") : MEDLEY_OK;
}

static size_t list_end(const struct stack *s, size_t begin)
{
    size_t end = begin + 1;
    while (end < s->n && s->query[end] == s->query[begin])
        end++;
    return end;
}

/* Candidates of the query of a row. Queries ascend, so both ends are searched by halving: one
 * query may hold all rows. */
static size_t list_size(const struct stack *s, size_t row)
{
    size_t low = 0, high = row, last = row;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->query[middle] < s->query[row])
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t end = s->n; last + 1 < end;) {
        size_t middle = last + (end - last) / 2;
        if (s->query[middle] > s->query[row])
            end = middle;
        else
            last = middle;
    }
    return last + 1 - low;
}

static void context_rows(void *context, size_t begin, size_t end, unsigned worker)
{
    struct stack *s = context;
    const struct dataset *d = &s->w->data;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        struct pair_text pair = dataset_pair(d, s->query[i], d->example_product[s->row[i]]);
        context_features(&pair, d->query_locale[s->query[i]], list_size(s, i),
                         s->context + i * CONTEXT_FEATURES);
    }
}

medley_status stack_open(const struct workspace *w, enum split split, struct stack *out,
                         medley_error *err)
{
    const struct dataset *d = &w->data;
    struct stack s = {.w = w,
                      .n_models = w->config.n_models,
                      .n_classes = d->n_classes,
                      .seed = w->config.stacking.seed};
    medley_status st = collect_rows(d, split, &s, err);
    if (!st)
        st = weigh_classes(&s, err);
    if (!st && split == SPLIT_TRAIN) {
        s.n_folds = w->config.stacking.folds;
        s.fold = mem_alloc(s.n, 1);
        st =
            s.fold ? stack_refold(&s, w->config.stacking.seed, err) : fail_memory(err, "folds");
    }
    if (!st && !(s.probabilities = mem_zalloc(s.n_models, sizeof *s.probabilities)))
        st = fail_memory(err, "probabilities");
    for (size_t m = 0; m < s.n_models && !st; m++)
        st = load_probabilities(d, &s, m, err);
    if (!st && !w->config.ensemble.plain) {
        s.context = mem_alloc(s.n, CONTEXT_FEATURES * sizeof *s.context);
        if (s.context)
            parallel_for(s.n, 64, context_rows, &s);
        else
            st = fail_memory(err, "context features");
    }
    if (st)
        stack_close(&s);
    else
        *out = s;
    return st;
}

struct design_shape stack_shape(const struct stack *s, uint32_t mask)
{
    return (struct design_shape){.n_models = (size_t)__builtin_popcount(mask),
                                 .n_classes = s->n_classes,
                                 .plain = !s->context};
}

medley_status stack_design(const struct stack *s, uint32_t mask, float **x, medley_error *err)
{
    struct design_shape shape = stack_shape(s, mask);
    size_t f = design_columns(&shape), k = s->n_classes;
    float *out = mem_alloc(s->n, f * sizeof *out);
    bool good = out != NULL;
    for (size_t begin = 0; begin < s->n && good;) {
        size_t end = list_end(s, begin), chosen = 0;
        const float *probabilities[MEDLEY_MAX_MODELS];
        for (size_t m = 0; m < s->n_models; m++)
            if (mask >> m & 1)
                probabilities[chosen++] = s->probabilities[m] + begin * k;
        const float *context = s->context ? s->context + begin * CONTEXT_FEATURES : NULL;
        good = design_fill(&shape, probabilities, context, end - begin, out + begin * f);
        begin = end;
    }
    if (!good) {
        mem_free(out);
        return fail_memory(err, "the ensemble's table");
    }
    *x = out;
    return MEDLEY_OK;
}

/* Players for masking: whole models go missing in life, the context never does. */
void stack_mask_players(const struct design_shape *shape, uint32_t *players)
{
    design_player_of_feature(shape, players);
    for (size_t i = 0, f = design_columns(shape); i < f; i++)
        if (players[i] == shape->n_models)
            players[i] = UINT32_MAX;
}

/* Small leaves over-fit on few rows; cross-validated on the public extract (6,415 rows), 200 is
 * better than 60 and 20. */
static unsigned leaf_rows(size_t n)
{
    return n < 20 * 32 ? 20 : n > 200 * 32 ? 200 : (unsigned)(n / 32);
}

medley_gbdt_options stack_gbdt_options(const struct stack *s, const uint32_t *players)
{
    const struct ensemble_config *c = &s->w->config.ensemble;
    return (medley_gbdt_options){
        .rounds = c->rounds,
        .num_leaves = c->num_leaves,
        .min_data_in_leaf = c->min_data_in_leaf ? c->min_data_in_leaf : leaf_rows(s->n),
        .learning_rate = c->learning_rate,
        .lambda_l2 = c->lambda_l2,
        .feature_fraction = c->feature_fraction,
        .max_bins = 63, /* a few thousand rows: finer bins cost time and gain nothing */
        .player_of_feature = players,
        .mask_rate = c->mask_rate,
        .class_weights = s->class_weights,
        .seed = s->seed,
    };
}

/* Splits the rows of x into those of a fold and the others; indices ascending. */
struct fold_tables {
    float *x; /* [n * F]: first the fitted rows, then the held-out ones */
    uint8_t *label;
    uint32_t *from; /* [n] row of the stack */
    float *weight;  /* [n] of its class: early stopping sees what training sees */
    size_t n_fit;
};

static void divide(const struct stack *s, const float *x, size_t f, unsigned fold,
                   struct fold_tables *t)
{
    size_t at = 0;
    for (int held_out = 0; held_out < 2; held_out++) {
        for (size_t i = 0; i < s->n; i++) {
            if ((s->fold[i] == fold) != held_out)
                continue;
            memcpy(t->x + at * f, x + i * f, f * sizeof *x);
            t->label[at] = s->label[i];
            t->weight[at] = (float)s->class_weights[s->label[i]];
            t->from[at++] = (uint32_t)i;
        }
        if (!held_out)
            t->n_fit = at;
    }
}

static medley_status validate_fold(const struct stack *s, const struct fold_tables *t, size_t f,
                                   const medley_gbdt_options *options, unsigned *rounds,
                                   float *probabilities, medley_error *err)
{
    size_t k = s->n_classes, held = s->n - t->n_fit;
    const float *x_held = t->x + t->n_fit * f;
    medley_table fit = {t->x, t->label, NULL, t->n_fit, f, k};
    medley_table validation = {x_held, t->label + t->n_fit, t->weight + t->n_fit, held, f, k};
    medley_gbdt *model = NULL;
    float *p = mem_alloc(held, k * sizeof *p);
    medley_status st = p ? medley_gbdt_train(&fit, &validation, options, &model, err)
                         : fail_memory(err, "fold predictions");
    if (!st)
        st = medley_gbdt_predict(model, x_held, held, p, err);
    if (!st) {
        *rounds += (unsigned)medley_gbdt_rounds(model);
        for (size_t i = 0; i < held && probabilities; i++)
            memcpy(probabilities + t->from[t->n_fit + i] * k, p + i * k, k * sizeof *p);
    }
    medley_gbdt_free(model);
    mem_free(p);
    return st;
}

medley_status stack_cross_validate(const struct stack *s, uint32_t mask, unsigned *rounds,
                                   float *probabilities, medley_error *err)
{
    enum { PATIENCE = 25 };
    struct design_shape shape = stack_shape(s, mask);
    size_t f = design_columns(&shape);
    float *x = NULL;
    uint32_t *players = mem_alloc(f, sizeof *players);
    struct fold_tables t = {mem_alloc(s->n, f * sizeof *t.x), mem_alloc(s->n, 1),
                            mem_alloc(s->n, sizeof *t.from), mem_alloc(s->n, sizeof *t.weight),
                            0};
    bool good = players && t.x && t.label && t.from && t.weight;
    medley_status st = good ? stack_design(s, mask, &x, err) : fail_memory(err, "fold tables");
    unsigned total = 0;
    if (!st) {
        stack_mask_players(&shape, players);
        medley_gbdt_options options = stack_gbdt_options(s, players);
        options.early_stopping = PATIENCE;
        for (unsigned fold = 0; fold < s->n_folds && !st; fold++) {
            divide(s, x, f, fold, &t);
            st = validate_fold(s, &t, f, &options, &total, probabilities, err);
        }
    }
    if (!st) {
        *rounds = (total + s->n_folds / 2) / s->n_folds;
        if (*rounds == 0)
            *rounds = 1;
    }
    mem_free(x);
    mem_free(players);
    mem_free(t.x);
    mem_free(t.label);
    mem_free(t.from);
    mem_free(t.weight);
    return st;
}

static medley_status name_features(const struct stack *s, uint32_t mask, medley_gbdt *model,
                                   medley_error *err)
{
    enum { LONGEST = 160 };
    struct design_shape shape = stack_shape(s, mask);
    size_t f = design_columns(&shape), chosen = 0;
    const char *models[MEDLEY_MAX_MODELS];
    for (size_t m = 0; m < s->n_models; m++)
        if (mask >> m & 1)
            models[chosen++] = s->w->config.models[m].name;
    char *text = mem_alloc(f, LONGEST);
    const char **names = mem_alloc(f, sizeof *names);
    medley_status st = text && names ? MEDLEY_OK : fail_memory(err, "feature names");
    for (size_t i = 0; i < f && !st; i++) {
        names[i] = text + i * LONGEST;
        design_feature_name(&shape, models, (const char *const *)s->w->data.class_names, i,
                            text + i * LONGEST, LONGEST);
    }
    if (!st)
        st = medley_gbdt_set_feature_names(model, names, err);
    mem_free(text);
    mem_free(names);
    return st;
}

medley_status stack_fit(const struct stack *s, uint32_t mask, unsigned rounds,
                        medley_gbdt **out, medley_error *err)
{
    struct design_shape shape = stack_shape(s, mask);
    size_t f = design_columns(&shape);
    float *x = NULL;
    medley_gbdt *model = NULL;
    uint32_t *players = mem_alloc(f, sizeof *players);
    medley_status st =
        players ? stack_design(s, mask, &x, err) : fail_memory(err, "the ensemble's table");
    if (!st) {
        stack_mask_players(&shape, players);
        medley_gbdt_options options = stack_gbdt_options(s, players);
        options.rounds = rounds;
        medley_table table = {x, s->label, NULL, s->n, f, s->n_classes};
        st = medley_gbdt_train(&table, NULL, &options, &model, err);
    }
    if (!st)
        st = name_features(s, mask, model, err);
    if (st)
        medley_gbdt_free(model);
    else
        *out = model;
    mem_free(x);
    mem_free(players);
    return st;
}

medley_status stack_predict(const struct stack *s, uint32_t mask, const medley_gbdt *model,
                            float *probabilities, medley_error *err)
{
    float *x = NULL;
    medley_status st = stack_design(s, mask, &x, err);
    if (!st)
        st = medley_gbdt_predict(model, x, s->n, probabilities, err);
    mem_free(x);
    return st;
}
