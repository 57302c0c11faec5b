/* single_body.h: one row through all trees; included once per instruction set, with NAME and
 * TARGET, struct NAME(row), NAME(search) and NAME(places) defined. */

/* Values of 16 trees, one load after the other: the gather instruction takes 57 cycles on
 * Zen 5, as long as all the rest of a step; this 8. */
TARGET INLINE void NAME(pick)(const float *values, const uint32_t *at, float *out)
{
    for (unsigned i = 0; i < SINGLE_LANES; i++)
        out[i] = values[at[i]];
}

/* Sums of groups into margins, those of a class kept in a register. */
TARGET INLINE void NAME(add_groups)(const struct forest_group *g, uint32_t n, uint32_t output,
                                    const float *sums, double *margins)
{
    double *margin = &margins[g->first_class + output], sum = *margin;
    for (uint32_t lane = 0; lane < n; lane++) {
        if (&margins[g[lane].first_class + output] != margin) {
            *margin = sum;
            margin = &margins[g[lane].first_class + output];
            sum = *margin;
        }
        sum += sums[lane];
    }
    *margin = sum;
}

TARGET INLINE void NAME(unit)(const struct forest *f, const struct single_unit *u,
                              const struct NAME(row) * row, double *margins)
{
    /* Steps taken before their values are added: a load right after the stores it needs would
     * wait for them. */
    enum { RUN = 8 };
    const size_t outputs = f->single->n_outputs;
    const struct single_pair *p = f->single->pairs + u->first_pair;
    const float *table = f->single->values + u->first_value;
    float sums[GBDT_MAX_CLASSES][SINGLE_LANES] __attribute__((aligned(64)));
    float values[GBDT_MAX_CLASSES][RUN][SINGLE_LANES] __attribute__((aligned(64)));
    uint32_t at[RUN][SINGLE_LANES] __attribute__((aligned(64)));
    memset(sums, 0, outputs * sizeof *sums);
    for (uint32_t done = 0; done < u->n_steps; done += RUN) {
        uint32_t n = u->n_steps - done < RUN ? u->n_steps - done : RUN;
        for (uint32_t step = 0; step < n; step++, p += SINGLE_LANES / 2)
            NAME(places)(p, u->n_groups, row, at[step]);
        for (uint32_t step = 0; step < n; step++)
            for (size_t o = 0; o < outputs; o++, table += SINGLE_LANES * FOREST_LEAVES)
                NAME(pick)(table, at[step], values[o][step]);
        for (size_t o = 0; o < outputs; o++)
            for (uint32_t step = 0; step < n; step++)
                for (unsigned i = 0; i < SINGLE_LANES; i++)
                    sums[o][i] += values[o][step][i];
    }
    for (uint32_t o = 0; o < outputs; o++)
        NAME(add_groups)(f->groups + u->first_group, u->n_groups, o, sums[o], margins);
}

TARGET static void NAME(run)(const struct forest *f, const float *x, double *margins)
{
    struct NAME(row) row;
    uint8_t bytes[SINGLE_COLUMNS] __attribute__((aligned(64))) = {0};
    const struct single *s = f->single;
    memcpy(margins, f->model->base, f->model->n_classes * sizeof *margins);
    for (size_t i = 0; i < s->n_columns; i++) {
        const struct condition_feature *u = &f->conditions->used[s->columns[i].used];
        float v = x[u->feature];
        size_t above = NAME(search)(f->conditions, u, v), first = s->columns[i].first;
        above = above > first ? above - first : 0;
        above = above < SINGLE_STEPS ? above : SINGLE_STEPS;
        bytes[i] = v == v ? (uint8_t)above : 255;
    }
    NAME(load)(s, bytes, &row);
    for (size_t i = 0; i < s->n_units; i++)
        NAME(unit)(f, &s->units[i], &row, margins);
}
