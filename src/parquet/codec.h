/* codec.h: compressing and decompressing pages. */
#ifndef PARQUET_CODEC_H
#define PARQUET_CODEC_H

#include "base/str.h"
#include "medley/status.h"

#include <stdbool.h>

enum parquet_codec {
    CODEC_NONE = 0,
    CODEC_SNAPPY = 1,
    CODEC_GZIP = 2,
    CODEC_ZSTD = 6,
};

bool parquet_codec_known(int32_t codec);
/* Exactly out_n bytes from in[in_n]; false when the bytes are damaged or give another number.
 */
bool parquet_decompress(int32_t codec, const uint8_t *in, size_t in_n, uint8_t *out,
                        size_t out_n);
/* All of `in` into *out, which is cleared first; CODEC_NONE, CODEC_SNAPPY or CODEC_ZSTD. False
 * when out of memory. */
bool parquet_compress(int32_t codec, struct str in, struct strbuf *out);

#endif
