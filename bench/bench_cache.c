/* bench_cache.c: the label cache: what a look-up costs in each tier beside the bare store below
 * it, and hit rates of S3-FIFO beside LRU and of both ways to admit labels to the disk, on a
 * Zipf stream with and without a crawler. CSV to stdout: name,medley,peer,peer_version,ratio.
 *
 * Latencies are of one pair in lists of 20, microseconds; hit rates are shares of the
 * customers' requests alone, the crawler's are not counted. The Redis rows need a redis-server.
 */
#include "base/cpu.h"
#include "base/memory.h"
#include "base/rng.h"
#include "cache/disk.h"
#include "cache/redis.h"
#include "cache/redis_link.h"

#include <lmdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define K 4
#define LIST 20
#define PAIRS 20000 /* remembered, while look-ups are timed */
#define LOOKS 4000
#define ITEMS 100000 /* of the Zipf stream */
#define ASKS 1000000

static const char *folder;

/* ---- figures -------------------------------------------------------------------------------
 */

static void row(const char *name, double medley, double peer, const char *version)
{
    printf("%s,%.4g,%.4g,%s,%.3f\n", name, medley, peer, version,
           peer > 0 ? medley / peer : 0.0);
    fflush(stdout);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct times {
    double each[LOOKS]; /* microseconds a pair */
};

static void rows(const char *name, struct times *ours, struct times *peer, const char *version)
{
    char text[64];
    qsort(ours->each, LOOKS, sizeof(double), ascending);
    qsort(peer->each, LOOKS, sizeof(double), ascending);
    snprintf(text, sizeof text, "get_%s_p50_us", name);
    row(text, ours->each[LOOKS / 2], peer->each[LOOKS / 2], version);
    snprintf(text, sizeof text, "get_%s_p99_us", name);
    row(text, ours->each[LOOKS * 99 / 100], peer->each[LOOKS * 99 / 100], version);
}

/* ---- lists ---------------------------------------------------------------------------------
 */

static struct label_list list_at(unsigned first)
{
    struct label_list l = {.n = LIST, .own_ends = mem_alloc(LIST, sizeof(size_t))};
    sb_init(&l.shared);
    sb_init(&l.own);
    char query[64];
    snprintf(query, sizeof query, "wireless mouse %u", first / LIST);
    label_key_shared(&l.shared, "0123456789abcdef0123456789abcdef", 0, STR("us"),
                     str_of(query));
    for (unsigned i = 0; i < LIST; i++) {
        char id[24];
        int n = snprintf(id, sizeof id, "B%09u", first + i);
        medley_product p = {.id = {id, (size_t)n}};
        label_key_own(&l.own, &p, 0);
        l.own_ends[i] = l.own.n;
    }
    l.shared_hash = label_key_hash(sb_str(&l.shared));
    l.bundle = label_key_bundle("0123456789abcdef0123456789abcdef");
    return l;
}

static medley_result some_result(void)
{
    medley_result r = {.label = 1, .models_used = 3};
    for (size_t k = 0; k < K; k++)
        r.probabilities[k] = 0.25f;
    return r;
}

static struct label_list lists[PAIRS / LIST];
static medley_result results[LIST];
static int64_t stored[LIST];

static struct label_search new_search(int64_t now)
{
    for (size_t i = 0; i < LIST; i++)
        stored[i] = -1;
    return (struct label_search){now, -1, results, stored};
}

static void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "bench_cache: %s\n", what);
    exit(1);
}

/* ---- latency -------------------------------------------------------------------------------
 */

/* The peer: a table of pointers behind one mutex, by the same hash; no eviction, no ages. */
struct plain {
    pthread_mutex_t lock;
    const medley_result *values[1 << 16];
    struct hash128 hashes[1 << 16];
};

static const medley_result *plain_get(struct plain *p, struct hash128 hash)
{
    size_t at = hash.low & 0xffff;
    const medley_result *found = NULL;
    pthread_mutex_lock(&p->lock);
    while (p->values[at] && !found) {
        if (p->hashes[at].low == hash.low && p->hashes[at].high == hash.high)
            found = p->values[at];
        at = (at + 1) & 0xffff;
    }
    pthread_mutex_unlock(&p->lock);
    return found;
}

