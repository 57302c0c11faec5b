/* calibrate.c: see calibrate.h. Proof: tests/test_calibrate.c. */
#include "ensemble/calibrate.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t row_of(const uint32_t *index, size_t i)
{
    return index ? index[i] : i;
}

static size_t most_probable(const float *p, size_t k)
{
    size_t best = 0;
    for (size_t c = 1; c < k; c++)
        if (p[c] > p[best])
            best = c;
    return best;
}

/* ---- reliability ---- */

struct judged {
    float p;
    bool right;
};

static int by_p(const void *a, const void *b)
{
    const struct judged *x = a, *y = b;
    if (x->p != y->p)
        return x->p < y->p ? -1 : 1;
    return y->right - x->right; /* right ones first: then equal p are pooled */
}

/* Sorts rows. bins may be NULL. */
static double calibration_error(struct judged *rows, size_t n, struct reliability_bin *bins,
                                size_t n_bins)
{
    double error = 0;
    qsort(rows, n, sizeof *rows, by_p);
    for (size_t b = 0; b < n_bins; b++) {
        size_t begin = b * n / n_bins, end = (b + 1) * n / n_bins;
        double p = 0, right = 0, count = (double)(end - begin);
        for (size_t i = begin; i < end; i++)
            p += (double)rows[i].p, right += rows[i].right;
        error += fabs(p - right) / (double)n;
        if (bins)
            bins[b] = (struct reliability_bin){p / count, right / count, end - begin};
    }
    return error;
}

medley_status reliability_of(const float *probabilities, const uint8_t *labels,
                             const uint32_t *index, size_t n, size_t k, struct reliability *out,
                             medley_error *err)
{
    struct reliability r = {.n_bins = n < CALIBRATION_BINS ? n : CALIBRATION_BINS};
    struct judged *rows = mem_alloc(n + 1, sizeof *rows);
    if (!rows)
        return fail_memory(err, "reliability");
    for (size_t i = 0; i < n; i++) {
        const float *p = probabilities + row_of(index, i) * k;
        size_t c = most_probable(p, k);
        rows[i] = (struct judged){p[c], c == labels[row_of(index, i)]};
    }
    r.ece = n ? calibration_error(rows, n, r.bins, r.n_bins) : 0;
    for (size_t c = 0; c < k && n; c++) {
        for (size_t i = 0; i < n; i++)
            rows[i] = (struct judged){probabilities[row_of(index, i) * k + c],
                                      c == labels[row_of(index, i)]};
        r.classwise_ece += calibration_error(rows, n, NULL, r.n_bins) / (double)k;
    }
    mem_free(rows);
    *out = r;
    return MEDLEY_OK;
}

/* ---- temperature ---- */

static double tempered_loss(const float *probabilities, const uint8_t *labels,
                            const uint32_t *index, size_t n, size_t k, double temperature)
{
    double loss = 0;
    for (size_t i = 0; i < n; i++) {
        const float *p = probabilities + row_of(index, i) * k;
        double top = -INFINITY, sum = 0;
        for (size_t c = 0; c < k; c++)
            top = fmax(top, log(fmax((double)p[c], 1e-15)));
        for (size_t c = 0; c < k; c++)
            sum += exp((log(fmax((double)p[c], 1e-15)) - top) / temperature);
        double own = log(fmax((double)p[labels[row_of(index, i)]], 1e-15));
        loss += log(sum) - (own - top) / temperature;
    }
    return loss;
}

/* The loss is convex in 1/T, so halving by the golden section finds the least. */
double temperature_fit(const float *probabilities, const uint8_t *labels, const uint32_t *index,
                       size_t n, size_t k)
{
    const double ratio = 0.6180339887498949;
    double low = 0.05, high = 20; /* of 1/T */
    double a = high - ratio * (high - low), b = low + ratio * (high - low);
    double at_a = tempered_loss(probabilities, labels, index, n, k, 1 / a);
    double at_b = tempered_loss(probabilities, labels, index, n, k, 1 / b);
    for (int i = 0; i < 40; i++) {
        if (at_a < at_b) {
            high = b, b = a, at_b = at_a;
            a = high - ratio * (high - low);
            at_a = tempered_loss(probabilities, labels, index, n, k, 1 / a);
        } else {
            low = a, a = b, at_a = at_b;
            b = low + ratio * (high - low);
            at_b = tempered_loss(probabilities, labels, index, n, k, 1 / b);
        }
    }
    return 2 / (low + high);
}

