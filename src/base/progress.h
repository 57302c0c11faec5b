/* progress.h: how long work tells the world how far it is. The library never prints: a sink is
 * installed by the program (the CLI draws a bar with rate and ETA on a terminal, plain lines
 * elsewhere). Without a sink all calls are no-ops. */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdint.h>

struct progress_sink {
    void (*step)(void *context, const char *task, uint64_t done, uint64_t total,
                 const char *unit);
    void (*end)(void *context, const char *task);     /* the task finished */
    void (*note)(void *context, const char *message); /* a line worth telling */
    void *context;
};
void progress_install(const struct progress_sink *sink); /* copied; NULL removes */

void progress_step(const char *task, uint64_t done, uint64_t total, const char *unit);
void progress_end(const char *task);
void progress_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
