/* logistic.c: see logistic.h. */
#include "nn/logistic.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "nn/ops.h"

#include <math.h>
#include <string.h>

enum { MOST_STEPS = 100, MOST_HALVINGS = 40 };

/* Of biases: too small to be felt, enough for one optimum, since all may rise together. */
#define BIAS_RIDGE 1e-6
/* Newton's decrement by n, at which the objective is at its end to all digits that count. */
#define CLOSE 1e-14

struct fit {
    const struct logistic_data *d;
    double ridge;
    size_t width, size;             /* n_inputs + 1; all weights */
    double *mean, *deviation;       /* [n_inputs] */
    double *weights, *tried, *step; /* [size], of standardised inputs */
    double *gradient, *hessian;     /* [size], [size * size]: the lower triangle */
    double *point, *p;              /* [width], [n_classes] of one point */
};

static void standardise(struct fit *f)
{
    const struct logistic_data *d = f->d;
    for (size_t j = 0; j < d->n_inputs; j++) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < d->n; i++)
            sum += (double)d->x[i * d->n_inputs + j];
        f->mean[j] = d->n ? sum / (double)d->n : 0;
        for (size_t i = 0; i < d->n; i++) {
            double off = (double)d->x[i * d->n_inputs + j] - f->mean[j];
            squares += off * off;
        }
        f->deviation[j] = squares > 0 ? sqrt(squares / (double)d->n) : 1;
    }
}

static void take_point(struct fit *f, size_t i)
{
    const struct logistic_data *d = f->d;
    for (size_t j = 0; j < d->n_inputs; j++)
        f->point[j] = ((double)d->x[i * d->n_inputs + j] - f->mean[j]) / f->deviation[j];
    f->point[d->n_inputs] = 1;
}

/* p of the point at hand; minus the logarithm of p[y]. */
static double soften(struct fit *f, const double *weights, size_t y)
{
    size_t k = f->d->n_classes;
    double most = -INFINITY, sum = 0;
    for (size_t c = 0; c < k; c++) {
        double z = 0;
        for (size_t j = 0; j < f->width; j++)
            z += weights[c * f->width + j] * f->point[j];
        f->p[c] = z;
        most = z > most ? z : most;
    }
    double right = f->p[y] - most;
    for (size_t c = 0; c < k; c++)
        sum += f->p[c] = exp(f->p[c] - most);
    for (size_t c = 0; c < k; c++)
        f->p[c] /= sum;
    return log(sum) - right;
}

static double ridge_of(const struct fit *f, size_t w)
{
    return w % f->width == f->width - 1 ? BIAS_RIDGE : f->ridge;
}

static double objective(struct fit *f, const double *weights)
{
    double total = 0;
    for (size_t i = 0; i < f->d->n; i++) {
        uint8_t y = f->d->y[i];
        take_point(f, i);
        total += f->d->class_weights[y] * soften(f, weights, y);
    }
    for (size_t w = 0; w < f->size; w++)
        total += ridge_of(f, w) / 2 * weights[w] * weights[w];
    return total;
}

static void add_curvature(struct fit *f, double weight)
{
    size_t k = f->d->n_classes, n = f->width;
    for (size_t a = 0; a < k; a++)
        for (size_t b = 0; b <= a; b++) {
            double h = weight * f->p[a] * ((a == b) - f->p[b]);
            for (size_t i = 0; i < n; i++) {
                double *row = f->hessian + (a * n + i) * f->size + b * n, at = h * f->point[i];
                for (size_t j = 0; j < n; j++)
                    row[j] += at * f->point[j];
            }
        }
}

/* Gradient and Hessian at the weights; the objective. */
static double differentiate(struct fit *f)
{
    double total = 0;
    memset(f->hessian, 0, f->size * f->size * sizeof *f->hessian);
    for (size_t w = 0; w < f->size; w++) {
        double ridge = ridge_of(f, w);
        f->gradient[w] = ridge * f->weights[w];
        f->hessian[w * f->size + w] = ridge;
        total += ridge / 2 * f->weights[w] * f->weights[w];
    }
    for (size_t i = 0; i < f->d->n; i++) {
        uint8_t y = f->d->y[i];
        double weight = f->d->class_weights[y];
        take_point(f, i);
        total += weight * soften(f, f->weights, y);
        for (size_t c = 0; c < f->d->n_classes; c++)
            for (size_t j = 0; j < f->width; j++)
                f->gradient[c * f->width + j] += weight * (f->p[c] - (c == y)) * f->point[j];
        add_curvature(f, weight);
    }
    return total;
}

