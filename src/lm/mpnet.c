/* mpnet.c: MPNet (Song et al. 2020): BERT's layers without token types, and a bias by relative
 * position, in buckets that widen with the distance, shared by all layers. */
#include "base/error.h"
#include "base/memory.h"
#include "lm/blocks.h"

#include <math.h>

/* The reference buckets so whatever relative_attention_num_buckets says, which only sizes the
 * table; distances from FAR on share the last bucket. */
enum { BUCKETS = 32, FAR = 128 };

struct mpnet_layer {
    struct linear_ids query, key, value;
    struct post_norm rest;
};

struct mpnet {
    struct embeddings embeddings;
    param_id bias; /* [buckets, heads] */
    struct dense_head head;
    struct mpnet_layer layers[];
};

static medley_status mpnet_configure(struct encoder_config *c, const json *root,
                                     const char *path, medley_error *err)
{
    c->types = 0;
    c->padding = 1; /* whatever pad_token_id says */
    c->first_position = 2;
    c->relative_buckets = 32;
    return encoder_read_count(root, path, "relative_attention_num_buckets", BUCKETS, 4096,
                              &c->relative_buckets, err);
}

static void mpnet_describe(const struct encoder_config *c, struct json_writer *w)
{
    jw_key(w, "relative_attention_num_buckets"), jw_i64(w, c->relative_buckets);
}

/* The bucket of key - query: half of them for keys behind; of each half, one half is exact and
 * the other logarithmic up to FAR (Raffel et al. 2020, in float32 as the reference). */
static uint16_t bucket_of(int32_t distance)
{
    const int32_t half = BUCKETS / 2, exact = half / 2;
    int32_t base = distance > 0 ? half : 0, n = distance < 0 ? -distance : distance;
    if (n < exact)
        return (uint16_t)(base + n);
    float share = logf((float)n / (float)exact) / (float)log((double)FAR / exact);
    int32_t far = exact + (int32_t)(share * (float)(half - exact));
    return (uint16_t)(base + (far < half - 1 ? far : half - 1));
}

static medley_status mpnet_declare(struct encoder *e, struct params *p, size_t classes,
                                   medley_error *err)
{
    const struct encoder_config *c = &e->config;
    struct mpnet *m = mem_zalloc(1, sizeof *m + c->layers * sizeof *m->layers);
    if (!m)
        return fail_memory(err, "an encoder");
    e->ids = m;
    size_t d = c->hidden;
    m->embeddings.words =
        table_declare(p, c, c->vocabulary, d, "mpnet.embeddings.word_embeddings");
    m->embeddings.positions =
        table_declare(p, c, c->positions, d, "mpnet.embeddings.position_embeddings");
    m->embeddings.types = PARAM_NONE;
    m->embeddings.norm = norm_declare(p, d, true, "mpnet.embeddings.LayerNorm");
    m->bias = table_declare(p, c, c->relative_buckets, c->heads,
                            "mpnet.encoder.relative_attention_bias");
    encoder_mark(e, p);
    for (unsigned i = 0; i < c->layers; i++) {
        struct mpnet_layer *l = &m->layers[i];
        char name[64];
        snprintf(name, sizeof name, "mpnet.encoder.layer.%u", i);
        l->query = linear_declare(p, c, d, d, true, "%s.attention.attn.q", name);
        l->key = linear_declare(p, c, d, d, true, "%s.attention.attn.k", name);
        l->value = linear_declare(p, c, d, d, true, "%s.attention.attn.v", name);
        l->rest = post_norm_declare(p, c, name, "attention.attn.o", "attention.LayerNorm");
        encoder_mark(e, p);
    }
    m->head = dense_head_declare(p, c, classes);
    return p->failed ? fail_memory(err, "parameters") : MEDLEY_OK;
}

static struct tensor *mpnet_embed(const struct encoder *e, struct tape *t,
                                  const struct encoder_batch *batch, float dropout)
{
    const struct mpnet *m = e->ids;
    return embeddings_apply(t, &m->embeddings, &e->config, batch, dropout);
}

static struct tensor *mpnet_layer(const struct encoder *e, struct tape *t, unsigned i,
                                  struct tensor *x, const struct encoder_batch *batch,
                                  float dropout)
{
    const struct encoder_config *c = &e->config;
    const struct mpnet *m = e->ids;
    const struct mpnet_layer *l = &m->layers[i];
    uint32_t reach = longest_sequence(batch);
    uint16_t *bucket = tape_alloc(t, 2 * (size_t)reach + 1, sizeof *bucket);
    if (!bucket)
        return NULL;
    for (uint32_t b = 0; b <= 2 * reach; b++)
        bucket[b] = bucket_of((int32_t)b - (int32_t)reach);
    struct attention_terms terms = {
        .bucket = bucket, .reach = reach, .bias = op_table(t, m->bias)};
    if (!terms.bias)
        return NULL;
    struct tensor *q = linear_apply(t, x, l->query, ACT_NONE);
    struct tensor *k = linear_apply(t, x, l->key, ACT_NONE);
    struct tensor *v = linear_apply(t, x, l->value, ACT_NONE);
    struct tensor *a =
        op_attention_with(t, q, k, v, batch->sequences, c->heads, dropout, &terms);
    return post_norm_apply(t, &l->rest, c, a, x, dropout);
}

static struct tensor *mpnet_classify(const struct encoder *e, struct tape *t,
                                     struct tensor *hidden, const struct encoder_batch *batch,
                                     float dropout)
{
    const struct mpnet *m = e->ids;
    return dense_head_apply(t, &m->head, hidden, batch, ACT_TANH, dropout);
}

const struct encoder_family mpnet_family = {
    .model_type = "mpnet",
    .prefix = "mpnet.",
    .architecture = "MPNet",
    .configure = mpnet_configure,
    .describe = mpnet_describe,
    .declare = mpnet_declare,
    .embed = mpnet_embed,
    .layer = mpnet_layer,
    .classify = mpnet_classify,
};
