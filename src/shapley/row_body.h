/* row_body.h: one tree of one row, 8 points in the lanes of a register; included once per
 * instruction set with NAME and TARGET defined. */

typedef float NAME(v) __attribute__((vector_size(32), aligned(32)));
typedef double NAME(sum) __attribute__((vector_size(64), aligned(64)));

typedef int32_t NAME(bits) __attribute__((vector_size(32), aligned(32)));

/* Whether the row goes left, in all lanes: a scalar would tempt compilers to branch. */
TARGET ALWAYS void NAME(ask)(const struct row *w, const struct row_node *n, NAME(bits) * left)
{
    const NAME(v) x = w->x[n->feature >> 1] - (NAME(v)){0};
    /* NaN differs from itself; NOLINTNEXTLINE(misc-redundant-expression) */
    *left = (x <= n->threshold) | ((x != x) & -(int32_t)(n->feature & 1));
}

/* Products from the root down, and the factors of all edges. */
TARGET ALWAYS void NAME(down)(const struct row *w, const struct row_node *n, uint32_t nodes)
{
    NAME(v) *product = (NAME(v) *)w->product, *factor = (NAME(v) *)w->factor;
    NAME(v) *inverse = (NAME(v) *)w->inverse;
    NAME(bits) *met = (NAME(bits) *)w->met;
    const NAME(v) y = *(const NAME(v) *)w->y, rest = 1 - y;
    product[0] = *(const NAME(v) *)w->weight;
    factor[0] = 1 - (NAME(v)){0};
    met[0] = ~(NAME(bits)){0};
    for (uint32_t i = 0; i < nodes; i++, n++) {
        NAME(bits) left, above = met[n->source];
        NAME(ask)(w, n, &left);
        NAME(v) one_by = 1 / factor[n->source];
        NAME(v) base = product[i] * one_by;
        inverse[i] = one_by;
        met[1 + 2 * i] = above & left;
        met[2 + 2 * i] = above & ~left;
        /* r (1 - y), and y more when met */
        NAME(v) f = rest * n->r[0], g = rest * n->r[1];
        f += (NAME(v))((NAME(bits))y & above & left);
        g += (NAME(v))((NAME(bits))y & above & ~left);
        factor[1 + 2 * i] = f;
        factor[2 + 2 * i] = g;
        product[n->child[0]] = base * f;
        product[n->child[1]] = base * g;
    }
}

/* Sums from the leaves up, for one output, and the values of players. */
TARGET ALWAYS void NAME(up)(const struct row *w, const struct row_node *first, uint32_t nodes,
                            double *sums)
{
    NAME(v) *below = (NAME(v) *)w->below;
    const NAME(v) *factor = (const NAME(v) *)w->factor, *product = (const NAME(v) *)w->product;
    const NAME(v) *inverse = (const NAME(v) *)w->inverse;
    const NAME(bits) *met = (const NAME(bits) *)w->met, one = (NAME(bits))(1 - (NAME(v)){0});
    const struct row_node *n = first + nodes;
    for (uint32_t i = nodes; i-- > 0;) {
        n--;
        NAME(v) left = below[n->child[0]], right = below[n->child[1]];
        NAME(v) phi = left * ((NAME(v))(met[1 + 2 * i] & one) - n->r[0]);
        phi += right * ((NAME(v))(met[2 + 2 * i] & one) - n->r[1]);
        NAME(v) both = left * factor[1 + 2 * i];
        both += right * factor[2 + 2 * i];
        both *= inverse[i];
        phi -= both * ((NAME(v))(met[n->source] & one) - n->source_r);
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
