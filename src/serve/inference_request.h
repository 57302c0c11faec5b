/* inference_request.h: the body of POST /v2/models/NAME/infer (Open Inference Protocol v2,
 * KServe), from bytes to lists of pairs. A pure function of the bytes. Proof:
 * tests/test_inference.c, fuzz/fuzz_inference_request.c.
 *
 * Inputs are tensors of datatype BYTES and shape [n] or [n, 1], n of 1 to 1,000, in JSON:
 * "query" is needed, and "product_id", "title" or both; "locale", "description", "bullets",
 * "brand", "color" and "category" may be there. An empty text counts as absent. Pairs of one
 * query and locale are judged together, as a list. */
#ifndef SERVE_INFERENCE_REQUEST_H
#define SERVE_INFERENCE_REQUEST_H

#include "serve/classify_request.h"

struct inference_request {
    size_t n;
    medley_text *query, *locale; /* [n] */
    medley_product *products;    /* [n] */
    uint32_t *order;             /* [n] pairs, list after list */
    uint32_t *list_end;          /* [n_lists] where in `order` each list ends */
    size_t n_lists;
    const char *id;   /* to be given back; NULL: none */
    uint32_t outputs; /* bits of enum inference_output; all, unless some are named */
    json *root;       /* owns the texts */
};

enum inference_output { OUTPUT_PROBABILITIES, OUTPUT_LABEL, INFERENCE_OUTPUTS };
extern const char *const inference_outputs[INFERENCE_OUTPUTS];

/* Errors: EFORMAT (not JSON), EINVAL (names the field), ENOMEM. On error nothing needs to be
 * freed. */
medley_status inference_request_parse(struct str body, struct inference_request *out,
                                      medley_error *err);
void inference_request_deinit(struct inference_request *r); /* a zeroed struct is fine */

#endif
