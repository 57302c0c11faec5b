/* pre_tokenizer.c: the table of pre-tokenizers. Most of them find matches of some pattern in
 * each word and then treat the matches by one of five behaviours; ByteLevel and Metaspace also
 * rewrite. */
#include "text/pre_tokenizer.h"

#include "base/error.h"
#include "base/memory.h"
#include "text/byte_chars.h"
#include "text/regex.h"

#include <string.h>

enum { MOST_PARTS = 64, DEEPEST = 8 };

enum behaviour { REMOVED, ISOLATED, WITH_PREVIOUS, WITH_NEXT, CONTIGUOUS };
static const char *const behaviours[] = {"Removed", "Isolated", "MergedWithPrevious",
                                         "MergedWithNext", "Contiguous"};
enum { BEHAVIOURS = sizeof behaviours / sizeof *behaviours };

/* What GPT-2 splits by, and RoBERTa and ModernBERT after it; found by hand below. */
static const char byte_level_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

struct kind {
    const char *type;
    medley_status (*load)(struct pre_tokenizer *t, const json *spec, const char *name,
                          int depth, medley_error *err); /* NULL: no settings */
    void (*apply)(const struct pre_tokenizer *t, struct cutting *c);
};

struct pre_tokenizer {
    const struct kind *kind;
    struct pre_tokenizer **parts; /* Sequence: [n_parts] owned */
    size_t n_parts;
    enum behaviour behaviour;
    bool invert;
    struct regex *pattern; /* Split; NULL: byte_level_pattern */
    char replacement[8];   /* Metaspace, CharDelimiterSplit: one character */
    size_t replacement_n;
    enum { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER } prepend;
    bool split, prefix_space, use_regex, individual;
};

/* ---- words ---- */

void words_deinit(struct words *w)
{
    mem_free(w->items);
    memset(w, 0, sizeof *w);
}

void words_add(struct words *w, size_t begin, size_t end)
{
    if (begin == end)
        return;
    if (!mem_reserve(&w->items, &w->capacity, w->n + 1, sizeof *w->items)) {
        w->failed = true;
        return;
    }
    w->items[w->n++] = (struct word){(uint32_t)begin, (uint32_t)end};
}

void cutting_deinit(struct cutting *c)
{
    piece_deinit(&c->piece);
    piece_deinit(&c->next_piece);
    words_deinit(&c->words);
    words_deinit(&c->next_words);
}

static void take_words(struct cutting *c)
{
    struct words kept = c->words;
    c->words = c->next_words;
    c->next_words = kept;
    c->next_words.n = 0;
    c->words.failed |= c->next_words.failed;
}

static void take_piece(struct cutting *c)
{
    struct piece kept = c->piece;
    c->piece = c->next_piece;
    c->next_piece = kept;
    c->piece.failed |= c->next_piece.failed;
    piece_clear(&c->next_piece);
    take_words(c);
}

/* ---- behaviours ---- */

/* Collects the runs of one word, alternately matched and not, into words. */
struct run_taker {
    struct words *out;
    enum behaviour behaviour;
    size_t open, end; /* a word that may still grow */
    bool matched, any;
};

static void taker_end(struct run_taker *r)
{
    if (r->any)
        words_add(r->out, r->open, r->end);
    r->any = false;
}

static void take_run(struct run_taker *r, size_t begin, size_t end, bool match)
{
    if (begin == end)
        return;
    bool grows = false;
    switch (r->behaviour) {
    case REMOVED:
    case ISOLATED:
        break;
    case WITH_PREVIOUS: /* a match ends the word that it follows, unless that ended in a match
                         */
        grows = match && r->any && !r->matched;
        break;
    case WITH_NEXT: /* a match begins the word that follows it */
        grows = !match && r->any && r->matched;
        break;
    case CONTIGUOUS:
        grows = r->any && match == r->matched;
        break;
    }
    if (grows) {
        r->end = end;
        r->matched = match;
        return;
    }
    taker_end(r);
    if (match && r->behaviour == REMOVED)
        return;
    *r = (struct run_taker){r->out, r->behaviour, begin, end, match, true};
}

/* ---- by classes of characters ---- */

static void split_by_class(struct cutting *c, unsigned set, enum behaviour behaviour)
{
    const struct piece *p = &c->piece;
    for (size_t w = 0; w < c->words.n; w++) {
        struct word word = c->words.items[w];
        struct run_taker r = {.out = &c->next_words, .behaviour = behaviour};
        size_t run = word.begin;
        for (size_t i = word.begin; i < word.end;) {
            size_t at = i;
            if (!(char_classes(char_at(p->s, &i)) & set))
                continue;
            take_run(&r, run, at, false);
            take_run(&r, at, i, true);
            run = i;
        }
        take_run(&r, run, word.end, false);
        taker_end(&r);
    }
    take_words(c);
}

