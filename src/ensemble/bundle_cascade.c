/* bundle_cascade.c: how a bundle answers in stages; see cascade.h. A pair is judged exactly as
 * cascade_play judges it on the workspace's predictions. Proof: tests/test_bundle.c. */
#include "ensemble/bundle_private.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/pool.h"
#include "ensemble/cascade_file.h"

#include <math.h>
#include <string.h>

void bundle_cascade_close(struct bundle_cascade *c)
{
    if (!c)
        return;
    for (size_t j = 0; j < MEDLEY_MAX_MODELS; j++) {
        medley_explainer_free(c->explainer[j]);
        medley_gbdt_free(c->gbdt[j]);
    }
    mem_free(c->c.guess);
    mem_free(c);
}

static struct design_shape stage_shape(const medley_bundle *b, size_t stage)
{
    struct design_shape shape = b->shape;
    shape.n_models = stage + 1;
    return shape;
}

static medley_status open_stage(medley_bundle *b, size_t j, const char *path, medley_error *err)
{
    struct bundle_cascade *c = b->cascade;
    struct design_shape shape = stage_shape(b, j);
    size_t f = design_columns(&shape), k = shape.n_classes;
    medley_status st = medley_gbdt_load(path, &c->gbdt[j], err);
    if (st)
        return st;
    if (medley_gbdt_features(c->gbdt[j]) != f || medley_gbdt_classes(c->gbdt[j]) != k)
        return fail(err, MEDLEY_EFORMAT,
                    "%s: %zu features and %zu classes (expected %zu and %zu)", path,
                    medley_gbdt_features(c->gbdt[j]), medley_gbdt_classes(c->gbdt[j]), f, k);
    uint32_t *player = mem_alloc(f, sizeof *player);
    if (!player)
        return fail_memory(err, "players");
    design_player_of_feature(&shape, player);
    st =
        medley_explainer_new(c->gbdt[j], player, design_players(&shape), &c->explainer[j], err);
    mem_free(player);
    return st;
}

medley_status bundle_cascade_open(medley_bundle *b, const char *folder, medley_error *err)
{
    const char *names[MEDLEY_MAX_MODELS];
    char path[1200];
    json *root = NULL;
    for (size_t m = 0; m < b->n_models; m++)
        names[m] = b->models[m].config.name;
    if (!(b->cascade = mem_zalloc(1, sizeof *b->cascade)))
        return fail_memory(err, "a cascade");
    snprintf(path, sizeof path, "%s/cascade/cascade.json", folder);
    medley_status st = json_load(path, &root, err);
    if (!st)
        st = cascade_read(root, path, names, b->n_models, b->data.n_classes, &b->cascade->c,
                          err);
    json_free(root);
    for (size_t j = 0; j < b->n_models && !st; j++) {
        snprintf(path, sizeof path, "%s/cascade/stage-%zu.txt", folder, j);
        st = open_stage(b, j, path, err);
    }
    return st;
}

/* ---- one request ---- */

/* A list on its way through the stages. `in` are the rows that are not decided. */
struct passing {
    struct request *r;
    const struct bundle_cascade *c;
    const medley_classify_options *how;
    medley_result *results;
    size_t n, k;
    uint32_t *in; /* [n_in] ascending */
    size_t n_in;
    uint8_t *stage;        /* [n] where a row stopped; n_stages: still in */
    float *x, *p, *margin; /* of the rows in: [n, F of all models], [n, K], [n, K] */
};

/* What nobody else will have written when all pairs have stopped. */
static void explain_nothing(const struct passing *t)
{
    const medley_classify_options *how = t->how;
    size_t m = t->r->b->n_models, pair = (m + 1) * t->k;
    if (how->contributions)
        memset(how->contributions, 0, t->n * pair * sizeof(float));
    if (how->interactions)
        memset(how->interactions, 0, t->n * (m + 1) * pair * sizeof(float));
    for (size_t i = 0; how->said && i < t->n * m * t->k; i++)
        how->said[i] = NAN;
}

