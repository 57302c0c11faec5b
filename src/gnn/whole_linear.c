/* whole_linear.c: a sparse product and the linear map behind it as one op over a whole graph:
 * what gcn and sage are made of. See whole.h. */
#include "gnn/whole.h"

#include "base/pool.h"
#include "nn/gemm.h"

#include <string.h>

/* Rows gathered at a time: 128 KiB of 128 columns, so that a tile is still in L2 when it is
 * multiplied. */
enum { TILE = 256, GRAD_PARTS = 32 };

struct linear_entry {
    struct whole_linear l;
    struct tensor *x, *y;
    const struct whole_impl *impl;
    struct parts parts;
    const float *w, *bias, *own_w;
    float *packed, *packed_own; /* forward: w; back: w transposed */
    float *tiles;               /* [threads][TILE][widest] */
    size_t tile_stride;
    float *dw, *db, *down;
    float *part_grads; /* [parts][size of dw + dbias + down] */
};

static size_t grads_of_part(const struct linear_entry *e)
{
    return e->y->cols * (e->x->cols * (e->down ? 2 : 1) + 1);
}

static void product(const struct linear_entry *e, const float *a, size_t rows, float *c,
                    const float *packed, bool add)
{
    gemm(&(struct gemm){.m = rows,
                        .n = e->y->cols,
                        .k = e->x->cols,
                        .a = a,
                        .c = c,
                        .lda = e->x->cols,
                        .ldc = e->y->cols,
                        .packed = packed,
                        .accumulate = add,
                        .bias = add ? NULL : e->bias});
}

static void forward_parts(void *context, size_t begin, size_t end, unsigned worker)
{
    const struct linear_entry *e = context;
    size_t at = parts_begin(&e->parts, begin), last = parts_begin(&e->parts, end);
    float *tile = e->tiles + worker * e->tile_stride;
    for (; at < last; at += TILE) {
        size_t rows = last - at < TILE ? last - at : TILE;
        float *y = e->y->value + at * e->y->cols;
        e->impl->gather(&e->l.forward, e->x->value, at, rows, tile);
        product(e, tile, rows, y, e->packed, false);
        if (e->own_w)
            product(e, e->x->value + at * e->x->cols, rows, y, e->packed_own, true);
    }
}

/* c[out, in] += a[rows, out]^T x[rows, in] */
static void outer(const struct linear_entry *e, const float *a, size_t at, size_t rows,
                  float *c)
{
    gemm(&(struct gemm){.m = e->y->cols,
                        .n = e->x->cols,
                        .k = rows,
                        .a = a,
                        .b = e->x->value + at * e->x->cols,
                        .c = c,
                        .lda = e->y->cols,
                        .ldb = e->x->cols,
                        .ldc = e->x->cols,
                        .transpose_a = true,
                        .accumulate = true});
}

static void to_input(const struct linear_entry *e, const float *a, size_t at, size_t rows,
                     const float *packed)
{
    gemm(&(struct gemm){.m = rows,
                        .n = e->x->cols,
                        .k = e->y->cols,
                        .a = a,
                        .c = e->x->grad + at * e->x->cols,
                        .lda = e->y->cols,
                        .ldc = e->x->cols,
                        .packed = packed,
                        .accumulate = true});
}

static void back_rows(const struct linear_entry *e, size_t at, size_t rows, float *tile,
                      float *part)
{
    size_t out = e->y->cols, size = out * e->x->cols;
    const float *dy = e->y->grad + at * out;
    e->impl->gather(&e->l.back, e->y->grad, at, rows, tile);
    if (e->dw)
        outer(e, tile, at, rows, part);
    if (e->down)
        outer(e, dy, at, rows, part + size + out);
    for (size_t i = 0; e->db && i < rows; i++)
        e->impl->add(part + size, dy + i * out, out);
    if (e->x->grad) {
        to_input(e, tile, at, rows, e->packed);
        if (e->own_w)
            to_input(e, dy, at, rows, e->packed_own);
    }
}