static void apply_whitespace_split(const struct pre_tokenizer *t, struct cutting *c)
{
    (void)t;
    split_by_class(c, CHAR_SPACE, REMOVED);
}

static void apply_bert(const struct pre_tokenizer *t, struct cutting *c)
{
    (void)t;
    split_by_class(c, CHAR_SPACE, REMOVED);
    split_by_class(c, CHAR_PUNCTUATION, ISOLATED);
}

static void apply_punctuation(const struct pre_tokenizer *t, struct cutting *c)
{
    split_by_class(c, CHAR_PUNCTUATION, t->behaviour);
}

static void apply_digits(const struct pre_tokenizer *t, struct cutting *c)
{
    split_by_class(c, CHAR_NUMBER, t->individual ? ISOLATED : CONTIGUOUS);
}

/* \w+|[^\w\s]+ : runs of word characters and runs of what is neither word nor space. */
static void apply_whitespace(const struct pre_tokenizer *t, struct cutting *c)
{
    (void)t;
    const struct piece *p = &c->piece;
    for (size_t w = 0; w < c->words.n; w++) {
        struct word word = c->words.items[w];
        size_t run = word.begin;
        int before = -1; /* 0 space, 1 word, 2 other */
        for (size_t i = word.begin; i < word.end;) {
            size_t at = i;
            unsigned set = char_classes(char_at(p->s, &i));
            int kind = set & CHAR_WORD ? 1 : set & CHAR_SPACE ? 0 : 2;
            if (kind != before) {
                if (before > 0)
                    words_add(&c->next_words, run, at);
                run = at;
            }
            before = kind;
        }
        if (before > 0)
            words_add(&c->next_words, run, word.end);
    }
    take_words(c);
}

/* ---- Split, CharDelimiterSplit ---- */

static void split_by_text(struct cutting *c, const char *text, size_t n,
                          enum behaviour behaviour)
{
    for (size_t w = 0; w < c->words.n; w++) {
        struct word word = c->words.items[w];
        struct run_taker r = {.out = &c->next_words, .behaviour = behaviour};
        size_t run = word.begin;
        for (size_t i = word.begin; i + n <= word.end;) {
            if (memcmp(c->piece.s + i, text, n) != 0) {
                i++;
                continue;
            }
            take_run(&r, run, i, false);
            take_run(&r, i, i + n, true);
            run = i += n;
        }
        take_run(&r, run, word.end, false);
        taker_end(&r);
    }
    take_words(c);
}

static void apply_delimiter(const struct pre_tokenizer *t, struct cutting *c)
{
    split_by_text(c, t->replacement, t->replacement_n, REMOVED);
}

/* Where the run of characters in `set` (or, with `not`, in none of it) from i ends. */
static size_t run_end(const char *s, size_t i, size_t end, unsigned set, bool not )
{
    while (i < end) {
        size_t next = i;
        bool in = char_classes(char_at(s, &next)) & set;
        if (in == not )
            break;
        i = next;
    }
    return i;
}

/* The length of 's, 't, 're, 've, 'm, 'll or 'd at s; 0 when there is none. */
static size_t contraction(const char *s, size_t n)
{
    if (n < 2 || s[0] != '\'')
        return 0;
    if (strchr("stmd", s[1]) && s[1])
        return 2;
    bool long_one = n >= 3 && ((s[1] == 'r' && s[2] == 'e') || (s[1] == 'v' && s[2] == 'e') ||
                               (s[1] == 'l' && s[2] == 'l'));
    return long_one ? 3 : 0;
}

/* The end of byte_level_pattern's match at i: it matches everywhere. */
static size_t byte_level_end(const char *s, size_t i, size_t end)
{
    const unsigned of_words = CHAR_LETTER | CHAR_NUMBER | CHAR_SPACE;
    size_t short_form = contraction(s + i, end - i);
    if (short_form)
        return i + short_form;
    size_t at = s[i] == ' ' && i + 1 < end ? i + 1 : i, next = at;
    unsigned set = char_classes(char_at(s, &next));
    if (set & CHAR_LETTER)
        return run_end(s, at, end, CHAR_LETTER, false);
    if (set & CHAR_NUMBER)
        return run_end(s, at, end, CHAR_NUMBER, false);
    if (!(set & CHAR_SPACE))
        return run_end(s, at, end, of_words, true);
    /* White space up to the last one before a word, which takes that one along. */
    size_t stop = run_end(s, i, end, CHAR_SPACE, false);
    if (stop == end)
        return stop;
    size_t last = char_before(s, stop);
    return last > i ? last : stop;
}

