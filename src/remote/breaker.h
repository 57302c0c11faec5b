/* breaker.h: a circuit breaker: after so many failures in a row nobody is asked for a while
 * (open); then one is let through (half-open), and its luck decides. Thread-safe. */
#ifndef REMOTE_BREAKER_H
#define REMOTE_BREAKER_H

#include <pthread.h>
#include <stdbool.h>

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

struct breaker {
    pthread_mutex_t lock;
    unsigned limit;      /* failures in a row that open it */
    double open_seconds; /* for so long */
    unsigned failures;   /* in a row */
    enum breaker_state state;
    double until; /* open: when the next one may try */
    bool trying;  /* half-open: somebody is */
};

void breaker_init(struct breaker *b, unsigned limit, double open_seconds);
void breaker_deinit(struct breaker *b);
/* May one ask? Who may tells how it went, once. `now` in seconds of any clock that does not run
 * backwards. */
bool breaker_enter(struct breaker *b, double now);
void breaker_leave(struct breaker *b, bool good, double now);
/* Neither good nor bad: the caller gave up by itself. */
void breaker_cancel(struct breaker *b);
enum breaker_state breaker_state(struct breaker *b, double now);

#endif
