/* flight.h: identical lists that are asked for at the same time are judged once.
 *
 * The first request for a list leads and is given to a worker; those for the same list that
 * come before it has its answer follow: they wait without a worker or a place in the queue, and
 * get the same answer. When the leader fails for a reason that need not be theirs, the first
 * follower leads the others on. A request that asks for contributions, leaves the cache alone
 * or wants nothing judged goes alone. Only requests with the same deadline_ms share an answer:
 * the leader's deadline is then before its followers', who get what they might have got alone.
 * Proof: tests/test_flight.c. */
#ifndef SERVE_FLIGHT_H
#define SERVE_FLIGHT_H

#include "base/file.h"

#include <pthread.h>
#include <stdatomic.h>

struct request;

#define FLIGHT_BUCKETS 64

/* A request's part in it. Guarded by the lock of flights. */
struct flight {
    struct hash128 hash;
    struct request *chain;             /* leaders: the next in the bucket */
    struct request *followers, **last; /* leaders: in order of arrival */
    struct request *next;              /* followers: the next of the same leader */
    bool leads;
};

struct flights {
    pthread_mutex_t lock;
    struct request *buckets[FLIGHT_BUCKETS];
    atomic_uint_least64_t followed; /* requests, since the start */
};

void flights_init(struct flights *f);
void flights_deinit(struct flights *f);

/* r->classification has keys and r->job.run is set: follows, or leads and is submitted. As
 * after request_submit, r must not be touched any more. */
void flight_submit(struct request *r);
/* On a worker, before the request's classification changes hands: gives the followers, if r
 * leads any, what came of it. */
void flight_land(struct request *r, medley_status st, const medley_error *err);

#endif
