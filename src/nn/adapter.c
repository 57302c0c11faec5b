/* adapter.c: see adapter.h. */
#include "nn/adapter.h"

#include "base/error.h"
#include "base/memory.h"
#include "nn/gemm.h"
#include "nn/vec.h"

#include <math.h>
#include <string.h>

static bool is_wanted(const struct param *item, const struct adapter_options *o)
{
    return item->linear && (!o->attention_only || strstr(item->name, "attention") ||
                            strstr(item->name, "attn"));
}

size_t adapters_declare(struct params *p, param_id from, param_id to,
                        const struct adapter_options *o)
{
    size_t n = 0;
    p->adapter_scale = (float)(o->alpha / o->rank);
    p->adapter_dropout = (float)o->dropout;
    for (param_id id = 0; id < to; id++) {
        p->items[id].frozen = true;
        if (id < from || !is_wanted(&p->items[id], o))
            continue;
        size_t in = p->items[id].cols, out = p->items[id].rows;
        const char *name = p->items[id].name;          /* stays where it is when items move */
        float std = (float)(1 / sqrt(3 * (double)in)); /* that of PEFT's uniform numbers */
        param_id a = params_add(p, 2, o->rank, in, INIT_NORMAL, std, "lora_A.%s", name);
        param_id b = params_add(p, 2, out, o->rank, INIT_ZERO, 0, "lora_B.%s", name);
        if (a == PARAM_NONE || b == PARAM_NONE)
            return n;
        p->items[id].adapter = a;
        n++;
    }
    return n;
}

/* W += scale B A. */
static bool merge_one(struct params *p, const struct param *w)
{
    const struct param *a = &p->items[w->adapter], *b = &p->items[w->adapter + 1];
    size_t n = b->rows * b->cols;
    float *scaled = mem_alloc64(n, sizeof *scaled);
    if (!scaled)
        return false;
    for (size_t i = 0; i < n; i++)
        scaled[i] = p->adapter_scale * p->values[b->offset + i];
    gemm(&(struct gemm){.m = w->rows,
                        .n = w->cols,
                        .k = a->rows,
                        .a = scaled,
                        .b = p->values + a->offset,
                        .c = p->values + w->offset,
                        .lda = b->cols,
                        .ldb = a->cols,
                        .ldc = w->cols,
                        .accumulate = true});
    mem_free(scaled);
    return true;
}

medley_status adapters_merge(struct params *p, medley_error *err)
{
    size_t first = p->count;
    for (size_t i = 0; i < first; i++) {
        struct param *w = &p->items[i];
        if (!w->adapter)
            continue;
        first = w->adapter < first ? w->adapter : first;
        if (!merge_one(p, w))
            return fail_memory(err, "adapters");
        w->adapter = 0;
    }
    if (first == p->count)
        return MEDLEY_OK;
    p->total = p->items[first].offset; /* they are the last */
    while (p->count > first)
        mem_free(p->items[--p->count].name);
    for (size_t i = 0; i < p->count; i++)
        p->items[i].frozen = false;
    return MEDLEY_OK;
}

/* ---- the layer ---- */

struct adapted {
    struct tensor *x, *read, *y; /* read: what the adapter reads, x or x after dropout */
    const float *w, *a, *b;      /* [O,D], [r,D], [O,r] */
    float *da, *db, *dw, *dbias; /* NULL: frozen or absent */
    float *slope;                /* [N,O] act'(z); NULL: 1 */
    float *thin, *dthin;         /* [N,r] scale * read A^T; scratch */
    size_t rank;
    float scale;
};

