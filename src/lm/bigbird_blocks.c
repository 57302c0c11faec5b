/* bigbird_blocks.c: which blocks of keys a block of queries sees in BigBird's sparse attention.
 * The random ones are drawn as transformers 4.28 does: numpy's legacy generator, seeded with
 * the number of the layer, so that a published checkpoint meets the blocks it was trained with.
 */
#include "lm/bigbird_blocks.h"

#include <string.h>

/* ---- numpy.random.RandomState: MT19937 (Matsumoto and Nishimura 1998) ---- */

enum { MT_N = 624, MT_M = 397 };

struct mt {
    uint32_t state[MT_N];
    int at;
};

static void mt_seed(struct mt *r, uint32_t seed)
{
    r->state[0] = seed;
    for (uint32_t i = 1; i < MT_N; i++)
        r->state[i] = 1812433253u * (r->state[i - 1] ^ (r->state[i - 1] >> 30)) + i;
    r->at = MT_N;
}

static uint32_t mt_next(struct mt *r)
{
    if (r->at == MT_N) {
        for (int i = 0; i < MT_N; i++) {
            uint32_t y = (r->state[i] & 0x80000000u) | (r->state[(i + 1) % MT_N] & 0x7fffffffu);
            r->state[i] = r->state[(i + MT_M) % MT_N] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
        }
        r->at = 0;
    }
    uint32_t y = r->state[r->at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

/* Uniform in 0..most. */
static uint32_t mt_interval(struct mt *r, uint32_t most)
{
    uint32_t mask = most, value;
    for (int shift = 1; shift < 32; shift *= 2)
        mask |= mask >> shift;
    if (!most)
        return 0;
    do
        value = mt_next(r) & mask;
    while (value > most);
    return value;
}

static void mt_shuffle(struct mt *r, uint16_t *x, size_t n)
{
    for (size_t i = n; i-- > 1;) {
        size_t j = mt_interval(r, (uint32_t)i);
        uint16_t kept = x[i];
        x[i] = x[j];
        x[j] = kept;
    }
}

/* ---- the choice of random blocks ---- */

struct drawing {
    const struct block_pattern *of;
    struct mt random;
    uint16_t *list; /* [of->blocks] scratch */
};

static uint8_t *cell(const struct block_pattern *p, size_t head, size_t row, size_t column)
{
    return p->seen + (head * p->blocks + row) * p->blocks + column;
}

/* Up to `wanted` random blocks of begin..end for one row and head: neither its neighbours nor
 * the first or last of the range. */
static void draw_row(struct drawing *d, size_t head, size_t row, size_t begin, size_t end,
                     size_t wanted)
{
    size_t n = end - begin, found = 0;
    for (size_t i = 0; i < n; i++)
        d->list[i] = (uint16_t)(begin + i);
    mt_shuffle(&d->random, d->list, n);
    for (size_t i = 0; i < n && found < wanted; i++) {
        size_t b = d->list[i];
        bool illegal = (b + 1 >= row && b <= row + 1) || b == 0 || b == end - 1 ||
                       (row == 1 && b == end - 2) || (row == end - 2 && b == 1);
        if (!illegal) {
            ++*cell(d->of, head, row, b);
            found++;
        }
    }
}

static void draw_rows(struct drawing *d, size_t first, size_t last, size_t begin, size_t end,
                      size_t wanted)
{
    for (size_t row = first; row < last && wanted; row++)
        for (size_t h = 0; h < d->of->heads; h++)
            draw_row(d, h, row, begin, end, wanted);
}

/* The first 2 r + 5 blocks (or r + 5, when there are no more) and the rest are drawn apart. */
static void draw_in_two(struct drawing *d, size_t r)
{
    size_t n = d->of->blocks, cut = n, near = r, far = 0;
    if (2 * r + 5 < n) {
        cut = 2 * r + 5;
    } else if (r + 5 < n) {
        cut = r + 5;
        near = r / 2;
        far = r - r / 2;
    }
    draw_rows(d, 1, cut, 0, cut, near);
    if (cut == n)
        return;
    draw_rows(d, 1, cut, cut, n, far);
    draw_rows(d, cut, n, 0, cut, near);
    draw_rows(d, cut, n, cut, n, far);
}

/* What the reference does for texts of 1,024, 3,072 and 4,096 tokens: rows of a model of `most`
 * blocks, from the blocks below 1,024 tokens, the neighbours left out. */
static void draw_published(struct drawing *d, size_t head, size_t r, size_t most, size_t block)
{
    size_t last = 1024 > 2 * block ? 1024 / block - 1 : most - 1;
    size_t middle = most - 2; /* blocks 1 .. most - 2 */
    size_t stop = last < middle ? last : middle;
    for (size_t row = 1; row + 1 < most; row++) {
        size_t n = 0, from = 0, until = stop, again = stop;
        if (row <= 2) {
            from = row + 1;
        } else if (row < most - 3) {
            until = row - 2 < stop ? row - 2 : stop;
            again = row - 2 > last || row + 1 == last ? stop : row + 1;
        }
        for (size_t i = from; i < until; i++)
            d->list[n++] = (uint16_t)(i + 1);
        for (size_t i = again; i < stop; i++)
            d->list[n++] = (uint16_t)(i + 1);
        mt_shuffle(&d->random, d->list, n);
        for (size_t i = 0; i < r && i < n && row + 1 < d->of->blocks; i++)
            if (d->list[i] < d->of->blocks)
                ++*cell(d->of, head, row, d->list[i]);
    }
}

void block_pattern_draw(struct block_pattern *p, unsigned layer, size_t random, size_t block,
                        size_t positions, uint16_t *scratch)
{
    struct drawing d = {.of = p, .list = scratch};
    size_t n = p->blocks, tokens = n * block;
    memset(p->seen, 0, p->heads * n * n);
    mt_seed(&d.random, layer);
    if (tokens == 1024 || tokens == 3072 || tokens == 4096)
        for (size_t h = 0; h < p->heads; h++)
            draw_published(&d, h, random, positions / block, block);
    else
        draw_in_two(&d, random);
    for (size_t h = 0; h < p->heads; h++)
        for (size_t row = 0; row < n; row++) {
            bool edge = row == 0 || row == n - 1;
            if (edge)
                memset(cell(p, h, row, 0), 1, n);
            for (size_t b = 0; b < n && !edge; b++)
                *cell(p, h, row, b) += b == 0 || b == n - 1 || (b + 1 >= row && b <= row + 1);
        }
}
