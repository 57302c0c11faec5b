/* test_parquet_write.c: what the writer wrote, the reader reads: all types, nulls, groups and
 * pages, dictionaries where they pay; refusals, faults of memory and of the disk. That other
 * readers give the same is checked by bench/peers/parquet_check.py. */
#include "tests/data_help.h"

#include "base/rng.h"
#include "parquet/parquet.h"
#include "parquet/encodings.h"
#include "parquet/writer_private.h"

enum { ID, LABEL, NOTE, P, SCORE, STAGE, COUNT, NOTHING, COLUMNS };

static const struct parquet_write_column columns[COLUMNS] = {
    [ID] = {"id", PARQUET_WRITE_TEXT, false},
    [LABEL] = {"label", PARQUET_WRITE_TEXT, false},
    [NOTE] = {"note", PARQUET_WRITE_TEXT, true},
    [P] = {"p", PARQUET_WRITE_FLOAT, true},
    [SCORE] = {"score", PARQUET_WRITE_DOUBLE, false},
    [STAGE] = {"stage", PARQUET_WRITE_INT32, true},
    [COUNT] = {"count", PARQUET_WRITE_INT64, false},
    [NOTHING] = {"nothing", PARQUET_WRITE_TEXT, true},
};

/* ---- rows that follow from their number ---- */

static bool missing(size_t row, int column)
{
    return columns[column].optional &&
           (column == NOTHING || mix64(row / 9, (uint64_t)column, 5) % 3 == 0);
}

static int64_t whole(size_t row, int column)
{
    uint64_t v = mix64(row, (uint64_t)column, 3);
    return column == STAGE ? (int64_t)(row / 40 % 3) - 1 : (int64_t)v;
}

static double real(size_t row, int column)
{
    double v = (double)(mix64(row, 1, 2) >> 11) * 0x1p-50 - 4;
    return column == P ? (double)(float)v : v;
}

static struct str text(size_t row, int column)
{
    static char room[20000];
    static const char *const labels[] = {"E", "S", "C", "I"};
    int n = 0;
    if (column == LABEL)
        return str_of(labels[mix64(row, 0, 0) % 4]);
    if (column == ID)
        n = snprintf(room, sizeof room, "B0%07zu", row);
    else if (row % 1000 == 999) /* longer than a page of the test */
        n = (int)sizeof room, memset(room, 'x', sizeof room);
    else
        n = snprintf(room, sizeof room, "%s\"\n%zu", row % 7 ? "充電器" : "", row % 50);
    return (struct str){room, (size_t)n};
}

static void put_row(struct parquet_writer *w, size_t row)
{
    for (int c = 0; c < COLUMNS; c++) {
        if (missing(row, c))
            continue;
        if (columns[c].type == PARQUET_WRITE_TEXT)
            parquet_put_text(w, (size_t)c, text(row, c));
        else if (c == P || c == SCORE)
            parquet_put_real(w, (size_t)c, real(row, c));
        else
            parquet_put_integer(w, (size_t)c, whole(row, c));
    }
}

static medley_status write_rows(FILE *f, size_t n, const struct parquet_write_options *o,
                                medley_error *err)
{
    struct parquet_writer *w = NULL;
    medley_status st = parquet_writer_new(f, columns, COLUMNS, o, &w, err);
    for (size_t i = 0; i < n && !st; i++) {
        put_row(w, i);
        st = parquet_writer_row(w, err);
    }
    if (!st)
        st = parquet_writer_finish(w, err);
    parquet_writer_free(w);
    return st;
}

static bool same(size_t row, int column, const struct parquet_batch *b, size_t i)
{
    bool null = b->null && b->null[i];
    if (null || missing(row, column))
        return null && missing(row, column);
    if (b->bytes)
        return str_eq(b->bytes[i], text(row, column));
    return b->reals ? b->reals[i] == real(row, column) : b->integers[i] == whole(row, column);
}

static size_t wrong_values(const struct parquet_file *f, int column, size_t n)
{
    struct parquet_column *c = NULL;
    struct parquet_batch b = {.n = 1};
    medley_error err;
    size_t row = 0, wrong = 0;
    if (parquet_column_open(f, (size_t)column, &c, &err))
        return n + 1;
    while (b.n && parquet_column_next(c, PARQUET_BATCH, &b, &err) == MEDLEY_OK)
        for (size_t i = 0; i < b.n; i++, row++)
            wrong += !same(row, column, &b, i);
    parquet_column_close(c);
    return row == n ? wrong : n + 1;
}

