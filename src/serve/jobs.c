/* jobs.c: workers that take jobs off a bounded queue, oldest first. */
#include "serve/server_private.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"

#include <signal.h>
#include <string.h>

struct jobs {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct job *first, **last; /* the queue */
    size_t waiting, max_waiting;
    bool stopping;
    unsigned n_workers;
    pthread_t workers[];
};

static void *work(void *context)
{
    struct jobs *j = context;
    pthread_mutex_lock(&j->lock);
    for (;;) {
        while (!j->first && !j->stopping)
            pthread_cond_wait(&j->wake, &j->lock);
        struct job *job = j->first;
        if (!job)
            break;
        j->first = job->next;
        if (!j->first)
            j->last = &j->first;
        j->waiting--;
        pthread_mutex_unlock(&j->lock);
        pool_host_begin();
        job->run(job);
        pool_host_end();
        pthread_mutex_lock(&j->lock);
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

/* Signals are for the host's own threads. */
static int start_worker(struct jobs *j)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(&j->workers[j->n_workers], NULL, work, j);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (e == 0)
        pthread_setname_np(j->workers[j->n_workers++], "medley-worker");
    return e;
}

medley_status jobs_start(unsigned workers, size_t max_waiting, struct jobs **out,
                         medley_error *err)
{
    struct jobs *j = mem_zalloc(1, sizeof *j + workers * sizeof j->workers[0]);
    if (!j)
        return fail_memory(err, "workers");
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->wake, NULL);
    j->last = &j->first;
    j->max_waiting = max_waiting;
    while (j->n_workers < workers) {
        int e = start_worker(j);
        if (e) {
            jobs_free(j);
            return fail(err, MEDLEY_EIO, "cannot start a worker thread: %s", strerror(e));
        }
    }
    *out = j;
    return MEDLEY_OK;
}

bool jobs_submit(struct jobs *j, struct job *job)
{
    pthread_mutex_lock(&j->lock);
    bool room = j->waiting < j->max_waiting && !j->stopping;
    if (room) {
        job->next = NULL;
        *j->last = job;
        j->last = &job->next;
        j->waiting++;
        pthread_cond_signal(&j->wake);
    }
    pthread_mutex_unlock(&j->lock);
    return room;
}

size_t jobs_waiting(struct jobs *j)
{
    pthread_mutex_lock(&j->lock);
    size_t n = j->waiting;
    pthread_mutex_unlock(&j->lock);
    return n;
}

void jobs_stop(struct jobs *j)
{
    pthread_mutex_lock(&j->lock);
    j->stopping = true;
    pthread_cond_broadcast(&j->wake);
    pthread_mutex_unlock(&j->lock);
    while (j->n_workers > 0)
        pthread_join(j->workers[--j->n_workers], NULL);
}

void jobs_free(struct jobs *j)
{
    if (!j)
        return;
    jobs_stop(j);
    pthread_cond_destroy(&j->wake);
    pthread_mutex_destroy(&j->lock);
    mem_free(j);
}
