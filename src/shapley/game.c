/* game.c: plays the games of 64 rows: the definition and the kernels for AVX2 and AVX-512. All
 * do the same additions and fused multiplications in the same order, so that they give the same
 * bits. Proof: tests/test_shapley.c runs every row of the table against brute force. */
#include "shapley/explainer.h"

#include "base/cpu.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* ---- the definition ---- */

static unsigned state_of(const struct game_job *job, const struct game_part *p, size_t row)
{
    const struct game_add *a = job->e->adds + p->first_add;
    unsigned state = 0;
    for (unsigned i = 0; i < p->n_adds; i++)
        if (job->slots[(size_t)a[i].slot * GAME_WORDS + row / 64] >> row % 64 & 1)
            state += a[i].weight;
    return state;
}

static void table_ref(const struct game_job *job, const struct game *g, size_t row)
{
    const struct game_part *p = &job->e->parts[g->first_part];
    const uint32_t *players = job->e->players + p->first_player;
    const float *table = job->e->numbers + g->first_number + state_of(job, p, row);
    float *out = job->values + row / 64 * job->stride + game_place(row % 64);
    for (uint32_t o = 0; o < job->tree->tree->n_outputs; o++)
        for (unsigned i = 0; i < p->n_players; i++, table += p->n_states)
            out[(o * job->e->n_players + players[i]) * GAME_ROWS] += *table;
}

/* The product of the other parts' G, in order. */
static float others_ref(const float *const *tables, const struct game_part *p, unsigned n,
                        unsigned own, unsigned q)
{
    float product = 1;
    for (unsigned b = 0; b < n; b++)
        if (b != own)
            product *= tables[b][q * p[b].n_states];
    return product;
}

static void parts_ref(const struct game_job *job, const struct game *g, size_t row)
{
    const struct game_part *p = &job->e->parts[g->first_part];
    const float *at = job->e->numbers + g->first_number, *tables[GAME_PARTS];
    for (uint32_t o = 0; o < job->tree->tree->n_outputs; o++) {
        float *out = job->values + row / 64 * job->stride + o * job->e->n_players * GAME_ROWS +
                     game_place(row % 64);
        for (unsigned a = 0; a < g->n_parts; a++) {
            tables[a] = at + state_of(job, &p[a], row);
            at += (size_t)g->n_points * (p[a].n_players + 1) * p[a].n_states;
        }
        for (unsigned a = 0; a < g->n_parts; a++) {
            const uint32_t *players = job->e->players + p[a].first_player;
            const float *d = tables[a] + (size_t)g->n_points * p[a].n_states;
            for (unsigned i = 0; i < p[a].n_players; i++) {
                float phi = 0;
                for (unsigned q = 0; q < g->n_points; q++, d += p[a].n_states)
                    phi = fmaf(*d, others_ref(tables, p, g->n_parts, a, q), phi);
                out[players[i] * GAME_ROWS] += phi;
            }
        }
    }
}

static void play_ref(const struct game_job *job)
{
    const struct game *g = job->e->games + job->tree->first_game;
    for (const struct game *end = g + job->tree->n_games; g < end; g++)
        for (size_t row = 0; row < job->words * GAME_ROWS; row++) {
            if (g->n_points)
                parts_ref(job, g, row);
            else
                table_ref(job, g, row);
        }
}

static void slots_ref(const struct medley_explainer *e, const struct game_tree *g,
                      const uint64_t *answers, uint64_t *slots)
{
    const uint32_t *sources = e->sources + g->first_node;
    memset(slots, 0xff, GAME_WORDS * sizeof *slots);
    for (uint32_t i = 0; i + 1 < g->tree->n_leaves; i++) {
        size_t condition = condition_of(e->conditions, g->number, i);
        for (size_t w = 0; w < GAME_WORDS; w++) {
            uint64_t met = answers[condition * GAME_WORDS + w];
            uint64_t above = slots[(size_t)sources[i] * GAME_WORDS + w];
            slots[(size_t)slot_of(i, false) * GAME_WORDS + w] = above & met;
            slots[(size_t)slot_of(i, true) * GAME_WORDS + w] = above & ~met;
        }
    }
}

static void join_ref(const float *part, size_t n, double *sums)
{
    for (size_t i = 0; i < n; i++)
        sums[i] += part[i];
}

#if defined(__x86_64__)

#define ALWAYS static inline __attribute__((always_inline))
/* Loops over registers must unroll, or the compiler keeps the registers in memory. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* ---- AVX-512: 16 rows in a register, 4 registers ---- */

#define NAME(x) x##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define REGISTERS 4

typedef __m512 NAME(v);

/* The states of 64 rows; register t of a lookup takes byte t of each 32-bit lane. */
struct NAME(states) {
    __m512i at[4];
    __mmask16 high[4]; /* of 64 states: 32 and above */
};

TARGET ALWAYS void NAME(find_states)(const struct game_job *job, const struct game_part *p,
                                     size_t word, struct NAME(states) * out)
{
    const struct game_add *a = job->e->adds + p->first_add;
    __m512i s = _mm512_setzero_si512();
    for (unsigned i = 0; i < p->n_adds; i++)
        s = _mm512_mask_add_epi8(s, job->slots[(size_t)a[i].slot * GAME_WORDS + word], s,
                                 _mm512_set1_epi8((char)a[i].weight));
    out->at[0] = s;
    out->at[1] = _mm512_srli_epi32(s, 8);
    out->at[2] = _mm512_srli_epi32(s, 16);
    out->at[3] = _mm512_srli_epi32(s, 24);
    UNROLL
    for (unsigned t = 0; t < 4; t++)
        out->high[t] = _mm512_test_epi32_mask(s, _mm512_set1_epi32(0x20 << 8 * t));
}

