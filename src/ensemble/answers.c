/* answers.c: see answers.h. Proof: tests/test_plugin.c, tests/test_remote.c. */
#include "ensemble/answers.h"

#include "base/error.h"

#include <math.h>
#include <stdio.h>

const char *answers_problem(const float *p, size_t k, char *room, size_t size)
{
    size_t missing = 0;
    double sum = 0;
    for (size_t c = 0; c < k; c++) {
        missing += isnan(p[c]);
        sum += (double)p[c];
    }
    if (missing == k)
        return NULL;
    if (missing)
        return "a probability is not a number";
    for (size_t c = 0; c < k; c++) {
        if (isinf(p[c]))
            return "a probability is infinite";
        if (p[c] < 0)
            return "a probability is negative";
    }
    if (fabs(sum - 1) <= ANSWERS_TOLERANCE)
        return NULL;
    snprintf(room, size, "the probabilities sum to %.4g, not 1 (are they logits?)", sum);
    return room;
}

medley_status answers_check(const char *model, const float *p, size_t n, size_t k,
                            medley_error *err)
{
    char room[96];
    for (size_t i = 0; i < n; i++) {
        const char *problem = answers_problem(p + i * k, k, room, sizeof room);
        if (problem)
            return fail(err, MEDLEY_EFORMAT, "'%s', pair %zu of %zu: %s", model, i, n, problem);
    }
    return MEDLEY_OK;
}

void answers_none(float *p, size_t n, size_t k)
{
    for (size_t i = 0; i < n * k; i++)
        p[i] = NAN;
}

size_t answers_drop(float *p, size_t n, size_t k)
{
    char room[96];
    size_t dropped = 0;
    for (size_t i = 0; i < n; i++) {
        if (!answers_problem(p + i * k, k, room, sizeof room))
            continue;
        answers_none(p + i * k, 1, k);
        dropped++;
    }
    return dropped;
}
