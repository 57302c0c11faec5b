/* unigram_train.c: a Unigram tokenizer from texts, as SentencePiece trains one (Kudo 2018): all
 * frequent substrings of words, then EM and pruning by turns until the vocabulary is small
 * enough. The result is written as a tokenizer.json first and loaded from that; normaliser and
 * pre-tokenizer of the same text cut the texts, so training sees what encoding will. */
#include "text/unigram_em.h"

#include "base/error.h"
#include "base/json.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "text/normalizer.h"
#include "text/pipeline.h"
#include "text/pre_tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define SPACE "\xE2\x96\x81" /* Metaspace's */
#define COVERAGE 0.9995      /* of all letters read, when they do not fit into half the room */
#define SHRINK 0.75          /* of the pieces stay after each pruning */

enum {
    SEEDS = 500000,    /* most pieces to begin with; bounds the memory of EM */
    LETTERS = 1 << 26, /* most letters of distinct words; later new words are not added */
    EM_STEPS = 2,      /* before each pruning */
    UNKNOWN_ID = 1,    /* "[UNK]" among the special tokens */
};

struct trainer {
    const struct tokenizer_training *options;
    const struct token_list *specials;
    struct normalizer *normalizer;
    struct pre_tokenizer *pre_tokenizer;
    struct piece text, spare;
    struct cutting cutting;
    struct map *words;
    uint64_t *counts; /* [words] */
    size_t counts_capacity, bytes;
    struct map *characters; /* all that occur */
    struct letter {
        uint64_t count;
        uint32_t character;
    } * letters; /* [characters], most frequent first once counted */
    size_t letters_capacity;
    uint32_t *letter_of;    /* [characters] MAP_NONE: left out */
    uint32_t *character_of; /* [letters kept] */
    struct unigram_corpus corpus;
    struct unigram_pieces pieces;
};

static void trainer_deinit(struct trainer *t)
{
    normalizer_free(t->normalizer);
    pre_tokenizer_free(t->pre_tokenizer);
    piece_deinit(&t->text);
    piece_deinit(&t->spare);
    cutting_deinit(&t->cutting);
    map_free(t->words);
    mem_free(t->counts);
    map_free(t->characters);
    mem_free(t->letters);
    mem_free(t->letter_of);
    mem_free(t->character_of);
    unigram_corpus_deinit(&t->corpus);
    mem_free(t->pieces.items);
}

/* ---- tokenizer.json ---- */

static void key_text(struct json_writer *w, const char *key, const char *text)
{
    jw_key(w, key);
    jw_textz(w, text);
}

static void write_type(struct json_writer *w, const char *type)
{
    jw_object(w);
    key_text(w, "type", type);
    jw_object_end(w);
}

static void write_normalizer(struct json_writer *w, const struct tokenizer_training *o)
{
    jw_object(w);
    key_text(w, "type", "Sequence");
    jw_key(w, "normalizers"), jw_array(w);
    if (!o->keep_accents) {
        write_type(w, "NFKD");
        write_type(w, "StripAccents");
    }
    if (!o->keep_case)
        write_type(w, "Lowercase");
    write_type(w, "NFKC");
    jw_object(w);
    key_text(w, "type", "Replace");
    jw_key(w, "pattern"), jw_object(w);
    key_text(w, "Regex", "\\s+");
    jw_object_end(w);
    key_text(w, "content", " ");
    jw_object_end(w);
    jw_object(w);
    key_text(w, "type", "Strip");
    jw_key(w, "strip_left"), jw_bool(w, true);
    jw_key(w, "strip_right"), jw_bool(w, true);
    jw_object_end(w);
    jw_array_end(w);
    jw_object_end(w);
}

static void write_metaspace(struct json_writer *w)
{
    jw_object(w);
    key_text(w, "type", "Metaspace");
    key_text(w, "replacement", SPACE);
    key_text(w, "prepend_scheme", "always");
    jw_key(w, "split"), jw_bool(w, true);
    jw_object_end(w);
}

/* A slot of a template; "A" and "B" are the texts. */
static void write_slot(struct json_writer *w, const char *id, int type)
{
    jw_object(w);
    jw_key(w, id[1] ? "SpecialToken" : "Sequence"), jw_object(w);
    key_text(w, "id", id);
    jw_key(w, "type_id"), jw_i64(w, type);
    jw_object_end(w);
    jw_object_end(w);
}