/* The file in memory; the caller frees *data. */
static medley_status written(size_t n, const struct parquet_write_options *o, char **data,
                             size_t *bytes, medley_error *err)
{
    FILE *f = open_memstream(data, bytes);
    medley_status st = write_rows(f, n, o, err);
    fclose(f);
    return st;
}

static void test_round_trip(const char *name, size_t n, struct parquet_write_options o,
                            size_t groups)
{
    char *data;
    size_t bytes, wrong = 0;
    struct parquet_file *f = NULL;
    medley_error err = {0};
    if (written(n, &o, &data, &bytes, &err) ||
        parquet_open_bytes((uint8_t *)data, bytes, "x.parquet", &f, &err)) {
        ok(0, "%s: %s", name, err.message);
        free(data);
        return;
    }
    const struct parquet_meta *m = parquet_meta(f);
    bool schema = m->n_leaves == COLUMNS && m->n_rows == n && m->n_groups == groups;
    for (int c = 0; c < COLUMNS && schema; c++) {
        const struct parquet_leaf *l = &m->leaves[c];
        schema = strcmp(l->name, columns[c].name) == 0 && !l->nested &&
                 l->optional == columns[c].optional &&
                 l->physical == writer_physical(columns[c].type) &&
                 (l->logical == LOGICAL_TEXT) == (columns[c].type == PARQUET_WRITE_TEXT);
        wrong += wrong_values(f, c, n);
    }
    ok(schema && wrong == 0, "%s: %zu rows, %zu groups, %zu bytes, %zu wrong", name, n,
       m->n_groups, bytes, wrong);
    parquet_close(f);
    free(data);
}

/* ---- runs ---- */

static void test_runs(void)
{
    struct rng rng;
    size_t wrong = 0;
    rng_init(&rng, 7, 0);
    for (int i = 0; i < 3000; i++) {
        uint32_t values[200], back[200];
        size_t n = 1 + rng_below(&rng, 200);
        unsigned width = 1 + rng_below(&rng, 32);
        uint32_t mask = width == 32 ? UINT32_MAX : (1u << width) - 1;
        for (size_t k = 0; k < n;) /* runs of any length */
            for (uint32_t v = (uint32_t)rng_u64(&rng) & mask, j = rng_below(&rng, 30) + 1;
                 j && k < n; j--, k++)
                values[k] = i % 3 ? v : (uint32_t)rng_u64(&rng) & mask;
        struct strbuf out;
        sb_init(&out);
        runs_put(&out, values, n, width);
        struct hybrid h = hybrid_open((uint8_t *)out.s, (uint8_t *)out.s + out.n, width);
        wrong += !hybrid_read(&h, back, n) || memcmp(values, back, n * sizeof *values) != 0;
        sb_deinit(&out);
    }
    ok(wrong == 0, "runs of all widths and lengths are read back");
}

/* ---- sizes ---- */

/* Labels take bits, not letters; ids that do not repeat are written plainly. */
static void test_dictionaries(void)
{
    static const struct parquet_write_column two[] = {{"id", PARQUET_WRITE_TEXT, false},
                                                      {"label", PARQUET_WRITE_TEXT, false}};
    struct parquet_write_options plain = {.codec = PARQUET_WRITE_PLAIN};
    struct parquet_writer *w;
    struct parquet_file *f = NULL;
    medley_error err;
    char *data;
    size_t bytes, n = 10000;
    FILE *to = open_memstream(&data, &bytes);
    medley_status st = parquet_writer_new(to, two, 2, &plain, &w, &err);
    for (size_t i = 0; i < n && !st; i++) {
        parquet_put_text(w, 0, text(i, ID));
        parquet_put_text(w, 1, text(i, LABEL));
        st = parquet_writer_row(w, &err);
    }
    st = st ? st : parquet_writer_finish(w, &err);
    parquet_writer_free(w);
    fclose(to);
    st = st ? st : parquet_open_bytes((uint8_t *)data, bytes, "x.parquet", &f, &err);
    uint64_t ids = 0, labels = 0;
    if (!st) {
        const struct parquet_meta *m = parquet_meta(f);
        ids = m->chunks[1].begin - m->chunks[0].begin;
        labels = m->data_end - m->chunks[1].begin;
    }
    ok(!st && ids > n * 13 && ids < n * 14 && labels > n / 4 && labels < n / 3,
       "%llu bytes of ids, %llu of labels", (unsigned long long)ids,
       (unsigned long long)labels);
    parquet_close(f);
    free(data);
}