static medley_status passing_open(struct passing *t, medley_error *err)
{
    const medley_bundle *b = t->r->b;
    t->in = mem_alloc(t->n, sizeof *t->in);
    t->stage = mem_alloc(t->n, 1);
    t->x = mem_alloc(t->n, design_columns(&b->shape) * sizeof *t->x);
    t->p = mem_alloc(t->n, t->k * sizeof *t->p);
    t->margin = mem_alloc(t->n, t->k * sizeof *t->margin);
    if (!t->in || !t->stage || !t->x || !t->p || !t->margin)
        return fail_memory(err, "a cascade");
    for (size_t i = 0; i < t->n; i++)
        t->in[i] = (uint32_t)i;
    t->n_in = t->n;
    memset(t->stage, (int)t->c->c.n_stages, t->n);
    explain_nothing(t);
    return request_context(t->r, err);
}

static void passing_close(struct passing *t)
{
    mem_free(t->in);
    mem_free(t->stage);
    mem_free(t->x);
    mem_free(t->p);
    mem_free(t->margin);
}

/* What the stage's model says of the rows that are in, and is guessed to say of the others. */
static medley_status ask(struct passing *t, size_t j, medley_error *err)
{
    size_t m = t->c->c.order[j], k = t->k;
    struct request part = {.b = NULL};
    if (!(t->r->probabilities[m] = mem_alloc(t->n, k * sizeof(float))))
        return fail_memory(err, "probabilities");
    for (size_t i = 0; i < t->n; i++)
        if (t->stage[i] < j)
            cascade_guess_row(&t->c->c, t->stage[i], j, t->results[i].probabilities, k,
                              t->r->probabilities[m] + i * k);
    medley_status st = request_part_open(t->r, t->in, t->n_in, &part, err);
    if (!st)
        st = request_ask(&part, m, err);
    if (!st)
        st = request_part_merge(t->r, &part, t->in, m, err);
    if (!st) /* rows that have stopped are never asked for again */
        st = request_part_keep(t->r, &part, t->in, err);
    request_free(&part);
    return st;
}

/* Rows of the stage's ensemble, of the pairs that are in, to t->x. The whole list is laid out:
 * its statistics are part of every row. */
static medley_status build_rows(const struct passing *t, size_t j, medley_error *err)
{
    const medley_bundle *b = t->r->b;
    struct design_shape shape = stage_shape(b, j);
    const float *said[MEDLEY_MAX_MODELS];
    size_t f = design_columns(&shape), found = 0;
    for (size_t m = 0; m < b->n_models; m++)
        if (t->c->c.prefix[j] >> m & 1)
            said[found++] = t->r->probabilities[m];
    if (!design_fill(&shape, said, t->r->context, t->n, t->x))
        return fail_memory(err, "the ensemble's rows");
    for (size_t i = 0; i < t->n_in; i++)
        memmove(t->x + i * f, t->x + t->in[i] * f, f * sizeof *t->x);
    return MEDLEY_OK;
}

static void fill_result(const struct passing *t, size_t j, size_t i)
{
    const medley_bundle *b = t->r->b;
    size_t row = t->in[i], k = t->k;
    medley_result *out = &t->results[row];
    out->label = 0;
    out->stages = (uint8_t)(j + 1);
    for (size_t c = 0; c < k; c++) {
        out->margins[c] = t->margin[i * k + c];
        out->probabilities[c] = t->p[i * k + c];
        if (out->probabilities[c] > out->probabilities[out->label])
            out->label = (uint8_t)c;
    }
    out->models_used = out->models_stored = 0;
    uint32_t given = request_given_mask(t->r, row);
    out->models_failed = t->r->failed & ~given;
    out->models_late = t->r->late & ~given;
    for (size_t m = 0; m < b->n_models; m++) {
        if (!(t->c->c.prefix[j] >> m & 1))
            continue;
        if (!isnan(t->r->probabilities[m][row * k]))
            out->models_used |= UINT32_C(1) << m;
        if (t->r->stored[m] && t->r->stored[m][row])
            out->models_stored |= UINT32_C(1) << m;
    }
}

/* The players of stage j among all of the bundle's, the context last. */
static size_t stage_players(const struct passing *t, size_t j, size_t *player)
{
    size_t found = 0, m = t->r->b->n_models;
    for (size_t i = 0; i < m; i++)
        if (t->c->c.prefix[j] >> i & 1)
            player[found++] = i;
    player[found++] = m;
    return found;
}

