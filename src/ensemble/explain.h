/* explain.h: everything that can be told about one decision of a bundle, as JSON: what each
 * base model said, what it contributed, which two models mattered together, which neighbours
 * the graph models saw, which tokens moved the language model that mattered most. */
#ifndef ENSEMBLE_EXPLAIN_H
#define ENSEMBLE_EXPLAIN_H

#include "base/json.h"
#include "medley/bundle.h"

struct explain_ask {
    medley_text query, locale;
    const medley_product *products; /* [n] the list that is judged together */
    size_t n, which;                /* the one to explain */
    uint32_t models;                /* to ask; 0: as the bundle does */
    bool tokens;                    /* also integrated gradients: some hundred passes */
    unsigned neighbours;            /* of each side, at most */
};

/* Writes one object (docs/schemas.md, `medley explain --json`) into a begun value. */
medley_status bundle_explain(const medley_bundle *b, const struct explain_ask *ask,
                             struct json_writer *w, medley_error *err);

#endif
