/* metrics.c: classification and ranking metrics of one set of predictions. The intervals are
 * bootstrap.c. Tested by test_metrics.c. */
#include "data/metrics.h"

#include "base/memory.h"
#include "data/metrics_count.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const metric_names[METRIC_COUNT] = {"accuracy", "macro_f1", "weighted_f1",
                                                "log_loss"};

double metrics_value(const struct metrics *m, unsigned which)
{
    if (which >= METRIC_COUNT)
        return m->per_class[which - METRIC_COUNT].f1;
    const double values[METRIC_COUNT] = {m->accuracy, m->macro_f1, m->weighted_f1, m->log_loss};
    return values[which];
}

struct outcome outcome_of(const float *p, uint8_t label, size_t k)
{
    size_t best = 0;
    for (size_t c = 0; c < k; c++) {
        if (isnan(p[c]))
            return (struct outcome){log((double)k), label, OUTCOME_MISSING};
        if (p[c] > p[best])
            best = c;
    }
    double q = p[label];
    q = q < 1e-15 ? 1e-15 : q > 1 ? 1 : q;
    return (struct outcome){-log(q), label, (uint8_t)best};
}

void tally_add(struct tally *t, const struct outcome *o)
{
    t->loss += o->loss;
    t->support[o->label]++;
    if (o->predicted != OUTCOME_MISSING)
        t->confusion[o->label][o->predicted]++;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

void tally_metrics(const struct tally *t, size_t k, struct metrics *out)
{
    struct metrics m = {.n_classes = k};
    double right = 0;
    for (size_t c = 0; c < k; c++) {
        double predicted = 0;
        for (size_t i = 0; i < k; i++) {
            predicted += t->confusion[i][c];
            m.confusion[c][i] = t->confusion[c][i];
        }
        double hit = t->confusion[c][c];
        struct class_metrics *pc = &m.per_class[c];
        pc->support = t->support[c];
        pc->precision = ratio(hit, predicted);
        pc->recall = ratio(hit, (double)pc->support);
        pc->f1 = ratio(2 * hit, predicted + (double)pc->support);
        m.n += pc->support;
        m.macro_f1 += pc->f1 / (double)k;
        m.weighted_f1 += pc->f1 * (double)pc->support;
        right += hit;
    }
    m.accuracy = ratio(right, (double)m.n);
    m.weighted_f1 = ratio(m.weighted_f1, (double)m.n);
    m.log_loss = ratio(t->loss, (double)m.n);
    *out = m;
}

void metrics_compute(const float *probabilities, const uint8_t *labels, const uint32_t *index,
                     size_t n, size_t k, struct metrics *out)
{
    struct tally t = {0};
    for (size_t i = 0; i < n; i++) {
        size_t row = index ? index[i] : i;
        struct outcome o = outcome_of(probabilities + row * k, labels[row], k);
        tally_add(&t, &o);
    }
    tally_metrics(&t, k, out);
}

/* --- ranking --- */

struct ranked {
    uint32_t group;
    float score;
    double gain;
};

static int by_score(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return 0;
}

static int by_gain(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->gain > y->gain ? -1 : x->gain < y->gain;
}

/* Discounts of the ranks [from, to), those past the depth being worth nothing. */
static double discounts(size_t from, size_t to, size_t depth)
{
    double sum = 0;
    for (size_t i = from; i < to && i < depth; i++)
        sum += 1 / log2((double)i + 2);
    return sum;
}

/* Products of one score share the mean gain of their ranks, so that a model which cannot tell
 * them apart gains nothing from the order they are stored in (as scikit-learn's ndcg_score). */
static double dcg(const struct ranked *r, size_t n, size_t depth)
{
    double sum = 0;
    for (size_t begin = 0, end; begin < n; begin = end) {
        double gain = 0;
        for (end = begin; end < n && r[end].score == r[begin].score; end++)
            gain += r[end].gain;
        sum += gain / (double)(end - begin) * discounts(begin, end, depth);
    }
    return sum;
}

static double ideal_dcg(struct ranked *r, size_t n, size_t depth)
{
    double sum = 0;
    qsort(r, n, sizeof *r, by_gain);
    for (size_t i = 0; i < n && i < depth; i++)
        sum += r[i].gain / log2((double)i + 2);
    return sum;
}

double metrics_ndcg(const float *score, const uint8_t *labels, const uint32_t *group, size_t n,
                    const double *gains, size_t k, size_t depth)
{
    struct ranked *r = mem_alloc(n, sizeof *r);
    double sum = 0;
    size_t queries = 0, kept = 0;
    if (!r)
        return NAN;
    for (size_t i = 0; i < n; i++)
        if (labels[i] < k)
            r[kept++] = (struct ranked){group[i], isnan(score[i]) ? -INFINITY : score[i],
                                        gains[labels[i]]};
    if (kept)
        qsort(r, kept, sizeof *r, by_score);
    depth = depth ? depth : SIZE_MAX;
    for (size_t begin = 0, end; begin < kept; begin = end) {
        for (end = begin; end < kept && r[end].group == r[begin].group; end++)
            ;
        double got = dcg(r + begin, end - begin, depth);
        double best = end - begin < 2 ? 0 : ideal_dcg(r + begin, end - begin, depth);
        if (best > 0) {
            sum += got / best;
            queries++;
        }
    }
    mem_free(r);
    return queries ? sum / (double)queries : NAN;
}
