/* quadrature.c: Gauss-Legendre points, by Newton's method from the usual first guess (Numerical
 * Recipes, 4.5). Proof: tests/test_shapley.c. */
#include "shapley/explainer.h"

#include <math.h>
#include <pthread.h>

/* P_n(x) and its derivative. */
static double legendre(unsigned n, double x, double *derivative)
{
    double before = 1, p = x;
    for (unsigned k = 2; k <= n; k++) {
        double next = ((2 * k - 1) * x * p - (k - 1) * before) / k;
        before = p;
        p = next;
    }
    *derivative = n * (x * p - before) / (x * x - 1);
    return p;
}

void gauss_legendre(unsigned n, double *points, double *weights)
{
    for (unsigned i = 0; i < n; i++) {
        double x = cos(3.14159265358979323846 * (i + 0.75) / (n + 0.5)), slope = 1;
        for (int step = 0; step < 100; step++) {
            double change = legendre(n, x, &slope) / slope;
            x -= change;
            if (fabs(change) < 1e-15)
                break;
        }
        legendre(n, x, &slope);
        points[i] = (1 + x) / 2;
        weights[i] = 1 / ((1 - x * x) * slope * slope);
    }
}

/* ---- kept rules ---- */

static struct gauss_rule kept[GAUSS_KEPT + 1];
static struct row_rule rows[ROW_POINTS + 1] __attribute__((aligned(64)));
static pthread_once_t kept_once = PTHREAD_ONCE_INIT;

static void make_kept(void)
{
    for (unsigned n = 1; n <= GAUSS_KEPT; n++) {
        gauss_legendre(n, kept[n].points, kept[n].weights);
        for (unsigned i = n; i < GAUSS_ROOM; i++)
            kept[n].points[i] = 0.5; /* of weight 0 */
    }
    for (unsigned n = 1; n <= ROW_POINTS; n++)
        for (unsigned i = 0; i < ROW_POINTS; i++) {
            rows[n].points[i] = (float)kept[n].points[i];
            rows[n].weights[i] = (float)kept[n].weights[i];
        }
}

const struct gauss_rule *gauss_rule(unsigned n)
{
    pthread_once(&kept_once, make_kept);
    return &kept[n];
}

const struct row_rule *row_rule(unsigned n)
{
    pthread_once(&kept_once, make_kept);
    return &rows[n];
}
