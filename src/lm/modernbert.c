/* modernbert.c: ModernBERT (Warner et al. 2024): pre-norm layers without biases, rotary
 * positions, gated linear units, and attention that is local in most layers and global in every
 * few. */
#include "base/error.h"
#include "base/memory.h"
#include "lm/blocks.h"

#include <string.h>

struct modernbert_layer {
    struct norm_ids attention_norm; /* absent in the first layer */
    struct linear_ids qkv, attention;
    struct norm_ids mlp_norm;
    struct linear_ids up, down; /* up: what is activated, then its gate */
};

struct modernbert {
    param_id words;
    struct norm_ids norm, final_norm;
    struct linear_ids head, classifier;
    struct norm_ids head_norm;
    struct modernbert_layer layers[];
};

/* The base of the rotations of one kind of layer: rope_parameters.KIND.rope_theta, or KEY as
 * before transformers 5. */
static medley_status read_theta(const json *root, const char *path, const char *kind,
                                const char *key, float *out, medley_error *err)
{
    double theta = (double)*out;
    const char *type = "default";
    const json *parameters = json_get(json_get(root, "rope_parameters"), kind);
    json_as_double(json_get(root, key), &theta);
    json_as_double(json_get(parameters, "rope_theta"), &theta);
    json_as_text(json_get(parameters, "rope_type"), &type);
    if (strcmp(type, "default") != 0)
        return fail(err, MEDLEY_EUNSUPPORTED, "%s: rope_type '%s' is not supported", path,
                    type);
    if (!(theta > 1 && theta < 1e12))
        return fail(err, MEDLEY_EFORMAT, "%s: %s must lie between 1 and 1e12", path, key);
    *out = (float)theta;
    return MEDLEY_OK;
}

static medley_status read_local(struct encoder_config *c, const json *root, const char *path,
                                medley_error *err)
{
    unsigned every = 3;
    const json *types = json_get(root, "layer_types"), *type = json_first(types);
    medley_status st = encoder_read_count(root, path, "global_attn_every_n_layers", 1,
                                          ENCODER_MAX_LAYERS, &every, err);
    if (!st && types && json_count(types) != c->layers)
        st = fail(err, MEDLEY_EFORMAT, "%s: layer_types must name %u layers", path, c->layers);
    for (unsigned i = 0; i < c->layers && !st; i++) {
        const char *name = i % every ? "sliding_attention" : "full_attention";
        json_as_text(type, &name);
        type = json_next(type);
        c->modernbert.local[i] = strcmp(name, "sliding_attention") == 0;
        if (!c->modernbert.local[i] && strcmp(name, "full_attention") != 0)
            st = fail(err, MEDLEY_EUNSUPPORTED, "%s: layer_types: '%s' is not supported", path,
                      name);
    }
    return st;
}

static medley_status modernbert_configure(struct encoder_config *c, const json *root,
                                          const char *path, medley_error *err)
{
    struct modernbert_config *m = &c->modernbert;
    *m = (struct modernbert_config){
        .window = 128, .global_theta = 160000, .classifier_activation = ACT_GELU};
    double eps = 1e-5;
    const char *pooling = "cls";
    c->types = 0;
    json_as_double(json_get(root, "norm_eps"), &eps);
    json_as_text(json_get(root, "classifier_pooling"), &pooling);
    json_as_bool(json_get(root, "attention_bias"), &m->attention_bias);
    json_as_bool(json_get(root, "mlp_bias"), &m->mlp_bias);
    json_as_bool(json_get(root, "norm_bias"), &m->norm_bias);
    json_as_bool(json_get(root, "classifier_bias"), &m->classifier_bias);
    m->mean_pooling = strcmp(pooling, "mean") == 0;
    c->norm_eps = (float)eps;
    if (!(c->norm_eps > 0 && eps < 1))
        return fail(err, MEDLEY_EFORMAT, "%s: norm_eps must lie between 0 and 1", path);
    if (!m->mean_pooling && strcmp(pooling, "cls") != 0)
        return fail(err, MEDLEY_EUNSUPPORTED, "%s: classifier_pooling '%s' is not supported",
                    path, pooling);
    if (c->hidden / c->heads % 2)
        return fail(err, MEDLEY_EFORMAT, "%s: the width of a head, %u, is odd", path,
                    c->hidden / c->heads);
    medley_status st =
        encoder_read_activation(root, path, "hidden_activation", &c->activation, err);
    if (!st)
        st = encoder_read_activation(root, path, "classifier_activation",
                                     &m->classifier_activation, err);
    if (!st)
        st = encoder_read_count(root, path, "local_attention", 1, 1000000, &m->window, err);
    if (!st)
        st = read_local(c, root, path, err);
    if (!st)
        st = read_theta(root, path, "full_attention", "global_rope_theta", &m->global_theta,
                        err);
    /* null means the same base everywhere */
    const json *local = json_get(root, "local_rope_theta");
    m->local_theta = local && json_kind_of(local) == JSON_NULL ? m->global_theta : 10000;
    return st ? st
              : read_theta(root, path, "sliding_attention", "local_rope_theta", &m->local_theta,
                           err);
}

