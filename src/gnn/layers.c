/* layers.c: the table of graph layers. */
#include "gnn/layer.h"

#include <string.h>

const struct layer_ops *const layer_table[] = {&layer_gcn, &layer_sage, &layer_gatv2, NULL};

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
