/* replay.c: a fuzz target without a fuzzer: runs it over the files of a folder, and over each of
 * them cut short and with bytes changed, always in the same way. So every target is built and
 * run with the tests, by any compiler; what it finds, the sanitizers say.
 *
 *   replay_TARGET FOLDER [CHANGES]      CHANGES of each kind to a file [100] */
#include "base/file.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/str.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A copy of its own size, so that AddressSanitizer sees a read past its end. */
static void run(const char *data, size_t n)
{
    uint8_t *copy = mem_alloc(n + !n, 1);
    if (!copy)
        exit(1);
    memcpy(copy, data, n);
    LLVMFuzzerTestOneInput(copy, n);
    mem_free(copy);
}

static void run_changed(char *data, size_t n, size_t changes, struct rng *r)
{
    run(data, n);
    for (size_t i = 0; i < changes && n; i++)
        run(data, rng_below(r, (uint32_t)n));
    for (size_t i = 0; i < changes && n; i++) {
        size_t at = rng_below(r, (uint32_t)n);
        char was = data[at];
        data[at] = (char)(i % 2 ? was ^ 1 << rng_below(r, 8) : (int)rng_below(r, 256));
        run(data, n);
        data[at] = was;
    }
}

int main(int argc, char **argv)
{
    size_t changes = argc > 2 ? strtoul(argv[2], NULL, 10) : 100, files = 0;
    DIR *folder = argc > 1 ? opendir(argv[1]) : NULL;
    struct rng r;
    if (!folder) {
        fprintf(stderr, "usage: %s FOLDER [CHANGES]\n", argv[0]);
        return 2;
    }
    rng_init(&r, 1, 0);
    for (const struct dirent *e; (e = readdir(folder));) {
        struct strbuf path;
        char *data;
        size_t n;
        medley_error err;
        if (e->d_name[0] == '.')
            continue;
        sb_init(&path);
        sb_addf(&path, "%s/%s", argv[1], e->d_name);
        if (path.failed || file_read(path.s, (size_t)1 << 24, &data, &n, &err)) {
            fprintf(stderr, "%s: %s\n", argv[0], path.failed ? "out of memory" : err.message);
            return 1;
        }
        run_changed(data, n, changes, &r);
        mem_free(data);
        sb_deinit(&path);
        files++;
    }
    closedir(folder);
    printf("%zu files\n", files);
    return files == 0;
}
