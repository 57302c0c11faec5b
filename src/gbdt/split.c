/* split.c: the search for a leaf's best split: the definition, and four or eight
 * features at once.
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

/* The best candidate of one feature and one side for missing: gain = numerator / denominator,
 * both sides of the split together. */
struct best {
    double numerator, denominator;
    unsigned bin;
};
#define NONE_YET \
    {            \
        -1, 1, 0 \
    } /* any candidate is better */

static double parent_gain(const struct split_search *s)
{
    double gain = 0;
    for (unsigned o = 0; o < s->outputs; o++) {
        double g = cell_gradient(s->totals[o]), h = cell_hessian(s->totals[o]);
        gain += g * g / (h + s->lambda);
    }
    return gain;
}

/* The winner of a feature, of missing to the right [0] and to the left [1], against the winner
 * of the features before. */
static void keep_better(const struct split_search *s, double parent, size_t feature,
                        const struct best sides[2], struct split *best)
{
    double right = sides[0].numerator * sides[1].denominator;
    double left = sides[1].numerator * sides[0].denominator;
    bool to_left = left > right || (left == right && sides[1].bin < sides[0].bin);
    const struct best *b = &sides[to_left];
    if (b->numerator < 0)
        return;
    double gain = b->numerator / b->denominator - parent;
    if (gain > best->gain && gain > s->min_gain)
        *best = (struct split){gain, (uint32_t)feature, (uint8_t)b->bin, to_left, false};
}

static void note_missing(const struct split_search *s, struct split *best)
{
    size_t group = best->feature / BINS_GROUP, lane = best->feature % BINS_GROUP;
    const int64_t *missing = s->cells + (size_t)s->bins->group_first[group] * BINS_GROUP + lane;
    for (unsigned o = 0; o < s->outputs; o++)
        best->missing_seen |= missing[o * s->output_stride] != 0;
}

static void try_one(const struct split_search *s, int64_t left, unsigned bin, struct best *b)
{
    int64_t right = s->totals[0] - left;
    double gl = cell_gradient(left), hl = cell_hessian(left);
    double gr = cell_gradient(right), hr = cell_hessian(right);
    if (hl < s->min_hessian || hr < s->min_hessian)
        return;
    hl += s->lambda;
    hr += s->lambda;
    double numerator = gl * gl * hr + gr * gr * hl, denominator = hl * hr;
    if (numerator * b->denominator > b->numerator * denominator)
        *b = (struct best){numerator, denominator, bin};
}

static void try_vector(const struct split_search *s, const int64_t *left, unsigned bin,
                       struct best *b)
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
    if (gain > b->numerator)
        *b = (struct best){gain, 1, bin};
}

/* All candidates of one feature, bins upwards. */
static void scan_feature(const struct split_search *s, size_t feature, struct best sides[2])
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
        /* Missing alone on the left is the same as missing alone on the right, and comes later.
         */
        for (int side = 0; side <= (any_missing && left[0] != 0); side++) {
            const int64_t *sums = side ? with_missing : left;
            if (s->outputs == 1)
                try_one(s, sums[0], bin, &sides[side]);
            else
                try_vector(s, sums, bin, &sides[side]);
        }
    }
}

static void split_find_ref(const struct split_search *s, struct split *best)
{
    double parent = parent_gain(s);
    *best = (struct split){0};
    for (size_t f = 0; f < s->bins->n_features; f++) {
        struct best sides[2] = {NONE_YET, NONE_YET};
        if (!(s->allowed[f / BINS_GROUP] >> f % BINS_GROUP & 1))
            continue;
        scan_feature(s, f, sides);
        keep_better(s, parent, f, sides, best);
    }
    if (best->gain > 0)
        note_missing(s, best);
}

#if defined(__x86_64__)

#define TARGET_AVX2 __attribute__((target("avx2")))

/* Four features' struct best. */
struct quad {
    __m256d numerator, denominator, bin;
};

/* Gradients or hessians (half 1 or 0 of each cell) as doubles; both are below 2^31. */
TARGET_AVX2 static inline __m256d halves(__m256i cells, int half)
{
    __m256i order =
        _mm256_add_epi32(_mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6), _mm256_set1_epi32(half));
    return _mm256_cvtepi32_pd(
        _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(cells, order)));
}