/* ---- faults ---- */

static medley_status one(const struct parquet_write_column *column,
                         void (*fill)(struct parquet_writer *w), medley_error *err)
{
    char *data;
    size_t bytes;
    FILE *f = open_memstream(&data, &bytes);
    struct parquet_writer *w = NULL;
    medley_status st = parquet_writer_new(f, column, 1, NULL, &w, err);
    if (!st) {
        fill(w);
        st = parquet_writer_row(w, err);
    }
    parquet_writer_free(w);
    fclose(f);
    free(data);
    return st;
}

static void put_nothing(struct parquet_writer *w)
{
    (void)w;
}

static void put_twice(struct parquet_writer *w)
{
    parquet_put_integer(w, 0, 1);
    parquet_put_integer(w, 0, 2);
}

static void put_wide(struct parquet_writer *w)
{
    parquet_put_integer(w, 0, (int64_t)1 << 31);
}

static void put_word(struct parquet_writer *w)
{
    parquet_put_text(w, 0, STR("a"));
}

static void put_latin(struct parquet_writer *w)
{
    parquet_put_text(w, 0, STR("caf\xE9"));
}

static void test_refusals(void)
{
    static const struct parquet_write_column number = {"n", PARQUET_WRITE_INT32, false},
                                             word = {"w", PARQUET_WRITE_TEXT, false};
    static const struct {
        const struct parquet_write_column *column;
        void (*put)(struct parquet_writer *w);
        const char *message;
    } rows[] = {
        {&number, put_nothing, "row 1, column 'n': no value"},
        {&number, put_twice, "row 1, column 'n': two values in one row"},
        {&number, put_wide, "row 1, column 'n': a number past 32 bits"},
        {&number, put_word, "row 1, column 'n': a text among numbers"},
        {&word, put_twice, "row 1, column 'w': a whole number in a column of another type"},
        {&word, put_latin, "row 1, column 'w': a text that is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        medley_error err = {0};
        medley_status st = one(rows[i].column, rows[i].put, &err);
        is_text(st == MEDLEY_EINVAL ? err.message : "", rows[i].message, "refused: %s",
                rows[i].message);
    }
}

static void test_full_disk(void)
{
    medley_error err = {0};
    FILE *f = fopen("/dev/full", "wb");
    if (!f) {
        skip("no /dev/full here");
        return;
    }
    setvbuf(f, NULL, _IONBF, 0);
    ok(write_rows(f, 5000, NULL, &err) == MEDLEY_EIO, "a full disk: %s", err.message);
    fclose(f);
}

static void test_memory(void)
{
    size_t failures = 0, n = 0;
    medley_error err;
    struct parquet_write_options o = {.group_rows = 20};
    for (;; n++) {
        char *data;
        size_t bytes;
        FILE *f = open_memstream(&data, &bytes);
        mem_fail_after(n);
        medley_status st = write_rows(f, 50, &o, &err);
        mem_fail_after(SIZE_MAX);
        fclose(f);
        free(data);
        if (st == MEDLEY_OK || n == 10000)
            break;
        failures += st != MEDLEY_ENOMEM;
    }
    ok(failures == 0 && n > 20 && n < 10000, "each of %zu allocations may fail", n);
}

static void test_same_bytes(void)
{
    char *a, *b;
    size_t an, bn;
    medley_error err;
    medley_status st = written(3000, NULL, &a, &an, &err);
    st |= written(3000, NULL, &b, &bn, &err);
    ok(!st && an == bn && memcmp(a, b, an) == 0, "the same rows, the same bytes");
    free(a);
    free(b);
}

int main(void)
{
    test_runs();
    test_round_trip("one row", 1, (struct parquet_write_options){0}, 1);
    test_round_trip("no rows", 0, (struct parquet_write_options){0}, 0);
    test_round_trip("zstd", 30000, (struct parquet_write_options){0}, 1);
    test_round_trip("small groups of small pages", 5000,
                    (struct parquet_write_options){.group_rows = 700, .page_bytes = 512}, 8);
    test_round_trip(
        "snappy", 5000,
        (struct parquet_write_options){.codec = PARQUET_WRITE_SNAPPY, .group_bytes = 100000},
        3);
    test_round_trip("uncompressed", 45000,
                    (struct parquet_write_options){.codec = PARQUET_WRITE_PLAIN}, 1);
    test_dictionaries();
    test_refusals();
    test_full_disk();
    test_memory();
    test_same_bytes();
    return tap_done();
}
