/* pretrain_text.c: see pretrain_text.h. */
#include "lm/pretrain_text.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/rng.h"
#include "lm/corpus.h"

#include <string.h>

enum { QUERY_LEAST = 2, QUERY_MOST = 6 }; /* tokens of a query made from a product */
enum { DOCUMENT_STREAM = 7 };

/* ---- documents ---- */

static medley_status find_specials(struct pretrain_text *t, const struct cross_encoder *m,
                                   medley_error *err)
{
    const struct tokenizer_specials s = tokenizer_specials(m->tokenizer);
    const int32_t known[] = {s.pad, s.unknown, s.cls, s.sep, s.mask};
    size_t n;
    if (s.mask < 0)
        return fail(err, MEDLEY_EUNSUPPORTED,
                    "the tokenizer has no mask token: nothing can be hidden for pre-training");
    t->mask = s.mask;
    t->vocabulary = (uint32_t)tokenizer_size(m->tokenizer);
    t->special = mem_zalloc(t->vocabulary, sizeof *t->special);
    if (!t->special)
        return fail_memory(err, "special tokens");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i] >= 0)
            t->special[known[i]] = true;
    for (int f = 0; f < FIELD_COUNT; f++)
        if (m->marker[f] >= 0)
            t->special[m->marker[f]] = true;
    const struct tokenizer_slot *slots = tokenizer_frame(m->tokenizer, true, &n);
    t->query_at = n;
    for (size_t i = 0; i < n; i++) {
        if (slots[i].id >= 0)
            t->special[slots[i].id] = true;
        else if (slots[i].id == TOKENIZER_A)
            t->query_at = i;
    }
    return MEDLEY_OK;
}

static void add_products(struct pretrain_text *t, const struct cross_encoder *m,
                         const struct dataset *d, bool fields_only)
{
    for (uint32_t p = 0; p < d->n_products; p++) {
        struct pair_text pair = {.query = {"", 0},
                                 .locale = str_of(d->locale_names[d->product_locale[p]]),
                                 .product = dataset_product(d, p)};
        lm_inputs_add_pair(&t->documents, m, &pair);
        if (fields_only)
            continue;
        lm_inputs_add_passages(&t->documents, m, &pair, FIELD_BULLETS);
        lm_inputs_add_passages(&t->documents, m, &pair, FIELD_DESCRIPTION);
    }
}

static medley_status add_queries(struct pretrain_text *t, const struct cross_encoder *m,
                                 const struct dataset *d, medley_error *err)
{
    bool *known = corpus_training_queries(d);
    if (!known)
        return fail_memory(err, "queries");
    for (size_t q = 0; q < d->n_queries; q++) {
        struct pair_text pair = {.query = column_at(&d->query_text, q),
                                 .locale = str_of(d->locale_names[d->query_locale[q]])};
        const struct str none = {"", 0};
        pair.product = (struct product_text){none, none, none, none, none, none};
        if (known[q])
            lm_inputs_add_pair(&t->documents, m, &pair);
    }
    mem_free(known);
    return MEDLEY_OK;
}

medley_status pretrain_text_init(struct pretrain_text *t, const struct cross_encoder *m,
                                 const struct dataset *d, bool fields_only, medley_error *err)
{
    *t = (struct pretrain_text){.max_tokens = m->options.max_tokens};
    lm_inputs_init(&t->documents);
    medley_status st = find_specials(t, m, err);
    if (st)
        return st;
    add_products(t, m, d, fields_only);
    st = add_queries(t, m, d, err);
    if (!st && t->documents.failed)
        st = fail_memory(err, "texts for pre-training");
    if (!st && t->documents.n == 0)
        st = fail(err, MEDLEY_EINVAL, "no texts to pre-train on");
    return st;
}

void pretrain_text_deinit(struct pretrain_text *t)
{
    lm_inputs_deinit(&t->documents);
    mem_free(t->special);
    t->special = NULL;
}

/* ---- batches ---- */

void masked_batch_init(struct masked_batch *b)
{
    *b = (struct masked_batch){0};
    lm_inputs_init(&b->inputs);
}

void masked_batch_deinit(struct masked_batch *b)
{
    lm_inputs_deinit(&b->inputs);
    mem_free(b->index);
    mem_free(b->target);
}

void masked_batch_clear(struct masked_batch *b)
{
    lm_inputs_clear(&b->inputs);
    b->n = 0;
}

/* A stretch of the document's own words in the query's place, unless there is no room. */
static void make_query(struct masked_batch *b, const struct pretrain_text *t, struct rng *rng)
{
    struct lm_inputs *in = &b->inputs;
    size_t begin = in->offsets[in->n - 1], length = in->n_tokens - begin;
    const int32_t *ids = in->ids + begin, *types = in->types + begin;
    int32_t words[QUERY_MOST];
    size_t want = QUERY_LEAST + rng_below(rng, QUERY_MOST - QUERY_LEAST + 1), n = 0;
    size_t at = rng_below(rng, (uint32_t)length);
    if (t->query_at > length || length + want > t->max_tokens)
        return;
    for (; at < length && n < want; at++)
        if (types[at] == 1 && !t->special[ids[at]])
            words[n++] = ids[at];
    lm_inputs_insert(in, t->query_at, words, n, 0);
}

static int32_t other_token(const struct pretrain_text *t, struct rng *rng)
{
    uint32_t id = rng_below(rng, t->vocabulary);
    for (int tries = 0; t->special[id] && tries < 64; tries++)
        id = rng_below(rng, t->vocabulary);
    return (int32_t)id;
}

static void hide(struct masked_batch *b, const struct pretrain_text *t, size_t row,
                 struct rng *rng)
{
    int32_t *id = &b->inputs.ids[row];
    if (!mem_reserve(&b->index, &b->capacity[0], b->n + 1, sizeof *b->index) ||
        !mem_reserve(&b->target, &b->capacity[1], b->n + 1, sizeof *b->target)) {
        b->inputs.failed = true;
        return;
    }
    b->index[b->n] = (uint32_t)row;
    b->target[b->n++] = *id;
    double u = rng_uniform(rng);
    if (u < 0.8)
        *id = t->mask;
    else if (u < 0.9)
        *id = other_token(t, rng);
}

void masked_batch_add(struct masked_batch *b, const struct pretrain_text *t, size_t i,
                      double rate, uint64_t seed, uint64_t draw)
{
    struct rng rng;
    struct lm_inputs *in = &b->inputs;
    rng_init(&rng, seed, mix64(draw, DOCUMENT_STREAM, i));
    lm_inputs_copy(in, &t->documents, i);
    if (in->failed)
        return;
    if (rng_uniform(&rng) < 0.5)
        make_query(b, t, &rng);
    size_t hidden = b->n;
    size_t begin = in->offsets[in->n - 1], words = 0;
    for (size_t row = begin; row < in->n_tokens; row++) {
        if (t->special[in->ids[row]])
            continue;
        words++;
        if (rng_uniform(&rng) < rate)
            hide(b, t, row, &rng);
    }
    if (b->n > hidden || words == 0)
        return;
    size_t chosen = rng_below(&rng, (uint32_t)words); /* a short text teaches something too */
    for (size_t row = begin; row < in->n_tokens; row++)
        if (!t->special[in->ids[row]] && chosen-- == 0)
            hide(b, t, row, &rng);
}