static bool next_match(const struct pre_tokenizer *t, struct str text, size_t at, size_t *begin,
                       size_t *end)
{
    if (t->pattern)
        return regex_next(t->pattern, text, at, begin, end);
    if (at >= text.n)
        return false;
    *begin = at;
    *end = byte_level_end(text.s, at, text.n);
    return true;
}

static void split_by_pattern(const struct pre_tokenizer *t, struct cutting *c,
                             enum behaviour behaviour, bool invert)
{
    for (size_t w = 0; w < c->words.n; w++) {
        struct word word = c->words.items[w];
        struct str text = {c->piece.s + word.begin, word.end - word.begin};
        struct run_taker r = {.out = &c->next_words, .behaviour = behaviour};
        size_t run = 0, at = 0, begin, end;
        while (at <= text.n && next_match(t, text, at, &begin, &end)) {
            if (end == begin) { /* nothing matched: look further on */
                if (begin >= text.n)
                    break;
                at = begin;
                char_at(text.s, &at);
                continue;
            }
            take_run(&r, word.begin + run, word.begin + begin, invert);
            take_run(&r, word.begin + begin, word.begin + end, !invert);
            run = at = end;
        }
        take_run(&r, word.begin + run, word.end, invert);
        taker_end(&r);
    }
    take_words(c);
}

static void apply_split(const struct pre_tokenizer *t, struct cutting *c)
{
    split_by_pattern(t, c, t->behaviour, t->invert);
}

static medley_status load_behaviour(struct pre_tokenizer *t, const json *spec, const char *name,
                                    medley_error *err)
{
    const char *text;
    t->behaviour = ISOLATED;
    if (!json_as_text(json_get(spec, "behavior"), &text))
        return MEDLEY_OK;
    for (int i = 0; i < BEHAVIOURS; i++)
        if (strcmp(behaviours[i], text) == 0) {
            t->behaviour = (enum behaviour)i;
            return MEDLEY_OK;
        }
    return fail(err, MEDLEY_EUNSUPPORTED, "%s: pre_tokenizer %s: behavior '%s' is unknown",
                name, t->kind->type, text);
}

static medley_status load_split(struct pre_tokenizer *t, const json *spec, const char *name,
                                int depth, medley_error *err)
{
    (void)depth;
    const json *pattern = json_get(spec, "pattern");
    const char *text;
    bool literal = json_as_text(json_get(pattern, "String"), &text);
    if (!literal && !json_as_text(json_get(pattern, "Regex"), &text))
        return fail(err, MEDLEY_EFORMAT, "%s: pre_tokenizer Split: expected a pattern", name);
    json_as_bool(json_get(spec, "invert"), &t->invert);
    if (!literal && strcmp(text, byte_level_pattern) == 0)
        return load_behaviour(t, spec, name, err);
    medley_status st = regex_new(str_of(text), literal, &t->pattern, err);
    if (st)
        return fail_within(err, st, "%s: pre_tokenizer Split", name);
    return load_behaviour(t, spec, name, err);
}

static medley_status load_punctuation(struct pre_tokenizer *t, const json *spec,
                                      const char *name, int depth, medley_error *err)
{
    (void)depth;
    return load_behaviour(t, spec, name, err);
}

static medley_status load_digits(struct pre_tokenizer *t, const json *spec, const char *name,
                                 int depth, medley_error *err)
{
    (void)name;
    (void)depth;
    (void)err;
    json_as_bool(json_get(spec, "individual_digits"), &t->individual);
    return MEDLEY_OK;
}

/* One character of a setting. */
static medley_status load_character(struct pre_tokenizer *t, const json *spec, const char *key,
                                    const char *name, medley_error *err)
{
    const char *text = "\xE2\x96\x81";
    uint32_t c;
    bool given = json_as_text(json_get(spec, key), &text);
    size_t n = strlen(text);
    if ((!given && strcmp(t->kind->type, "Metaspace") != 0) || n == 0 ||
        utf8_decode((struct str){text, n}, &c) != n)
        return fail(err, MEDLEY_EFORMAT, "%s: pre_tokenizer %s: %s must be one character", name,
                    t->kind->type, key);
    memcpy(t->replacement, text, n);
    t->replacement_n = n;
    return MEDLEY_OK;
}

