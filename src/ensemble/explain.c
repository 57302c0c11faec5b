/* explain.c: see explain.h. What is particular to a kind of base model: explain_graph.c,
 * explain_tokens.c. Proof: tests/test_explain.c. */
#include "ensemble/explain_private.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PAIRS = 5 }; /* interactions that are told */

void explain_classes(struct json_writer *w, const medley_bundle *b, const double *values)
{
    jw_object(w);
    for (size_t c = 0; c < b->shape.n_classes; c++)
        jw_key(w, medley_bundle_class(b, c)), jw_double(w, values[c]);
    jw_object_end(w);
}

static void write_floats(struct json_writer *w, const medley_bundle *b, const char *key,
                         const float *values)
{
    jw_key(w, key), jw_object(w);
    for (size_t c = 0; c < b->shape.n_classes; c++)
        jw_key(w, medley_bundle_class(b, c)), jw_float(w, values[c]);
    jw_object_end(w);
}

static const char *player_name(const medley_bundle *b, size_t p)
{
    return p < b->n_models ? b->models[p].config.name : "context";
}

static struct str str_of_text(medley_text t)
{
    return (struct str){t.s, t.n};
}

/* ---- judging ---- */

static medley_status judge(struct explaining *x, medley_error *err)
{
    const struct explain_ask *ask = x->ask;
    const medley_bundle *b = x->b;
    size_t players = b->n_models + 1, k = b->shape.n_classes, n = ask->n, i = ask->which;
    medley_result *results = mem_zalloc(n, sizeof *results);
    float *values = mem_alloc(n, players * k * sizeof *values);
    float *pairs = mem_alloc(n, players * players * k * sizeof *pairs);
    float *said = mem_alloc(n, players * k * sizeof *said);
    medley_classify_options how = {
        .models = ask->models, .contributions = values, .said = said, .interactions = pairs};
    medley_status st = results && values && pairs && said
                           ? medley_bundle_classify(b, ask->query, ask->locale, ask->products,
                                                    n, &how, results, err)
                           : fail_memory(err, "an explanation");
    if (!st) {
        x->result = results[i];
        memcpy(x->contributions, values + i * players * k, players * k * sizeof *values);
        memcpy(x->said, said + i * b->n_models * k, b->n_models * k * sizeof *said);
        memcpy(x->interactions, pairs + i * players * players * k,
               players * players * k * sizeof *pairs);
    }
    mem_free(results);
    mem_free(values);
    mem_free(pairs);
    mem_free(said);
    return st;
}

/* The pair as the base models see it. */
static void find_pair(struct explaining *x)
{
    const medley_product *p = &x->ask->products[x->ask->which];
    const struct dataset *d = &x->b->data;
    struct pair_text *t = &x->pair;
    t->query = str_trim(str_of_text(x->ask->query));
    t->locale = str_of_text(x->ask->locale);
    x->query = dataset_find_query(d, t->query, t->locale);
    x->product = p->id.n ? dataset_find_product(d, str_of_text(p->id), t->locale) : UINT32_MAX;
    if (x->product != UINT32_MAX)
        t->product = dataset_product(d, x->product);
    if (p->has_text)
        t->product = (struct product_text){str_of_text(p->title),   str_of_text(p->description),
                                           str_of_text(p->bullets), str_of_text(p->brand),
                                           str_of_text(p->color),   str_of_text(p->category)};
}

/* ---- writing ---- */

static void write_cascade(struct json_writer *w, const struct explaining *x)
{
    const medley_bundle *b = x->b;
    jw_key(w, "cascade");
    if (!x->result.stages) {
        jw_null(w);
        return;
    }
    const struct cascade *c = &b->cascade->c;
    size_t j = x->result.stages - 1u;
    jw_object(w);
    jw_key(w, "stage"), jw_i64(w, x->result.stages);
    jw_key(w, "of"), jw_i64(w, (int64_t)c->n_stages);
    jw_key(w, "model"), jw_textz(w, player_name(b, c->order[j]));
    jw_key(w, "threshold");
    if (j + 1 < c->n_stages)
        jw_double(w, c->threshold[j][x->result.label]);
    else
        jw_null(w);
    jw_key(w, "not_asked"), jw_array(w);
    for (size_t i = j + 1; i < c->n_stages; i++)
        jw_textz(w, player_name(b, c->order[i]));
    jw_array_end(w);
    jw_object_end(w);
}

static void write_model(struct json_writer *w, const struct explaining *x, size_t m)
{
    const medley_bundle *b = x->b;
    size_t k = b->shape.n_classes, best = 0;
    const float *p = x->said + m * k;
    bool used = m < b->n_models && x->result.models_used >> m & 1;
    jw_object(w);
    jw_key(w, "name"), jw_textz(w, player_name(b, m));
    jw_key(w, "kind"), jw_textz(w, m < b->n_models ? b->models[m].config.kind_name : "context");
    if (m < b->n_models) {
        jw_key(w, "answered"), jw_bool(w, used);
        jw_key(w, "precomputed"), jw_bool(w, x->result.models_stored >> m & 1);
        for (size_t c = 1; c < k; c++)
            if (p[c] > p[best])
                best = c;
        jw_key(w, "label"), jw_textz(w, used ? medley_bundle_class(b, best) : NULL);
        if (used)
            write_floats(w, b, "probabilities", p);
        else
            jw_key(w, "probabilities"), jw_null(w);
    }
    write_floats(w, b, "contributions", x->contributions + m * k);
    jw_object_end(w);
}

