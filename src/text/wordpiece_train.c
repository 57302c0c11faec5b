/* wordpiece_train.c: a WordPiece vocabulary from texts. Words are counted once; then the most
 * frequent pair of neighbouring pieces becomes a new piece, again and again (byte pair
 * encoding: Sennrich et al. 2016), which is also how the reference trains WordPiece. After a
 * merge only the words that hold the pair are counted anew, and a heap with stale entries finds
 * the next pair, so the cost is that of the changes. Everything is ordered, so equal texts give
 * equal vocabularies. */
#include "text/wordpiece.h"

#include "base/error.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"

#include <stdlib.h>
#include <string.h>

#define MAX_WORD_CHARS 100
#define PREFIX "##"
#define PREFIX_BYTES 2

struct pair {
    uint32_t left, right; /* pieces */
    int64_t count;        /* occurrences in all texts */
    uint32_t *words;      /* [n] words that hold it, or held it once */
    size_t n, capacity;
    uint32_t noted; /* the round in which it was last put into `changed` */
};

struct candidate { /* an entry of the heap; stale when count differs from the pair's */
    int64_t count;
    uint32_t left, right, pair;
};

struct trainer {
    struct bert_chars chars;
    size_t min_count;
    /* words */
    struct map *words; /* text -> word */
    uint64_t *counts;  /* [words] */
    size_t counts_capacity;
    uint32_t *pieces;  /* of all words, one after the other */
    size_t *starts;    /* [words] into pieces */
    uint32_t *lengths; /* [words] pieces now; 0 for words with a rare character */
    /* pieces and pairs */
    struct map *piece_ids; /* text, with "##" when continuing -> piece, in order of creation */
    struct map *pair_ids;  /* {left, right} -> pair */
    struct pair *pairs;
    size_t pairs_capacity;
    struct candidate *heap;
    size_t heap_n, heap_capacity;
    uint32_t *changed; /* pairs that this round raised, each once */
    size_t changed_n, changed_capacity;
    uint32_t round; /* 1: the first count; then one a merge */
    bool failed;    /* out of memory */
};

/* ---- words ---- */

static void count_word(void *context, const struct bert_word *word)
{
    struct trainer *t = context;
    bool added = false;
    if (word->too_long || t->failed)
        return;
    uint32_t id = map_add(t->words, (struct str){word->s, word->n}, &added);
    if (id == MAP_NONE ||
        !mem_reserve(&t->counts, &t->counts_capacity, (size_t)id + 1, sizeof t->counts[0])) {
        t->failed = true;
        return;
    }
    t->counts[id] = added ? 1 : t->counts[id] + 1;
}

static medley_status count_words(struct trainer *t, text_source *next, void *context,
                                 medley_error *err)
{
    struct str text;
    uint64_t n = 0;
    while (next(context, &text)) {
        if (text.n < UINT32_MAX)
            bert_words(&t->chars, text, MAX_WORD_CHARS, count_word, t);
        if (t->failed)
            return fail_memory(err, "word counts");
        if (n++ % 1024 == 0) {
            if (interrupted())
                return fail(err, MEDLEY_EINTERRUPTED, "vocabulary training interrupted");
            progress_step("counting words", n, 0, "texts");
        }
    }
    progress_end("counting words");
    return MEDLEY_OK;
}

/* ---- the alphabet ---- */

struct letter {
    struct str text; /* borrowed from the map of letters */
    uint64_t count;
};

/* Calls visit with every one-character piece of a word. */
static void for_each_letter(struct str word, void (*visit)(void *context, struct str letter),
                            void *context)
{
    char text[PREFIX_BYTES + 4] = PREFIX;
    for (size_t i = 0; i < word.n;) {
        size_t n = 1;
        while (i + n < word.n && n < 4 && ((unsigned char)word.s[i + n] & 0xC0) == 0x80)
            n++;
        memcpy(text + PREFIX_BYTES, word.s + i, n);
        visit(context,
              i ? (struct str){text, PREFIX_BYTES + n} : (struct str){text + PREFIX_BYTES, n});
        i += n;
    }
}

struct letters {
    struct map *ids;
    struct letter *list; /* [map_count(ids)] */
    size_t capacity;
    uint64_t weight; /* of the word being visited */
    bool failed;
};

static void count_letter(void *context, struct str text)
{
    struct letters *l = context;
    bool added = false;
    uint32_t id = map_add(l->ids, text, &added);
    if (id == MAP_NONE ||
        !mem_reserve(&l->list, &l->capacity, (size_t)id + 1, sizeof l->list[0])) {
        l->failed = true;
        return;
    }
    if (added)
        l->list[id] = (struct letter){{NULL, 0}, 0};
    l->list[id].count += l->weight;
}

