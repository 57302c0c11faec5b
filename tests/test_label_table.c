/* test_label_table.c: the cache's memory against a naive table under random operations, its
 * bounds, what S3-FIFO promises, forged hash collisions, threads, failing allocations, and the
 * keys. */
#include "base/memory.h"
#include "base/rng.h"
#include "cache/label_table.h"
#include "tests/tap.h"

#include <pthread.h>

#define K 4
#define KEYS 3000

static bool get_label(struct label_table *c, const struct label_key *key, int64_t now,
                      medley_result *out, int64_t *stored)
{
    struct label got = {.result = out};
    if (!label_table_get(c, key, now, &got))
        return false;
    *stored = got.stored_ms;
    return true;
}

static void put_label(struct label_table *c, const struct label_key *key,
                      const medley_result *value, int64_t now)
{
    medley_result copy = *value;
    label_table_put(c, key, &(struct label){.result = &copy, .stored_ms = now});
}

static struct label_key key_of(uint32_t id, char text[32])
{
    int n = snprintf(text, 32, "product-%u", id);
    return label_key_of(STR("bundle query"), label_key_hash(STR("bundle query")),
                        (struct str){text, (size_t)n});
}

/* Every field follows from (id, version), so that a torn or mixed-up value shows. */
static medley_result value_of(uint32_t id, uint32_t version)
{
    medley_result v = {.label = (uint8_t)(id % K),
                       .known_product = (id + version) % 2,
                       .models_used = id * 31 + version};
    for (size_t k = 0; k < K; k++) {
        v.probabilities[k] = (float)id + (float)k / 8;
        v.margins[k] = -(float)version - (float)k;
    }
    return v;
}

static bool same_value(const medley_result *a, const medley_result *b)
{
    return a->label == b->label && a->known_product == b->known_product &&
           a->models_used == b->models_used &&
           memcmp(a->probabilities, b->probabilities, sizeof a->probabilities) == 0 &&
           memcmp(a->margins, b->margins, sizeof a->margins) == 0;
}

/* The naive table: the last version put of each key, and when. */
struct naive {
    uint32_t version[KEYS]; /* 0: never put */
    int64_t stored[KEYS];
};

struct outcome {
    size_t wrong, hits, misses, over; /* over: bounds broken */
};

static struct outcome random_operations(const struct label_table_options *o, uint64_t seed,
                                        bool must_hit)
{
    static struct naive naive;
    struct outcome out = {0};
    struct rng rng;
    struct label_table *c = label_table_new(o);
    int64_t now = 1000;
    memset(&naive, 0, sizeof naive);
    rng_init(&rng, seed, 0);
    for (uint32_t step = 1; step <= 60000; step++) {
        char text[32];
        /* Squaring makes small ids frequent. */
        double u = rng_uniform(&rng);
        uint32_t id = (uint32_t)(u * u * KEYS);
        struct label_key key = key_of(id, text);
        medley_result got, wanted = value_of(id, naive.version[id]);
        int64_t stored = 0;
        now += rng_below(&rng, 3);
        if (rng_below(&rng, 2)) {
            wanted = value_of(id, step);
            put_label(c, &key, &wanted, now);
            naive.version[id] = step;
            naive.stored[id] = now;
        } else if (get_label(c, &key, now, &got, &stored)) {
            out.hits++;
            out.wrong += !naive.version[id] || !same_value(&got, &wanted) ||
                         stored != naive.stored[id] || (o->ttl_ms && now - stored > o->ttl_ms);
        } else {
            bool alive =
                naive.version[id] && (!o->ttl_ms || now - naive.stored[id] <= o->ttl_ms);
            out.misses++;
            out.wrong += must_hit && alive;
        }
        if (step % 64 == 0) {
            struct label_table_stats stats = label_table_stats(c);
            out.over += stats.entries > o->entries || stats.bytes > o->bytes;
        }
    }
    label_table_free(c);
    return out;
}

