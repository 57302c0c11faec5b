/* test_table_writer.c: one table in every format is read back as the same fields; files are
 * replaced whole or not at all. */
#include "tests/data_help.h"

#include "data/table_reader.h"
#include "data/table_writer.h"

static const struct table_column columns[] = {{"id", TABLE_TEXT, false},
                                              {"p, \"E\"", TABLE_FLOAT, true},
                                              {"stage", TABLE_INTEGER, false}};
static const struct row {
    const char *id;
    float p;
    int stage;
} rows[] = {{"1", 0.1f, 1},       {"a,b", NAN, -7},
            {"say \"no\"", 0, 0}, {"line\nbreak", 1e-30f, 2147483647},
            {"tab\there", 1, 3},  {"充電器", 0.333333343f, -2147483647}};
enum { ROWS = sizeof rows / sizeof *rows };

static medley_status write_table(const char *path, const char *format, size_t n,
                                 medley_error *err)
{
    struct table_writer *w = NULL;
    medley_status st = table_writer_open(path, format, columns, 3, &w, err);
    for (size_t i = 0; i < n && !st; i++) {
        table_put_text(w, str_of(rows[i].id));
        table_put_real(w, rows[i].p);
        table_put_integer(w, rows[i].stage);
        st = table_writer_row(w, err);
    }
    if (!st)
        st = table_writer_commit(w, err);
    table_writer_free(w);
    return st;
}

static bool same(const struct table *t, const size_t column[3], const struct row *r)
{
    double p = 0;
    int64_t stage;
    struct str text = table_field(t, column[1]);
    bool real = isnan(r->p) ? text.n == 0 : str_to_double(text, &p) && (float)p == r->p;
    return str_is(table_field(t, column[0]), r->id) && real &&
           str_to_i64(table_field(t, column[2]), &stage) && stage == r->stage;
}

static void test_format(const char *name)
{
    char path[256];
    struct table *t = NULL;
    size_t column[3], n = 0, wrong = 0;
    bool more = true;
    medley_error err = {0};
    snprintf(path, sizeof path, "%s/x.%s", tap_folder(), name);
    medley_status st = write_table(path, NULL, ROWS, &err);
    st = st ? st : table_open(path, &t, &err);
    for (int i = 0; i < 3 && !st; i++)
        st = table_require(t, columns[i].name, &column[i], &err);
    while (!st && !(st = table_next(t, &more, &err)) && more)
        wrong += n >= ROWS || !same(t, column, &rows[n]), n++;
    ok(!st && n == ROWS && wrong == 0, "%s: the fields that were written%s%s", name,
       st ? ": " : "", st ? err.message : "");
    table_close(t);
}

static void test_choice(void)
{
    const char *folder = tap_folder();
    char *text = NULL;
    size_t n;
    medley_error err = {0};
    ok(write_table(at(folder, "x.parquet"), "csv", 1, &err) == MEDLEY_OK &&
           file_read(at(folder, "x.parquet"), 1000, &text, &n, &err) == MEDLEY_OK,
       "a format by name");
    is_text(text, "id,\"p, \"\"E\"\"\",stage\n1,0.100000001,1\n", "wins over the ending");
    mem_free(text);
    ok(write_table(at(folder, "x"), NULL, 1, &err) == MEDLEY_OK &&
           file_read(at(folder, "x"), 1000, &text, &n, &err) == MEDLEY_OK &&
           strncmp(text, "id,", 3) == 0,
       "no ending is CSV");
    mem_free(text);
    ok(write_table(at(folder, "x"), "xlsx", 1, &err) == MEDLEY_EINVAL, "no such format: %s",
       err.message);
    for (const char *const *name = (const char *const[]){"csv", "parquet", NULL}; *name; name++)
        ok(table_format_known(*name) && strstr(table_formats(), *name), "%s is known", *name);
}

/* Rows that do not fit leave the old file. */
static void test_whole(void)
{
    const char *path = put(tap_folder(), "x.parquet", "old");
    struct table_writer *w = NULL;
    medley_error err = {0};
    char *text = NULL;
    size_t n;
    medley_status st = table_writer_open(path, NULL, columns, 3, &w, &err);
    if (!st) {
        table_put_text(w, STR("a\xff"));
        table_put_real(w, 1);
        table_put_integer(w, 1);
        st = table_writer_row(w, &err);
    }
    table_writer_free(w);
    ok(st == MEDLEY_EINVAL && file_read(path, 100, &text, &n, &err) == MEDLEY_OK &&
           strcmp(text, "old") == 0,
       "a table that fails leaves the old file");
    mem_free(text);
    ok(write_table("/nonexistent/x.csv", NULL, 1, &err) == MEDLEY_EIO, "no such folder: %s",
       err.message);
}

static void test_memory(void)
{
    const char *folder = tap_folder();
    static const char *const names[] = {"x.csv", "x.jsonl", "x.parquet"};
    for (size_t i = 0; i < 3; i++) {
        medley_error err;
        size_t n = 0, failures = 0;
        char path[256];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        for (;; n++) {
            mem_fail_after(n);
            medley_status st = write_table(path, NULL, 3, &err);
            mem_fail_after(SIZE_MAX);
            if (st == MEDLEY_OK || n == 1000)
                break;
            failures += st != MEDLEY_ENOMEM;
        }
        ok(failures == 0 && n < 1000, "%s: each of %zu allocations may fail", names[i], n);
    }
}

int main(void)
{
    static const char *const names[] = {"csv", "tsv", "jsonl", "parquet"};
    for (size_t i = 0; i < 4; i++)
        test_format(names[i]);
    test_choice();
    test_whole();
    test_memory();
    return tap_done();
}
