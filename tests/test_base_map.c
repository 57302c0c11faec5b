/* test_base_map.c: the hash map against a plain list, under random operations and faults. */
#include "base/map.h"
#include "base/memory.h"
#include "base/rng.h"
#include "tests/tap.h"

#define KEYS 3000

/* Keys of 0 to 40 bytes with zeros inside; few enough to repeat often. */
static struct str random_key(struct rng *r, char out[48])
{
    uint32_t k = rng_below(r, KEYS);
    size_t n = k % 41;
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(mix64(7, k, i) % 5);
    return (struct str){out, n};
}

static void test_against_list(uint64_t seed, size_t expected)
{
    struct rng r;
    struct map *m = map_new(expected);
    static char bytes[KEYS][48];
    static struct str list[KEYS];
    size_t n = 0, wrong = 0;
    rng_init(&r, seed, 0);
    for (int step = 0; step < 20000; step++) {
        char text[48];
        struct str key = random_key(&r, text);
        uint32_t wanted = MAP_NONE;
        for (size_t i = 0; i < n && wanted == MAP_NONE; i++)
            if (str_eq(list[i], key))
                wanted = (uint32_t)i;
        wrong += map_find(m, key) != wanted;
        if (rng_below(&r, 2))
            continue;
        bool added = false;
        uint32_t id = map_add(m, key, &added);
        wrong += added != (wanted == MAP_NONE) || id != (added ? n : wanted);
        if (added) {
            memcpy(bytes[n], key.s, key.n);
            list[n] = (struct str){bytes[n], key.n};
            n++;
        }
    }
    for (size_t i = 0; i < n; i++)
        wrong += !str_eq(map_key(m, (uint32_t)i), list[i]);
    ok(wrong == 0 && map_count(m) == n, "seed %u: %zu keys agree with the list", (unsigned)seed,
       n);
    map_free(m);
}

static void test_faults(void)
{
    size_t failed = 0, wrong = 0;
    for (size_t n = 0; n < 40; n++) {
        mem_fail_after(n);
        struct map *m = map_new(0);
        size_t present = 0;
        for (int i = 0; m && i < 3000; i++) {
            char text[16];
            int length = snprintf(text, sizeof text, "key %d", i);
            struct str key = {text, (size_t)length};
            if (map_add(m, key, NULL) == MAP_NONE) {
                failed++;
                wrong += map_find(m, key) != MAP_NONE;
            } else {
                wrong += map_find(m, key) != present++;
            }
        }
        mem_fail_after(SIZE_MAX);
        failed += !m;
        wrong += m && map_count(m) != present;
        map_free(m);
    }
    ok(failed >= 10 && wrong == 0, "%zu failed allocations leave the map whole", failed);
}

static void test_stable_keys(void)
{
    struct map *m = map_new(0);
    map_add(m, STR("first"), NULL);
    const char *before = map_key(m, 0).s;
    char *large = mem_zalloc(1 << 20, 1);
    map_add(m, (struct str){large, 1 << 20}, NULL);
    for (int i = 0; i < 10000; i++)
        map_add(m, (struct str){(const char *)&i, sizeof i}, NULL);
    ok(map_key(m, 0).s == before && map_key(m, 1).n == 1 << 20, "keys do not move");
    ok(map_add(m, STR(""), NULL) == 10002 && map_find(m, str_of(NULL)) == 10002,
       "the empty key");
    mem_free(large);
    map_free(m);
    map_free(NULL);
}

int main(void)
{
    for (uint64_t seed = 1; seed <= 3; seed++)
        test_against_list(seed, seed == 2 ? KEYS : 0);
    test_faults();
    test_stable_keys();
    return tap_done();
}