static int compare_text(struct str a, struct str b)
{
    int order = memcmp(a.s, b.s, a.n < b.n ? a.n : b.n);
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int by_count(const void *left, const void *right)
{
    const struct letter *a = left, *b = right;
    if (a->count != b->count)
        return a->count < b->count ? 1 : -1;
    return compare_text(a->text, b->text);
}

static int by_text(const void *left, const void *right)
{
    return compare_text(((const struct letter *)left)->text,
                        ((const struct letter *)right)->text);
}

/* ASCII letters and digits get both forms once either is seen: a new word of them then always
 * has pieces. */
static void complete_ascii(struct letters *l)
{
    for (char c = '0'; c <= 'z'; c++) {
        const char text[] = {'#', '#', c, 0};
        bool word_char = (c <= '9') || (c >= 'A' && c <= 'Z') || c >= 'a';
        bool seen = map_find(l->ids, (struct str){text + 2, 1}) != MAP_NONE ||
                    map_find(l->ids, (struct str){text, 3}) != MAP_NONE;
        l->weight = UINT32_MAX; /* ahead of what is cut off */
        if (word_char && seen) {
            count_letter(l, (struct str){text + 2, 1});
            count_letter(l, (struct str){text, 3});
        }
    }
}

/* Makes the most frequent one-character pieces, at most `room` of them, the first pieces. */
static bool build_alphabet(struct trainer *t, size_t room)
{
    struct letters l = {.ids = map_new(1024)};
    l.failed = !l.ids;
    for (uint32_t w = 0; !l.failed && w < map_count(t->words); w++) {
        l.weight = t->counts[w];
        for_each_letter(map_key(t->words, w), count_letter, &l);
    }
    if (!l.failed)
        complete_ascii(&l);
    size_t n = l.failed ? 0 : map_count(l.ids), kept = 0;
    for (size_t i = 0; i < n; i++)
        l.list[i].text = map_key(l.ids, (uint32_t)i);
    if (n > 0)
        qsort(l.list, n, sizeof l.list[0], by_count);
    while (kept < n && kept < room && l.list[kept].count >= t->min_count)
        kept++;
    if (kept > 0)
        qsort(l.list, kept, sizeof l.list[0], by_text);
    for (size_t i = 0; i < kept && !l.failed; i++)
        l.failed = map_add(t->piece_ids, l.list[i].text, NULL) == MAP_NONE;
    bool good = !l.failed;
    map_free(l.ids);
    mem_free(l.list);
    return good;
}

struct spelling {
    struct trainer *t;
    size_t at; /* where the next piece goes */
    bool known;
};

static void spell_letter(void *context, struct str text)
{
    struct spelling *s = context;
    uint32_t piece = map_find(s->t->piece_ids, text);
    s->known &= piece != MAP_NONE;
    s->t->pieces[s->at++] = piece;
}

/* Writes every word as one-character pieces. */
static bool spell_words(struct trainer *t)
{
    size_t n = map_count(t->words), total = 0;
    for (uint32_t w = 0; w < n; w++)
        total += map_key(t->words, w).n;
    t->pieces = mem_alloc(total, sizeof t->pieces[0]);
    t->starts = mem_alloc(n, sizeof t->starts[0]);
    t->lengths = mem_alloc(n, sizeof t->lengths[0]);
    if (!t->pieces || !t->starts || !t->lengths)
        return false;
    struct spelling s = {.t = t};
    for (uint32_t w = 0; w < n; w++) {
        t->starts[w] = s.at;
        s.known = true;
        for_each_letter(map_key(t->words, w), spell_letter, &s);
        /* A word with a letter outside the alphabet is unknown as a whole: it teaches nothing.
         */
        t->lengths[w] = s.known ? (uint32_t)(s.at - t->starts[w]) : 0;
    }
    return true;
}

/* ---- pairs ---- */

static struct pair *find_pair(struct trainer *t, uint32_t left, uint32_t right, uint32_t *id)
{
    uint32_t key[2] = {left, right};
    bool added = false;
    *id = map_add(t->pair_ids, (struct str){(const char *)key, sizeof key}, &added);
    if (*id == MAP_NONE ||
        !mem_reserve(&t->pairs, &t->pairs_capacity, (size_t)*id + 1, sizeof t->pairs[0])) {
        t->failed = true;
        return NULL;
    }
    if (added)
        t->pairs[*id] = (struct pair){.left = left, .right = right};
    return &t->pairs[*id];
}

/* Remembers that the pair became more frequent through this word. */
static bool note_rise(struct trainer *t, uint32_t id, uint32_t word)
{
    struct pair *pair = &t->pairs[id];
    if (pair->n == 0 || pair->words[pair->n - 1] != word) { /* may come twice in one word */
        if (!mem_reserve(&pair->words, &pair->capacity, pair->n + 1, sizeof pair->words[0]))
            return false;
        pair->words[pair->n++] = word;
    }
    if (pair->noted == t->round)
        return true;
    pair->noted = t->round;
    if (!mem_reserve(&t->changed, &t->changed_capacity, t->changed_n + 1, sizeof t->changed[0]))
        return false;
    t->changed[t->changed_n++] = id;
    return true;
}

/* Counts the pairs of a word in (sign 1) or out (sign -1). Only pairs that hold the piece
 * `fresh` can rise by a merge; MAP_NONE: all can. */
static void count_pairs(struct trainer *t, uint32_t word, int sign, uint32_t fresh)
{
    const uint32_t *p = t->pieces + t->starts[word];
    int64_t weight = (int64_t)t->counts[word];
    for (uint32_t i = 0; i + 1 < t->lengths[word]; i++) {
        uint32_t id;
        struct pair *pair = find_pair(t, p[i], p[i + 1], &id);
        if (!pair)
            return;
        pair->count += sign * weight;
        bool may_rise = sign > 0 && (fresh == MAP_NONE || p[i] == fresh || p[i + 1] == fresh);
        if (may_rise && !note_rise(t, id, word)) {
            t->failed = true;
            return;
        }
    }
}

/* ---- the heap ---- */

static bool ahead(const struct candidate *a, const struct candidate *b)
{
    if (a->count != b->count)
        return a->count > b->count;
    return a->left != b->left ? a->left < b->left : a->right < b->right;
}

static void heap_push(struct trainer *t, uint32_t pair)
{
    const struct pair *p = &t->pairs[pair];
    struct candidate c = {p->count, p->left, p->right, pair};
    if (p->count < (int64_t)t->min_count)
        return;
    if (!mem_reserve(&t->heap, &t->heap_capacity, t->heap_n + 1, sizeof t->heap[0])) {
        t->failed = true;
        return;
    }
    size_t i = t->heap_n++;
    for (; i > 0 && ahead(&c, &t->heap[(i - 1) / 2]); i = (i - 1) / 2)
        t->heap[i] = t->heap[(i - 1) / 2];
    t->heap[i] = c;
}

static struct candidate heap_pop(struct trainer *t)
{
    struct candidate top = t->heap[0], last = t->heap[--t->heap_n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= t->heap_n)
            break;
        if (child + 1 < t->heap_n && ahead(&t->heap[child + 1], &t->heap[child]))
            child++;
        if (!ahead(&t->heap[child], &last))
            break;
        t->heap[i] = t->heap[child];
        i = child;
    }
    t->heap[i] = last;
    return top;
}

