/* softmax_body.h: the gradients of 16 rows at a time, included once per instruction set with
 * NAME and TARGET defined. Only additions and multiplications in a fixed order: every set gives
 * the same bits, and so the same model. */

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
    for (size_t c = 0; c < job->n_classes; c++)
        p[c] = p[c] / sum;
}

TARGET static void NAME(gradients)(const struct softmax_job *job, size_t begin, size_t end)
{
    const v16f magic = 12582912.0f - (v16f){0};
    float k = (float)job->n_classes;
    for (size_t row = begin; row < end; row += SOFTMAX_BLOCK) {
        v16f p[16], weight = *(const v16f *)(job->weights + row);
        v16i label = __builtin_convertvector(*(const v16b *)(job->labels + row), v16i);
        NAME(probabilities)(job, row, p);
        for (size_t c = 0; c < job->n_classes; c++) {
            v16i hit = label == (int)c;
            v16f one = (v16f)((v16i)(1.0f - (v16f){0}) & hit);
            v16f g = (p[c] - one) * weight * job->gradient_scale;
            v16f h = p[c] * (1.0f - p[c]) * (k / (k - 1)) * weight * job->hessian_scale;
            v16i gi = __builtin_convertvector((g + magic) - magic, v16i);
            v16i hi = __builtin_convertvector((h + magic) - magic, v16i);
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

#undef NAME
#undef TARGET
