/* encodings.h: Parquet's encodings of integers, as cursors over a page's bytes: they give as
 * many values as asked, so that nothing a page claims is allocated ahead. Source: Encodings.md
 * of Apache Parquet. Every call is false once the bytes end too early or make no sense. */
#ifndef PARQUET_ENCODINGS_H
#define PARQUET_ENCODINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RLE and bit-packed runs of values of at most 32 bits: levels, indices into dictionaries. */
struct hybrid {
    const uint8_t *at, *end;
    unsigned width;
    uint64_t left;  /* values of the current run */
    uint32_t value; /* of an RLE run */
    bool packed;    /* or: bits at `at`, from `bit` on */
    const uint8_t *bits;
    uint64_t bit;
};
struct hybrid hybrid_open(const uint8_t *at, const uint8_t *end, unsigned width);
bool hybrid_read(struct hybrid *h, uint32_t *out, size_t n);
/* How many of the next values are equal, known without unpacking (0: the run is packed), and
 * that value; consume them with hybrid_skip. */
bool hybrid_run(struct hybrid *h, uint64_t *n, uint32_t *value);
void hybrid_skip(struct hybrid *h, uint64_t n); /* n <= what hybrid_run gave */

/* DELTA_BINARY_PACKED. */
struct delta {
    const uint8_t *at, *end;
    uint64_t left;     /* values still to come */
    uint64_t in_block; /* of the current block */
    uint64_t in_mini;  /* of the current miniblock */
    uint64_t block_size, minis, mini_size;
    const uint8_t *widths; /* [minis] of the current block */
    uint64_t mini;         /* of the next miniblock */
    const uint8_t *bits;   /* of the current miniblock */
    uint64_t bit;
    unsigned width;
    uint64_t value, min_delta; /* two's complement: sums wrap as the format says */
    bool first;
};
bool delta_open(struct delta *d, const uint8_t *at, const uint8_t *end);
bool delta_read(struct delta *d, int64_t *out, size_t n);
/* Where the bytes after all values begin; NULL when damaged. */
const uint8_t *delta_end(const struct delta *from);

#endif
