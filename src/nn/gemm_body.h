/* gemm_body.h: the packed matrix product, written once and included by gemm_avx2.c and
 * gemm_avx512.c, which define
 *   TARGET         the function attribute that allows the instruction set
 *   V, VL          a vector of floats and its length
 *   LOAD STORE SET1 FMA
 *   MR             rows of the largest tile; a tile is MR x NR of C with NR = 2 VL
 *   TILE_SIZES(X)  row counts of the tiles, descending from MR to 1
 *   GEMM           the name of the function made here
 *   pack_transposed(b, ldb, n, kc, p)   B stored [n,k] into a panel P[kc][NR], zeros past
 * column n
 *
 * The loops are those of Goto and van de Geijn (2008), "Anatomy of high-performance matrix
 * multiplication": a panel P[kc][NR] of B stays in the first-level cache while tiles of A pass
 * by, MC rows of A stay in the second. A is read where it lies unless it is transposed: packing
 * it would cost more than it gains, as rows are walked along k anyway. */

#include "nn/gemm_impl.h"

#include <string.h>

#define NR (2 * VL)
enum { KC = 384, MC = 96, NC = 1536 }; /* NC a multiple of NR, MC of MR */
enum { DIRECT_ROWS = 2 * MR };         /* with no more rows B is read where it lies */

/* One tile of C = init + A B over k. */
struct tile {
    size_t k;
    const float *a, *b, *init;
    float *c;
    size_t a_row;    /* floats between rows of A when A is not packed; packed A is [k][MR] */
    size_t b_row;    /* floats between rows of B: NR when packed */
    size_t init_row; /* 0: every row starts from the same [NR] */
    size_t c_row;
};

TARGET static inline __attribute__((always_inline)) void tile_run(const struct tile *t,
                                                                  int rows, bool packed)
{
    V acc[MR][2];
    UNROLL
    for (int i = 0; i < rows; i++) {
        acc[i][0] = LOAD(t->init + (size_t)i * t->init_row);
        acc[i][1] = LOAD(t->init + (size_t)i * t->init_row + VL);
    }
    const float *a = t->a, *b = t->b;
    size_t a_row = packed ? 1 : t->a_row, a_step = packed ? MR : 1, b_row = t->b_row;
    for (size_t k = t->k; k; k--) {
        V b0 = LOAD(b), b1 = LOAD(b + VL);
        UNROLL
        for (int i = 0; i < rows; i++) {
            V x = SET1(a[(size_t)i * a_row]);
            acc[i][0] = FMA(x, b0, acc[i][0]);
            acc[i][1] = FMA(x, b1, acc[i][1]);
        }
        a += a_step;
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
        tile_run(t, rows, false);                                                         \
    }                                                                                     \
    TARGET static __attribute__((noinline)) void tile_packed_##rows(const struct tile *t) \
    {                                                                                     \
        tile_run(t, rows, true);                                                          \
    }
TILE_SIZES(TILE_FUNCTIONS)

static const struct {
    size_t rows;
    void (*direct)(const struct tile *t), (*packed)(const struct tile *t);
} tiles[] = {
#define TILE_ROW(rows) {rows, tile_direct_##rows, tile_packed_##rows},
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
        void (*run)(const struct tile *) =
            g->transpose_a ? tiles[size].packed : tiles[size].direct;
        if (n == NR)
            run(&t);
        else
            run_narrow(run, &t, tiles[size].rows, n);
    }
}

static void run_block(const struct block *w)
{
    const struct gemm *g = w->g;
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

void GEMM(const struct gemm *g)
{
    /* Slices of k of equal length; their number depends on k alone. */
    size_t slices = g->k > KC ? (g->k + KC - 1) / KC : 1;
    size_t kc_max = (g->k + slices - 1) / slices;
    size_t nc_max = g->n < NC ? round_up(g->n, NR) : NC;
    struct block w = {.g = g};
    float *scratch = gemm_scratch(kc_max * (nc_max + (g->transpose_a ? MC : 0)) + NR);
    if (!scratch) { /* out of memory: slower, but right */
        gemm_ref(g);
        return;
    }
    w.packed_b = scratch;
    w.packed_a = scratch + kc_max * nc_max;
    w.b_in_place = !g->transpose_b && g->m <= DIRECT_ROWS;
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
