/* answers.h: what every base model's probabilities must be before anybody reads them: finite,
 * not negative, summing to 1 within 0.001; or a whole row of NaN, which says "no answer". */
#ifndef ENSEMBLE_ANSWERS_H
#define ENSEMBLE_ANSWERS_H

#include "medley/status.h"

#define ANSWERS_TOLERANCE 1e-3 /* of the sum: what float32 and rounded texts need */

/* EFORMAT, naming the model, the first bad row and what is wrong with it. p[n * k]. */
medley_status answers_check(const char *model, const float *p, size_t n, size_t k,
                            medley_error *err);
/* NULL, or what is wrong with the row p[k]; a text in room[size], 96 bytes, may be the answer.
 */
const char *answers_problem(const float *p, size_t k, char *room, size_t size);
/* Turns bad rows into rows of NaN; how many there were. */
size_t answers_drop(float *p, size_t n, size_t k);
void answers_none(float *p, size_t n, size_t k); /* all NaN */

#endif