/* For readers that do not know layer_types. */
static unsigned global_every(const struct encoder_config *c)
{
    unsigned every = 1;
    while (every < c->layers && c->modernbert.local[every])
        every++;
    return every;
}

static void modernbert_describe(const struct encoder_config *c, struct json_writer *w)
{
    const struct modernbert_config *m = &c->modernbert;
    const char *activation = encoder_activation_name(c->activation);
    jw_key(w, "hidden_activation"), jw_textz(w, activation);
    jw_key(w, "norm_eps"), jw_float(w, c->norm_eps);
    jw_key(w, "attention_bias"), jw_bool(w, m->attention_bias);
    jw_key(w, "mlp_bias"), jw_bool(w, m->mlp_bias);
    jw_key(w, "norm_bias"), jw_bool(w, m->norm_bias);
    jw_key(w, "classifier_bias"), jw_bool(w, m->classifier_bias);
    jw_key(w, "classifier_activation");
    jw_textz(w, encoder_activation_name(m->classifier_activation));
    jw_key(w, "classifier_pooling"), jw_textz(w, m->mean_pooling ? "mean" : "cls");
    jw_key(w, "local_attention"), jw_i64(w, m->window);
    jw_key(w, "layer_types"), jw_array(w);
    for (unsigned i = 0; i < c->layers; i++)
        jw_textz(w, m->local[i] ? "sliding_attention" : "full_attention");
    jw_array_end(w);
    jw_key(w, "global_attn_every_n_layers"), jw_i64(w, global_every(c));
    jw_key(w, "global_rope_theta"), jw_float(w, m->global_theta);
    jw_key(w, "local_rope_theta"), jw_float(w, m->local_theta);
}

static medley_status modernbert_declare(struct encoder *e, struct params *p, size_t classes,
                                        medley_error *err)
{
    const struct encoder_config *c = &e->config;
    const struct modernbert_config *f = &c->modernbert;
    struct modernbert *m = mem_zalloc(1, sizeof *m + c->layers * sizeof *m->layers);
    if (!m)
        return fail_memory(err, "an encoder");
    e->ids = m;
    size_t d = c->hidden, wide = c->intermediate;
    m->words = table_declare(p, c, c->vocabulary, d, "model.embeddings.tok_embeddings");
    m->norm = norm_declare(p, d, f->norm_bias, "model.embeddings.norm");
    encoder_mark(e, p);
    for (unsigned i = 0; i < c->layers; i++) {
        struct modernbert_layer *l = &m->layers[i];
        char name[64];
        snprintf(name, sizeof name, "model.layers.%u", i);
        l->attention_norm = (struct norm_ids){PARAM_NONE, PARAM_NONE};
        if (i)
            l->attention_norm = norm_declare(p, d, f->norm_bias, "%s.attn_norm", name);
        l->qkv = linear_declare(p, c, d, 3 * d, f->attention_bias, "%s.attn.Wqkv", name);
        l->attention = linear_declare(p, c, d, d, f->attention_bias, "%s.attn.Wo", name);
        l->mlp_norm = norm_declare(p, d, f->norm_bias, "%s.mlp_norm", name);
        l->up = linear_declare(p, c, d, 2 * wide, f->mlp_bias, "%s.mlp.Wi", name);
        l->down = linear_declare(p, c, wide, d, f->mlp_bias, "%s.mlp.Wo", name);
        encoder_mark(e, p);
    }
    m->final_norm = norm_declare(p, d, f->norm_bias, "model.final_norm");
    m->head = linear_declare(p, c, d, d, f->classifier_bias, "head.dense");
    m->head_norm = norm_declare(p, d, f->norm_bias, "head.norm");
    m->classifier = linear_declare(p, c, d, classes, true, "classifier");
    return p->failed ? fail_memory(err, "parameters") : MEDLEY_OK;
}

