/* bench_parquet.c: every column of a Parquet file, read; for bench/peers/parquet.py.
 *
 *   bench_parquet FILE [--dump]
 *
 * Prints seconds of processor time, rows and bytes of values as one line of JSON; with --dump
 * the values instead, a row a line: fields by tabs, nulls as \N, tabs and newlines escaped. */
#include "base/error.h"
#include "base/memory.h"
#include "parquet/parquet.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t bytes_of(const struct parquet_batch *b)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < b->n; i++)
        sum += b->bytes ? b->bytes[i].n : 8;
    return sum;
}

static medley_status scan(const struct parquet_file *f, size_t leaf, uint64_t *bytes,
                          medley_error *err)
{
    struct parquet_column *c = NULL;
    struct parquet_batch b = {.n = 1};
    medley_status st = parquet_column_open(f, leaf, &c, err);
    while (!st && b.n) {
        st = parquet_column_next(c, PARQUET_BATCH, &b, err);
        *bytes += st ? 0 : bytes_of(&b);
    }
    parquet_column_close(c);
    return st;
}

static void print_field(const struct parquet_leaf *l, const struct parquet_batch *b, size_t i,
                        struct strbuf *text)
{
    sb_clear(text);
    parquet_text(l, b, i, text);
    if (b->null && b->null[i])
        fputs("\\N", stdout);
    else
        for (size_t k = 0; k < text->n; k++)
            switch (text->s[k]) {
            case '\t':
                fputs("\\t", stdout);
                break;
            case '\n':
                fputs("\\n", stdout);
                break;
            case '\\':
                fputs("\\\\", stdout);
                break;
            default:
                putchar(text->s[k]);
            }
}

enum { MOST_COLUMNS = 64 };

static medley_status dump(const struct parquet_file *f, medley_error *err)
{
    const struct parquet_meta *m = parquet_meta(f);
    struct parquet_column *columns[MOST_COLUMNS] = {0};
    struct parquet_batch b[MOST_COLUMNS];
    struct strbuf text;
    size_t n = m->n_leaves < MOST_COLUMNS ? m->n_leaves : MOST_COLUMNS;
    medley_status st = MEDLEY_OK;
    sb_init(&text);
    for (size_t k = 0; k < n && !st; k++)
        st = parquet_column_open(f, k, &columns[k], err);
    for (uint64_t row = 0; row < m->n_rows && !st; row++) {
        for (size_t k = 0; k < n && !st; k++) {
            st = parquet_column_next(columns[k], 1, &b[k], err);
            if (!st) {
                if (k)
                    putchar('\t');
                print_field(&m->leaves[k], &b[k], 0, &text);
            }
        }
        putchar('\n');
    }
    for (size_t k = 0; k < n; k++)
        parquet_column_close(columns[k]);
    sb_deinit(&text);
    return st;
}

int main(int argc, char **argv)
{
    struct parquet_file *f = NULL;
    medley_error err = {0};
    uint64_t bytes = 0;
    bool dumped = argc == 3 && strcmp(argv[2], "--dump") == 0;
    if (argc != 2 && !dumped) {
        fputs("usage: bench_parquet FILE [--dump]\n", stderr);
        return 2;
    }
    double start = cpu_seconds();
    medley_status st = parquet_open(argv[1], &f, &err);
    if (!st && dumped)
        st = dump(f, &err);
    for (size_t i = 0; !st && !dumped && i < parquet_meta(f)->n_leaves; i++)
        st = scan(f, i, &bytes, &err);
    if (!st && !dumped)
        printf("{\"seconds\": %.6f, \"rows\": %llu, \"bytes\": %llu}\n", cpu_seconds() - start,
               (unsigned long long)parquet_meta(f)->n_rows, (unsigned long long)bytes);
    if (st)
        fprintf(stderr, "bench_parquet: %s\n", err.message);
    parquet_close(f);
    return st ? 1 : 0;
}
