/* deberta.c: DeBERTa-v2 and v3, mDeBERTa (He et al. 2021, 2023): attention to content and to
 * relative positions apart. The score of query i and key j is q_i.k_j + q_i.K[b] + k_j.Q[b]
 * over sqrt(d times the number of terms), b the bucket of i - j, K and Q projections of one
 * table of relative positions that all layers share. */
#include "base/error.h"
#include "base/memory.h"
#include "lm/blocks.h"

#include <math.h>
#include <string.h>

struct deberta_layer {
    struct linear_ids query, key, value;
    struct linear_ids query_at, key_at; /* of positions; those of content when shared */
    struct post_norm rest;
};

struct deberta {
    struct embeddings embeddings;
    struct linear_ids project; /* when the tables are narrower than the layers */
    param_id relative;         /* [2 span, D] */
    struct norm_ids relative_norm;
    struct linear_ids convolution;
    struct norm_ids convolution_norm;
    struct linear_ids pooler, classifier;
    struct deberta_layer layers[];
};

/* ---- settings ---- */

/* pos_att_type is a list, or one string of parts joined by '|'. */
static bool has_part(const json *types, const char *part)
{
    const char *text;
    if (json_as_text(types, &text))
        return strstr(text, part) != NULL;
    for (const json *i = json_first(types); i; i = json_next(i))
        if (json_as_text(i, &text) && strcmp(text, part) == 0)
            return true;
    return false;
}

static medley_status read_relative(struct encoder_config *c, const json *root, const char *path,
                                   medley_error *err)
{
    struct deberta_config *d = &c->deberta;
    int64_t reach = -1, buckets = -1;
    const char *norm = "none";
    const json *types = json_get(root, "pos_att_type");
    json_as_i64(json_get(root, "max_relative_positions"), &reach);
    json_as_i64(json_get(root, "position_buckets"), &buckets);
    json_as_text(json_get(root, "norm_rel_ebd"), &norm);
    if (reach > 100000 || buckets > 16384)
        return fail(err, MEDLEY_EFORMAT,
                    "%s: max_relative_positions or position_buckets is too large", path);
    d->content_to_position = has_part(types, "c2p");
    d->position_to_content = has_part(types, "p2c");
    json_as_bool(json_get(root, "share_att_key"), &d->share_keys);
    d->reach = reach < 1 ? c->positions : (unsigned)reach;
    d->buckets = buckets > 0 ? (unsigned)buckets : 0;
    d->span = d->buckets ? d->buckets : d->reach;
    d->norm_relative = strstr(norm, "layer_norm") != NULL;
    /* Half of the buckets are exact, the others take the logarithm of reach over that half. */
    return d->buckets == 0 || (d->buckets >= 4 && d->reach > d->buckets / 2 + 1)
               ? MEDLEY_OK
               : fail(err, MEDLEY_EFORMAT,
                      "%s: position_buckets %u must be at least 4 and less than twice "
                      "max_relative_positions %u",
                      path, d->buckets, d->reach);
}

static medley_status read_convolution(struct encoder_config *c, const json *root,
                                      const char *path, medley_error *err)
{
    struct deberta_config *d = &c->deberta;
    d->groups = 1;
    d->conv_activation = ACT_TANH;
    medley_status st =
        encoder_read_count(root, path, "conv_kernel_size", 0, 255, &d->taps, err);
    if (!st)
        st = encoder_read_count(root, path, "conv_groups", 1, 65536, &d->groups, err);
    if (!st)
        st = encoder_read_activation(root, path, "conv_act", &d->conv_activation, err);
    if (!st && d->taps && (d->taps % 2 == 0 || c->hidden % d->groups))
        st =
            fail(err, MEDLEY_EFORMAT,
                 "%s: conv_kernel_size %u must be odd and conv_groups %u divide hidden_size %u",
                 path, d->taps, d->groups, c->hidden);
    return st;
}

