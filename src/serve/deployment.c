/* deployment.c: entering, leaving and swapping what answers; deployment.h says why. */
#include "serve/deployment.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

struct deployment *deployment_new(const struct engine *engine)
{
    struct deployment *d = mem_zalloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->engine = *engine;
    d->pieces = result_pieces_new(&d->engine);
    if (!d->pieces) {
        mem_free(d);
        return NULL;
    }
    d->owned = true;
    d->drift = drift_watch_new(&d->engine);
    atomic_init(&d->users, 1);
    return d;
}

void deployment_leave(struct deployment *d)
{
    if (!d || atomic_fetch_sub(&d->users, 1) > 1)
        return;
    drift_watch_free(d->drift);
    result_pieces_free(d->pieces);
    if (d->owned)
        engine_close(&d->engine);
    mem_free(d);
}

static struct deployment *entered(struct deployment *d)
{
    if (d)
        atomic_fetch_add(&d->users, 1);
    return d;
}

medley_status deployments_init(struct deployments *d, const struct engine *engine,
                               medley_error *err)
{
    *d = (struct deployments){.active = deployment_new(engine)};
    if (!d->active)
        return fail_memory(err, "a deployment");
    d->active->owned = false;
    pthread_mutex_init(&d->lock, NULL);
    return MEDLEY_OK;
}

void deployments_deinit(struct deployments *d)
{
    if (!d->active)
        return;
    deployment_leave(d->active);
    deployment_leave(d->previous);
    deployment_leave(d->shadow);
    pthread_mutex_destroy(&d->lock);
    *d = (struct deployments){0};
}

struct deployment *deployment_enter(struct deployments *d)
{
    pthread_mutex_lock(&d->lock);
    struct deployment *active = entered(d->active);
    pthread_mutex_unlock(&d->lock);
    return active;
}

struct deployment *deployment_enter_shadow(struct deployments *d, double *share)
{
    pthread_mutex_lock(&d->lock);
    struct deployment *shadow = entered(d->shadow);
    *share = d->shadow_share;
    pthread_mutex_unlock(&d->lock);
    return shadow;
}

void deployments_activate(struct deployments *d, struct deployment *next)
{
    struct deployment *gone[2] = {NULL, NULL};
    pthread_mutex_lock(&d->lock);
    gone[0] = d->previous;
    d->previous = d->active;
    d->active = entered(next);
    if (d->shadow && strcmp(d->shadow->engine.id, next->engine.id) == 0) {
        gone[1] = d->shadow;
        d->shadow = NULL;
    }
    pthread_mutex_unlock(&d->lock);
    deployment_leave(gone[0]); /* may close a bundle: not under the lock */
    deployment_leave(gone[1]);
}

bool deployments_roll_back(struct deployments *d)
{
    pthread_mutex_lock(&d->lock);
    struct deployment *back = d->previous;
    if (back) {
        d->previous = d->active;
        d->active = back;
    }
    pthread_mutex_unlock(&d->lock);
    return back != NULL;
}

void deployments_set_shadow(struct deployments *d, struct deployment *shadow, double share)
{
    pthread_mutex_lock(&d->lock);
    struct deployment *gone = d->shadow;
    d->shadow = entered(shadow);
    d->shadow_share = share;
    pthread_mutex_unlock(&d->lock);
    deployment_leave(gone);
}
