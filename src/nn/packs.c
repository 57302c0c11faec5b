/* packs.c: see packs.h. Threads that ask for a weight at one time each pack it; the first to
 * finish wins, the others throw theirs away. */
#include "nn/packs.h"

#include "base/error.h"
#include "base/memory.h"
#include "nn/gemm.h"
#include "nn/gemm8.h"

#include <stdatomic.h>
#include <string.h>

const char *const precision_names[PRECISION_COUNT + 1] = {"float32", "bfloat16", "int8", NULL};

medley_status precision_parse(const char *name, enum precision *out, medley_error *err)
{
    for (int p = 0; p < PRECISION_COUNT; p++)
        if (strcmp(precision_names[p], name) == 0) {
            *out = (enum precision)p;
            return MEDLEY_OK;
        }
    return fail(err, MEDLEY_EINVAL,
                "precision '%s' is unknown (expected float32, bfloat16 or int8)", name);
}

struct packs {
    const struct params *params;
    enum precision precision;
    param_id full_from;
    atomic_size_t bytes;
    size_t count;
    _Atomic(struct pack *) items[]; /* [count] NULL: not yet */
};

struct packs *packs_new(const struct params *p, enum precision precision, param_id full_from)
{
    struct packs *packs = mem_zalloc(1, sizeof *packs + p->count * sizeof *packs->items);
    if (!packs)
        return NULL;
    packs->params = p;
    packs->precision = precision;
    packs->full_from = full_from;
    packs->count = p->count;
    return packs;
}

static void pack_free(struct pack *p)
{
    if (!p)
        return;
    mem_free(p->full);
    mem_free(p->half);
    gemm8_weight_free(p->int8);
    mem_free(p);
}

void packs_free(struct packs *packs)
{
    for (size_t i = 0; packs && i < packs->count; i++)
        pack_free(atomic_load(&packs->items[i]));
    mem_free(packs);
}

static bool fill(struct pack *p, const float *w, enum precision precision, size_t *bytes)
{
    size_t size = gemm_packed_size(p->rows, p->cols);
    if (precision == PRECISION_INT8) {
        p->int8 = gemm8_weight_new(w, p->rows, p->cols);
        *bytes = p->int8 ? gemm8_weight_bytes(p->int8) : 0;
        return p->int8 != NULL;
    }
    if (!(p->full = mem_alloc64(size, sizeof *p->full)))
        return false;
    gemm_pack(w, p->rows, p->cols, p->full);
    *bytes = size * sizeof *p->full;
    if (precision == PRECISION_FLOAT32)
        return true;
    if (!(p->half = mem_alloc64(size, sizeof *p->half)))
        return false;
    gemm_halve(p->full, size, p->half);
    mem_free(p->full);
    p->full = NULL;
    *bytes = size * sizeof *p->half;
    return true;
}

const struct pack *packs_get(struct packs *packs, param_id id)
{
    struct pack *there = atomic_load_explicit(&packs->items[id], memory_order_acquire);
    if (there)
        return there;
    const struct param *item = &packs->params->items[id];
    enum precision precision = id < packs->full_from ? packs->precision : PRECISION_FLOAT32;
    size_t bytes;
    struct pack *made = mem_zalloc(1, sizeof *made);
    if (made) {
        made->rows = item->rows;
        made->cols = item->cols;
    }
    if (!made || !fill(made, params_value(packs->params, id), precision, &bytes)) {
        pack_free(made);
        return NULL;
    }
    if (!atomic_compare_exchange_strong(&packs->items[id], &there, made)) {
        pack_free(made);
        return there;
    }
    atomic_fetch_add(&packs->bytes, bytes);
    return made;
}

size_t packs_bytes(struct packs *packs)
{
    return packs ? atomic_load(&packs->bytes) : 0;
}
