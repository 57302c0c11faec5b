/* classification.h: one list of products on its way through the cache and a bundle; private to
 * src/serve.
 *
 *   classification.c  making one of a request's body, its cache keys
 *   classify.c        the routes;  classify_answer.c  the JSON that goes out */
#ifndef SERVE_CLASSIFICATION_H
#define SERVE_CLASSIFICATION_H

#include "serve/classify_request.h"
#include "cache/label_cache.h"
#include "serve/server_private.h"

struct classification {
    struct classify_request asked;
    uint32_t models;        /* asked for; 0: all */
    bool ranked;            /* the answer is sorted by expected gain */
    double started;         /* clock_seconds when the request was complete */
    medley_result *results; /* [n] */
    int64_t *stored_ms;     /* [n] of those remembered; -1: not */
    bool from_cache;        /* nothing was evaluated */
    char traceparent[56];   /* W3C header of the request, for remote models; or "" */
    float *contributions;   /* [n*(M+1)*K] or NULL */
    /* cache keys: made once, for looking up and for storing */
    struct strbuf shared, own;
    size_t *own_ends; /* [n] product i's part is own[own_ends[i-1] .. own_ends[i]) */
    struct hash128 shared_hash, list_hash; /* of the first part; of the whole list */
};

/* Reads the body of a request to `engine`; with `keys`, cache keys are made too unless the
 * request does not want the cache. On error *out is what was made so far, to be freed. NULL: no
 * memory. */
medley_status classification_new(struct str body, const struct engine *engine, bool keys,
                                 struct classification **out, medley_error *err);
void classification_free(struct classification *c); /* accepts NULL */

/* Fills results and stored_ms of the pairs that are remembered; how many. */
size_t classification_look_up(struct classification *c, struct label_cache *cache);
/* The same from the levels below memory, for those that it does not have; what is found enters
 * memory. Reads disks and networks: for workers. */
size_t classification_look_below(struct classification *c, struct label_cache *cache,
                                 struct label_levels *levels);
/* levels: or NULL. */
void classification_remember(const struct classification *c, struct label_cache *cache,
                             struct label_levels *levels);
medley_status classification_run(struct classification *c, const struct engine *engine,
                                 medley_error *err);

/* Writes the answer into r->out; r->deployment has classified r->classification. */
void classification_answer(struct request *r);

#endif
