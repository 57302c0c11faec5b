/* str.c: text slices, strict numbers, growing text, strict UTF-8. Numbers mean the same under
 * every locale of the host program. Proof: tests/test_base.c. */
#include "base/str.h"

#include "base/memory.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- slices
 * ---------------------------------------------------------------------------------- */

struct str str_of(const char *z)
{
    return z ? (struct str){z, strlen(z)} : (struct str){NULL, 0};
}

bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.s, b.s, a.n) == 0);
}

bool str_is(struct str a, const char *z)
{
    return str_eq(a, str_of(z));
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str a)
{
    while (a.n && is_space(a.s[0]))
        a = (struct str){a.s + 1, a.n - 1};
    while (a.n && is_space(a.s[a.n - 1]))
        a.n--;
    return a;
}

/* ---- numbers
 * --------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool str_to_u64(struct str a, uint64_t *out)
{
    uint64_t v = 0;
    if (a.n == 0)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        if (!is_digit(a.s[i]) || __builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(a.s[i] - '0'), &v))
            return false;
    }
    *out = v;
    return true;
}

bool str_to_i64(struct str a, int64_t *out)
{
    bool negative = a.n && a.s[0] == '-';
    if (a.n && (a.s[0] == '-' || a.s[0] == '+'))
        a = (struct str){a.s + 1, a.n - 1};
    uint64_t v;
    if (!str_to_u64(a, &v) || v > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

/* A decimal number taken apart: digits * 10^exponent. */
struct decimal {
    bool negative;
    uint64_t digits; /* the first 19 significant ones */
    int exponent;
    bool exact; /* no digit was dropped */
};

/* [+-] digits [. digits] [e [+-] digits], at least one digit before or after the point. */
static bool take_decimal(struct str a, struct decimal *d)
{
    const char *p = a.s, *end = a.s + a.n;
    *d = (struct decimal){.exact = true};
    if (p < end && (*p == '-' || *p == '+'))
        d->negative = *p++ == '-';
    size_t seen = 0, significant = 0;
    for (bool fraction = false; p < end && (is_digit(*p) || (*p == '.' && !fraction)); p++) {
        if (*p == '.') {
            fraction = true;
            continue;
        }
        seen++;
        if (significant < 19) {
            d->digits = d->digits * 10 + (uint64_t)(*p - '0');
            significant += d->digits > 0;
            d->exponent -= fraction;
        } else {
            d->exact = d->exact && *p == '0';
            d->exponent += !fraction;
        }
    }
    if (seen == 0)
        return false;
    if (p < end && (*p == 'e' || *p == 'E')) {
        int64_t e;
        if (!str_to_i64((struct str){p + 1, (size_t)(end - p) - 1}, &e))
            return false;
        d->exponent += e > 100000 ? 100000 : e < -100000 ? -100000 : (int)e;
        p = end;
    }
    return p == end;
}

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

locale_t c_locale_enter(void)
{
    pthread_once(&c_locale_once, make_c_locale);
    return uselocale(c_locale); /* changes nothing when there is none */
}

void c_locale_leave(locale_t before)
{
    uselocale(before);
}

bool str_to_double(struct str a, double *out)
{
    static const double power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    struct decimal d;
    char text[512]; /* longer numbers are refused */
    if (a.n == 0 || a.n >= sizeof text || !take_decimal(a, &d))
        return false;
    /* Both factors exact in a double: one rounding, so the result is right (Clinger 1990). */
    if (d.exact && d.digits <= (uint64_t)1 << 53 && d.exponent >= -22 && d.exponent <= 22) {
        double v = (double)d.digits;
        v = d.exponent < 0 ? v / power[-d.exponent] : v * power[d.exponent];
        *out = d.negative ? -v : v;
        return true;
    }
    pthread_once(&c_locale_once, make_c_locale);
    if (!c_locale)
        return false;
    memcpy(text, a.s, a.n);
    text[a.n] = 0;
    double v = strtod_l(text, NULL, c_locale);
    if (!isfinite(v))
        return false;
    *out = v;
    return true;
}

