/* bigbird.c: BigBird (Zaheer et al. 2020): BERT's layers whose attention is sparse for long
 * texts: each block of queries sees its neighbours, the first and last block, and random ones.
 * Scores out of sight are masked, so the cost stays quadratic; a key met twice counts twice, as
 * in the reference. */
#include "base/error.h"
#include "base/memory.h"
#include "lm/bigbird_blocks.h"
#include "lm/blocks.h"

#include <math.h>
#include <string.h>

struct bigbird_layer {
    struct linear_ids query, key, value;
    struct post_norm rest;
};

struct bigbird {
    struct embeddings embeddings;
    struct linear_ids pooler; /* in checkpoints, though no classifier reads it */
    struct dense_head head;
    struct bigbird_layer layers[];
};

static medley_status bigbird_configure(struct encoder_config *c, const json *root,
                                       const char *path, medley_error *err)
{
    struct bigbird_config *b = &c->bigbird;
    const char *type = "block_sparse";
    *b = (struct bigbird_config){.bias = true, .block = 64, .random = 3};
    json_as_text(json_get(root, "attention_type"), &type);
    json_as_bool(json_get(root, "use_bias"), &b->bias);
    json_as_bool(json_get(root, "rescale_embeddings"), &b->rescale);
    b->sparse = strcmp(type, "block_sparse") == 0;
    if (!b->sparse && strcmp(type, "original_full") != 0)
        return fail(err, MEDLEY_EUNSUPPORTED, "%s: attention_type '%s' is not supported", path,
                    type);
    medley_status st = encoder_read_count(root, path, "block_size", 1, 4096, &b->block, err);
    if (!st)
        st = encoder_read_count(root, path, "num_random_blocks", 0, 120, &b->random, err);
    if (!st && c->positions / b->block > 10000)
        st = fail(err, MEDLEY_EFORMAT, "%s: block_size %u is too small for %u positions", path,
                  b->block, c->positions);
    return st;
}

static void bigbird_describe(const struct encoder_config *c, struct json_writer *w)
{
    const struct bigbird_config *b = &c->bigbird;
    jw_key(w, "attention_type"), jw_textz(w, b->sparse ? "block_sparse" : "original_full");
    jw_key(w, "use_bias"), jw_bool(w, b->bias);
    jw_key(w, "rescale_embeddings"), jw_bool(w, b->rescale);
    jw_key(w, "block_size"), jw_i64(w, b->block);
    jw_key(w, "num_random_blocks"), jw_i64(w, b->random);
}

static medley_status bigbird_declare(struct encoder *e, struct params *p, size_t classes,
                                     medley_error *err)
{
    const struct encoder_config *c = &e->config;
    struct bigbird *m = mem_zalloc(1, sizeof *m + c->layers * sizeof *m->layers);
    if (!m)
        return fail_memory(err, "an encoder");
    e->ids = m;
    size_t d = c->hidden;
    bool bias = c->bigbird.bias;
    m->embeddings.words =
        table_declare(p, c, c->vocabulary, d, "bert.embeddings.word_embeddings");
    m->embeddings.positions =
        table_declare(p, c, c->positions, d, "bert.embeddings.position_embeddings");
    m->embeddings.types =
        table_declare(p, c, c->types, d, "bert.embeddings.token_type_embeddings");
    m->embeddings.norm = norm_declare(p, d, true, "bert.embeddings.LayerNorm");
    encoder_mark(e, p);
    for (unsigned i = 0; i < c->layers; i++) {
        struct bigbird_layer *l = &m->layers[i];
        char name[64];
        snprintf(name, sizeof name, "bert.encoder.layer.%u", i);
        l->query = linear_declare(p, c, d, d, bias, "%s.attention.self.query", name);
        l->key = linear_declare(p, c, d, d, bias, "%s.attention.self.key", name);
        l->value = linear_declare(p, c, d, d, bias, "%s.attention.self.value", name);
        l->rest = post_norm_declare(p, c, name, "attention.output.dense",
                                    "attention.output.LayerNorm");
        encoder_mark(e, p);
    }
    m->pooler = linear_declare(p, c, d, d, true, "bert.pooler");
    m->head = dense_head_declare(p, c, classes);
    if (p->failed)
        return fail_memory(err, "parameters");
    p->items[m->pooler.w].frozen = p->items[m->pooler.b].frozen = true;
    return MEDLEY_OK;
}

static struct tensor *bigbird_embed(const struct encoder *e, struct tape *t,
                                    const struct encoder_batch *batch, float dropout)
{
    const struct bigbird *m = e->ids;
    const struct encoder_config *c = &e->config;
    struct embeddings others = m->embeddings;
    struct tensor *x = op_embed(t, m->embeddings.words, batch->ids, batch->tokens);
    if (c->bigbird.rescale)
        x = op_scale(t, x, sqrtf((float)c->hidden));
    others.words = PARAM_NONE;
    x = op_add(t, x, embeddings_sum(t, &others, c, batch));
    return norm_apply(t, op_dropout(t, x, dropout), NULL, m->embeddings.norm, c->norm_eps);
}

