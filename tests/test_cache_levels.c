/* test_cache_levels.c: labels below memory: the bytes of a value, LMDB over restarts, kill -9,
 * full disks and damage, Redis when it is there, stops and comes back. */
#include "base/file.h"
#include "base/memory.h"
#include "cache/label_levels.h"
#include "tests/tap.h"

#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

enum { K = 4, MANY = 1000 };

struct keys {
    char text[MANY][24];
    struct label_key key[MANY];
};

/* Keys [first, first + n) of a list. */
static void make_keys(struct keys *k, int first, int n)
{
    for (int i = 0; i < n; i++) {
        int length = snprintf(k->text[i], sizeof k->text[i], "product-%d", first + i);
        k->key[i] = label_key_of(STR("bundle query"), label_key_hash(STR("bundle query")),
                                 (struct str){k->text[i], (size_t)length});
    }
}

static medley_result value_of(int i)
{
    medley_result v = {.label = (uint8_t)(i % K),
                       .known_product = i % 2,
                       .stages = 2,
                       .models_used = (uint32_t)i * 7};
    for (int c = 0; c < K; c++) {
        v.probabilities[c] = (float)(i + c);
        v.margins[c] = (float)-i;
    }
    return v;
}

static bool same(const medley_result *a, const medley_result *b)
{
    return a->label == b->label && a->known_product == b->known_product &&
           a->stages == b->stages && a->models_used == b->models_used &&
           memcmp(a->probabilities, b->probabilities, K * sizeof(float)) == 0 &&
           memcmp(a->margins, b->margins, K * sizeof(float)) == 0;
}

static struct label_levels *open_levels(struct label_levels_options o)
{
    struct label_levels *l = NULL;
    medley_error err = {0};
    o.n_classes = K;
    if (label_levels_open(&o, &l, &err) != MEDLEY_OK) {
        printf("Bail out! %s\n", err.message);
        exit(1);
    }
    return l;
}

static void put_some(struct label_levels *l, int first, int n)
{
    static struct keys k;
    static medley_result values[MANY];
    make_keys(&k, first, n);
    for (int i = 0; i < n; i++)
        values[i] = value_of(first + i);
    label_levels_put(l, k.key, values, (size_t)n);
    label_levels_flush(l);
}

/* How many of [first, first + n) are there; -1: one is wrong. */
static int count(struct label_levels *l, int first, int n)
{
    static struct keys k;
    static medley_result values[MANY];
    static int64_t stored[MANY];
    bool found[MANY] = {false};
    int there = 0;
    make_keys(&k, first, n);
    label_levels_get(l, k.key, (size_t)n, found, values, stored);
    for (int i = 0; i < n; i++) {
        medley_result wanted = value_of(first + i);
        if (found[i] && !same(&values[i], &wanted))
            return -1;
        there += found[i];
    }
    return there;
}

static void test_value(void)
{
    struct keys *k = mem_alloc(1, sizeof *k);
    struct strbuf b;
    medley_result v = value_of(5), out;
    int64_t stored = 0;
    sb_init(&b);
    make_keys(k, 0, 2);
    label_value_write(&b, &k->key[0], &v, K, 1234567);
    ok(label_value_read(sb_str(&b), &k->key[0], K, &out, &stored) == LABEL_FOUND &&
           same(&out, &v) && stored == 1234567,
       "a value comes back");
    struct label_key other = k->key[1];
    other.hash = k->key[0].hash;
    ok(label_value_read(sb_str(&b), &other, K, &out, &stored) == LABEL_OTHER_KEY,
       "another key with the same hash is told apart");
    ok(label_value_read(sb_str(&b), &k->key[0], K - 1, &out, &stored) == LABEL_DAMAGED,
       "other classes");
    bool good = true;
    for (size_t n = 0; n < b.n; n++)
        good &= label_value_read((struct str){b.s, n}, &k->key[0], K, &out, &stored) ==
                LABEL_DAMAGED;
    ok(good, "every cut is damage");
    for (size_t bit = 0; bit < b.n * 8; bit++) {
        b.s[bit / 8] ^= (char)(1 << bit % 8);
        good &= label_value_read(sb_str(&b), &k->key[0], K, &out, &stored) == LABEL_DAMAGED;
        b.s[bit / 8] ^= (char)(1 << bit % 8);
    }
    ok(good, "so is every flipped bit");
    sb_deinit(&b);
    mem_free(k);
}

static void test_restart(const char *folder)
{
    struct label_levels *l = open_levels((struct label_levels_options){.folder = folder});
    put_some(l, 0, MANY);
    ok(count(l, 0, MANY) == MANY && count(l, MANY, MANY) == 0, "what was put is there");
    label_levels_close(l);
    l = open_levels((struct label_levels_options){.folder = folder});
    ok(count(l, 0, MANY) == MANY, "after a restart, too");
    label_levels_close(l);
    l = open_levels((struct label_levels_options){.folder = folder, .ttl_ms = 50});
    nanosleep(&(struct timespec){0, 80000000}, NULL);
    ok(count(l, 0, MANY) == 0, "but not when it is too old");
    put_some(l, 0, 10);
    ok(count(l, 0, 10) == 10, "until it is put anew");
    label_levels_close(l);
}

