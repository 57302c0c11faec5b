/* vocab.c: see vocab.h. Open addressing with linear probing; a slot's tag settles nearly every
 * comparison, so that a miss (the greedy search has many) seldom touches the token's bytes. */
#include "text/vocab.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

#define BASE UINT64_C(0x9E3779B97F4A7C15)       /* odd; any odd number of full width will do */
#define CONTINUING UINT64_C(0xD1B54A32D192ED03) /* keeps "ing" and "##ing" apart */

void vocab_hash_word(const char *word, size_t n, uint64_t *hashes)
{
    uint64_t h = 0;
    hashes[0] = 0;
    for (size_t i = 0; i < n; i++) {
        h = h * BASE + (unsigned char)word[i] + 1;
        hashes[i + 1] = h;
    }
}

static uint64_t mix(uint64_t h, bool continuing)
{
    h ^= continuing ? CONTINUING : 0;
    h ^= h >> 32;
    h *= UINT64_C(0xBF58476D1CE4E5B9);
    return h ^ h >> 29;
}

static uint64_t hash_text_of(struct str s)
{
    uint64_t h = 0;
    for (size_t i = 0; i < s.n; i++)
        h = h * BASE + (unsigned char)s.s[i] + 1;
    return h;
}

struct str vocab_text(const struct vocab *v, int32_t id)
{
    if (id < 0 || (size_t)id >= v->size)
        return (struct str){NULL, 0};
    return (struct str){v->bytes.s + v->offsets[id],
                        (size_t)(v->offsets[id + 1] - v->offsets[id])};
}

/* The text under which a slot's key is found: a continuing token's without its prefix. */
static struct str key_text(const struct vocab *v, int32_t key)
{
    struct str s = vocab_text(v, key >> 1);
    if (key & 1) {
        s.s += v->prefix;
        s.n -= v->prefix;
    }
    return s;
}

/* The slot that holds `text`, or the empty one where it would go. */
static struct vocab_slot *probe(const struct vocab *v, uint64_t hash, struct str text,
                                bool continuing)
{
    size_t mask = ((size_t)1 << v->log2_slots) - 1;
    for (size_t i = (size_t)(hash >> (64 - v->log2_slots));; i++) {
        struct vocab_slot *slot = &v->slots[i & mask];
        if (slot->key < 0)
            return slot;
        if (slot->tag == (uint32_t)hash && (slot->key & 1) == continuing &&
            str_eq(key_text(v, slot->key), text))
            return slot;
    }
}

static void insert(struct vocab *v, struct str text, int32_t id, bool continuing)
{
    uint64_t hash = mix(hash_text_of(text), continuing);
    struct vocab_slot *slot = probe(v, hash, text, continuing);
    slot->tag = (uint32_t)hash;
    slot->key = (int32_t)((uint32_t)id << 1 | (uint32_t)continuing);
    size_t *longest = continuing ? &v->longest_continuing : &v->longest;
    if (text.n > *longest)
        *longest = text.n;
}

static medley_status copy_texts(struct vocab *v, const struct str *texts, size_t n,
                                medley_error *err)
{
    v->offsets = mem_zalloc(n + 1, sizeof v->offsets[0]);
    if (!v->offsets)
        return fail_memory(err, "vocabulary");
    for (size_t i = 0; i < n; i++) {
        sb_add(&v->bytes, texts[i].s, texts[i].n);
        v->offsets[i + 1] = v->bytes.n;
    }
    if (v->bytes.failed)
        return fail_memory(err, "vocabulary");
    v->size = n;
    return MEDLEY_OK;
}

static medley_status build_index(struct vocab *v, struct str prefix, medley_error *err)
{
    v->prefix = prefix.n;
    v->powers[0] = 1;
    for (size_t i = 1; i <= VOCAB_TOKEN_BYTES; i++)
        v->powers[i] = v->powers[i - 1] * BASE;
    v->log2_slots = 4;
    while (((size_t)1 << v->log2_slots) < 4 * v->size) /* two keys a token, at most half full */
        v->log2_slots++;
    v->slots = mem_alloc((size_t)1 << v->log2_slots, sizeof v->slots[0]);
    if (!v->slots)
        return fail_memory(err, "vocabulary index");
    memset(v->slots, 0xFF, sizeof v->slots[0] << v->log2_slots);
    for (size_t i = 0; i < v->size; i++) {
        struct str text = vocab_text(v, (int32_t)i);
        if (text.n == 0)
            continue;
        insert(v, text, (int32_t)i, false);
        if (prefix.n == 0)
            insert(v, text, (int32_t)i, true);
        else if (text.n > prefix.n && memcmp(text.s, prefix.s, prefix.n) == 0)
            insert(v, (struct str){text.s + prefix.n, text.n - prefix.n}, (int32_t)i, true);
    }
    return MEDLEY_OK;
}

medley_status vocab_init(struct vocab *v, const struct str *texts, size_t n, struct str prefix,
                         medley_error *err)
{
    memset(v, 0, sizeof *v);
    sb_init(&v->bytes);
    if (n > INT32_MAX / 4)
        return fail(err, MEDLEY_EFORMAT, "vocabulary of %zu tokens is too large", n);
    medley_status st = copy_texts(v, texts, n, err);
    if (st == MEDLEY_OK)
        st = build_index(v, prefix, err);
    if (st != MEDLEY_OK)
        vocab_deinit(v);
    return st;
}

void vocab_deinit(struct vocab *v)
{
    sb_deinit(&v->bytes);
    mem_free(v->offsets);
    mem_free(v->slots);
    memset(v, 0, sizeof *v);
}

int32_t vocab_find(const struct vocab *v, struct str token)
{
    if (token.n == 0 || !v->slots)
        return -1;
    int32_t key = probe(v, mix(hash_text_of(token), false), token, false)->key;
    return key < 0 ? -1 : key >> 1;
}

int32_t vocab_find_piece(const struct vocab *v, const char *word, const uint64_t *hashes,
                         size_t begin, size_t end, bool continuing)
{
    uint64_t h = hashes[end] - hashes[begin] * v->powers[end - begin];
    struct str text = {word + begin, end - begin};
    int32_t key = probe(v, mix(h, continuing), text, continuing)->key;
    return key < 0 ? -1 : key >> 1;
}