static medley_status load_delimiter(struct pre_tokenizer *t, const json *spec, const char *name,
                                    int depth, medley_error *err)
{
    (void)depth;
    return load_character(t, spec, "delimiter", name, err);
}

/* ---- Metaspace ---- */

static medley_status load_metaspace(struct pre_tokenizer *t, const json *spec, const char *name,
                                    int depth, medley_error *err)
{
    (void)depth;
    const char *scheme = "always";
    bool prefix = true;
    t->split = true;
    json_as_text(json_get(spec, "prepend_scheme"), &scheme);
    json_as_bool(json_get(spec, "add_prefix_space"), &prefix); /* before tokenizers 0.15 */
    json_as_bool(json_get(spec, "split"), &t->split);
    if (strcmp(scheme, "always") == 0)
        t->prepend = PREPEND_ALWAYS;
    else if (strcmp(scheme, "first") == 0)
        t->prepend = PREPEND_FIRST;
    else if (strcmp(scheme, "never") == 0)
        t->prepend = PREPEND_NEVER;
    else
        return fail(err, MEDLEY_EUNSUPPORTED,
                    "%s: pre_tokenizer Metaspace: prepend_scheme '%s' is unknown", name,
                    scheme);
    if (!prefix)
        t->prepend = PREPEND_NEVER;
    return load_character(t, spec, "replacement", name, err);
}

static bool begins_with(const struct piece *p, struct word w, const char *text, size_t n)
{
    return w.end - w.begin >= n && memcmp(p->s + w.begin, text, n) == 0;
}

static void apply_metaspace(const struct pre_tokenizer *t, struct cutting *c)
{
    const struct piece *p = &c->piece;
    struct piece *out = &c->next_piece;
    const char *mark = t->replacement;
    size_t n = t->replacement_n;
    piece_clear(out);
    for (size_t w = 0; w < c->words.n; w++) {
        struct word word = c->words.items[w];
        size_t begin = out->n;
        struct span first = p->spans[word.begin];
        bool wants =
            t->prepend == PREPEND_ALWAYS || (t->prepend == PREPEND_FIRST && first.from == 0);
        if (wants && !begins_with(p, word, mark, n) && p->s[word.begin] != ' ')
            piece_add(out, mark, n, first); /* as in the reference, not empty */
        size_t run = word.begin;
        for (size_t i = word.begin; i < word.end; i++) {
            if (p->s[i] != ' ')
                continue;
            piece_add_range(out, p, run, i);
            piece_add(out, mark, n, p->spans[i]);
            run = i + 1;
        }
        piece_add_range(out, p, run, word.end);
        words_add(&c->next_words, begin, out->n);
    }
    take_piece(c);
    if (t->split)
        split_by_text(c, mark, n, WITH_NEXT);
}

/* ---- ByteLevel ---- */

static medley_status load_byte_level(struct pre_tokenizer *t, const json *spec,
                                     const char *name, int depth, medley_error *err)
{
    (void)name;
    (void)depth;
    (void)err;
    t->prefix_space = t->use_regex = true;
    json_as_bool(json_get(spec, "add_prefix_space"), &t->prefix_space);
    json_as_bool(json_get(spec, "use_regex"), &t->use_regex);
    return MEDLEY_OK;
}

static void add_prefix_spaces(struct cutting *c)
{
    const struct piece *p = &c->piece;
    struct piece *out = &c->next_piece;
    piece_clear(out);
    for (size_t w = 0; w < c->words.n; w++) {
        struct word word = c->words.items[w];
        size_t begin = out->n;
        struct span first = p->spans[word.begin];
        if (p->s[word.begin] != ' ')
            piece_add(out, " ", 1, first);
        piece_add_range(out, p, word.begin, word.end);
        words_add(&c->next_words, begin, out->n);
    }
    take_piece(c);
}

static void apply_byte_level(const struct pre_tokenizer *t, struct cutting *c)
{
    if (t->prefix_space)
        add_prefix_spaces(c);
    if (t->use_regex)
        split_by_pattern(t, c, ISOLATED, false);
    const struct piece *p = &c->piece;
    struct piece *out = &c->next_piece;
    piece_clear(out);
    for (size_t w = 0; w < c->words.n; w++) {
        struct word word = c->words.items[w];
        size_t begin = out->n;
        for (size_t i = word.begin; i < word.end; i++)
            piece_add_codepoint(out, byte_to_char((unsigned char)p->s[i]), p->spans[i]);
        words_add(&c->next_words, begin, out->n);
    }
    take_piece(c);
}

