/* test_parquet.c: files that Arrow wrote give the values that Arrow reads (tests/data/parquet,
 * all encodings, codecs and page versions between them), as columns and as rows of a table;
 * what is not read is refused by name; damaged files are refused or read, never more. */
#include "tests/data_help.h"

#include "base/rng.h"
#include "data/table_reader.h"
#include "parquet/encodings.h"
#include "parquet/parquet.h"

#define DATA "tests/data/parquet/"

static const char *const whole[] = {"dictionary", "plain",    "delta",
                                    "empty",      "decimals", "fastparquet"};
enum { N_WHOLE = sizeof whole / sizeof *whole };

/* ---- values ---- */

static const char *path_of(const char *name, const char *ending)
{
    static char path[128];
    snprintf(path, sizeof path, DATA "%s.%s", name, ending);
    return path;
}

/* The next field of the expected table, its escapes undone in place; NULL at the end. */
static char *next_expected(char **at)
{
    char *field = *at, *to = field, *from = field;
    if (!*field)
        return NULL;
    for (; *from != '\t' && *from != '\n'; from++)
        if (*from == '\\') {
            from++;
            *to++ = (char)(*from == 't' ? '\t' : *from == 'n' ? '\n' : *from);
        } else {
            *to++ = *from;
        }
    *at = from + 1;
    *to = 0;
    return field;
}

/* \N stands for null, an empty field of a table. */
static bool same(const char *name, struct str got, const char *raw, const char *wanted)
{
    if (strncmp(raw, "\\N", 2) == 0)
        return got.n == 0;
    if (strcmp(name, "f32") ==
        0) { /* written in the shortest form of a float, not of a double */
        double a;
        return str_to_double(got, &a) && (float)a == strtof(wanted, NULL);
    }
    return str_is(got, wanted);
}

static void test_values(const char *name)
{
    struct table *t = NULL;
    medley_error err = {0};
    char *text, *at;
    size_t n, wrong = 0, fields = 0;
    bool more = true;
    if (file_read(path_of(name, "tsv"), 1 << 20, &text, &n, &err) ||
        table_open(path_of(name, "parquet"), &t, &err)) {
        ok(0, "%s: %s", name, err.message);
        return;
    }
    at = strchr(text, '\n') + 1;
    while (table_next(t, &more, &err) == MEDLEY_OK && more)
        for (size_t i = 0; i < table_columns(t); i++, fields++) {
            char raw[3] = {0};
            memcpy(raw, at, strnlen(at, 2));
            char *wanted = next_expected(&at);
            if (!wanted || !same(table_column_name(t, i).s, table_field(t, i), raw, wanted)) {
                struct str got = table_field(t, i);
                if (!wrong++)
                    printf("# row %llu, %s: got %.*s, wanted %s\n",
                           (unsigned long long)table_line(t), table_column_name(t, i).s,
                           (int)got.n, got.s, wanted ? wanted : "no more rows");
            }
        }
    ok(!more && wrong == 0 && *at == 0, "%s: %zu fields as Arrow reads them", name, fields);
    table_close(t);
    mem_free(text);
}

static void test_projection(void)
{
    struct table *t;
    medley_error err;
    bool more;
    size_t column;
    if (table_open(DATA "nested.parquet", &t, &err)) {
        ok(0, "%s", err.message);
        return;
    }
    ok(table_require(t, "id", &column, &err) == MEDLEY_OK &&
           table_next(t, &more, &err) == MEDLEY_OK && more &&
           str_is(table_field(t, column), "a"),
       "flat columns beside nested ones are read");
    table_close(t);
    table_open(DATA "nested.parquet", &t, &err);
    table_find(t, "size.w");
    ok(table_next(t, &more, &err) == MEDLEY_EUNSUPPORTED &&
           strstr(err.message, "column 'size.w' is nested"),
       "a nested one is refused by name");
    table_close(t);
    table_open(DATA "nested.parquet", &t, &err);
    ok(table_require(t, "brand", &column, &err) == MEDLEY_EFORMAT &&
           strstr(err.message, "no column 'brand' (found: id, tags.list.element"),
       "a column that is not there: %s", err.message);
    table_close(t);
}

static void copy(const char *from, const char *folder, const char *name)
{
    char *data;
    size_t n;
    medley_error err;
    if (file_read(from, 1 << 20, &data, &n, &err) == MEDLEY_OK)
        put_bytes(folder, name, data, n);
    mem_free(data);
}

