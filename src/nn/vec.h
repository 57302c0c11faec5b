/* vec.h: the loops over floats that ops and optimiser are made of, one table row an instruction
 * set; private to src/nn. vec_ref.c is the definition. Buffers may be the same where a comment
 * says "in place"; otherwise they do not overlap. */
#ifndef NN_VEC_H
#define NN_VEC_H

#include "nn/ops.h"

/* Dropout: element i is kept when the upper 31 bits of a hash of (key, i) reach the threshold,
 * and is then multiplied by scale. */
struct drop_mask {
    uint32_t key[2];
    uint32_t threshold; /* of 2^31 */
    float scale;        /* 1 / (1 - rate) */
};
struct drop_mask drop_mask_of(uint64_t seed, uint64_t op, float rate);

/* Layer normalisation of [rows, cols]. */
struct norm_rows {
    size_t rows, cols;
    float eps;
    const float *x, *residual; /* residual may be NULL */
    const float *gamma, *beta; /* [cols] */
    float *y;
    float *normal; /* [rows, cols] (x - mean) / deviation, for the way back; NULL: not wanted */
    float *rdev;   /* [rows] 1 / deviation; NULL with normal */
};
struct norm_grads { /* any output may be NULL; all are added to */
    size_t rows, cols;
    const float *dy, *normal, *rdev, *gamma;
    float *dx, *dresidual, *dgamma, *dbeta;
};

/* One step of AdamW on n numbers; torch.optim.AdamW's order of operations. */
struct adamw_span {
    size_t n;
    float *p, *m, *v, *g; /* g is zeroed */
    float grad_scale;     /* of clipping */
    float beta1, beta2, epsilon;
    float rest1, rest2;     /* 1 - beta, which float cannot take from beta */
    float keep;             /* 1 - rate * weight decay */
    float step;             /* rate / (1 - beta1^t) */
    float rsqrt_correction; /* 1 / sqrt(1 - beta2^t) */
};

struct vec_impl {
    const char *name;
    bool (*usable)(void);
    /* out = a + s b; in place allowed */
    void (*add_scaled)(float *out, const float *a, float s, const float *b, size_t n);
    void (*multiply)(float *out, const float *a, const float *b,
                     size_t n); /* in place allowed */
    void (*multiply_add)(float *out, const float *a, const float *b, size_t n); /* out += a b */
    float (*dot)(const float *a, const float *b, size_t n);
    double (*sum_squares)(const float *x, size_t n);
    void (*drain)(float *sum, float *part, size_t n); /* sum += part; part = 0 */
    /* y = act(z), slope = act'(z) unless NULL; y may be z */
    void (*activate)(enum activation act, const float *z, float *y, float *slope, size_t n);
    /* y = act(y) for rows of cols numbers, stride apart; the bits of activate */
    void (*activate_rows)(enum activation act, float *y, size_t rows, size_t cols,
                          size_t stride);
    /* dz *= slope (NULL: 1), then sum[cols] += columns of dz (NULL: not) */
    void (*slope_columns)(float *dz, const float *slope, float *sum, size_t rows, size_t cols);
    void (*softmax)(float *x, size_t n, float scale); /* x = softmax(scale x), in place */
    /* x = exp(scale (x - max)) for rows of n numbers, stride apart; inverse[rows] = 1 / sum */
    void (*exp_rows)(float *x, size_t rows, size_t n, size_t stride, float scale,
                     float *inverse);
    /* dp = scale p (dp - p.dp), in place: the gradient of softmax's input */
    void (*softmax_back)(const float *p, float *dp, size_t n, float scale);
    void (*norm)(const struct norm_rows *a);
    void (*norm_back)(const struct norm_grads *a);
    /* out = (add ? out : 0) + mask(x) for elements first .. first+n; in place allowed */
    void (*drop)(float *out, const float *x, size_t n, const struct drop_mask *mask,
                 uint32_t first, bool add);
    void (*adamw)(const struct adamw_span *a);
};
extern const struct vec_impl *const vec_impls[]; /* slowest first; NULL at the end */
extern const struct vec_impl vec_ref;
#if defined(__x86_64__)
extern const struct vec_impl vec_avx2, vec_avx512;
#endif

const struct vec_impl *vec(void); /* the fastest usable row */

#endif