static struct tensor *modernbert_embed(const struct encoder *e, struct tape *t,
                                       const struct encoder_batch *batch, float dropout)
{
    const struct modernbert *m = e->ids;
    struct tensor *x = op_embed(t, m->words, batch->ids, batch->tokens);
    return op_dropout(t, norm_apply(t, x, NULL, m->norm, e->config.norm_eps), dropout);
}

/* Hides keys further than half a window away. */
static void hide_far(const void *context, size_t sequence, size_t head, float *scores, size_t t)
{
    (void)sequence;
    (void)head;
    size_t half = ((const struct modernbert_config *)context)->window / 2;
    for (size_t i = 0; i < t; i++)
        for (size_t j = 0; j < t; j++)
            if ((i > j ? i - j : j - i) > half)
                scores[i * t + j] = ATTENTION_UNSEEN;
}

static struct tensor *modernbert_layer(const struct encoder *e, struct tape *t, unsigned i,
                                       struct tensor *x, const struct encoder_batch *batch,
                                       float dropout)
{
    const struct encoder_config *c = &e->config;
    const struct modernbert_config *f = &c->modernbert;
    const struct modernbert_layer *l = &((const struct modernbert *)e->ids)->layers[i];
    bool local = f->local[i];
    float theta = local ? f->local_theta : f->global_theta;
    size_t d = c->hidden;
    struct attention_terms terms = {.mask = local ? hide_far : NULL, .context = f};
    struct tensor *n = i ? norm_apply(t, x, NULL, l->attention_norm, c->norm_eps) : x;
    struct tensor *qkv = linear_apply(t, n, l->qkv, ACT_NONE);
    struct tensor *q =
        op_rotary(t, op_columns(t, qkv, 0, d), batch->positions, c->heads, theta);
    struct tensor *k =
        op_rotary(t, op_columns(t, qkv, d, d), batch->positions, c->heads, theta);
    struct tensor *v = op_columns(t, qkv, 2 * d, d);
    struct tensor *a =
        op_attention_with(t, q, k, v, batch->sequences, c->heads, dropout, &terms);
    x = op_add(t, x, op_dropout(t, linear_apply(t, a, l->attention, ACT_NONE), dropout));

    n = norm_apply(t, x, NULL, l->mlp_norm, c->norm_eps);
    struct tensor *up = linear_apply(t, n, l->up, ACT_NONE);
    struct tensor *active =
        op_activation(t, op_columns(t, up, 0, c->intermediate), c->activation);
    struct tensor *gate = op_columns(t, up, c->intermediate, c->intermediate);
    struct tensor *wide = op_dropout(t, op_mul(t, active, gate), dropout);
    return op_add(t, x, linear_apply(t, wide, l->down, ACT_NONE));
}

static struct tensor *modernbert_finish(const struct encoder *e, struct tape *t,
                                        struct tensor *hidden)
{
    const struct modernbert *m = e->ids;
    return norm_apply(t, hidden, NULL, m->final_norm, e->config.norm_eps);
}

static struct tensor *modernbert_classify(const struct encoder *e, struct tape *t,
                                          struct tensor *hidden,
                                          const struct encoder_batch *batch, float dropout)
{
    const struct modernbert *m = e->ids;
    const struct modernbert_config *f = &e->config.modernbert;
    struct tensor *x = f->mean_pooling ? op_mean_pool(t, hidden, batch->sequences)
                                       : first_tokens(t, hidden, batch);
    x = linear_apply(t, x, m->head, f->classifier_activation);
    x = op_dropout(t, norm_apply(t, x, NULL, m->head_norm, e->config.norm_eps), dropout);
    return linear_apply(t, x, m->classifier, ACT_NONE);
}

const struct encoder_family modernbert_family = {
    .model_type = "modernbert",
    .prefix = "model.",
    .architecture = "ModernBert",
    .configure = modernbert_configure,
    .describe = modernbert_describe,
    .declare = modernbert_declare,
    .embed = modernbert_embed,
    .layer = modernbert_layer,
    .finish = modernbert_finish,
    .classify = modernbert_classify,
};
