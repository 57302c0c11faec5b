/* label_table.c: the sharded table and its S3-FIFO queues; label_table.h says what and why. */
#include "cache/label_table.h"

#include "base/memory.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#define MAX_SHARDS 64
#define LEAST_PER_SHARD 64 /* fewer shards rather than fewer entries in each */
#define LEAST_BYTES_PER_SHARD (1 << 18)
#define MAX_FREQUENCY 3
#define FIRST_BUCKETS 16

enum queue_name { SMALL, MAIN, QUEUES };

/* One allocation: this, then probabilities[K], margins[K], then the key's bytes. */
struct entry {
    struct entry *chain;         /* next in the bucket */
    struct entry *newer, *older; /* neighbours in the queue */
    struct hash128 hash;
    int64_t stored_ms;
    uint32_t shared_n, own_n; /* bytes of the key */
    uint32_t models_used;
    uint8_t label;
    uint8_t frequency; /* hits since it entered the queue, at most MAX_FREQUENCY */
    uint8_t queue;     /* enum queue_name */
    bool known_product;
    uint8_t stages;
    uint8_t kept;    /* label.kept */
    float numbers[]; /* [2K] */
};

struct queue {
    struct entry *newest, *oldest;
    size_t entries, bytes;
};

struct shard {
    pthread_mutex_t lock;
    struct queue queues[QUEUES];
    struct entry **buckets; /* [n_buckets], a power of two; grows with the entries */
    size_t n_buckets;
    /* Keys lately dropped from the small queue: slot hash % n_ghosts keeps the last one's
     * fingerprint. A lossy stand-in for the paper's ghost queue: no memory management, and a
     * lost ghost only costs one more turn through the small queue. 0: empty. */
    uint32_t *ghosts;
    uint64_t evicted, expired;
};

struct label_table {
    size_t n_shards; /* a power of two */
    size_t n_classes, n_ghosts;
    size_t max_entries, max_bytes; /* of one shard */
    int64_t ttl_ms;
    struct shard shards[];
};

/* ---- life -------------------------------------------------------------------------------- */

static size_t count_shards(size_t entries, size_t bytes)
{
    size_t n = MAX_SHARDS;
    while (n > 1 && (entries / n < LEAST_PER_SHARD || bytes / n < LEAST_BYTES_PER_SHARD))
        n /= 2;
    return n;
}

static bool shard_init(struct shard *s, size_t n_ghosts)
{
    *s = (struct shard){.n_buckets = FIRST_BUCKETS};
    pthread_mutex_init(&s->lock, NULL);
    s->buckets = mem_zalloc(s->n_buckets, sizeof *s->buckets);
    s->ghosts = mem_zalloc(n_ghosts, sizeof *s->ghosts);
    return s->buckets && s->ghosts;
}

static void shard_deinit(struct shard *s)
{
    for (size_t q = 0; q < QUEUES; q++) {
        for (struct entry *e = s->queues[q].oldest, *next; e; e = next) {
            next = e->newer;
            mem_free(e);
        }
    }
    mem_free(s->buckets);
    mem_free(s->ghosts);
    pthread_mutex_destroy(&s->lock);
}

struct label_table *label_table_new(const struct label_table_options *options)
{
    size_t entries = options->entries ? options->entries : 100000;
    size_t bytes = options->bytes ? options->bytes : (size_t)64 << 20;
    assert(options->n_classes >= 1 && options->n_classes <= MEDLEY_MAX_CLASSES);
    size_t n_shards = count_shards(entries, bytes);
    struct label_table *c = mem_zalloc(1, sizeof *c + n_shards * sizeof c->shards[0]);
    if (!c)
        return NULL;
    c->n_shards = n_shards;
    c->n_classes = options->n_classes;
    c->max_entries = entries / n_shards;
    c->max_bytes = bytes / n_shards;
    c->ttl_ms = options->ttl_ms;
    /* Twice as many as the queues could hold, were their entries small ones: then a ghost is
     * still there with a chance of 0.6 when as many others as that have come. */
    size_t fit = c->max_bytes / 128;
    c->n_ghosts = 2 * (c->max_entries < fit ? c->max_entries : fit) + 1;
    bool good = true;
    for (size_t i = 0; i < n_shards; i++)
        good = shard_init(&c->shards[i], c->n_ghosts) && good;
    if (!good) {
        label_table_free(c);
        return NULL;
    }
    return c;
}

void label_table_free(struct label_table *c)
{
    for (size_t i = 0; c && i < c->n_shards; i++)
        shard_deinit(&c->shards[i]);
    mem_free(c);
}

/* ---- entries ----------------------------------------------------------------------------- */

static size_t numbers_bytes(const struct label_table *c)
{
    return 2 * c->n_classes * sizeof(float);
}

static char *entry_key(const struct label_table *c, struct entry *e)
{
    return (char *)e->numbers + numbers_bytes(c);
}

static size_t entry_bytes(const struct label_table *c, size_t key_bytes)
{
    /* 16 for malloc's own bookkeeping and two bucket pointers. */
    return sizeof(struct entry) + numbers_bytes(c) + key_bytes + 16 + 2 * sizeof(void *);
}

