/* bench_tokenize.c: how long a tokenizer takes for the lines of a file, on one thread:
 * `bench_tokenize TOKENIZER FILE [RUNS]` prints one JSON object. Without arguments: nothing (it
 * is one side of bench/peers/tokenize.py). */
#include "base/cpu.h"
#include "base/file.h"
#include "base/memory.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static size_t encode_lines(const struct tokenizer *t, const char *data, size_t n,
                           struct tokens *out)
{
    size_t tokens = 0;
    for (size_t at = 0; at < n;) {
        const char *stop = memchr(data + at, '\n', n - at);
        size_t end = stop ? (size_t)(stop - data) : n;
        out->n = 0;
        tokenizer_encode(t, (struct str){data + at, end - at}, out);
        tokens += out->n;
        at = end + 1;
    }
    return tokens;
}

int main(int argc, char **argv)
{
    struct tokenizer *t = NULL;
    char *data = NULL;
    size_t n = 0, tokens = 0;
    medley_error err;
    if (argc < 3)
        return 0;
    if (tokenizer_load(argv[1], &t, &err) ||
        file_read(argv[2], (size_t)1 << 30, &data, &n, &err)) {
        fprintf(stderr, "bench_tokenize: %s\n", err.message);
        return 1;
    }
    double best = 1e9;
    for (int run = 0; run < (argc > 3 ? atoi(argv[3]) : 5); run++) {
        struct tokens out = {0}; /* a cold cache every time */
        double start = cpu_seconds();
        tokens = encode_lines(t, data, n, &out);
        double took = cpu_seconds() - start;
        best = took < best ? took : best;
        tokens_deinit(&out);
    }
    printf("{\"seconds\": %.6f, \"tokens\": %zu, \"bytes\": %zu}\n", best, tokens, n);
    mem_free(data);
    tokenizer_free(t);
    return 0;
}