static medley_status deberta_configure(struct encoder_config *c, const json *root,
                                       const char *path, medley_error *err)
{
    struct deberta_config *d = &c->deberta;
    *d = (struct deberta_config){.absolute = true, .pooler_activation = ACT_GELU};
    unsigned pooler = c->hidden;
    json_as_bool(json_get(root, "relative_attention"), &d->relative);
    json_as_bool(json_get(root, "position_biased_input"), &d->absolute);
    medley_status st =
        encoder_read_count(root, path, "embedding_size", 1, 16384, &c->embedding, err);
    if (!st)
        st = encoder_read_count(root, path, "pooler_hidden_size", 1, 16384, &pooler, err);
    if (!st && pooler != c->hidden)
        st = fail(err, MEDLEY_EUNSUPPORTED,
                  "%s: pooler_hidden_size %u differs from hidden_size %u", path, pooler,
                  c->hidden);
    if (!st)
        st = encoder_read_activation(root, path, "pooler_hidden_act", &d->pooler_activation,
                                     err);
    if (!st && d->relative)
        st = read_relative(c, root, path, err);
    if (!st)
        st = read_convolution(c, root, path, err);
    return st;
}

static void deberta_describe(const struct encoder_config *c, struct json_writer *w)
{
    const struct deberta_config *d = &c->deberta;
    jw_key(w, "embedding_size"), jw_i64(w, c->embedding);
    jw_key(w, "position_biased_input"), jw_bool(w, d->absolute);
    jw_key(w, "relative_attention"), jw_bool(w, d->relative);
    if (d->relative) {
        jw_key(w, "max_relative_positions"), jw_i64(w, d->reach);
        jw_key(w, "position_buckets"), jw_i64(w, d->buckets ? (int64_t)d->buckets : -1);
        jw_key(w, "share_att_key"), jw_bool(w, d->share_keys);
        jw_key(w, "norm_rel_ebd"), jw_textz(w, d->norm_relative ? "layer_norm" : "none");
        jw_key(w, "pos_att_type"), jw_array(w);
        if (d->position_to_content)
            jw_textz(w, "p2c");
        if (d->content_to_position)
            jw_textz(w, "c2p");
        jw_array_end(w);
    }
    if (d->taps) {
        jw_key(w, "conv_kernel_size"), jw_i64(w, d->taps);
        jw_key(w, "conv_groups"), jw_i64(w, d->groups);
        jw_key(w, "conv_act"), jw_textz(w, encoder_activation_name(d->conv_activation));
    }
    jw_key(w, "pooler_hidden_size"), jw_i64(w, c->hidden);
    jw_key(w, "pooler_hidden_act"), jw_textz(w, encoder_activation_name(d->pooler_activation));
    jw_key(w, "pooler_dropout"), jw_i64(w, 0);
}

/* ---- parameters ---- */

static void declare_start(struct encoder *e, struct params *p, struct deberta *m)
{
    const struct encoder_config *c = &e->config;
    const struct deberta_config *d = &c->deberta;
    size_t width = c->embedding;
    m->embeddings.words =
        table_declare(p, c, c->vocabulary, width, "deberta.embeddings.word_embeddings");
    m->embeddings.positions = PARAM_NONE;
    if (d->absolute)
        m->embeddings.positions =
            table_declare(p, c, c->positions, width, "deberta.embeddings.position_embeddings");
    m->embeddings.types = PARAM_NONE;
    if (c->types)
        m->embeddings.types =
            table_declare(p, c, c->types, width, "deberta.embeddings.token_type_embeddings");
    m->project.w = PARAM_NONE;
    if (width != c->hidden)
        m->project =
            linear_declare(p, c, width, c->hidden, false, "deberta.embeddings.embed_proj");
    m->embeddings.norm = norm_declare(p, c->hidden, true, "deberta.embeddings.LayerNorm");
    if (d->relative)
        m->relative = table_declare(p, c, 2 * (size_t)d->span, c->hidden,
                                    "deberta.encoder.rel_embeddings");
    if (d->relative && d->norm_relative)
        m->relative_norm = norm_declare(p, c->hidden, true, "deberta.encoder.LayerNorm");
    if (d->taps) {
        const char *name = "deberta.encoder.conv.conv";
        m->convolution = linear_declare(p, c, (size_t)c->hidden / d->groups * d->taps,
                                        c->hidden, true, "%s", name);
        if (m->convolution.w != PARAM_NONE) {
            p->items[m->convolution.w].dims = 3;
            p->items[m->convolution.w].taps = d->taps;
        }
        m->convolution_norm =
            norm_declare(p, c->hidden, true, "deberta.encoder.conv.LayerNorm");
    }
    encoder_mark(e, p);
}