/* Scores of one row, in logarithms, become probabilities. */
static void softmax(const double *scores, size_t k, float *out)
{
    double top = -INFINITY, sum = 0;
    for (size_t c = 0; c < k; c++)
        top = fmax(top, scores[c]);
    for (size_t c = 0; c < k; c++)
        sum += exp(scores[c] - top);
    for (size_t c = 0; c < k; c++)
        out[c] = (float)(exp(scores[c] - top) / sum);
}

void temperature_apply(double temperature, float *probabilities, size_t n, size_t k)
{
    for (size_t i = 0; i < n; i++) {
        double scores[MAX_CLASSES];
        float *p = probabilities + i * k;
        if (isnan(p[0]))
            continue;
        for (size_t c = 0; c < k; c++)
            scores[c] = log(fmax((double)p[c], 1e-15)) / temperature;
        softmax(scores, k, p);
    }
}

/* ---- isotonic ---- */

void isotonic_free(struct isotonic *m)
{
    for (size_t c = 0; c < MAX_CLASSES; c++) {
        mem_free(m->x[c]);
        mem_free(m->y[c]);
    }
    memset(m, 0, sizeof *m);
}

/* Pool adjacent violators: rows sorted by p; blocks of equal mean, ascending. */
static size_t pool_blocks(const struct judged *rows, size_t n, float *x, float *y,
                          double *weight)
{
    size_t blocks = 0;
    for (size_t i = 0; i < n; i++) {
        double sum_x = (double)rows[i].p, sum_y = rows[i].right, w = 1;
        while (blocks > 0 && (double)y[blocks - 1] >= sum_y / w) {
            blocks--;
            sum_x += (double)x[blocks] * weight[blocks];
            sum_y += (double)y[blocks] * weight[blocks];
            w += weight[blocks];
        }
        x[blocks] = (float)(sum_x / w);
        if (blocks > 0) /* rounding must not turn the order */
            x[blocks] = fmaxf(x[blocks], x[blocks - 1]);
        y[blocks] = (float)(sum_y / w);
        weight[blocks++] = w;
    }
    return blocks;
}

static medley_status fit_class(struct judged *rows, size_t n, size_t c, struct isotonic *m,
                               medley_error *err)
{
    double *weight = mem_alloc(n + 1, sizeof *weight);
    m->x[c] = mem_alloc(n + 1, sizeof *m->x[c]);
    m->y[c] = mem_alloc(n + 1, sizeof *m->y[c]);
    if (!weight || !m->x[c] || !m->y[c]) {
        mem_free(weight);
        return fail_memory(err, "isotonic regression");
    }
    qsort(rows, n, sizeof *rows, by_p);
    m->n[c] = pool_blocks(rows, n, m->x[c], m->y[c], weight);
    mem_free(weight);
    return MEDLEY_OK;
}

medley_status isotonic_fit(const float *probabilities, const uint8_t *labels,
                           const uint32_t *index, size_t n, size_t k, struct isotonic *out,
                           medley_error *err)
{
    struct isotonic m = {{0}, {NULL}, {NULL}};
    struct judged *rows = mem_alloc(n + 1, sizeof *rows);
    medley_status st = rows ? MEDLEY_OK : fail_memory(err, "isotonic regression");
    for (size_t c = 0; c < k && !st; c++) {
        for (size_t i = 0; i < n; i++)
            rows[i] = (struct judged){probabilities[row_of(index, i) * k + c],
                                      c == labels[row_of(index, i)]};
        st = fit_class(rows, n, c, &m, err);
    }
    mem_free(rows);
    if (st)
        isotonic_free(&m);
    else
        *out = m;
    return st;
}

static float isotonic_at(const struct isotonic *m, size_t c, float p)
{
    size_t low = 0, high = m->n[c];
    const float *x = m->x[c], *y = m->y[c];
    while (low < high) { /* the first block above p */
        size_t middle = low + (high - low) / 2;
        if (x[middle] > p)
            high = middle;
        else
            low = middle + 1;
    }
    if (low == 0)
        return m->n[c] ? y[0] : p;
    if (low == m->n[c])
        return y[low - 1];
    float t = (p - x[low - 1]) / (x[low] - x[low - 1]);
    return y[low - 1] + t * (y[low] - y[low - 1]);
}

void isotonic_apply(const struct isotonic *m, float *probabilities, size_t n, size_t k)
{
    for (size_t i = 0; i < n; i++) {
        float *p = probabilities + i * k, sum = 0;
        if (isnan(p[0]))
            continue;
        for (size_t c = 0; c < k; c++)
            sum += p[c] = fmaxf(isotonic_at(m, c, p[c]), 1e-3f); /* a block may be all wrong */
        for (size_t c = 0; c < k; c++)
            p[c] /= sum;
    }
}