static void push_changed(struct trainer *t)
{
    for (size_t i = 0; i < t->changed_n && !t->failed; i++)
        heap_push(t, t->changed[i]);
    t->changed_n = 0;
}

/* The most frequent pair; false when none is frequent enough. */
static bool best_pair(struct trainer *t, uint32_t *pair)
{
    while (t->heap_n > 0 && !t->failed) {
        struct candidate c = heap_pop(t);
        if (c.count == t->pairs[c.pair].count) {
            *pair = c.pair;
            return true;
        }
        if (c.count > t->pairs[c.pair].count)
            heap_push(t,
                      c.pair); /* it has become rarer since; when more frequent, it is there */
    }
    return false;
}

/* ---- merging ---- */

/* The piece "ab" of "a" and "##b"; the same text may come about in more than one way. */
static uint32_t join_pieces(struct trainer *t, uint32_t left, uint32_t right)
{
    char text[PREFIX_BYTES + 4 * MAX_WORD_CHARS];
    struct str a = map_key(t->piece_ids, left), b = map_key(t->piece_ids, right);
    memcpy(text, a.s, a.n);
    memcpy(text + a.n, b.s + PREFIX_BYTES, b.n - PREFIX_BYTES);
    uint32_t id = map_add(t->piece_ids, (struct str){text, a.n + b.n - PREFIX_BYTES}, NULL);
    t->failed |= id == MAP_NONE;
    return id;
}

static void merge_in_word(struct trainer *t, uint32_t word, const struct pair *pair,
                          uint32_t fresh)
{
    uint32_t *p = t->pieces + t->starts[word], n = t->lengths[word], kept = 0;
    uint32_t left = pair->left, right = pair->right;
    for (uint32_t i = 0; i < n; kept++) {
        bool here = i + 1 < n && p[i] == left && p[i + 1] == right;
        p[kept] = here ? fresh : p[i];
        i += here ? 2 : 1;
    }
    t->lengths[word] = kept;
}

