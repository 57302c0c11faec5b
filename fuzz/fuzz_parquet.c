/* fuzz_parquet.c: any bytes as a Parquet file; every flat column is read to its end. */
#include "parquet/parquet.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MOST_VALUES = 100000 }; /* a run of a billion nulls takes five bytes */

static void read_column(const struct parquet_file *f, size_t leaf, struct strbuf *text)
{
    struct parquet_column *c = NULL;
    struct parquet_batch b = {.n = 1};
    size_t read = 0;
    medley_error err;
    if (parquet_column_open(f, leaf, &c, &err) == MEDLEY_OK)
        while (b.n && read < MOST_VALUES &&
               parquet_column_next(c, PARQUET_BATCH, &b, &err) == MEDLEY_OK) {
            read += b.n;
            for (size_t i = 0; i < b.n && i < 64; i++) {
                sb_clear(text);
                parquet_text(&parquet_meta(f)->leaves[leaf], &b, i, text);
            }
        }
    parquet_column_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct parquet_file *f = NULL;
    struct strbuf text;
    medley_error err;
    sb_init(&text);
    if (parquet_open_bytes(data, n, "fuzz.parquet", &f, &err) == MEDLEY_OK)
        for (size_t i = 0; i < parquet_meta(f)->n_leaves && i < 32; i++)
            read_column(f, i, &text);
    parquet_close(f);
    sb_deinit(&text);
    return 0;
}
