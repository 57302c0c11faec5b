/* slices.h: the parts of the rows that figures are also given for: each locale, and bands of
 * how often a query is asked. */
#ifndef ENSEMBLE_SLICES_H
#define ENSEMBLE_SLICES_H

#include "ensemble/stack.h"

enum slice_by { SLICE_ALL, SLICE_LOCALE, SLICE_BAND };
enum { MAX_SLICES = 64 }; /* locales beyond are left out */

struct slice {
    char name[64]; /* "all", "us", "2-9" */
    enum slice_by by;
    size_t n; /* rows */
};

/* All rows of one query are in the same slices, so a query has one cell: its (locale, band). */
struct slices {
    size_t n, n_cells;
    struct slice items[MAX_SLICES]; /* the first holds all rows */
    const char
        *band_of;   /* what is counted: "impressions" where there are any, else "examples" */
    uint16_t *cell; /* [rows of the stack] */
    uint8_t *holds; /* [n * n_cells] does the slice hold the cell? */
};

medley_status slices_open(const struct stack *s, struct slices *out, medley_error *err);
void slices_close(struct slices *x);

#endif
