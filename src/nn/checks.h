/* checks.h: what comparing a model with a reference found; see lm/verify.h. */
#ifndef NN_CHECKS_H
#define NN_CHECKS_H

#include "medley/status.h"

#include <stdbool.h>
#include <stddef.h>

struct check {
    char *name;   /* "logits", "gradient of bert.embeddings..." */
    double error; /* relative to the largest reference value; infinity: not finite or absent */
    double tolerance; /* passed when error <= tolerance */
};

struct checks {
    struct check *items; /* [n] */
    size_t n, capacity;
    bool failed; /* out of memory while adding */
};

void checks_deinit(struct checks *c);
/* The name is formatted. */
void checks_add(struct checks *c, double error, double tolerance, const char *name, ...)
    __attribute__((format(printf, 4, 5)));
bool checks_passed(const struct checks *c);

/* The largest |a - b| over n numbers, over the largest |b| but at least `floor`. */
double relative_error(const float *a, const float *b, size_t n, double floor);

#endif
