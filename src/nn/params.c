/* params.c: declaring, allocating and initialising named parameters. Files: params_file.c. */
#include "nn/params.h"

#include "base/error.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/str.h"

#include <math.h>
#include <string.h>

enum { FLOATS_PER_LINE = 16 }; /* every parameter starts on a cache line */

void params_init(struct params *p)
{
    *p = (struct params){0};
}

void params_deinit(struct params *p)
{
    for (size_t i = 0; i < p->count; i++)
        mem_free(p->items[i].name);
    mem_free(p->items);
    mem_free(p->values);
    params_init(p);
}

/* The padded size of rows x cols floats; false when it or the total would overflow. */
static bool padded_size(size_t rows, size_t cols, size_t total, size_t *out)
{
    size_t n, end, bytes;
    if (__builtin_mul_overflow(rows, cols, &n) ||
        __builtin_add_overflow(n, (size_t)FLOATS_PER_LINE - 1, &n))
        return false;
    n = n / FLOATS_PER_LINE * FLOATS_PER_LINE;
    if (__builtin_add_overflow(total, n, &end) || __builtin_mul_overflow(end, 16, &bytes))
        return false;
    *out = n;
    return true;
}

param_id params_add(struct params *p, int dims, size_t rows, size_t cols, enum param_init init,
                    float scale, const char *name, ...)
{
    struct strbuf text;
    sb_init(&text);
    va_list args;
    va_start(args, name);
    sb_addvf(&text, name, args);
    va_end(args);
    char *owned = sb_steal(&text);
    size_t padded = 0;
    bool fits = padded_size(rows, cols, p->total, &padded) && p->count < PARAM_NONE;
    if (!owned || !fits ||
        !mem_reserve(&p->items, &p->capacity, p->count + 1, sizeof *p->items)) {
        mem_free(owned);
        p->failed = true;
        return PARAM_NONE;
    }
    p->items[p->count] = (struct param){.name = owned,
                                        .rows = rows,
                                        .cols = cols,
                                        .dims = dims,
                                        .offset = p->total,
                                        .init = init,
                                        .scale = scale,
                                        .taps = 1,
                                        .decay = dims >= 2,
                                        .rate = 1};
    p->total += padded;
    return (param_id)p->count++;
}

param_id params_find(const struct params *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->items[i].name, name) == 0)
            return (param_id)i;
    return PARAM_NONE;
}

static void initialise(const struct param *item, float *value, uint64_t seed)
{
    size_t n = item->rows * item->cols;
    struct hash128 name = hash_bytes(item->name, strlen(item->name), (struct hash128){0, 0});
    struct rng r;
    rng_init(&r, seed, name.low);
    /* Glorot and Bengio 2010, eq. 16: rows are outputs, columns inputs. */
    double limit = sqrt(6.0 / (double)(item->fan ? item->fan : item->rows + item->cols));
    for (size_t i = 0; i < n; i++)
        switch (item->init) {
        case INIT_ZERO:
            value[i] = 0;
            break;
        case INIT_ONE:
            value[i] = 1;
            break;
        case INIT_NORMAL:
            value[i] = (float)(item->scale * rng_normal(&r));
            break;
        case INIT_GLOROT:
            value[i] = (float)(limit * (2 * rng_uniform(&r) - 1));
            break;
        }
}

medley_status params_allocate(struct params *p, uint64_t seed, medley_error *err)
{
    if (p->failed)
        return fail_memory(err, "parameter names");
    float *values = mem_alloc64(p->total, sizeof *values);
    if (!values)
        return fail_memory(err, "parameters");
    memset(values, 0, p->total * sizeof *values);
    for (size_t i = 0; i < p->count; i++)
        initialise(&p->items[i], values + p->items[i].offset, seed);
    mem_free(p->values);
    p->values = values;
    return MEDLEY_OK;
}

struct param_span params_trainable(const struct params *p)
{
    struct param_span span = {p->total, p->total};
    for (size_t i = p->count; i-- > 0;)
        if (!p->items[i].frozen)
            span.begin = p->items[i].offset;
    for (size_t i = 0; i + 1 < p->count; i++)
        if (!p->items[i].frozen)
            span.end = p->items[i + 1].offset;
    if (p->count && !p->items[p->count - 1].frozen)
        span.end = p->total;
    if (span.begin == p->total)
        span.end = p->total;
    return span;
}

float *params_value(const struct params *p, param_id id)
{
    return id == PARAM_NONE || !p->values ? NULL : p->values + p->items[id].offset;
}
