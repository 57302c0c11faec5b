/* encodings.c: see encodings.h. */
#include "parquet/encodings.h"

#include "parquet/thrift.h"

#include <string.h>

/* `width` (at most 64) bits at bit `at` of p; bytes from end on are taken for zero. */
static uint64_t bits_at(const uint8_t *p, uint64_t at, unsigned width, const uint8_t *end)
{
    const uint8_t *q = p + at / 8;
    unsigned shift = (unsigned)(at % 8);
    uint64_t low = 0, high = 0;
    if (end - q >= 8)
        memcpy(&low, q, 8);
    else
        memcpy(&low, q, (size_t)(end - q));
    if (shift + width > 64 && end - q > 8)
        high = q[8];
    uint64_t v = low >> shift | (shift ? high << (64 - shift) : 0);
    return width == 64 ? v : v & (((uint64_t)1 << width) - 1);
}

/* ---- runs ---- */

struct hybrid hybrid_open(const uint8_t *at, const uint8_t *end, unsigned width)
{
    return (struct hybrid){.at = at, .end = end, .width = width};
}

static bool packed_run(struct hybrid *h, uint64_t groups)
{
    uint64_t have = (uint64_t)(h->end - h->at);
    /* The last group may lack the bytes of values that nobody asks for. */
    if (groups > UINT32_MAX || (h->width && groups > have / h->width + 1))
        return false;
    uint64_t bytes = groups * h->width;
    h->bits = h->at;
    h->bit = 0;
    h->left = groups * 8;
    if (bytes > have) {
        bytes = have;
        h->left = have * 8 / h->width;
    }
    h->at += bytes;
    return true;
}

static bool equal_run(struct hybrid *h, uint64_t n)
{
    unsigned bytes = (h->width + 7) / 8;
    if (bytes > h->end - h->at)
        return false;
    h->value = 0;
    for (unsigned i = 0; i < bytes; i++)
        h->value |= (uint32_t)h->at[i] << 8 * i;
    h->at += bytes;
    h->left = n;
    return h->width == 32 || h->value >> h->width == 0;
}

/* Runs of no values are passed over. */
static bool next_run(struct hybrid *h)
{
    while (h->left == 0) {
        uint64_t head;
        if (!varint_read(&h->at, h->end, &head))
            return false;
        h->packed = head & 1;
        if (!(h->packed ? packed_run(h, head >> 1) : equal_run(h, head >> 1)))
            return false;
    }
    return true;
}

static void unpack(struct hybrid *h, uint32_t *out, size_t n)
{
    size_t i = 0;
    /* One unaligned load a value, as long as eight bytes are there. */
    if (h->end - h->bits >= 16) {
        uint64_t mask = ((uint64_t)1 << h->width) - 1, bit = h->bit;
        uint64_t safe = (uint64_t)(h->end - h->bits - 8) * 8;
        for (; i < n && bit < safe; i++, bit += h->width) {
            uint64_t v;
            memcpy(&v, h->bits + bit / 8, 8);
            out[i] = (uint32_t)(v >> bit % 8 & mask);
        }
        h->bit = bit;
    }
    for (; i < n; i++, h->bit += h->width)
        out[i] = (uint32_t)bits_at(h->bits, h->bit, h->width, h->end);
}

bool hybrid_read(struct hybrid *h, uint32_t *out, size_t n)
{
    while (n) {
        if (!next_run(h))
            return false;
        size_t m = h->left < n ? (size_t)h->left : n;
        if (h->packed)
            unpack(h, out, m);
        else
            for (size_t i = 0; i < m; i++)
                out[i] = h->value;
        h->left -= m;
        out += m;
        n -= m;
    }
    return true;
}

bool hybrid_run(struct hybrid *h, uint64_t *n, uint32_t *value)
{
    if (!next_run(h))
        return false;
    *n = h->packed ? 0 : h->left;
    *value = h->value;
    return true;
}

void hybrid_skip(struct hybrid *h, uint64_t n)
{
    h->left -= n;
}

/* ---- deltas ---- */

bool delta_open(struct delta *d, const uint8_t *at, const uint8_t *end)
{
    uint64_t first;
    *d = (struct delta){.at = at, .end = end, .first = true};
    if (!varint_read(&d->at, end, &d->block_size) || !varint_read(&d->at, end, &d->minis) ||
        !varint_read(&d->at, end, &d->left) || !varint_read(&d->at, end, &first))
        return false;
    if (d->block_size == 0 || d->block_size > 1 << 20 || d->minis == 0 ||
        d->minis > d->block_size || d->block_size % d->minis)
        return false;
    d->mini_size = d->block_size / d->minis;
    d->value = (uint64_t)zigzag(first);
    return d->mini_size % 8 == 0;
}

static bool next_block(struct delta *d)
{
    uint64_t least;
    if (!varint_read(&d->at, d->end, &least) || (uint64_t)(d->end - d->at) < d->minis)
        return false;
    d->min_delta = (uint64_t)zigzag(least);
    d->widths = d->at;
    d->at += d->minis;
    d->mini = 0;
    d->in_block = d->block_size;
    return true;
}

static bool next_mini(struct delta *d)
{
    if (d->in_block == 0 && !next_block(d))
        return false;
    d->width = d->widths[d->mini++];
    uint64_t have = (uint64_t)(d->end - d->at), bytes = d->mini_size * d->width / 8;
    if (d->width > 64)
        return false;
    if (bytes > have) { /* the padding of the last miniblock may be missing */
        uint64_t values = d->left < d->mini_size ? d->left : d->mini_size;
        if (values * d->width > have * 8) /* without the minimum it could wrap */
            return false;
        bytes = have;
    }
    d->bits = d->at;
    d->bit = 0;
    d->at += bytes;
    d->in_mini = d->mini_size;
    d->in_block -= d->mini_size;
    return true;
}

bool delta_read(struct delta *d, int64_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (d->left == 0)
            return false;
        if (d->first) {
            d->first = false;
        } else {
            if (d->in_mini == 0 && !next_mini(d))
                return false;
            d->value += d->min_delta + bits_at(d->bits, d->bit, d->width, d->end);
            d->bit += d->width;
            d->in_mini--;
        }
        d->left--;
        out[i] = (int64_t)d->value;
    }
    return true;
}

const uint8_t *delta_end(const struct delta *from)
{
    struct delta d = *from;
    if (d.left && d.first) {
        d.first = false;
        d.left--;
    }
    uint64_t in_mini = d.in_mini < d.left ? d.in_mini : d.left;
    d.left -= in_mini;
    while (d.left) {
        if (!next_mini(&d))
            return NULL;
        d.left -= d.mini_size < d.left ? d.mini_size : d.left;
    }
    return d.at;
}
