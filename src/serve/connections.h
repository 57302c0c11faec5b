/* connections.h: all connections of a server, so that none can be held for ever, and too many
 * are refused in words. libmicrohttpd ends connections that are silent; one that sends or takes
 * a byte now and then is never silent, and a thousand of them would be all there are.
 *
 * So each has a time until which the next thing must be done: the headers be there, the body,
 * the answer be taken. A thread looks twice a second and shuts down what is late, and whose
 * client has left in the midst of a request: of an end that comes together with bytes
 * libmicrohttpd 0.9.75 learns only when it gives up on the silence. Proof:
 * tests/test_serve_limits.c. */
#ifndef SERVE_CONNECTIONS_H
#define SERVE_CONNECTIONS_H

#include "base/str.h"
#include "medley/status.h"

#include <pthread.h>
#include <stdatomic.h>

/* One connection. Owned by the HTTP thread that has it. */
struct peer {
    struct peer *next, *before;
    struct connections *all;
    int fd;
    atomic_uint_least64_t late_ms; /* on the monotonic clock; 0: whenever it likes */
    atomic_bool sending;           /* the next thing comes from the client */
    uint64_t seen_ms;              /* the watcher's: late_ms when it looked last */
};

struct connections {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct peer *first;
    unsigned idle_seconds, body_seconds; /* as server_options */
    atomic_uint_least64_t open;
    atomic_uint_least64_t cut; /* shut down because they were late */
    bool started, stopping;
    pthread_t watcher;
};

medley_status connections_start(struct connections *c, unsigned idle_seconds,
                                unsigned body_seconds, medley_error *err);
void connections_stop(
    struct connections *c); /* after the last has been closed; or never started */

void connections_metrics(const struct connections *c, struct strbuf *out);

/* A connection that begins, and ends before its descriptor is closed. NULL: no memory; it is
 * not watched then. */
struct peer *peer_open(struct connections *c, int fd);
void peer_close(struct peer *p);

/* What it does next, all NULL-safe. */
void peer_waits(struct peer *p); /* it may be silent, and then send the headers of a request */
void peer_sends(struct peer *p); /* the body */
void peer_is_served(struct peer *p); /* nothing: we are at work */
void peer_takes(struct peer *p);     /* the answer */

#endif
