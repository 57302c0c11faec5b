/* gemm_body.h: the packed matrix product, written once and included by gemm_avx2.c and
 * gemm_avx512.c, which define
 *   TARGET         the function attribute that allows the instruction set
 *   V, VL          a vector of floats and its length
 *   LOAD STORE SET1 FMA
 *   LOAD_HALF(p)   VL bfloat16 numbers as floats
 *   MR             rows of the largest tile; a tile is MR x NR of C with NR = 2 VL
 *   TILE_SIZES(X)  row counts of the tiles, descending from MR to 1
 *   GEMM           the name of the function made here; GEMM_SIZE, GEMM_PACK: those of packing
 *   pack_transposed(b, ldb, n, kc, p)   B stored [n,k] into a panel P[kc][NR], zeros past
 * column n
 *
 * The loops are those of Goto and van de Geijn (2008), "Anatomy of high-performance matrix
 * multiplication": a panel P[kc][NR] of B stays in the first-level cache while tiles of A pass
 * by, MC rows of A stay in the second. A is read where it lies unless it is transposed: packing
 * it would cost more than it gains, as rows are walked along k anyway. */

#include "nn/gemm_impl.h"

#include "nn/vec.h"

#include <string.h>

#define NR (2 * VL)
enum { KC = 384, MC = 96, NC = 1536 }; /* NC a multiple of NR, MC of MR */
enum { DIRECT_ROWS = 2 * MR };         /* with no more rows B is read where it lies */

/* One tile of C = init + A B over k. */
struct tile {
    size_t k;
    const float *a, *b, *init;
    const uint16_t *half; /* b in bfloat16 */
    float *c;
    size_t a_row;    /* floats between rows of A when A is not packed; packed A is [k][MR] */
    size_t b_row;    /* floats between rows of B: NR when packed */
    size_t init_row; /* 0: every row starts from the same [NR] */
    size_t c_row;
};

enum tile_kind { DIRECT, PACKED_A, HALF_B };

TARGET static inline __attribute__((always_inline)) void tile_run(const struct tile *t,
                                                                  int rows, enum tile_kind kind)
{
    V acc[MR][2];
    UNROLL
    for (int i = 0; i < rows; i++) {
        acc[i][0] = LOAD(t->init + (size_t)i * t->init_row);
        acc[i][1] = LOAD(t->init + (size_t)i * t->init_row + VL);
    }
    const float *a = t->a, *b = t->b;
    const uint16_t *half = t->half;
    bool packed = kind == PACKED_A;
    size_t a_row = packed ? 1 : t->a_row, a_step = packed ? MR : 1, b_row = t->b_row;
    for (size_t k = t->k; k; k--) {
        V b0 = kind == HALF_B ? LOAD_HALF(half) : LOAD(b);
        V b1 = kind == HALF_B ? LOAD_HALF(half + VL) : LOAD(b + VL);
        UNROLL
        for (int i = 0; i < rows; i++) {
            V x = SET1(a[(size_t)i * a_row]);
            acc[i][0] = FMA(x, b0, acc[i][0]);
            acc[i][1] = FMA(x, b1, acc[i][1]);
        }
        a += a_step;
        if (kind == HALF_B)
            half += NR;
        else
            b += b_row;
    }
    UNROLL
    for (int i = 0; i < rows; i++) {
        STORE(t->c + (size_t)i * t->c_row, acc[i][0]);
        STORE(t->c + (size_t)i * t->c_row + VL, acc[i][1]);
    }
}

#define TILE_FUNCTIONS(rows)                                                              \
    TARGET static __attribute__((noinline)) void tile_direct_##rows(const struct tile *t) \
    {                                                                                     \
        tile_run(t, rows, DIRECT);                                                        \
    }                                                                                     \
    TARGET static __attribute__((noinline)) void tile_packed_##rows(const struct tile *t) \
    {                                                                                     \
        tile_run(t, rows, PACKED_A);                                                      \
    }                                                                                     \
    TARGET static __attribute__((noinline)) void tile_half_##rows(const struct tile *t)   \
    {                                                                                     \
        tile_run(t, rows, HALF_B);                                                        \
    }
TILE_SIZES(TILE_FUNCTIONS)

static const struct {
    size_t rows;
    void (*run[3])(const struct tile *t); /* by kind */
} tiles[] = {
#define TILE_ROW(rows) {rows, {tile_direct_##rows, tile_packed_##rows, tile_half_##rows}},
    TILE_SIZES(TILE_ROW)};

/* The work of one call: blocks of A and B and where they lie. */
struct block {
    const struct gemm *g;
    size_t k0, kc;   /* this slice of k */
    size_t j0, nc;   /* these columns of C */
    bool b_in_place; /* B is read where it lies, but for a last panel narrower than NR */
    float *packed_b; /* [panels][kc][NR] */
    float *packed_a; /* [MC/MR][kc][MR] when A is transposed */
};

static void pack_b_panel(const struct block *w, size_t j, float *p)
{
    const struct gemm *g = w->g;
    size_t n = w->nc - j < NR ? w->nc - j : NR;
    if (g->transpose_b) {
        pack_transposed(g->b + (w->j0 + j) * g->ldb + w->k0, g->ldb, n, w->kc, p);
        return;
    }
    const float *b = g->b + w->k0 * g->ldb + w->j0 + j;
    if (n == NR) {
        for (size_t k = 0; k < w->kc; k++)
            memcpy(p + k * NR, b + k * g->ldb, NR * sizeof *p);
        return;
    }
    memset(p, 0, w->kc * NR * sizeof *p);
    for (size_t k = 0; k < w->kc; k++)
        memcpy(p + k * NR, b + k * g->ldb, n * sizeof *p);
}