/* Half of an interaction stands on either side of the diagonal. */
static double interaction(const struct explaining *x, size_t p, size_t q, size_t class)
{
    size_t players = x->b->n_models + 1, k = x->b->shape.n_classes;
    return (double)x->interactions[(p * players + q) * k + class] +
           (double)x->interactions[(q * players + p) * k + class];
}

struct together {
    size_t p, q;
    double size;
};

static int by_size(const void *a, const void *b)
{
    const struct together *x = a, *y = b;
    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    return x->p != y->p ? (x->p > y->p) - (x->p < y->p) : (x->q > y->q) - (x->q < y->q);
}

/* The pairs of players that mattered most to the label. */
static medley_status write_interactions(struct json_writer *w, const struct explaining *x,
                                        medley_error *err)
{
    const medley_bundle *b = x->b;
    size_t players = b->n_models + 1, n = 0;
    struct together *list = mem_alloc(players * players, sizeof *list);
    if (!list)
        return fail_memory(err, "interactions");
    for (size_t p = 0; p < players; p++)
        for (size_t q = p + 1; q < players; q++)
            list[n++] = (struct together){p, q, fabs(interaction(x, p, q, x->result.label))};
    qsort(list, n, sizeof *list, by_size);
    jw_key(w, "interactions"), jw_array(w);
    for (size_t i = 0; i < n && i < MOST_PAIRS && list[i].size > 0; i++) {
        double values[MEDLEY_MAX_CLASSES];
        for (size_t c = 0; c < b->shape.n_classes; c++)
            values[c] = interaction(x, list[i].p, list[i].q, c);
        jw_object(w);
        jw_key(w, "players"), jw_array(w);
        jw_textz(w, player_name(b, list[i].p)), jw_textz(w, player_name(b, list[i].q));
        jw_array_end(w);
        jw_key(w, "values"), explain_classes(w, b, values);
        jw_object_end(w);
    }
    jw_array_end(w);
    mem_free(list);
    return MEDLEY_OK;
}

static void write_decision(struct json_writer *w, const struct explaining *x)
{
    const medley_bundle *b = x->b;
    const medley_product *p = &x->ask->products[x->ask->which];
    double base[MEDLEY_MAX_CLASSES];
    size_t k = b->shape.n_classes;
    jw_key(w, "bundle"), jw_textz(w, b->id);
    jw_key(w, "query"), jw_text(w, x->pair.query);
    jw_key(w, "locale"), jw_text(w, x->pair.locale);
    jw_key(w, "product");
    if (p->id.n)
        jw_text(w, str_of_text(p->id));
    else
        jw_null(w);
    jw_key(w, "title"), jw_text(w, x->pair.product.title);
    jw_key(w, "brand"), jw_text(w, x->pair.product.brand);
    jw_key(w, "list_size"), jw_i64(w, (int64_t)x->ask->n);
    jw_key(w, "known_query"), jw_bool(w, x->query != UINT32_MAX);
    jw_key(w, "known_product"), jw_bool(w, x->result.known_product);
    jw_key(w, "label"), jw_textz(w, medley_bundle_class(b, x->result.label));
    write_floats(w, b, "probabilities", x->result.probabilities);
    jw_key(w, "calibration"),
        jw_textz(w, x->result.stages ? "temperature" : medley_bundle_calibration(b));
    write_floats(w, b, "margins", x->result.margins);
    medley_bundle_stage_base(b, x->result.stages, base);
    jw_key(w, "base"), explain_classes(w, b, base);
    jw_key(w, "contributions"), jw_object(w);
    for (size_t m = 0; m <= b->n_models; m++)
        write_floats(w, b, player_name(b, m), x->contributions + m * k);
    jw_object_end(w);
    write_cascade(w, x);
}

medley_status bundle_explain(const medley_bundle *b, const struct explain_ask *ask,
                             struct json_writer *w, medley_error *err)
{
    struct explaining *x = mem_zalloc(1, sizeof *x);
    size_t players = b->n_models + 1, k = b->shape.n_classes;
    if (!x)
        return fail_memory(err, "an explanation");
    x->b = b;
    x->ask = ask;
    x->contributions = mem_alloc(players, k * sizeof *x->contributions);
    x->said = mem_alloc(players, k * sizeof *x->said);
    x->interactions = mem_alloc(players * players, k * sizeof *x->interactions);
    medley_status st = x->contributions && x->said && x->interactions
                           ? judge(x, err)
                           : fail_memory(err, "an explanation");
    if (!st) {
        find_pair(x);
        jw_object(w);
        write_decision(w, x);
        jw_key(w, "models"), jw_array(w);
        for (size_t m = 0; m <= b->n_models; m++)
            write_model(w, x, m);
        jw_array_end(w);
        st = write_interactions(w, x, err);
    }
    if (!st)
        st = explain_neighbours(w, x, err);
    if (!st)
        st = explain_tokens(w, x, err);
    if (!st)
        jw_object_end(w);
    mem_free(x->contributions);
    mem_free(x->said);
    mem_free(x->interactions);
    mem_free(x);
    return st;
}