static void test_against_naive(void)
{
    const struct {
        const char *name;
        struct label_table_options o;
        bool must_hit;
    } cases[] = {
        {"all fits, no TTL", {1 << 20, 1 << 28, 0, K}, true},
        {"all fits, TTL", {1 << 20, 1 << 28, 5000, K}, true},
        {"one shard, 50 entries", {50, 1 << 28, 0, K}, false},
        {"one entry", {1, 1 << 28, 0, K}, false},
        {"500 entries, TTL", {500, 1 << 28, 3000, K}, false},
        {"bounded by bytes", {1 << 20, 1 << 16, 0, K}, false},
        {"bounded by bytes, many shards", {1 << 20, 1 << 19, 9000, K}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t seed = 1000 + i;
        struct outcome out = random_operations(&cases[i].o, seed, cases[i].must_hit);
        ok(out.wrong == 0, "%s (seed %llu): no wrong answer in %zu hits, %zu misses",
           cases[i].name, (unsigned long long)seed, out.hits, out.misses);
        ok(out.over == 0, "%s: bounds hold", cases[i].name);
        ok(out.hits > 0, "%s: some hits", cases[i].name);
    }
}

/* A head asked for again and again must survive a long scan of keys seen once. */
static void test_scan(void)
{
    struct label_table_options o = {1000, 1 << 26, 0, K};
    struct label_table *c = label_table_new(&o);
    char text[32];
    medley_result got;
    int64_t stored;
    for (uint32_t id = 0; id < 200; id++) {
        medley_result v = value_of(id, 1);
        struct label_key key = key_of(id, text);
        put_label(c, &key, &v, 1);
        for (int hit = 0; hit < 3; hit++)
            get_label(c, &key, 1, &got, &stored);
    }
    for (uint32_t id = 1000; id < 21000; id++) {
        medley_result v = value_of(id, 1);
        struct label_key key = key_of(id, text);
        put_label(c, &key, &v, 2);
    }
    size_t kept = 0;
    for (uint32_t id = 0; id < 200; id++) {
        struct label_key key = key_of(id, text);
        kept += get_label(c, &key, 3, &got, &stored);
    }
    ok(kept >= 195, "%zu of 200 frequent pairs survive a scan of 20 times the cache", kept);
    struct label_table_stats stats = label_table_stats(c);
    ok(stats.entries <= 1000 && stats.entries > 900, "and the cache is full: %zu",
       stats.entries);
    ok(stats.evicted == 20200 - stats.entries, "evictions are counted");
    label_table_free(c);
}

/* A pair that comes back soon after it was dropped goes where it stays longer. */
static void test_ghosts(void)
{
    struct label_table_options o = {1000, 1 << 26, 0, K};
    struct label_table *c = label_table_new(&o);
    char text[32];
    medley_result got, v = value_of(7, 1);
    int64_t stored;
    size_t back = 0, stayed = 0;
    for (uint32_t id = 0; id < 1500; id++) { /* fills the cache; the first are dropped again */
        struct label_key key = key_of(id, text);
        put_label(c, &key, &v, 1);
    }
    for (uint32_t id = 350; id < 450; id++) {
        struct label_key key = key_of(id, text);
        back += !get_label(c, &key, 2, &got, &stored);
        put_label(c, &key, &v, 2);
    }
    for (uint32_t id = 5000; id < 6500; id++) {
        struct label_key key = key_of(id, text);
        put_label(c, &key, &v, 3);
    }
    for (uint32_t id = 350; id < 450; id++) {
        struct label_key key = key_of(id, text);
        stayed += get_label(c, &key, 4, &got, &stored);
    }
    ok(back == 100, "%zu of 100 pairs were dropped and put again", back);
    ok(stayed >= 80, "%zu of these outlive a scan that drops all newcomers", stayed);
    label_table_free(c);
}

static void test_collisions(void)
{
    struct label_table_options o = {1000, 1 << 22, 0, K};
    struct label_table *c = label_table_new(&o);
    struct hash128 same = {7, 9};
    struct label_key keys[] = {
        {same, STR("query"), STR("a")}, {same, STR("query"), STR("b")},
        {same, STR("quer"), STR("ya")}, {same, STR("querya"), STR("")},
        {same, STR(""), STR("querya")},
    };
    size_t n = sizeof keys / sizeof keys[0], right = 0;
    medley_result got;
    int64_t stored;
    for (uint32_t i = 0; i + 1 < n; i++) {
        medley_result v = value_of(i, 5);
        put_label(c, &keys[i], &v, 1);
    }
    ok(!get_label(c, &keys[n - 1], 1, &got, &stored), "a collision is a miss, not a hit");
    for (uint32_t i = 0; i + 1 < n; i++) {
        medley_result v = value_of(i, 5);
        right += get_label(c, &keys[i], 1, &got, &stored) && same_value(&got, &v);
    }
    ok(right == n - 1, "keys with one hash are told apart by their bytes");
    label_table_free(c);
}

static void test_ttl(void)
{
    struct label_table_options o = {100, 1 << 20, 1000, K};
    struct label_table *c = label_table_new(&o);
    char text[32];
    struct label_key key = key_of(1, text);
    medley_result v = value_of(1, 1), got;
    int64_t stored = -1;
    put_label(c, &key, &v, 5000);
    ok(get_label(c, &key, 6000, &got, &stored) && stored == 5000, "kept for the whole TTL");
    ok(!get_label(c, &key, 6001, &got, &stored), "gone a moment later");
    struct label_table_stats stats = label_table_stats(c);
    ok(stats.entries == 0 && stats.bytes == 0 && stats.expired == 1, "and its memory with it");
    put_label(c, &key, &v, 7000);
    put_label(c, &key, &v, 7900);
    ok(get_label(c, &key, 8800, &got, &stored) && stored == 7900, "a put renews");
    label_table_free(c);
}

static void test_marks(void)
{
    struct label_table_options o = {100, 1 << 20, 0, K};
    struct label_table *c = label_table_new(&o);
    char text[32];
    struct label_key key = key_of(1, text);
    medley_result v = value_of(1, 1);
    struct label label = {&v, 5, 2};
    label_table_mark(c, &key, 4); /* of a label that is not there */
    label_table_put(c, &key, &label);
    ok(label_table_get(c, &key, 5, &label) && label.kept == 2,
       "what took a label is kept with it");
    label_table_mark(c, &key, 4);
    ok(label_table_get(c, &key, 5, &label) && label.kept == 6, "what takes it later is added");
    label.kept = 0;
    label_table_put(c, &key, &label);
    ok(label_table_get(c, &key, 5, &label) && label.kept == 0, "nobody has a new label yet");
    label_table_clear(c);
    ok(!label_table_get(c, &key, 5, &label) && label_table_stats(c).bytes == 0, "cleared");
    label_table_free(c);
}

static void test_memory(void)
{
    struct label_table_options o = {100, 1 << 20, 0, K};
    for (size_t n = 0; n < 3; n++) {
        mem_fail_after(n);
        struct label_table *c = label_table_new(&o);
        mem_fail_after(SIZE_MAX);
        ok(!c, "new: allocation %zu fails cleanly", n);
        label_table_free(c);
    }
    struct label_table *c = label_table_new(&o);
    char text[32];
    struct label_key key = key_of(1, text);
    medley_result old = value_of(1, 1), fresh = value_of(1, 2), got;
    int64_t stored;
    put_label(c, &key, &old, 1);
    mem_fail_after(0);
    put_label(c, &key, &fresh, 2);
    mem_fail_after(SIZE_MAX);
    ok(!get_label(c, &key, 3, &got, &stored), "without memory the outdated answer goes");
    for (uint32_t id = 0; id < 90; id++) { /* bucket growth fails */
        key = key_of(id, text);
        mem_fail_after(1);
        put_label(c, &key, &old, 4);
    }
    mem_fail_after(SIZE_MAX);
    ok(label_table_stats(c).entries == 90, "buckets that cannot grow only get longer");
    char *large = mem_zalloc(1 << 20, 1);
    key = label_key_of(STR("q"), label_key_hash(STR("q")), (struct str){large, 1 << 20});
    put_label(c, &key, &old, 5);
    ok(!get_label(c, &key, 5, &got, &stored), "a key as large as a shard is not kept");
    ok(label_table_stats(c).entries == 90, "and pushes nothing out");
    mem_free(large);
    label_table_free(c);
}

/* ---- threads ----------------------------------------------------------------------------- */

#define THREADS 4
struct worker {
    struct label_table *c;
    uint64_t stream;
    size_t torn, hits;
};

static void *hammer(void *context)
{
    struct worker *w = context;
    struct rng rng;
    char text[32];
    rng_init(&rng, 99, w->stream);
    for (uint32_t step = 0; step < 30000; step++) {
        uint32_t id = rng_below(&rng, 700);
        struct label_key key = key_of(id, text);
        medley_result v = value_of(id, step), got;
        int64_t stored;
        if (rng_below(&rng, 3) == 0) {
            put_label(w->c, &key, &v, step);
        } else if (get_label(w->c, &key, step, &got, &stored)) {
            uint32_t version = got.models_used - id * 31;
            v = value_of(id, version);
            w->torn += !same_value(&got, &v) || stored != version;
            w->hits++;
        }
        if (step % 1000 == 0)
            label_table_stats(w->c);
    }
    return NULL;
}

static void test_threads(void)
{
    struct label_table_options o = {300, 1 << 22, 0, K};
    struct label_table *c = label_table_new(&o);
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    size_t torn = 0, hits = 0;
    for (uint64_t t = 0; t < THREADS; t++) {
        workers[t] = (struct worker){c, t, 0, 0};
        pthread_create(&threads[t], NULL, hammer, &workers[t]);
    }
    for (size_t t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
        torn += workers[t].torn;
        hits += workers[t].hits;
    }
    ok(torn == 0 && hits > 0, "%d threads: %zu hits, none torn", THREADS, hits);
    label_table_free(c);
}

/* ---- keys -------------------------------------------------------------------------------- */

static const char *folded(const char *text)
{
    static struct strbuf out;
    sb_clear(&out);
    label_key_fold(str_of(text), &out, NULL);
    return out.s ? out.s : "";
}

static void test_fold(void)
{
    is_text(folded("  Wireless\t\nMOUSE  "), "wireless mouse", "case and space are folded");
    is_text(folded("STRASSE"), folded("straße"), "full case folding");
    is_text(folded("cafe\xCC\x81"), "caf\xC3\xA9", "composed and decomposed are one");
    is_text(folded("a\xE3\x80\x80"
                   "b\xC2\xA0"
                   "c"),
            "a b c", "ideographic and no-break spaces too");
    is_text(folded(""), "", "nothing stays nothing");
    size_t differ = 0; /* what is ASCII alone takes a path of its own */
    for (int a = 1; a < 128; a++) {
        for (int b = 1; b < 128; b++) {
            char text[] = {'x', (char)a, (char)b, 'z', 0}, longer[] = "....\xC3\xA9", first[8];
            memcpy(longer, text, 4);
            snprintf(first, sizeof first, "%s\xC3\xA9", folded(text));
            differ += strcmp(first, folded(longer)) != 0;
        }
    }
    ok(differ == 0, "%zu of 16129 ASCII texts are folded otherwise than by Unicode", differ);
    struct strbuf out;
    medley_error err;
    sb_init(&out);
    ok(label_key_fold(STR("a\xFF"), &out, &err) == MEDLEY_EINVAL, "invalid UTF-8 is refused");
    sb_deinit(&out);
}

static struct label_key product_key(struct strbuf *shared, struct strbuf *own,
                                    const char *query, const medley_product *p)
{
    sb_clear(shared);
    sb_clear(own);
    label_key_shared(shared, "b1", 0, STR("us"), str_of(query));
    label_key_own(own, p, 0);
    return label_key_of(sb_str(shared), label_key_hash(sb_str(shared)), sb_str(own));
}

static medley_text text_of(const char *z)
{
    return (medley_text){z, strlen(z)};
}

static void test_keys(void)
{
    struct strbuf shared, own;
    sb_init(&shared);
    sb_init(&own);
    medley_product products[] = {
        {.id = text_of("B1")},
        {.id = text_of("B2")},
        {.id = text_of("B1"), .has_text = true, .title = text_of("t")},
        {.id = text_of("B1"), .has_text = true, .title = text_of("u")},
        {.id = text_of("B1"), .has_text = true, .title = text_of("t"), .brand = text_of("x")},
        {.id = text_of("B1"), .has_text = true, .title = text_of("t"), .color = text_of("x")},
        {.has_text = true, .title = text_of("t")},
        {.has_text = true, .title = text_of("tx")},
        {.has_text = true, .title = text_of("t"), .description = text_of("x")},
    };
    enum { N = sizeof products / sizeof products[0] };
    struct hash128 hashes[N + 1];
    size_t equal = 0;
    for (size_t i = 0; i < N; i++)
        hashes[i] = product_key(&shared, &own, "q", &products[i]).hash;
    hashes[N] = product_key(&shared, &own, "r", &products[0]).hash;
    for (size_t i = 0; i <= N; i++) {
        for (size_t j = 0; j < i; j++)
            equal += hashes[i].low == hashes[j].low && hashes[i].high == hashes[j].high;
    }
    ok(equal == 0, "%d different products and queries have different keys", N + 1);
    struct hash128 again = product_key(&shared, &own, "q", &products[0]).hash;
    ok(again.low == hashes[0].low && again.high == hashes[0].high, "the same has the same");
    sb_deinit(&shared);
    sb_deinit(&own);
}

int main(void)
{
    test_against_naive();
    test_scan();
    test_ghosts();
    test_collisions();
    test_ttl();
    test_marks();
    test_memory();
    test_threads();
    test_fold();
    test_keys();
    return tap_done();
}