static size_t bytes_of(const struct label_table *c, const struct entry *e)
{
    return entry_bytes(c, (size_t)e->shared_n + e->own_n);
}

static bool has_key(const struct label_table *c, struct entry *e, const struct label_key *key)
{
    const char *bytes = entry_key(c, e);
    return e->hash.low == key->hash.low && e->hash.high == key->hash.high &&
           e->shared_n == key->shared.n && e->own_n == key->own.n &&
           (key->own.n == 0 || memcmp(bytes + e->shared_n, key->own.s, key->own.n) == 0) &&
           (key->shared.n == 0 || memcmp(bytes, key->shared.s, key->shared.n) == 0);
}

static struct shard *shard_of(struct label_table *c, struct hash128 hash)
{
    return &c->shards[hash.high & (c->n_shards - 1)];
}

static struct entry **bucket_of(struct shard *s, struct hash128 hash)
{
    return &s->buckets[hash.low & (s->n_buckets - 1)];
}

static struct entry *find(const struct label_table *c, struct shard *s,
                          const struct label_key *key)
{
    struct entry *e = *bucket_of(s, key->hash);
    while (e && !has_key(c, e, key))
        e = e->chain;
    return e;
}

static void fill(const struct label_table *c, struct entry *e, const struct label *from)
{
    const medley_result *value = from->result;
    e->stored_ms = from->stored_ms;
    e->kept = (uint8_t)from->kept;
    e->models_used = value->models_used;
    e->label = value->label;
    e->known_product = value->known_product;
    e->stages = value->stages;
    memcpy(e->numbers, value->probabilities, c->n_classes * sizeof(float));
    memcpy(e->numbers + c->n_classes, value->margins, c->n_classes * sizeof(float));
}

/* Outside the lock, because malloc may take its time. */
static struct entry *entry_new(const struct label_table *c, const struct label_key *key,
                               const struct label *value)
{
    struct entry *e = mem_alloc(1, sizeof *e + numbers_bytes(c) + key->shared.n + key->own.n);
    if (!e)
        return NULL;
    *e = (struct entry){
        .hash = key->hash, .shared_n = (uint32_t)key->shared.n, .own_n = (uint32_t)key->own.n};
    fill(c, e, value);
    char *bytes = entry_key(c, e);
    if (key->shared.n)
        memcpy(bytes, key->shared.s, key->shared.n);
    if (key->own.n)
        memcpy(bytes + key->shared.n, key->own.s, key->own.n);
    return e;
}

/* ---- queues and table; the shard's lock is held ------------------------------------------ */

static void push(const struct label_table *c, struct shard *s, enum queue_name name,
                 struct entry *e)
{
    struct queue *q = &s->queues[name];
    e->queue = (uint8_t)name;
    e->newer = NULL;
    e->older = q->newest;
    if (q->newest)
        q->newest->newer = e;
    else
        q->oldest = e;
    q->newest = e;
    q->entries++;
    q->bytes += bytes_of(c, e);
}

static void unlink_from_queue(const struct label_table *c, struct shard *s, struct entry *e)
{
    struct queue *q = &s->queues[e->queue];
    *(e->newer ? &e->newer->older : &q->newest) = e->older;
    *(e->older ? &e->older->newer : &q->oldest) = e->newer;
    q->entries--;
    q->bytes -= bytes_of(c, e);
}

static void forget(const struct label_table *c, struct shard *s, struct entry *e)
{
    struct entry **at = bucket_of(s, e->hash);
    while (*at != e)
        at = &(*at)->chain;
    *at = e->chain;
    unlink_from_queue(c, s, e);
    mem_free(e);
}

static size_t shard_entries(const struct shard *s)
{
    return s->queues[SMALL].entries + s->queues[MAIN].entries;
}

static size_t shard_bytes(const struct shard *s)
{
    return s->queues[SMALL].bytes + s->queues[MAIN].bytes;
}

/* Twice the buckets; when memory is short chains just get longer. */
static void grow_buckets(struct shard *s)
{
    size_t n = s->n_buckets * 2;
    struct entry **old = s->buckets, **larger = mem_zalloc(n, sizeof *larger);
    if (!larger)
        return;
    size_t n_old = s->n_buckets;
    s->buckets = larger;
    s->n_buckets = n;
    for (size_t b = 0; b < n_old; b++) {
        for (struct entry *e = old[b], *next; e; e = next) {
            next = e->chain;
            struct entry **at = bucket_of(s, e->hash);
            e->chain = *at;
            *at = e;
        }
    }
    mem_free(old);
}

static uint32_t fingerprint(struct hash128 hash)
{
    return (uint32_t)(hash.high >> 32) | 1; /* never 0, the empty slot */
}

static uint32_t *ghost_slot(const struct label_table *c, struct shard *s, struct hash128 hash)
{
    return &s->ghosts[hash.low % c->n_ghosts];
}

/* Takes the oldest entry of the small queue: up to the main queue when it was asked for more
 * than once since it came, else out, leaving its ghost. */
