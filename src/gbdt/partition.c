/* partition.c: splits a leaf's rows in two, keeping their order so that later passes read
 * memory forwards. Proof: tests/test_gbdt.c runs every row of the table against the first. */
#include "gbdt/grow.h"

#include "base/cpu.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static size_t partition_ref(const struct partition_job *job)
{
    size_t left = 0, right = 0;
    for (size_t i = 0; i < job->n; i++) {
        uint32_t row = job->index[i];
        uint8_t bin = job->column[row];
        bool stays = bin ? bin <= job->bin : job->missing_left;
        job->index[left] = row; /* without branches: one of the two counts */
        job->other[right] = row;
        left += stays;
        right += !stays;
    }
    memcpy(job->index + left, job->other, right * sizeof *job->other);
    return left;
}

#if defined(__x86_64__)

/* 16 rows at a time: gather their bins, compress the row numbers to either side. The gather
 * reads 32 bits for each byte, hence the room past the column. */
__attribute__((target("avx512f"))) static size_t partition_avx512(
    const struct partition_job *job)
{
    size_t left = 0, right = 0, i = 0;
    __m512i last = _mm512_set1_epi32(job->bin), byte = _mm512_set1_epi32(255);
    for (; i + 16 <= job->n; i += 16) {
        __m512i rows = _mm512_loadu_si512(job->index + i);
        __m512i bins = _mm512_and_si512(_mm512_i32gather_epi32(rows, job->column, 1), byte);
        __mmask16 stays = _mm512_cmple_epu32_mask(bins, last);
        if (!job->missing_left)
            stays &= _mm512_test_epi32_mask(bins, bins);
        /* Left rows are written at or before where they were read; whole vectors, of which only
         * the front counts. Storing through the mask directly is slow on AMD. */
        unsigned n_left = (unsigned)__builtin_popcount(stays);
        _mm512_storeu_si512(job->index + left, _mm512_maskz_compress_epi32(stays, rows));
        _mm512_storeu_si512(job->other + right,
                            _mm512_maskz_compress_epi32((__mmask16)~stays, rows));
        left += n_left;
        right += 16 - n_left;
    }
    for (; i < job->n; i++) {
        uint32_t row = job->index[i];
        uint8_t bin = job->column[row];
        if (bin ? bin <= job->bin : job->missing_left)
            job->index[left++] = row;
        else
            job->other[right++] = row;
    }
    memcpy(job->index + left, job->other, right * sizeof *job->other);
    return left;
}

#endif

const struct partition_impl partition_impls[] = {
    {"ref", partition_ref, cpu_always},
#if defined(__x86_64__)
    {"avx512", partition_avx512, cpu_has_avx512},
#endif
    {NULL, NULL, NULL},
};

size_t partition_rows(const struct partition_job *job)
{
#if defined(__x86_64__)
    /* Rows are 32-bit gather offsets, signed. */
    if (cpu_has_avx512())
        return partition_avx512(job);
#endif
    return partition_ref(job);
}
