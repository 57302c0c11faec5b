/* pool.c: the thread pool behind parallel_for.
 *
 * One job at a time. The caller publishes it under `lock`, takes part as worker 0, closes it
 * and waits for the helpers that joined; a helper that wakes too late finds the job closed and
 * goes back to sleep, so a job's memory is never touched after parallel_for returned. A second
 * host thread that calls while a job runs does its own work serially: waiting would be slower
 * than working. Chunks come from one atomic counter, so a busy neighbour delays one chunk, not
 * the whole. Waiting spins for some microseconds before it sleeps: small jobs come in bursts,
 * and on a machine shared with others long spinning made two threads slower than one. Proof:
 * tests/test_base_pool.c. */
#include "base/pool.h"

#include "medley/run.h"

#include "base/cpu.h"
#include "base/str.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_THREADS 256
#define SPINS 400 /* pauses, about 10 us on current CPUs */

struct job {
    size_t n, chunk;
    parallel_body *body;
    void *context;
    unsigned threads; /* workers 0 .. threads-1 may join */
    double limit;     /* of the caller's time */
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake, idle;
    /* guarded by lock */
    struct job job;
    bool open;         /* helpers may still join the job */
    unsigned started;  /* helpers alive */
    unsigned sleeping; /* helpers in pthread_cond_wait(wake) */
    bool fork_handled; /* pthread_atfork was called */
    /* not guarded */
    atomic_uint joined;     /* helpers inside the job */
    atomic_uint generation; /* counts jobs; changed under lock, watched without */
    atomic_size_t next;     /* first index that no one has taken */
    atomic_flag busy;       /* a job is running; its owner may touch the rest */
    atomic_uint threads;    /* 0: not decided yet */
    atomic_uint hosts;      /* threads between pool_host_begin and pool_host_end */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER,
          .idle = PTHREAD_COND_INITIALIZER,
          .busy = ATOMIC_FLAG_INIT};

static _Thread_local bool hosting;    /* this thread is one of pool.hosts */
static _Thread_local bool inside;     /* this thread runs a body */
static _Thread_local unsigned own_id; /* its worker number meanwhile */

static atomic_bool interrupt_wanted;
_Static_assert(ATOMIC_BOOL_LOCK_FREE == 2, "a signal handler may store it");

void interrupt_request(void)
{
    atomic_store(&interrupt_wanted, true);
}

void interrupt_clear(void)
{
    atomic_store(&interrupt_wanted, false);
}

void medley_interrupt(bool stop)
{
    atomic_store(&interrupt_wanted, stop);
}

bool interrupt_requested(void)
{
    return atomic_load_explicit(&interrupt_wanted, memory_order_relaxed);
}

static _Thread_local double limit; /* 0: none */

bool interrupted(void)
{
    return interrupt_requested() || (limit > 0 && clock_seconds() >= limit);
}

double time_limit_set(double until)
{
    double before = limit;
    limit = until;
    return before;
}

double time_limit(void)
{
    return limit;
}

/* ---- how many
 * -------------------------------------------------------------------------------- */

/* The share of CPU time that a container grants, in cores rounded up; MAX_THREADS when
 * unlimited. */
static unsigned granted_cores(void)
{
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    unsigned long long quota, period;
    unsigned cores = MAX_THREADS;
    if (f && fscanf(f, "%llu %llu", &quota, &period) == 2 && period > 0 &&
        (quota + period - 1) / period < MAX_THREADS)
        cores = (unsigned)((quota + period - 1) / period);
    if (f)
        fclose(f);
    return cores ? cores : 1;
}

static unsigned usable_cores(void)
{
    uint64_t asked;
    if (str_to_u64(str_of(getenv("MEDLEY_THREADS")), &asked) && asked > 0)
        return asked < MAX_THREADS ? (unsigned)asked : MAX_THREADS;
    cpu_set_t set;
    CPU_ZERO(&set);
    unsigned n = sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
    unsigned granted = granted_cores();
    n = n < granted ? n : granted;
    return n == 0 ? 1 : n;
}

void medley_set_threads(unsigned n)
{
    pool_set_threads(n);
}

unsigned medley_threads(void)
{
    return pool_threads();
}

void pool_set_threads(unsigned threads)
{
    if (threads == 0)
        threads = usable_cores();
    atomic_store(&pool.threads, threads < MAX_THREADS ? threads : MAX_THREADS);
}

unsigned pool_threads(void)
{
    unsigned n = atomic_load(&pool.threads);
    if (n == 0) {
        pool_set_threads(0);
        n = atomic_load(&pool.threads);
    }
    return n;
}

/* ---- running
 * --------------------------------------------------------------------------------- */

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    sched_yield();
#endif
}

static void run_chunks(const struct job *job, unsigned worker)
{
    for (;;) {
        size_t begin = atomic_fetch_add_explicit(&pool.next, job->chunk, memory_order_relaxed);
        if (begin >= job->n)
            return;
        size_t end = job->n - begin < job->chunk ? job->n : begin + job->chunk;
        job->body(job->context, begin, end, worker);
    }
}

