/* agreement.c: see agreement.h. Proof: tests/test_rank.c. */
#include "ensemble/agreement.h"

#include <assert.h>
#include <math.h>

enum { MOST = 64 };

static int sign(double x)
{
    return (x > 0) - (x < 0);
}

double kendall(const double *a, const double *b, size_t n)
{
    double both = 0, in_a = 0, in_b = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            int x = sign(a[i] - a[j]), y = sign(b[i] - b[j]);
            both += x * y;
            in_a += x != 0;
            in_b += y != 0;
        }
    }
    return in_a > 0 && in_b > 0 ? both / sqrt(in_a * in_b) : NAN;
}

static void ranks(const double *v, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = 0.5;
        for (size_t j = 0; j < n; j++)
            out[i] += v[j] < v[i] ? 1 : v[j] == v[i] ? 0.5 : 0;
    }
}

double spearman(const double *a, const double *b, size_t n)
{
    double x[MOST], y[MOST], mean = 0.5 * (double)(n + 1), xy = 0, xx = 0, yy = 0;
    assert(n <= MOST);
    ranks(a, n, x);
    ranks(b, n, y);
    for (size_t i = 0; i < n; i++) {
        xy += (x[i] - mean) * (y[i] - mean);
        xx += (x[i] - mean) * (x[i] - mean);
        yy += (y[i] - mean) * (y[i] - mean);
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

struct agreement agreement_of(const double *values, size_t sets, size_t n)
{
    struct agreement a = {0, 0, sets};
    double pairs = (double)(sets * (sets ? sets - 1 : 0)) / 2;
    for (size_t i = 0; i < sets; i++) {
        for (size_t j = i + 1; j < sets; j++) {
            a.kendall += kendall(values + i * n, values + j * n, n) / pairs;
            a.spearman += spearman(values + i * n, values + j * n, n) / pairs;
        }
    }
    if (sets < 2)
        a.kendall = a.spearman = NAN;
    return a;
}
