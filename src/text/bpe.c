/* bpe.c: byte-pair encoding (Sennrich et al. 2016): of all pairs of neighbours the one that was
 * learnt first is merged, the leftmost of equals, until none is known. Short words look for it
 * by scanning, long ones keep a heap. */
#include "text/token_model.h"

#include "base/error.h"
#include "base/memory.h"
#include "text/piece.h"

#include <string.h>

enum { SCANNED = 48, AFFIX = 32 }; /* symbols; bytes of a prefix or suffix */

struct bpe {
    struct token_model base; /* first */
    struct merge {
        uint64_t pair; /* left << 32 | right, plus one; 0: empty */
        uint32_t rank;
        int32_t id;
    } * merges; /* [mask + 1] */
    size_t mask;
    bool fuse_unknown, ignore_merges;
    char prefix[AFFIX], suffix[AFFIX]; /* of pieces inside a word, of its last */
};

static struct merge *find_merge(const struct bpe *b, int32_t left, int32_t right)
{
    uint64_t pair = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) + 1;
    size_t at = (size_t)(pair * UINT64_C(0x9E3779B97F4A7C15) >> 20) & b->mask;
    while (b->merges[at].pair && b->merges[at].pair != pair)
        at = (at + 1) & b->mask;
    return &b->merges[at];
}

/* ---- a word ---- */

struct symbol {
    int32_t id;
    int32_t before, after; /* neighbours; -1: none */
    uint32_t n;            /* bytes; 0: merged into the one before */
};

struct candidate {
    uint32_t rank, at; /* at: the left symbol */
    int32_t left, right, id;
};

struct merging {
    const struct bpe *b;
    struct symbol *symbols;
    size_t n;
    struct candidate *heap;
    size_t heap_n, heap_capacity;
};

/* Into one token: the symbol and the one after it. */
static void join(struct merging *m, uint32_t at, int32_t id)
{
    struct symbol *left = &m->symbols[at], *right = &m->symbols[left->after];
    left->id = id;
    left->n += right->n;
    left->after = right->after;
    right->n = 0;
    if (left->after >= 0)
        m->symbols[left->after].before = (int32_t)at;
}

static void merge_by_scanning(struct merging *m)
{
    for (;;) {
        const struct merge *best = NULL;
        uint32_t at = 0;
        for (int32_t i = 0; m->symbols[i].after >= 0; i = m->symbols[i].after) {
            const struct merge *x =
                find_merge(m->b, m->symbols[i].id, m->symbols[m->symbols[i].after].id);
            if (x->pair && (!best || x->rank < best->rank)) {
                best = x;
                at = (uint32_t)i;
            }
        }
        if (!best)
            return;
        join(m, at, best->id);
    }
}