/* The same chunks as in parallel, so that sums made per chunk come out the same. */
static void run_serially(const struct job *job)
{
    unsigned worker = inside ? own_id : 0;
    for (size_t begin = 0; begin < job->n;) {
        size_t end = job->n - begin < job->chunk ? job->n : begin + job->chunk;
        job->body(job->context, begin, end, worker);
        begin = end;
    }
}

/* Sleeps until the generation differs from `seen`; returns with the lock held. */
static unsigned wait_for_job(unsigned seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&pool.generation, memory_order_relaxed) != seen)
            break;
        pause_briefly();
    }
    pthread_mutex_lock(&pool.lock);
    while (atomic_load_explicit(&pool.generation, memory_order_relaxed) == seen) {
        pool.sleeping++;
        pthread_cond_wait(&pool.wake, &pool.lock);
        pool.sleeping--;
    }
    return atomic_load_explicit(&pool.generation, memory_order_relaxed);
}

static void *helper(void *argument)
{
    unsigned worker = (unsigned)(uintptr_t)argument, seen = 0;
    own_id = worker;
    inside = true;
    for (;;) {
        seen = wait_for_job(seen);
        struct job job = pool.job;
        bool join = pool.open && worker < job.threads;
        if (join)
            atomic_fetch_add(&pool.joined, 1);
        pthread_mutex_unlock(&pool.lock);
        if (!join)
            continue;
        limit = job.limit;
        run_chunks(&job, worker);
        pthread_mutex_lock(&pool.lock);
        if (atomic_fetch_sub(&pool.joined, 1) == 1)
            pthread_cond_signal(&pool.idle);
        pthread_mutex_unlock(&pool.lock);
    }
    return NULL;
}

static void before_fork(void)
{
    pthread_mutex_lock(&pool.lock);
}

static void after_fork_parent(void)
{
    pthread_mutex_unlock(&pool.lock);
}

/* The helpers did not survive the fork; nor does a job of another thread. */
static void after_fork_child(void)
{
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pthread_cond_init(&pool.idle, NULL);
    pool.open = false;
    pool.started = pool.sleeping = 0;
    atomic_store(&pool.joined, 0);
    atomic_store(&pool.hosts, hosting);
    atomic_store(&pool.generation, 0); /* what a new helper believes to have seen */
    atomic_flag_clear(&pool.busy);
}

/* Starts the missing helpers; with fewer than wanted the work still gets done. Lock held. */
static void start_helpers(unsigned wanted)
{
    if (!pool.fork_handled)
        pool.fork_handled =
            pthread_atfork(before_fork, after_fork_parent, after_fork_child) == 0;
    sigset_t all, old;
    sigfillset(&all); /* signals are for the host's threads */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (pool.started < wanted) {
        pthread_t thread;
        void *id = (void *)(uintptr_t)(pool.started + 1);
        if (pthread_create(&thread, NULL, helper, id) != 0)
            break;
        pthread_setname_np(thread, "medley-pool");
        pthread_detach(thread);
        pool.started++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void publish(const struct job *job)
{
    pthread_mutex_lock(&pool.lock);
    if (pool.started + 1 < job->threads)
        start_helpers(job->threads - 1);
    pool.job = *job;
    pool.open = true;
    atomic_store(&pool.next, 0);
    unsigned generation = atomic_load(&pool.generation) + 1;
    atomic_store(&pool.generation, generation ? generation : 1); /* 0: never a job's number */
    if (pool.sleeping)
        pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
}

static void finish(void)
{
    pthread_mutex_lock(&pool.lock);
    pool.open = false;
    pthread_mutex_unlock(&pool.lock);
    for (int i = 0; i < SPINS && atomic_load(&pool.joined); i++)
        pause_briefly();
    pthread_mutex_lock(&pool.lock);
    while (atomic_load(&pool.joined))
        pthread_cond_wait(&pool.idle, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
}

void pool_host_begin(void)
{
    hosting = true;
    atomic_fetch_add(&pool.hosts, 1);
}

void pool_host_end(void)
{
    hosting = false;
    atomic_fetch_sub(&pool.hosts, 1);
}

static bool all_hosts_busy(void)
{
    return atomic_load_explicit(&pool.hosts, memory_order_relaxed) >= pool_threads();
}

void parallel_for(size_t n, size_t chunk, parallel_body *body, void *context)
{
    if (n == 0)
        return;
    if (chunk == 0)
        chunk = n / 128 + 1; /* of n alone, never of the number of threads */
    struct job job = {n, chunk, body, context, pool_threads(), limit};
    size_t chunks = n / chunk + (n % chunk != 0);
    if (chunks < job.threads)
        job.threads = (unsigned)chunks;
    /* n + threads * chunk must not wrap in the counter. */
    bool parallel = !inside && job.threads > 1 && !all_hosts_busy() &&
                    chunk < SIZE_MAX / 2 / MAX_THREADS && n < SIZE_MAX / 2 &&
                    !atomic_flag_test_and_set(&pool.busy);
    if (!parallel) {
        run_serially(&job);
        return;
    }
    publish(&job);
    inside = true;
    own_id = 0;
    run_chunks(&job, 0);
    inside = false;
    finish();
    atomic_flag_clear(&pool.busy);
}
