/* decimal.c: see decimal.h.
 *
 * Answers of the server are mostly numbers between 1e-4 and 1e6, and printf with a reading back
 * takes half a microsecond for each. Such a number is scaled by a power of ten to an integer of
 * as many digits as are tried; integer and power are exact doubles, so that their quotient is
 * what a correct reader makes of the text (Clinger 1990), and one division tells whether the
 * digits suffice. All others go through printf. Proof: tests/test_base_json.c, against printf.
 */
#include "base/decimal.h"

#include "base/str.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

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

static size_t put_digits(uint64_t v, char *out)
{
    char reversed[20];
    size_t n = 0;
    do
        reversed[n++] = (char)('0' + v % 10);
    while (v /= 10);
    for (size_t i = 0; i < n; i++)
        out[i] = reversed[n - 1 - i];
    return n;
}

/* digits / 10^after, without the zeros at its end. */
static size_t put_fixed(uint64_t digits, int after, char *out)
{
    while (after > 0 && digits % 10 == 0)
        digits /= 10, after--;
    uint64_t scale = 1;
    for (int i = 0; i < after; i++)
        scale *= 10;
    size_t n = put_digits(digits / scale, out);
    if (after > 0) {
        uint64_t fraction = digits % scale;
        out[n++] = '.';
        for (int i = after; i-- > 0; fraction /= 10)
            out[n + (size_t)i] = (char)('0' + fraction % 10);
        n += (size_t)after;
    }
    out[n] = 0;
    return n;
}

/* 0 when it takes another way: out of range, or more than 15 digits. */
static size_t quickly(double v, int least, int most, char out[DECIMAL_ROOM])
{
    double a = fabs(v);
    if (!(a >= 1e-4 && a < (most == 9 ? 1e6 : 1e15)))
        return 0;
    int whole = a < 1 ? 0 : 1; /* digits before the point; below 1, less the zeros after it */
    while (whole > 0 && a >= powers[whole])
        whole++;
    while (whole <= 0 && a * powers[1 - whole] < 1)
        whole--;
    for (int digits = least; digits <= most && digits <= 15; digits++) {
        int after = digits - whole;
        double scaled = rint(a * powers[after]), again = scaled / powers[after];
        if (most == 9 ? (float)again != (float)a : again != a)
            continue;
        size_t sign = v < 0;
        if (sign)
            out[0] = '-';
        return sign + put_fixed((uint64_t)scaled, after, out + sign);
    }
    return 0;
}

size_t decimal_double(double v, char out[DECIMAL_ROOM])
{
    size_t n = quickly(v, 15, 17, out);
    return n ? n : slowly(v, 15, 17, out);
}

size_t decimal_float(float v, char out[DECIMAL_ROOM])
{
    size_t n = quickly((double)v, 6, 9, out);
    return n ? n : slowly((double)v, 6, 9, out);
}

size_t decimal_i64(int64_t v, char out[DECIMAL_ROOM])
{
    size_t sign = v < 0;
    if (sign)
        out[0] = '-';
    size_t n = sign + put_digits(sign ? 0 - (uint64_t)v : (uint64_t)v, out + sign);
    out[n] = 0;
    return n;
}
