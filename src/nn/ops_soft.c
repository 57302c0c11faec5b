/* ops_soft.c: the distance of softmax to target distributions (Hinton et al. 2015), in double
 * as the other losses over few classes. */
#include "nn/ops.h"
#include "nn/vec.h"

#include <math.h>

struct soft_loss {
    struct tensor *logits, *y;
    float *gradient; /* [N,K] of the loss by the logits */
};

static void soft_loss_back(struct tape *t, void *context)
{
    (void)t;
    struct soft_loss *op = context;
    float *dz = op->logits->grad;
    vec()->add_scaled(dz, dz, op->y->grad[0], op->gradient,
                      op->logits->rows * op->logits->cols);
}

/* T^2 KL(q || softmax(z / T)) of one row; its gradient, T (p - q), times `share` unless NULL.
 */
static double row_distance(const float *z, const float *q, size_t k, double temperature,
                           double share, float *gradient)
{
    double top = -INFINITY, sum = 0, distance = 0;
    for (size_t j = 0; j < k; j++)
        top = z[j] > top ? z[j] : top;
    for (size_t j = 0; j < k; j++)
        sum += exp((z[j] - top) / temperature);
    for (size_t j = 0; j < k; j++) {
        double log_p = (z[j] - top) / temperature - log(sum);
        if (q[j] > 0)
            distance += q[j] * (log((double)q[j]) - log_p);
        if (gradient)
            gradient[j] = (float)(share * temperature * (exp(log_p) - (double)q[j]));
    }
    return temperature * temperature * distance;
}

struct tensor *op_soft_loss(struct tape *t, struct tensor *logits, const float *targets,
                            float temperature)
{
    if (!logits || t->failed)
        return NULL;
    bool needs = tape_needs(t, logits, NULL);
    size_t n = logits->rows, k = logits->cols;
    struct tensor *y = tape_tensor(t, 1, 1, needs);
    float *gradient = y && needs ? tape_alloc(t, n * k, sizeof *gradient) : NULL;
    struct soft_loss *op = y && needs ? tape_alloc(t, 1, sizeof *op) : NULL;
    if (t->failed)
        return NULL;
    double loss = 0;
    for (size_t i = 0; i < n; i++)
        loss += row_distance(logits->value + i * k, targets + i * k, k, (double)temperature,
                             1.0 / (double)n, gradient ? gradient + i * k : NULL);
    y->value[0] = n ? (float)(loss / (double)n) : 0;
    if (needs) {
        *op = (struct soft_loss){logits, y, gradient};
        tape_record(t, soft_loss_back, op);
    }
    return y;
}