TARGET_AVX2 static inline void quad_try(const struct split_search *s, __m256i good,
                                        __m256i left, unsigned bin, struct quad *b)
{
    __m256i right = _mm256_sub_epi64(_mm256_set1_epi64x(s->totals[0]), left);
    __m256d least = _mm256_set1_pd(s->min_hessian), lambda = _mm256_set1_pd(s->lambda);
    __m256d gl = halves(left, 1), hl = halves(left, 0);
    __m256d gr = halves(right, 1), hr = halves(right, 0);
    __m256d keep = _mm256_and_pd(_mm256_cmp_pd(hl, least, _CMP_GE_OQ),
                                 _mm256_cmp_pd(hr, least, _CMP_GE_OQ));
    keep = _mm256_and_pd(keep, _mm256_castsi256_pd(good));
    if (!_mm256_movemask_pd(keep))
        return;
    hl = _mm256_add_pd(hl, lambda);
    hr = _mm256_add_pd(hr, lambda);
    __m256d numerator = _mm256_add_pd(_mm256_mul_pd(_mm256_mul_pd(gl, gl), hr),
                                      _mm256_mul_pd(_mm256_mul_pd(gr, gr), hl));
    __m256d denominator = _mm256_mul_pd(hl, hr);
    keep = _mm256_and_pd(keep,
                         _mm256_cmp_pd(_mm256_mul_pd(numerator, b->denominator),
                                       _mm256_mul_pd(b->numerator, denominator), _CMP_GT_OQ));
    b->numerator = _mm256_blendv_pd(b->numerator, numerator, keep);
    b->denominator = _mm256_blendv_pd(b->denominator, denominator, keep);
    b->bin = _mm256_blendv_pd(b->bin, _mm256_set1_pd(bin), keep);
}

/* Four features of a group: `lane` is 0 or 4. Empty bins: see scan_group. */
TARGET_AVX2 static void scan_quad(const struct split_search *s, size_t group, size_t lane,
                                  struct quad sides[2])
{
    const int64_t *cells = s->cells + (size_t)s->bins->group_first[group] * BINS_GROUP + lane;
    unsigned bins = s->bins->group_first[group + 1] - s->bins->group_first[group];
    __m256i missing = _mm256_load_si256((const __m256i *)cells);
    __m256i left = _mm256_setzero_si256(), all = _mm256_set1_epi64x(-1);
    bool any_missing = !_mm256_testz_si256(missing, missing);
    for (unsigned bin = 1; bin < bins; bin++) {
        __m256i row = _mm256_load_si256((const __m256i *)(cells + (size_t)bin * BINS_GROUP));
        if (_mm256_testz_si256(row, row))
            continue;
        left = _mm256_add_epi64(left, row);
        quad_try(s, all, left, bin, &sides[0]);
        if (any_missing) {
            __m256i none = _mm256_cmpeq_epi64(left, _mm256_setzero_si256());
            quad_try(s, _mm256_andnot_si256(none, all), _mm256_add_epi64(left, missing), bin,
                     &sides[1]);
        }
    }
}

TARGET_AVX2 static void unpack_quad(const struct quad *from, struct best out[4])
{
    double numerator[4], denominator[4], bin[4];
    _mm256_storeu_pd(numerator, from->numerator);
    _mm256_storeu_pd(denominator, from->denominator);
    _mm256_storeu_pd(bin, from->bin);
    for (unsigned j = 0; j < 4; j++)
        out[j] = (struct best){numerator[j], denominator[j], (unsigned)bin[j]};
}

/* The better of each allowed feature's sides against the best before; `n` features from
 * `first` on. */
static void keep_best(const struct split_search *s, double parent, size_t first, unsigned n,
                      const struct best *right, const struct best *left, struct split *best)
{
    for (unsigned j = 0; j < n; j++) {
        struct best both[2] = {right[j], left[j]};
        size_t f = first + j;
        if (s->allowed[f / BINS_GROUP] >> f % BINS_GROUP & 1)
            keep_better(s, parent, f, both, best);
    }
}

TARGET_AVX2 static void split_find_avx2(const struct split_search *s, struct split *best)
{
    if (s->outputs != 1) {
        split_find_ref(s, best);
        return;
    }
    double parent = parent_gain(s);
    struct quad none = {_mm256_set1_pd(-1), _mm256_set1_pd(1), _mm256_setzero_pd()};
    *best = (struct split){0};
    for (size_t quad = 0; quad < 2 * s->bins->n_groups; quad++) {
        struct quad sides[2] = {none, none};
        struct best right[4], left[4];
        if (!(s->allowed[quad / 2] >> quad % 2 * 4 & 15))
            continue;
        scan_quad(s, quad / 2, quad % 2 * 4, sides);
        unpack_quad(&sides[0], right);
        unpack_quad(&sides[1], left);
        keep_best(s, parent, quad * 4, 4, right, left, best);
    }
    if (best->gain > 0)
        note_missing(s, best);
}

#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl")))

/* Eight features' struct best. */
struct lanes {
    __m512d numerator, denominator;
    __m512i bin;
};

