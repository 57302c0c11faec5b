/* softmax_body.h: the gradients of 16 rows at a time, included once per instruction set with
 * NAME, TARGET and BITS (of 16 comparisons, one each) defined. Only additions and
 * multiplications in a fixed order: every set gives the same bits, and so the same model. */

/* e^x for x <= 0; relative error 2e-7 (Cephes' polynomial for 2^f, f in [-1/2, 1/2]). */
TARGET static inline void NAME(exp)(v16f *x)
{
    const v16f magic = 12582912.0f - (v16f){0}; /* 1.5 * 2^23: adding it rounds to integer */
    v16f y = *x * 1.44269504f;
    v16i low = y < -120.0f;
    y = (v16f)(((v16i)y & ~low) | ((v16i)(-120.0f - (v16f){0}) & low));
    v16f whole = (y + magic) - magic;
    v16f f = y - whole;
    v16f p = f * 1.535336188e-4f;
    p = (p + 1.339887440e-3f) * f;
    p = (p + 9.618437357e-3f) * f;
    p = (p + 5.550332548e-2f) * f;
    p = (p + 2.402264791e-1f) * f;
    p = (p + 6.931472028e-1f) * f;
    p = p + 1.0f;
    v16i power = (__builtin_convertvector(whole, v16i) + 127) << 23;
    *x = p * (v16f)power;
}

/* The 16 probabilities of each class. */
TARGET static inline void NAME(probabilities)(const struct softmax_job *job, size_t row,
                                              v16f *p)
{
    const v16f *score = (const v16f *)(job->scores + row);
    size_t step = job->stride / SOFTMAX_BLOCK;
    v16f most = score[0], sum = {0};
    for (size_t c = 1; c < job->n_classes; c++) {
        v16f s = score[c * step];
        v16i more = s > most;
        most = (v16f)(((v16i)s & more) | ((v16i)most & ~more));
    }
    for (size_t c = 0; c < job->n_classes; c++) {
        p[c] = score[c * step] - most;
        NAME(exp)(&p[c]);
        sum += p[c];
    }
    sum = 1.0f / sum;
    for (size_t c = 0; c < job->n_classes; c++)
        p[c] = p[c] * sum;
}

/* Gradients and hessians of 16 rows, in units. */
TARGET static inline void NAME(slopes)(const struct softmax_job *job, size_t row, v16f *g,
                                       v16f *h)
{
    float k = (float)job->n_classes;
    v16f weight = *(const v16f *)(job->weights + row);
    v16i label = __builtin_convertvector(*(const v16b *)(job->labels + row), v16i);
    NAME(probabilities)(job, row, g);
    for (size_t c = 0; c < job->n_classes; c++) {
        v16i hit = label == (int)c;
        v16f one = (v16f)((v16i)(1.0f - (v16f){0}) & hit);
        h[c] = g[c] * (1.0f - g[c]) * (k / (k - 1)) * weight * job->hessian_scale;
        g[c] = (g[c] - one) * weight * job->gradient_scale;
    }
}

TARGET static void NAME(gradients)(const struct softmax_job *job, size_t begin, size_t end)
{
    const v16f magic = 12582912.0f - (v16f){0};
    for (size_t row = begin; row < end; row += SOFTMAX_BLOCK) {
        v16f g[16], h[16];
        NAME(slopes)(job, row, g, h);
        for (size_t c = 0; c < job->n_classes; c++) {
            v16i gi = __builtin_convertvector((g[c] + magic) - magic, v16i);
            v16i hi = __builtin_convertvector((h[c] + magic) - magic, v16i);
            v16i none = hi < 1;
            hi = (hi & ~none) | (1 & none);
            int64_t *out = job->by_class + c * job->stride + row;
            for (size_t i = 0; i < SOFTMAX_BLOCK; i++) {
                out[i] = cell_pack(gi[i], hi[i]);
                job->packed[(row + i) * job->lanes + c] = out[i];
            }
        }
    }
}

/* 24 random bits for each of 16 rows (the finisher of MurmurHash3). */
TARGET static inline void NAME(random)(const struct softmax_sample *s, size_t row, v16f *u)
{
    const v16u count = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    v16u x = (count + (uint32_t)row) * 0x9e3779b1u ^ s->seed[0];
    x = (x ^ x >> 16) * 0x85ebca6bu ^ s->seed[1];
    x = (x ^ x >> 13) * 0xc2b2ae35u;
    x = (x ^ x >> 16) >> 8;
    *u = __builtin_convertvector((v16i)x, v16f) * 0x1p-24f;
}

TARGET static size_t NAME(sample)(const struct softmax_job *job, const struct softmax_sample *s,
                                  size_t begin, size_t end)
{
    float unit = 1 / job->gradient_scale, half = 0.5f / job->hessian_scale;
    float most = s->threshold * s->threshold, share = s->row_fraction * s->row_fraction;
    size_t n = begin;
    for (size_t row = begin; row < end; row += SOFTMAX_BLOCK) {
        v16f g[16], h[16], size = {0}, u, weight = *(const v16f *)(job->weights + row);
        NAME(slopes)(job, row, g, h);
        NAME(random)(s, row, &u);
        for (size_t c = 0; c < job->n_classes; c++)
            size += g[c] * unit * (g[c] * unit) + h[c] * half * (h[c] * half);
        if (s->spread && row / SOFTMAX_BLOCK % 4 == 0)
            for (size_t i = 0; i < SOFTMAX_BLOCK; i++)
                s->spread[spread_bin(size[i])]++;
        if (!s->kept)
            continue;
        /* u < row_fraction min(1, s / threshold), squared */
        v16i keep = (u * u * most < size * share) & (u * u < share) & (weight > 0.0f);
        for (uint32_t bits = BITS(&keep); bits; bits &= bits - 1) {
            size_t i = (size_t)__builtin_ctz(bits);
            float worth = size[i] < most ? s->threshold / sqrtf(size[i]) : 1;
            for (size_t c = 0; c < job->n_classes; c++) {
                int64_t cell = cell_quantised(g[c][i] * worth, h[c][i] * worth);
                job->by_class[c * job->stride + n] = cell;
                job->packed[n * job->lanes + c] = cell;
            }
            s->kept[n++] = (uint32_t)(row + i);
        }
    }
    return n - begin;
}

#undef NAME
#undef TARGET
#undef BITS
