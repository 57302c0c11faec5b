/* gemm8_body.h: products with int8 weights, written once and included by gemm8_avx2.c and
 * gemm8_vnni.c, which define
 *   TARGET          the function attribute that allows the instruction set
 *   V, VI, VL       a vector of floats, one of 32-bit integers, their length
 *   LOAD STORE SET1 FMA MIN MAX TO_INT TO_FLOAT LEAST TOP   on floats
 *   LOADI ISET1 IADD ISUB IMUL IMIN IMAX IZERO              on integers
 *   Q, W, PER_WORD  types of activation and weight in memory, and how many make 32 bits
 *   DOT(acc, x, w)  acc += products of the PER_WORD pairs in each 32 bits
 *   STORE_Q(p, v)   integers 0..255 as VL Qs
 *   MR, TILE_SIZES  as in gemm_body.h
 *   ROW, ROW_NAME, ROW_USABLE
 *
 * Both operands lie in words of 32 bits that hold PER_WORD neighbours along k: a word of an
 * activation row is broadcast, a panel of weights is [words][NR]. Sums of a block stay in
 * registers; what blocks add to y meets in the first-level cache. */
#include "nn/gemm8_impl.h"
#include "nn/vec.h"

#include "base/cpu.h"

#include <math.h>
#include <string.h>

#define INLINE TARGET static inline __attribute__((always_inline))

enum { NR = 2 * VL, ROWS_IN_CACHE = 96 };

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* ---- packing ---- */

static size_t words_of(size_t k)
{
    return (k + PER_WORD - 1) / PER_WORD;
}

static size_t packed_bytes(size_t n, size_t k)
{
    return round_up(n, NR) * words_of(k) * 4;
}

static void pack(const int8_t *q, size_t n, size_t k, void *packed)
{
    W *out = packed;
    for (size_t j = 0; j < n; j += NR)
        for (size_t w = 0; w < words_of(k); w++)
            for (size_t c = j; c < j + NR; c++)
                for (size_t x = w * PER_WORD; x < (w + 1) * PER_WORD; x++)
                    *out++ = c < n && x < k ? q[c * k + x] : 0;
}

/* ---- activations ---- */

TARGET static V load_rest(const float *p, size_t n)
{
    float rest[VL] = {0};
    memcpy(rest, p, n * sizeof *p);
    return LOAD(rest);
}

TARGET static void quantise_block(const float *x, size_t k, Q *q, float *scale, int32_t *zero)
{
    V low = SET1(0.0f), high = SET1(0.0f);
    size_t whole = k / VL * VL;
    for (size_t i = 0; i < whole; i += VL) {
        V v = LOAD(x + i);
        low = MIN(v, low);
        high = MAX(v, high);
    }
    if (whole < k) {
        V v = load_rest(x + whole, k - whole);
        low = MIN(v, low);
        high = MAX(v, high);
    }
    gemm8_scale(LEAST(low), TOP(high), scale, zero);
    V inverse = SET1(1 / *scale);
    VI offset = ISET1(*zero), most = ISET1(255);
    for (size_t i = 0; i < k; i += VL) {
        V v = i < whole ? LOAD(x + i) : load_rest(x + i, k - i);
        STORE_Q(q + i, IMIN(IMAX(IADD(TO_INT(v * inverse), offset), IZERO), most));
    }
}

static void quantise(const float *x, size_t ldx, const struct gemm8_rows *rows)
{
    size_t k = rows->k, blocks = gemm8_blocks(k);
    for (size_t i = 0; i < rows->m; i++, x += ldx) {
        Q *q = (Q *)(void *)(rows->q + i * rows->stride);
        for (size_t b = 0; b < blocks; b++) {
            size_t at = b * GEMM8_BLOCK, n = k - at < GEMM8_BLOCK ? k - at : GEMM8_BLOCK;
            quantise_block(x + at, n, q + at, &rows->scale[b * rows->m + i],
                           &rows->zero[b * rows->m + i]);
        }
    }
}

/* ---- products ---- */

enum { BLOCK_WORDS = GEMM8_BLOCK / PER_WORD };

struct tile {
    size_t words, blocks;
    const uint32_t *x; /* the first row */
    size_t x_row;      /* words between rows */
    const uint32_t *w; /* [words][NR] */
    const float *x_scale, *w_scale, *bias;
    const int32_t *zero, *sum;
    size_t x_blocks, w_blocks; /* numbers between the blocks of the scales */
    float *y;
    size_t y_row;
};

/* acc += x w over `words` words. */
INLINE void multiply(VI acc[MR][2], const uint32_t *x, size_t x_row, const uint32_t *w,
                     size_t words, int rows)
{
    for (size_t k = words; k; k--) {
        VI w0 = LOADI(w), w1 = LOADI(w + VL);
        UNROLL
        for (int i = 0; i < rows; i++) {
            VI v = ISET1((int)x[(size_t)i * x_row]);
            DOT(acc[i][0], v, w0);
            DOT(acc[i][1], v, w1);
        }
        x++;
        w += NR;
    }
}

