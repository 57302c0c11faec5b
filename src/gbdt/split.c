/* split.c: the search for a leaf's best split: the definition, and eight features at once.
 *
 * All kernels choose the same split, bit for bit. Sums are integers below 2^31, so their
 * doubles are exact, and for one output candidates are compared by cross multiplication, (gl^2
 * hr + gr^2 hl) / (hl hr) > N / D  as  (...) D > N (hl hr), which needs no division; every
 * kernel does these products in the same order. Vector trees divide. Ties go to the first
 * candidate: lower feature, lower bin, missing to the right. Proof: tests/test_gbdt.c runs
 * every row of the table against the first. */
#include "gbdt/split.h"

#include "base/cpu.h"

#include <stddef.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* gcc does not contract in ISO mode */
#endif

/* The best candidate of one feature: gain = numerator / denominator over both sides. */
struct best {
    double numerator, denominator; /* denominator 0: none yet */
    unsigned bin;
    bool missing_left;
};

static double parent_gain(const struct split_search *s)
{
    double gain = 0;
    for (unsigned o = 0; o < s->outputs; o++) {
        double g = cell_gradient(s->totals[o]), h = cell_hessian(s->totals[o]);
        gain += g * g / (h + s->lambda);
    }
    return gain;
}

/* The winner of a feature against the winner of those before. */
static void keep_better(const struct split_search *s, double parent, size_t feature,
                        const struct best *b, struct split *best)
{
    if (b->denominator == 0)
        return;
    double gain = b->numerator / b->denominator - parent;
    if (gain > best->gain && gain > s->min_gain)
        *best =
            (struct split){gain, (uint32_t)feature, (uint8_t)b->bin, b->missing_left, false};
}

static void note_missing(const struct split_search *s, struct split *best)
{
    size_t group = best->feature / BINS_GROUP, lane = best->feature % BINS_GROUP;
    const int64_t *missing = s->cells + (size_t)s->bins->group_first[group] * BINS_GROUP + lane;
    for (unsigned o = 0; o < s->outputs; o++)
        best->missing_seen |= missing[o * s->output_stride] != 0;
}

static void try_one(const struct split_search *s, int64_t left, unsigned bin, bool missing_left,
                    struct best *b)
{
    int64_t right = s->totals[0] - left;
    double gl = cell_gradient(left), hl = cell_hessian(left);
    double gr = cell_gradient(right), hr = cell_hessian(right);
    if (hl < s->min_hessian || hr < s->min_hessian)
        return;
    hl += s->lambda;
    hr += s->lambda;
    double numerator = gl * gl * hr + gr * gr * hl, denominator = hl * hr;
    if (b->denominator == 0 || numerator * b->denominator > b->numerator * denominator)
        *b = (struct best){numerator, denominator, bin, missing_left};
}

static void try_vector(const struct split_search *s, const int64_t *left, unsigned bin,
                       bool missing_left, struct best *b)
{
    double gain = 0, hessian_left = 0, hessian_right = 0;
    for (unsigned o = 0; o < s->outputs; o++) {
        int64_t right = s->totals[o] - left[o];
        double gl = cell_gradient(left[o]), hl = cell_hessian(left[o]);
        double gr = cell_gradient(right), hr = cell_hessian(right);
        gain += gl * gl / (hl + s->lambda) + gr * gr / (hr + s->lambda);
        hessian_left += hl;
        hessian_right += hr;
    }
    /* Both checked: a side without rows has a sum of 0, and min_hessian is positive. */
    if (hessian_left < s->min_hessian || hessian_right < s->min_hessian)
        return;
    if (b->denominator == 0 || gain > b->numerator)
        *b = (struct best){gain, 1, bin, missing_left};
}

/* All candidates of one feature, bins upwards. */
static void scan_feature(const struct split_search *s, size_t feature, struct best *b)
{
    size_t group = feature / BINS_GROUP, lane = feature % BINS_GROUP;
    const int64_t *column = s->cells + (size_t)s->bins->group_first[group] * BINS_GROUP + lane;
    int64_t left[16] = {0}, with_missing[16];
    bool any_missing = false;
    for (unsigned o = 0; o < s->outputs; o++)
        any_missing |= column[o * s->output_stride] != 0;
    for (unsigned bin = 1; bin <= s->bins->n_cuts[feature] + 1u; bin++) {
        for (unsigned o = 0; o < s->outputs; o++) {
            const int64_t *cells = column + o * s->output_stride;
            left[o] += cells[(size_t)bin * BINS_GROUP];
            with_missing[o] = left[o] + cells[0];
        }
        for (int side = 0; side <= any_missing; side++) {
            const int64_t *sums = side ? with_missing : left;
            if (s->outputs == 1)
                try_one(s, sums[0], bin, side, b);
            else
                try_vector(s, sums, bin, side, b);
        }
    }
}