static void test_parts(void)
{
    const char *folder = tap_folder();
    struct table *t;
    struct hash128 before = {0, 0}, after = {0, 0};
    medley_error err;
    bool more = true;
    size_t rows = 0, column;
    copy(DATA "plain.parquet", folder, "part-1.parquet");
    copy(DATA "dictionary.parquet", folder, "part-0.parquet");
    put(folder, "_SUCCESS", "");
    put(folder, "_metadata.parquet", "not one");
    if (table_open(folder, &t, &err)) {
        ok(0, "%s", err.message);
        return;
    }
    table_require(t, "i32", &column, &err);
    for (; table_next(t, &more, &err) == MEDLEY_OK && more; rows++)
        if (rows == 0)
            ok(str_is(table_field(t, column), "-115153665") && !table_field(t, 0 + !column).n,
               "the first part by name; columns that nobody asked for are empty");
    ok(rows == 120 && !more && strstr(table_path(t), "part-1.parquet") && table_line(t) == 60,
       "all parts; messages name the part and its row");
    table_close(t);
    table_hash(folder, &before, &err);
    copy(DATA "nested.parquet", folder, "part-2.parquet");
    table_hash(folder, &after, &err);
    ok(before.low != after.low, "another part, another hash");
    table_open(folder, &t, &err);
    table_require(t, "i32", &column, &err);
    medley_status st = MEDLEY_OK;
    for (more = true; !st && more;)
        st = table_next(t, &more, &err);
    ok(st == MEDLEY_EFORMAT && strstr(err.message, "part-2.parquet: no column 'i32'"),
       "a part without a column: %s", err.message);
    table_close(t);
}

/* ---- encodings ---- */

static void test_runs(void)
{
    /* 5 times the value 300 (9 bits), then one packed group of 9-bit values 0..7 */
    uint8_t bytes[2 + 1 + 1 + 9 + 1] = {5 << 1, 300 & 255, 300 >> 8, 1 << 1 | 1};
    for (unsigned i = 0; i < 8; i++)
        for (unsigned b = 0; b < 9; b++)
            bytes[4 + (i * 9 + b) / 8] |= (uint8_t)((i >> b & 1) << (i * 9 + b) % 8);
    struct hybrid h = hybrid_open(bytes, bytes + 13, 9);
    uint32_t out[13], value;
    uint64_t run;
    bool good =
        hybrid_run(&h, &run, &value) && run == 5 && value == 300 && hybrid_read(&h, out, 13);
    for (unsigned i = 0; i < 13; i++)
        good &= out[i] == (i < 5 ? 300 : i - 5);
    ok(good && !hybrid_read(&h, out, 1), "runs of equal and of packed values, and their end");
    h = hybrid_open(bytes, bytes + 12, 9);
    ok(hybrid_read(&h, out, 12) && !hybrid_read(&h, out, 1),
       "a packed group without its last byte");
}

/* A claim of 2^58 values, whose bits would come to 2^64, must not hide that the bytes end. */
static void test_huge_delta(void)
{
    static const uint8_t bytes[] = {128,  1, /* a block of 128 values */
                                    1,       /* in one miniblock */
                                    0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                                    4,  /* 2^58 values and the first */
                                    0,  /* which is 0 */
                                    0,  /* the least delta */
                                    64, /* bits of each */
                                    1,    2,    3,    4,    5,    6,    7,    8};
    uint8_t *exact = mem_alloc(sizeof bytes, 1);
    int64_t out[64];
    struct delta d;
    memcpy(exact, bytes, sizeof bytes);
    ok(delta_open(&d, exact, exact + sizeof bytes) && !delta_read(&d, out, 64),
       "a miniblock that ends before the values it claims");
    mem_free(exact);
}

/* ---- faults ---- */

/* Reads all there is: the number of values, or an error of those that damage may give. */
static bool reads_or_refuses(const uint8_t *data, size_t n)
{
    struct parquet_file *f = NULL;
    medley_error err = {0};
    medley_status st = parquet_open_bytes(data, n, "x.parquet", &f, &err);
    for (size_t i = 0; !st && i < parquet_meta(f)->n_leaves; i++) {
        struct parquet_column *c = NULL;
        struct parquet_batch b = {.n = 1};
        st = parquet_column_open(f, i, &c, &err);
        for (size_t calls = 0; !st && b.n && calls < 100; calls++)
            st = parquet_column_next(c, PARQUET_BATCH, &b, &err);
        parquet_column_close(c);
    }
    parquet_close(f);
    return st == MEDLEY_OK || ((st == MEDLEY_EFORMAT || st == MEDLEY_EUNSUPPORTED) &&
                               strncmp(err.message, "x.parquet: ", 11) == 0);
}

