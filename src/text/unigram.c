/* unigram.c: SentencePiece's Unigram model (Kudo 2018): the most probable way to cut a word
 * into tokens, found left to right (Viterbi) along a trie of the vocabulary. Ties and unknown
 * characters go as in the reference implementation (Hugging Face tokenizers). */
#include "text/token_model.h"

#include "base/error.h"
#include "base/memory.h"
#include "text/piece.h"

#include <math.h>
#include <string.h>

/* How much less an unknown character is worth than the worst token. */
#define UNKNOWN_PENALTY 10.0

/* A trie as a hash table of edges: (node, byte) to node. */
struct trie {
    struct edge {
        uint32_t from; /* node << 8 | byte, plus one; 0: empty */
        uint32_t to;
    } * edges;
    uint32_t mask;
    int32_t *token; /* [nodes] -1: none ends here */
    size_t nodes;
};

struct unigram {
    struct token_model base; /* first */
    struct trie trie;
    double *scores; /* [vocab->size] */
    double unknown_score;
};

static struct edge *edge_of(const struct trie *t, uint32_t node, unsigned char byte)
{
    uint32_t key = (node << 8 | byte) + 1;
    uint32_t at = (uint32_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & t->mask;
    while (t->edges[at].from && t->edges[at].from != key)
        at = (at + 1) & t->mask;
    return &t->edges[at];
}

static void trie_insert(struct trie *t, struct str text, int32_t id)
{
    uint32_t node = 0;
    for (size_t i = 0; i < text.n; i++) {
        struct edge *e = edge_of(t, node, (unsigned char)text.s[i]);
        if (!e->from) {
            e->from = (node << 8 | (unsigned char)text.s[i]) + 1;
            e->to = (uint32_t)t->nodes;
            t->token[t->nodes++] = -1;
        }
        node = e->to;
    }
    t->token[node] = id;
}

static medley_status trie_build(struct trie *t, const struct vocab *v, const char *name,
                                medley_error *err)
{
    size_t bytes = v->bytes.n, slots = 16;
    if (bytes >= (1u << 24) - 1) /* a node and a byte make 32 bits */
        return fail(err, MEDLEY_EUNSUPPORTED, "%s: a vocabulary of more than 16 MB", name);
    while (slots < 2 * bytes)
        slots *= 2;
    t->mask = (uint32_t)(slots - 1);
    t->edges = mem_zalloc(slots, sizeof *t->edges);
    t->token = mem_alloc(bytes + 1, sizeof *t->token);
    if (!t->edges || !t->token)
        return fail_memory(err, "a vocabulary");
    t->token[0] = -1;
    t->nodes = 1;
    for (size_t id = 0; id < v->size; id++)
        trie_insert(t, vocab_text(v, (int32_t)id), (int32_t)id);
    return MEDLEY_OK;
}

/* The best way to cut what ends at a byte. */
struct best {
    double score;
    uint32_t from; /* where its last token begins; UINT32_MAX: no way yet */
    int32_t id;
};

static void relax(struct best *b, double score, size_t from, int32_t id)
{
    if (b->from != UINT32_MAX && score <= b->score)
        return;
    *b = (struct best){score, (uint32_t)from, id};
}

static void search(const struct unigram *u, const char *s, size_t n, struct best *best)
{
    for (size_t i = 0; i <= n; i++)
        best[i].from = UINT32_MAX;
    best[0] = (struct best){0, 0, -1};
    for (size_t at = 0; at < n;) {
        size_t next = at;
        uint32_t node = 0;
        bool whole_char = false;
        double so_far = best[at].score;
        char_at(s, &next);
        for (size_t i = at; i < n; i++) {
            const struct edge *e = edge_of(&u->trie, node, (unsigned char)s[i]);
            if (!e->from)
                break;
            node = e->to;
            int32_t id = u->trie.token[node];
            if (id < 0)
                continue;
            relax(&best[i + 1], so_far + u->scores[id], at, id);
            whole_char = whole_char || i + 1 == next;
        }
        if (!whole_char)
            relax(&best[next], so_far + u->unknown_score, at, u->base.unknown);
        at = next;
    }
}

/* A run of unknown characters: as bytes, or one unknown token. */
static void add_unknown(const struct unigram *u, const char *s, size_t begin, size_t end,
                        struct word_ids *out)
{
    if (u->base.byte_fallback &&
        token_model_bytes(&u->base, s + begin, end - begin, begin, out))
        return;
    if (u->base.unknown >= 0)
        word_ids_add(out, u->base.unknown, end);
}

static void unigram_word(const struct token_model *m, const char *s, size_t n,
                         struct word_ids *out)
{
    const struct unigram *u = (const struct unigram *)m;
    struct best *best = word_ids_scratch(out, (n + 1) * sizeof *best);
    if (!best)
        return;
    search(u, s, n, best);
    /* Turn the chain round: from[] of each cut becomes where the next one ends. */
    uint32_t end = (uint32_t)n, after = (uint32_t)n;
    while (end > 0) {
        uint32_t before = best[end].from;
        best[end].from = after; /* the end of the token that follows */
        after = end;
        end = before;
    }
    size_t begin = 0;
    for (uint32_t at = after; begin < n;) {
        if (best[at].id != m->unknown) {
            word_ids_add(out, best[at].id, at);
        } else {
            while (at < n && best[best[at].from].id == m->unknown)
                at = best[at].from;
            add_unknown(u, s, begin, at, out);
        }
        begin = at;
        at = best[at].from;
    }
}

static void unigram_free(struct token_model *m)
{
    struct unigram *u = (struct unigram *)m;
    mem_free(u->trie.edges);
    mem_free(u->trie.token);
    mem_free(u->scores);
    mem_free(u);
}

medley_status unigram_new(const struct vocab *vocab, const double *scores, int32_t unknown,
                          bool byte_fallback, const char *name, struct token_model **out,
                          medley_error *err)
{
    struct unigram *u = mem_zalloc(1, sizeof *u);
    if (!u)
        return fail_memory(err, "a model");
    token_model_init(&u->base, &unigram_kind, vocab);
    u->base.unknown = unknown;
    u->base.byte_fallback = byte_fallback;
    medley_status st = trie_build(&u->trie, vocab, name, err);
    if (!st && !(u->scores = mem_alloc(vocab->size, sizeof *u->scores)))
        st = fail_memory(err, "a model");
    double worst = INFINITY;
    for (size_t i = 0; i < vocab->size && !st; i++) {
        u->scores[i] = scores[i];
        /* The null token's score is 0; gaps have no text. */
        worst = scores[i] < worst ? scores[i] : worst;
    }
    u->unknown_score = worst - UNKNOWN_PENALTY;
    if (st)
        unigram_free(&u->base);
    else
        *out = &u->base;
    return st;
}

static medley_status unigram_load(const json *model, const struct vocab *vocab,
                                  const char *name, struct token_model **out, medley_error *err)
{
    int64_t unknown = -1;
    bool byte_fallback = false;
    const json *list = json_get(model, "vocab");
    json_as_i64(json_get(model, "unk_id"), &unknown);
    json_as_bool(json_get(model, "byte_fallback"), &byte_fallback);
    if (unknown >= (int64_t)json_count(list) || unknown < -1)
        return fail(err, MEDLEY_EFORMAT, "%s: model.unk_id %lld is not a token", name,
                    (long long)unknown);
    double *scores = mem_zalloc(vocab->size, sizeof *scores);
    if (vocab->size && !scores)
        return fail_memory(err, "a model");
    medley_status st = MEDLEY_OK;
    size_t i = 0;
    for (const json *item = json_first(list); item && !st; item = json_next(item), i++)
        if (!json_as_double(json_next(json_first(item)), &scores[i]))
            st = fail(err, MEDLEY_EFORMAT, "%s: model.vocab: entry %zu lacks a score", name, i);
    if (!st)
        st = unigram_new(vocab, scores, (int32_t)unknown, byte_fallback, name, out, err);
    mem_free(scores);
    return st;
}

const struct token_model_kind unigram_kind = {"Unigram", unigram_load, unigram_word,
                                              unigram_free};
