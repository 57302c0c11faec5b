/* parquet_copy.c: a Parquet file read and written again by Medley's own code; for
 * bench/peers/parquet_check.py and parquet.py. Columns are taken as far as the writer has their
 * type: whole numbers, floats, doubles and texts.
 *
 *   parquet_copy FROM TO [zstd|snappy|plain] [GROUP_ROWS]
 *
 * On stdout: rows, seconds of reading and writing, of writing alone, and peak memory as JSON.
 */
#include "parquet/parquet.h"
#include "parquet/writer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { MOST = 256 };

struct copy {
    struct parquet_file *from;
    struct parquet_writer *to;
    size_t n;
    struct source {
        struct parquet_column *column;
        struct parquet_batch batch;
        size_t at;
    } sources[MOST];
    struct parquet_write_column columns[MOST];
    size_t leaves[MOST];
    double writing;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double peak_mb(void)
{
    struct rusage use;
    return getrusage(RUSAGE_SELF, &use) == 0 ? (double)use.ru_maxrss / 1024 : 0;
}

static bool writable(const struct parquet_leaf *l, enum parquet_write_type *type)
{
    if (l->nested || (l->logical != LOGICAL_NONE && l->logical != LOGICAL_TEXT))
        return false;
    switch (l->physical) {
    case PHYSICAL_INT32:
        *type = PARQUET_WRITE_INT32;
        return true;
    case PHYSICAL_INT64:
        *type = PARQUET_WRITE_INT64;
        return true;
    case PHYSICAL_FLOAT:
        *type = PARQUET_WRITE_FLOAT;
        return true;
    case PHYSICAL_DOUBLE:
        *type = PARQUET_WRITE_DOUBLE;
        return true;
    case PHYSICAL_BYTE_ARRAY:
        *type = PARQUET_WRITE_TEXT;
        return l->logical == LOGICAL_TEXT;
    default:
        return false;
    }
}

static medley_status open_columns(struct copy *c, medley_error *err)
{
    const struct parquet_meta *m = parquet_meta(c->from);
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < m->n_leaves && c->n < MOST && !st; i++) {
        struct parquet_write_column *to = &c->columns[c->n];
        if (!writable(&m->leaves[i], &to->type))
            continue;
        to->name = m->leaves[i].name;
        to->optional = m->leaves[i].optional;
        c->leaves[c->n] = i;
        st = parquet_column_open(c->from, i, &c->sources[c->n++].column, err);
    }
    return st;
}

/* Value `at` of a source, unless it is null. */
static void put(struct copy *c, size_t i)
{
    struct source *s = &c->sources[i];
    size_t at = s->at++;
    if (s->batch.null && s->batch.null[at])
        return;
    if (s->batch.bytes)
        parquet_put_text(c->to, i, s->batch.bytes[at]);
    else if (s->batch.reals)
        parquet_put_real(c->to, i, s->batch.reals[at]);
    else
        parquet_put_integer(c->to, i, s->batch.integers[at]);
}

static medley_status copy_rows(struct copy *c, uint64_t rows, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    while (rows && !st) { /* as many rows as every column has at hand */
        size_t n = SIZE_MAX;
        for (size_t i = 0; i < c->n && !st; i++) {
            struct source *s = &c->sources[i];
            if (s->at == s->batch.n) {
                st = parquet_column_next(s->column, PARQUET_BATCH, &s->batch, err);
                s->at = 0;
            }
            n = s->batch.n - s->at < n ? s->batch.n - s->at : n;
        }
        double begin = now();
        for (size_t row = 0; row < n && !st; row++) {
            for (size_t i = 0; i < c->n; i++)
                put(c, i);
            st = parquet_writer_row(c->to, err);
        }
        c->writing += now() - begin;
        rows -= n;
    }
    return st;
}

static medley_status copy(struct copy *c, const char *from, FILE *to,
                          const struct parquet_write_options *o, medley_error *err)
{
    medley_status st = parquet_open(from, &c->from, err);
    if (!st)
        st = open_columns(c, err);
    if (!st)
        st = parquet_writer_new(to, c->columns, c->n, o, &c->to, err);
    if (!st)
        st = copy_rows(c, parquet_meta(c->from)->n_rows, err);
    double begin = now();
    if (!st)
        st = parquet_writer_finish(c->to, err);
    c->writing += now() - begin;
    return st;
}

int main(int argc, char **argv)
{
    static const char *const codecs[] = {"zstd", "snappy", "plain"};
    static struct copy c;
    struct parquet_write_options o = {0};
    medley_error err = {0};
    if (argc < 3 || argc > 5) {
        fputs("usage: parquet_copy FROM TO [zstd|snappy|plain] [GROUP_ROWS]\n", stderr);
        return 2;
    }
    for (int i = 0; argc > 3 && i < 3; i++)
        if (strcmp(argv[3], codecs[i]) == 0)
            o.codec = (enum parquet_write_codec)i;
    if (argc > 4)
        o.group_rows = strtoul(argv[4], NULL, 10);
    FILE *to = fopen(argv[2], "wb");
    double begin = now();
    medley_status st = to ? copy(&c, argv[1], to, &o, &err) : MEDLEY_EIO;
    if (to && fclose(to) != 0)
        st = MEDLEY_EIO;
    if (st)
        fprintf(stderr, "parquet_copy: %s\n", err.message);
    else
        printf("{\"rows\":%llu,\"seconds\":%.6f,\"writing\":%.6f,\"peak_mb\":%.1f}\n",
               (unsigned long long)parquet_meta(c.from)->n_rows, now() - begin, c.writing,
               peak_mb());
    for (size_t i = 0; i < c.n; i++)
        parquet_column_close(c.sources[i].column);
    parquet_writer_free(c.to);
    parquet_close(c.from);
    return st ? 1 : 0;
}
