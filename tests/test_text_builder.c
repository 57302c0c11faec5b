/* test_text_builder.c: columns of strings, in memory and spilled into a file: the same texts
 * come back, whatever the disk says, and pages given back are read again. */
#include "base/memory.h"
#include "base/safetensors.h"
#include "data/text_builder.h"
#include "tests/tap.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { ROWS = 3000, LONGEST = 80000 }; /* 100 MB: past TEXT_SPILL_AT */

static size_t length_of(size_t row)
{
    return row % 7 == 0 ? 0 : row * 7919 % LONGEST;
}

static char byte_of(size_t row)
{
    return (char)('a' + row % 26);
}

static bool add_rows(struct text_builder *b, size_t from, size_t to)
{
    static char text[LONGEST];
    bool good = true;
    for (size_t row = from; row < to && good; row++) {
        memset(text, byte_of(row), length_of(row));
        good = text_add(b, (struct str){text, length_of(row)});
    }
    return good;
}

/* Rows that are not as they were added. */
static size_t wrong_rows(const struct text_builder *b)
{
    size_t wrong = 0;
    struct str_column c = text_column(b);
    for (size_t row = 0; row < b->n; row++) {
        const char *s = c.bytes + c.offsets[row];
        size_t n = (size_t)(c.offsets[row + 1] - c.offsets[row]);
        bool same = n == length_of(row);
        for (size_t i = 0; same && i < n; i++)
            same = s[i] == byte_of(row);
        wrong += !same;
    }
    return wrong;
}

static void test_spill(const char *folder)
{
    struct text_builder b = {.spill = folder};
    ok(add_rows(&b, 0, 10) && !b.spilled, "a little stays in memory");
    ok(add_rows(&b, 10, ROWS), "100 MB are added");
    ok(b.spilled && b.given_back > 0, "and spilled; %zu MB were given back",
       b.given_back >> 20);
    ok(wrong_rows(&b) == 0, "all rows come back");

    char path[256];
    medley_error err;
    struct st_writer *w = st_writer_new();
    struct st_file *f = NULL;
    snprintf(path, sizeof path, "%s/texts.safetensors", folder);
    st_writer_add(w, "bytes", ST_U8, 1, (uint64_t[]){text_bytes(&b)}, b.bytes);
    st_writer_mapped(w);
    ok(st_writer_commit(w, path, &err) == MEDLEY_OK && st_open(path, &f, &err) == MEDLEY_OK,
       "written");
    const struct st_entry *e = st_find(f, "bytes");
    ok(e && e->bytes == text_bytes(&b) && memcmp(e->data, b.bytes, e->bytes) == 0,
       "the file has them all");
    ok(wrong_rows(&b) == 0, "so has the column still");
    st_close(f);
    st_writer_free(w);
    text_deinit(&b);
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
}

static void test_refused(const char *folder)
{
    struct text_builder nowhere = {.spill = "/nonexistent/folder"};
    ok(add_rows(&nowhere, 0, ROWS) && !nowhere.spilled && wrong_rows(&nowhere) == 0,
       "no such folder: in memory");
    text_deinit(&nowhere);

    signal(SIGXFSZ, SIG_IGN);
    limit_files((rlim_t)1 << 20);
    struct text_builder none = {.spill = folder};
    ok(add_rows(&none, 0, ROWS) && !none.spilled && wrong_rows(&none) == 0,
       "a disk without room: in memory");
    text_deinit(&none);

    limit_files((rlim_t)TEXT_SPILL_AT + (64 << 20));
    struct text_builder some = {.spill = folder};
    bool good = add_rows(&some, 0, ROWS);
    bool began = some.spilled;
    good = good && add_rows(&some, ROWS, 2 * ROWS); /* which the file does not hold */
    ok(good && began && !some.spilled && wrong_rows(&some) == 0,
       "a disk that fills: back into memory");
    text_deinit(&some);
    limit_files(RLIM_INFINITY);
}

int main(void)
{
    test_spill(tap_folder());
    test_refused(tap_folder());
    return tap_done();
}
