/* game_body.h: plays games, included once per instruction set with NAME, TARGET, REGISTERS (of
 * 64 rows), find_states, look_up, add_to, SET1, MUL and FMA defined. */

typedef uint64_t NAME(mask) __attribute__((vector_size(64), aligned(64)));
typedef float NAME(v8f) __attribute__((vector_size(32), aligned(32)));
typedef double NAME(v8d) __attribute__((vector_size(64), aligned(64)));

TARGET static void NAME(slots)(const struct medley_explainer *e, const struct game_tree *g,
                               const uint64_t *answers, uint64_t *slots)
{
    const uint32_t *source = e->sources + g->first_node;
    const uint32_t *condition = e->conditions->of_nodes + e->conditions->first_node[g->number];
    const NAME(mask) *met = (const NAME(mask) *)answers;
    NAME(mask) *slot = (NAME(mask) *)slots;
    slot[0] = ~(NAME(mask)){0};
    for (uint32_t i = 0; i + 1 < g->tree->n_leaves; i++) {
        NAME(mask) left = met[condition[i]], above = slot[source[i]];
        slot[slot_of(i, false)] = above & left;
        slot[slot_of(i, true)] = above & ~left;
    }
}

TARGET static void NAME(join)(const float *part, size_t n, double *sums)
{
    for (size_t i = 0; i < n; i += 8)
        *(NAME(v8d) *)(sums + i) +=
            __builtin_convertvector(*(const NAME(v8f) *)(part + i), NAME(v8d));
}

TARGET ALWAYS void NAME(table)(const struct game_job *job, const struct game *g, size_t word,
                               unsigned size)
{
    const struct game_part *p = &job->e->parts[g->first_part];
    const uint32_t *players = job->e->players + p->first_player;
    const float *table = job->e->numbers + g->first_number;
    float *out = job->values + word * job->stride;
    struct NAME(states) s;
    NAME(find_states)(job, p, word, &s);
    for (uint32_t o = job->tree->tree->n_outputs; o > 0; o--) {
        for (unsigned i = 0; i < p->n_players; i++, table += size) {
            NAME(v) v[REGISTERS];
            NAME(look_up)(table, size, &s, v);
            NAME(add_to)(out + players[i] * GAME_ROWS, v);
        }
        out += job->e->n_players * GAME_ROWS;
    }
}

/* Values of a part's players: sums over points of D times what the other parts have. */
TARGET ALWAYS void NAME(part_values)(const struct game_job *job, const struct game_part *p,
                                     unsigned size, unsigned points, const float *d,
                                     const struct NAME(states) * s,
                                     NAME(v) (*others)[REGISTERS], float *out)
{
    const uint32_t *players = job->e->players + p->first_player;
    for (unsigned i = 0; i < p->n_players; i++) {
        NAME(v) phi[REGISTERS], v[REGISTERS];
        UNROLL
        for (unsigned t = 0; t < REGISTERS; t++)
            phi[t] = SET1(0);
        for (unsigned q = 0; q < points; q++, d += size) {
            NAME(look_up)(d, size, s, v);
            UNROLL
            for (unsigned t = 0; t < REGISTERS; t++)
                phi[t] = FMA(v[t], others[q][t], phi[t]);
        }
        NAME(add_to)(out + players[i] * GAME_ROWS, phi);
    }
}

/* others[q] = product over the parts but `own`, in order. */
TARGET ALWAYS void NAME(multiply)(NAME(v) (*g)[GAME_POINTS][REGISTERS], unsigned parts,
                                  unsigned own, unsigned points, NAME(v) (*others)[REGISTERS])
{
    unsigned first = own == 0 ? 1 : 0;
    for (unsigned q = 0; q < points; q++)
        UNROLL
    for (unsigned t = 0; t < REGISTERS; t++) {
        NAME(v) product = first < parts ? g[first][q][t] : SET1(1);
        for (unsigned b = first + 1; b < parts; b++)
            if (b != own)
                product = MUL(product, g[b][q][t]);
        others[q][t] = product;
    }
}

TARGET static void NAME(parts)(const struct game_job *job, const struct game *g, size_t word)
{
    const struct game_part *p = &job->e->parts[g->first_part];
    const float *table = job->e->numbers + g->first_number, *d[GAME_PARTS];
    struct NAME(states) s[GAME_PARTS];
    NAME(v) product[GAME_PARTS][GAME_POINTS][REGISTERS], others[GAME_POINTS][REGISTERS];
    float *out = job->values + word * job->stride;
    for (unsigned a = 0; a < g->n_parts; a++)
        NAME(find_states)(job, &p[a], word, &s[a]);
    for (uint32_t o = job->tree->tree->n_outputs; o > 0; o--) {
        for (unsigned a = 0; a < g->n_parts; a++) {
            unsigned size = p[a].n_states;
            for (unsigned q = 0; q < g->n_points; q++, table += size) {
                if (size == 16)
                    NAME(look_up)(table, 16, &s[a], product[a][q]);
                else
                    NAME(look_up)(table, 32, &s[a], product[a][q]);
            }
            d[a] = table;
            table += (size_t)g->n_points * p[a].n_players * size;
        }
        for (unsigned a = 0; a < g->n_parts; a++) {
            NAME(multiply)(product, g->n_parts, a, g->n_points, others);
            if (p[a].n_states == 16)
                NAME(part_values)(job, &p[a], 16, g->n_points, d[a], &s[a], others, out);
            else
                NAME(part_values)(job, &p[a], 32, g->n_points, d[a], &s[a], others, out);
        }
        out += job->e->n_players * GAME_ROWS;
    }
}

/* Game by game, so that the same branches and tables serve all words. */
TARGET static void NAME(play)(const struct game_job *job)
{
    const struct game *g = job->e->games + job->tree->first_game;
    for (const struct game *end = g + job->tree->n_games; g < end; g++) {
        unsigned states = job->e->parts[g->first_part].n_states;
        for (size_t w = 0; w < job->words; w++) {
            if (g->n_points)
                NAME(parts)(job, g, w);
            else if (states == 16)
                NAME(table)(job, g, w, 16);
            else if (states == 32)
                NAME(table)(job, g, w, 32);
            else
                NAME(table)(job, g, w, 64);
        }
    }
}

#undef NAME
#undef TARGET
#undef REGISTERS
#undef SET1
#undef MUL
#undef FMA
