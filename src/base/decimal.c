/* decimal.c: see decimal.h.
 *
 * Answers of the server are mostly numbers between 1e-14 and 1e6, and printf with a reading
 * back takes half a microsecond for each. Such a number is scaled by a power of ten to an
 * integer of as many digits as are tried; integer and power are exact doubles, so that their
 * quotient is what a correct reader makes of the text (Clinger 1990), and one division tells
 * whether the digits suffice. All others go through printf. Proof: tests/test_base_json.c,
 * against printf.
 */
#include "base/decimal.h"

#include "base/str.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_EXACT = 22 }; /* 10^23 is no double */
static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* %.*g; whatever stands for the decimal point becomes one. */
static size_t print_digits(char out[DECIMAL_ROOM], int digits, double v)
{
    char text[DECIMAL_ROOM];
    size_t n = 0;
    bool point = false;
    snprintf(text, sizeof text, "%.*g", digits, v);
    for (const char *p = text; *p; p++) {
        bool plain = (*p >= '0' && *p <= '9') || *p == '-' || *p == '+' || *p == 'e';
        if (plain || !point)
            out[n++] = plain ? *p : '.';
        point = point || !plain;
    }
    out[n] = 0;
    return n;
}

static size_t slowly(double v, int least, int most, char out[DECIMAL_ROOM])
{
    for (int digits = least;; digits++) {
        double again;
        size_t n = print_digits(out, digits, v);
        bool same = str_to_double((struct str){out, n}, &again) &&
                    (most == 9 ? (float)again == (float)v : again == v);
        if (same || digits == most)
            return n;
    }
}

/* The n last decimal digits of v, two at a time. */
static void put_digits(uint64_t v, size_t n, char *out)
{
    static const char pairs[] = "0001020304050607080910111213141516171819"
                                "2021222324252627282930313233343536373839"
                                "4041424344454647484950515253545556575859"
                                "6061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    for (; n >= 2; n -= 2, v /= 100)
        memcpy(out + n - 2, pairs + v % 100 * 2, 2);
    if (n)
        out[0] = (char)('0' + v % 10);
}

static size_t put_whole(uint64_t v, char *out)
{
    size_t n = 1;
    for (uint64_t rest = v; rest >= 10; rest /= 10)
        n++;
    put_digits(v, n, out);
    return n;
}

/* digits / 10^after, without the zeros at its end. */
static size_t put_fixed(uint64_t digits, size_t after, char *out)
{
    while (after > 0 && digits % 10 == 0)
        digits /= 10, after--;
    uint64_t scale = (uint64_t)powers[after], whole = digits / scale;
    size_t n = put_whole(whole, out);
    if (after > 0) {
        out[n++] = '.';
        put_digits(digits - whole * scale, after, out + n);
        n += after;
    }
    out[n] = 0;
    return n;
}

/* The same as 1.234e-05, as printf does below 1e-4. */
static size_t put_scientific(uint64_t digits, size_t after, char *out)
{
    char text[24] = "";
    while (digits % 10 == 0)
        digits /= 10, after--;
    size_t n = put_whole(digits, text), exponent = after - (n - 1), at = 0;
    out[at++] = text[0];
    if (n > 1) {
        out[at++] = '.';
        memcpy(out + at, text + 1, n - 1);
        at += n - 1;
    }
    memcpy(out + at, "e-", 2);
    put_digits(exponent, 2, out + at + 2);
    out[at + 4] = 0;
    return at + 4;
}

/* To the nearest integer, to the even one of two; 0 <= v < 2^51. */
static double nearest(double v)
{
    return (v + 0x1p52) - 0x1p52;
}

struct scaled {
    double digits; /* a times 10^after, an integer */
    int after;
};

/* True when `digits` decimal digits of a, of which `whole` stand before the point, are enough.
 */
static bool suffices(double a, int whole, int digits, bool single, struct scaled *out)
{
    int after = digits - whole;
    if (after > MOST_EXACT)
        return false;
    double scaled = nearest(a * powers[after]), again = scaled / powers[after];
    if (single ? (float)again != (float)a : again != a)
        return false;
    *out = (struct scaled){scaled, after};
    return true;
}

/* Most floats take eight digits, so these are tried first. */
static bool fewest(double a, int whole, bool single, struct scaled *out)
{
    if (!single)
        return suffices(a, whole, 15, false, out);
    bool found = suffices(a, whole, 8, true, out);
    if (suffices(a, whole, 7, true, out)) {
        suffices(a, whole, 6, true, out);
        found = true;
    }
    return found || suffices(a, whole, 9, true, out);
}

/* 0 when it takes another way: out of range, or more than 15 digits. */
static size_t quickly(double v, bool single, char out[DECIMAL_ROOM])
{
    double a = fabs(v);
    struct scaled s;
    if (!(a >= 1e-14 && a < (single ? 1e6 : 1e15)))
        return 0;
    int whole = a < 1 ? 0 : 1; /* digits before the point; below 1, less the zeros after it */
    while (whole > 0 && a >= powers[whole])
        whole++;
    while (whole <= 0 && a * powers[1 - whole] < 1)
        whole--;
    if (!fewest(a, whole, single, &s))
        return 0;
    size_t sign = v < 0;
    if (sign)
        out[0] = '-';
    /* printf decides by the exponent of what it has rounded */
    bool tiny = s.digits * 1e4 < powers[s.after];
    return sign +
           (tiny ? put_scientific : put_fixed)((uint64_t)s.digits, (size_t)s.after, out + sign);
}

size_t decimal_double(double v, char out[DECIMAL_ROOM])
{
    size_t n = quickly(v, false, out);
    return n ? n : slowly(v, 15, 17, out);
}

size_t decimal_float(float v, char out[DECIMAL_ROOM])
{
    size_t n = quickly((double)v, true, out);
    return n ? n : slowly((double)v, 6, 9, out);
}

size_t decimal_i64(int64_t v, char out[DECIMAL_ROOM])
{
    size_t sign = v < 0;
    if (sign)
        out[0] = '-';
    size_t n = sign + put_whole(sign ? 0 - (uint64_t)v : (uint64_t)v, out + sign);
    out[n] = 0;
    return n;
}
