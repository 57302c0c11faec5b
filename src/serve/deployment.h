/* deployment.h: which bundle answers, and how another takes its place while requests run.
 *
 * A request enters the active deployment and leaves it when it is answered; a swap changes who
 * is entered from then on. The last to leave a replaced deployment closes its bundle, so
 * nothing is ever closed under a request. One deployment back is kept open for a rollback, and
 * one may stand in the shadow (shadow.c).
 *
 * All functions except init and deinit may be called from any thread.
 * Proof: tests/test_serve_bundles.c. */
#ifndef SERVE_DEPLOYMENT_H
#define SERVE_DEPLOYMENT_H

#include "serve/drift_watch.h"
#include "serve/result_pieces.h"

#include <pthread.h>
#include <stdatomic.h>

struct deployment {
    struct engine engine;
    struct result_pieces *pieces; /* of its answers */
    struct drift_watch *drift;    /* of what it judges; NULL: nothing to compare with */
    bool owned;                   /* engine_close when the last leaves */
    atomic_uint users;
};

struct deployments {
    pthread_mutex_t lock;
    struct deployment *active;   /* never NULL between init and deinit */
    struct deployment *previous; /* the one before, or NULL */
    struct deployment *shadow;   /* or NULL */
    double shadow_share;         /* of the requests that the shadow answers too */
};

/* `engine` stays the caller's. */
medley_status deployments_init(struct deployments *d, const struct engine *engine,
                               medley_error *err);
void deployments_deinit(struct deployments *d); /* a zeroed struct is fine */

/* Another engine, which the deployment closes at its end. ENOMEM: the engine is the caller's
 * still. The caller has entered it. */
struct deployment *deployment_new(const struct engine *engine);

struct deployment *deployment_enter(struct deployments *d); /* the active one */
struct deployment *deployment_enter_shadow(struct deployments *d, double *share); /* or NULL */
void deployment_leave(struct deployment *d); /* accepts NULL */

/* `next` becomes active, the active one previous; the shadow ends if it is what became active.
 */
void deployments_activate(struct deployments *d, struct deployment *next);
/* Swaps active and previous; false: there is no previous one. */
bool deployments_roll_back(struct deployments *d);
void deployments_set_shadow(struct deployments *d, struct deployment *shadow, double share);

#endif
