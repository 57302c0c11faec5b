/* aggregate_max.c: the largest of the neighbours, forward and backward. */
#include "gnn/block.h"

#include <string.h>

struct max_entry {
    const struct block *b;
    struct tensor *x, *y;
};

static void max_backward(struct tape *t, void *context)
{
    (void)t;
    const struct max_entry *m = context;
    const struct block *b = m->b;
    size_t n = m->x->cols;
    for (size_t i = 0; i < b->n_targets; i++)
        for (size_t k = 0; k < n; k++) {
            float top = m->y->value[i * n + k], g = m->y->grad[i * n + k];
            unsigned equal = 0;
            for (size_t e = b->offsets[i]; e < b->offsets[i + 1]; e++)
                equal += m->x->value[b->source[e] * n + k] == top;
            for (size_t e = b->offsets[i]; e < b->offsets[i + 1]; e++)
                if (m->x->value[b->source[e] * n + k] == top)
                    m->x->grad[b->source[e] * n + k] += g / (float)equal;
        }
}

struct tensor *op_aggregate_max(struct tape *t, struct tensor *x, const struct block *b)
{
    if (!x || t->failed)
        return NULL;
    bool needs = tape_needs(t, x, NULL);
    size_t n = x->cols;
    struct tensor *y = tape_tensor(t, b->n_targets, n, needs);
    struct max_entry *m = tape_alloc(t, 1, sizeof *m);
    if (!y || !m)
        return NULL;
    memset(y->value, 0, y->rows * n * sizeof *y->value);
    for (size_t i = 0; i < b->n_targets; i++) {
        float *out = y->value + i * n;
        for (size_t e = b->offsets[i]; e < b->offsets[i + 1]; e++) {
            const float *row = x->value + b->source[e] * n;
            bool first = e == b->offsets[i];
            for (size_t k = 0; k < n; k++)
                out[k] = first || row[k] > out[k] ? row[k] : out[k];
        }
    }
    *m = (struct max_entry){b, x, y};
    if (needs)
        tape_record(t, max_backward, m);
    return y;
}