/* What is known of one pair that stops: models that were not asked have no part in it. */
static medley_status explain_row(const struct passing *t, size_t j, size_t i, const float *x,
                                 medley_error *err)
{
    enum { MOST = MEDLEY_MAX_MODELS + 1 };
    size_t player[MOST], n = stage_players(t, j, player), k = t->k;
    size_t all = t->r->b->n_models + 1, row = t->in[i];
    float *values = mem_alloc(n * n, k * sizeof *values);
    medley_status st = values ? MEDLEY_OK : fail_memory(err, "contributions");
    if (!st && t->how->contributions) {
        st = medley_explainer_values(t->c->explainer[j], x, 1, values, err);
        for (size_t a = 0; a < n && !st; a++)
            memcpy(t->how->contributions + (row * all + player[a]) * k, values + a * k,
                   k * sizeof *values);
    }
    if (!st && t->how->interactions) {
        st = medley_explainer_interactions(t->c->explainer[j], x, 1, values, err);
        for (size_t a = 0; a < n && !st; a++)
            for (size_t b = 0; b < n; b++)
                memcpy(t->how->interactions + ((row * all + player[a]) * all + player[b]) * k,
                       values + (a * n + b) * k, k * sizeof *values);
    }
    for (size_t a = 0; a + 1 < n && !st && t->how->said; a++)
        memcpy(t->how->said + (row * (all - 1) + player[a]) * k,
               t->r->probabilities[player[a]] + row * k, k * sizeof *values);
    mem_free(values);
    return st;
}

static medley_status explain_stopped(const struct passing *t, size_t j, const uint8_t *stops,
                                     medley_error *err)
{
    struct design_shape shape = stage_shape(t->r->b, j);
    size_t f = design_columns(&shape);
    medley_status st = MEDLEY_OK;
    if (!t->how->contributions && !t->how->interactions && !t->how->said)
        return MEDLEY_OK;
    for (size_t i = 0; i < t->n_in && !st; i++)
        if (stops[i])
            st = explain_row(t, j, i, t->x + i * f, err);
    return st;
}

/* The stage's answers; pairs that are decided leave. */
static medley_status judge(struct passing *t, size_t j, medley_error *err)
{
    const struct cascade *c = &t->c->c;
    size_t k = t->k, left = 0;
    uint8_t *stops = mem_zalloc(t->n_in, 1);
    medley_status st = stops ? medley_gbdt_predict(t->c->gbdt[j], t->x, t->n_in, t->p, err)
                             : fail_memory(err, "a cascade");
    if (!st)
        st = medley_gbdt_margins(t->c->gbdt[j], t->x, t->n_in, t->margin, err);
    if (!st)
        temperature_apply(c->temperature[j], t->p, t->n_in, k);
    for (size_t i = 0; i < t->n_in && !st; i++) {
        fill_result(t, j, i);
        /* when the time is over, what has been found out has to do */
        stops[i] = t->r->late || cascade_stops(c, j, t->p + i * k, k);
    }
    if (!st)
        st = explain_stopped(t, j, stops, err);
    for (size_t i = 0; i < t->n_in && !st; i++) {
        if (stops[i])
            t->stage[t->in[i]] = (uint8_t)j;
        else
            t->in[left++] = t->in[i];
    }
    if (!st)
        t->n_in = left;
    mem_free(stops);
    return st;
}

medley_status bundle_cascade_answer(struct request *r, const medley_classify_options *options,
                                    medley_result *results, medley_error *err)
{
    struct passing t = {.r = r,
                        .c = r->b->cascade,
                        .how = options,
                        .results = results,
                        .n = r->model.n,
                        .k = r->b->shape.n_classes};
    medley_status st = passing_open(&t, err);
    for (size_t j = 0; j < t.c->c.n_stages && t.n_in && !st; j++) {
        if (interrupted())
            st = fail(err, MEDLEY_EINTERRUPTED, "interrupted");
        if (!st)
            st = ask(&t, j, err);
        if (!st)
            st = build_rows(&t, j, err);
        if (!st)
            st = judge(&t, j, err);
    }
    passing_close(&t);
    return st;
}