static void back_parts(void *context, size_t begin, size_t end, unsigned worker)
{
    const struct linear_entry *e = context;
    for (size_t p = begin; p < end; p++) {
        size_t at = parts_begin(&e->parts, p), last = parts_begin(&e->parts, p + 1);
        float *part = e->part_grads + p * grads_of_part(e);
        memset(part, 0, grads_of_part(e) * sizeof *part);
        for (; at < last; at += TILE)
            back_rows(e, at, last - at < TILE ? last - at : TILE,
                      e->tiles + worker * e->tile_stride, part);
    }
}

static void pack_transposed(const float *w, size_t out, size_t in, float *turned, float *packed)
{
    for (size_t i = 0; i < in; i++)
        for (size_t o = 0; o < out; o++)
            turned[i * out + o] = w[o * in + i];
    gemm_pack(turned, in, out, packed);
}

static void add_to(float *sum, const float *x, size_t n)
{
    for (size_t i = 0; sum && i < n; i++)
        sum[i] += x[i];
}

static void back(struct tape *t, void *context)
{
    (void)t;
    struct linear_entry *e = context;
    size_t out = e->y->cols, in = e->x->cols;
    pack_transposed(e->w, out, in, e->tiles, e->packed);
    if (e->own_w)
        pack_transposed(e->own_w, out, in, e->tiles, e->packed_own);
    const uint32_t *offsets = e->l.back.offsets;
    e->parts = parts_of(offsets, e->x->rows, GRAD_PARTS);
    parallel_for(e->parts.count, 1, back_parts, e);
    for (size_t p = 0; p < e->parts.count; p++) { /* in one order whatever the threads */
        const float *part = e->part_grads + p * grads_of_part(e);
        add_to(e->dw, part, out * in);
        add_to(e->db, part + out * in, out);
        add_to(e->down, part + out * in + out, out * in);
    }
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Working space, all of it while running out of memory is noticed. */
static bool prepare(struct tape *t, struct linear_entry *e, bool needs)
{
    size_t out = e->y->cols, in = e->x->cols;
    size_t packed = larger(gemm_packed_size(out, in), gemm_packed_size(in, out));
    size_t threads = pool_threads();
    e->tile_stride = larger(TILE * larger(in, out), larger(in * out, 1));
    e->tiles = tape_alloc(t, threads * e->tile_stride, sizeof *e->tiles);
    e->packed = tape_alloc(t, packed, sizeof *e->packed);
    e->packed_own = e->own_w ? tape_alloc(t, packed, sizeof *e->packed) : NULL;
    if (needs)
        e->part_grads = tape_alloc(t, GRAD_PARTS * grads_of_part(e), sizeof *e->part_grads);
    return !t->failed;
}

struct tensor *op_whole_linear(struct tape *t, struct tensor *x, const struct whole_linear *l)
{
    if (!x || t->failed)
        return NULL;
    float *dw = tape_param_grad(t, l->w), *db = tape_param_grad(t, l->bias);
    float *down = tape_param_grad(t, l->own_w);
    bool needs = tape_needs(t, x, NULL) || dw || db || down;
    struct tensor *y = tape_tensor(t, x->rows, t->params->items[l->w].rows, needs);
    struct linear_entry *e = tape_alloc(t, 1, sizeof *e);
    if (t->failed)
        return NULL;
    *e = (struct linear_entry){.l = *l,
                               .x = x,
                               .y = y,
                               .impl = whole(0),
                               .parts = parts_of(l->forward.offsets, x->rows, SIZE_MAX),
                               .w = tape_param(t, l->w),
                               .bias = tape_param(t, l->bias),
                               .own_w = tape_param(t, l->own_w),
                               .dw = dw,
                               .db = db,
                               .down = down};
    e->l.forward.columns = x->cols;
    e->l.back.columns = y->cols;
    if (!prepare(t, e, needs))
        return NULL;
    gemm_pack(e->w, y->cols, x->cols, e->packed);
    if (e->own_w)
        gemm_pack(e->own_w, y->cols, x->cols, e->packed_own);
    parallel_for(e->parts.count, 1, forward_parts, e);
    if (needs)
        tape_record(t, back, e);
    return t->failed ? NULL : y;
}
