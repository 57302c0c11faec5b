/* row_body.h: one tree of one row, 8 points in the lanes of a register; included once per
 * instruction set with NAME and TARGET defined. */

typedef float NAME(v) __attribute__((vector_size(32), aligned(32)));
typedef double NAME(sum) __attribute__((vector_size(64), aligned(64)));

/* Products from the root down, and the factors of all edges. */
TARGET ALWAYS void NAME(down)(const struct row *w, const struct row_node *n, uint32_t nodes)
{
    NAME(v) *product = (NAME(v) *)w->product, *factor = (NAME(v) *)w->factor;
    NAME(v) *inverse = (NAME(v) *)w->inverse;
    const NAME(v) y = *(const NAME(v) *)w->y, rest = 1 - y;
    product[0] = *(const NAME(v) *)w->weight;
    factor[0] = 1 - (NAME(v)){0};
    w->met[0] = 1;
    for (uint32_t i = 0; i < nodes; i++, n++) {
        float x = w->x[n->feature >> 1];
        unsigned left = (x <= n->threshold) | ((x != x) & (n->feature & 1));
        float above = w->met[n->source], met[2] = {left ? above : 0, left ? 0 : above};
        NAME(v) one_by = 1 / factor[n->source];
        NAME(v) base = product[i] * one_by;
        inverse[i] = one_by;
        for (unsigned side = 0; side < 2; side++) {
            NAME(v) f = rest * n->r[side]; /* r (1 - y), and y more when met */
            f += y * met[side];
            w->met[1 + 2 * i + side] = met[side];
            factor[1 + 2 * i + side] = f;
            product[n->child[side]] = base * f;
        }
    }
}

/* Sums from the leaves up, for one output, and the values of players. */
TARGET ALWAYS void NAME(up)(const struct row *w, const struct row_node *first, uint32_t nodes,
                            double *sums)
{
    NAME(v) *below = (NAME(v) *)w->below;
    const NAME(v) *factor = (const NAME(v) *)w->factor, *product = (const NAME(v) *)w->product;
    const NAME(v) *inverse = (const NAME(v) *)w->inverse;
    const struct row_node *n = first + nodes;
    for (uint32_t i = nodes; i-- > 0;) {
        n--;
        NAME(v) left = below[n->child[0]], right = below[n->child[1]];
        NAME(v) phi = left * (w->met[1 + 2 * i] - n->r[0]);
        phi += right * (w->met[2 + 2 * i] - n->r[1]);
        NAME(v) both = left * factor[1 + 2 * i];
        both += right * factor[2 + 2 * i];
        both *= inverse[i];
        phi -= both * (w->met[n->source] - n->source_r); /* h of the source, times its factor */
        phi *= inverse[i] * product[i];
        NAME(sum) *to = (NAME(sum) *)(sums + (size_t)n->player * ROW_POINTS);
        *to += __builtin_convertvector(phi, NAME(sum));
        below[i] = both;
    }
}

TARGET static void NAME(tree)(const struct row *w, const struct row_node *n,
                              const struct tree *t, double *sums, size_t players)
{
    uint32_t nodes = t->n_leaves - 1;
    NAME(v) *leaf = (NAME(v) *)w->below + nodes;
    NAME(down)(w, n, nodes);
    for (uint32_t o = 0; o < t->n_outputs; o++) {
        for (uint32_t i = 0; i < t->n_leaves; i++)
            leaf[i] = t->values[(size_t)i * t->n_outputs + o] - (NAME(v)){0};
        NAME(up)(w, n, nodes, sums + (t->first_class + o) * players * ROW_POINTS);
    }
}

#undef NAME
#undef TARGET
