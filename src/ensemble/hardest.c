/* hardest.c: the queries of the test split whose labels surprise the selected ensemble most,
 * each with its worst pair explained by the current bundle: ensemble/hardest.json; see
 * decide.h.
 *
 * A query's surprise is the mean log-loss of its pairs beyond that of all, times the root of
 * their number: as unlikely by chance for one pair as for fifty. */
#include "ensemble/decide.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/progress.h"
#include "ensemble/explain.h"

#include <math.h>
#include <stdlib.h>

enum { QUERIES = 8, LIST_LIMIT = 1000, NEIGHBOURS = 3 };

struct hard_query {
    size_t begin, end, worst; /* rows of the stack */
    double loss, surprise;
    size_t right;
};

struct hard {
    const struct workspace *w;
    struct stack rows;
    float *p;                 /* [n * K] of the selected ensemble */
    struct hard_query *query; /* [n_queries] hardest first */
    size_t n_queries;
    double mean; /* log-loss of all pairs */
};

static double loss_of(const struct hard *h, size_t i)
{
    return -log(fmax((double)h->p[i * h->rows.n_classes + h->rows.label[i]], 1e-15));
}

static size_t label_of(const struct hard *h, size_t i)
{
    const float *p = h->p + i * h->rows.n_classes;
    size_t best = 0;
    for (size_t c = 1; c < h->rows.n_classes; c++)
        if (p[c] > p[best])
            best = c;
    return best;
}

