/* probabilities_body.h: the softmax of 8 rows at a time, in double, included once per
 * instruction set with NAME and TARGET defined. Only additions, multiplications and divisions
 * in a fixed order, never fused: every set gives the same bits. */

/* e^x for x <= 0, below -700 as at -700; relative error 1e-14: x = n ln 2 + r, 2^n by the
 * exponent, e^r by its series up to r^11. */
TARGET static inline __attribute__((always_inline)) void NAME(exp)(v8d *x)
{
    const v8d zero = {0}, magic = zero + 0x1.8p52; /* adding it rounds to integer */
    v8i low = *x < zero - 700.0;
    v8d y = (v8d)(((v8i)*x & ~low) | ((v8i)(zero - 700.0) & low));
    v8d shifted = y * 0x1.71547652b82fep0 + magic, n = shifted - magic;
    v8d r = (y - n * 0x1.62e42fefa0000p-1) - n * 0x1.cf79abc9e3b3ap-40;
    v8d p = r * (1.0 / 39916800) + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    *x = p * (v8d)(((v8i)shifted + 1023) << 52); /* the integer is in the low bits */
}

TARGET static void NAME(run)(const double *margins, size_t n_classes, size_t stride, size_t n,
                             float *probabilities)
{
    for (size_t i = 0; i < n; i += 8) {
        v8d most = *(const v8d *)(margins + i), sum = {0}, e[GBDT_MAX_CLASSES];
        for (size_t c = 1; c < n_classes; c++) {
            v8d m = *(const v8d *)(margins + c * stride + i);
            v8i more = m > most;
            most = (v8d)(((v8i)m & more) | ((v8i)most & ~more));
        }
        for (size_t c = 0; c < n_classes; c++) {
            e[c] = *(const v8d *)(margins + c * stride + i) - most;
            NAME(exp)(&e[c]);
            sum += e[c];
        }
        for (size_t c = 0; c < n_classes; c++)
            *(v8f *)(probabilities + c * stride + i) = __builtin_convertvector(e[c] / sum, v8f);
    }
}

#undef NAME
#undef TARGET
