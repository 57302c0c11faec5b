/* test_decimal.c: base/decimal.h against printf and strtod. */
#include "base/decimal.h"
#include "base/rng.h"
#include "tests/tap.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* As the header says it, by trial. */
static void reference(double v, int least, int most, char *out, size_t size)
{
    for (int digits = least; digits <= most; digits++) {
        snprintf(out, size, "%.*g", digits, v);
        if (most == 9 ? strtof(out, NULL) == (float)v : strtod(out, NULL) == v)
            return;
    }
}

static bool same(double v, bool single)
{
    char ours[DECIMAL_ROOM], theirs[DECIMAL_ROOM];
    size_t n = single ? decimal_float((float)v, ours) : decimal_double(v, ours);
    reference(v, single ? 6 : 15, single ? 9 : 17, theirs, sizeof theirs);
    bool good = n == strlen(ours) && strcmp(ours, theirs) == 0;
    if (!good)
        printf("# %a: %s, printf says %s\n", v, ours, theirs);
    return good;
}

static bool same_both(double v)
{
    return same(v, false) && (!isfinite((float)v) || same((double)(float)v, true));
}

static void test_special(void)
{
    static const double values[] = {0,
                                    1,
                                    9,
                                    10,
                                    0.1,
                                    0.5,
                                    1e-4,
                                    9.9999e-5,
                                    1e-5,
                                    999999,
                                    1e6,
                                    999999.96,
                                    1e15,
                                    123456789012345,
                                    999999999999999,
                                    1e22,
                                    1e300,
                                    5e-324,
                                    0.3,
                                    1.0 / 3,
                                    2.0 / 3,
                                    0.99999994f,
                                    16777216,
                                    3.4e38f,
                                    1e-45f};
    bool good = true;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        good &= same_both(values[i]) && same_both(-values[i]);
    ok(good, "zeros, powers, neighbours of one, ends of the ranges");
}

static void test_random(void)
{
    struct rng r;
    bool bits = true, unit = true, short_ones = true, margins = true, small = true;
    rng_init(&r, 7, 0);
    for (int i = 0; i < 100000; i++) {
        uint64_t u = (uint64_t)rng_below(&r, UINT32_MAX) << 32 | rng_below(&r, UINT32_MAX);
        double v, x = (double)u / 18446744073709551616.0;
        memcpy(&v, &u, sizeof v);
        if (isfinite(v))
            bits &= same(v, false);
        uint32_t half = (uint32_t)u;
        float f;
        memcpy(&f, &half, sizeof f);
        if (isfinite(f))
            bits &= same((double)f, true);
        unit &= same_both(x);
        margins &= same_both((x - 0.5) * 20);
        small &= same_both(x * x * x * x * 1e-3) && same_both(x * 1e-4);
        short_ones &= same_both((double)(u % 2000000) / 1000 - 1000);
    }
    ok(bits, "any bits");
    ok(unit, "numbers from 0 to 1");
    ok(margins, "numbers from -10 to 10");
    ok(small, "small probabilities");
    ok(short_ones, "numbers of three decimals");
}

static void test_integers(void)
{
    static const int64_t values[] = {0, 1, -1, 10, 99, -100, INT64_MAX, INT64_MIN};
    bool good = true;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char ours[DECIMAL_ROOM], theirs[DECIMAL_ROOM];
        size_t n = decimal_i64(values[i], ours);
        snprintf(theirs, sizeof theirs, "%lld", (long long)values[i]);
        good &= n == strlen(theirs) && strcmp(ours, theirs) == 0;
    }
    ok(good, "integers");
}

int main(void)
{
    test_special();
    test_random();
    test_integers();
    return tap_done();
}
