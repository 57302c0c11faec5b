/* adapter.c: see adapter.h. */
#include "nn/adapter.h"

#include "base/error.h"
#include "base/memory.h"
#include "nn/gemm.h"

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

struct tensor *adapted_linear(struct tape *t, struct tensor *x, param_id w, param_id b,
                              enum activation act)
{
    param_id a = t->params->items[w].adapter;
    if (!a)
        return op_linear(t, x, w, b, act);
    struct tensor *thin =
        op_linear(t, op_dropout(t, x, t->params->adapter_dropout), a, PARAM_NONE, ACT_NONE);
    struct tensor *added = op_linear(t, thin, a + 1, PARAM_NONE, ACT_NONE);
    struct tensor *y = op_add(t, op_linear(t, x, w, b, ACT_NONE),
                              op_scale(t, added, t->params->adapter_scale));
    return act == ACT_NONE ? y : op_activation(t, y, act);
}
