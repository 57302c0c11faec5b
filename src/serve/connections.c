/* connections.c: see connections.h. */
#include "serve/connections.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define LOOK_MS 500

static uint64_t now_ms(void)
{
    return (uint64_t)(clock_seconds() * 1e3);
}

/* ---- the watcher ------------------------------------------------------------------------- */

/* All that the client had to say has been read, and nothing will follow. */
static bool has_left(const struct peer *p)
{
    char c;
    return atomic_load(&p->sending) && recv(p->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Shut down, its thread finds it closed and ends it as if the client had left; the descriptor
 * stays taken until peer_close, which waits for our lock. A client may end its side behind a
 * whole request and wait for the answer: hence only what is as it was half a second ago. */
static void cut_late(struct connections *c)
{
    uint64_t now = now_ms();
    for (struct peer *p = c->first; p; p = p->next) {
        uint64_t late = atomic_load(&p->late_ms), seen = p->seen_ms;
        bool over = late && late <= now;
        p->seen_ms = late;
        if (!over && !(late && late == seen && has_left(p)))
            continue;
        if (!atomic_compare_exchange_strong(&p->late_ms, &late, 0))
            continue;
        shutdown(p->fd, SHUT_RDWR);
        if (over)
            atomic_fetch_add(&c->cut, 1);
    }
}

static void *watch(void *context)
{
    struct connections *c = context;
    pthread_mutex_lock(&c->lock);
    while (!c->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += LOOK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&c->wake, &c->lock, &until);
        cut_late(c);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

medley_status connections_start(struct connections *c, unsigned idle_seconds,
                                unsigned body_seconds, medley_error *err)
{
    sigset_t all, old;
    pthread_condattr_t monotonic;
    c->idle_seconds = idle_seconds;
    c->body_seconds = body_seconds;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&c->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    sigfillset(&all); /* signals are for the host's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(&c->watcher, NULL, watch, c);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (e) {
        pthread_cond_destroy(&c->wake);
        pthread_mutex_destroy(&c->lock);
        return fail(err, MEDLEY_EIO, "cannot start a thread: %s", strerror(e));
    }
    c->started = true;
    return MEDLEY_OK;
}

void connections_stop(struct connections *c)
{
    if (!c->started)
        return;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->watcher, NULL);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    c->started = false;
}

void connections_metrics(const struct connections *c, struct strbuf *out)
{
    sb_addf(out,
            "# TYPE medley_http_connections gauge\n"
            "# HELP medley_http_connections Connections that are open.\n"
            "medley_http_connections %" PRIu64 "\n"
            "# TYPE medley_http_connections_cut counter\n"
            "# HELP medley_http_connections_cut Connections closed because a request did not "
            "arrive, or its answer was not taken, in time.\n"
            "medley_http_connections_cut_total %" PRIu64 "\n",
            (uint64_t)atomic_load(&c->open), (uint64_t)atomic_load(&c->cut));
}

/* ---- one connection ---------------------------------------------------------------------- */

static void set_late(struct peer *p, unsigned seconds, bool sending)
{
    if (!p)
        return;
    atomic_store(&p->sending, sending);
    atomic_store(&p->late_ms, seconds ? now_ms() + seconds * UINT64_C(1000) : 0);
}

struct peer *peer_open(struct connections *c, int fd)
{
    struct peer *p = mem_zalloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->all = c;
    p->fd = fd;
    set_late(p, c->body_seconds, true);
    atomic_fetch_add(&c->open, 1);
    pthread_mutex_lock(&c->lock);
    p->next = c->first;
    if (p->next)
        p->next->before = p;
    c->first = p;
    pthread_mutex_unlock(&c->lock);
    return p;
}

void peer_close(struct peer *p)
{
    if (!p)
        return;
    struct connections *c = p->all;
    pthread_mutex_lock(&c->lock);
    if (p->next)
        p->next->before = p->before;
    if (p->before)
        p->before->next = p->next;
    else
        c->first = p->next;
    pthread_mutex_unlock(&c->lock);
    atomic_fetch_sub(&c->open, 1);
    mem_free(p);
}

void peer_waits(struct peer *p)
{
    set_late(p, p ? p->all->idle_seconds + p->all->body_seconds : 0, true);
}

void peer_sends(struct peer *p)
{
    set_late(p, p ? p->all->body_seconds : 0, true);
}

void peer_is_served(struct peer *p)
{
    set_late(p, 0, false);
}

void peer_takes(struct peer *p)
{
    set_late(p, p ? p->all->idle_seconds + p->all->body_seconds : 0, false);
}