/* ---- decisions ---- */

static double macro_f1(const float *logs, const uint8_t *labels, size_t n, size_t k,
                       const double *offsets)
{
    size_t hit[MAX_CLASSES] = {0}, said[MAX_CLASSES] = {0}, is[MAX_CLASSES] = {0};
    double f1 = 0;
    for (size_t i = 0; i < n; i++) {
        size_t best = 0;
        double top = -INFINITY;
        for (size_t c = 0; c < k; c++) {
            double v = (double)logs[i * k + c] + offsets[c];
            if (v > top)
                top = v, best = c;
        }
        said[best]++, is[labels[i]]++;
        hit[best] += best == labels[i];
    }
    for (size_t c = 0; c < k; c++)
        if (said[c] + is[c])
            f1 += 2.0 * (double)hit[c] / (double)(said[c] + is[c]) / (double)k;
    return f1;
}

/* Steps of 0.1 over +-3, then of 0.02 around the best; a plateau's middle is taken, since its
 * edge is where the next sample of rows falls off. */
static double best_offset(const float *logs, const uint8_t *labels, size_t n, size_t k,
                          double *offsets, size_t c)
{
    double before = offsets[c], best = -1, at = before;
    for (int fine = 0; fine < 2; fine++) {
        double step = fine ? 0.02 : 0.1, from = fine ? at - 0.1 : -3, first = at, last = at;
        best = -1;
        for (int i = 0; i <= (fine ? 10 : 60); i++) {
            offsets[c] = from + step * i;
            double f1 = macro_f1(logs, labels, n, k, offsets);
            if (f1 > best + 1e-12)
                best = f1, first = last = offsets[c];
            else if (f1 > best - 1e-12 && offsets[c] - last < 1.5 * step)
                last = offsets[c];
        }
        at = 0.5 * (first + last);
    }
    offsets[c] = round(100 * at) / 100;
    return macro_f1(logs, labels, n, k, offsets);
}

medley_status offsets_fit(const float *probabilities, const uint8_t *labels,
                          const uint32_t *index, size_t n, size_t k, double *offsets,
                          medley_error *err)
{
    enum { SWEEPS = 4 };
    float *logs = mem_alloc(n + 1, k * sizeof *logs);
    uint8_t *label = mem_alloc(n + 1, 1);
    medley_status st = logs && label ? MEDLEY_OK : fail_memory(err, "offsets");
    for (size_t i = 0; i < n && !st; i++) {
        label[i] = labels[row_of(index, i)];
        for (size_t c = 0; c < k; c++)
            logs[i * k + c] = logf(fmaxf(probabilities[row_of(index, i) * k + c], 1e-15f));
    }
    double at[MAX_CLASSES] = {0};
    double best = st ? 0 : macro_f1(logs, label, n, k, at);
    for (int sweep = 0; sweep < SWEEPS && !st; sweep++) {
        double before = best;
        for (size_t c = 1; c < k; c++) {
            double kept = at[c], f1 = best_offset(logs, label, n, k, at, c);
            if (f1 > best)
                best = f1;
            else
                at[c] = kept;
        }
        if (best <= before)
            break;
    }
    if (!st)
        memcpy(offsets, at, k * sizeof *offsets);
    mem_free(logs);
    mem_free(label);
    return st;
}

void offsets_apply(const double *offsets, float *probabilities, size_t n, size_t k)
{
    for (size_t i = 0; i < n; i++) {
        double scores[MAX_CLASSES];
        float *p = probabilities + i * k;
        if (isnan(p[0]))
            continue;
        for (size_t c = 0; c < k; c++)
            scores[c] = log(fmax((double)p[c], 1e-15)) + offsets[c];
        softmax(scores, k, p);
    }
}

void costs_apply(const double *costs, float *probabilities, size_t n, size_t k)
{
    for (size_t i = 0; i < n; i++) {
        float *p = probabilities + i * k;
        double least = INFINITY;
        size_t best = 0;
        if (isnan(p[0]))
            continue;
        for (size_t c = 0; c < k; c++) {
            double expected = 0;
            for (size_t truth = 0; truth < k; truth++)
                expected += (double)p[truth] * costs[truth * k + c];
            if (expected < least)
                least = expected, best = c;
        }
        for (size_t c = 0; c < k; c++)
            p[c] = c == best;
    }
}
