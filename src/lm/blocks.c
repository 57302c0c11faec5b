/* blocks.c: see blocks.h. */
#include "lm/blocks.h"

#include "nn/adapter.h"

#include <stdarg.h>
#include <stdio.h>

enum { NAME_SIZE = 160 };

struct linear_ids linear_declare(struct params *p, const struct encoder_config *c, size_t in,
                                 size_t out, bool bias, const char *name, ...)
{
    char full[NAME_SIZE];
    struct linear_ids l = {PARAM_NONE, PARAM_NONE};
    va_list args;
    va_start(args, name);
    vsnprintf(full, sizeof full, name, args);
    va_end(args);
    l.w = params_add(p, 2, out, in, INIT_NORMAL, c->init_std, "%s.weight", full);
    if (l.w != PARAM_NONE)
        p->items[l.w].linear = true;
    if (bias)
        l.b = params_add(p, 1, 1, out, INIT_ZERO, 0, "%s.bias", full);
    return l;
}

struct norm_ids norm_declare(struct params *p, size_t n, bool shift, const char *name, ...)
{
    char full[NAME_SIZE];
    struct norm_ids l = {PARAM_NONE, PARAM_NONE};
    va_list args;
    va_start(args, name);
    vsnprintf(full, sizeof full, name, args);
    va_end(args);
    l.gamma = params_add(p, 1, 1, n, INIT_ONE, 0, "%s.weight", full);
    if (shift)
        l.beta = params_add(p, 1, 1, n, INIT_ZERO, 0, "%s.bias", full);
    return l;
}

param_id table_declare(struct params *p, const struct encoder_config *c, size_t rows,
                       size_t cols, const char *name)
{
    return params_add(p, 2, rows, cols, INIT_NORMAL, c->init_std, "%s.weight", name);
}

struct tensor *linear_apply(struct tape *t, struct tensor *x, struct linear_ids l,
                            enum activation act)
{
    return adapted_linear(t, x, l.w, l.b, act);
}

struct tensor *norm_apply(struct tape *t, struct tensor *x, struct tensor *residual,
                          struct norm_ids n, float eps)
{
    return op_norm(t, x, residual, n.gamma, n.beta, eps);
}

struct post_norm post_norm_declare(struct params *p, const struct encoder_config *c,
                                   const char *name, const char *attention,
                                   const char *attention_norm)
{
    size_t d = c->hidden;
    struct post_norm l;
    l.attention = linear_declare(p, c, d, d, true, "%s.%s", name, attention);
    l.attention_norm = norm_declare(p, d, true, "%s.%s", name, attention_norm);
    l.up = linear_declare(p, c, d, c->intermediate, true, "%s.intermediate.dense", name);
    l.down = linear_declare(p, c, c->intermediate, d, true, "%s.output.dense", name);
    l.norm = norm_declare(p, d, true, "%s.output.LayerNorm", name);
    return l;
}

struct tensor *post_norm_apply(struct tape *t, const struct post_norm *l,
                               const struct encoder_config *c, struct tensor *attended,
                               struct tensor *x, float dropout)
{
    struct tensor *a = linear_apply(t, attended, l->attention, ACT_NONE);
    x = norm_apply(t, op_dropout(t, a, dropout), x, l->attention_norm, c->norm_eps);
    struct tensor *down =
        linear_apply(t, linear_apply(t, x, l->up, c->activation), l->down, ACT_NONE);
    return norm_apply(t, op_dropout(t, down, dropout), x, l->norm, c->norm_eps);
}

/* Positions as a family counts them. */
static struct tensor *embed_positions(struct tape *t, param_id table, unsigned first,
                                      const struct encoder_batch *batch)
{
    int32_t *shifted = tape_alloc(t, batch->tokens, sizeof *shifted);
    if (!shifted)
        return NULL;
    for (size_t i = 0; i < batch->tokens; i++)
        shifted[i] = batch->positions[i] + (int32_t)first;
    return op_embed(t, table, shifted, batch->tokens);
}

/* A family with one type gives it to every token. */
static struct tensor *embed_types(struct tape *t, param_id table, unsigned types,
                                  const struct encoder_batch *batch)
{
    int32_t *known = tape_alloc(t, batch->tokens, sizeof *known);
    if (!known)
        return NULL;
    for (size_t i = 0; i < batch->tokens; i++)
        known[i] = batch->types[i] < (int32_t)types ? batch->types[i] : 0;
    return op_embed(t, table, known, batch->tokens);
}

static struct tensor *joined(struct tape *t, struct tensor *a, struct tensor *b)
{
    return a ? op_add(t, a, b) : b;
}

struct tensor *embeddings_sum(struct tape *t, const struct embeddings *b,
                              const struct encoder_config *c, const struct encoder_batch *batch)
{
    struct tensor *x = NULL;
    if (b->words != PARAM_NONE)
        x = op_embed(t, b->words, batch->ids, batch->tokens);
    if (b->types != PARAM_NONE)
        x = joined(t, x, embed_types(t, b->types, c->types, batch));
    if (b->positions != PARAM_NONE)
        x = joined(t, x, embed_positions(t, b->positions, c->first_position, batch));
    return x;
}

struct tensor *embeddings_apply(struct tape *t, const struct embeddings *b,
                                const struct encoder_config *c,
                                const struct encoder_batch *batch, float dropout)
{
    struct tensor *x = embeddings_sum(t, b, c, batch);
    return op_dropout(t, norm_apply(t, x, NULL, b->norm, c->norm_eps), dropout);
}

struct tensor *first_tokens(struct tape *t, struct tensor *hidden,
                            const struct encoder_batch *b)
{
    return op_rows(t, hidden, b->sequences.offsets, b->sequences.n);
}

uint32_t longest_sequence(const struct encoder_batch *b)
{
    uint32_t longest = 1;
    for (size_t s = 0; s < b->sequences.n; s++) {
        uint32_t t = b->sequences.offsets[s + 1] - b->sequences.offsets[s];
        longest = t > longest ? t : longest;
    }
    return longest;
}

struct dense_head dense_head_declare(struct params *p, const struct encoder_config *c,
                                     size_t classes)
{
    struct dense_head h;
    h.dense = linear_declare(p, c, c->hidden, c->hidden, true, "classifier.dense");
    h.out = linear_declare(p, c, c->hidden, classes, true, "classifier.out_proj");
    return h;
}

struct tensor *dense_head_apply(struct tape *t, const struct dense_head *h,
                                struct tensor *hidden, const struct encoder_batch *batch,
                                enum activation act, float dropout)
{
    struct tensor *x = op_dropout(t, first_tokens(t, hidden, batch), dropout);
    x = op_dropout(t, linear_apply(t, x, h->dense, act), dropout);
    return linear_apply(t, x, h->out, ACT_NONE);
}
