/* token_model.c: what models share; WordPiece and WordLevel, which are small. */
#include "text/token_model.h"

#include "base/error.h"
#include "base/memory.h"
#include "text/piece.h"

#include <stdio.h>
#include <string.h>

void word_ids_deinit(struct word_ids *w)
{
    mem_free(w->ids);
    mem_free(w->ends);
    mem_free(w->scratch);
    memset(w, 0, sizeof *w);
}

void word_ids_add(struct word_ids *w, int32_t id, size_t end)
{
    if (!mem_reserve(&w->ids, &w->capacity, w->n + 1, sizeof *w->ids) ||
        !mem_reserve(&w->ends, &w->end_capacity, w->n + 1, sizeof *w->ends)) {
        w->failed = true;
        return;
    }
    w->ids[w->n] = id;
    w->ends[w->n++] = (uint32_t)end;
}

void *word_ids_scratch(struct word_ids *w, size_t n)
{
    if (!mem_reserve(&w->scratch, &w->scratch_capacity, n, 1))
        w->failed = true;
    return w->failed ? NULL : w->scratch;
}

void token_model_init(struct token_model *m, const struct token_model_kind *kind,
                      const struct vocab *vocab)
{
    m->kind = kind;
    m->vocab = vocab;
    m->unknown = -1;
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", b);
        m->byte_ids[b] = vocab_find(vocab, str_of(text));
    }
}

bool token_model_bytes(const struct token_model *m, const char *s, size_t n, size_t at,
                       struct word_ids *out)
{
    for (size_t i = 0; i < n; i++)
        if (m->byte_ids[(unsigned char)s[i]] < 0)
            return false;
    for (size_t i = 0; i < n; i++)
        word_ids_add(out, m->byte_ids[(unsigned char)s[i]], at + i + 1);
    return true;
}

/* model.unk_token; -1 when there is none or the vocabulary lacks it. */
static int32_t unknown_of(const json *model, const struct vocab *vocab)
{
    const char *text;
    return json_as_text(json_get(model, "unk_token"), &text) ? vocab_find(vocab, str_of(text))
                                                             : -1;
}

/* ---- WordLevel: a word is a token ---- */

static void wordlevel_word(const struct token_model *m, const char *s, size_t n,
                           struct word_ids *out)
{
    int32_t id = vocab_find(m->vocab, (struct str){s, n});
    id = id < 0 ? m->unknown : id;
    if (id >= 0)
        word_ids_add(out, id, n);
}

static void free_plain(struct token_model *m)
{
    mem_free(m);
}

static medley_status wordlevel_load(const json *model, const struct vocab *vocab,
                                    const char *name, struct token_model **out,
                                    medley_error *err)
{
    (void)name;
    struct token_model *m = mem_zalloc(1, sizeof *m);
    if (!m)
        return fail_memory(err, "a model");
    token_model_init(m, &wordlevel_kind, vocab);
    m->unknown = unknown_of(model, vocab);
    *out = m;
    return MEDLEY_OK;
}

const struct token_model_kind wordlevel_kind = {"WordLevel", wordlevel_load, wordlevel_word,
                                                free_plain};

/* ---- WordPiece: greedy, longest first ---- */

struct wordpiece_model {
    struct token_model base; /* first; its vocabulary knows the continuing prefix */
    size_t max_chars;
};

static size_t count_chars(const char *s, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)s[i] & 0xC0) != 0x80;
    return count;
}

static void wordpiece_word(const struct token_model *m, const char *s, size_t n,
                           struct word_ids *out)
{
    const struct wordpiece_model *w = (const struct wordpiece_model *)m;
    const struct vocab *v = m->vocab;
    uint64_t hashes[VOCAB_TOKEN_BYTES + 1];
    size_t before = out->n, at = 0;
    if (n <= VOCAB_TOKEN_BYTES && count_chars(s, n) <= w->max_chars) {
        vocab_hash_word(s, n, hashes);
        while (at < n) {
            size_t most = at ? v->longest_continuing : v->longest;
            size_t end = n - at < most ? n : at + most;
            int32_t id = -1;
            while (end > at && (id = vocab_find_piece(v, s, hashes, at, end, at > 0)) < 0)
                end = char_before(s, end);
            if (id < 0)
                break;
            word_ids_add(out, id, end);
            at = end;
        }
    }
    if (at < n) { /* one unpieceable part makes the whole word unknown */
        out->n = before;
        if (m->unknown >= 0)
            word_ids_add(out, m->unknown, n);
    }
}

static medley_status wordpiece_load(const json *model, const struct vocab *vocab,
                                    const char *name, struct token_model **out,
                                    medley_error *err)
{
    int64_t max_chars = 100;
    const json *given = json_get(model, "max_input_chars_per_word");
    if (given &&
        (!json_as_i64(given, &max_chars) || max_chars < 1 || max_chars > VOCAB_TOKEN_BYTES / 4))
        return fail(err, MEDLEY_EUNSUPPORTED,
                    "%s: max_input_chars_per_word must be from 1 to %d", name,
                    VOCAB_TOKEN_BYTES / 4);
    struct wordpiece_model *m = mem_zalloc(1, sizeof *m);
    if (!m)
        return fail_memory(err, "a model");
    token_model_init(&m->base, &wordpiece_kind, vocab);
    m->base.unknown = unknown_of(model, vocab);
    m->max_chars = (size_t)max_chars;
    *out = &m->base;
    return MEDLEY_OK;
}

const struct token_model_kind wordpiece_kind = {"WordPiece", wordpiece_load, wordpiece_word,
                                                free_plain};
