/* rank_pairs.c: do two base models say the same? See rank.h. */
#include "ensemble/rank.h"

#include <math.h>
#include <string.h>

/* Margins of one row: log-probabilities less their mean. False when the model gave no answer.
 */
static bool margins_of(const float *p, size_t k, double *out)
{
    double mean = 0;
    for (size_t c = 0; c < k; c++) {
        if (isnan(p[c]))
            return false;
        out[c] = log(fmax((double)p[c], 1e-6));
        mean += out[c] / (double)k;
    }
    for (size_t c = 0; c < k; c++)
        out[c] -= mean;
    return true;
}

static size_t most_probable(const float *p, size_t k)
{
    size_t best = 0;
    for (size_t c = 1; c < k; c++)
        if (p[c] > p[best])
            best = c;
    return best;
}

struct moments {
    double n, x, y, xx, yy, xy;
};

struct pair_likeness rank_likeness(const struct stack *s, size_t a, size_t b)
{
    /* One set of sums for each (label, class): that both know the label is no redundancy. */
    struct moments sums[MAX_CLASSES][MAX_CLASSES];
    struct pair_likeness out = {0};
    double u[MAX_CLASSES], v[MAX_CLASSES], cov = 0, var_a = 0, var_b = 0;
    size_t k = s->n_classes, wrong = 0, together = 0;
    memset(sums, 0, sizeof sums);
    for (size_t i = 0; i < s->n; i++) {
        const float *p = s->probabilities[a] + i * k, *q = s->probabilities[b] + i * k;
        if (!margins_of(p, k, u) || !margins_of(q, k, v))
            continue;
        size_t x = most_probable(p, k), y = most_probable(q, k);
        out.n++;
        wrong += x != s->label[i] || y != s->label[i];
        together += x != s->label[i] && x == y;
        for (size_t c = 0; c < k; c++) {
            struct moments *m = &sums[s->label[i]][c];
            m->n++, m->x += u[c], m->y += v[c];
            m->xx += u[c] * u[c], m->yy += v[c] * v[c], m->xy += u[c] * v[c];
        }
    }
    for (size_t i = 0; i < k * k; i++) {
        const struct moments *m = &sums[i / k][i % k];
        if (m->n < 2)
            continue;
        cov += m->xy - m->x * m->y / m->n;
        var_a += m->xx - m->x * m->x / m->n;
        var_b += m->yy - m->y * m->y / m->n;
    }
    out.correlation = var_a > 0 && var_b > 0 ? cov / sqrt(var_a * var_b) : NAN;
    out.shared_errors = wrong ? (double)together / (double)wrong : NAN;
    return out;
}
