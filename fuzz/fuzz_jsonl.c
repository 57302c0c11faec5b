/* fuzz_jsonl.c: any bytes as a JSONL table. */
#include "data/table_reader.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    FILE *f = fmemopen((void *)(uintptr_t)data, n, "rb");
    struct table *t = NULL;
    medley_error err;
    size_t column;
    if (!f)
        return 0;
    if (table_open_stream(f, "x.jsonl", &t, &err) == MEDLEY_OK) {
        table_require(t, "a", &column, &err);
        table_find(t, "b.c");
        table_find(t, "list");
        bool more = true;
        while (table_next(t, &more, &err) == MEDLEY_OK && more)
            for (size_t i = 0; i < table_columns(t); i++)
                if (!utf8_valid(table_field(t, i), NULL))
                    abort();
    }
    table_close(t);
    fclose(f);
    return 0;
}