TARGET static inline void lanes_try(const struct split_search *s, __mmask8 good, __m512i left,
                                    unsigned bin, struct lanes *b)
{
    __m512i right = _mm512_sub_epi64(_mm512_set1_epi64(s->totals[0]), left);
    __m512i low = _mm512_set1_epi64(0xffffffff);
    __m512d least = _mm512_set1_pd(s->min_hessian), lambda = _mm512_set1_pd(s->lambda);
    __m512d gl = _mm512_cvtepi64_pd(_mm512_srai_epi64(left, 32));
    __m512d gr = _mm512_cvtepi64_pd(_mm512_srai_epi64(right, 32));
    __m512d hl = _mm512_cvtepi64_pd(_mm512_and_si512(left, low));
    __m512d hr = _mm512_cvtepi64_pd(_mm512_and_si512(right, low));
    good &= _mm512_cmp_pd_mask(hl, least, _CMP_GE_OQ);
    good &= _mm512_cmp_pd_mask(hr, least, _CMP_GE_OQ);
    if (!good)
        return;
    hl = _mm512_add_pd(hl, lambda);
    hr = _mm512_add_pd(hr, lambda);
    __m512d numerator = _mm512_add_pd(_mm512_mul_pd(_mm512_mul_pd(gl, gl), hr),
                                      _mm512_mul_pd(_mm512_mul_pd(gr, gr), hl));
    __m512d denominator = _mm512_mul_pd(hl, hr);
    good &= _mm512_cmp_pd_mask(_mm512_mul_pd(numerator, b->denominator),
                               _mm512_mul_pd(b->numerator, denominator), _CMP_GT_OQ);
    b->numerator = _mm512_mask_mov_pd(b->numerator, good, numerator);
    b->denominator = _mm512_mask_mov_pd(b->denominator, good, denominator);
    b->bin = _mm512_mask_mov_epi64(b->bin, good, _mm512_set1_epi64(bin));
}

/* Bins past the last of a feature are empty: the candidate is that of its last bin again, which
 * is not strictly better. */
TARGET static void scan_group(const struct split_search *s, size_t group, struct lanes sides[2])
{
    const int64_t *cells = s->cells + (size_t)s->bins->group_first[group] * BINS_GROUP;
    unsigned bins = s->bins->group_first[group + 1] - s->bins->group_first[group];
    __m512i missing = _mm512_load_si512(cells), left = _mm512_setzero_si512();
    bool any_missing = _mm512_test_epi64_mask(missing, missing) & s->allowed[group];
    for (unsigned bin = 1; bin < bins; bin++) {
        __m512i row = _mm512_load_si512(cells + (size_t)bin * BINS_GROUP);
        if (!_mm512_test_epi64_mask(row, row))
            continue; /* the candidates of the bin before again */
        left = _mm512_add_epi64(left, row);
        lanes_try(s, 0xff, left, bin, &sides[0]);
        if (any_missing)
            lanes_try(s, _mm512_test_epi64_mask(left, left), _mm512_add_epi64(left, missing),
                      bin, &sides[1]);
    }
}

/* Lane by lane, as the definition keeps it. */
TARGET static void unpack(const struct lanes *from, struct best out[8])
{
    double numerator[8], denominator[8];
    int64_t bin[8];
    _mm512_storeu_pd(numerator, from->numerator);
    _mm512_storeu_pd(denominator, from->denominator);
    _mm512_storeu_si512(bin, from->bin);
    for (unsigned j = 0; j < BINS_GROUP; j++)
        out[j] = (struct best){numerator[j], denominator[j], (unsigned)bin[j]};
}

TARGET static void split_find_avx512(const struct split_search *s, struct split *best)
{
    if (s->outputs != 1) {
        split_find_ref(s, best);
        return;
    }
    double parent = parent_gain(s);
    struct lanes none = {_mm512_set1_pd(-1), _mm512_set1_pd(1), _mm512_setzero_si512()};
    *best = (struct split){0};
    for (size_t g = 0; g < s->bins->n_groups; g++) {
        struct lanes sides[2] = {none, none};
        struct best right[8], left[8];
        if (!s->allowed[g])
            continue;
        scan_group(s, g, sides);
        unpack(&sides[0], right);
        unpack(&sides[1], left);
        keep_best(s, parent, g * BINS_GROUP, BINS_GROUP, right, left, best);
    }
    if (best->gain > 0)
        note_missing(s, best);
}

#endif

const struct split_impl split_impls[] = {
    {"ref", split_find_ref, cpu_always},
#if defined(__x86_64__)
    {"avx2", split_find_avx2, cpu_has_avx2},
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
    if (cpu_has_avx2()) {
        split_find_avx2(s, best);
        return;
    }
#endif
    split_find_ref(s, best);
}