/* y.grad turns into the gradient of z in place, as in op_linear. */
static void adapted_back(struct tape *t, void *context)
{
    (void)t;
    const struct adapted *l = context;
    size_t n = l->x->rows, in = l->x->cols, out = l->y->cols, r = l->rank;
    const float *g = l->y->grad;
    if (l->slope || l->dbias)
        vec()->slope_columns(l->y->grad, l->slope, l->dbias, n, out);
    struct gemm by_row = {
        .m = out, .k = n, .a = g, .lda = out, .transpose_a = true, .accumulate = true};
    if (l->db) {
        struct gemm p = by_row;
        p.n = p.ldb = p.ldc = r, p.b = l->thin, p.c = l->db;
        gemm(&p);
    }
    if (l->dw) {
        struct gemm p = by_row;
        p.n = p.ldb = p.ldc = in, p.b = l->x->value, p.c = l->dw;
        gemm(&p);
    }
    gemm(&(struct gemm){.m = n,
                        .n = r,
                        .k = out,
                        .a = g,
                        .b = l->b,
                        .c = l->dthin,
                        .lda = out,
                        .ldb = r,
                        .ldc = r});
    for (size_t i = 0; i < n * r; i++)
        l->dthin[i] *= l->scale;
    if (l->da)
        gemm(&(struct gemm){.m = r,
                            .n = in,
                            .k = n,
                            .a = l->dthin,
                            .b = l->read->value,
                            .c = l->da,
                            .lda = r,
                            .ldb = in,
                            .ldc = in,
                            .transpose_a = true,
                            .accumulate = true});
    struct gemm to_x = {.m = n, .n = in, .ldb = in, .ldc = in, .accumulate = true};
    if (l->read->grad) {
        struct gemm p = to_x;
        p.k = p.lda = r, p.a = l->dthin, p.b = l->a, p.c = l->read->grad;
        gemm(&p);
    }
    if (l->x->grad) {
        struct gemm p = to_x;
        p.k = p.lda = out, p.a = g, p.b = l->w, p.c = l->x->grad;
        gemm(&p);
    }
}

/* thin = scale read A^T; y = x W^T + bias + thin B^T */
static void add_up(const struct adapted *l, const float *bias)
{
    size_t n = l->x->rows, in = l->x->cols, out = l->y->cols, r = l->rank;
    struct gemm p = {.m = n,
                     .n = out,
                     .k = in,
                     .a = l->x->value,
                     .b = l->w,
                     .c = l->y->value,
                     .lda = in,
                     .ldb = in,
                     .ldc = out,
                     .transpose_b = true,
                     .bias = bias};
    gemm(&p);
    p.n = p.ldc = r, p.a = l->read->value, p.b = l->a, p.c = l->thin, p.bias = NULL;
    gemm(&p);
    for (size_t i = 0; i < n * r; i++)
        l->thin[i] *= l->scale;
    gemm(&(struct gemm){.m = n,
                        .n = out,
                        .k = r,
                        .a = l->thin,
                        .b = l->b,
                        .c = l->y->value,
                        .lda = r,
                        .ldb = r,
                        .ldc = out,
                        .transpose_b = true,
                        .accumulate = true});
}

struct tensor *adapted_linear(struct tape *t, struct tensor *x, param_id w, param_id b,
                              enum activation act)
{
    param_id a = t->params->items[w].adapter;
    if (!a)
        return op_linear(t, x, w, b, act);
    struct tensor *read = op_dropout(t, x, t->params->adapter_dropout);
    if (!read || t->failed)
        return NULL;
    size_t out = t->params->items[w].rows, rank = t->params->items[a].rows, n = x->rows;
    struct tensor *y = tape_tensor(t, n, out, true); /* A and B learn */
    struct adapted *l = tape_alloc(t, 1, sizeof *l);
    if (t->failed)
        return NULL;
    *l = (struct adapted){.x = x,
                          .read = read,
                          .y = y,
                          .w = tape_param(t, w),
                          .a = tape_param(t, a),
                          .b = tape_param(t, a + 1),
                          .da = tape_param_grad(t, a),
                          .db = tape_param_grad(t, a + 1),
                          .dw = tape_param_grad(t, w),
                          .dbias = tape_param_grad(t, b),
                          .thin = tape_alloc(t, n * rank, sizeof *l->thin),
                          .rank = rank,
                          .scale = t->params->adapter_scale};
    if (y->grad) {
        l->dthin = tape_alloc(t, n * rank, sizeof *l->dthin);
        l->slope = act == ACT_NONE ? NULL : tape_alloc(t, n * out, sizeof *l->slope);
    }
    if (t->failed)
        return NULL;
    add_up(l, tape_param(t, b));
    if (act != ACT_NONE)
        vec()->activate(act, y->value, y->value, l->slope, n * out);
    if (y->grad)
        tape_record(t, adapted_back, l);
    return t->failed ? NULL : y;
}
