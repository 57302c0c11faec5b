/* text_reader.c: lines, words and strict numbers of model files. Proof:
 * tests/test_gbdt_file.c, tests/test_gbdt_lightgbm.c. */
#include "gbdt/text_reader.h"

#include "base/error.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

medley_status reader_within(struct reader *r)
{
    return fail_within(r->err, MEDLEY_EFORMAT, "%s:%zu", r->path, r->line);
}

medley_status reader_bad(struct reader *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfail(r->err, MEDLEY_EFORMAT, format, args);
    va_end(args);
    return reader_within(r);
}

medley_status reader_unsupported(struct reader *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfail(r->err, MEDLEY_EUNSUPPORTED, format, args);
    va_end(args);
    return fail_within(r->err, MEDLEY_EUNSUPPORTED, "%s:%zu: not supported", r->path, r->line);
}

medley_status reader_line(struct reader *r)
{
    r->line++;
    const char *end = r->rest.n ? memchr(r->rest.s, '\n', r->rest.n) : NULL;
    if (!end)
        return reader_bad(r, "truncated");
    r->text = (struct str){r->rest.s, (size_t)(end - r->rest.s)};
    r->rest = (struct str){end + 1, r->rest.n - r->text.n - 1};
    return MEDLEY_OK;
}

bool str_starts(struct str s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && memcmp(s.s, prefix, n) == 0;
}

int shown(struct str s)
{
    return (int)(s.n < 40 ? s.n : 40);
}

medley_status reader_key(struct reader *r, const char *key)
{
    size_t n = strlen(key);
    medley_status st = reader_line(r);
    if (st != MEDLEY_OK)
        return st;
    if (!str_starts(r->text, key) || r->text.n == n || r->text.s[n] != '=')
        return reader_bad(r, "'%.*s' where '%s=' should be", shown(r->text), r->text.s, key);
    r->text = (struct str){r->text.s + n + 1, r->text.n - n - 1};
    return MEDLEY_OK;
}

static struct str take_word(struct reader *r)
{
    const char *space = r->text.n ? memchr(r->text.s, ' ', r->text.n) : NULL;
    struct str word = {r->text.s, space ? (size_t)(space - r->text.s) : r->text.n};
    size_t used = word.n + (space ? 1 : 0);
    r->text = (struct str){r->text.s + used, r->text.n - used};
    return word;
}

medley_status reader_integer(struct reader *r, const char *key, int64_t min, int64_t max,
                             int64_t *out)
{
    struct str word = take_word(r);
    if (!str_to_i64(word, out) || *out < min || *out > max)
        return reader_bad(r, "%s: '%.*s' is not a whole number from %" PRId64 " to %" PRId64,
                          key, shown(word), word.s, min, max);
    return MEDLEY_OK;
}

medley_status reader_double(struct reader *r, const char *key, double *out)
{
    struct str word = take_word(r);
    if (!str_to_double(word, out))
        return reader_bad(r, "%s: '%.*s' is not a finite number", key, shown(word), word.s);
    return MEDLEY_OK;
}

medley_status reader_float(struct reader *r, const char *key, double *out)
{
    struct str word = r->text;
    medley_status st = reader_double(r, key, out);
    word.n -= r->text.n;
    if (st == MEDLEY_OK && fabs(*out) >= 3.4028235677973366e38) /* rounds to infinity */
        return reader_bad(r, "%s: '%.*s' is not a finite number", key, shown(word), word.s);
    return st;
}

medley_status reader_used_up(struct reader *r, const char *key)
{
    return r->text.n == 0 ? MEDLEY_OK : reader_bad(r, "%s: more numbers than expected", key);
}

medley_status reader_count(struct reader *r, const char *key, int64_t min, int64_t max,
                           int64_t *out)
{
    medley_status st = reader_key(r, key);
    if (st == MEDLEY_OK)
        st = reader_integer(r, key, min, max, out);
    return st == MEDLEY_OK ? reader_used_up(r, key) : st;
}
