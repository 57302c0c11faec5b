/* test_base_pool.c: parallel_for covers the range once, whatever the number of threads, nested,
 * from several host threads, and after fork. Run it under `make tsan` too. */
#include "base/memory.h"
#include "base/pool.h"
#include "tests/tap.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>

struct cover {
    atomic_uint *hits;
    size_t n, chunk;
    atomic_uint running[64]; /* by worker */
    atomic_bool wrong;
};

static void cover_body(void *context, size_t begin, size_t end, unsigned worker)
{
    struct cover *c = context;
    bool good = begin < end && end <= c->n && worker < pool_threads() &&
                atomic_fetch_add(&c->running[worker], 1) == 0;
    if (c->chunk)
        good = good && begin % c->chunk == 0 && (end - begin == c->chunk || end == c->n);
    for (size_t i = begin; i < end; i++)
        atomic_fetch_add(&c->hits[i], 1);
    atomic_fetch_sub(&c->running[worker], 1);
    if (!good)
        atomic_store(&c->wrong, true);
}

static bool covers(size_t n, size_t chunk)
{
    struct cover c = {.hits = mem_zalloc(n, sizeof(atomic_uint)), .n = n, .chunk = chunk};
    parallel_for(n, chunk, cover_body, &c);
    bool good = !c.wrong;
    for (size_t i = 0; i < n; i++)
        good = good && c.hits[i] == 1;
    mem_free(c.hits);
    return good;
}

static void test_coverage(void)
{
    static const size_t sizes[] = {0, 1, 2, 7, 64, 1000, 4097};
    for (unsigned threads = 1; threads <= 5; threads++) {
        bool good = true;
        pool_set_threads(threads);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            for (size_t chunk = 0; chunk < 300; chunk = chunk * 3 + 1)
                good = good && covers(sizes[i], chunk);
        ok(good && pool_threads() == threads, "%u threads cover every index once", threads);
    }
    bool good = true;
    for (int i = 0; i < 3000; i++) /* many short jobs: late helpers, sleeping and spinning */
        good = good && covers((size_t)(i % 50), 1);
    ok(good, "3000 short jobs");
    ok(covers(10, SIZE_MAX), "an enormous chunk is one call");
}

static void sum_body(void *context, size_t begin, size_t end, unsigned worker)
{
    double *sums = context; /* one per chunk of 16 */
    (void)worker;
    for (size_t i = begin; i < end; i++)
        sums[begin / 16] += 1.0 / (double)(i + 1);
}

static void test_chunks_are_fixed(void)
{
    double first[63] = {0}, again[63] = {0};
    pool_set_threads(1);
    parallel_for(1000, 16, sum_body, first);
    pool_set_threads(4);
    parallel_for(1000, 16, sum_body, again);
    ok(memcmp(first, again, sizeof first) == 0, "sums per chunk do not depend on the threads");
}

static void inner_body(void *context, size_t begin, size_t end, unsigned worker)
{
    atomic_size_t *count = context;
    (void)worker;
    atomic_fetch_add(count, end - begin);
}

static void outer_body(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    for (size_t i = begin; i < end; i++)
        parallel_for(100, 7, inner_body, context);
}

static void *host_thread(void *context)
{
    for (int i = 0; i < 200; i++)
        parallel_for(50, 1, outer_body, context);
    return NULL;
}

static void test_nesting_and_hosts(void)
{
    atomic_size_t count = 0;
    parallel_for(50, 1, outer_body, &count);
    ok(count == 5000, "nested calls run where they are");
    pthread_t threads[3];
    count = 0;
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, host_thread, &count);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ok(count == (size_t)3 * 200 * 5000, "three host threads at once");
}

static void test_fork(void)
{
    pool_set_threads(3);
    covers(100, 1);
    int failures = 0;
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(20);
            _exit(covers(1000, 3) && covers(17, 1) ? 0 : 1);
        }
        int status = 1;
        waitpid(child, &status, 0);
        failures += status != 0;
        failures += !covers(100, 1);
    }
    ok(failures == 0, "ten forked children work, and so does the parent");
}

static void test_settings(void)
{
    setenv("MEDLEY_THREADS", "7", 1);
    pool_set_threads(0);
    ok(pool_threads() == 7, "MEDLEY_THREADS");
    setenv("MEDLEY_THREADS", "many", 1);
    pool_set_threads(0);
    ok(pool_threads() >= 1 && pool_threads() <= 256, "nonsense there is ignored: %u cores",
       pool_threads());
    ok(!interrupted(), "not interrupted");
    interrupt_request();
    ok(interrupted(), "interrupted");
    interrupt_clear();
    ok(!interrupted(), "cleared");
}

/* ---- hosts ---- */

static pthread_barrier_t host_turn;

static void *be_a_host(void *context)
{
    (void)context;
    pool_host_begin();
    pthread_barrier_wait(&host_turn); /* at work */
    pthread_barrier_wait(&host_turn); /* no longer wanted */
    pool_host_end();
    return NULL;
}

struct meeting {
    pthread_t caller;
    atomic_uint here, elsewhere; /* chunks, by thread */
};

/* Gives another thread the time to come. */
static void meet(void *context, size_t begin, size_t end, unsigned worker)
{
    struct meeting *m = context;
    (void)begin, (void)end, (void)worker;
    atomic_fetch_add(pthread_equal(pthread_self(), m->caller) ? &m->here : &m->elsewhere, 1);
    for (int i = 0; i < 1000 && (!atomic_load(&m->here) || !atomic_load(&m->elsewhere)); i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void test_hosts(void)
{
    pthread_t other;
    struct meeting m = {.caller = pthread_self()};
    pthread_barrier_init(&host_turn, NULL, 2);
    pthread_create(&other, NULL, be_a_host, NULL);
    pool_set_threads(2);
    pool_host_begin();
    pthread_barrier_wait(&host_turn);
    m.elsewhere = 1; /* nobody is waited for */
    parallel_for(20, 1, meet, &m);
    ok(m.here == 20 && m.elsewhere == 1, "two hosts on two threads keep to themselves");
    pthread_barrier_wait(&host_turn);
    pthread_join(other, NULL);
    m.here = m.elsewhere = 0;
    parallel_for(20, 1, meet, &m);
    ok(m.here && m.elsewhere, "one alone is helped");
    pool_host_end();
    pthread_barrier_destroy(&host_turn);
}

int main(void)
{
    test_settings();
    test_coverage();
    test_chunks_are_fixed();
    test_nesting_and_hosts();
    test_hosts();
    test_fork();
    return tap_done();
}
