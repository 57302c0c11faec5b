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

/* The mark of a value that exceeds so many thresholds; 0 is for missing. */
INLINE uint32_t mark_of(size_t above, float v)
{
    return (uint32_t)(above + 1) & -(uint32_t)(v == v);
}

/* The masks of a feature's conditions, from `out` on; returns where the next feature's go. A
 * condition of a kind that is not asked about is overwritten by the next: no branch, and one
 * mask of room at the end. */
#define SWEEP(NAME, MASK)                                                                     \
    INLINE void *NAME(const struct conditions *c, const struct conditions_space *s, size_t u, \
                      void *masks)                                                            \
    {                                                                                         \
        const uint8_t *kind = c->kinds + c->used[u].first_mark + 1;                           \
        const uint8_t *end = kind + c->used[u].n_thresholds;                                  \
        MASK *mark = (MASK *)s->marks, *out = masks, none = {0}, met = {0}, missing = *mark;  \
        for (*mark++ = none; kind < end; kind++, mark++) {                                    \
            met |= *mark;                                                                     \
            *mark = none;                                                                     \
            *out = met;                                                                       \
            out += *kind & 1;                                                                 \
            *out = met | missing;                                                             \
            out += *kind >> 1;                                                                \
        }                                                                                     \
        *mark = none; /* rows above all */                                                    \
        return out;                                                                           \
    }

typedef uint64_t mask_8 __attribute__((vector_size(64), aligned(64)));
typedef uint64_t mask_4 __attribute__((vector_size(32), aligned(32)));

#define TARGET256 __attribute__((target("avx2,popcnt,bmi2")))
#define TARGET512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi2")))

TARGET512 SWEEP(sweep_8, mask_8)
TARGET256 SWEEP(sweep_4, mask_4)

    /* Any number of words, a word at a time. */
    static void *sweep_any(const struct conditions *c, const struct conditions_space *s,
                           size_t u, void *masks)
{
    size_t words = s->words, n = c->used[u].n_thresholds;
    const uint8_t *kinds = c->kinds + c->used[u].first_mark + 1;
    uint64_t *out = masks;
    for (size_t w = 0; w < words; w++) {
        uint64_t met = 0, missing = s->marks[w];
        out = (uint64_t *)masks + w;
        s->marks[w] = 0;
        for (size_t t = 0; t < n; t++) {
            met |= s->marks[(t + 1) * words + w];
            s->marks[(t + 1) * words + w] = 0;
            *out = met;
            out += (kinds[t] & 1) * words;
            *out = met | missing;
            out += (kinds[t] >> 1) * words;
        }
        s->marks[(n + 1) * words + w] = 0;
        out -= w;
    }
    return out;
}

INLINE void set_marks(const struct conditions_space *s, size_t u, size_t words, size_t n)
{
    const uint32_t *above = s->above + u * 64 * words;
    for (size_t row = 0; row < n; row++)
        s->marks[above[row] * words + row / 64] |= (uint64_t)1 << row % 64;
}

/* A feature at a time, so that its marks stay in the nearest cache. */
INLINE void sweep_other(const struct conditions *c, const struct conditions_space *s, size_t n)
{
    void *out = s->masks;
    for (size_t u = 0; u < c->n_used; u++) {
        set_marks(s, u, s->words, n);
        out = sweep_any(c, s, u, out);
    }
}

TARGET256 static void answer_avx2(const struct conditions *c, struct conditions_space *s,
                                  const float *x, size_t n)
{
    for (size_t row = 0; row < n; row++, x += c->n_features)
        for (size_t u = 0; u < c->n_used; u++) {
            float v = x[c->used[u].feature];
            s->above[u * 64 * s->words + row] = mark_of(search_avx2(c, &c->used[u], v), v);
        }
    if (s->words != 4) {
        sweep_other(c, s, n);
        return;
    }
    void *out = s->masks;
    for (size_t u = 0; u < c->n_used; u++) {
        set_marks(s, u, 4, n);
        out = sweep_4(c, s, u, out);
    }
}

TARGET512 static void answer_avx512(const struct conditions *c, struct conditions_space *s,
                                    const float *x, size_t n)
{
    for (size_t row = 0; row < n; row++, x += c->n_features)
        for (size_t u = 0; u < c->n_used; u++) {
            float v = x[c->used[u].feature];
            s->above[u * 64 * s->words + row] = mark_of(search_avx512(c, &c->used[u], v), v);
        }
    if (s->words != 8) {
        sweep_other(c, s, n);
        return;
    }
    void *out = s->masks;
    for (size_t u = 0; u < c->n_used; u++) {
        set_marks(s, u, 8, n);
        out = sweep_8(c, s, u, out);
    }
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
