/* codec.h: decompressing pages. */
#ifndef PARQUET_CODEC_H
#define PARQUET_CODEC_H

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

#endif
