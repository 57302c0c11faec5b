/* text.c: values as text, as parquet.h says. */
#include "parquet/parquet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DAY_SECONDS 86400

/* Quotient rounded down; the rest is never negative. */
static int64_t divide(int64_t a, int64_t b, int64_t *rest)
{
    int64_t q = a / b;
    *rest = a % b;
    if (*rest < 0) {
        *rest += b;
        q--;
    }
    return q;
}

/* Year, month, day of a day since 1970-01-01: Hinnant, "chrono-compatible low-level date
 * algorithms", civil_from_days. */
static void add_date(struct strbuf *out, int64_t day)
{
    int64_t of_era, era = divide(day + 719468, 146097, &of_era);
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * of_year + 2) / 153; /* months from March on */
    int64_t month = shifted < 10 ? shifted + 3 : shifted - 9;
    int64_t day_of_month = of_year - (153 * shifted + 2) / 5 + 1;
    int64_t year = year_of_era + era * 400 + (month <= 2);
    sb_addf(out, "%04lld-%02lld-%02lld", (long long)year, (long long)month,
            (long long)day_of_month);
}

static int64_t units_of_second(const struct parquet_leaf *l)
{
    if (l->physical == PHYSICAL_INT96)
        return 1000000000;
    return l->unit == UNIT_MILLIS ? 1000 : l->unit == UNIT_MICROS ? 1000000 : 1000000000;
}

/* Time of day; no fraction where it is zero. */
static void add_time(struct strbuf *out, const struct parquet_leaf *l, int64_t v)
{
    int64_t fraction, units = units_of_second(l), seconds = divide(v, units, &fraction);
    sb_addf(out, "%02lld:%02lld:%02lld", (long long)(seconds / 3600),
            (long long)(seconds / 60 % 60), (long long)(seconds % 60));
    if (fraction)
        sb_addf(out, ".%0*lld",
                units == 1000      ? 3
                : units == 1000000 ? 6
                                   : 9,
                (long long)fraction);
}

static void add_timestamp(struct strbuf *out, const struct parquet_leaf *l, int64_t v)
{
    int64_t of_day, day = divide(v, units_of_second(l) * DAY_SECONDS, &of_day);
    add_date(out, day);
    sb_addc(out, 'T');
    add_time(out, l, of_day);
    if (l->utc)
        sb_addc(out, 'Z');
}

static void add_real(struct strbuf *out, const struct parquet_leaf *l, double v)
{
    bool single = l->physical == PHYSICAL_FLOAT, same = false;
    size_t start = out->n;
    for (int digits = single ? 6 : 15; !same && digits <= 17 && !out->failed; digits++) {
        out->n = start;
        sb_addf(out, "%.*g", digits, v);
        if (out->failed)
            return;
        locale_t before = c_locale_enter();
        same = single ? strtof(out->s + start, NULL) == (float)v
                      : strtod(out->s + start, NULL) == v;
        c_locale_leave(before);
        same |= isnan(v);
    }
}

/* Digits of a decimal with a point before the last `scale`. */
static void add_scaled(struct strbuf *out, bool minus, char *digits, size_t n, int32_t scale)
{
    size_t after = (size_t)scale;
    if (minus)
        sb_addc(out, '-');
    if (n <= after) {
        sb_addz(out, "0.");
        for (size_t i = n; i < after; i++)
            sb_addc(out, '0');
        sb_add(out, digits, n);
        return;
    }
    sb_add(out, digits, n - after);
    if (after) {
        sb_addc(out, '.');
        sb_add(out, digits + n - after, after);
    }
}

/* A big-endian two's complement number of at most PARQUET_DECIMAL_BYTES. */
static void add_decimal(struct strbuf *out, const struct parquet_leaf *l, const uint8_t *p,
                        size_t n)
{
    uint8_t magnitude[PARQUET_DECIMAL_BYTES];
    char digits[PARQUET_DECIMAL_DIGITS + 2];
    size_t count = 0;
    bool minus = n && p[0] >> 7, zero = false;
    unsigned carry = minus;
    for (size_t i = n; i-- > 0;) {
        unsigned v = (minus ? (uint8_t)~p[i] : p[i]) + carry;
        magnitude[i] = (uint8_t)v;
        carry = v >> 8;
    }
    while (!zero || count == 0) {
        unsigned rest = 0;
        zero = true;
        for (size_t i = 0; i < n; i++) {
            unsigned v = rest << 8 | magnitude[i];
            magnitude[i] = (uint8_t)(v / 10);
            rest = v % 10;
            zero &= magnitude[i] == 0;
        }
        digits[sizeof digits - ++count] = (char)('0' + rest);
    }
    add_scaled(out, minus, digits + sizeof digits - count, count, l->scale);
}

static void add_decimal_integer(struct strbuf *out, const struct parquet_leaf *l, int64_t v)
{
    uint8_t p[8];
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)((uint64_t)v >> (56 - 8 * i));
    add_decimal(out, l, p, 8);
}

static void add_integer(struct strbuf *out, const struct parquet_leaf *l, int64_t v)
{
    if (l->physical == PHYSICAL_BOOLEAN)
        sb_addz(out, v ? "true" : "false");
    else if (l->physical == PHYSICAL_INT96 || l->logical == LOGICAL_TIMESTAMP)
        add_timestamp(out, l, v);
    else if (l->logical == LOGICAL_DATE)
        add_date(out, v);
    else if (l->logical == LOGICAL_TIME)
        add_time(out, l, v);
    else if (l->logical == LOGICAL_DECIMAL)
        add_decimal_integer(out, l, v);
    else if (l->logical == LOGICAL_UNSIGNED)
        sb_addf(out, "%llu", (unsigned long long)v);
    else
        sb_addf(out, "%lld", (long long)v);
}

static void add_bytes(struct strbuf *out, const struct parquet_leaf *l, struct str v)
{
    const uint8_t *p = (const uint8_t *)v.s;
    if (l->logical == LOGICAL_DECIMAL && v.n <= PARQUET_DECIMAL_BYTES) {
        add_decimal(out, l, p, v.n);
    } else if (l->logical == LOGICAL_UUID && v.n == 16) {
        for (size_t i = 0; i < 16; i++)
            sb_addf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", p[i]);
    } else {
        sb_add(out, v.s, v.n);
    }
}

void parquet_text(const struct parquet_leaf *leaf, const struct parquet_batch *b, size_t i,
                  struct strbuf *out)
{
    if (b->null && b->null[i])
        return;
    if (b->bytes)
        add_bytes(out, leaf, b->bytes[i]);
    else if (b->reals)
        add_real(out, leaf, b->reals[i]);
    else
        add_integer(out, leaf, b->integers[i]);
}