static void test_damage(const char *name)
{
    char *data;
    size_t n, bad = 0;
    medley_error err;
    struct rng rng;
    rng_init(&rng, 1, 0);
    if (file_read(path_of(name, "parquet"), 1 << 20, &data, &n, &err))
        return;
    uint8_t *part = mem_alloc(n, 1); /* a block of its own, so that reading past it is found */
    for (size_t cut = 0; cut < n; cut += 1 + n / 300) {
        uint8_t *exact = mem_alloc(cut, 1);
        memcpy(exact, data, cut);
        bad += !reads_or_refuses(exact, cut);
        mem_free(exact);
    }
    for (int i = 0; i < 3000; i++) {
        memcpy(part, data, n);
        for (int k = 0; k < 1 + i % 3; k++)
            part[rng_below(&rng, (uint32_t)n)] ^= (uint8_t)(1u << rng_below(&rng, 8));
        bad += !reads_or_refuses(part, n);
    }
    ok(bad == 0, "%s: cut short anywhere, bits flipped", name);
    mem_free(part);
    mem_free(data);
}

static void test_checksum(void)
{
    char *data;
    size_t n;
    medley_error err;
    struct parquet_file *f = NULL;
    struct parquet_column *c = NULL;
    struct parquet_batch b;
    if (file_read(DATA "dictionary.parquet", 1 << 20, &data, &n, &err))
        return;
    data[60] ^= 1; /* within the first page */
    medley_status st = parquet_open_bytes((uint8_t *)data, n, "x.parquet", &f, &err);
    st = st ? st : parquet_column_open(f, 0, &c, &err);
    st = st ? st : parquet_column_next(c, 10, &b, &err);
    is_text(st == MEDLEY_EFORMAT ? err.message : "",
            "x.parquet: column 'i32', row group 0: the checksum of a page does not fit",
            "checksums are checked");
    parquet_column_close(c);
    parquet_close(f);
    mem_free(data);
}

static void test_refusals(void)
{
    struct parquet_file *f = NULL;
    struct parquet_column *c = NULL;
    struct parquet_batch b;
    medley_error err;
    const char *folder = tap_folder();
    if (!parquet_open(DATA "lz4.parquet", &f, &err) && !parquet_column_open(f, 0, &c, &err))
        ok(parquet_column_next(c, 1, &b, &err) == MEDLEY_EUNSUPPORTED &&
               strstr(err.message, "column 'id' is compressed with LZ4"),
           "another codec: %s", err.message);
    parquet_column_close(c);
    parquet_close(f);
    const char *path = put(folder, "text.parquet", "example_id,query\n1,usb cable\n");
    ok(parquet_open(path, &f, &err) == MEDLEY_EFORMAT &&
           says(&err, folder,
                "text.parquet: not a whole Parquet file: it must begin and end with PAR1"),
       "a CSV file under that name");
}

static void test_memory(void)
{
    size_t failures = 0;
    medley_error err;
    for (size_t n = 0; n < 10000; n++) {
        struct table *t = NULL;
        bool more = true;
        mem_fail_after(n);
        medley_status st = table_open(DATA "delta.parquet", &t, &err);
        while (!st && more)
            st = table_next(t, &more, &err);
        table_close(t);
        mem_fail_after(SIZE_MAX);
        if (st == MEDLEY_OK)
            break;
        if (st != MEDLEY_ENOMEM && !failures++)
            printf("# allocation %zu: %s\n", n, err.message);
        if (n == 9999)
            failures++;
    }
    ok(failures == 0, "every allocation may fail");
}

int main(void)
{
    test_runs();
    test_huge_delta();
    for (int i = 0; i < N_WHOLE; i++)
        test_values(whole[i]);
    test_projection();
    test_parts();
    for (int i = 0; i < N_WHOLE; i++)
        test_damage(whole[i]);
    test_checksum();
    test_refusals();
    test_memory();
    return tap_done();
}