static void merge_pair(struct trainer *t, uint32_t pair_id)
{
    struct pair pair = t->pairs[pair_id]; /* a copy: counting may move the array */
    t->pairs[pair_id].words = NULL;
    t->pairs[pair_id].n = t->pairs[pair_id].capacity = 0;
    t->round++;
    uint32_t fresh = join_pieces(t, pair.left, pair.right);
    for (size_t i = 0; i < pair.n && !t->failed; i++) {
        count_pairs(t, pair.words[i], -1, MAP_NONE);
        merge_in_word(t, pair.words[i], &pair, fresh);
        count_pairs(t, pair.words[i], 1, fresh);
    }
    push_changed(t);
    mem_free(pair.words);
}

static medley_status merge_all(struct trainer *t, size_t pieces, medley_error *err)
{
    t->round = 1;
    for (uint32_t w = 0; w < map_count(t->words) && !t->failed; w++)
        count_pairs(t, w, 1, MAP_NONE);
    push_changed(t);
    uint32_t pair = 0;
    for (size_t n = 0; map_count(t->piece_ids) < pieces && best_pair(t, &pair); n++) {
        merge_pair(t, pair);
        if (n % 256 == 0) {
            if (interrupted())
                return fail(err, MEDLEY_EINTERRUPTED, "vocabulary training interrupted");
            progress_step("training a vocabulary", map_count(t->piece_ids), pieces, "pieces");
        }
    }
    progress_end("training a vocabulary");
    return t->failed ? fail_memory(err, "vocabulary training") : MEDLEY_OK;
}

/* ---- the door ---- */

static void trainer_deinit(struct trainer *t)
{
    size_t n = t->pair_ids ? map_count(t->pair_ids) : 0;
    for (size_t i = 0; i < n && i < t->pairs_capacity; i++)
        mem_free(t->pairs[i].words);
    bert_chars_deinit(&t->chars);
    map_free(t->words);
    map_free(t->piece_ids);
    map_free(t->pair_ids);
    mem_free(t->counts);
    mem_free(t->pieces);
    mem_free(t->starts);
    mem_free(t->lengths);
    mem_free(t->pairs);
    mem_free(t->heap);
    mem_free(t->changed);
}

/* Specials, then pieces, as a tokenizer. A piece may be spelt like a special: "[t]" cannot. */
static medley_status make_tokenizer(const struct trainer *t, struct token_list *l,
                                    struct tokenizer **out, medley_error *err)
{
    struct wordpiece *w = NULL;
    struct wordpiece_options o = {.bert = t->chars.options,
                                  .unknown = "[UNK]",
                                  .prefix = PREFIX,
                                  .max_chars = MAX_WORD_CHARS};
    medley_status st = MEDLEY_OK;
    size_t specials = l->n;
    for (uint32_t i = 0; i < map_count(t->piece_ids) && st == MEDLEY_OK; i++)
        st = token_list_put(l, (int64_t)l->n, map_key(t->piece_ids, i), l->n + 1, err);
    if (st == MEDLEY_OK)
        st = wordpiece_new(l, &o, "trained vocabulary", &w, err);
    for (size_t i = 0; i < specials && st == MEDLEY_OK; i++)
        st = tokenizer_add(&w->base, l->texts[i], true, err);
    if (st == MEDLEY_OK) {
        tokenizer_finish(&w->base);
        st = tokenizer_bert_frames(&w->base, err);
    }
    if (st == MEDLEY_OK)
        *out = &w->base;
    else
        tokenizer_free(w ? &w->base : NULL);
    return st;
}

static medley_status train(struct trainer *t, size_t pieces, text_source *next, void *context,
                           medley_error *err)
{
    t->words = map_new(1 << 14);
    t->piece_ids = map_new(pieces);
    t->pair_ids = map_new(1 << 14);
    if (!t->words || !t->piece_ids || !t->pair_ids)
        return fail_memory(err, "vocabulary training");
    medley_status st = count_words(t, next, context, err);
    if (st != MEDLEY_OK)
        return st;
    /* Scripts with thousands of characters get half of the room, so that merges get the rest.
     */
    if (!build_alphabet(t, (pieces + 1) / 2) || !spell_words(t))
        return fail_memory(err, "vocabulary training");
    return merge_all(t, pieces, err);
}

medley_status wordpiece_train(const struct tokenizer_training *options,
                              struct token_list *specials, size_t pieces, text_source *next,
                              void *context, struct tokenizer **out, medley_error *err)
{
    struct trainer t = {.min_count = options->min_count ? options->min_count : 2};
    struct bert_options bert = {.clean_text = true,
                                .cjk_chars = true,
                                .strip_accents = !options->keep_accents,
                                .lowercase = !options->keep_case};
    medley_status st = bert_chars_init(&t.chars, bert, err);
    if (st == MEDLEY_OK)
        st = train(&t, pieces, next, context, err);
    if (st == MEDLEY_OK)
        st = make_tokenizer(&t, specials, out, err);
    trainer_deinit(&t);
    return st;
}