/* step = hessian^-1 gradient by Cholesky, in place; the decrement gradient . step. */
static double solve(struct fit *f)
{
    size_t n = f->size;
    double *l = f->hessian, decrement = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double s = l[i * n + j];
            for (size_t m = 0; m < j; m++)
                s -= l[i * n + m] * l[j * n + m];
            l[i * n + j] = i == j ? sqrt(fmax(s, BIAS_RIDGE * BIAS_RIDGE)) : s / l[j * n + j];
        }
    for (size_t i = 0; i < n; i++) {
        double s = f->gradient[i];
        for (size_t m = 0; m < i; m++)
            s -= l[i * n + m] * f->step[m];
        f->step[i] = s / l[i * n + i];
        decrement += f->step[i] * f->step[i];
    }
    for (size_t i = n; i-- > 0;) {
        double s = f->step[i];
        for (size_t m = i + 1; m < n; m++)
            s -= l[m * n + i] * f->step[m];
        f->step[i] = s / l[i * n + i];
    }
    return decrement;
}

/* The longest of the halved steps that goes down as it should; false: none does. */
static bool go_down(struct fit *f, double from, double decrement)
{
    double length = 1;
    for (int h = 0; h < MOST_HALVINGS; h++, length /= 2) {
        for (size_t w = 0; w < f->size; w++)
            f->tried[w] = f->weights[w] - length * f->step[w];
        if (objective(f, f->tried) <= from - length * decrement / 4) {
            memcpy(f->weights, f->tried, f->size * sizeof *f->weights);
            return true;
        }
    }
    return false;
}

static medley_status descend(struct fit *f, medley_error *err)
{
    for (int s = 0; s < MOST_STEPS; s++) {
        double at = differentiate(f), decrement = solve(f);
        if (interrupted())
            return fail(err, MEDLEY_EINTERRUPTED, "interrupted");
        if (!(decrement > CLOSE * (double)(f->d->n + 1)) || !go_down(f, at, decrement))
            break;
    }
    return MEDLEY_OK;
}

/* Of the inputs as they are. */
static void give_weights(const struct fit *f, double *weights)
{
    size_t last = f->width - 1;
    for (size_t c = 0; c < f->d->n_classes; c++) {
        const double *from = f->weights + c * f->width;
        double *to = weights + c * f->width;
        to[last] = from[last];
        for (size_t j = 0; j < last; j++) {
            to[j] = from[j] / f->deviation[j];
            to[last] -= to[j] * f->mean[j];
        }
    }
}

medley_status logistic_fit(const struct logistic_data *d, double ridge, double *weights,
                           medley_error *err)
{
    struct fit f = {.d = d, .ridge = ridge, .width = d->n_inputs + 1};
    f.size = d->n_classes * f.width;
    double *room = mem_zalloc(f.size * (f.size + 4) + 3 * f.width + d->n_classes, sizeof *room);
    if (!room)
        return fail_memory(err, "a logistic regression");
    double **parts[] = {&f.weights, &f.tried, &f.step, &f.gradient}, *at = room;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++, at += f.size)
        *parts[i] = at;
    f.hessian = at, at += f.size * f.size;
    f.mean = at, f.deviation = at + f.width, f.point = at + 2 * f.width, f.p = at + 3 * f.width;
    standardise(&f);
    medley_status st = descend(&f, err);
    give_weights(&f, weights);
    mem_free(room);
    return st;
}

void logistic_predict(const double *weights, size_t n_inputs, size_t n_classes, const float *x,
                      float *p)
{
    for (size_t c = 0; c < n_classes; c++) {
        const double *w = weights + c * (n_inputs + 1);
        double z = w[n_inputs];
        for (size_t j = 0; j < n_inputs; j++)
            z += w[j] * (double)x[j];
        p[c] = (float)z;
    }
    softmax_rows(p, 1, n_classes, p);
}