static void evict_from_small(const struct label_table *c, struct shard *s)
{
    struct entry *e = s->queues[SMALL].oldest;
    if (e->frequency > 1) {
        unlink_from_queue(c, s, e);
        e->frequency = 0;
        push(c, s, MAIN, e);
        return;
    }
    *ghost_slot(c, s, e->hash) = fingerprint(e->hash);
    forget(c, s, e);
    s->evicted++;
}

/* Takes the oldest entry of the main queue: once more round for each hit, else out. */
static void evict_from_main(const struct label_table *c, struct shard *s)
{
    struct entry *e = s->queues[MAIN].oldest;
    if (e->frequency > 0) {
        unlink_from_queue(c, s, e);
        e->frequency--;
        push(c, s, MAIN, e);
        return;
    }
    forget(c, s, e);
    s->evicted++;
}

/* Each step drops an entry or uses up one of at most 4 * entries hits, so this ends. */
static void make_room(const struct label_table *c, struct shard *s, size_t need)
{
    while (shard_entries(s) + 1 > c->max_entries || shard_bytes(s) + need > c->max_bytes) {
        const struct queue *small = &s->queues[SMALL];
        bool small_is_full =
            small->entries * 10 >= c->max_entries || small->bytes >= c->max_bytes / 10;
        if (small->entries && (small_is_full || s->queues[MAIN].entries == 0))
            evict_from_small(c, s);
        else
            evict_from_main(c, s);
    }
}

static void insert(const struct label_table *c, struct shard *s, struct entry *e)
{
    uint32_t *ghost = ghost_slot(c, s, e->hash);
    bool returns = *ghost == fingerprint(e->hash);
    if (returns)
        *ghost = 0;
    make_room(c, s, bytes_of(c, e));
    if (shard_entries(s) >= s->n_buckets)
        grow_buckets(s);
    struct entry **at = bucket_of(s, e->hash);
    e->chain = *at;
    *at = e;
    push(c, s, returns ? MAIN : SMALL, e);
}

/* ---- the interface ----------------------------------------------------------------------- */

bool label_table_get(struct label_table *c, const struct label_key *key, int64_t now_ms,
                     struct label *out)
{
    struct shard *s = shard_of(c, key->hash);
    pthread_mutex_lock(&s->lock);
    struct entry *e = find(c, s, key);
    if (e && c->ttl_ms > 0 && now_ms - e->stored_ms > c->ttl_ms) {
        forget(c, s, e);
        s->expired++;
        e = NULL;
    }
    if (e) {
        e->frequency += e->frequency < MAX_FREQUENCY;
        medley_result *r = out->result;
        *r = (medley_result){.label = e->label,
                             .known_product = e->known_product,
                             .stages = e->stages,
                             .models_used = e->models_used};
        memcpy(r->probabilities, e->numbers, c->n_classes * sizeof(float));
        memcpy(r->margins, e->numbers + c->n_classes, c->n_classes * sizeof(float));
        out->stored_ms = e->stored_ms;
        out->kept = e->kept;
    }
    pthread_mutex_unlock(&s->lock);
    return e != NULL;
}

void label_table_put(struct label_table *c, const struct label_key *key,
                     const struct label *value)
{
    size_t key_bytes = key->shared.n + key->own.n;
    bool fits = key->shared.n <= UINT32_MAX && key->own.n <= UINT32_MAX && c->max_entries > 0 &&
                entry_bytes(c, key_bytes) <= c->max_bytes / 2;
    struct entry *fresh = fits ? entry_new(c, key, value) : NULL;
    struct shard *s = shard_of(c, key->hash);
    pthread_mutex_lock(&s->lock);
    struct entry *e = find(c, s, key);
    if (e && fresh) {
        fill(c, e, value);
    } else if (e) { /* an outdated answer is worse than none */
        forget(c, s, e);
    } else if (fresh) {
        insert(c, s, fresh);
        fresh = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    mem_free(fresh);
}

void label_table_mark(struct label_table *c, const struct label_key *key, unsigned kept)
{
    struct shard *s = shard_of(c, key->hash);
    pthread_mutex_lock(&s->lock);
    struct entry *e = find(c, s, key);
    if (e)
        e->kept |= (uint8_t)kept;
    pthread_mutex_unlock(&s->lock);
}

void label_table_clear(struct label_table *c)
{
    for (size_t i = 0; i < c->n_shards; i++) {
        struct shard *s = &c->shards[i];
        pthread_mutex_lock(&s->lock);
        for (size_t q = 0; q < QUEUES; q++)
            while (s->queues[q].oldest)
                forget(c, s, s->queues[q].oldest);
        pthread_mutex_unlock(&s->lock);
    }
}

struct label_table_stats label_table_stats(struct label_table *c)
{
    struct label_table_stats total = {0};
    for (size_t i = 0; i < c->n_shards; i++) {
        struct shard *s = &c->shards[i];
        pthread_mutex_lock(&s->lock);
        total.entries += shard_entries(s);
        total.bytes += shard_bytes(s);
        total.evicted += s->evicted;
        total.expired += s->expired;
        pthread_mutex_unlock(&s->lock);
    }
    return total;
}
