/* map.c: open addressing with linear probing. A slot holds an id and 32 bits of the hash, so
 * that a probe seldom touches a key; keys lie in blocks that never move, so map_key stays valid
 * while others are added. Proof: tests/test_base_map.c (random operations against a plain
 * list). */
#include "base/map.h"

#include "base/memory.h"

#include <string.h>
#include <xxhash.h>

struct slot {
    uint32_t id;  /* MAP_NONE: empty */
    uint32_t tag; /* high half of the hash */
};

struct key {
    const char *s;
    size_t n;
    uint64_t hash;
};

struct key_block {
    struct key_block *next; /* older */
    char bytes[];
};

struct map {
    struct slot *slots;
    size_t mask;      /* number of slots - 1; a power of two */
    struct key *keys; /* by id */
    size_t count, capacity;
    struct key_block *blocks;
    char *free_bytes; /* in the newest block */
    size_t free_n;
};

static struct slot *slots_new(size_t n)
{
    struct slot *slots = mem_alloc(n, sizeof *slots);
    for (size_t i = 0; slots && i < n; i++)
        slots[i] = (struct slot){MAP_NONE, 0};
    return slots;
}

struct map *map_new(size_t expected)
{
    size_t n = 16;
    while (n < SIZE_MAX / 4 && n / 4 * 3 < expected)
        n *= 2;
    struct map *m = mem_zalloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->mask = n - 1;
    m->slots = slots_new(n);
    if (!m->slots || !mem_reserve(&m->keys, &m->capacity, expected, sizeof *m->keys)) {
        map_free(m);
        return NULL;
    }
    return m;
}

void map_free(struct map *m)
{
    if (!m)
        return;
    for (struct key_block *b = m->blocks, *next; b; b = next) {
        next = b->next;
        mem_free(b);
    }
    mem_free(m->keys);
    mem_free(m->slots);
    mem_free(m);
}

/* The slot where the key is, or the empty one where it belongs. */
static struct slot *find_slot(const struct map *m, struct str key, uint64_t hash)
{
    uint32_t tag = (uint32_t)(hash >> 32);
    for (size_t i = hash & m->mask;; i = (i + 1) & m->mask) {
        struct slot *s = &m->slots[i];
        if (s->id == MAP_NONE)
            return s;
        if (s->tag == tag && str_eq(map_key(m, s->id), key))
            return s;
    }
}

/* Twice the slots; the old ones stay when there is no memory. */
static bool grow(struct map *m)
{
    size_t n = (m->mask + 1) * 2;
    struct slot *slots = slots_new(n);
    if (!slots)
        return false;
    for (size_t id = 0; id < m->count; id++) {
        uint64_t hash = m->keys[id].hash;
        size_t i = hash & (n - 1);
        while (slots[i].id != MAP_NONE)
            i = (i + 1) & (n - 1);
        slots[i] = (struct slot){(uint32_t)id, (uint32_t)(hash >> 32)};
    }
    mem_free(m->slots);
    m->slots = slots;
    m->mask = n - 1;
    return true;
}

static const char *copy_key(struct map *m, struct str key)
{
    if (key.n > m->free_n) {
        size_t size = m->count < 64 ? 1024 : 65536;
        if (size < key.n)
            size = key.n;
        struct key_block *b =
            size < SIZE_MAX - sizeof *b ? mem_alloc(1, sizeof *b + size) : NULL;
        if (!b)
            return NULL;
        b->next = m->blocks;
        m->blocks = b;
        m->free_bytes = b->bytes;
        m->free_n = size;
    }
    char *copy = m->free_bytes;
    if (key.n)
        memcpy(copy, key.s, key.n);
    m->free_bytes += key.n;
    m->free_n -= key.n;
    return key.n ? copy : "";
}

uint32_t map_add(struct map *m, struct str key, bool *added)
{
    uint64_t hash = XXH3_64bits(key.s, key.n);
    struct slot *s = find_slot(m, key, hash);
    if (added)
        *added = false;
    if (s->id != MAP_NONE)
        return s->id;
    if (m->count >= MAP_NONE ||
        !mem_reserve(&m->keys, &m->capacity, m->count + 1, sizeof *m->keys))
        return MAP_NONE;
    if (m->count + 1 > (m->mask + 1) / 4 * 3) {
        if (!grow(m))
            return MAP_NONE;
        s = find_slot(m, key, hash);
    }
    const char *copy = copy_key(m, key);
    if (!copy)
        return MAP_NONE;
    m->keys[m->count] = (struct key){copy, key.n, hash};
    *s = (struct slot){(uint32_t)m->count, (uint32_t)(hash >> 32)};
    if (added)
        *added = true;
    return (uint32_t)m->count++;
}

uint32_t map_find(const struct map *m, struct str key)
{
    return find_slot(m, key, XXH3_64bits(key.s, key.n))->id;
}

struct str map_key(const struct map *m, uint32_t id)
{
    return (struct str){m->keys[id].s, m->keys[id].n};
}

size_t map_count(const struct map *m)
{
    return m->count;
}