/* y = start + what block b adds; start is y itself or the bias. Everything is at hand in
 * locals: a vector's store might change *t for all that the compiler knows. */
INLINE void add_block(const struct tile *t, VI acc[MR][2], size_t b, int rows)
{
    float *y = t->y;
    const float *start = b ? y : t->bias, *x_scale = t->x_scale + b * t->x_blocks;
    const int32_t *zero = t->zero + b * t->x_blocks;
    size_t y_row = t->y_row, start_row = b ? y_row : 0;
    V scale[2] = {LOAD(t->w_scale + b * t->w_blocks), LOAD(t->w_scale + b * t->w_blocks + VL)};
    VI sum[2] = {LOADI(t->sum + b * t->w_blocks), LOADI(t->sum + b * t->w_blocks + VL)};
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int half = 0; half < 2; half++) {
            VI exact = ISUB(acc[i][half], IMUL(ISET1(zero[i]), sum[half]));
            V v = FMA(TO_FLOAT(exact) * SET1(x_scale[i]), scale[half], LOAD(start + half * VL));
            STORE(y + half * VL, v);
        }
        y += y_row;
        start += start_row;
    }
}

INLINE void tile_run(const struct tile *t, int rows)
{
    const uint32_t *x = t->x, *w = t->w;
    size_t words = t->words, blocks = t->blocks, x_row = t->x_row;
    for (size_t b = 0; b < blocks; b++) {
        VI acc[MR][2];
        UNROLL
        for (int i = 0; i < rows; i++)
            acc[i][0] = acc[i][1] = IZERO;
        multiply(acc, x, x_row, w, words < BLOCK_WORDS ? words : BLOCK_WORDS, rows);
        add_block(t, acc, b, rows);
        x += BLOCK_WORDS;
        w += BLOCK_WORDS * NR;
        words -= BLOCK_WORDS; /* wraps after the last, which is shorter */
    }
}

#define TILE_FUNCTION(rows)                                                        \
    TARGET static __attribute__((noinline)) void tile_##rows(const struct tile *t) \
    {                                                                              \
        tile_run(t, rows);                                                         \
    }
TILE_SIZES(TILE_FUNCTION)

static const struct {
    size_t rows;
    void (*run)(const struct tile *t);
} tiles[] = {
#define TILE_ROW(rows) {rows, tile_##rows},
    TILE_SIZES(TILE_ROW)};

/* A tile narrower than NR goes through a buffer. */
static void run_narrow(size_t size, const struct tile *t, size_t n)
{
    float buffer[MR * NR];
    struct tile whole = *t;
    whole.y = buffer;
    whole.y_row = NR;
    tiles[size].run(&whole);
    for (size_t i = 0; i < tiles[size].rows; i++)
        memcpy(t->y + i * t->y_row, buffer + i * NR, n * sizeof *buffer);
}

/* Rows i0..i0+m of y, columns from j on of one panel. */
static void run_panel(const struct gemm8 *g, size_t i0, size_t m, size_t j)
{
    const struct gemm8_rows *x = g->x;
    size_t n = g->last - j < NR ? g->last - j : NR, size = 0;
    float bias[NR] = {0};
    struct tile t = {.words = words_of(x->k),
                     .blocks = gemm8_blocks(x->k),
                     .x_row = x->stride / 4,
                     .x_blocks = x->m,
                     .w_blocks = g->w->padded,
                     .y_row = g->ldy};
    t.w = (const uint32_t *)g->w->packed + j * t.words;
    t.w_scale = g->w->scale + j;
    t.sum = g->w->sum + j;
    t.bias = bias;
    if (g->bias)
        memcpy(bias, g->bias + j, n * sizeof *bias);
    for (size_t i = i0; i < i0 + m; i += tiles[size].rows) {
        while (tiles[size].rows > i0 + m - i)
            size++;
        t.x = (const uint32_t *)(const void *)(x->q + i * x->stride);
        t.x_scale = x->scale + i;
        t.zero = x->zero + i;
        t.y = g->y + i * g->ldy + j;
        if (n == NR)
            tiles[size].run(&t);
        else
            run_narrow(size, &t, n);
    }
    if (g->act != ACT_NONE)
        vec()->activate_rows(g->act, g->y + i0 * g->ldy + j, m, n, g->ldy);
}

static void run(const struct gemm8 *g)
{
    for (size_t i = 0; i < g->x->m; i += ROWS_IN_CACHE) {
        size_t m = g->x->m - i < ROWS_IN_CACHE ? g->x->m - i : ROWS_IN_CACHE;
        for (size_t j = g->first; j < g->last; j += NR)
            run_panel(g, i, m, j);
    }
}

const struct gemm8_impl ROW = {.name = ROW_NAME,
                               .usable = ROW_USABLE,
                               .q_bytes = sizeof(Q),
                               .packed_bytes = packed_bytes,
                               .pack = pack,
                               .quantise = quantise,
                               .run = run};
