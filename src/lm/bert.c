/* bert.c: BERT (Devlin et al. 2019) and what shares its layers: RoBERTa (Liu et al. 2019),
 * XLM-R (Conneau et al. 2020), CamemBERT, ELECTRA (Clark et al. 2020), MiniLM. Post-norm layers
 * with absolute positions. The families differ in names, in where positions begin, in the width
 * of their tables and in the head. Proven against golden checkpoints in tests/test_lm_golden.c.
 */
#include "base/error.h"
#include "base/memory.h"
#include "lm/blocks.h"

struct bert_layer {
    struct linear_ids query, key, value;
    struct post_norm rest;
};

struct bert {
    struct embeddings embeddings;
    struct linear_ids project; /* ELECTRA, when its tables are narrower than the layers */
    struct linear_ids pooler, classifier;
    struct dense_head head;
    struct bert_layer layers[]; /* [config.layers] */
};

static medley_status absolute_positions(struct encoder_config *c, const json *root,
                                        const char *path, medley_error *err)
{
    (void)c;
    const char *position = "absolute";
    json_as_text(json_get(root, "position_embedding_type"), &position);
    return strcmp(position, "absolute") == 0
               ? MEDLEY_OK
               : fail(err, MEDLEY_EUNSUPPORTED,
                      "%s: position_embedding_type '%s' is not supported", path, position);
}

/* RoBERTa's positions begin after the padding's row. */
static medley_status padded_positions(struct encoder_config *c, const json *root,
                                      const char *path, medley_error *err)
{
    if (c->padding < 0)
        c->padding = 1;
    c->first_position = (unsigned)c->padding + 1;
    return absolute_positions(c, root, path, err);
}

static medley_status electra_configure(struct encoder_config *c, const json *root,
                                       const char *path, medley_error *err)
{
    medley_status st =
        encoder_read_count(root, path, "embedding_size", 1, 16384, &c->embedding, err);
    return st ? st : absolute_positions(c, root, path, err);
}

static void describe_positions(const struct encoder_config *c, struct json_writer *w)
{
    (void)c;
    jw_key(w, "position_embedding_type"), jw_textz(w, "absolute");
}

static void electra_describe(const struct encoder_config *c, struct json_writer *w)
{
    jw_key(w, "embedding_size"), jw_i64(w, c->embedding);
    describe_positions(c, w);
}

/* The name of a part under the family's prefix. */
#define NAME(part) (snprintf(name, sizeof name, "%s" part, e->family->prefix), name)

static void declare_embeddings(struct encoder *e, struct params *p, struct bert *b)
{
    const struct encoder_config *c = &e->config;
    char name[128];
    b->embeddings.words =
        table_declare(p, c, c->vocabulary, c->embedding, NAME("embeddings.word_embeddings"));
    b->embeddings.positions =
        table_declare(p, c, c->positions, c->embedding, NAME("embeddings.position_embeddings"));
    b->embeddings.types = c->types ? table_declare(p, c, c->types, c->embedding,
                                                   NAME("embeddings.token_type_embeddings"))
                                   : PARAM_NONE;
    b->embeddings.norm =
        norm_declare(p, c->embedding, true, "%s", NAME("embeddings.LayerNorm"));
    b->project.w = PARAM_NONE;
    if (c->embedding != c->hidden)
        b->project = linear_declare(p, c, c->embedding, c->hidden, true, "%s",
                                    NAME("embeddings_project"));
    encoder_mark(e, p);
}

static void declare_layers(struct encoder *e, struct params *p, struct bert *b)
{
    const struct encoder_config *c = &e->config;
    char name[128];
    size_t d = c->hidden;
    for (unsigned i = 0; i < c->layers; i++) {
        struct bert_layer *l = &b->layers[i];
        snprintf(name, sizeof name, "%sencoder.layer.%u", e->family->prefix, i);
        l->query = linear_declare(p, c, d, d, true, "%s.attention.self.query", name);
        l->key = linear_declare(p, c, d, d, true, "%s.attention.self.key", name);
        l->value = linear_declare(p, c, d, d, true, "%s.attention.self.value", name);
        e->exact_from = (param_id)p->count; /* at the end: those of the last layer */
        l->rest = post_norm_declare(p, c, name, "attention.output.dense",
                                    "attention.output.LayerNorm");
        encoder_mark(e, p);
    }
}

static struct bert *declare_body(struct encoder *e, struct params *p)
{
    const struct encoder_config *c = &e->config;
    struct bert *b = mem_zalloc(1, sizeof *b + c->layers * sizeof *b->layers);
    if (!b)
        return NULL;
    e->ids = b;
    declare_embeddings(e, p, b);
    declare_layers(e, p, b);
    return b;
}