static void test_kill(const char *folder)
{
    int ready[2], status = 0;
    char c = 0;
    if (pipe(ready) != 0)
        return;
    pid_t child = fork();
    if (child == 0) {
        struct label_levels *l = open_levels((struct label_levels_options){.folder = folder});
        put_some(l, 5000, MANY);
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        for (int i = 0;; i++) /* killed in the midst of writing */
            put_some(l, 6000 + i % 100 * 10, 10);
    }
    bool started = read(ready[0], &c, 1) == 1;
    nanosleep(&(struct timespec){0, 30000000}, NULL);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    struct label_levels *l = open_levels((struct label_levels_options){.folder = folder});
    ok(started && WIFSIGNALED(status) && count(l, 5000, MANY) == MANY &&
           count(l, 6000, MANY) >= 0,
       "kill -9: what was written is there, and nothing is wrong");
    label_levels_close(l);
    close(ready[0]), close(ready[1]);
}

static void test_bound(const char *folder)
{
    struct label_levels *l =
        open_levels((struct label_levels_options){.folder = folder, .disk_bytes = 1 << 20});
    bool kept = true;
    for (int i = 0; i < 40; i++) {
        put_some(l, i * MANY, MANY);
        kept &= count(l, i * MANY, MANY) == MANY;
        kept &= i == 0 || count(l, 0, 20) == 20; /* asked for again and again */
        label_levels_flush(l);
    }
    struct label_levels_stats s = label_levels_stats(l);
    ok(kept, "what is new, and what is in demand, stays");
    ok(s.disk.turns > 3 && s.disk.bytes < 1 << 20 && s.disk.write_errors == 0 &&
           s.disk.entries < 10000 && count(l, 2 * MANY, MANY) == 0,
       "the rest makes room: %d entries, %d KiB, %d turns", (int)s.disk.entries,
       (int)(s.disk.bytes >> 10), (int)s.disk.turns);
    label_levels_close(l);
}

/* A limit on file sizes stands for a full disk. */
static void test_full(const char *folder)
{
    struct label_levels *l = open_levels((struct label_levels_options){.folder = folder});
    struct rlimit before, small;
    put_some(l, 0, 10);
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 64 << 10;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    for (int i = 0; i < 5; i++)
        put_some(l, MANY, MANY);
    struct label_levels_stats s = label_levels_stats(l);
    setrlimit(RLIMIT_FSIZE, &before);
    ok(s.disk.write_errors > 0 && count(l, 0, 10) == 10 && count(l, MANY, MANY) >= 0,
       "a full disk: counted, and what was there stays");
    put_some(l, MANY, MANY);
    ok(count(l, MANY, MANY) == MANY, "and written when there is room again");
    label_levels_close(l);
}

static void test_damage(const char *folder)
{
    struct label_levels *l = open_levels((struct label_levels_options){.folder = folder});
    struct keys *k = mem_alloc(1, sizeof *k);
    put_some(l, 0, 10);
    label_levels_close(l);
    make_keys(k, 0, 10);
    MDB_env *env;
    MDB_txn *t;
    MDB_dbi table;
    mdb_env_create(&env);
    mdb_env_set_maxdbs(env, 3);
    int e = mdb_env_open(env, folder, 0, 0640);
    e = e ? e : mdb_txn_begin(env, NULL, 0, &t);
    e = e ? e : mdb_dbi_open(t, "labels0", 0, &table);
    for (int i = 0; i < 3 && !e; i++) {
        MDB_val key = {sizeof k->key[i].hash, &k->key[i].hash},
                junk = {(size_t)i * 40, (void *)k};
        e = mdb_put(t, table, &key, &junk, 0);
    }
    e = e ? e : mdb_txn_commit(t);
    mdb_env_close(env);
    l = open_levels((struct label_levels_options){.folder = folder});
    ok(e == 0 && count(l, 0, 10) == 7 && label_levels_stats(l).disk.damaged == 3,
       "damaged values are counted misses");
    put_some(l, 0, 10);
    ok(count(l, 0, 10) == 10, "and replaced");
    label_levels_close(l);
    mem_free(k);
    char bad[128];
    medley_error err = {0};
    snprintf(bad, sizeof bad, "%s/data.mdb/inside", folder);
    struct label_levels_options o = {.folder = bad, .n_classes = K};
    ok(label_levels_open(&o, &l, &err) == MEDLEY_EIO, "no folder: %s", err.message);
}