static void time_memory(void)
{
    static struct times ours, peer;
    static struct plain plain = {.lock = PTHREAD_MUTEX_INITIALIZER};
    static medley_result one;
    struct label_table_options o = {.n_classes = K};
    struct label_table *t = label_table_new(&o);
    struct rng rng;
    size_t found = 0;
    one = some_result();
    must(t, "no memory");
    for (size_t i = 0; i < PAIRS; i++) {
        struct label_key key = label_list_key(&lists[i / LIST], i % LIST);
        label_table_put(t, &key, &(struct label){&one, 1, false});
        size_t at = key.hash.low & 0xffff;
        while (plain.values[at])
            at = (at + 1) & 0xffff;
        plain.values[at] = &one;
        plain.hashes[at] = key.hash;
    }
    rng_init(&rng, 1, 0);
    for (size_t look = 0; look < LOOKS; look++) {
        const struct label_list *l = &lists[rng_below(&rng, PAIRS / LIST)];
        double at = clock_seconds();
        for (size_t i = 0; i < LIST; i++) {
            struct label label = {.result = &results[i]};
            struct label_key key = label_list_key(l, i);
            found += label_table_get(t, &key, 2, &label);
        }
        ours.each[look] = (clock_seconds() - at) / LIST * 1e6;
        l = &lists[rng_below(&rng, PAIRS / LIST)];
        at = clock_seconds();
        for (size_t i = 0; i < LIST; i++) {
            const medley_result *r = plain_get(&plain, label_list_key(l, i).hash);
            found += r != NULL;
            results[i] = *r;
        }
        peer.each[look] = (clock_seconds() - at) / LIST * 1e6;
    }
    must(found == 2 * LOOKS * LIST, "a pair was lost");
    rows("memory", &ours, &peer, "one mutex and an open table");
    label_table_free(t);
}

/* The peer reads the same file: mdb_get alone, a transaction a list, nothing checked. */
static void time_lmdb_raw(const char *where, struct times *out)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    struct rng rng;
    size_t found = 0;
    rng_init(&rng, 2, 0);
    must(mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, 8) == 0 &&
             mdb_env_open(env, where, MDB_RDONLY, 0) == 0 &&
             mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0 &&
             mdb_dbi_open(txn, "labels0", 0, &dbi) == 0 && mdb_txn_commit(txn) == 0,
         "cannot read the LMDB file");
    for (size_t look = 0; look < LOOKS; look++) {
        const struct label_list *l = &lists[rng_below(&rng, PAIRS / LIST)];
        double at = clock_seconds();
        mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
        for (size_t i = 0; i < LIST; i++) {
            struct hash128 hash = label_list_key(l, i).hash;
            uint64_t words[3] = {l->bundle, hash.high, hash.low};
            MDB_val key = {sizeof words, words}, value;
            if (mdb_get(txn, dbi, &key, &value) == 0 && value.mv_size >= sizeof results[0] / 2)
                found++;
        }
        mdb_txn_abort(txn);
        out->each[look] = (clock_seconds() - at) / LIST * 1e6;
    }
    mdb_env_close(env);
    must(found > 0, "nothing in the LMDB file");
}

static void time_disk(void)
{
    static struct times ours, peer;
    char where[128];
    struct epochs *epochs = epochs_new();
    struct disk *d = NULL;
    struct rng rng;
    medley_error err = {0};
    medley_result one = some_result();
    snprintf(where, sizeof where, "%s/lmdb", folder);
    struct disk_options o = {.folder = where, .bytes = 256 << 20, .n_classes = K};
    must(disk_open(&o, epochs, &d, &err) == MEDLEY_OK, err.message);
    for (size_t i = 0; i < PAIRS; i++) {
        struct label_key key = label_list_key(&lists[i / LIST], i % LIST);
        disk_offer(d, lists[0].bundle, &key, &(struct label){&one, 1, false});
        if (i % 4000 == 3999)
            disk_flush(d);
    }
    disk_flush(d);
    rng_init(&rng, 2, 0);
    size_t found = 0;
    for (size_t look = 0; look < LOOKS; look++) {
        struct label_search s = new_search(2);
        const struct label_list *l = &lists[rng_below(&rng, PAIRS / LIST)];
        double at = clock_seconds();
        found += disk_find(d, l, &s);
        ours.each[look] = (clock_seconds() - at) / LIST * 1e6;
    }
    must(found == LOOKS * LIST, "a pair was lost");
    disk_close(d);
    epochs_free(epochs);
    time_lmdb_raw(where, &peer);
    char version[64];
    snprintf(version, sizeof version, "mdb_get of LMDB %d.%d.%d", MDB_VERSION_MAJOR,
             MDB_VERSION_MINOR, MDB_VERSION_PATCH);
    rows("lmdb", &ours, &peer, version);
}