static void pack_b(const struct block *w)
{
    for (size_t j = 0; j < w->nc; j += NR)
        if (!w->b_in_place || w->nc - j < NR)
            pack_b_panel(w, j, w->packed_b + j * w->kc);
}

/* A stored [k,m]: rows i0..i0+m of op(A), tile after tile. */
static void pack_a(const struct block *w, size_t i0, size_t m)
{
    const float *a = w->g->a + w->k0 * w->g->lda + i0;
    for (size_t k = 0; k < w->kc; k++, a += w->g->lda) {
        float *p = w->packed_a + k * MR;
        size_t i = 0;
        for (; i + MR <= m; i += MR, p += MR * w->kc)
            memcpy(p, a + i, MR * sizeof *p);
        if (i < m)
            memcpy(p, a + i, (m - i) * sizeof *p);
    }
}

/* A tile narrower than NR goes through a buffer, so that nothing past C's columns is touched.
 */
static void run_narrow(void (*run)(const struct tile *), const struct tile *t, size_t rows,
                       size_t n)
{
    float buffer[MR * NR] = {0};
    for (size_t i = 0; i < rows; i++)
        memcpy(buffer + i * NR, t->init + i * t->init_row, n * sizeof *buffer);
    struct tile whole = *t;
    whole.init = whole.c = buffer;
    whole.init_row = whole.c_row = NR;
    run(&whole);
    for (size_t i = 0; i < rows; i++)
        memcpy(t->c + i * t->c_row, buffer + i * NR, n * sizeof *buffer);
}

static const float zeros[NR];

/* Rows i0..i0+m of C by one panel of B at column j of the block. */
static void run_panel(const struct block *w, size_t i0, size_t m, size_t j)
{
    const struct gemm *g = w->g;
    size_t n = w->nc - j < NR ? w->nc - j : NR, column = w->j0 + j;
    struct tile t = {.k = w->kc, .a_row = g->lda, .b_row = NR, .c_row = g->ldc};
    enum tile_kind kind = g->packed_half ? HALF_B : g->transpose_a ? PACKED_A : DIRECT;
    if (g->packed_half)
        t.half = g->packed_half + column * g->k + w->k0 * NR;
    else if (g->packed)
        t.b = g->packed + column * g->k + w->k0 * NR;
    else
        t.b = w->packed_b + j * w->kc;
    if (w->b_in_place && n == NR) {
        t.b = g->b + w->k0 * g->ldb + column;
        t.b_row = g->ldb;
    }
    bool resume = w->k0 > 0 || g->accumulate;
    t.init_row = resume ? g->ldc : 0;
    size_t size = 0;
    for (size_t i = 0; i < m; i += tiles[size].rows) {
        while (tiles[size].rows > m - i)
            size++;
        t.c = g->c + (i0 + i) * g->ldc + column;
        t.init = resume ? t.c : g->bias ? g->bias + column : zeros;
        t.a = g->transpose_a ? w->packed_a + i / MR * MR * w->kc + i % MR
                             : g->a + (i0 + i) * g->lda + w->k0;
        if (n == NR)
            tiles[size].run[kind](&t);
        else
            run_narrow(tiles[size].run[kind], &t, tiles[size].rows, n);
    }
    if (g->act != ACT_NONE && w->k0 + w->kc == g->k) /* while the panel is in the cache */
        vec()->activate_rows(g->act, g->c + i0 * g->ldc + column, m, n, g->ldc);
}

static void run_block(const struct block *w)
{
    const struct gemm *g = w->g;
    if (!g->packed && !g->packed_half)
        pack_b(w);
    for (size_t i = 0; i < g->m; i += MC) {
        size_t m = g->m - i < MC ? g->m - i : MC;
        if (g->transpose_a)
            pack_a(w, i, m);
        for (size_t j = 0; j < w->nc; j += NR)
            run_panel(w, i, m, j);
    }
}

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* Panel after panel, each [k][NR] over all of k: a slice of k is a part of each. */
size_t GEMM_SIZE(size_t n, size_t k)
{
    return round_up(n, NR) * k;
}

void GEMM_PACK(const float *b, size_t n, size_t k, float *packed)
{
    for (size_t j = 0; j < n; j += NR)
        pack_transposed(b + j * k, k, n - j < NR ? n - j : NR, k, packed + j * k);
}

void GEMM(const struct gemm *g)
{
    /* Slices of k of equal length; their number depends on k alone. */
    size_t slices = g->k > KC ? (g->k + KC - 1) / KC : 1;
    size_t kc_max = (g->k + slices - 1) / slices;
    size_t nc_max = g->n < NC ? round_up(g->n, NR) : NC;
    bool ready = g->packed || g->packed_half;
    struct block w = {.g = g};
    float *scratch =
        gemm_scratch(kc_max * ((ready ? 0 : nc_max) + (g->transpose_a ? MC : 0)) + NR);
    if (!scratch) { /* out of memory: slower, but right */
        gemm_ref(g);
        return;
    }
    w.packed_b = scratch;
    w.packed_a = scratch + (ready ? 0 : kc_max * nc_max);
    w.b_in_place = !ready && !g->transpose_b && g->m <= DIRECT_ROWS;
    for (w.j0 = 0; w.j0 < g->n; w.j0 += NC) {
        w.nc = g->n - w.j0 < NC ? g->n - w.j0 : NC;
        w.k0 = 0;
        do { /* once when k is 0: C still gets its start value */
            w.kc = g->k - w.k0 < kc_max ? g->k - w.k0 : kc_max;
            run_block(&w);
            w.k0 += w.kc;
        } while (w.k0 < g->k);
    }
}
