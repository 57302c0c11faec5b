/* model_damage.h: golden model files with one thing changed: what is refused, and how. */
#ifndef TESTS_MODEL_DAMAGE_H
#define TESTS_MODEL_DAMAGE_H

#include "tests/tap.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/rng.h"
#include "gbdt/model_io.h"

#define GOLDEN "tests/data/gbdt/"

struct damage {
    const char *from, *to; /* the first of `from` becomes `to` */
    medley_status status;
    const char *message; /* part of it */
};

static medley_status read_bytes(const struct model_format *format, const char *data, size_t n,
                                medley_gbdt **out, medley_error *err)
{
    char *copy = malloc(n ? n : 1); /* exactly as long, for the sanitizers */
    memcpy(copy, data, n);
    medley_status st = format->read("file", (struct str){copy, n}, out, err);
    free(copy);
    return st;
}

__attribute__((unused)) static void check_damage(const struct model_format *format,
                                                 const char *file, const struct damage *d)
{
    char *data = NULL;
    size_t n = 0;
    medley_error err = {0};
    medley_gbdt *m = NULL;
    file_read(file, 1 << 20, &data, &n, NULL);
    const char *at = data ? memmem(data, n, d->from, strlen(d->from)) : NULL;
    struct strbuf b;
    sb_init(&b);
    if (at) {
        sb_add(&b, data, (size_t)(at - data));
        sb_addz(&b, d->to);
        at += strlen(d->from);
        sb_add(&b, at, n - (size_t)(at - data));
    }
    medley_status st = at ? read_bytes(format, b.s, b.n, &m, &err) : MEDLEY_EIO;
    ok(at && st == d->status && (st == MEDLEY_OK || strstr(err.message, d->message)) &&
           (st == MEDLEY_OK || strncmp(err.message, "file", 4) == 0) &&
           (st == MEDLEY_OK) == !!m,
       "%.40s -> %.40s: %s", d->from, d->to, err.message);
    medley_gbdt_free(m);
    sb_deinit(&b);
    mem_free(data);
}

/* Every beginning of the file, some bytes changed, every allocation failing. */
__attribute__((unused)) static void check_hostile(const struct model_format *format,
                                                  const char *file, size_t whole)
{
    char *data = NULL;
    size_t n = 0, accepted = 0, wrong = 0, k = 0;
    medley_gbdt *m = NULL;
    medley_error err;
    struct rng r;
    rng_init(&r, 20260601, 0);
    file_read(file, 1 << 20, &data, &n, NULL);
    for (size_t i = 0; i < (whole < n ? whole : n); i += 1 + i / 500)
        accepted += read_bytes(format, data, i, &m, &err) == MEDLEY_OK;
    ok(n > 0 && accepted == 0, "%s: no beginning of it is a model", file);
    for (int i = 0; i < 3000; i++) {
        size_t at = rng_below(&r, (uint32_t)n);
        char old = data[at];
        data[at] = (char)(data[at] ^ (1 << rng_below(&r, 8)));
        medley_status st = read_bytes(format, data, n, &m, &err);
        wrong += st != MEDLEY_OK && st != MEDLEY_EFORMAT && st != MEDLEY_EUNSUPPORTED;
        if (st == MEDLEY_OK)
            medley_gbdt_free(m);
        data[at] = old;
    }
    ok(wrong == 0, "%s: bit flips are read or refused", file);
    medley_status st = MEDLEY_ENOMEM;
    for (; k < 5000 && st == MEDLEY_ENOMEM; k++) {
        m = NULL;
        mem_fail_after(k);
        st = read_bytes(format, data, n, &m, &err);
        mem_fail_after(SIZE_MAX);
        medley_gbdt_free(m);
    }
    ok(st == MEDLEY_OK && k > 5, "%s: each of %zu allocations may fail", file, k - 1);
    mem_free(data);
}

#endif