static void split_find_ref(const struct split_search *s, struct split *best)
{
    double parent = parent_gain(s);
    *best = (struct split){0};
    for (size_t f = 0; f < s->bins->n_features; f++) {
        struct best b = {0};
        if (!(s->allowed[f / BINS_GROUP] >> f % BINS_GROUP & 1))
            continue;
        scan_feature(s, f, &b);
        keep_better(s, parent, f, &b, best);
    }
    if (best->gain > 0)
        note_missing(s, best);
}

#if defined(__x86_64__)

#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl")))

/* Eight features' best candidates. */
struct lanes {
    __m512d numerator, denominator;
    __m512i choice; /* bin * 2 + missing_left */
};

TARGET static inline void lanes_try(const struct split_search *s, __m512i left, unsigned choice,
                                    struct lanes *b)
{
    __m512i right = _mm512_sub_epi64(_mm512_set1_epi64(s->totals[0]), left);
    __m512i low = _mm512_set1_epi64(0xffffffff);
    __m512d least = _mm512_set1_pd(s->min_hessian), lambda = _mm512_set1_pd(s->lambda);
    __m512d gl = _mm512_cvtepi64_pd(_mm512_srai_epi64(left, 32));
    __m512d gr = _mm512_cvtepi64_pd(_mm512_srai_epi64(right, 32));
    __m512d hl = _mm512_cvtepi64_pd(_mm512_and_si512(left, low));
    __m512d hr = _mm512_cvtepi64_pd(_mm512_and_si512(right, low));
    __mmask8 good = _mm512_cmp_pd_mask(hl, least, _CMP_GE_OQ);
    good &= _mm512_cmp_pd_mask(hr, least, _CMP_GE_OQ);
    if (!good)
        return;
    hl = _mm512_add_pd(hl, lambda);
    hr = _mm512_add_pd(hr, lambda);
    __m512d numerator = _mm512_add_pd(_mm512_mul_pd(_mm512_mul_pd(gl, gl), hr),
                                      _mm512_mul_pd(_mm512_mul_pd(gr, gr), hl));
    __m512d denominator = _mm512_mul_pd(hl, hr);
    __mmask8 none = _mm512_cmp_pd_mask(b->denominator, _mm512_setzero_pd(), _CMP_EQ_OQ);
    good &= none | _mm512_cmp_pd_mask(_mm512_mul_pd(numerator, b->denominator),
                                      _mm512_mul_pd(b->numerator, denominator), _CMP_GT_OQ);
    b->numerator = _mm512_mask_mov_pd(b->numerator, good, numerator);
    b->denominator = _mm512_mask_mov_pd(b->denominator, good, denominator);
    b->choice = _mm512_mask_mov_epi64(b->choice, good, _mm512_set1_epi64(choice));
}

/* Bins past the last of a feature are empty: the candidate is that of its last bin again, which
 * is not strictly better. */
TARGET static void scan_group(const struct split_search *s, size_t group, struct lanes *b)
{
    const int64_t *cells = s->cells + (size_t)s->bins->group_first[group] * BINS_GROUP;
    unsigned bins = s->bins->group_first[group + 1] - s->bins->group_first[group];
    __m512i missing = _mm512_load_si512(cells), left = _mm512_setzero_si512();
    bool any_missing = _mm512_test_epi64_mask(missing, missing) & s->allowed[group];
    for (unsigned bin = 1; bin < bins; bin++) {
        left = _mm512_add_epi64(left, _mm512_load_si512(cells + (size_t)bin * BINS_GROUP));
        lanes_try(s, left, bin * 2, b);
        if (any_missing)
            lanes_try(s, _mm512_add_epi64(left, missing), bin * 2 + 1, b);
    }
}

TARGET static void split_find_avx512(const struct split_search *s, struct split *best)
{
    if (s->outputs != 1) {
        split_find_ref(s, best);
        return;
    }
    double parent = parent_gain(s), numerator[8], denominator[8];
    int64_t choice[8];
    *best = (struct split){0};
    for (size_t g = 0; g < s->bins->n_groups; g++) {
        struct lanes b = {_mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_si512()};
        if (!s->allowed[g])
            continue;
        scan_group(s, g, &b);
        _mm512_storeu_pd(numerator, b.numerator);
        _mm512_storeu_pd(denominator, b.denominator);
        _mm512_storeu_si512(choice, b.choice);
        for (unsigned j = 0; j < BINS_GROUP; j++) {
            struct best one = {numerator[j], denominator[j], (unsigned)choice[j] >> 1,
                               choice[j] & 1};
            if (s->allowed[g] >> j & 1)
                keep_better(s, parent, g * BINS_GROUP + j, &one, best);
        }
    }
    if (best->gain > 0)
        note_missing(s, best);
}

#endif

const struct split_impl split_impls[] = {
    {"ref", split_find_ref, cpu_always},
#if defined(__x86_64__)
    {"avx512", split_find_avx512, cpu_has_avx512},
#endif
    {NULL, NULL, NULL},
};

void split_find(const struct split_search *s, struct split *best)
{
#if defined(__x86_64__)
    if (cpu_has_avx512()) {
        split_find_avx512(s, best);
        return;
    }
#endif
    split_find_ref(s, best);
}