/* ---- Redis ------------------------------------------------------------------------------- */

static pid_t start_redis(const char *socket_path)
{
    pid_t child = fork();
    if (child == 0) {
        int nothing = open("/dev/null", O_WRONLY);
        dup2(nothing, 1), dup2(nothing, 2);
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket_path,
               "--save", "", "--appendonly", "no", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 200; i++) {
        if (access(socket_path, F_OK) == 0)
            return child;
        if (waitpid(child, NULL, WNOHANG) == child)
            return -1;
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
    return child;
}

static void stop_redis(pid_t child)
{
    kill(child, SIGTERM);
    waitpid(child, NULL, 0);
}

static void test_redis(const char *folder)
{
    char socket_path[128], disk[128];
    snprintf(socket_path, sizeof socket_path, "%s/redis.sock", folder);
    snprintf(disk, sizeof disk, "%s/disk", folder);
    pid_t server = start_redis(socket_path);
    if (server < 0) {
        skip("no redis-server here");
        return;
    }
    struct label_levels_options o = {.redis = socket_path, .redis_timeout_ms = 2000};
    struct label_levels *a = open_levels(o), *b = open_levels(o);
    put_some(a, 0, MANY);
    ok(count(b, 0, MANY) == MANY && count(b, MANY, 10) == 0,
       "one server's labels are another's");
    label_levels_close(b);
    o.folder = disk;
    b = open_levels(o);
    ok(count(b, 0, MANY) == MANY, "and go to its disk");
    label_levels_flush(b);
    stop_redis(server);
    ok(count(b, 0, MANY) == MANY, "where they are when Redis is not");
    ok(count(a, 0, 10) == 0 && count(a, 0, 10) == 0 && count(a, 0, 10) == 0 &&
           count(a, 0, 10) == 0 && label_levels_stats(a).redis.state == BREAKER_OPEN &&
           label_levels_stats(a).redis.errors == 3,
       "it is left alone after three failures");
    put_some(a, 0, 10); /* dropped */
    unlink(socket_path);
    server = start_redis(socket_path);
    nanosleep(&(struct timespec){1, 100000000}, NULL);
    put_some(a, 0, 10);
    ok(count(a, 0, 10) == 10, "and asked again when it is back");
    stop_redis(server);
    label_levels_close(a);
    label_levels_close(b);
}

static void test_addresses(void)
{
    static const char *const bad[] = {"",           ":6379",   "host:",  "host:0",
                                      "host:70000", "host/16", "host/x", "/s#x"};
    static const char *const good[] = {"host", "host:1", "[::1]:6379", "127.0.0.1:6379/3",
                                       "/s",   "/s#15"};
    bool refused = true, taken = true;
    struct label_redis *r = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (label_redis_open(bad[i], 20, 1, &r, NULL) != MEDLEY_EINVAL) {
            printf("# taken: '%s'\n", bad[i]);
            refused = false;
        }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        taken &= label_redis_open(good[i], 20, 1, &r, NULL) == MEDLEY_OK;
        label_redis_close(r);
    }
    ok(refused && taken, "addresses");
}

/* ---- threads ----------------------------------------------------------------------------- */

static struct label_levels *shared;

static void *hammer(void *context)
{
    int self = (int)(intptr_t)context;
    struct keys *k = mem_alloc(1, sizeof *k);
    medley_result values[20];
    int64_t stored[20];
    bool wrong = false;
    for (int round = 0; round < 100; round++) {
        int first = (round * 7 + self * 13) % 300;
        bool found[20] = {false};
        make_keys(k, first, 20);
        for (int i = 0; i < 20; i++)
            values[i] = value_of(first + i);
        label_levels_put(shared, k->key, values, 20);
        label_levels_get(shared, k->key, 20, found, values, stored);
        for (int i = 0; i < 20; i++) {
            medley_result wanted = value_of(first + i);
            wrong |= found[i] && !same(&values[i], &wanted);
        }
    }
    mem_free(k);
    return (void *)(intptr_t)wrong;
}

static void test_threads(const char *folder)
{
    pthread_t threads[4];
    void *wrong = NULL;
    bool any = false;
    shared = open_levels((struct label_levels_options){.folder = folder});
    for (intptr_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, hammer, (void *)i);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &wrong);
        any |= wrong != NULL;
    }
    label_levels_flush(shared);
    ok(!any && count(shared, 0, 300) == 300, "four threads");
    label_levels_close(shared);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    test_value();
    char folders[6][64];
    for (int i = 0; i < 6; i++)
        snprintf(folders[i], sizeof folders[i], "%s", tap_folder());
    test_restart(folders[0]);
    test_kill(folders[0]);
    test_bound(folders[1]);
    test_full(folders[2]);
    test_damage(folders[3]);
    test_addresses();
    test_redis(folders[4]);
    test_threads(folders[5]);
    return tap_done();
}
