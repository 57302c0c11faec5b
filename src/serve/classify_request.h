/* classify_request.h: the body of POST /v1/classify, from bytes to what a bundle takes. A pure
 * function of the bytes. Proof: tests/test_serve.c, fuzz/fuzz_classify_request.c. */
#ifndef SERVE_CLASSIFY_REQUEST_H
#define SERVE_CLASSIFY_REQUEST_H

#include "serve/predictions.h"

#define CLASSIFY_MAX_PRODUCTS 1000
#define CLASSIFY_MAX_TEXT 65536      /* bytes of the query and of each text field */
#define CLASSIFY_MAX_ID 1024         /* bytes */
#define CLASSIFY_MAX_LOCALE 35       /* bytes; as long as a language tag may be (RFC 5646) */
#define CLASSIFY_MAX_DEADLINE 600000 /* ms */

enum cache_use {
    CACHE_ON,   /* unless the request says otherwise */
    CACHE_OFF,  /* neither read nor written */
    CACHE_ONLY, /* nothing is evaluated: pairs that are not remembered have no label */
};

struct classify_request {
    medley_text query;        /* not blank */
    medley_text locale;       /* "us" unless given */
    medley_product *products; /* [n_products], 1..CLASSIFY_MAX_PRODUCTS; each has id or text */
    size_t n_products;
    bool explain;
    enum cache_use cache;
    double deadline_ms;  /* from when the request is complete; 0: not given */
    int64_t max_age_ms;  /* older labels are not taken from the cache; -1: any age */
    const char **models; /* [n_models] names, distinct; none: all */
    size_t n_models;
    bool asks_none; /* "models": [] beside predictions: these alone */
    /* What models say of the products, if any product has "predictions": such labels are
     * neither looked up nor remembered (cache is CACHE_OFF). */
    struct predictions predictions;
    uint32_t *said_ends; /* [n_products] where each one's end among their items; NULL: no
                            product has the key */
    bool of_texts;       /* a body of POST /v1/products */
    json *root;          /* owns the texts */
};

/* Anything not asked for is refused: unknown and doubled keys, wrong types, blank queries, too
 * long or too many. Errors: EFORMAT (not JSON), EINVAL (names the field, like
 * "products[3].title: must be text"), ENOMEM. On error nothing needs to be freed. */
medley_status classify_request_parse(const char *body, size_t n, struct classify_request *out,
                                     medley_error *err);
/* The body of POST /v1/products: "locale" and "products" alone, each of them with an id and a
 * text; the rest of *out is as if it had not been asked for. */
medley_status products_request_parse(const char *body, size_t n, struct classify_request *out,
                                     medley_error *err);
/* A tag such as "us" or "pt-BR": letters, digits, '-' and '_', CLASSIFY_MAX_LOCALE at most. */
bool is_locale_tag(medley_text text);
void classify_request_deinit(struct classify_request *r); /* a zeroed struct is fine */

#endif
