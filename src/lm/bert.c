/* bert.c: BERT (Devlin et al. 2019) and what shares its arithmetic, such as MiniLM. Post-norm
 * layers with absolute positions; the classifier reads the pooled first token. Proven against
 * the golden checkpoint in tests/test_bert.c. */
#include "base/error.h"
#include "base/memory.h"
#include "lm/encoder.h"

struct bert_layer {
    param_id query_w, query_b, key_w, key_b, value_w, value_b;
    param_id attention_w, attention_b, attention_gamma, attention_beta;
    param_id up_w, up_b, down_w, down_b, gamma, beta;
};

struct bert {
    param_id words, positions, types, gamma, beta;
    param_id pooler_w, pooler_b, classifier_w, classifier_b;
    struct bert_layer layers[]; /* [config.layers] */
};

/* w[out, in] and b[out] called NAME.weight and NAME.bias. */
static void linear(struct params *p, size_t in, size_t out, float std, const char *name,
                   param_id *w, param_id *b)
{
    *w = params_add(p, 2, out, in, INIT_NORMAL, std, "%s.weight", name);
    *b = params_add(p, 1, 1, out, INIT_ZERO, 0, "%s.bias", name);
}

static void norm(struct params *p, size_t n, const char *name, param_id *gamma, param_id *beta)
{
    *gamma = params_add(p, 1, 1, n, INIT_ONE, 0, "%s.weight", name);
    *beta = params_add(p, 1, 1, n, INIT_ZERO, 0, "%s.bias", name);
}

static void declare_layer(struct params *p, const struct encoder_config *c, unsigned i,
                          struct bert_layer *l)
{
    char name[128];
    size_t d = c->hidden;
    float std = c->init_std;
#define NAME(part) (snprintf(name, sizeof name, "bert.encoder.layer.%u.%s", i, part), name)
    linear(p, d, d, std, NAME("attention.self.query"), &l->query_w, &l->query_b);
    linear(p, d, d, std, NAME("attention.self.key"), &l->key_w, &l->key_b);
    linear(p, d, d, std, NAME("attention.self.value"), &l->value_w, &l->value_b);
    linear(p, d, d, std, NAME("attention.output.dense"), &l->attention_w, &l->attention_b);
    norm(p, d, NAME("attention.output.LayerNorm"), &l->attention_gamma, &l->attention_beta);
    linear(p, d, c->intermediate, std, NAME("intermediate.dense"), &l->up_w, &l->up_b);
    linear(p, c->intermediate, d, std, NAME("output.dense"), &l->down_w, &l->down_b);
    norm(p, d, NAME("output.LayerNorm"), &l->gamma, &l->beta);
#undef NAME
}

static medley_status bert_declare(struct encoder *e, struct params *p, size_t classes,
                                  medley_error *err)
{
    const struct encoder_config *c = &e->config;
    struct bert *b = mem_zalloc(1, sizeof *b + c->layers * sizeof *b->layers);
    if (!b)
        return fail_memory(err, "an encoder");
    e->ids = b;
    size_t d = c->hidden;
    float std = c->init_std;
    b->words = params_add(p, 2, c->vocabulary, d, INIT_NORMAL, std,
                          "bert.embeddings.word_embeddings.weight");
    b->positions = params_add(p, 2, c->positions, d, INIT_NORMAL, std,
                              "bert.embeddings.position_embeddings.weight");
    b->types = params_add(p, 2, c->types, d, INIT_NORMAL, std,
                          "bert.embeddings.token_type_embeddings.weight");
    norm(p, d, "bert.embeddings.LayerNorm", &b->gamma, &b->beta);
    for (unsigned i = 0; i < c->layers; i++)
        declare_layer(p, c, i, &b->layers[i]);
    linear(p, d, d, std, "bert.pooler.dense", &b->pooler_w, &b->pooler_b);
    linear(p, d, classes, std, "classifier", &b->classifier_w, &b->classifier_b);
    return p->failed ? fail_memory(err, "parameters") : MEDLEY_OK;
}

static struct tensor *bert_embed(const struct encoder *e, struct tape *t,
                                 const struct encoder_batch *batch, float dropout)
{
    const struct bert *b = e->ids;
    struct tensor *x = op_add(t, op_embed(t, b->words, batch->ids, batch->tokens),
                              op_embed(t, b->types, batch->types, batch->tokens));
    struct tensor *position = op_embed(t, b->positions, batch->positions, batch->tokens);
    x = op_norm(t, x, position, b->gamma, b->beta, e->config.norm_eps);
    return op_dropout(t, x, dropout);
}

static struct tensor *bert_layer(const struct encoder *e, struct tape *t, unsigned i,
                                 struct tensor *x, const struct encoder_batch *batch,
                                 float dropout)
{
    const struct encoder_config *c = &e->config;
    const struct bert_layer *l = &((const struct bert *)e->ids)->layers[i];
    struct tensor *q = op_linear(t, x, l->query_w, l->query_b, ACT_NONE);
    struct tensor *k = op_linear(t, x, l->key_w, l->key_b, ACT_NONE);
    struct tensor *v = op_linear(t, x, l->value_w, l->value_b, ACT_NONE);
    struct tensor *a = op_attention(t, q, k, v, batch->sequences, c->heads, dropout);
    a = op_dropout(t, op_linear(t, a, l->attention_w, l->attention_b, ACT_NONE), dropout);
    x = op_norm(t, a, x, l->attention_gamma, l->attention_beta, c->norm_eps);
    struct tensor *up = op_linear(t, x, l->up_w, l->up_b, c->activation);
    struct tensor *down =
        op_dropout(t, op_linear(t, up, l->down_w, l->down_b, ACT_NONE), dropout);
    return op_norm(t, down, x, l->gamma, l->beta, c->norm_eps);
}

static struct tensor *bert_classify(const struct encoder *e, struct tape *t,
                                    struct tensor *hidden, const struct encoder_batch *batch,
                                    float dropout)
{
    const struct bert *b = e->ids;
    struct tensor *first = op_rows(t, hidden, batch->sequences.offsets, batch->sequences.n);
    struct tensor *pooled = op_linear(t, first, b->pooler_w, b->pooler_b, ACT_TANH);
    return op_linear(t, op_dropout(t, pooled, dropout), b->classifier_w, b->classifier_b,
                     ACT_NONE);
}

static void bert_freeze(const struct encoder *e, struct params *p, unsigned layers)
{
    const struct bert *b = e->ids;
    /* Parameters are declared in the order of the network: everything up to a layer's last. */
    if (layers > e->config.layers)
        layers = e->config.layers;
    param_id last = layers ? b->layers[layers - 1].beta : b->beta;
    for (param_id i = 0; i <= last; i++)
        p->items[i].frozen = true;
}

const struct encoder_family bert_family = {
    .model_type = "bert",
    .prefix = "bert.",
    .declare = bert_declare,
    .embed = bert_embed,
    .layer = bert_layer,
    .classify = bert_classify,
    .freeze = bert_freeze,
};
