/* write_runs.c: levels and dictionary indices as runs of equal values and groups of eight
 * packed ones. Source: Encodings.md of Apache Parquet, "RLE / Bit-Packing Hybrid". */
#include "parquet/writer_private.h"

#include "parquet/thrift.h"

static size_t equal_from(const uint32_t *values, size_t i, size_t n)
{
    size_t j = i + 1;
    while (j < n && values[j] == values[i])
        j++;
    return j - i;
}

static bool begins_run(const uint32_t *values, size_t i, size_t n)
{
    if (n - i < 8)
        return false;
    for (size_t j = 1; j < 8; j++)
        if (values[i + j] != values[i])
            return false;
    return true;
}

static void put_equal(struct strbuf *out, uint32_t value, size_t n, unsigned width)
{
    thrift_put_varint(out, (uint64_t)n << 1);
    for (unsigned bit = 0; bit < width; bit += 8)
        sb_addc(out, (char)(value >> bit));
}

/* The last group is filled up with zeroes. */
static void put_packed(struct strbuf *out, const uint32_t *values, size_t n, unsigned width)
{
    uint64_t bits = 0;
    unsigned have = 0;
    size_t groups = (n + 7) / 8;
    thrift_put_varint(out, (uint64_t)groups << 1 | 1);
    for (size_t i = 0; i < groups * 8; i++) {
        bits |= (uint64_t)(i < n ? values[i] : 0) << have;
        for (have += width; have >= 8; have -= 8, bits >>= 8)
            sb_addc(out, (char)bits);
    }
}

void runs_put(struct strbuf *out, const uint32_t *values, size_t n, unsigned width)
{
    size_t i = 0;
    while (i < n) {
        size_t end = i;
        if (begins_run(values, i, n) || equal_from(values, i, n) == n - i) {
            size_t run = equal_from(values, i, n);
            put_equal(out, values[i], run, width);
            i += run;
            continue;
        }
        while (end < n && (end == i || !begins_run(values, end, n)))
            end = n - end < 8 ? n : end + 8;
        put_packed(out, values + i, end - i, width);
        i = end;
    }
}
