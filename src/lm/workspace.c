/* workspace.c: see workspace.h. */
#include "lm/workspace.h"

#include "base/memory.h"
#include "base/pool.h"

#include <pthread.h>

enum { MOST_IDLE = 8 }; /* as many callers at a time find warm memory */

struct lm_workspaces {
    pthread_mutex_t lock;
    struct lm_workspace *idle; /* guarded by lock */
    size_t n_idle;             /* guarded by lock */
};

static void workspace_free(struct lm_workspace *w)
{
    if (!w)
        return;
    for (unsigned i = 0; w->workers && i < w->n; i++) {
        tape_deinit(&w->workers[i].tapes[0]);
        tape_deinit(&w->workers[i].tapes[1]);
        lm_inputs_deinit(&w->workers[i].inputs);
    }
    lm_inputs_deinit(&w->inputs);
    mem_free(w->workers);
    mem_free(w->order);
    mem_free(w->batch_begin);
    mem_free(w);
}

struct lm_workspaces *lm_workspaces_new(void)
{
    struct lm_workspaces *all = mem_zalloc(1, sizeof *all);
    if (all)
        pthread_mutex_init(&all->lock, NULL);
    return all;
}

void lm_workspaces_free(struct lm_workspaces *all)
{
    if (!all)
        return;
    for (struct lm_workspace *w = all->idle, *next; w; w = next) {
        next = w->next;
        workspace_free(w);
    }
    pthread_mutex_destroy(&all->lock);
    mem_free(all);
}

static struct lm_workspace *new_workspace(const struct cross_encoder *m)
{
    struct lm_workspace *w = mem_zalloc(1, sizeof *w);
    if (!w)
        return NULL;
    lm_inputs_init(&w->inputs);
    w->n = pool_threads();
    w->workers = mem_zalloc(w->n, sizeof *w->workers);
    if (!w->workers) {
        workspace_free(w);
        return NULL;
    }
    for (unsigned i = 0; i < w->n; i++) {
        tape_init(&w->workers[i].tapes[0], &m->params, NULL);
        tape_init(&w->workers[i].tapes[1], &m->params, NULL);
        lm_inputs_init(&w->workers[i].inputs);
    }
    return w;
}

struct lm_workspace *lm_workspace_take(const struct cross_encoder *m)
{
    struct lm_workspaces *all = m->workspaces;
    pthread_mutex_lock(&all->lock);
    struct lm_workspace *w = all->idle;
    if (w) {
        all->idle = w->next;
        all->n_idle--;
    }
    pthread_mutex_unlock(&all->lock);
    if (w && w->n != pool_threads()) { /* the pool has changed since */
        workspace_free(w);
        w = NULL;
    }
    w = w ? w : new_workspace(m);
    for (unsigned i = 0; w && i < w->n; i++)
        w->workers[i].tapes[0].packs = w->workers[i].tapes[1].packs = m->packs;
    return w;
}

void lm_workspace_give(const struct cross_encoder *m, struct lm_workspace *w)
{
    struct lm_workspaces *all = m->workspaces;
    bool sound = !w->inputs.failed; /* what has run out of memory remembers it */
    for (unsigned i = 0; i < w->n; i++)
        sound = sound && !w->workers[i].inputs.failed;
    pthread_mutex_lock(&all->lock);
    bool keep = sound && all->n_idle < MOST_IDLE;
    if (keep) {
        w->next = all->idle;
        all->idle = w;
        all->n_idle++;
    }
    pthread_mutex_unlock(&all->lock);
    if (!keep)
        workspace_free(w);
}
