/* gemm.c: the definition of the matrix product, the table of kernels and the choice among them.
 */
#include "nn/gemm_impl.h"

#include "base/cpu.h"
#include "base/memory.h"
#include "base/pool.h"

#include <pthread.h>
#include <stdatomic.h>

void gemm_ref(const struct gemm *g)
{
    for (size_t i = 0; i < g->m; i++)
        for (size_t j = 0; j < g->n; j++) {
            float *c = g->c + i * g->ldc + j;
            double sum = g->accumulate ? *c : g->bias ? g->bias[j] : 0;
            for (size_t x = 0; x < g->k; x++) {
                float a = g->transpose_a ? g->a[x * g->lda + i] : g->a[i * g->lda + x];
                float b = g->transpose_b ? g->b[j * g->ldb + x] : g->b[x * g->ldb + j];
                sum += (double)a * b;
            }
            *c = (float)sum;
        }
}

const struct gemm_impl gemm_impls[] = {
    {"ref", gemm_ref, cpu_always},
#if defined(__x86_64__)
    {"avx2", gemm_avx2, cpu_has_avx2},
    {"avx512", gemm_avx512, cpu_has_avx512},
#endif
    {NULL, NULL, NULL},
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

static const struct gemm_impl *choose(void)
{
    const struct gemm_impl *best = gemm_impls;
    for (const struct gemm_impl *i = gemm_impls; i->name; i++)
        if (i->usable())
            best = i;
    return best;
}

void gemm(const struct gemm *g)
{
    /* Racing threads find the same row, so the race is harmless. */
    static _Atomic(const struct gemm_impl *) chosen;
    const struct gemm_impl *impl = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (!impl) {
        impl = choose();
        atomic_store_explicit(&chosen, impl, memory_order_relaxed);
    }
    if (g->m && g->n)
        impl->run(g);
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

void gemm_parallel(const struct gemm *g)
{
    enum { ROWS = 48 }; /* fewer are not worth packing B again */
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
