/* server_private.h: what the files of the server share: one request's life, routes, workers.
 *
 *   request.c   HTTP in and out: collects the body, finds the route, sends the answer, logs
 *   routes.c    the table of routes and the small ones;  classify.c, bundles.c  the large ones
 *   jobs.c      workers and their queue;  server.c  start and stop */
#ifndef SERVE_SERVER_PRIVATE_H
#define SERVE_SERVER_PRIVATE_H

#include "base/json.h"
#include "cache/label_cache.h"
#include "serve/counters.h"
#include "serve/deployment.h"
#include "serve/connections.h"
#include "serve/flight.h"
#include "serve/product_texts.h"
#include "serve/recent.h"
#include "serve/server.h"
#include "serve/shadow.h"
#include "serve/shadow_changes.h"

#include <microhttpd.h>
#include <pthread.h>

/* ---- jobs: a bounded queue and its workers ----------------------------------------------- */

struct job {
    struct job *next;
    void (*run)(struct job *job);
};
struct jobs; /* opaque */
medley_status jobs_start(unsigned workers, size_t max_waiting, struct jobs **out,
                         medley_error *err);
bool jobs_submit(struct jobs *j, struct job *job); /* false: the queue is full */
size_t jobs_waiting(struct jobs *j);
/* Runs what waits, then ends the workers; jobs_submit returns false from then on. */
void jobs_stop(struct jobs *j);
void jobs_free(struct jobs *j); /* stops too; accepts NULL */

/* ---- server ------------------------------------------------------------------------------ */

struct server {
    struct deployments deployments;
    struct server_options options; /* defaults filled in */
    struct label_cache *cache;     /* NULL: none */
    struct product_texts *texts;   /* newer than the bundles'; NULL: none are taken */
    struct flights flights;        /* lists being judged, for those who ask for the same */
    struct jobs *jobs;             /* classifications */
    struct jobs *admin_jobs, *shadow_jobs;
    struct recent recent;
    struct shadow_counters shadow;
    struct shadow_changes shadow_changes;
    pthread_mutex_t change_lock; /* one change of bundles at a time */
    struct MHD_Daemon *daemon;
    struct connections connections;
    unsigned max_connections; /* that are served; a few more are told so */
    int listen_fd; /* -1: none */
    uint16_t port;
    char url[320];
    double started; /* clock_seconds */
    struct counters counters;
    atomic_uint_least64_t in_flight;   /* requests */
    atomic_uint_least64_t classifying; /* requests with a worker or waiting for one */
    atomic_uint_least64_t body_bytes;  /* held for requests that are still arriving */
    atomic_uint_least64_t next_id;     /* for generated request ids */
    uint64_t id_seed;
    atomic_bool draining; /* server_stop was called */
    atomic_bool hurrying; /* and its time is up: what still waits is refused */
};

/* ---- requests ---------------------------------------------------------------------------- */

enum stage {
    COLLECTING, /* the body is arriving */
    REFUSING,   /* an error is decided; the rest of the body is thrown away */
    WORKING,    /* suspended; a worker has it */
    ANSWERED,   /* status and out are set */
    SENDING,    /* handed to libmicrohttpd */
};

struct classification; /* classification.h */

/* Owned by the connection's HTTP thread, except while WORKING: then by a worker. */
struct request {
    struct job job; /* first: a job is cast back to its request */
    struct server *server;
    struct MHD_Connection *connection;
    struct peer *peer; /* or NULL */
    enum stage stage;
    size_t route; /* index in routes; N_ROUTES: none matched */
    char id[65];
    char method[16], path[257]; /* cut to fit; for the log */
    double started, deadline;   /* clock_seconds */
    struct strbuf body;     /* of a route that takes none: what stands for {id} in its path */
    struct strbuf argument; /* what stands for {id} or {name} in the path of the route */
    size_t received;        /* bytes of body, kept or thrown away */
    size_t held;            /* of these, counted in the server's body_bytes */
    struct deployment *deployment; /* entered, or NULL */
    struct classification *classification;
    struct flight flight;
    /* the answer */
    unsigned status;
    const char *content_type; /* static */
    char allow[64];           /* methods, for 405 */
    struct strbuf out;
    struct str fixed; /* sent instead of `out` when not empty; outlives the request */
    const char *tag;  /* ETag: it may be kept, and asked for again; NULL: it may not */
    bool packed;      /* fixed is packed with gzip */
    bool last;        /* the connection is closed behind it */
    /* for the log */
    size_t pairs, pairs_cached, pairs_shared, pairs_precomputed, sent;
    char error[256];
};

