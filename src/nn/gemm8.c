/* gemm8.c: the definition of the product with int8 weights, the table of kernels, and how
 * weights are rounded. Proof: tests/test_gemm8.c. */
#include "nn/gemm8_impl.h"

#include "base/cpu.h"
#include "base/memory.h"
#include "base/pool.h"
#include "nn/vec.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { COLUMNS = 64 }; /* of a part: a multiple of every kernel's panels */

/* ---- the definition ---- */

static void quantise_block(const float *x, size_t k, uint8_t *q, float *scale, int32_t *zero)
{
    float low = 0, high = 0;
    for (size_t c = 0; c < k; c++) {
        low = x[c] < low ? x[c] : low;
        high = x[c] > high ? x[c] : high;
    }
    gemm8_scale(low, high, scale, zero);
    float inverse = 1 / *scale;
    for (size_t c = 0; c < k; c++)
        q[c] = (uint8_t)gemm8_between(nearbyintf(x[c] * inverse) + (float)*zero, 255);
}

static void quantise_ref(const float *x, size_t ldx, const struct gemm8_rows *rows)
{
    size_t k = rows->k, blocks = gemm8_blocks(k);
    for (size_t i = 0; i < rows->m; i++, x += ldx)
        for (size_t b = 0; b < blocks; b++) {
            size_t at = b * GEMM8_BLOCK, n = k - at < GEMM8_BLOCK ? k - at : GEMM8_BLOCK;
            quantise_block(x + at, n, rows->q + i * rows->stride + at,
                           &rows->scale[b * rows->m + i], &rows->zero[b * rows->m + i]);
        }
}

static size_t packed_bytes_ref(size_t n, size_t k)
{
    return n * k;
}

static void pack_ref(const int8_t *q, size_t n, size_t k, void *packed)
{
    memcpy(packed, q, n * k);
}

static float dot_ref(const struct gemm8 *g, size_t i, size_t j)
{
    const struct gemm8_rows *x = g->x;
    const int8_t *w = (const int8_t *)g->w->packed + j * x->k;
    const uint8_t *q = x->q + i * x->stride;
    size_t blocks = gemm8_blocks(x->k);
    float y = g->bias ? g->bias[j] : 0;
    for (size_t b = 0; b < blocks; b++) {
        int32_t sum = 0;
        for (size_t c = b * GEMM8_BLOCK; c < (b + 1) * GEMM8_BLOCK && c < x->k; c++)
            sum += (q[c] - x->zero[b * x->m + i]) * w[c];
        y = fmaf((float)sum * x->scale[b * x->m + i], g->w->scale[b * g->w->padded + j], y);
    }
    return y;
}

static void run_ref(const struct gemm8 *g)
{
    for (size_t i = 0; i < g->x->m; i++)
        for (size_t j = g->first; j < g->last; j++)
            g->y[i * g->ldy + j] = dot_ref(g, i, j);
    if (g->act != ACT_NONE)
        vec_ref.activate_rows(g->act, g->y + g->first, g->x->m, g->last - g->first, g->ldy);
}

const struct gemm8_impl gemm8_ref = {.name = "ref",
                                     .usable = cpu_always,
                                     .q_bytes = 1,
                                     .packed_bytes = packed_bytes_ref,
                                     .pack = pack_ref,
                                     .quantise = quantise_ref,
                                     .run = run_ref};

const struct gemm8_impl *const gemm8_impls[] = {
    &gemm8_ref,
#if defined(__x86_64__)
    &gemm8_avx2,
    &gemm8_vnni,
#endif
    NULL,
};

static const struct gemm8_impl *chosen_impl(void)
{
    /* Racing threads find the same row, so the race is harmless. */
    static _Atomic(const struct gemm8_impl *) chosen;
    const struct gemm8_impl *best = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (best)
        return best;
    for (size_t i = 0; gemm8_impls[i]; i++)
        if (gemm8_impls[i]->usable())
            best = gemm8_impls[i];
    atomic_store_explicit(&chosen, best, memory_order_relaxed);
    return best;
}

