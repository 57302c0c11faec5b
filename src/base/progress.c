/* progress.c: the installed sink and the lock under which it is called, one call at a time,
 * from whatever thread works. A sink must not call progress_* itself. */
#include "base/progress.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct progress_sink sink; /* guarded by lock */
static atomic_bool installed;     /* so that nobody takes the lock for nothing */

void progress_install(const struct progress_sink *s)
{
    pthread_mutex_lock(&lock);
    sink = s ? *s : (struct progress_sink){0};
    atomic_store(&installed, s != NULL);
    pthread_mutex_unlock(&lock);
}

void progress_step(const char *task, uint64_t done, uint64_t total, const char *unit)
{
    if (!atomic_load_explicit(&installed, memory_order_relaxed))
        return;
    pthread_mutex_lock(&lock);
    if (sink.step)
        sink.step(sink.context, task, done, total, unit);
    pthread_mutex_unlock(&lock);
}

void progress_end(const char *task)
{
    if (!atomic_load_explicit(&installed, memory_order_relaxed))
        return;
    pthread_mutex_lock(&lock);
    if (sink.end)
        sink.end(sink.context, task);
    pthread_mutex_unlock(&lock);
}

void progress_note(const char *format, ...)
{
    if (!atomic_load_explicit(&installed, memory_order_relaxed))
        return;
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    pthread_mutex_lock(&lock);
    if (sink.note)
        sink.note(sink.context, message);
    pthread_mutex_unlock(&lock);
}