static medley_status bert_declare(struct encoder *e, struct params *p, size_t classes,
                                  medley_error *err)
{
    const struct encoder_config *c = &e->config;
    char name[128];
    struct bert *b = declare_body(e, p);
    if (!b)
        return fail_memory(err, "an encoder");
    b->pooler = linear_declare(p, c, c->hidden, c->hidden, true, "%s", NAME("pooler.dense"));
    b->classifier = linear_declare(p, c, c->hidden, classes, true, "classifier");
    return p->failed ? fail_memory(err, "parameters") : MEDLEY_OK;
}

static medley_status dense_declare(struct encoder *e, struct params *p, size_t classes,
                                   medley_error *err)
{
    struct bert *b = declare_body(e, p);
    if (!b)
        return fail_memory(err, "an encoder");
    b->head = dense_head_declare(p, &e->config, classes);
    return p->failed ? fail_memory(err, "parameters") : MEDLEY_OK;
}

static struct tensor *bert_embed(const struct encoder *e, struct tape *t,
                                 const struct encoder_batch *batch, float dropout)
{
    const struct bert *b = e->ids;
    struct tensor *x = embeddings_apply(t, &b->embeddings, &e->config, batch, dropout);
    return b->project.w == PARAM_NONE ? x : linear_apply(t, x, b->project, ACT_NONE);
}

static struct tensor *bert_layer(const struct encoder *e, struct tape *t, unsigned i,
                                 struct tensor *x, const struct encoder_batch *batch,
                                 float dropout)
{
    const struct encoder_config *c = &e->config;
    const struct bert_layer *l = &((const struct bert *)e->ids)->layers[i];
    struct tensor *q = linear_apply(t, x, l->query, ACT_NONE);
    struct tensor *k = linear_apply(t, x, l->key, ACT_NONE);
    struct tensor *v = linear_apply(t, x, l->value, ACT_NONE);
    struct tensor *a = op_attention(t, q, k, v, batch->sequences, c->heads, dropout);
    return post_norm_apply(t, &l->rest, c, a, x, dropout);
}

static struct tensor *bert_layer_first(const struct encoder *e, struct tape *t, unsigned i,
                                       struct tensor *x, const struct encoder_batch *batch)
{
    const struct encoder_config *c = &e->config;
    const struct bert_layer *l = &((const struct bert *)e->ids)->layers[i];
    struct tensor *first = first_tokens(t, x, batch);
    struct tensor *q = linear_apply(t, first, l->query, ACT_NONE);
    struct tensor *k = linear_apply(t, x, l->key, ACT_NONE);
    struct tensor *v = linear_apply(t, x, l->value, ACT_NONE);
    struct tensor *a = op_attention_first(t, q, k, v, batch->sequences, c->heads);
    return post_norm_apply(t, &l->rest, c, a, first, 0);
}

static struct tensor *bert_classify(const struct encoder *e, struct tape *t,
                                    struct tensor *hidden, const struct encoder_batch *batch,
                                    float dropout)
{
    const struct bert *b = e->ids;
    struct tensor *pooled =
        linear_apply(t, first_tokens(t, hidden, batch), b->pooler, ACT_TANH);
    return linear_apply(t, op_dropout(t, pooled, dropout), b->classifier, ACT_NONE);
}

static struct tensor *roberta_classify(const struct encoder *e, struct tape *t,
                                       struct tensor *hidden, const struct encoder_batch *batch,
                                       float dropout)
{
    const struct bert *b = e->ids;
    return dense_head_apply(t, &b->head, hidden, batch, ACT_TANH, dropout);
}

static struct tensor *electra_classify(const struct encoder *e, struct tape *t,
                                       struct tensor *hidden, const struct encoder_batch *batch,
                                       float dropout)
{
    const struct bert *b = e->ids;
    return dense_head_apply(t, &b->head, hidden, batch, ACT_GELU, dropout);
}

const struct encoder_family bert_family = {
    .model_type = "bert",
    .prefix = "bert.",
    .architecture = "Bert",
    .configure = absolute_positions,
    .describe = describe_positions,
    .declare = bert_declare,
    .embed = bert_embed,
    .layer = bert_layer,
    .layer_first = bert_layer_first,
    .classify = bert_classify,
};

#define LIKE_ROBERTA(type, name)                                            \
    {                                                                       \
        .model_type = type, .prefix = "roberta.", .architecture = name,     \
        .configure = padded_positions, .describe = describe_positions,      \
        .declare = dense_declare, .embed = bert_embed, .layer = bert_layer, \
        .layer_first = bert_layer_first, .classify = roberta_classify,      \
    }
const struct encoder_family roberta_family = LIKE_ROBERTA("roberta", "Roberta");
const struct encoder_family xlm_roberta_family = LIKE_ROBERTA("xlm-roberta", "XLMRoberta");
const struct encoder_family camembert_family = LIKE_ROBERTA("camembert", "Camembert");

const struct encoder_family electra_family = {
    .model_type = "electra",
    .prefix = "electra.",
    .architecture = "Electra",
    .configure = electra_configure,
    .describe = electra_describe,
    .declare = dense_declare,
    .embed = bert_embed,
    .layer = bert_layer,
    .layer_first = bert_layer_first,
    .classify = electra_classify,
};