static void write_frames(struct json_writer *w)
{
    static const char *const slots[] = {"[CLS]", "A", "[SEP]", "B", "[SEP]"};
    static const struct {
        const char *text;
        int id;
    } used[] = {{"[CLS]", 2}, {"[SEP]", 3}};
    jw_object(w);
    key_text(w, "type", "TemplateProcessing");
    for (int pair = 0; pair < 2; pair++) {
        jw_key(w, pair ? "pair" : "single"), jw_array(w);
        for (int i = 0; i < (pair ? 5 : 3); i++)
            write_slot(w, slots[i], i > 2);
        jw_array_end(w);
    }
    jw_key(w, "special_tokens"), jw_object(w);
    for (int i = 0; i < 2; i++) {
        jw_key(w, used[i].text), jw_object(w);
        key_text(w, "id", used[i].text);
        jw_key(w, "ids"), jw_array(w), jw_i64(w, used[i].id), jw_array_end(w);
        jw_key(w, "tokens"), jw_array(w), jw_textz(w, used[i].text), jw_array_end(w);
        jw_object_end(w);
    }
    jw_object_end(w);
    jw_object_end(w);
}

static void write_added(struct json_writer *w, const struct token_list *specials)
{
    static const char *const off[] = {"single_word", "lstrip", "rstrip", "normalized"};
    jw_array(w);
    for (size_t i = 0; i < specials->n; i++) {
        jw_object(w);
        jw_key(w, "id"), jw_i64(w, (int64_t)i);
        jw_key(w, "content"), jw_text(w, specials->texts[i]);
        for (size_t k = 0; k < sizeof off / sizeof *off; k++)
            jw_key(w, off[k]), jw_bool(w, false);
        jw_key(w, "special"), jw_bool(w, true);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static void piece_text(const struct trainer *t, const struct unigram_piece *p,
                       struct strbuf *out)
{
    sb_clear(out);
    for (uint32_t i = 0; i < p->n; i++) {
        uint32_t letter = t->corpus.letters[p->at + i];
        struct str text = map_key(t->characters, t->character_of[letter]);
        sb_add(out, text.s, text.n);
    }
}

static void write_entry(struct json_writer *w, struct str text, double score)
{
    jw_array(w), jw_text(w, text), jw_double(w, score), jw_array_end(w);
}

static void write_model(struct json_writer *w, const struct trainer *t, struct strbuf *scratch)
{
    jw_object(w);
    key_text(w, "type", "Unigram");
    jw_key(w, "unk_id"), jw_i64(w, UNKNOWN_ID);
    jw_key(w, "vocab"), jw_array(w);
    for (size_t i = 0; i < t->specials->n; i++)
        write_entry(w, t->specials->texts[i], 0);
    for (size_t i = 0; i < t->pieces.n; i++) {
        piece_text(t, &t->pieces.items[i], scratch);
        write_entry(w, sb_str(scratch), t->pieces.items[i].weight);
    }
    jw_array_end(w);
    jw_key(w, "byte_fallback"), jw_bool(w, false);
    jw_object_end(w);
}

/* Everything, with the pieces that the trainer has so far. */
static bool write_tokenizer(const struct trainer *t, struct strbuf *out)
{
    struct strbuf scratch;
    struct json_writer w;
    sb_init(&scratch);
    jw_init(&w, out, false);
    jw_object(&w);
    key_text(&w, "version", "1.0");
    jw_key(&w, "truncation"), jw_null(&w);
    jw_key(&w, "padding"), jw_null(&w);
    jw_key(&w, "added_tokens"), write_added(&w, t->specials);
    jw_key(&w, "normalizer"), write_normalizer(&w, t->options);
    jw_key(&w, "pre_tokenizer"), write_metaspace(&w);
    jw_key(&w, "post_processor"), write_frames(&w);
    jw_key(&w, "decoder"), write_metaspace(&w);
    jw_key(&w, "model"), write_model(&w, t, &scratch);
    jw_object_end(&w);
    bool good = !scratch.failed && !out->failed;
    sb_deinit(&scratch);
    return good;
}

static medley_status keep_config(struct pipeline *p, const struct token_list *specials,
                                 medley_error *err)
{
    static const char *const keys[] = {"pad_token", "unk_token", "cls_token", "sep_token",
                                       "mask_token"};
    enum { USUAL = sizeof keys / sizeof *keys };
    struct strbuf text;
    struct json_writer w;
    sb_init(&text);
    jw_init(&w, &text, true);
    jw_object(&w);
    key_text(&w, "tokenizer_class", "PreTrainedTokenizerFast");
    for (size_t i = 0; i < USUAL; i++)
        jw_key(&w, keys[i]), jw_text(&w, specials->texts[i]);
    jw_key(&w, "additional_special_tokens"), jw_array(&w);
    for (size_t i = USUAL; i < specials->n; i++)
        jw_text(&w, specials->texts[i]);
    jw_array_end(&w);
    jw_object_end(&w);
    medley_status st = text.failed
                           ? fail_memory(err, "tokenizer_config.json")
                           : pipeline_keep(p, "tokenizer_config.json", text.s, text.n, err);
    sb_deinit(&text);
    return st;
}

static medley_status make_tokenizer(const struct trainer *t, struct tokenizer **out,
                                    medley_error *err)
{
    struct strbuf text;
    json *root = NULL;
    struct tokenizer *made = NULL;
    sb_init(&text);
    medley_status st =
        write_tokenizer(t, &text) ? MEDLEY_OK : fail_memory(err, "trained vocabulary");
    if (!st)
        st = json_parse(sb_str(&text), "trained vocabulary", &root, err);
    if (!st)
        st = pipeline_of_json(root, "trained vocabulary", sb_str(&text), &made, err);
    if (!st)
        st = keep_config((struct pipeline *)made, t->specials, err);
    json_free(root);
    sb_deinit(&text);
    if (st)
        tokenizer_free(made);
    else
        *out = made;
    return st;
}

/* ---- words ---- */

static medley_status make_stages(struct trainer *t, medley_error *err)
{
    struct strbuf text;
    json *root = NULL;
    sb_init(&text);
    medley_status st =
        write_tokenizer(t, &text) ? MEDLEY_OK : fail_memory(err, "vocabulary training");
    if (!st)
        st = json_parse(sb_str(&text), "trained vocabulary", &root, err);
    if (!st)
        st = normalizer_load(json_get(root, "normalizer"), "trained vocabulary", &t->normalizer,
                             err);
    if (!st)
        st = pre_tokenizer_load(json_get(root, "pre_tokenizer"), "trained vocabulary",
                                &t->pre_tokenizer, err);
    json_free(root);
    sb_deinit(&text);
    return st;
}

static bool count_word(struct trainer *t, struct str word)
{
    bool added = false;
    uint32_t id =
        t->bytes < LETTERS ? map_add(t->words, word, &added) : map_find(t->words, word);
    if (id == MAP_NONE)
        return t->bytes >= LETTERS;
    if (!mem_reserve(&t->counts, &t->counts_capacity, (size_t)id + 1, sizeof *t->counts))
        return false;
    if (added)
        t->bytes += word.n;
    t->counts[id] = added ? 1 : t->counts[id] + 1;
    return true;
}

static bool count_text(struct trainer *t, struct str text)
{
    struct cutting *c = &t->cutting;
    piece_clear(&t->text);
    piece_add_text(&t->text, text, 0);
    normalizer_apply(t->normalizer, &t->text, &t->spare);
    piece_clear(&c->piece);
    piece_add_range(&c->piece, &t->text, 0, t->text.n);
    pre_tokenizer_apply(t->pre_tokenizer, c);
    bool good = !t->text.failed && !t->spare.failed && !c->piece.failed && !c->words.failed;
    for (size_t i = 0; i < c->words.n && good; i++)
        good = count_word(t, (struct str){c->piece.s + c->words.items[i].begin,
                                          c->words.items[i].end - c->words.items[i].begin});
    return good;
}

static medley_status count_words(struct trainer *t, text_source *next, void *context,
                                 medley_error *err)
{
    struct str text;
    uint64_t n = 0;
    while (next(context, &text)) {
        if (text.n && text.n < UINT32_MAX && !count_text(t, text))
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

/* ---- letters ---- */

static size_t char_bytes(struct str word, size_t at)
{
    size_t next = at;
    char_at(word.s, &next);
    return next - at;
}

static bool count_letters(struct trainer *t)
{
    for (uint32_t w = 0; w < map_count(t->words); w++) {
        struct str word = map_key(t->words, w);
        for (size_t at = 0, n; at < word.n; at += n) {
            bool added = false;
            n = char_bytes(word, at);
            uint32_t id = map_add(t->characters, (struct str){word.s + at, n}, &added);
            if (id == MAP_NONE || !mem_reserve(&t->letters, &t->letters_capacity,
                                               (size_t)id + 1, sizeof *t->letters))
                return false;
            if (added)
                t->letters[id] = (struct letter){0, id};
            t->letters[id].count += t->counts[w];
        }
    }
    return true;
}

/* U+FFFD stands for damage, no JSON of ours holds U+0000, and special tokens are theirs. */
static bool is_no_letter(const struct trainer *t, struct str text)
{
    if (str_is(text, "\xEF\xBF\xBD") || text.s[0] == 0)
        return true;
    for (size_t i = 0; i < t->specials->n; i++)
        if (str_eq(t->specials->texts[i], text))
            return true;
    return false;
}

static int by_count(const void *left, const void *right)
{
    const struct letter *a = left, *b = right;
    if (a->count != b->count)
        return a->count < b->count ? 1 : -1;
    return (a->character > b->character) - (a->character < b->character);
}

/* All characters are letters when they fit into half of the room; else, the most frequent ones
 * until they cover enough. */
static bool choose_letters(struct trainer *t, size_t room)
{
    size_t n = map_count(t->characters), kept = 0;
    double all = 0, covered = 0;
    t->letter_of = mem_alloc(n ? n : 1, sizeof *t->letter_of);
    t->character_of = mem_alloc(n ? n : 1, sizeof *t->character_of);
    if (!t->letter_of || !t->character_of)
        return false;
    if (n)
        qsort(t->letters, n, sizeof *t->letters, by_count);
    for (size_t i = 0; i < n; i++)
        all += (double)t->letters[i].count;
    for (size_t i = 0; i < n; i++) {
        uint32_t c = t->letters[i].character;
        bool keep = kept < room && (kept < (room + 1) / 2 || covered < COVERAGE * all) &&
                    !is_no_letter(t, map_key(t->characters, c));
        covered += (double)t->letters[i].count;
        t->letter_of[c] = keep ? (uint32_t)kept : MAP_NONE;
        if (keep)
            t->character_of[kept++] = c;
    }
    t->corpus.n_letters = kept;
    return true;
}

/* Words become numbered letters; a character left out ends a run. */
static bool spell_words(struct trainer *t)
{
    uint32_t run[UNIGRAM_SEGMENT];
    size_t n = 0;
    bool good = true;
    for (uint32_t w = 0; w < map_count(t->words) && good; w++) {
        struct str word = map_key(t->words, w);
        for (size_t at = 0, bytes; at < word.n && good; at += bytes) {
            bytes = char_bytes(word, at);
            uint32_t letter =
                t->letter_of[map_find(t->characters, (struct str){word.s + at, bytes})];
            if (letter != MAP_NONE)
                run[n++] = letter;
            if (n && (n == UNIGRAM_SEGMENT || letter == MAP_NONE || at + bytes == word.n)) {
                good = unigram_corpus_add(&t->corpus, run, n, t->counts[w]);
                n = 0;
            }
        }
    }
    return good;
}

/* ---- training ---- */

/* Pieces spelt like a special token would be found twice. */
static bool drop_specials(struct trainer *t)
{
    struct strbuf text;
    size_t kept = 0;
    sb_init(&text);
    for (size_t i = 0; i < t->pieces.n; i++) {
        bool equal = false;
        piece_text(t, &t->pieces.items[i], &text);
        for (size_t k = 0; k < t->specials->n; k++)
            equal = equal || str_eq(sb_str(&text), t->specials->texts[k]);
        if (!equal)
            t->pieces.items[kept++] = t->pieces.items[i];
    }
    t->pieces.n = kept;
    bool good = !text.failed;
    sb_deinit(&text);
    return good;
}

/* SentencePiece stops a tenth above the size asked for, and takes the most probable ones. */
static medley_status shrink(struct trainer *t, size_t room, medley_error *err)
{
    size_t wanted = room + room / 10, seeds = t->pieces.n;
    medley_status st = MEDLEY_OK;
    for (bool last = false; !last && !st;) {
        last = t->pieces.n <= wanted;
        for (int i = 0; i < EM_STEPS && !st; i++)
            st = unigram_em_step(&t->corpus, &t->pieces, room, NULL, err);
        size_t keep = (size_t)(SHRINK * (double)t->pieces.n);
        if (!st && !last)
            st = unigram_prune(&t->corpus, &t->pieces, keep > wanted ? keep : wanted, err);
        progress_step("pruning pieces", seeds - t->pieces.n, seeds - room, "pieces");
    }
    progress_end("pruning pieces");
    unigram_cut(&t->corpus, &t->pieces, room);
    return st;
}

static medley_status train(struct trainer *t, size_t room, text_source *next, void *context,
                           medley_error *err)
{
    size_t min_count = t->options->min_count ? t->options->min_count : 2;
    t->words = map_new(1 << 14);
    t->characters = map_new(1 << 10);
    if (!t->words || !t->characters)
        return fail_memory(err, "vocabulary training");
    medley_status st = make_stages(t, err);
    if (!st)
        st = count_words(t, next, context, err);
    if (!st && (!count_letters(t) || !choose_letters(t, room) || !spell_words(t)))
        st = fail_memory(err, "vocabulary training");
    if (st || !t->corpus.n)
        return st;
    st = unigram_seed(&t->corpus, min_count, room > SEEDS ? room : SEEDS, &t->pieces, err);
    if (!st && !drop_specials(t))
        st = fail_memory(err, "vocabulary training");
    return st ? st : shrink(t, room, err);
}

medley_status unigram_train(const struct tokenizer_training *options,
                            struct token_list *specials, size_t pieces, text_source *next,
                            void *context, struct tokenizer **out, medley_error *err)
{
    struct trainer t = {.options = options, .specials = specials};
    medley_status st = train(&t, pieces, next, context, err);
    if (!st)
        st = make_tokenizer(&t, out, err);
    trainer_deinit(&t);
    return st;
}
