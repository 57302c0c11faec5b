/* classification.h: one list of products on its way through the cache and a bundle; private to
 * src/serve.
 *
 *   classification.c  making one of a request's body, its cache keys
 *   classify.c        the routes;  classify_answer.c  the JSON that goes out */
#ifndef SERVE_CLASSIFICATION_H
#define SERVE_CLASSIFICATION_H

#include "serve/classify_request.h"
#include "serve/server_private.h"

struct classification {
    struct classify_request asked;
    uint32_t models;        /* asked for; 0: all, or none if the request says so */
    bool usual;             /* the bundle answers as it does for who wishes nothing of it */
    bool ranked;            /* the answer is sorted by expected gain */
    double started;         /* clock_seconds when the request was complete */
    medley_result *results; /* [n] */
    int64_t *stored_ms;     /* [n] of those remembered; -1: not */
    bool from_cache;        /* nothing was evaluated */
    bool look_far;          /* the cache has tiers that have not been asked yet */
    char traceparent[56];   /* W3C header of the request, for remote models; or "" */
    float *contributions;   /* [n*(M+1)*K] or NULL */
    float *given;           /* [n*M*K] that the request brought along, NaN where not; or NULL */
    float *said;            /* [n*M*K] what each model said, for the watch on drift; or NULL */
    struct arena texts;     /* of products that have newer ones than the bundle */
    struct label_list list; /* cache keys, unless the request does not want the cache */
};

/* Reads the body of a request to `engine`; the server knows newer texts and epochs of products.
 * On error *out is what was made so far, to be freed. NULL: no memory. */
medley_status classification_new(const struct server *s, struct str body,
                                 const struct engine *engine, struct classification **out,
                                 medley_error *err);
void classification_free(struct classification *c); /* accepts NULL */

/* Fills results and stored_ms of the pairs that are remembered within reach; how many are known
 * now. */
size_t classification_look_up(struct classification *c, struct label_cache *cache,
                              enum label_reach reach);
void classification_remember(const struct classification *c, struct label_cache *cache);
medley_status classification_run(struct classification *c, const struct engine *engine,
                                 medley_error *err);

/* Tells the client what it did wrong, or that something went wrong. */
void classification_fail(struct request *r, medley_status st, const medley_error *err);
/* Writes the answer into r->out; r->deployment has classified r->classification. */
void classification_answer(struct request *r);

#endif
