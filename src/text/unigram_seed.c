/* unigram_seed.c: the corpus of the Unigram trainer and its first pieces. Substrings are
 * counted by length: one of n letters is a number for its first n - 1 and one letter more, and
 * is looked at only where those n - 1 were frequent. Memory is that of the frequent ones, time
 * that of their occurrences; a suffix array would hold every one. */
#include "text/unigram_em.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- pairs ---- */

void pair_table_deinit(struct pair_table *t)
{
    mem_free(t->keys);
    mem_free(t->values);
    memset(t, 0, sizeof *t);
}

static size_t pair_slot(const struct pair_table *t, uint64_t key)
{
    uint64_t h = key * UINT64_C(0x9E3779B97F4A7C15);
    size_t at = (size_t)(h ^ h >> 32) & t->mask;
    while (t->keys[at] && t->keys[at] != key)
        at = (at + 1) & t->mask;
    return at;
}

static bool pair_grow(struct pair_table *t)
{
    size_t slots = t->keys ? 2 * (t->mask + 1) : 1024;
    struct pair_table grown = {mem_zalloc(slots, sizeof *t->keys),
                               mem_alloc(slots, sizeof *t->values), t->n, slots - 1};
    if (!grown.keys || !grown.values) {
        pair_table_deinit(&grown);
        return false;
    }
    for (size_t i = 0; t->keys && i <= t->mask; i++)
        if (t->keys[i]) {
            size_t at = pair_slot(&grown, t->keys[i]);
            grown.keys[at] = t->keys[i];
            grown.values[at] = t->values[i];
        }
    pair_table_deinit(t);
    *t = grown;
    return true;
}

uint32_t pair_add(struct pair_table *t, uint32_t left, uint32_t right)
{
    if ((!t->keys || 2 * t->n > t->mask) && !pair_grow(t))
        return PAIR_NONE;
    uint64_t key = ((uint64_t)left << 32 | right) + 1;
    size_t at = pair_slot(t, key);
    if (!t->keys[at]) {
        t->keys[at] = key;
        t->values[at] = (uint32_t)t->n++;
    }
    return t->values[at];
}

uint32_t pair_find(const struct pair_table *t, uint32_t left, uint32_t right)
{
    if (!t->keys)
        return PAIR_NONE;
    size_t at = pair_slot(t, ((uint64_t)left << 32 | right) + 1);
    return t->keys[at] ? t->values[at] : PAIR_NONE;
}

/* ---- corpus ---- */

void unigram_corpus_deinit(struct unigram_corpus *c)
{
    mem_free(c->letters);
    mem_free(c->starts);
    mem_free(c->counts);
    memset(c, 0, sizeof *c);
}

bool unigram_corpus_add(struct unigram_corpus *c, const uint32_t *letters, size_t n,
                        uint64_t count)
{
    for (size_t at = 0; at < n; at += UNIGRAM_SEGMENT) {
        size_t part = n - at < UNIGRAM_SEGMENT ? n - at : UNIGRAM_SEGMENT;
        if (!mem_reserve(&c->letters, &c->capacity, c->n + part, sizeof *c->letters) ||
            !mem_reserve(&c->starts, &c->starts_capacity, c->n_segments + 2,
                         sizeof *c->starts) ||
            !mem_reserve(&c->counts, &c->counts_capacity, c->n_segments + 1, sizeof *c->counts))
            return false;
        memcpy(c->letters + c->n, letters + at, part * sizeof *letters);
        c->starts[c->n_segments] = (uint32_t)c->n;
        c->counts[c->n_segments++] = count;
        c->n += part;
        c->starts[c->n_segments] = (uint32_t)c->n;
    }
    return true;
}

/* ---- substrings ---- */

struct level { /* substrings of one length */
    struct pair_table pairs;
    struct found {
        uint64_t count;
        uint32_t at, parent; /* parent: its first n - 1 letters, in the level before */
        bool longer;         /* always followed by the same letter: that one says it all */
    } * items;               /* [pairs.n] */
    size_t capacity;
    uint32_t n; /* letters */
};

static void level_deinit(struct level *l)
{
    pair_table_deinit(&l->pairs);
    mem_free(l->items);
}

static bool level_count(struct level *l, uint32_t left, uint32_t right, uint32_t at,
                        uint64_t count, uint32_t *id)
{
    size_t before = l->pairs.n;
    *id = pair_add(&l->pairs, left, right);
    if (*id == PAIR_NONE || !mem_reserve(&l->items, &l->capacity, l->pairs.n, sizeof *l->items))
        return false;
    if (l->pairs.n > before)
        l->items[*id] = (struct found){0, at, left, false};
    l->items[*id].count += count;
    return true;
}

/* ids[n]: the substring that begins at each letter, of the level before; on return, of this
 * one. */
