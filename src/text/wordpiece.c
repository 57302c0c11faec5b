/* wordpiece.c: greedy longest-match-first word pieces (BERT; Schuster and Nakajima 2012).
 * Golden ids of two BERT vocabularies prove it in tests/test_tokenizer.c. */
#include "text/wordpiece.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

struct encoding { /* context of one encode call */
    const struct wordpiece *w;
    struct tokens *out;
    uint32_t offset; /* of the segment in the caller's text */
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The longest piece that starts at byte `at`; sets its end. -1 when there is none. */
static int32_t longest_piece(const struct vocab *v, const struct bert_word *word,
                             const uint64_t *hashes, size_t at, size_t *end)
{
    size_t most = at ? v->longest_continuing : v->longest;
    for (size_t e = at + smaller(most, word->n - at); e > at; e--) {
        if (e < word->n && ((unsigned char)word->s[e] & 0xC0) == 0x80)
            continue; /* inside a character */
        int32_t id = vocab_find_piece(v, word->s, hashes, at, e, at > 0);
        if (id >= 0) {
            *end = e;
            return id;
        }
    }
    return -1;
}

static void encode_word(void *context, const struct bert_word *word)
{
    const struct encoding *e = context;
    const struct wordpiece *w = e->w;
    size_t before = e->out->n;
    uint64_t hashes[BERT_WORD_BYTES + 1];
    bool known = !word->too_long;
    if (known)
        vocab_hash_word(word->s, word->n, hashes);
    for (size_t at = 0; known && at < word->n;) {
        size_t end = at;
        int32_t id = longest_piece(&w->base.vocab, word, hashes, at, &end);
        known = id >= 0;
        if (!known)
            break;
        uint32_t from = word->begin ? word->begin[at] : word->from + (uint32_t)at;
        uint32_t to = word->end ? word->end[end - 1] : word->from + (uint32_t)end;
        tokens_push(e->out, id, e->offset + from, e->offset + to);
        at = end;
    }
    if (!known) {
        e->out->n = before; /* one unpieceable part makes the whole word unknown */
        tokens_push(e->out, w->base.specials.unknown, e->offset + word->from,
                    e->offset + word->to);
    }
}

static void wordpiece_encode(const struct tokenizer *t, struct str segment, uint32_t offset,
                             struct tokens *out)
{
    const struct wordpiece *w = (const struct wordpiece *)t;
    struct encoding e = {.w = w, .out = out, .offset = offset};
    bert_words(&w->chars, segment, w->max_chars, encode_word, &e);
}

static void wordpiece_free(struct tokenizer *t)
{
    struct wordpiece *w = (struct wordpiece *)t;
    tokenizer_deinit(&w->base);
    bert_chars_deinit(&w->chars);
    mem_free(w->prefix);
    mem_free(w->unknown);
    mem_free(w);
}

medley_status wordpiece_new(const struct token_list *tokens, const struct wordpiece_options *o,
                            const char *name, struct wordpiece **out, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    if (o->max_chars < 1 || o->max_chars > BERT_WORD_CHARS)
        return fail(err, MEDLEY_EUNSUPPORTED,
                    "%s: max_input_chars_per_word %u is not supported (1 to %d is)", name,
                    o->max_chars, BERT_WORD_CHARS);
    struct wordpiece *w = mem_zalloc(1, sizeof *w);
    if (!w)
        return fail_memory(err, "tokenizer");
    w->base.ops = &wordpiece_ops;
    w->max_chars = o->max_chars;
    w->prefix = mem_strdup(o->prefix);
    w->unknown = mem_strdup(o->unknown);
    if (!w->prefix || !w->unknown) {
        st = fail_memory(err, "tokenizer");
        goto done;
    }
    st = bert_chars_init(&w->chars, o->bert, err);
    if (st != MEDLEY_OK)
        goto done;
    st = vocab_init(&w->base.vocab, tokens->texts, tokens->n, str_of(w->prefix), err);
    if (st != MEDLEY_OK)
        goto done;
    w->base.specials.unknown = vocab_find(&w->base.vocab, str_of(w->unknown));
    if (w->base.specials.unknown < 0)
        st = fail(err, MEDLEY_EFORMAT, "%s: the unknown token '%s' is not in the vocabulary",
                  name, w->unknown);
done:
    if (st == MEDLEY_OK)
        *out = w;
    else
        wordpiece_free(&w->base);
    return st;
}

const struct tokenizer_ops wordpiece_ops = {
    .type = "WordPiece",
    .save = wordpiece_save,
    .save_config = wordpiece_save_config,
    .encode = wordpiece_encode,
    .free = wordpiece_free,
};
