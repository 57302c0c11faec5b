/* breaker.c: see breaker.h. Proof: tests/test_remote.c. */
#include "remote/breaker.h"

#include <string.h>

void breaker_init(struct breaker *b, unsigned limit, double open_seconds)
{
    memset(b, 0, sizeof *b);
    pthread_mutex_init(&b->lock, NULL);
    b->limit = limit ? limit : 1;
    b->open_seconds = open_seconds;
}

void breaker_deinit(struct breaker *b)
{
    pthread_mutex_destroy(&b->lock);
}

/* With the lock. */
static void age(struct breaker *b, double now)
{
    if (b->state == BREAKER_OPEN && now >= b->until) {
        b->state = BREAKER_HALF_OPEN;
        b->trying = false;
    }
}

bool breaker_enter(struct breaker *b, double now)
{
    pthread_mutex_lock(&b->lock);
    age(b, now);
    bool may = b->state == BREAKER_CLOSED || (b->state == BREAKER_HALF_OPEN && !b->trying);
    if (may && b->state == BREAKER_HALF_OPEN)
        b->trying = true;
    pthread_mutex_unlock(&b->lock);
    return may;
}

/* A straggler that entered while it was closed does not decide for the one that tries now,
 * unless it brings good news. */
void breaker_leave(struct breaker *b, bool good, double now)
{
    pthread_mutex_lock(&b->lock);
    if (good) {
        b->failures = 0;
        b->state = BREAKER_CLOSED;
        b->trying = false;
    } else if (++b->failures >= b->limit || b->state == BREAKER_HALF_OPEN) {
        if (b->state != BREAKER_OPEN)
            b->until = now + b->open_seconds;
        b->state = BREAKER_OPEN;
        b->trying = false;
    }
    pthread_mutex_unlock(&b->lock);
}

void breaker_cancel(struct breaker *b)
{
    pthread_mutex_lock(&b->lock);
    b->trying = false;
    pthread_mutex_unlock(&b->lock);
}

enum breaker_state breaker_state(struct breaker *b, double now)
{
    pthread_mutex_lock(&b->lock);
    age(b, now);
    enum breaker_state s = b->state;
    pthread_mutex_unlock(&b->lock);
    return s;
}
