/* shadow.h: a candidate bundle that answers a share of the requests in the background, so that
 * its labels can be compared before it is activated. Clients never wait for it and never see
 * it. */
#ifndef SERVE_SHADOW_H
#define SERVE_SHADOW_H

#include "base/json.h"

#include <stdatomic.h>

struct request;
struct server;

struct shadow_counters {
    atomic_uint_least64_t agreed, differed;    /* pairs, by label */
    atomic_uint_least64_t distance_millionths; /* sum over pairs of the total variation distance
                                                  between the probabilities */
    atomic_uint_least64_t dropped, failed;     /* requests: no room in the queue; an error */
};

/* Called by a worker when r is answered, before request_done: takes the classification over
 * when this request is one of the share. */
void shadow_offer(struct request *r);

/* The comparison so far, as members of an object. */
void shadow_write(struct json_writer *w, const struct shadow_counters *c);

#endif