/* ---- what is out of sight ---- */

struct sight {
    const struct block_pattern *const
        *patterns; /* [sequences] NULL: a text short enough to see all */
    size_t block;
    float scale;
};

static void hide_blocks(const void *context, size_t sequence, size_t head, float *scores,
                        size_t t)
{
    const struct sight *s = context;
    const struct block_pattern *p = s->patterns[sequence];
    for (size_t i = 0; p && i < t; i++)
        for (size_t j = 0; j < t; j++) {
            uint8_t seen =
                p->seen[(head * p->blocks + i / s->block) * p->blocks + j / s->block];
            if (!seen)
                scores[i * t + j] = ATTENTION_UNSEEN;
            else if (seen > 1) /* a key met n times adds n times its exponential */
                scores[i * t + j] += logf((float)seen) / s->scale;
        }
}

/* NULL for a text that the reference attends to in full, and when the tape has failed. */
static const struct block_pattern *pattern_of(const struct encoder_config *c, struct tape *t,
                                              unsigned layer, size_t tokens)
{
    const struct bigbird_config *b = &c->bigbird;
    size_t blocks = (tokens + b->block - 1) / b->block, most = c->positions / b->block;
    if (tokens <= (size_t)(5 + 2 * b->random) * b->block)
        return NULL;
    struct block_pattern *p = tape_alloc(t, 1, sizeof *p);
    uint8_t *seen = tape_alloc(t, c->heads * blocks * blocks, sizeof *seen);
    uint16_t *scratch = tape_alloc(t, blocks > most ? blocks : most, sizeof *scratch);
    if (!p || !seen || !scratch)
        return NULL;
    *p = (struct block_pattern){c->heads, blocks, seen};
    block_pattern_draw(p, layer, b->random, b->block, c->positions, scratch);
    return p;
}

static const struct sight *sight_of(const struct encoder_config *c, struct tape *t,
                                    unsigned layer, const struct encoder_batch *batch)
{
    size_t n = batch->sequences.n;
    const uint32_t *offsets = batch->sequences.offsets;
    struct sight *s = tape_alloc(t, 1, sizeof *s);
    const struct block_pattern **patterns = tape_alloc(t, n, sizeof(void *));
    if (!s || (n && !patterns))
        return NULL;
    size_t known = 0; /* tokens of the pattern at hand */
    const struct block_pattern *pattern = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t tokens = batch->padded ? batch->padded : offsets[i + 1] - offsets[i];
        if (tokens != known)
            pattern = pattern_of(c, t, layer, known = tokens);
        patterns[i] = pattern;
    }
    unsigned head_width = c->hidden / c->heads;
    *s = (struct sight){patterns, c->bigbird.block, 1 / sqrtf((float)head_width)};
    return t->failed ? NULL : s;
}

static struct tensor *bigbird_layer(const struct encoder *e, struct tape *t, unsigned i,
                                    struct tensor *x, const struct encoder_batch *batch,
                                    float dropout)
{
    const struct encoder_config *c = &e->config;
    const struct bigbird *m = e->ids;
    const struct bigbird_layer *l = &m->layers[i];
    struct attention_terms terms = {0};
    if (c->bigbird.sparse) {
        terms.mask = hide_blocks;
        terms.context = sight_of(c, t, i, batch);
        if (!terms.context)
            return NULL;
    }
    struct tensor *q = linear_apply(t, x, l->query, ACT_NONE);
    struct tensor *k = linear_apply(t, x, l->key, ACT_NONE);
    struct tensor *v = linear_apply(t, x, l->value, ACT_NONE);
    struct tensor *a =
        op_attention_with(t, q, k, v, batch->sequences, c->heads, dropout, &terms);
    return post_norm_apply(t, &l->rest, c, a, x, dropout);
}

static struct tensor *bigbird_classify(const struct encoder *e, struct tape *t,
                                       struct tensor *hidden, const struct encoder_batch *batch,
                                       float dropout)
{
    const struct bigbird *m = e->ids;
    return dense_head_apply(t, &m->head, hidden, batch, e->config.activation, dropout);
}

const struct encoder_family bigbird_family = {
    .model_type = "big_bird",
    .prefix = "bert.",
    .architecture = "BigBird",
    .configure = bigbird_configure,
    .describe = bigbird_describe,
    .declare = bigbird_declare,
    .embed = bigbird_embed,
    .layer = bigbird_layer,
    .classify = bigbird_classify,
};
