/* metrics.h: classification and ranking metrics, with bootstrap intervals over queries. */
#ifndef DATA_METRICS_H
#define DATA_METRICS_H

#include "data/dataset.h"

struct class_metrics {
    double precision, recall, f1; /* 0 where undefined, as scikit-learn's zero_division=0 */
    size_t support;
};

struct metrics {
    size_t n, n_classes;
    double accuracy, macro_f1, weighted_f1, log_loss; /* log-loss clips p to [1e-15, 1] */
    struct class_metrics per_class[MAX_CLASSES];
    uint32_t confusion[MAX_CLASSES][MAX_CLASSES]; /* [true][predicted] */
};

/* probabilities[n*k] row-major; labels[n] < k; rows listed in index[n] when index is not NULL (then
 * labels and probabilities are addressed through it). Argmax ties go to the lower class. A row of
 * NaN counts as wrong with the log-loss of the uniform distribution. */
void metrics_compute(const float *probabilities, const uint8_t *labels, const uint32_t *index,
                     size_t n, size_t k, struct metrics *out);

enum metric_name { METRIC_ACCURACY, METRIC_MACRO_F1, METRIC_WEIGHTED_F1, METRIC_LOG_LOSS, METRIC_COUNT };
extern const char *const metric_names[METRIC_COUNT];
/* After them, F1 of each class: METRIC_COUNT + class. */
enum { METRIC_ROOM = METRIC_COUNT + MAX_CLASSES };
double metrics_value(const struct metrics *m, unsigned which);

struct interval {
    double low, high; /* 95% percentile interval */
};

/* Bootstrap over queries (group[i] is the query of row i): resamples groups with replacement
 * `resamples` times (0: 1000). out[METRIC_COUNT + k]. Deterministic for a seed whatever the threads. */
medley_status metrics_bootstrap(const float *probabilities, const uint8_t *labels,
                                const uint32_t *group, const uint32_t *index, size_t n, size_t k,
                                unsigned resamples, uint64_t seed, struct interval *out,
                                medley_error *err);

/* The same for the paired difference a - b of two prediction sets: mean difference, interval and a
 * two-sided p-value, per metric. */
struct paired_difference {
    double difference, low, high, p_value;
};
medley_status metrics_paired(const float *a, const float *b, const uint8_t *labels,
                             const uint32_t *group, const uint32_t *index, size_t n, size_t k,
                             unsigned resamples, uint64_t seed, struct paired_difference *out,
                             medley_error *err);

/* Mean of per-row values (contributions, say) with an interval by bootstrap over queries. */
medley_status mean_bootstrap(const float *values, const uint32_t *group, const uint32_t *index,
                             size_t n, unsigned resamples, uint64_t seed, double *mean,
                             struct interval *out, medley_error *err);

/* Mean NDCG over queries with at least two judged products; rows scored by score[n], gains per
 * class. Queries whose gains are all zero are left out. */
double metrics_ndcg(const float *score, const uint8_t *labels, const uint32_t *group, size_t n,
                    const double *gains, size_t k, size_t depth);

#endif
