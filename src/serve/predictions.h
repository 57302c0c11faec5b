/* predictions.h: what base models say of products, brought along by the request instead of
 * being asked for: "predictions": {"minilm": [0.7, 0.2, 0.05, 0.05], ...} of a product. Proof:
 * tests/test_classify_request.c, fuzz/fuzz_classify_request.c. */
#ifndef SERVE_PREDICTIONS_H
#define SERVE_PREDICTIONS_H

#include "base/json.h"
#include "medley/bundle.h"

struct prediction {
    uint32_t values; /* where its values begin */
    uint8_t name, n; /* of the model; how many values */
};

struct predictions {
    const char *names[MEDLEY_MAX_MODELS]; /* [n_names] of all models named; borrowed */
    size_t n_names;
    struct prediction *items; /* product by product */
    float *values;
    size_t n_items, n_values, room_items, room_values;
};
void predictions_deinit(struct predictions *p); /* a zeroed struct is fine */

/* Appends those of one product, of which `v` is the value of its key "predictions"; the names
 * stay the tree's. Errors: EINVAL, naming the field: it is no object of lists of
 * probabilities; ENOMEM. */
medley_status predictions_add(struct predictions *p, const json *v, size_t product,
                              medley_error *err);

#endif