/* The peer: a GET for each pair, one after the other, as a plain client would. */
static void time_redis_raw(const char *where, struct times *out)
{
    struct redis_place place;
    struct redis_link *link = NULL;
    struct resp reply;
    struct strbuf bytes;
    medley_error err = {0};
    struct rng rng;
    rng_init(&rng, 3, 0);
    sb_init(&bytes);
    must(redis_place_parse(where, &place, &err) == MEDLEY_OK &&
             redis_link_open(&place, NULL, clock_seconds() + 1, &link, &err) == MEDLEY_OK,
         err.message);
    for (size_t look = 0; look < LOOKS; look++) {
        double at = clock_seconds();
        sb_clear(&bytes);
        resp_command(&bytes, 2);
        resp_argument(&bytes, STR("GET"));
        resp_argument(&bytes, STR("medley:label:1:some other key of the same length, nearly"));
        must(redis_link_send(link, sb_str(&bytes), at + 1, &err) == MEDLEY_OK &&
                 redis_link_reply(link, at + 1, &reply, &err) == MEDLEY_OK,
             err.message);
        out->each[look] = (clock_seconds() - at) * 1e6;
    }
    redis_link_close(link);
    redis_place_deinit(&place);
    sb_deinit(&bytes);
}

static pid_t start_redis(const char *where)
{
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stdout))
            _exit(126);
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", where, "--save",
               "", "--appendonly", "no", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 300 && access(where, F_OK) != 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    return child;
}

static void time_redis(void)
{
    static struct times ours, peer;
    char where[128];
    snprintf(where, sizeof where, "%s/redis", folder);
    pid_t server = start_redis(where);
    if (access(where, F_OK) != 0) {
        fprintf(stderr, "bench_cache: no redis-server: its rows are left out\n");
        waitpid(server, NULL, 0);
        return;
    }
    struct epochs *epochs = epochs_new();
    struct redis *r = NULL;
    struct rng rng;
    medley_error err = {0};
    medley_result one = some_result();
    int64_t now = label_cache_now();
    struct redis_options o = {.place = where, .timeout_ms = 1000, .n_classes = K};
    must(redis_open(&o, epochs, &r, &err) == MEDLEY_OK, err.message);
    while (!redis_up(r))
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    for (size_t i = 0; i < PAIRS; i++) {
        struct label_key key = label_list_key(&lists[i / LIST], i % LIST);
        redis_offer(r, lists[0].bundle, &key, &(struct label){&one, now, false});
        if (i % 4000 == 3999)
            redis_flush(r);
    }
    redis_flush(r);
    rng_init(&rng, 3, 0);
    size_t found = 0;
    for (size_t look = 0; look < LOOKS; look++) {
        struct label_search s = new_search(now);
        const struct label_list *l = &lists[rng_below(&rng, PAIRS / LIST)];
        double at = clock_seconds();
        found += redis_find(r, l, &s);
        ours.each[look] = (clock_seconds() - at) / LIST * 1e6;
    }
    must(found == LOOKS * LIST, "a pair was lost");
    time_redis_raw(where, &peer);
    rows("redis", &ours, &peer, "one GET a pair by a socket");
    redis_close(r);
    epochs_free(epochs);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
}

/* ---- hit rates -----------------------------------------------------------------------------
 */

static double *zipf; /* [ITEMS] cumulated */

static void make_zipf(void)
{
    double sum = 0;
    zipf = mem_alloc(ITEMS, sizeof *zipf);
    must(zipf, "no memory");
    for (size_t i = 0; i < ITEMS; i++)
        zipf[i] = sum += 1.0 / (double)(i + 1);
    for (size_t i = 0; i < ITEMS; i++)
        zipf[i] /= sum;
}