/* out[t] = table[states of register t]; `size` is a constant after inlining. Permutations look
 * at the low 4 or 5 bits of a lane alone. */
TARGET ALWAYS void NAME(look_up)(const float *table, unsigned size,
                                 const struct NAME(states) * s, __m512 *out)
{
    __m512 a = _mm512_load_ps(table);
    if (size == 16) {
        UNROLL
        for (unsigned t = 0; t < 4; t++)
            out[t] = _mm512_permutexvar_ps(s->at[t], a);
        return;
    }
    __m512 b = _mm512_load_ps(table + 16);
    UNROLL
    for (unsigned t = 0; t < 4; t++)
        out[t] = _mm512_permutex2var_ps(a, s->at[t], b);
    if (size == 32)
        return;
    __m512 c = _mm512_load_ps(table + 32), d = _mm512_load_ps(table + 48);
    UNROLL
    for (unsigned t = 0; t < 4; t++)
        out[t] = _mm512_mask_mov_ps(out[t], s->high[t], _mm512_permutex2var_ps(c, s->at[t], d));
}

TARGET ALWAYS void NAME(add_to)(float *to, const __m512 *v)
{
    UNROLL
    for (unsigned t = 0; t < 4; t++)
        _mm512_store_ps(to + 16 * t, _mm512_add_ps(_mm512_load_ps(to + 16 * t), v[t]));
}

#define SET1 _mm512_set1_ps
#define MUL _mm512_mul_ps
#define FMA _mm512_fmadd_ps
#include "shapley/game_body.h"

/* ---- AVX2: 8 rows in a register, 8 registers ---- */

#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define REGISTERS 8

typedef __m256 NAME(v);

/* Register 2 t + h takes byte t of the lanes of half h: the same places as above. */
struct NAME(states) {
    __m256i at[8];
};

TARGET ALWAYS void NAME(find_states)(const struct game_job *job, const struct game_part *p,
                                     size_t word, struct NAME(states) * out)
{
    const struct game_add *a = job->e->adds + p->first_add;
    const __m256i byte =
        _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    for (unsigned h = 0; h < 2; h++) {
        __m256i s = _mm256_setzero_si256();
        for (unsigned i = 0; i < p->n_adds; i++) {
            uint64_t mask = job->slots[(size_t)a[i].slot * GAME_WORDS + word];
            __m256i m = _mm256_set1_epi32((int)(uint32_t)(mask >> 32 * h));
            m = _mm256_and_si256(_mm256_shuffle_epi8(m, byte), bit);
            m = _mm256_cmpeq_epi8(m, bit);
            s = _mm256_add_epi8(s, _mm256_and_si256(m, _mm256_set1_epi8((char)a[i].weight)));
        }
        UNROLL
        for (unsigned t = 0; t < 4; t++)
            out->at[2 * t + h] =
                _mm256_and_si256(_mm256_srli_epi32(s, (int)(8 * t)), _mm256_set1_epi32(0xff));
    }
}

TARGET ALWAYS void NAME(look_up)(const float *table, unsigned size,
                                 const struct NAME(states) * s, __m256 *out)
{
    if (size > 32) {
        UNROLL
        for (unsigned t = 0; t < 8; t++)
            out[t] = _mm256_i32gather_ps(table, s->at[t], 4);
        return;
    }
    __m256 a = _mm256_load_ps(table), b = _mm256_load_ps(table + 8);
    UNROLL
    for (unsigned t = 0; t < 8; t++) {
        __m256 high = _mm256_castsi256_ps(_mm256_slli_epi32(s->at[t], 28));
        out[t] = _mm256_blendv_ps(_mm256_permutevar8x32_ps(a, s->at[t]),
                                  _mm256_permutevar8x32_ps(b, s->at[t]), high);
    }
    if (size == 16)
        return;
    __m256 c = _mm256_load_ps(table + 16), d = _mm256_load_ps(table + 24);
    UNROLL
    for (unsigned t = 0; t < 8; t++) {
        __m256 high = _mm256_castsi256_ps(_mm256_slli_epi32(s->at[t], 28));
        __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(s->at[t], 27));
        __m256 v = _mm256_blendv_ps(_mm256_permutevar8x32_ps(c, s->at[t]),
                                    _mm256_permutevar8x32_ps(d, s->at[t]), high);
        out[t] = _mm256_blendv_ps(out[t], v, upper);
    }
}

TARGET ALWAYS void NAME(add_to)(float *to, const __m256 *v)
{
    UNROLL
    for (unsigned t = 0; t < 8; t++)
        _mm256_store_ps(to + 8 * t, _mm256_add_ps(_mm256_load_ps(to + 8 * t), v[t]));
}

#define SET1 _mm256_set1_ps
#define MUL _mm256_mul_ps
#define FMA _mm256_fmadd_ps
#include "shapley/game_body.h"

#endif

const struct game_impl game_impls[] = {
    {"ref", slots_ref, play_ref, join_ref, cpu_always},
#if defined(__x86_64__)
    {"avx2", slots_avx2, play_avx2, join_avx2, cpu_has_avx2},
    {"avx512", slots_avx512, play_avx512, join_avx512, cpu_has_avx512},
#endif
    {NULL, NULL, NULL, NULL, NULL},
};

const struct game_impl *game_fastest(void)
{
    const struct game_impl *best = &game_impls[0];
    for (const struct game_impl *i = game_impls; i->name; i++)
        if (i->usable())
            best = i;
    return best;
}