/* ---- growing text
 * ---------------------------------------------------------------------------- */

/* What `s` points to while nothing is owned (capacity 0); never written. */
static char nothing[1];

void sb_init(struct strbuf *b)
{
    *b = (struct strbuf){.s = nothing};
}

void sb_deinit(struct strbuf *b)
{
    if (b->capacity)
        mem_free(b->s);
    sb_init(b);
}

void sb_clear(struct strbuf *b)
{
    b->n = 0;
    if (b->capacity)
        b->s[0] = 0;
}

/* Room for n more bytes and the terminator. */
static bool sb_reserve(struct strbuf *b, size_t n)
{
    size_t need;
    if (b->failed)
        return false;
    if (__builtin_add_overflow(b->n, n, &need) || __builtin_add_overflow(need, 1, &need)) {
        b->failed = true;
        return false;
    }
    if (need <= b->capacity)
        return true;
    char *s = b->capacity ? b->s : NULL;
    if (!mem_reserve(&s, &b->capacity, need, 1)) {
        b->failed = true;
        return false;
    }
    b->s = s;
    return true;
}

void sb_add(struct strbuf *b, const char *s, size_t n)
{
    if (!sb_reserve(b, n))
        return;
    if (n)
        memcpy(b->s + b->n, s, n);
    b->n += n;
    b->s[b->n] = 0;
}

char *sb_room(struct strbuf *b, size_t n)
{
    return sb_reserve(b, n) ? b->s + b->n : NULL;
}

void sb_took(struct strbuf *b, size_t n)
{
    b->n += n;
    b->s[b->n] = 0;
}

void sb_addz(struct strbuf *b, const char *z)
{
    sb_add(b, z, strlen(z));
}

void sb_addc(struct strbuf *b, char c)
{
    sb_add(b, &c, 1);
}

void sb_addvf(struct strbuf *b, const char *format, va_list args)
{
    locale_t before = c_locale_enter();
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    if (n < 0)
        b->failed = true;
    else if (sb_reserve(b, (size_t)n)) {
        vsnprintf(b->s + b->n, (size_t)n + 1, format, again);
        b->n += (size_t)n;
    }
    va_end(again);
    c_locale_leave(before);
}

void sb_addf(struct strbuf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    sb_addvf(b, format, args);
    va_end(args);
}

struct str sb_str(const struct strbuf *b)
{
    return (struct str){b->s ? b->s : nothing, b->n};
}

char *sb_steal(struct strbuf *b)
{
    sb_reserve(b, 0); /* so that the empty text is an allocation too */
    char *s = NULL;
    if (!b->failed) {
        s = b->s;
        s[b->n] = 0;
        sb_init(b);
    } else {
        sb_deinit(b);
    }
    return s;
}

/* ---- UTF-8
 * ----------------------------------------------------------------------------------- */

size_t utf8_decode(struct str text, uint32_t *codepoint)
{
    if (text.n == 0)
        return 0;
    const unsigned char *s = (const unsigned char *)text.s;
    if (s[0] < 0x80) {
        *codepoint = s[0];
        return 1;
    }
    size_t length = s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : s[0] < 0xF5 ? 4 : 0;
    if (length == 0 || length > text.n)
        return 0;
    uint32_t c = s[0] & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3Fu);
    }
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (c < smallest[length] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return 0;
    *codepoint = c;
    return length;
}

bool utf8_valid(struct str text, size_t *bad_offset)
{
    size_t i = 0;
    while (i < text.n) {
        uint64_t eight;
        if (text.n - i >= sizeof eight) { /* product texts are mostly ASCII */
            memcpy(&eight, text.s + i, sizeof eight);
            if ((eight & 0x8080808080808080u) == 0) {
                i += sizeof eight;
                continue;
            }
        }
        uint32_t c;
        size_t used = utf8_decode((struct str){text.s + i, text.n - i}, &c);
        if (used == 0) {
            if (bad_offset)
                *bad_offset = i;
            return false;
        }
        i += used;
    }
    return true;
}

size_t utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}
