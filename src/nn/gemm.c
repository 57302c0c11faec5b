/* gemm.c: the definition of the matrix product, the table of kernels and the choice among them.
 */
#include "nn/gemm_impl.h"

#include "base/cpu.h"
#include "base/memory.h"
#include "base/pool.h"
#include "nn/vec.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static float from_half(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float b_at(const struct gemm *g, size_t x, size_t j)
{
    if (g->packed_half)
        return from_half(g->packed_half[j * g->k + x]);
    if (g->packed)
        return g->packed[j * g->k + x];
    return g->transpose_b ? g->b[j * g->ldb + x] : g->b[x * g->ldb + j];
}

void gemm_ref(const struct gemm *g)
{
    for (size_t i = 0; i < g->m; i++)
        for (size_t j = 0; j < g->n; j++) {
            float *c = g->c + i * g->ldc + j;
            double sum = g->accumulate ? *c : g->bias ? g->bias[j] : 0;
            for (size_t x = 0; x < g->k; x++) {
                float a = g->transpose_a ? g->a[x * g->lda + i] : g->a[i * g->lda + x];
                sum += (double)a * b_at(g, x, j);
            }
            *c = (float)sum;
        }
    if (g->act != ACT_NONE)
        vec_ref.activate_rows(g->act, g->c, g->m, g->n, g->ldc);
}

size_t gemm_size_ref(size_t n, size_t k)
{
    return n * k;
}

void gemm_pack_ref(const float *b, size_t n, size_t k, float *packed)
{
    memcpy(packed, b, n * k * sizeof *b);
}

const struct gemm_impl gemm_impls[] = {
    {"ref", gemm_ref, cpu_always, gemm_size_ref, gemm_pack_ref},
#if defined(__x86_64__)
    {"avx2", gemm_avx2, cpu_has_avx2, gemm_size_avx2, gemm_pack_avx2},
    {"avx512", gemm_avx512, cpu_has_avx512, gemm_size_avx512, gemm_pack_avx512},
#endif
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- packing space, one block a thread ---- */

struct scratch {
    float *data;
    size_t capacity;
};

static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;
static bool scratch_usable;

static void scratch_free(void *p)
{
    struct scratch *s = p;
    mem_free(s->data);
    mem_free(s);
}

static void scratch_create(void)
{
    scratch_usable = pthread_key_create(&scratch_key, scratch_free) == 0;
}

static struct scratch *scratch_of_thread(void)
{
    pthread_once(&scratch_once, scratch_create);
    if (!scratch_usable)
        return NULL;
    struct scratch *s = pthread_getspecific(scratch_key);
    if (s)
        return s;
    s = mem_zalloc(1, sizeof *s);
    if (s && pthread_setspecific(scratch_key, s)) {
        mem_free(s);
        s = NULL;
    }
    return s;
}

float *gemm_scratch(size_t floats)
{
    struct scratch *s = scratch_of_thread();
    if (!s)
        return NULL;
    if (s->capacity < floats) {
        float *data = mem_alloc64(floats, sizeof *data);
        if (!data)
            return NULL;
        mem_free(s->data);
        s->data = data;
        s->capacity = floats;
    }
    return s->data;
}

/* ---- dispatch ---- */

static const struct gemm_impl *chosen_impl(void)
{
    /* Racing threads find the same row, so the race is harmless. */
    static _Atomic(const struct gemm_impl *) chosen;
    const struct gemm_impl *best = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (best)
        return best;
    for (const struct gemm_impl *i = gemm_impls; i->name; i++)
        if (i->usable())
            best = i;
    atomic_store_explicit(&chosen, best, memory_order_relaxed);
    return best;
}

void gemm(const struct gemm *g)
{
    if (g->m && g->n)
        chosen_impl()->run(g);
}

size_t gemm_packed_size(size_t n, size_t k)
{
    return chosen_impl()->packed_size(n, k);
}

void gemm_pack(const float *b, size_t n, size_t k, float *packed)
{
    chosen_impl()->pack(b, n, k, packed);
}

void gemm_halve(const float *packed, size_t size, uint16_t *half)
{
    for (size_t i = 0; i < size; i++) {
        uint32_t bits;
        memcpy(&bits, packed + i, sizeof bits);
        half[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
}

struct slices {
    const struct gemm *whole;
    size_t parts;
};

static void run_slices(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    const struct slices *s = context;
    size_t first = s->whole->m * begin / s->parts, last = s->whole->m * end / s->parts;
    struct gemm g = *s->whole;
    g.m = last - first;
    g.a += g.transpose_a ? first : first * g.lda;
    g.c += first * g.ldc;
    gemm(&g);
}

enum { COLUMNS = 64 }; /* of a part: a multiple of every kernel's panels */

static void run_columns(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct gemm g = *(const struct gemm *)context;
    size_t first = begin * COLUMNS, last = end * COLUMNS < g.n ? end * COLUMNS : g.n;
    g.n = last - first;
    g.c += first;
    g.bias += g.bias ? first : 0;
    g.packed += g.packed ? first * g.k : 0;
    g.packed_half += g.packed_half ? first * g.k : 0;
    gemm(&g);
}

void gemm_parallel(const struct gemm *g)
{
    enum { ROWS = 48 }; /* fewer are not worth packing B again */
    if (g->packed || g->packed_half) {
        size_t parts = (g->n + COLUMNS - 1) / COLUMNS;
        struct gemm copy = *g;
        parallel_for(parts, parts < 8 ? 1 : 3, run_columns, &copy);
        return;
    }
    size_t threads = pool_threads(), parts = g->m / ROWS;
    if (parts > 2 * threads)
        parts = 2 * threads;
    if (parts < 2 || threads < 2) {
        gemm(g);
        return;
    }
    struct slices s = {g, parts};
    parallel_for(parts, 1, run_slices, &s);
}
