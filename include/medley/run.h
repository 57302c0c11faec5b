/* run.h: what concerns a whole process: how many threads work, and stopping what runs. */
#ifndef MEDLEY_RUN_H
#define MEDLEY_RUN_H

#include "medley/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whatever runs for more than about a second, in any thread, returns MEDLEY_EINTERRUPTED soon after
 * `stop` became true, and so does whatever begins until it is false again. Safe in a signal handler.
 * The library installs no handlers itself. */
MEDLEY_API void medley_interrupt(bool stop);

/* Threads that work on one call, the caller's among them. 0: MEDLEY_THREADS in the environment, or
 * all usable cores. Not while a call runs. */
MEDLEY_API void medley_set_threads(unsigned n);
MEDLEY_API unsigned medley_threads(void);

#ifdef __cplusplus
}
#endif
#endif
