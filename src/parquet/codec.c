/* codec.c: see codec.h. */
#include "parquet/codec.h"

#include <limits.h>
#include <snappy-c.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

bool parquet_codec_known(int32_t codec)
{
    return codec == CODEC_NONE || codec == CODEC_SNAPPY || codec == CODEC_GZIP ||
           codec == CODEC_ZSTD;
}

static bool snappy(const uint8_t *in, size_t in_n, uint8_t *out, size_t out_n)
{
    size_t n;
    return snappy_uncompressed_length((const char *)in, in_n, &n) == SNAPPY_OK && n == out_n &&
           snappy_uncompress((const char *)in, in_n, (char *)out, &n) == SNAPPY_OK &&
           n == out_n;
}

/* One gzip or zlib stream, or several gzip members on end, as some writers leave them. */
static bool gzip(const uint8_t *in, size_t in_n, uint8_t *out, size_t out_n)
{
    z_stream z = {0};
    if (in_n > UINT_MAX || out_n > UINT_MAX || inflateInit2(&z, 15 + 32) != Z_OK)
        return false;
    z.next_in = (Bytef *)(uintptr_t)in;
    z.avail_in = (uInt)in_n;
    z.next_out = out;
    z.avail_out = (uInt)out_n;
    int code = inflate(&z, Z_FINISH);
    while (code == Z_STREAM_END && z.avail_in && z.avail_out && inflateReset(&z) == Z_OK)
        code = inflate(&z, Z_FINISH);
    bool whole = code == Z_STREAM_END && z.avail_out == 0;
    inflateEnd(&z);
    return whole;
}

static bool zstd(const uint8_t *in, size_t in_n, uint8_t *out, size_t out_n)
{
    return ZSTD_decompress(out, out_n, in, in_n) == out_n;
}

bool parquet_decompress(int32_t codec, const uint8_t *in, size_t in_n, uint8_t *out,
                        size_t out_n)
{
    switch (codec) {
    case CODEC_SNAPPY:
        return snappy(in, in_n, out, out_n);
    case CODEC_GZIP:
        return gzip(in, in_n, out, out_n);
    case CODEC_ZSTD:
        return zstd(in, in_n, out, out_n);
    case CODEC_NONE:
        if (in_n == out_n)
            memcpy(out, in, in_n);
        return in_n == out_n;
    default:
        return false;
    }
}

/* Level 1: text pages shrink nearly as much as at 3, at twice the speed. */
bool parquet_compress(int32_t codec, struct str in, struct strbuf *out)
{
    sb_clear(out);
    if (codec == CODEC_NONE) {
        if (in.n)
            sb_add(out, in.s, in.n);
        return !out->failed;
    }
    size_t n =
        codec == CODEC_ZSTD ? ZSTD_compressBound(in.n) : snappy_max_compressed_length(in.n);
    char *to = sb_room(out, n);
    if (!to)
        return false;
    if (codec == CODEC_ZSTD)
        n = ZSTD_compress(to, n, in.s, in.n, 1);
    else if (snappy_compress(in.s, in.n, to, &n) != SNAPPY_OK)
        return false;
    if (codec == CODEC_ZSTD && ZSTD_isError(n))
        return false;
    sb_took(out, n);
    return true;
}