static int by_surprise(const void *a, const void *b)
{
    const struct hard_query *x = a, *y = b;
    if (x->surprise != y->surprise)
        return x->surprise > y->surprise ? -1 : 1;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

/* Rows of one query stand together. */
static void find_queries(struct hard *h)
{
    const struct stack *s = &h->rows;
    for (size_t i = 0; i < s->n; i++)
        h->mean += loss_of(h, i) / (double)s->n;
    for (size_t begin = 0, end; begin < s->n; begin = end) {
        struct hard_query q = {.begin = begin, .worst = begin};
        for (end = begin; end < s->n && s->query[end] == s->query[begin]; end++) {
            q.loss += loss_of(h, end);
            q.right += label_of(h, end) == s->label[end];
            if (loss_of(h, end) > loss_of(h, q.worst))
                q.worst = end;
        }
        q.end = end;
        q.loss /= (double)(end - begin);
        q.surprise = (q.loss - h->mean) * sqrt((double)(end - begin));
        h->query[h->n_queries++] = q;
    }
    qsort(h->query, h->n_queries, sizeof *h->query, by_surprise);
}

static medley_status ask_ensemble(struct hard *h, medley_error *err)
{
    medley_gbdt *model = NULL;
    uint32_t mask = 0;
    unsigned rounds = 0;
    medley_status st = selection_load(h->w, &mask, &rounds, err);
    if (!st)
        st = stack_open(h->w, SPLIT_TEST, &h->rows, err);
    if (!st)
        st = medley_gbdt_load(workspace_path(h->w, "ensemble/selected.txt").s, &model, err);
    h->p = mem_alloc(h->rows.n + 1, (h->rows.n_classes + 1) * sizeof *h->p);
    h->query = mem_alloc(h->rows.n + 1, sizeof *h->query);
    if (!st && (!h->p || !h->query))
        st = fail_memory(err, "queries");
    if (!st)
        st = stack_predict(&h->rows, mask, model, h->p, err);
    medley_gbdt_free(model);
    return st;
}

static medley_status write_explanation(struct json_writer *w, const struct hard *h,
                                       const struct hard_query *q, const medley_bundle *b,
                                       medley_error *err)
{
    const struct dataset *d = &h->w->data;
    const struct stack *s = &h->rows;
    size_t models = medley_bundle_models(b), n = 0, begin = q->begin;
    struct str text = column_at(&d->query_text, s->query[q->begin]);
    const char *locale = d->locale_names[d->query_locale[s->query[q->begin]]];
    medley_product *products = mem_alloc(LIST_LIMIT, sizeof *products);
    if (!products)
        return fail_memory(err, "products");
    if (q->worst >= begin + LIST_LIMIT) /* of a longer list, the part with the pair */
        begin = q->worst + 1 - LIST_LIMIT;
    for (size_t i = begin; i < q->end && n < LIST_LIMIT; i++) {
        struct str id = column_at(&d->product_id, d->example_product[s->row[i]]);
        products[n++] = (medley_product){.id = {id.s, id.n}};
    }
    /* All models, as in the evaluation that found the pair. */
    struct explain_ask ask = {.query = {text.s, text.n},
                              .locale = {locale, str_of(locale).n},
                              .products = products,
                              .n = n,
                              .which = q->worst - begin,
                              .models = models >= 32 ? UINT32_MAX : (1u << models) - 1,
                              .tokens = true,
                              .neighbours = NEIGHBOURS};
    medley_status st = bundle_explain(b, &ask, w, err);
    mem_free(products);
    return st;
}

static medley_status write_query(struct json_writer *w, const struct hard *h,
                                 const struct hard_query *q, const medley_bundle *b,
                                 medley_error *err)
{
    const struct dataset *d = &h->w->data;
    const struct stack *s = &h->rows;
    uint32_t query = s->query[q->begin], product = d->example_product[s->row[q->worst]];
    size_t n = q->end - q->begin, truth = s->label[q->worst];
    jw_object(w);
    jw_key(w, "query"), jw_text(w, column_at(&d->query_text, query));
    jw_key(w, "locale"), jw_textz(w, d->locale_names[d->query_locale[query]]);
    jw_key(w, "n"), jw_i64(w, (int64_t)n);
    jw_key(w, "accuracy"), jw_double(w, (double)q->right / (double)n);
    jw_key(w, "log_loss"), jw_double(w, q->loss);
    jw_key(w, "surprise"), jw_double(w, q->surprise);
    jw_key(w, "worst"), jw_object(w);
    jw_key(w, "product"), jw_text(w, column_at(&d->product_id, product));
    jw_key(w, "title"), jw_text(w, column_at(&d->title, product));
    jw_key(w, "truth"), jw_textz(w, d->class_names[truth]);
    jw_key(w, "label"), jw_textz(w, d->class_names[label_of(h, q->worst)]);
    jw_key(w, "probability"), jw_float(w, h->p[q->worst * s->n_classes + truth]);
    jw_object_end(w);
    jw_key(w, "explanation");
    medley_status st = MEDLEY_OK;
    if (b)
        st = write_explanation(w, h, q, b, err);
    else
        jw_null(w);
    jw_object_end(w);
    return st;
}

/* NULL when the bundle is damaged or outdated: the report is about more than explanations. */
static medley_status open_bundle(const struct hard *h, medley_bundle **out, medley_error *err)
{
    medley_error why = {0};
    medley_status st = medley_bundle_open(workspace_path(h->w, "bundle/current").s, out, &why);
    if (st == MEDLEY_ENOMEM || st == MEDLEY_EINTERRUPTED)
        return fail(err, st, "%s", why.message);
    if (st)
        progress_note("the hardest queries are not explained: %s", why.message);
    return MEDLEY_OK;
}

static medley_status write_hard(const struct hard *h, medley_error *err)
{
    struct strbuf text;
    struct json_writer w;
    medley_bundle *b = NULL;
    medley_status st = open_bundle(h, &b, err);
    sb_init(&text);
    jw_init(&w, &text, true);
    jw_object(&w);
    jw_key(&w, "split"), jw_textz(&w, "test");
    jw_key(&w, "n_queries"), jw_i64(&w, (int64_t)h->n_queries);
    jw_key(&w, "log_loss"), jw_double(&w, h->mean);
    jw_key(&w, "queries"), jw_array(&w);
    for (size_t i = 0; i < h->n_queries && i < QUERIES && !st; i++) {
        progress_step("explain", i, QUERIES, "queries");
        st = write_query(&w, h, &h->query[i], b, err);
    }
    progress_end("explain");
    jw_array_end(&w);
    jw_object_end(&w);
    if (!st)
        st = decide_write_file(h->w, "hardest.json", &text, err);
    sb_deinit(&text);
    medley_bundle_close(b);
    return st;
}

medley_status decide_hardest(struct workspace *w, medley_error *err)
{
    struct hard h = {.w = w};
    medley_status st = ask_ensemble(&h, err);
    if (!st) {
        find_queries(&h);
        st = write_hard(&h, err);
    }
    mem_free(h.p);
    mem_free(h.query);
    stack_close(&h.rows);
    return st;
}
