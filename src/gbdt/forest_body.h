/* forest_body.h: rows through a forest, a block of one bit per row and mask register at a time;
 * included once per instruction set, with NAME, TARGET, BYTES (of a register), SELECT and
 * NAME(lookup) defined. */

typedef uint64_t NAME(mask) __attribute__((vector_size(BYTES), aligned(BYTES)));

/* Five masks into leaf numbers, 8 registers of bytes: byte j of register s is the number of row
 * 8 j + s; what stands above its 5 bits is undefined. A transposition of 8 x 8 bits in three
 * steps, of which the upper three bits need not be done. */
TARGET INLINE void NAME(numbers)(const NAME(mask) bit[FOREST_BITS], uint8_t *out)
{
    const NAME(mask) none = {0}, odd = none + 0xaaaaaaaaaaaaaaaa;
    const NAME(mask) pairs = none + 0xcccccccccccccccc, high = none + 0xf0f0f0f0f0f0f0f0;
    NAME(mask) *to = (NAME(mask) *)out, two[2][2], four[4];
    for (int h = 0; h < 2; h++) { /* two[h][e]: bits 2 h, 2 h + 1 of rows e, e + 2, ... */
        two[h][0] = SELECT(odd, bit[2 * h + 1] << 1, bit[2 * h]);
        two[h][1] = SELECT(odd, bit[2 * h + 1], bit[2 * h] >> 1);
    }
    for (int e = 0; e < 2; e++) { /* four[e]: rows e, e + 4 */
        four[e] = SELECT(pairs, two[1][e] << 2, two[0][e]);
        four[e + 2] = SELECT(pairs, two[1][e], two[0][e] >> 2);
    }
    for (int e = 0; e < 4; e++) {
        to[e] = SELECT(high, bit[4] << (4 - e), four[e]);
        to[e + 4] = SELECT(high, e ? bit[4] >> e : bit[4], four[e] >> 4);
    }
}

/* In the order that schedule.c found. */
TARGET INLINE void NAME(selects)(const struct forest_select *q, size_t n, NAME(mask) * mask)
{
    for (const struct forest_select *end = q + n; q < end; q++)
        mask[q->to] = SELECT(mask[q->condition], mask[q->met], mask[q->not_met]);
}

TARGET INLINE void NAME(leaves)(const struct forest *f, const struct forest_part *p,
                                struct forest_space *s, uint8_t *out)
{
    const NAME(mask) *mask = (const NAME(mask) *)s->answers.masks;
    NAME(mask) *gate = s->gates, bit[FOREST_BITS];
    const struct forest_gate *g = f->gates + p->first_gate;
    for (unsigned i = 0; i < p->n_gates; i++, g++)
        gate[g->to] = gate[g->from] & (g->negated ? ~mask[g->condition] : mask[g->condition]);
    for (unsigned b = 0; b < FOREST_BITS; b++)
        bit[b] = mask[p->bits[b]];
    if (p->gate)
        for (unsigned b = 0; b < FOREST_BITS; b++)
            bit[b] &= gate[p->gate];
    NAME(numbers)(bit, out);
}

TARGET static void NAME(run)(const struct forest *f, struct forest_space *s, const float *x,
                             size_t n)
{
    enum { ROWS = BYTES * 8 };
    const struct medley_gbdt *m = f->model;
    conditions_answer(f->conditions, &s->answers, x, n);
    for (size_t c = 0; c < m->n_classes; c++)
        for (size_t i = 0; i < ROWS; i++)
            s->margins[c * ROWS + i] = m->base[c];
    for (size_t i = 0; i < f->n_batches; i++) {
        const struct forest_batch *b = &f->batches[i];
        NAME(selects)
        (f->selects + b->first_select, b->n_selects, (NAME(mask) *)s->answers.masks);
        for (unsigned p = 0; p < b->n_parts; p++)
            NAME(leaves)(f, &f->parts[b->first_part + p], s, s->leaves + p * ROWS);
        for (uint32_t o = 0; o < b->n_outputs; o++)
            NAME(lookup)
        (f->values + b->first_value + o * FOREST_GROUP * FOREST_LEAVES, s->leaves, b,
         s->sums + o * ROWS, s->margins + (b->first_class + o) * ROWS);
    }
}