enum handled { HANDLED, SUBMITTED };

enum access { OPEN_TO_ALL, FOR_CLIENTS, FOR_ADMINS };

struct route {
    const char *method, *path;                 /* one "{id}" in it stands for one byte or more,
                                                  "{name}" for such without a slash */
    enum handled (*handle)(struct request *r); /* SUBMITTED: a worker will call request_done */
    const char *takes;                         /* media type of the body; NULL: it takes none */
    bool always;                               /* answered while the server shuts down, too */
    enum access access;
    const char *summary;
};
#define N_ROUTES 29 /* as the table's size, so that a missing line shows; see routes.c */
extern const struct route routes[N_ROUTES];

/* Sets a JSON answer {"error": "..."}. */
void answer_error(struct request *r, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Sets an answer that is already in r->out. */
void answer(struct request *r, unsigned status, const char *content_type);
/* Suspends the request and gives it to a worker, which runs r->job. False: it was answered 429
 * instead. Either way r must not be touched after it. */
bool request_submit(struct request *r);
/* Suspends it for a worker who will find it elsewhere than in a queue. */
void request_suspend(struct request *r);
/* Gives a suspended request to a worker. False: there is no room; it is as it was. */
bool request_resubmit(struct request *r);
/* The same as request_submit, but to other workers, who must not count it among the
 * classifications. */
bool request_submit_to(struct request *r, struct jobs *jobs);
/* Called by a worker when the answer is set: gives the request back to its HTTP thread. */
void request_done(struct request *r);

enum MHD_Result request_access(void *server, struct MHD_Connection *connection, const char *url,
                               const char *method, const char *version, const char *upload,
                               size_t *upload_n, void **state);
void request_completed(void *server, struct MHD_Connection *connection, void **state,
                       enum MHD_RequestTerminationCode how);

enum handled handle_inference_server(struct request *r);
enum handled handle_inference_live(struct request *r);
enum handled handle_inference_ready(struct request *r);
enum handled handle_inference_model(struct request *r);
enum handled handle_inference_model_ready(struct request *r);
enum handled handle_infer(struct request *r);
enum handled handle_classify(struct request *r);
enum handled handle_rank(struct request *r);
enum handled handle_activate(struct request *r);
enum handled handle_rollback(struct request *r);
enum handled handle_shadow(struct request *r);
#define PRODUCTS_MAX_IDS 10000
enum handled handle_invalidate(struct request *r); /* products.c */
enum handled handle_invalidate_one(struct request *r);
/* product_updates.c */
enum handled handle_products_put(struct request *r);
enum handled handle_product_get(struct request *r);
enum handled handle_product_delete(struct request *r);
void write_double_classes(struct json_writer *w, const struct engine *e, const double *v);

/* "models", "cascade" and "calibration", as members of an object. */
void write_make(struct json_writer *w, const struct engine *e);
enum handled handle_openapi(struct request *r);      /* openapi.c */
enum handled handle_shadow_state(struct request *r); /* shadow_changes.c */
enum handled handle_shadow_changes(struct request *r);
enum handled handle_page(struct request *r); /* page.c: the dashboard */
enum handled handle_css(struct request *r);
enum handled handle_js(struct request *r);
enum handled handle_icon(struct request *r);

/* server_cache.c: the label cache as the server tidies and shows it. */
void server_tidy_cache(struct server *s); /* labels of bundles that are gone leave the disk */
void server_write_cache(struct json_writer *w, struct server *s);
void server_cache_metrics(struct server *s, struct strbuf *out);

#endif
