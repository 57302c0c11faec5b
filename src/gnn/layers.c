/* layers.c: the table of graph layers. */
#include "gnn/layer.h"

#include <string.h>

const struct layer_ops *const layer_table[] = {&layer_gcn,   &layer_sage, &layer_sage_max,
                                               &layer_gatv2, &layer_rgcn, NULL};

const struct layer_ops *layer_find(const char *name)
{
    for (const struct layer_ops *const *l = layer_table; *l; l++)
        if (strcmp((*l)->name, name) == 0)
            return *l;
    return NULL;
}

void layer_declare(struct layer *l, const struct layer_ops *ops, struct layer_shape shape,
                   struct params *p, const char *prefix)
{
    *l = (struct layer){.ops = ops, .shape = shape};
    for (size_t i = 0; i < LAYER_MAX_PARAMS; i++)
        l->params[i] = PARAM_NONE;
    ops->declare(l, p, prefix);
}

/* ---- adding a bias ---- */

struct bias_entry {
    struct tensor *x, *y;
    param_id bias;
};

static void add_bias_backward(struct tape *t, void *context)
{
    const struct bias_entry *e = context;
    float *grad = tape_param_grad(t, e->bias);
    for (size_t i = 0; i < e->y->rows; i++)
        for (size_t k = 0; k < e->y->cols; k++) {
            float g = e->y->grad[i * e->y->cols + k];
            if (e->x->grad)
                e->x->grad[i * e->y->cols + k] += g;
            if (grad)
                grad[k] += g;
        }
}

struct tensor *layer_add_bias(struct tape *t, struct tensor *x, param_id bias)
{
    if (!x || bias == PARAM_NONE)
        return x;
    bool needs = tape_needs(t, x, NULL) || tape_param_grad(t, bias);
    struct tensor *y = tape_tensor(t, x->rows, x->cols, needs);
    struct bias_entry *e = tape_alloc(t, 1, sizeof *e);
    if (!y || !e)
        return NULL;
    *e = (struct bias_entry){x, y, bias};
    const float *b = tape_param(t, bias);
    for (size_t i = 0; i < x->rows; i++)
        for (size_t k = 0; k < x->cols; k++)
            y->value[i * x->cols + k] = x->value[i * x->cols + k] + b[k];
    if (needs)
        tape_record(t, add_bias_backward, e);
    return y;
}
