/* fuzz_csv.c: any bytes as a CSV or TSV table (the first byte chooses). */
#include "data/table_reader.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 2)
        return 0;
    FILE *f = fmemopen((void *)(uintptr_t)(data + 1), n - 1, "rb");
    struct table *t = NULL;
    medley_error err;
    size_t column, bytes = 0;
    if (!f)
        return 0;
    if (table_open_stream(f, data[0] % 2 ? "x.tsv" : "x.csv", &t, &err) == MEDLEY_OK) {
        table_require(t, "query", &column, &err);
        bool more = true;
        while (table_next(t, &more, &err) == MEDLEY_OK && more) {
            for (size_t i = 0; i < table_columns(t); i++) {
                struct str field = table_field(t, i);
                bytes += field.n;
                if (!utf8_valid(field, NULL) || table_line(t) > n)
                    abort();
            }
        }
        if (bytes > n) /* fields only ever shrink */
            abort();
    }
    table_close(t);
    fclose(f);
    return 0;
}
