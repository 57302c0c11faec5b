/* walk_body.h: one tree of one row, LANES points at a time; included once per instruction set
 * with NAME and TARGET defined. */

typedef double NAME(v) __attribute__((vector_size(LANES * 8), aligned(LANES * 8)));

/* What the passes over the nodes share. Slot 0: factor 1, h 0. */
struct NAME(pass) {
    const struct walk *w;
    NAME(v) weight, y, rest, unmet;         /* of points y; y, 1 - y, -1 / (1 - y) */
    NAME(v) * product, *factor, *h, *below; /* [nodes], [slots], [slots], [nodes, outputs] */
};

/* Products from the root down. Parents come before their children. */
TARGET ALWAYS void NAME(down)(const struct NAME(pass) * s)
{
    const struct tree *t = s->w->tree->tree;
    const double *r = s->w->e->r + s->w->tree->first_edge;
    const uint32_t *source = s->w->e->sources + s->w->tree->first_node;
    uint8_t *met = s->w->met;
    s->product[0] = s->weight;
    met[0] = 1;
    s->h[0] = (NAME(v)){0};
    for (uint32_t i = 0; i + 1 < t->n_leaves; i++) {
        const struct tree_node *n = &t->nodes[i];
        bool left = node_goes_left(n, s->w->x[n->feature]);
        NAME(v) above = source[i] ? s->product[i] / s->factor[source[i]] : s->product[i];
        for (unsigned side = 0; side < 2; side++) {
            uint32_t slot = 1 + 2 * i + side;
            int32_t child = side ? n->right : n->left;
            double share = r[2 * i + side];
            met[slot] = met[source[i]] & (left != (side == 1));
            if (met[slot]) {
                s->factor[slot] = s->y * (1 - share) + share;
                s->h[slot] = (1 - share) / s->factor[slot];
            } else {
                s->factor[slot] = s->rest * share;
                s->h[slot] = s->unmet;
            }
            NAME(v) product = above * s->factor[slot];
            if (child >= 0)
                s->product[child] = product;
            else /* kept where nobody else looks: a leaf's factor is never divided by */
                s->factor[slot] = product;
        }
    }
}

/* Sums from the leaves up, for one output. */
TARGET ALWAYS void NAME(up)(const struct NAME(pass) * s, uint32_t output)
{
    const struct tree *t = s->w->tree->tree;
    const uint32_t *source = s->w->e->sources + s->w->tree->first_node;
    const uint32_t *player = s->w->e->node_players + s->w->tree->first_node;
    size_t first = (t->first_class + output) * s->w->e->n_players;
    const float *values = t->values + output;
    for (uint32_t i = t->n_leaves - 1; i-- > 0;) {
        const struct tree_node *n = &t->nodes[i];
        uint32_t slot = 1 + 2 * i;
        NAME(v)
        left = n->left >= 0 ? s->below[n->left]
                            : s->factor[slot] * (double)values[(size_t)~n->left * t->n_outputs];
        NAME(v)
        right = n->right >= 0
                    ? s->below[n->right]
                    : s->factor[slot + 1] * (double)values[(size_t)~n->right * t->n_outputs];
        NAME(v) *sum = (NAME(v) *)(s->w->sums + (first + player[i]) * LANES);
        NAME(v) phi = left * s->h[slot];
        NAME(v) other = right * s->h[slot + 1];
        NAME(v) both = left + right;
        phi += other;
        if (source[i]) {
            NAME(v) before = both * s->h[source[i]];
            phi -= before;
        }
        *sum += phi;
        s->below[i] = both;
    }
}

TARGET static void NAME(tree)(const struct walk *w)
{
    const struct tree *t = w->tree->tree;
    size_t nodes = t->n_leaves - 1;
    struct NAME(pass) s = {.w = w};
    s.product = (NAME(v) *)w->space;
    s.below = s.product + nodes;
    s.factor = s.below + nodes;
    s.h = s.factor + 2 * nodes + 1;
    for (unsigned q = 0; q < w->points; q += LANES) {
        memcpy(&s.y, w->tree->points + q, sizeof s.y);
        memcpy(&s.weight, w->tree->weights + q, sizeof s.weight);
        s.rest = 1 - s.y;
        s.unmet = -1 / s.rest;
        NAME(down)(&s);
        for (uint32_t o = 0; o < t->n_outputs; o++)
            NAME(up)(&s, o);
    }
}

#undef NAME
#undef TARGET
