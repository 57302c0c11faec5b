/* ops_loss.c: softmax and cross-entropy, in double: classes are few and losses are compared. */
#include "nn/ops.h"
#include "nn/vec.h"

#include <assert.h>
#include <math.h>

void softmax_rows(const float *logits, size_t rows, size_t cols, float *out)
{
    for (size_t r = 0; r < rows; r++) {
        const float *z = logits + r * cols;
        double top = -INFINITY, sum = 0;
        for (size_t j = 0; j < cols; j++)
            top = z[j] > top ? z[j] : top;
        for (size_t j = 0; j < cols; j++)
            sum += exp(z[j] - top);
        for (size_t j = 0; j < cols; j++)
            out[r * cols + j] = (float)(exp(z[j] - top) / sum);
    }
}

struct loss {
    struct tensor *logits, *y;
    float *gradient; /* [N,K] of the loss by the logits */
};

static void loss_back(struct tape *t, void *context)
{
    (void)t;
    struct loss *op = context;
    float *dz = op->logits->grad;
    vec()->add_scaled(dz, dz, op->y->grad[0], op->gradient,
                      op->logits->rows * op->logits->cols);
}

/* The loss of one number x against its target, and its derivative by x. */
typedef double element_loss(double x, double target, double *slope);

static double sigmoid_element(double x, double target, double *slope)
{
    double e = exp(-fabs(x)), p = x >= 0 ? 1 / (1 + e) : e / (1 + e);
    *slope = p - target;
    return fmax(x, 0) - x * target + log1p(e);
}

static double square_element(double x, double target, double *slope)
{
    *slope = 2 * (x - target);
    return (x - target) * (x - target);
}

/* The loss of one row; gradient[K] times `share` unless NULL. */
static double row_loss(const float *z, size_t k, size_t label, const struct label_loss *how,
                       double share, float *gradient)
{
    double top = -INFINITY, sum = 0, loss = 0, logistic = (double)how->sigmoid;
    for (size_t j = 0; j < k; j++)
        top = z[j] > top ? z[j] : top;
    for (size_t j = 0; j < k; j++)
        sum += exp(z[j] - top);
    double log_sum = log(sum) + top, smoothing = (double)how->smoothing;
    for (size_t j = 0; j < k; j++) {
        double target = smoothing / (double)k + (j == label ? 1 - smoothing : 0), slope = 0;
        double element = logistic > 0 ? sigmoid_element(z[j], target, &slope) : 0;
        loss += (1 - logistic) * target * (log_sum - z[j]) + logistic * element / (double)k;
        if (gradient)
            gradient[j] = (float)(share * ((1 - logistic) * (exp(z[j] - log_sum) - target) +
                                           logistic * slope / (double)k));
    }
    return loss;
}

struct tensor *op_label_loss(struct tape *t, struct tensor *logits, const uint8_t *labels,
                             const struct label_loss *how)
{
    if (!logits || t->failed)
        return NULL;
    bool needs = tape_needs(t, logits, NULL);
    size_t n = logits->rows, k = logits->cols;
    struct tensor *y = tape_tensor(t, 1, 1, needs);
    float *gradient = y && needs ? tape_alloc(t, n * k, sizeof *gradient) : NULL;
    struct loss *op = y && needs ? tape_alloc(t, 1, sizeof *op) : NULL;
    if (t->failed)
        return NULL;
    const float *weights = how->weights;
    double total = 0, loss = 0;
    for (size_t i = 0; i < n; i++)
        total += weights ? weights[i] : 1;
    for (size_t i = 0; i < n; i++) {
        assert(labels[i] < k);
        double share = total > 0 ? (weights ? weights[i] : 1) / total : 0;
        loss += share * row_loss(logits->value + i * k, k, labels[i], how, share,
                                 gradient ? gradient + i * k : NULL);
    }
    y->value[0] = (float)loss;
    if (needs) {
        *op = (struct loss){logits, y, gradient};
        tape_record(t, loss_back, op);
    }
    return t->failed ? NULL : y;
}

struct tensor *op_softmax_loss(struct tape *t, struct tensor *logits, const uint8_t *labels,
                               const float *weights, float smoothing)
{
    return op_label_loss(t, logits, labels,
                         &(struct label_loss){.weights = weights, .smoothing = smoothing});
}

static struct tensor *mean_loss(struct tape *t, struct tensor *x, const float *targets,
                                element_loss *element)
{
    if (!x || t->failed)
        return NULL;
    bool needs = tape_needs(t, x, NULL);
    size_t n = x->rows * x->cols;
    struct tensor *y = tape_tensor(t, 1, 1, needs);
    float *gradient = y && needs ? tape_alloc(t, n, sizeof *gradient) : NULL;
    struct loss *op = y && needs ? tape_alloc(t, 1, sizeof *op) : NULL;
    if (t->failed)
        return NULL;
    double sum = 0, slope;
    for (size_t i = 0; i < n; i++) {
        sum += element(x->value[i], targets[i], &slope);
        if (gradient)
            gradient[i] = (float)(slope / (double)n);
    }
    y->value[0] = n ? (float)(sum / (double)n) : 0;
    if (needs) {
        *op = (struct loss){x, y, gradient};
        tape_record(t, loss_back, op);
    }
    return y;
}

struct tensor *op_sigmoid_loss(struct tape *t, struct tensor *logits, const float *targets)
{
    return mean_loss(t, logits, targets, sigmoid_element);
}

struct tensor *op_square_loss(struct tape *t, struct tensor *x, const float *targets)
{
    return mean_loss(t, x, targets, square_element);
}
