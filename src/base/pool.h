/* pool.h: the one thread pool. parallel_for hands out chunks dynamically; results must not
 * depend on which thread ran a chunk. Nested calls run serially in the calling thread. Safe
 * after fork (the child starts threads of its own on first use). */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stdbool.h>
#include <stddef.h>

/* Number of threads used from now on: 0 means the number of usable cores, or MEDLEY_THREADS.
 * Not while a job runs. */
void pool_set_threads(unsigned threads);
unsigned pool_threads(void);

/* Calls body(context, begin, end, worker) for disjoint chunks covering [0, n); worker is in
 * [0, pool_threads()) and is unique among those running at one time. Returns when all are done.
 * A chunk starts at a multiple of `chunk` (0: chosen, from n alone) whatever the number of
 * threads, so sums kept per chunk are reproducible. A host thread that calls while another
 * one's job runs works alone, as worker 0. */
typedef void parallel_body(void *context, size_t begin, size_t end, unsigned worker);
void parallel_for(size_t n, size_t chunk, parallel_body *body, void *context);

/* Around the work of one of several host threads: while as many are at work as the pool has
 * threads, parallel_for spreads nothing, since its helpers would only take the others' time. */
void pool_host_begin(void);
void pool_host_end(void);

/* Set (from a signal handler, or by a host program) to ask long work to stop soon; loops that
 * run for more than about a second check interrupted() and return MEDLEY_EINTERRUPTED. */
void interrupt_request(void);
void interrupt_clear(void);
bool interrupted(void); /* or the thread's time is over */
bool interrupt_requested(void);

/* Until when this thread, and what it hands to the pool, may work: interrupted() is true from
 * then on. Seconds as of clock_seconds, 0: no limit. Returns the limit before, to be set again.
 */
double time_limit_set(double until);
double time_limit(void);

#endif