static unsigned draw(struct rng *rng)
{
    double u = rng_uniform(rng);
    unsigned low = 0, high = ITEMS - 1;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (zipf[middle] < u)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* LRU over numbers. */
struct lru {
    unsigned *newer, *older; /* [items + 1]; the last is the head of the ring */
    bool *there;
    size_t n, most, head;
};

static void lru_unlink(struct lru *l, unsigned i)
{
    l->newer[l->older[i]] = l->newer[i];
    l->older[l->newer[i]] = l->older[i];
}

static void lru_push(struct lru *l, unsigned i)
{
    unsigned head = (unsigned)l->head;
    l->older[i] = l->older[head];
    l->newer[i] = head;
    l->newer[l->older[head]] = i;
    l->older[head] = i;
}

static bool lru_ask(struct lru *l, unsigned i)
{
    bool hit = l->there[i];
    if (hit) {
        lru_unlink(l, i);
    } else if (l->n == l->most) {
        unsigned oldest = l->newer[l->head];
        lru_unlink(l, oldest);
        l->there[oldest] = false;
    } else {
        l->n++;
    }
    l->there[i] = true;
    lru_push(l, i);
    return hit;
}

static struct label_key key_of(unsigned id, char text[16])
{
    int n = snprintf(text, 16, "%u", id);
    return label_key_of(STR("q"), label_key_hash(STR("q")), (struct str){text, (size_t)n});
}

static bool table_ask(struct label_table *t, unsigned id)
{
    char text[16];
    medley_result r = {0};
    struct label label = {.result = &r};
    struct label_key key = key_of(id, text);
    if (label_table_get(t, &key, 1, &label))
        return true;
    label_table_put(t, &key, &(struct label){&r, 1, false});
    return false;
}

/* `crawl` of a hundred requests are a crawler's, which never come again. */
static void compare_policies(size_t entries, unsigned crawl)
{
    size_t most = ITEMS + ASKS, hits = 0, lru_hits = 0, asked = 0;
    struct label_table_options o = {
        .entries = entries, .bytes = (size_t)1 << 30, .n_classes = K};
    struct label_table *t = label_table_new(&o);
    struct lru l = {.newer = mem_zalloc(most + 1, sizeof *l.newer),
                    .older = mem_zalloc(most + 1, sizeof *l.older),
                    .there = mem_zalloc(most + 1, sizeof *l.there),
                    .most = entries,
                    .head = most};
    struct rng rng;
    char name[64];
    must(t && l.newer && l.older && l.there, "no memory");
    l.newer[most] = l.older[most] = (unsigned)most;
    rng_init(&rng, 7, crawl);
    unsigned next = ITEMS;
    for (size_t i = 0; i < ASKS; i++) {
        bool crawler = rng_below(&rng, 100) < crawl;
        unsigned id = crawler ? next++ : draw(&rng);
        bool hit = table_ask(t, id), lru_hit = lru_ask(&l, id);
        if (crawler || i < ASKS / 4) /* the first quarter fills them */
            continue;
        asked++;
        hits += hit;
        lru_hits += lru_hit;
    }
    snprintf(name, sizeof name, "hit_rate_%zuk_crawler_%u%%", entries / 1000, crawl);
    row(name, (double)hits / (double)asked, (double)lru_hits / (double)asked, "LRU");
    label_table_free(t);
    mem_free(l.newer);
    mem_free(l.older);
    mem_free(l.there);
}

/* Memory for 1,000 pairs over a disk for about 8,000; the share of customers' requests that
 * either answers. */
static double hit_rate_below(bool admit_all, unsigned crawl)
{
    char where[128];
    struct label_cache *c = NULL;
    medley_error err = {0};
    struct rng rng;
    size_t hits = 0, asked = 0;
    snprintf(where, sizeof where, "%s/admit-%d-%u", folder, admit_all, crawl);
    struct label_cache_options o = {.entries = 1000,
                                    .n_classes = K,
                                    .folder = where,
                                    .disk_bytes = 2 << 20,
                                    .admit_all = admit_all};
    must(label_cache_open(&o, &c, &err) == MEDLEY_OK, err.message);
    rng_init(&rng, 9, crawl);
    unsigned next = ITEMS;
    for (size_t i = 0; i < 150000; i++) {
        bool crawler = rng_below(&rng, 100) < crawl;
        char text[16];
        size_t ends[1];
        int64_t when = -1;
        medley_result r = {.label = 1};
        int n = snprintf(text, sizeof text, "%u", crawler ? next++ : draw(&rng));
        ends[0] = (size_t)n;
        struct label_list l = {.own = {.s = text, .n = (size_t)n}, .own_ends = ends, .n = 1};
        l.shared_hash = label_key_hash(STR(""));
        struct label_search s = {1000, -1, &r, &when};
        bool hit = label_cache_find(c, &l, LABELS_NEAR, &s) == 1;
        if (!hit)
            label_cache_keep(c, &l, &r, 1000);
        if (i % 4000 == 3999)
            label_cache_flush(c);
        if (crawler || i < 50000)
            continue;
        asked++;
        hits += hit;
    }
    label_cache_close(c);
    return (double)hits / (double)asked;
}

int main(void)
{
    char path[] = "/tmp/medley-bench-XXXXXX";
    folder = mkdtemp(path);
    must(folder, "no temporary folder");
    for (unsigned i = 0; i < PAIRS / LIST; i++)
        lists[i] = list_at(i * LIST);
    printf("name,medley,peer,peer_version,ratio\n");
    time_memory();
    time_disk();
    time_redis();
    make_zipf();
    static const unsigned crawls[] = {0, 20, 50};
    for (size_t i = 0; i < 3; i++) {
        compare_policies(1000, crawls[i]);
        compare_policies(10000, crawls[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "hit_rate_with_disk_crawler_%u%%", crawls[i]);
        row(name, hit_rate_below(false, crawls[i]), hit_rate_below(true, crawls[i]),
            "all admitted");
    }
    for (unsigned i = 0; i < PAIRS / LIST; i++)
        label_list_deinit(&lists[i]);
    mem_free(zipf);
    remove_tree(folder, NULL);
    return 0;
}
