/* test_base_file.c: reading, mapping, atomic replacement, folders, hashes. */
#include "base/file.h"
#include "base/memory.h"
#include "tests/tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

static char path[512];

static const char *at(const char *folder, const char *name)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int entries_in(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

static bool holds(const char *file, const char *wanted)
{
    char *data;
    size_t n;
    if (file_read(file, 1 << 20, &data, &n, NULL))
        return false;
    bool same = n == strlen(wanted) && memcmp(data, wanted, n + 1) == 0;
    mem_free(data);
    return same;
}

static void test_reading(const char *folder)
{
    medley_error err;
    char *data = NULL;
    size_t n = 0;
    struct mapping m;
    ok(file_write(at(folder, "a"), "hello", 5, &err) == MEDLEY_OK && holds(path, "hello"),
       "what is written is read, and terminated");
    ok(file_read(path, 4, &data, &n, &err) == MEDLEY_EFORMAT && !data,
       "above the limit: refused");
    ok(file_read(path, 5, &data, &n, &err) == MEDLEY_OK && n == 5, "at the limit: read");
    mem_free(data);
    ok(mapping_open(path, &m, &err) == MEDLEY_OK && m.n == 5 && memcmp(m.data, "hello", 5) == 0,
       "mapping");
    mapping_close(&m);
    file_write(at(folder, "empty"), NULL, 0, &err);
    ok(holds(path, ""), "an empty file");
    ok(mapping_open(path, &m, &err) == MEDLEY_OK && !m.data && m.n == 0, "mapping of nothing");
    mapping_close(&m);
    ok(file_read(at(folder, "absent"), 9, &data, &n, &err) == MEDLEY_ENOTFOUND &&
           strstr(err.message, path),
       "absent: %s", err.message);
    ok(file_read(folder, 9, &data, &n, &err) == MEDLEY_EIO &&
           mapping_open(folder, &m, &err) == MEDLEY_EIO,
       "a folder: %s", err.message);
    ok(file_exists(at(folder, "a")) && !file_exists(folder) && folder_exists(folder) &&
           !folder_exists(path),
       "file_exists, folder_exists");
    for (size_t k = 0; k < 3; k++) {
        mem_fail_after(k);
        medley_status st = file_read(at(folder, "a"), 9, &data, &n, &err);
        mem_fail_after(SIZE_MAX);
        ok(k ? st == MEDLEY_OK : st == MEDLEY_ENOMEM, "reading, allocation %zu fails: %d", k,
           st);
        if (st == MEDLEY_OK)
            mem_free(data);
    }
}

static void test_replacing(const char *folder)
{
    medley_error err;
    struct outfile o;
    char file[600];
    snprintf(file, sizeof file, "%s/r", folder);
    file_write(file, "old", 3, &err);
    int before = entries_in(folder);
    ok(outfile_open(&o, file, &err) == MEDLEY_OK, "open");
    fputs("new", o.f);
    fflush(o.f);
    ok(holds(file, "old") && entries_in(folder) == before + 1,
       "until commit the old file is whole");
    outfile_abort(&o);
    outfile_abort(&o);
    ok(holds(file, "old") && entries_in(folder) == before, "abort leaves nothing behind");
    outfile_open(&o, file, &err);
    fputs("new", o.f);
    ok(outfile_commit(&o, &err) == MEDLEY_OK && holds(file, "new"), "commit replaces");
    outfile_abort(&o);
    ok(holds(file, "new") && entries_in(folder) == before, "abort after commit does nothing");

    struct outfile first, second;
    outfile_open(&first, file, &err);
    outfile_open(&second, file, &err);
    fputs("1", first.f);
    fputs("2", second.f);
    ok(outfile_commit(&first, &err) == MEDLEY_OK && holds(file, "1") &&
           outfile_commit(&second, &err) == MEDLEY_OK && holds(file, "2"),
       "two writers of one path do not mix");

    outfile_open(&o, file, &err);
    fputs("lost", o.f);
    int full = open("/dev/full", O_WRONLY);
    if (full >= 0) {
        dup2(full, fileno(o.f));
        close(full);
        ok(outfile_commit(&o, &err) == MEDLEY_EIO && holds(file, "2") &&
               entries_in(folder) == before,
           "a full disk leaves the old file: %s", err.message);
    }
    outfile_abort(&o);
    ok(outfile_open(&o, at(folder, "no/such/x"), &err) == MEDLEY_EIO && !o.f, "%s",
       err.message);
    size_t faults = 0;
    for (size_t n = 0; n < 8; n++) {
        mem_fail_after(n);
        faults += file_write(file, "3", 1, &err) == MEDLEY_ENOMEM;
        mem_fail_after(SIZE_MAX);
    }
    ok(faults >= 2 && entries_in(folder) == before, "%zu failed allocations, no file left",
       faults);
}

static void test_folders(const char *folder)
{
    medley_error err;
    char deep[600], inside[700];
    snprintf(deep, sizeof deep, "%s/x/y//z/", folder);
    ok(make_folders(deep, &err) == MEDLEY_OK && folder_exists(deep), "make_folders");
    ok(make_folders(deep, &err) == MEDLEY_OK, "again");
    snprintf(inside, sizeof inside, "%sf", deep);
    file_write(inside, "1", 1, &err);
    ok(make_folders(inside, &err) == MEDLEY_EIO, "%s", err.message);
    snprintf(inside, sizeof inside, "%s/link", folder);
    ok(symlink(folder, inside) == 0 && remove_tree(inside, &err) == MEDLEY_OK &&
           folder_exists(deep),
       "removing a link leaves what it points to");
    ok(remove_tree(at(folder, "x"), &err) == MEDLEY_OK && !folder_exists(path), "remove_tree");
    ok(remove_tree(path, &err) == MEDLEY_OK, "removing what is absent");

    static const char *const joins[][3] = {{"a", "b", "a/b"},
                                           {"a/", "b", "a/b"},
                                           {"a", "/b", "/b"},
                                           {"", "b", "b"},
                                           {"a", "", "a"}};
    for (size_t i = 0; i < 5; i++) {
        char *joined = path_join(joins[i][0], joins[i][1]);
        is_text(joined, joins[i][2], "path_join");
        mem_free(joined);
    }
}

static void test_hashes(const char *folder)
{
    struct hash128 zero = {0, 0}, a = hash_bytes("hello", 5, zero), b = zero;
    char text[33], other[33];
    medley_error err;
    ok(hash_file(at(folder, "a"), &b, &err) == MEDLEY_OK && a.low == b.low && a.high == b.high,
       "a file hashes as its bytes");
    struct hash128 ab = hash_bytes("b", 1, hash_bytes("a", 1, zero));
    struct hash128 ba = hash_bytes("a", 1, hash_bytes("b", 1, zero));
    ok(ab.low != ba.low && ab.high != ba.high, "order matters in a chain");
    hash_text(a, text);
    hash_text(ab, other);
    ok(strlen(text) == 32 && strspn(text, "0123456789abcdef") == 32 && strcmp(text, other) != 0,
       "hash_text: %s", text);
    b = zero;
    ok(hash_file(at(folder, "absent"), &b, &err) == MEDLEY_ENOTFOUND && b.low == 0, "no file");

    size_t n = (1 << 18) * 3 + 7; /* several parts */
    char *large = mem_zalloc(n, 1);
    large[n - 1] = 1;
    file_write(at(folder, "large"), large, n, &err);
    a = hash_bytes(large, n, zero);
    ok(hash_file(path, &b, &err) == MEDLEY_OK && a.low == b.low, "a large file");
    mem_free(large);
}

int main(void)
{
    const char *folder = tap_folder();
    test_reading(folder);
    test_replacing(folder);
    test_folders(folder);
    test_hashes(folder);
    ok(remove_tree(folder, NULL) == MEDLEY_OK, "clean up");
    return tap_done();
}