static bool comes_before(const struct candidate *a, const struct candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void push(struct merging *m, int32_t at)
{
    if (at < 0 || m->symbols[at].after < 0)
        return;
    int32_t left = m->symbols[at].id, right = m->symbols[m->symbols[at].after].id;
    const struct merge *x = find_merge(m->b, left, right);
    if (!x->pair || m->heap_n == m->heap_capacity)
        return;
    struct candidate c = {x->rank, (uint32_t)at, left, right, x->id};
    size_t i = m->heap_n++;
    for (; i > 0 && comes_before(&c, &m->heap[(i - 1) / 2]); i = (i - 1) / 2)
        m->heap[i] = m->heap[(i - 1) / 2];
    m->heap[i] = c;
}

static struct candidate pop(struct merging *m)
{
    struct candidate top = m->heap[0], last = m->heap[--m->heap_n];
    size_t i = 0;
    for (size_t child = 1; child < m->heap_n; child = 2 * i + 1) {
        child += child + 1 < m->heap_n && comes_before(&m->heap[child + 1], &m->heap[child]);
        if (!comes_before(&m->heap[child], &last))
            break;
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = last;
    return top;
}

static void merge_by_heap(struct merging *m)
{
    for (size_t i = 0; i < m->n; i++)
        push(m, (int32_t)i);
    while (m->heap_n) {
        struct candidate c = pop(m);
        const struct symbol *s = &m->symbols[c.at];
        /* Out of date when either has been merged since. */
        if (!s->n || s->id != c.left || s->after < 0 || m->symbols[s->after].id != c.right)
            continue;
        join(m, c.at, c.id);
        push(m, m->symbols[c.at].before);
        push(m, (int32_t)c.at);
    }
}

static void add_symbol(struct merging *m, int32_t id, size_t n)
{
    m->symbols[m->n] = (struct symbol){id, (int32_t)m->n - 1, (int32_t)m->n + 1, (uint32_t)n};
    m->n++;
}

/* The token of one character, which may be written with a prefix or a suffix. */
static int32_t char_id(const struct bpe *b, const char *s, size_t n, bool first, bool last)
{
    char text[2 * AFFIX + 8];
    size_t before = first ? 0 : strlen(b->prefix), after = last ? strlen(b->suffix) : 0;
    if (!before && !after)
        return vocab_find(b->base.vocab, (struct str){s, n});
    memcpy(text, b->prefix, before);
    memcpy(text + before, s, n);
    memcpy(text + before + n, b->suffix, after);
    return vocab_find(b->base.vocab, (struct str){text, before + n + after});
}

static bool add_bytes(struct merging *m, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (m->b->base.byte_ids[(unsigned char)s[i]] < 0)
            return false;
    for (size_t i = 0; i < n; i++)
        add_symbol(m, m->b->base.byte_ids[(unsigned char)s[i]], 1);
    return true;
}

static void add_characters(struct merging *m, const char *s, size_t n)
{
    const struct bpe *b = m->b;
    size_t unknown = 0; /* bytes of the unknown token that is still growing */
    for (size_t i = 0; i < n;) {
        size_t at = i;
        char_at(s, &i);
        int32_t id = char_id(b, s + at, i - at, at == 0, i == n);
        if (id < 0 && b->base.byte_fallback && add_bytes(m, s + at, i - at))
            continue;
        if (unknown && (id >= 0 || !b->fuse_unknown)) {
            add_symbol(m, b->base.unknown, unknown);
            unknown = 0;
        }
        if (id >= 0)
            add_symbol(m, id, i - at);
        else if (b->base.unknown >= 0)
            unknown += i - at;
    }
    if (unknown)
        add_symbol(m, b->base.unknown, unknown);
    if (m->n)
        m->symbols[m->n - 1].after = -1;
}

static void bpe_word(const struct token_model *model, const char *s, size_t n,
                     struct word_ids *out)
{
    const struct bpe *b = (const struct bpe *)model;
    int32_t whole = b->ignore_merges ? vocab_find(model->vocab, (struct str){s, n}) : -1;
    if (whole >= 0) {
        word_ids_add(out, whole, n);
        return;
    }
    /* A merge removes a symbol and adds two candidates at most. */
    size_t heap = n > SCANNED ? 3 * n : 0;
    struct merging m = {.b = b, .heap_capacity = heap};
    m.heap = word_ids_scratch(out, heap * sizeof *m.heap + n * sizeof *m.symbols);
    if (!m.heap)
        return;
    m.symbols = (struct symbol *)(m.heap + heap);
    add_characters(&m, s, n);
    if (!m.n)
        return;
    if (heap)
        merge_by_heap(&m);
    else
        merge_by_scanning(&m);
    size_t end = 0;
    for (int32_t i = 0; i >= 0; i = m.symbols[i].after) {
        end += m.symbols[i].n;
        word_ids_add(out, m.symbols[i].id, end);
    }
}

static void bpe_free(struct token_model *m)
{
    struct bpe *b = (struct bpe *)m;
    mem_free(b->merges);
    mem_free(b);
}

/* ---- merges ---- */

static struct bpe *bpe_make(const struct vocab *vocab, size_t merges)
{
    struct bpe *b = mem_zalloc(1, sizeof *b);
    size_t slots = 16;
    if (!b)
        return NULL;
    while (slots < 2 * merges)
        slots *= 2;
    token_model_init(&b->base, &bpe_kind, vocab);
    b->mask = slots - 1;
    b->merges = mem_zalloc(slots, sizeof *b->merges);
    if (!b->merges) {
        bpe_free(&b->base);
        return NULL;
    }
    return b;
}

static medley_status add_merge(struct bpe *b, struct str left, struct str right, size_t rank,
                               struct strbuf *joined, const char *name, medley_error *err)
{
    const struct vocab *v = b->base.vocab;
    size_t cut = strlen(b->prefix);
    if (cut && !(right.n >= cut && memcmp(right.s, b->prefix, cut) == 0))
        cut = 0;
    sb_clear(joined);
    sb_add(joined, left.s, left.n);
    sb_add(joined, right.s + cut, right.n - cut);
    if (joined->failed)
        return fail_memory(err, "merges");
    int32_t l = vocab_find(v, left), r = vocab_find(v, right),
            id = vocab_find(v, sb_str(joined));
    if (l < 0 || r < 0 || id < 0)
        return fail(err, MEDLEY_EFORMAT,
                    "%s: merge %zu, '%.*s' and '%.*s': they or what they make is not in the "
                    "vocabulary",
                    name, rank, (int)(left.n < 60 ? left.n : 60), left.s,
                    (int)(right.n < 60 ? right.n : 60), right.s);
    struct merge *m = find_merge(b, l, r);
    *m = (struct merge){((uint64_t)(uint32_t)l << 32 | (uint32_t)r) + 1, (uint32_t)rank, id};
    return MEDLEY_OK;
}

static medley_status add_merge_text(struct bpe *b, struct str text, size_t rank,
                                    struct strbuf *joined, const char *name, medley_error *err)
{
    const char *space = memchr(text.s, ' ', text.n);
    size_t n = space ? (size_t)(space - text.s) : 0;
    if (!n || n + 1 >= text.n || memchr(space + 1, ' ', text.n - n - 1))
        return fail(err, MEDLEY_EFORMAT, "%s: merge %zu: expected two parts and one space",
                    name, rank);
    return add_merge(b, (struct str){text.s, n}, (struct str){space + 1, text.n - n - 1}, rank,
                     joined, name, err);
}

/* One "a b", or ["a", "b"] as newer files have it. */
static medley_status add_merge_json(struct bpe *b, const json *item, size_t rank,
                                    struct strbuf *joined, const char *name, medley_error *err)
{
    const char *left, *right;
    if (json_as_text(item, &left))
        return add_merge_text(b, str_of(left), rank, joined, name, err);
    const json *first = json_first(item);
    if (!json_as_text(first, &left) || !json_as_text(json_next(first), &right) ||
        json_count(item) != 2)
        return fail(err, MEDLEY_EFORMAT, "%s: merge %zu: expected two texts", name, rank);
    return add_merge(b, str_of(left), str_of(right), rank, joined, name, err);
}

static medley_status read_affix(const json *model, const char *key, char out[AFFIX],
                                const char *name, medley_error *err)
{
    const char *text;
    if (!json_as_text(json_get(model, key), &text))
        return MEDLEY_OK;
    if (strlen(text) >= AFFIX)
        return fail(err, MEDLEY_EUNSUPPORTED, "%s: model.%s is longer than %d bytes", name, key,
                    AFFIX - 1);
    memcpy(out, text, strlen(text) + 1);
    return MEDLEY_OK;
}

static medley_status bpe_load(const json *model, const struct vocab *vocab, const char *name,
                              struct token_model **out, medley_error *err)
{
    const json *list = json_get(model, "merges");
    const char *unknown;
    double dropout = 0;
    struct strbuf joined;
    json_as_double(json_get(model, "dropout"), &dropout);
    if (dropout > 0)
        return fail(err, MEDLEY_EUNSUPPORTED, "%s: model.dropout is not supported", name);
    struct bpe *b = bpe_make(vocab, json_count(list));
    if (!b)
        return fail_memory(err, "a model");
    json_as_bool(json_get(model, "fuse_unk"), &b->fuse_unknown);
    json_as_bool(json_get(model, "byte_fallback"), &b->base.byte_fallback);
    json_as_bool(json_get(model, "ignore_merges"), &b->ignore_merges);
    medley_status st = read_affix(model, "continuing_subword_prefix", b->prefix, name, err);
    if (!st)
        st = read_affix(model, "end_of_word_suffix", b->suffix, name, err);
    if (!st && json_as_text(json_get(model, "unk_token"), &unknown) &&
        (b->base.unknown = vocab_find(vocab, str_of(unknown))) < 0 && *unknown)
        st = fail(err, MEDLEY_EFORMAT, "%s: model.unk_token '%s' is not in the vocabulary",
                  name, unknown);
    size_t rank = 0;
    sb_init(&joined);
    for (const json *item = json_first(list); item && !st; item = json_next(item))
        st = add_merge_json(b, item, rank++, &joined, name, err);
    sb_deinit(&joined);
    if (st)
        bpe_free(&b->base);
    else
        *out = &b->base;
    return st;
}

medley_status bpe_new(const struct vocab *vocab, struct str merges, size_t first_line,
                      const char *name, struct token_model **out, medley_error *err)
{
    struct strbuf joined;
    size_t lines = 1, rank = 0;
    for (size_t i = 0; i < merges.n; i++)
        lines += merges.s[i] == '\n';
    struct bpe *b = bpe_make(vocab, lines);
    if (!b)
        return fail_memory(err, "a model");
    medley_status st = MEDLEY_OK;
    sb_init(&joined);
    for (size_t at = 0, line = first_line; at < merges.n && !st; line++) {
        const char *stop = memchr(merges.s + at, '\n', merges.n - at);
        size_t end = stop ? (size_t)(stop - merges.s) : merges.n;
        struct str text = {merges.s + at, end - at};
        if (text.n && text.s[text.n - 1] == '\r')
            text.n--;
        if (text.n && !(rank == 0 && text.n > 8 && memcmp(text.s, "#version", 8) == 0))
            st = add_merge_text(b, text, rank++, &joined, name, err);
        if (st)
            st = fail_within(err, st, "line %zu", line);
        at = end + 1;
    }
    sb_deinit(&joined);
    if (st)
        bpe_free(&b->base);
    else
        *out = &b->base;
    return st;
}

const struct token_model_kind bpe_kind = {"BPE", bpe_load, bpe_word, bpe_free};