/* ---- weights ---- */

static void round_block(const float *w, size_t k, int8_t *q, float *scale, int32_t *sum)
{
    float top = 0;
    for (size_t c = 0; c < k; c++)
        top = fabsf(w[c]) > top ? fabsf(w[c]) : top;
    *scale = top > 1e-30f ? top / 127 : 1;
    *sum = 0;
    for (size_t c = 0; c < k; c++) {
        q[c] = (int8_t)(gemm8_between(nearbyintf(w[c] / *scale) + 127, 254) - 127);
        *sum += q[c];
    }
}

static void round_rows(const float *w, struct gemm8_weight *to, int8_t *q)
{
    size_t k = to->k;
    for (size_t j = 0; j < to->n; j++)
        for (size_t b = 0; b < gemm8_blocks(k); b++) {
            size_t at = b * GEMM8_BLOCK, n = k - at < GEMM8_BLOCK ? k - at : GEMM8_BLOCK;
            round_block(w + j * k + at, n, q + j * k + at, &to->scale[b * to->padded + j],
                        &to->sum[b * to->padded + j]);
        }
}

struct gemm8_weight *gemm8_weight_for(const struct gemm8_impl *impl, const float *w, size_t n,
                                      size_t k)
{
    size_t padded = (n + COLUMNS - 1) / COLUMNS * COLUMNS, blocks = gemm8_blocks(k);
    struct gemm8_weight *made = mem_zalloc(1, sizeof *made);
    int8_t *q = mem_alloc(n, k);
    if (made) {
        *made = (struct gemm8_weight){.n = n, .k = k, .padded = padded};
        made->packed_bytes = impl->packed_bytes(n, k);
        made->scale = mem_zalloc(blocks, padded * sizeof *made->scale);
        made->sum = mem_zalloc(blocks, padded * sizeof *made->sum);
        made->packed = mem_alloc64(made->packed_bytes, 1);
    }
    if (!q || !made || !made->scale || !made->sum || !made->packed) {
        gemm8_weight_free(made);
        mem_free(q);
        return NULL;
    }
    round_rows(w, made, q);
    impl->pack(q, n, k, made->packed);
    mem_free(q);
    return made;
}

struct gemm8_weight *gemm8_weight_new(const float *w, size_t n, size_t k)
{
    return gemm8_weight_for(chosen_impl(), w, n, k);
}

void gemm8_weight_free(struct gemm8_weight *w)
{
    if (!w)
        return;
    mem_free(w->scale);
    mem_free(w->sum);
    mem_free(w->packed);
    mem_free(w);
}

size_t gemm8_weight_bytes(const struct gemm8_weight *w)
{
    return w->packed_bytes +
           gemm8_blocks(w->k) * w->padded * (sizeof *w->scale + sizeof *w->sum);
}

/* ---- dispatch ---- */

size_t gemm8_stride_for(const struct gemm8_impl *impl, size_t k)
{
    return (k + 63) / 64 * 64 * impl->q_bytes;
}

size_t gemm8_stride(size_t k)
{
    return gemm8_stride_for(chosen_impl(), k);
}

void gemm8_quantise(const float *x, size_t ldx, const struct gemm8_rows *rows)
{
    chosen_impl()->quantise(x, ldx, rows);
}

void gemm8(const struct gemm8 *g)
{
    chosen_impl()->run(g);
}

static void run_columns(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct gemm8 g = *(const struct gemm8 *)context;
    g.first = begin * COLUMNS;
    g.last = end * COLUMNS < g.w->n ? end * COLUMNS : g.w->n;
    gemm8(&g);
}

void gemm8_parallel(const struct gemm8 *g)
{
    size_t parts = (g->w->n + COLUMNS - 1) / COLUMNS;
    struct gemm8 copy = *g;
    parallel_for(parts, parts < 8 ? 1 : 3, run_columns, &copy);
}
