/* masked_head.c: see masked_head.h. */
#include "lm/masked_head.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

/* Where the parts stand in a family's checkpoints. */
static const struct names {
    const struct encoder_family *family;
    const char *dense, *norm, *bias;
} names[] = {
#define LIKE_BERT                                                             \
    "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", \
        "cls.predictions.bias"
#define LIKE_ROBERTA "lm_head.dense", "lm_head.layer_norm", "lm_head.bias"
    {&bert_family, LIKE_BERT},
    {&bigbird_family, LIKE_BERT},
    {&deberta_family, LIKE_BERT},
    {&roberta_family, LIKE_ROBERTA},
    {&xlm_roberta_family, LIKE_ROBERTA},
    {&camembert_family, LIKE_ROBERTA},
    {&mpnet_family, LIKE_ROBERTA},
    {&electra_family, "generator_predictions.dense", "generator_predictions.LayerNorm",
     "generator_lm_head.bias"},
    {&modernbert_family, "head.dense", "head.norm", "decoder.bias"},
};
enum { FAMILIES = sizeof names / sizeof *names };

static bool starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool of_masked_head(const struct names *n, const char *name)
{
    return starts_with(name, n->dense) || starts_with(name, n->norm) ||
           strcmp(name, n->bias) == 0;
}

static bool of_encoder(const struct encoder *e, const char *name)
{
    size_t n = strlen(e->family->prefix);
    return starts_with(name, e->family->prefix) && !starts_with(name + n, "pooler.");
}

static const struct names *names_of(const struct encoder *e)
{
    for (size_t i = 0; i < FAMILIES; i++)
        if (names[i].family == e->family)
            return &names[i];
    return NULL;
}

/* ModernBERT's classification head begins with the same parts. */
static param_id existing(const struct params *p, const char *name, const char *part)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", name, part);
    return params_find(p, full);
}

static param_id word_table(const struct encoder *e, const struct params *p)
{
    char name[128];
    snprintf(name, sizeof name, "%sembeddings.word_embeddings.weight", e->family->prefix);
    param_id id = params_find(p, name);
    if (id != PARAM_NONE)
        return id;
    snprintf(name, sizeof name, "%sembeddings.tok_embeddings.weight", e->family->prefix);
    return params_find(p, name);
}

medley_status masked_head_declare(const struct encoder *e, struct params *p,
                                  struct masked_head *out, medley_error *err)
{
    const struct encoder_config *c = &e->config;
    const struct names *n = names_of(e);
    struct masked_head h = {.words = word_table(e, p), .eps = c->norm_eps};
    if (!n || h.words == PARAM_NONE)
        return fail(err, MEDLEY_EUNSUPPORTED,
                    "encoder family '%s' cannot be pre-trained with masked words",
                    e->family->model_type);
    h.activation = e->family == &modernbert_family ? c->modernbert.classifier_activation
                   : e->family == &bert_family || e->family == &bigbird_family ||
                           e->family == &deberta_family
                       ? c->activation
                       : ACT_GELU;
    h.dense =
        (struct linear_ids){existing(p, n->dense, ".weight"), existing(p, n->dense, ".bias")};
    h.norm = (struct norm_ids){existing(p, n->norm, ".weight"), existing(p, n->norm, ".bias")};
    if (h.dense.w == PARAM_NONE)
        h.dense = linear_declare(p, c, c->hidden, c->embedding, true, "%s", n->dense);
    if (h.norm.gamma == PARAM_NONE)
        h.norm = norm_declare(p, c->embedding, true, "%s", n->norm);
    h.bias = params_add(p, 1, 1, c->vocabulary, INIT_ZERO, 0, "%s", n->bias);
    if (p->failed)
        return fail_memory(err, "parameters");
    for (size_t i = 0; i < p->count; i++)
        if (!of_encoder(e, p->items[i].name) && !of_masked_head(n, p->items[i].name))
            p->items[i].frozen = true;
    *out = h;
    return MEDLEY_OK;
}

struct tensor *masked_head_apply(struct tape *t, const struct masked_head *h,
                                 struct tensor *hidden)
{
    struct tensor *x = linear_apply(t, hidden, h->dense, h->activation);
    return op_linear(t, norm_apply(t, x, NULL, h->norm, h->eps), h->words, h->bias, ACT_NONE);
}

medley_status masked_head_save(const struct encoder *e, const struct params *p,
                               const char *folder, medley_error *err)
{
    const struct names *n = names_of(e);
    char *path = path_join(folder, "model.safetensors");
    struct st_writer *w = st_writer_new();
    medley_status st = path && w ? MEDLEY_OK : fail_memory(err, "a checkpoint");
    if (!st) {
        st_writer_metadata(w, "format", "pt");
        for (param_id i = 0; i < p->count; i++) {
            const struct param *item = &p->items[i];
            uint64_t shape[3];
            int dims = param_shape(item, shape);
            if (of_encoder(e, item->name) || of_masked_head(n, item->name))
                st_writer_add(w, item->name, ST_F32, dims, shape, p->values + item->offset);
        }
        st = st_writer_commit(w, path, err);
    }
    st_writer_free(w);
    mem_free(path);
    return st;
}