static void declare_layer(struct encoder *e, struct params *p, unsigned i,
                          struct deberta_layer *l)
{
    const struct encoder_config *c = &e->config;
    const struct deberta_config *d = &c->deberta;
    size_t n = c->hidden;
    char name[64];
    snprintf(name, sizeof name, "deberta.encoder.layer.%u", i);
    l->query = linear_declare(p, c, n, n, true, "%s.attention.self.query_proj", name);
    l->key = linear_declare(p, c, n, n, true, "%s.attention.self.key_proj", name);
    l->value = linear_declare(p, c, n, n, true, "%s.attention.self.value_proj", name);
    l->query_at = l->query;
    l->key_at = l->key;
    if (d->relative && !d->share_keys && d->content_to_position)
        l->key_at = linear_declare(p, c, n, n, true, "%s.attention.self.pos_key_proj", name);
    if (d->relative && !d->share_keys && d->position_to_content)
        l->query_at =
            linear_declare(p, c, n, n, true, "%s.attention.self.pos_query_proj", name);
    l->rest =
        post_norm_declare(p, c, name, "attention.output.dense", "attention.output.LayerNorm");
    encoder_mark(e, p);
}

static medley_status deberta_declare(struct encoder *e, struct params *p, size_t classes,
                                     medley_error *err)
{
    const struct encoder_config *c = &e->config;
    struct deberta *m = mem_zalloc(1, sizeof *m + c->layers * sizeof *m->layers);
    if (!m)
        return fail_memory(err, "an encoder");
    e->ids = m;
    declare_start(e, p, m);
    for (unsigned i = 0; i < c->layers; i++)
        declare_layer(e, p, i, &m->layers[i]);
    m->pooler = linear_declare(p, c, c->hidden, c->hidden, true, "pooler.dense");
    m->classifier = linear_declare(p, c, c->hidden, classes, true, "classifier");
    return p->failed ? fail_memory(err, "parameters") : MEDLEY_OK;
}

/* ---- forward ---- */

static struct tensor *deberta_embed(const struct encoder *e, struct tape *t,
                                    const struct encoder_batch *batch, float dropout)
{
    const struct deberta *m = e->ids;
    const struct encoder_config *c = &e->config;
    struct tensor *x = embeddings_sum(t, &m->embeddings, c, batch);
    if (m->project.w != PARAM_NONE)
        x = linear_apply(t, x, m->project, ACT_NONE);
    return op_dropout(t, norm_apply(t, x, NULL, m->embeddings.norm, c->norm_eps), dropout);
}

/* The row of the table for query - key = distance: exact near 0, then logarithmic up to reach
 * (in float32 as the reference). */
static uint16_t bucket_of(int32_t distance, const struct deberta_config *d)
{
    int32_t at = distance, middle = (int32_t)d->buckets / 2, span = (int32_t)d->span;
    if (d->buckets && (distance > middle || distance < -middle)) {
        float n = (float)(distance < 0 ? -distance : distance), half = (float)middle;
        float share = logf(n / half) / logf((float)(d->reach - 1) / half);
        int32_t far = (int32_t)ceilf(share * (float)(middle - 1)) + middle;
        at = distance < 0 ? -far : far;
    }
    at += span;
    return (uint16_t)(at < 0 ? 0 : at < 2 * span ? at : 2 * span - 1);
}

