/* answer.c: which rows of a block meet which conditions.
 *
 * A row's value of a feature is searched among the thresholds, 16 at a time, and leaves one
 * mark: a bit at the least threshold it does not exceed. Running through the marks of a feature
 * in order and or-ing them up gives the mask of every threshold. So the work per row is one
 * search per feature, and per condition one or and one store for the whole block, where
 * comparing every row with every threshold would be hundreds of times more. Proof:
 * tests/test_conditions.c. */
#include "gbdt/search.h"

#include "base/cpu.h"

#include <string.h>

/* The definition. */
static void answer_ref(const struct conditions *c, struct conditions_space *s, const float *x,
                       size_t n)
{
    memset(s->masks, 0, c->n_conditions * s->words * sizeof *s->masks);
    for (size_t i = 0; i < c->n_conditions; i++) {
        const struct condition *q = &c->list[i];
        for (size_t row = 0; row < n; row++) {
            float v = x[row * c->n_features + q->feature];
            uint64_t left = v <= q->threshold || (v != v && q->missing_left);
            s->masks[i * s->words + row / 64] |= left << row % 64;
        }
    }
}

#if defined(__x86_64__)

#define INLINE static inline __attribute__((always_inline))

/* ---- marks to masks ---- */

/* `words` is a constant wherever this is inlined. A condition of a kind that is not asked about
 * is overwritten by the next: no branch, and one mask of room at the end. */
INLINE void sweep(const struct conditions *c, const struct conditions_space *s, size_t words)
{
    uint64_t *out = s->masks;
    for (size_t u = 0; u < c->n_used; u++) {
        const struct condition_feature *f = &c->used[u];
        uint64_t *mark = s->marks + f->first_mark * words;
        const uint8_t *kind = c->kinds + f->first_mark + 1;
        uint64_t missing[CONDITIONS_WORDS], met[CONDITIONS_WORDS] = {0};
        for (size_t w = 0; w < words; w++) {
            missing[w] = mark[w];
            mark[w] = 0;
        }
        mark += words;
        for (uint32_t t = 0; t < f->n_thresholds; t++, mark += words) {
            for (size_t w = 0; w < words; w++) {
                met[w] |= mark[w];
                mark[w] = 0;
                out[w] = met[w];
            }
            out += (kind[t] & 1) * words;
            for (size_t w = 0; w < words; w++)
                out[w] = met[w] | missing[w];
            out += (kind[t] >> 1) * words;
        }
        for (size_t w = 0; w < words; w++)
            mark[w] = 0; /* rows above all */
    }
}

INLINE void set_mark(uint64_t *marks, size_t words, size_t mark, size_t row)
{
    marks[mark * words + row / 64] |= (uint64_t)1 << row % 64;
}

/* Where a value that exceeds `above` thresholds leaves its mark. */
INLINE size_t mark_of(const struct condition_feature *f, size_t above, float v)
{
    return f->first_mark + ((above + 1) & -(size_t)(v == v));
}

/* ---- AVX2 ---- */

__attribute__((target("avx2,popcnt"))) static void answer_avx2(const struct conditions *c,
                                                               struct conditions_space *s,
                                                               const float *x, size_t n)
{
    for (size_t row = 0; row < n; row++, x += c->n_features)
        for (size_t u = 0; u < c->n_used; u++) {
            const struct condition_feature *f = &c->used[u];
            float v = x[f->feature];
            set_mark(s->marks, s->words, mark_of(f, search_avx2(c, f, v), v), row);
        }
    if (s->words == 4)
        sweep(c, s, 4);
    else
        sweep(c, s, s->words);
}

/* ---- AVX-512 ---- */

#define TARGET512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi2")))

TARGET512 static void answer_avx512(const struct conditions *c, struct conditions_space *s,
                                    const float *x, size_t n)
{
    for (size_t row = 0; row < n; row++, x += c->n_features)
        for (size_t u = 0; u < c->n_used; u++) {
            const struct condition_feature *f = &c->used[u];
            float v = x[f->feature];
            set_mark(s->marks, s->words, mark_of(f, search_avx512(c, f, v), v), row);
        }
    if (s->words == 8)
        sweep(c, s, 8);
    else
        sweep(c, s, s->words);
}

#endif

const struct conditions_impl conditions_impls[] = {
    {"ref", answer_ref, cpu_always},
#if defined(__x86_64__)
    {"avx2", answer_avx2, cpu_has_avx2},
    {"avx512", answer_avx512, cpu_has_avx512},
#endif
    {NULL, NULL, NULL},
};

void conditions_answer(const struct conditions *c, struct conditions_space *s, const float *x,
                       size_t n)
{
#if defined(__x86_64__)
    if (cpu_has_avx512()) {
        answer_avx512(c, s, x, n);
        return;
    }
    if (cpu_has_avx2()) {
        answer_avx2(c, s, x, n);
        return;
    }
#endif
    answer_ref(c, s, x, n);
}