static bool count_level(const struct unigram_corpus *c, struct level *l, uint32_t *ids)
{
    for (size_t s = 0; s < c->n_segments; s++)
        for (uint32_t at = c->starts[s]; at < c->starts[s + 1]; at++) {
            uint32_t end = at + l->n - 1, left = ids[at];
            ids[at] = PAIR_NONE;
            if (left != PAIR_NONE && end < c->starts[s + 1] &&
                !level_count(l, left, c->letters[end], at, c->counts[s], &ids[at]))
                return false;
        }
    return true;
}

static int by_cover(const void *left, const void *right)
{
    const struct unigram_piece *a = left, *b = right;
    double x = a->weight * a->n, y = b->weight * b->n;
    if (x != y)
        return x < y ? 1 : -1;
    return a->at != b->at ? (a->at > b->at) - (a->at < b->at) : (a->n > b->n) - (a->n < b->n);
}

static void keep_best(struct unigram_pieces *p, size_t letters, size_t limit)
{
    if (p->n - letters <= limit)
        return;
    qsort(p->items + letters, p->n - letters, sizeof *p->items, by_cover);
    p->n = letters + limit;
}

static bool add_piece(struct unigram_pieces *p, uint32_t at, uint32_t n, double weight)
{
    if (!mem_reserve(&p->items, &p->capacity, p->n + 1, sizeof *p->items))
        return false;
    p->items[p->n++] = (struct unigram_piece){at, n, weight};
    return true;
}

static bool take_level(const struct unigram_corpus *c, const struct level *l,
                       uint64_t min_count, size_t limit, struct unigram_pieces *out)
{
    for (size_t i = 0; i < l->pairs.n; i++) {
        const struct found *f = &l->items[i];
        if (f->count >= min_count && !f->longer &&
            !add_piece(out, f->at, l->n, (double)f->count))
            return false;
    }
    if (out->n > c->n_letters + 2 * limit)
        keep_best(out, c->n_letters, limit);
    return true;
}

/* Rare substrings are not made longer, and tell their parents. */
static void close_level(const struct unigram_corpus *c, struct level *before, struct level *l,
                        uint64_t min_count, uint32_t *ids)
{
    for (size_t i = 0; i < l->pairs.n && before->items; i++) {
        const struct found *f = &l->items[i];
        before->items[f->parent].longer |= before->items[f->parent].count == f->count;
    }
    for (size_t i = 0; i < c->n; i++)
        if (ids[i] != PAIR_NONE && l->items[ids[i]].count < min_count)
            ids[i] = PAIR_NONE;
}

static medley_status count_all(const struct unigram_corpus *c, uint64_t min_count, size_t limit,
                               uint32_t *ids, struct unigram_pieces *out, medley_error *err)
{
    struct level before = {0}, now = {0};
    medley_status st = MEDLEY_OK;
    for (uint32_t n = 2; n <= UNIGRAM_PIECE && !st; n++) {
        now = (struct level){.n = n};
        if (interrupted())
            st = fail(err, MEDLEY_EINTERRUPTED, "vocabulary training interrupted");
        else if (!count_level(c, &now, ids))
            st = fail_memory(err, "substrings");
        else
            close_level(c, &before, &now, min_count, ids);
        if (!st && before.items && !take_level(c, &before, min_count, limit, out))
            st = fail_memory(err, "substrings");
        level_deinit(&before);
        before = now;
    }
    if (!st && !take_level(c, &before, min_count, limit, out))
        st = fail_memory(err, "substrings");
    level_deinit(&before);
    return st;
}

static bool seed_letters(const struct unigram_corpus *c, struct unigram_pieces *out)
{
    for (size_t i = 0; i < c->n_letters; i++)
        if (!add_piece(out, 0, 1, 0))
            return false;
    for (size_t s = 0; s < c->n_segments; s++)
        for (uint32_t at = c->starts[s]; at < c->starts[s + 1]; at++) {
            out->items[c->letters[at]].at = at;
            out->items[c->letters[at]].weight += (double)c->counts[s];
        }
    return true;
}

medley_status unigram_seed(const struct unigram_corpus *c, uint64_t min_count, size_t limit,
                           struct unigram_pieces *out, medley_error *err)
{
    struct unigram_pieces p = {0};
    medley_status st = MEDLEY_OK;
    uint32_t *ids = mem_alloc(c->n ? c->n : 1, sizeof *ids);
    if (!ids || !seed_letters(c, &p))
        st = fail_memory(err, "substrings");
    if (!st && c->n) {
        memcpy(ids, c->letters, c->n * sizeof *ids);
        st = count_all(c, min_count, limit, ids, &p, err);
    }
    mem_free(ids);
    if (st) {
        mem_free(p.items);
        return st;
    }
    keep_best(&p, c->n_letters, limit);
    double sum = 0; /* as SentencePiece starts: by cover */
    for (size_t i = 0; i < p.n; i++)
        sum += p.items[i].weight *= p.items[i].n;
    for (size_t i = 0; i < p.n; i++)
        p.items[i].weight = log(p.items[i].weight / sum);
    *out = p;
    return MEDLEY_OK;
}