/* The terms by position of one layer; false when the tape has failed. */
static bool position_terms(const struct encoder *e, struct tape *t,
                           const struct deberta_layer *l, const struct encoder_batch *batch,
                           float dropout, struct attention_terms *terms)
{
    const struct encoder_config *c = &e->config;
    const struct deberta_config *d = &c->deberta;
    const struct deberta *m = e->ids;
    unsigned n = 1u + d->content_to_position + d->position_to_content;
    unsigned head_width = c->hidden / c->heads;
    terms->scale = 1 / sqrtf((float)(head_width * n));
    if (!d->relative || n == 1)
        return true;
    uint32_t reach = longest_sequence(batch);
    uint16_t *bucket = tape_alloc(t, 2 * (size_t)reach + 1, sizeof *bucket);
    struct tensor *table = op_table(t, m->relative);
    if (!bucket || !table)
        return false;
    for (uint32_t b = 0; b <= 2 * reach; b++)
        bucket[b] = bucket_of((int32_t)reach - (int32_t)b, d);
    if (d->norm_relative)
        table = norm_apply(t, table, NULL, m->relative_norm, c->norm_eps);
    table = op_dropout(t, table, dropout);
    terms->bucket = bucket;
    terms->reach = reach;
    if (d->content_to_position)
        terms->key_at = linear_apply(t, table, l->key_at, ACT_NONE);
    if (d->position_to_content)
        terms->query_at = linear_apply(t, table, l->query_at, ACT_NONE);
    return !t->failed;
}

static struct tensor *deberta_layer(const struct encoder *e, struct tape *t, unsigned i,
                                    struct tensor *x, const struct encoder_batch *batch,
                                    float dropout)
{
    const struct encoder_config *c = &e->config;
    const struct deberta *m = e->ids;
    const struct deberta_layer *l = &m->layers[i];
    struct attention_terms terms = {0};
    if (!position_terms(e, t, l, batch, dropout, &terms))
        return NULL;
    struct tensor *q = linear_apply(t, x, l->query, ACT_NONE);
    struct tensor *k = linear_apply(t, x, l->key, ACT_NONE);
    struct tensor *v = linear_apply(t, x, l->value, ACT_NONE);
    struct tensor *a =
        op_attention_with(t, q, k, v, batch->sequences, c->heads, dropout, &terms);
    struct tensor *y = post_norm_apply(t, &l->rest, c, a, x, dropout);
    if (i || !c->deberta.taps)
        return y;
    struct tensor *near = op_conv(t, x, m->convolution.w, m->convolution.b, batch->sequences,
                                  c->deberta.taps, c->deberta.groups);
    near = op_activation(t, op_dropout(t, near, dropout), c->deberta.conv_activation);
    return norm_apply(t, near, y, m->convolution_norm, c->norm_eps);
}

static struct tensor *deberta_classify(const struct encoder *e, struct tape *t,
                                       struct tensor *hidden, const struct encoder_batch *batch,
                                       float dropout)
{
    const struct deberta *m = e->ids;
    struct tensor *pooled = linear_apply(t, first_tokens(t, hidden, batch), m->pooler,
                                         e->config.deberta.pooler_activation);
    return linear_apply(t, op_dropout(t, pooled, dropout), m->classifier, ACT_NONE);
}

const struct encoder_family deberta_family = {
    .model_type = "deberta-v2",
    .prefix = "deberta.",
    .architecture = "DebertaV2",
    .configure = deberta_configure,
    .describe = deberta_describe,
    .declare = deberta_declare,
    .embed = deberta_embed,
    .layer = deberta_layer,
    .classify = deberta_classify,
};
