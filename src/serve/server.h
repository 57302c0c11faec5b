/* server.h: an HTTP server that classifies query-product pairs. HTTP/1.1 by libmicrohttpd; put
 * nginx or the like in front for TLS, HTTP/2 and the open internet.
 *
 * Threads: a few that speak HTTP (they parse requests, answer from the cache and never wait)
 * and a few workers that run the bundle, with a bounded queue between them: health checks and
 * metrics stay quick while models work, and a full queue is answered 429. Proof:
 * tests/test_serve.c. */
#ifndef SERVE_SERVER_H
#define SERVE_SERVER_H

#include "serve/engine.h"

#define SERVER_ID 64 /* bytes of a bundle's id, with its end */

/* One JSON line without its newline; called from any thread. */
typedef void server_log(void *context, const char *line, size_t n);

/* All-zero means the defaults in brackets. */
struct server_options {
    const char *host;   /* name or number of the address to listen on ["127.0.0.1"] */
    uint16_t port;      /* 0: any free one */
    unsigned threads;   /* workers that run the bundle [one a core] */
    size_t max_queue;   /* requests that may wait for a worker [128] */
    size_t max_body;    /* bytes [4 MiB] */
    /* Further ones are answered 429 and closed; fewer where the process may not open so many
       files [1,000]. */
    unsigned max_connections;
    double deadline_ms; /* of requests that name none; 0: none */
    bool no_cache;
    size_t cache_entries;        /* [100,000] */
    size_t cache_bytes;          /* [64 MiB] */
    double cache_ttl;            /* seconds; 0: no limit */
    const char *cache_folder;    /* of the labels kept on disk; NULL: in memory alone */
    size_t cache_disk_bytes;     /* [1 GiB] */
    bool cache_admit_all;        /* labels asked for once go to disk and Redis, too */
    const char *redis;           /* host:port[/database] or a socket's /path; NULL: none */
    const char *redis_password;  /* NULL: none */
    unsigned redis_timeout_ms;   /* [20] */
    const char *products_folder; /* of texts that come while it runs; NULL: none are taken */
    unsigned idle_seconds;       /* without a byte, then a connection is closed [30] */
    unsigned body_seconds; /* for headers to arrive, and for a body; together with idle_seconds,
                              for an answer to be taken [30] */
    const char *token;           /* asked of clients that classify; NULL: nobody is asked */
    const char *admin_token;     /* asked of those that change bundles; NULL: nobody may */
    const char *bundles; /* folder of the bundles that may be activated by name; NULL: none */
    engine_open *open;   /* how one is opened [engine_open_bundle] */
    server_log *log;     /* access log; NULL: none */
    void *log_context;
    /* Told once of each kind of trouble that is no request's; NULL: nobody is. */
    void (*warn)(void *log_context, const char *text);
};

struct server; /* opaque */

/* Listens and answers from now on. The engine and all texts of
 * the options must outlive the server. Errors: EINVAL (host),
 * EIO (the address is taken, not ours, not permitted; the folder of texts), ENOMEM. */
medley_status server_start(const struct engine *engine, const struct server_options *options,
                           struct server **out, medley_error *err);
uint16_t server_port(const struct server *s);
/* "http://127.0.0.1:8080"; borrowed. */
const char *server_url(const struct server *s);

struct server_change {
    char active[SERVER_ID], previous[SERVER_ID]; /* ids */
    size_t warmed; /* recent requests put through the new bundle */
    double seconds;
};
/* Opens the bundle `name` of options.bundles, warms it with recent requests and lets it answer
 * from then on; requests that have begun end on the old one. Errors leave all as it was: EINVAL
 * (no plain name, other classes), EUNSUPPORTED (no folder of bundles), those of opening. */
medley_status server_activate(struct server *s, const char *name, struct server_change *out,
                              medley_error *err);

/* Stops listening, waits up to `seconds` for the requests in flight to be answered, closes what
 * is still open and frees the server. Long classifications are asked to stop
 * (interrupt_request) when time is up. True: all over. False: a classification would not stop
 * within another second; the server then is left as it is, to be ended by the end of the
 * process. */
bool server_stop(struct server *s, double seconds);

#endif