/* ---- the table ---- */

static medley_status load_sequence(struct pre_tokenizer *t, const json *spec, const char *name,
                                   int depth, medley_error *err);

static void apply_sequence(const struct pre_tokenizer *t, struct cutting *c)
{
    for (size_t i = 0; i < t->n_parts; i++)
        if (t->parts[i])
            t->parts[i]->kind->apply(t->parts[i], c);
}

static const struct kind kinds[] = {
    {"Sequence", load_sequence, apply_sequence},
    {"ByteLevel", load_byte_level, apply_byte_level},
    {"Metaspace", load_metaspace, apply_metaspace},
    {"BertPreTokenizer", NULL, apply_bert},
    {"Whitespace", NULL, apply_whitespace},
    {"WhitespaceSplit", NULL, apply_whitespace_split},
    {"Punctuation", load_punctuation, apply_punctuation},
    {"Digits", load_digits, apply_digits},
    {"Split", load_split, apply_split},
    {"CharDelimiterSplit", load_delimiter, apply_delimiter},
};

static struct pre_tokenizer *make(const char *type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].type, type) == 0) {
            struct pre_tokenizer *t = mem_zalloc(1, sizeof *t);
            if (t)
                t->kind = &kinds[i];
            return t;
        }
    return NULL;
}

struct pre_tokenizer *pre_tokenizer_metaspace(void)
{
    struct pre_tokenizer *t = make("Metaspace");
    if (t) {
        memcpy(t->replacement, "\xE2\x96\x81", 3);
        t->replacement_n = 3;
        t->split = true;
    }
    return t;
}

struct pre_tokenizer *pre_tokenizer_byte_level(bool prefix_space)
{
    struct pre_tokenizer *t = make("ByteLevel");
    if (t) {
        t->prefix_space = prefix_space;
        t->use_regex = true;
    }
    return t;
}

static medley_status load_at(const json *spec, const char *name, int depth,
                             struct pre_tokenizer **out, medley_error *err)
{
    *out = NULL;
    if (!spec || json_kind_of(spec) == JSON_NULL)
        return MEDLEY_OK;
    const char *type = "(none)";
    json_as_text(json_get(spec, "type"), &type);
    bool known = false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        known = known || strcmp(kinds[i].type, type) == 0;
    if (!known || depth > DEEPEST)
        return fail(err, MEDLEY_EUNSUPPORTED, "%s: pre_tokenizer '%s' is not supported", name,
                    type);
    struct pre_tokenizer *t = make(type);
    if (!t)
        return fail_memory(err, "a pre-tokenizer");
    medley_status st = t->kind->load ? t->kind->load(t, spec, name, depth, err) : MEDLEY_OK;
    if (st)
        pre_tokenizer_free(t);
    else
        *out = t;
    return st;
}

static medley_status load_sequence(struct pre_tokenizer *t, const json *spec, const char *name,
                                   int depth, medley_error *err)
{
    const json *list = json_get(spec, "pretokenizers"), *item = json_first(list);
    size_t count = json_count(list);
    if (!list || json_kind_of(list) != JSON_ARRAY || count > MOST_PARTS)
        return fail(err, MEDLEY_EFORMAT,
                    "%s: pre_tokenizer Sequence: expected up to %d pretokenizers", name,
                    MOST_PARTS);
    t->parts = mem_zalloc(count, sizeof *t->parts);
    if (count && !t->parts)
        return fail_memory(err, "pre-tokenizers");
    for (; item; item = json_next(item)) {
        medley_status st = load_at(item, name, depth + 1, &t->parts[t->n_parts++], err);
        if (st)
            return st;
    }
    return MEDLEY_OK;
}

medley_status pre_tokenizer_load(const json *spec, const char *name, struct pre_tokenizer **out,
                                 medley_error *err)
{
    return load_at(spec, name, 0, out, err);
}

void pre_tokenizer_free(struct pre_tokenizer *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n_parts; i++)
        pre_tokenizer_free(t->parts[i]);
    mem_free(t->parts);
    regex_free(t->pattern);
    mem_free(t);
}

void pre_tokenizer_apply(const struct pre_tokenizer *t, struct cutting *c)
{
    c->words.n = c->next_words.n = 0;
    words_add(&c->words, 0, c->piece.n);
    if (t && !c->words.failed)
        t->kind->apply(t, c);
}
