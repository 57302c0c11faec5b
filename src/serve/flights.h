/* flights.h: requests for one and the same list that is being judged wait for that answer
 * instead of having it judged again: when a popular query falls out of the cache, it is
 * evaluated once, however many ask. */
#ifndef SERVE_FLIGHTS_H
#define SERVE_FLIGHTS_H

#include <pthread.h>
#include <stdbool.h>

enum { FLIGHT_BUCKETS = 256 };

struct request;

/* Leaders, by the hash of what they ask for. */
struct flights {
    pthread_mutex_t lock;
    struct request *buckets[FLIGHT_BUCKETS];
};

void flights_init(struct flights *f);
void flights_deinit(struct flights *f);
/* True: r has been suspended behind a request for the same and will be answered with it; r must
 * not be touched any more. False: it leads, until flights_land. Requests without cache keys fly
 * alone. */
bool flights_join(struct flights *f, struct request *r);
/* The requests behind r, linked by their `follower`; nobody joins it from now on. */
struct request *flights_land(struct flights *f, struct request *r);

#endif
