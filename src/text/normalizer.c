/* normalizer.c: the table of normalisers, each with what tokenizer.json says of it. */
#include "text/normalizer.h"

#include "base/error.h"
#include "base/memory.h"
#include "text/bert_chars.h"
#include "text/byte_chars.h"
#include "text/regex.h"

#include <string.h>
#include <utf8proc.h>

enum { MOST_GROWTH = 1024, MOST_PARTS = 64, DEEPEST = 8 };

struct kind {
    const char *type;
    medley_status (*load)(struct normalizer *n, const json *spec, const char *name, int depth,
                          medley_error *err); /* NULL: no settings */
    void (*apply)(const struct normalizer *n, struct piece *p, struct piece *scratch);
};

struct normalizer {
    const struct kind *kind;
    struct normalizer **parts; /* Sequence: [n_parts] owned */
    size_t n_parts;
    bool left, right;      /* Strip */
    struct regex *pattern; /* Replace */
    struct strbuf text;    /* Replace, Prepend */
    struct charsmap *map;  /* Precompiled */
    struct bert_chars *bert;
    size_t growth; /* at most so many bytes come of one; for what a file can choose */
};

static void swap(struct piece *a, struct piece *b)
{
    struct piece kept = *a;
    *a = *b;
    *b = kept;
}

/* ---- Sequence ---- */

static medley_status load_at(const json *spec, const char *name, int depth,
                             struct normalizer **out, medley_error *err);

static medley_status fail_growth(const char *name, const char *what, medley_error *err)
{
    return fail(err, MEDLEY_EUNSUPPORTED,
                "%s: normalizer %s may make texts more than %d times as long", name, what,
                MOST_GROWTH);
}

static medley_status load_sequence(struct normalizer *n, const json *spec, const char *name,
                                   int depth, medley_error *err)
{
    const json *list = json_get(spec, "normalizers"), *item = json_first(list);
    size_t count = json_count(list);
    if (!list || json_kind_of(list) != JSON_ARRAY || count > MOST_PARTS)
        return fail(err, MEDLEY_EFORMAT,
                    "%s: normalizer Sequence: expected up to %d normalizers", name, MOST_PARTS);
    n->parts = mem_zalloc(count, sizeof *n->parts);
    if (count && !n->parts)
        return fail_memory(err, "normalizers");
    for (; item; item = json_next(item)) {
        struct normalizer **part = &n->parts[n->n_parts++];
        medley_status st = load_at(item, name, depth + 1, part, err);
        if (st)
            return st;
        n->growth *= *part ? (*part)->growth : 1;
        if (n->growth > MOST_GROWTH)
            return fail_growth(name, "Sequence", err);
    }
    return MEDLEY_OK;
}

static void apply_sequence(const struct normalizer *n, struct piece *p, struct piece *scratch)
{
    for (size_t i = 0; i < n->n_parts; i++)
        normalizer_apply(n->parts[i], p, scratch);
}

/* ---- single characters ---- */

/* Every character goes through `each`, which appends what becomes of it. */
static void each_char(const struct normalizer *n, struct piece *p, struct piece *out,
                      void (*each)(const struct normalizer *n, uint32_t c, struct span span,
                                   struct piece *out))
{
    piece_clear(out);
    for (size_t i = 0; i < p->n;) {
        struct span span = p->spans[i];
        uint32_t c = char_at(p->s, &i);
        each(n, c, span, out);
    }
    swap(p, out);
}

static void lower_char(const struct normalizer *n, uint32_t c, struct span span,
                       struct piece *out)
{
    (void)n;
    if (c == 0x130) { /* the one letter whose lower case is two characters */
        piece_add_codepoint(out, 'i', span);
        piece_add_codepoint(out, 0x307, span);
        return;
    }
    piece_add_codepoint(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c), span);
}

static void apply_lowercase(const struct normalizer *n, struct piece *p, struct piece *scratch)
{
    each_char(n, p, scratch, lower_char);
}

static void unmarked_char(const struct normalizer *n, uint32_t c, struct span span,
                          struct piece *out)
{
    (void)n;
    if (!(char_classes(c) & CHAR_MARK))
        piece_add_codepoint(out, c, span);
}

static void apply_strip_accents(const struct normalizer *n, struct piece *p,
                                struct piece *scratch)
{
    each_char(n, p, scratch, unmarked_char);
}

/* SentencePiece's nmt rules: control characters vanish, exotic white space becomes a space. */
static void nmt_char(const struct normalizer *n, uint32_t c, struct span span,
                     struct piece *out)
{
    (void)n;
    bool gone = (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F ||
                c == 0x8F || c == 0x9F;
    bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                 (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                 c == 0xFEFF || c == 0xFFFD;
    if (!gone)
        piece_add_codepoint(out, space ? ' ' : c, span);
}

static void apply_nmt(const struct normalizer *n, struct piece *p, struct piece *scratch)
{
    each_char(n, p, scratch, nmt_char);
}

static void byte_char(const struct normalizer *n, uint32_t c, struct span span,
                      struct piece *out)
{
    (void)n;
    char bytes[4];
    size_t count = utf8_encode(c, bytes);
    for (size_t i = 0; i < count; i++)
        piece_add_codepoint(out, byte_to_char((unsigned char)bytes[i]), span);
}

static void apply_byte_level(const struct normalizer *n, struct piece *p, struct piece *scratch)
{
    each_char(n, p, scratch, byte_char);
}

/* ---- BertNormalizer ---- */

static medley_status load_bert(struct normalizer *n, const json *spec, const char *name,
                               int depth, medley_error *err)
{
    (void)name;
    (void)depth;
    struct bert_options o = {.clean_text = true, .cjk_chars = true, .lowercase = true};
    json_as_bool(json_get(spec, "clean_text"), &o.clean_text);
    json_as_bool(json_get(spec, "handle_chinese_chars"), &o.cjk_chars);
    json_as_bool(json_get(spec, "lowercase"), &o.lowercase);
    o.strip_accents = o.lowercase;
    json_as_bool(json_get(spec, "strip_accents"), &o.strip_accents);
    if (!(n->bert = mem_zalloc(1, sizeof *n->bert)))
        return fail_memory(err, "a normalizer");
    return bert_chars_init(n->bert, o, err);
}

/* The table also tells words apart, which here is left to a pre-tokenizer: an ideograph gets
 * its spaces, punctuation stays as it is. */
static void bert_entry_out(const struct normalizer *n, uint32_t entry, uint32_t c,
                           struct span span, struct piece *out)
{
    uint32_t becomes = bert_becomes(entry, c);
    bool cjk = false;
    switch (bert_action_of(entry)) {
    case BERT_DROP:
        return;
    case BERT_SPACE:
        /* Without clean_text white space stays what it was. */
        piece_add_codepoint(out, n->bert->options.clean_text ? ' ' : becomes, span);
        return;
    case BERT_ISOLATE:
        cjk = !bert_is_punctuation(becomes);
        break;
    default:
        break;
    }
    if (cjk)
        piece_add_codepoint(out, ' ', span);
    piece_add_codepoint(out, becomes, span);
    if (cjk)
        piece_add_codepoint(out, ' ', span);
}

static void bert_char(const struct normalizer *n, uint32_t c, struct span span,
                      struct piece *out)
{
    uint32_t entry = bert_entry(n->bert, c);
    if (bert_action_of(entry) != BERT_SEVERAL) {
        bert_entry_out(n, entry, c, span, out);
        return;
    }
    uint32_t entries[BERT_EXPAND_MAX];
    size_t count = bert_expand(n->bert, c, entries);
    for (size_t i = 0; i < count; i++)
        bert_entry_out(n, entries[i], c, span, out);
}

static void apply_bert(const struct normalizer *n, struct piece *p, struct piece *scratch)
{
    each_char(n, p, scratch, bert_char);
}

/* ---- Unicode forms ---- */

static void apply_form(const struct normalizer *n, struct piece *p, struct piece *scratch)
{
    piece_clear(scratch);
    unicode_form_apply(p, n->kind->type[2] == 'K',
                       n->kind->type[strlen(n->kind->type) - 1] == 'C', scratch);
    swap(p, scratch);
}

/* ---- Strip, Prepend, Replace, Precompiled ---- */

static medley_status load_strip(struct normalizer *n, const json *spec, const char *name,
                                int depth, medley_error *err)
{
    (void)name;
    (void)depth;
    (void)err;
    n->left = n->right = true;
    json_as_bool(json_get(spec, "strip_left"), &n->left);
    json_as_bool(json_get(spec, "strip_right"), &n->right);
    return MEDLEY_OK;
}

static void apply_strip(const struct normalizer *n, struct piece *p, struct piece *scratch)
{
    size_t begin = 0, end = p->n;
    while (n->left && begin < end) {
        size_t next = begin;
        if (!(char_classes(char_at(p->s, &next)) & CHAR_SPACE))
            break;
        begin = next;
    }
    while (n->right && end > begin) {
        size_t last = char_before(p->s, end), next = last;
        if (!(char_classes(char_at(p->s, &next)) & CHAR_SPACE))
            break;
        end = last;
    }
    if (begin == 0) {
        p->n = end;
        return;
    }
    piece_clear(scratch);
    piece_add_range(scratch, p, begin, end);
    swap(p, scratch);
}

static medley_status copy_text(struct normalizer *n, const json *v, const char *what,
                               const char *name, medley_error *err)
{
    const char *text;
    if (!json_as_text(v, &text))
        return fail(err, MEDLEY_EFORMAT, "%s: normalizer %s: expected a text", name, what);
    sb_addz(&n->text, text);
    n->growth = n->text.n + 1;
    if (n->growth > MOST_GROWTH)
        return fail_growth(name, what, err);
    return n->text.failed ? fail_memory(err, "a normalizer") : MEDLEY_OK;
}

static medley_status load_prepend(struct normalizer *n, const json *spec, const char *name,
                                  int depth, medley_error *err)
{
    (void)depth;
    return copy_text(n, json_get(spec, "prepend"), "Prepend", name, err);
}

static void apply_prepend(const struct normalizer *n, struct piece *p, struct piece *scratch)
{
    if (!p->n)
        return;
    piece_clear(scratch);
    piece_add(scratch, n->text.s, n->text.n, p->spans[0]);
    piece_add_range(scratch, p, 0, p->n);
    swap(p, scratch);
}

static medley_status load_replace(struct normalizer *n, const json *spec, const char *name,
                                  int depth, medley_error *err)
{
    (void)depth;
    const json *pattern = json_get(spec, "pattern");
    const char *text;
    bool literal = json_as_text(json_get(pattern, "String"), &text);
    if (!literal && !json_as_text(json_get(pattern, "Regex"), &text))
        return fail(err, MEDLEY_EFORMAT, "%s: normalizer Replace: expected a pattern", name);
    medley_status st = regex_new(str_of(text), literal, &n->pattern, err);
    if (st)
        return fail_within(err, st, "%s: normalizer Replace", name);
    return copy_text(n, json_get(spec, "content"), "Replace", name, err);
}

static void apply_replace(const struct normalizer *n, struct piece *p, struct piece *scratch)
{
    struct str all = {p->s, p->n};
    size_t at = 0, begin, end;
    if (!p->n || !regex_next(n->pattern, all, 0, &begin, &end))
        return;
    piece_clear(scratch);
    for (size_t from = 0; from <= p->n && regex_next(n->pattern, all, from, &begin, &end);) {
        piece_add_range(scratch, p, at, begin);
        if (end > begin) /* the reference has it come from the last character of the match */
            piece_add(scratch, n->text.s, n->text.n, p->spans[end - 1]);
        at = from = end;
        if (end ==
            begin) { /* an empty match replaces nothing; go on after the next character */
            if (from >= p->n)
                break;
            char_at(p->s, &from);
        }
    }
    piece_add_range(scratch, p, at, p->n);
    swap(p, scratch);
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648, padding optional. */
static bool base64_decode(const char *s, struct strbuf *out)
{
    uint32_t bits = 0;
    int n = 0;
    for (; *s && *s != '='; s++) {
        int digit = base64_digit(*s);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        n += 6;
        if (n >= 8) {
            n -= 8;
            sb_addc(out, (char)(bits >> n & 255));
        }
    }
    return strspn(s, "=") == strlen(s) && !out->failed;
}

static medley_status load_precompiled(struct normalizer *n, const json *spec, const char *name,
                                      int depth, medley_error *err)
{
    (void)depth;
    const char *text;
    struct strbuf blob;
    if (!json_as_text(json_get(spec, "precompiled_charsmap"), &text))
        return fail(err, MEDLEY_EFORMAT,
                    "%s: normalizer Precompiled: expected precompiled_charsmap", name);
    sb_init(&blob);
    medley_status st =
        base64_decode(text, &blob)
            ? charsmap_new(sb_str(&blob), name, &n->map, err)
            : fail(err, MEDLEY_EFORMAT, "%s: normalizer Precompiled: not base64", name);
    sb_deinit(&blob);
    if (!st && (n->growth = charsmap_longest(n->map)) > MOST_GROWTH)
        st = fail_growth(name, "Precompiled", err);
    return st;
}

static void apply_precompiled(const struct normalizer *n, struct piece *p,
                              struct piece *scratch)
{
    piece_clear(scratch);
    charsmap_apply(n->map, p, scratch);
    swap(p, scratch);
}

/* ---- the table ---- */

static const struct kind kinds[] = {
    {"Sequence", load_sequence, apply_sequence},
    {"Lowercase", NULL, apply_lowercase},
    {"StripAccents", NULL, apply_strip_accents},
    {"Nmt", NULL, apply_nmt},
    {"ByteLevel", NULL, apply_byte_level},
    {"BertNormalizer", load_bert, apply_bert},
    {"NFC", NULL, apply_form},
    {"NFD", NULL, apply_form},
    {"NFKC", NULL, apply_form},
    {"NFKD", NULL, apply_form},
    {"Strip", load_strip, apply_strip},
    {"Prepend", load_prepend, apply_prepend},
    {"Replace", load_replace, apply_replace},
    {"Precompiled", load_precompiled, apply_precompiled},
};

static const struct kind *find_kind(const char *type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].type, type) == 0)
            return &kinds[i];
    return NULL;
}

static struct normalizer *make(const struct kind *kind)
{
    struct normalizer *n = mem_zalloc(1, sizeof *n);
    if (n) {
        n->kind = kind;
        n->growth = 1;
        sb_init(&n->text);
    }
    return n;
}

static medley_status load_at(const json *spec, const char *name, int depth,
                             struct normalizer **out, medley_error *err)
{
    *out = NULL;
    if (!spec || json_kind_of(spec) == JSON_NULL)
        return MEDLEY_OK;
    const char *type = "(none)";
    json_as_text(json_get(spec, "type"), &type);
    const struct kind *kind = find_kind(type);
    if (!kind || depth > DEEPEST)
        return fail(err, MEDLEY_EUNSUPPORTED, "%s: normalizer '%s' is not supported", name,
                    type);
    struct normalizer *n = make(kind);
    if (!n)
        return fail_memory(err, "a normalizer");
    medley_status st = kind->load ? kind->load(n, spec, name, depth, err) : MEDLEY_OK;
    if (st)
        normalizer_free(n);
    else
        *out = n;
    return st;
}

medley_status normalizer_load(const json *spec, const char *name, struct normalizer **out,
                              medley_error *err)
{
    return load_at(spec, name, 0, out, err);
}

medley_status normalizer_sentencepiece(struct str charsmap, bool squeeze, bool strip,
                                       const char *name, struct normalizer **out,
                                       medley_error *err)
{
    struct normalizer *n = make(find_kind("Sequence"));
    medley_status st = MEDLEY_OK;
    if (!n || !(n->parts = mem_zalloc(3, sizeof *n->parts)))
        st = fail_memory(err, "normalizers");
    struct normalizer *part = NULL;
    if (!st && strip) {
        if (!(part = n->parts[n->n_parts++] = make(find_kind("Strip"))))
            st = fail_memory(err, "normalizers");
        else
            part->left = part->right = true;
    }
    if (!st && charsmap.n) {
        if (!(part = n->parts[n->n_parts++] = make(find_kind("Precompiled"))))
            st = fail_memory(err, "normalizers");
        else
            st = charsmap_new(charsmap, name, &part->map, err);
    }
    if (!st && squeeze) {
        if (!(part = n->parts[n->n_parts++] = make(find_kind("Replace"))))
            st = fail_memory(err, "normalizers");
        else
            st = regex_new(STR(" {2,}"), false, &part->pattern, err);
        if (!st)
            sb_addc(&part->text, ' ');
    }
    if (st)
        normalizer_free(n);
    else
        *out = n;
    return st;
}

void normalizer_free(struct normalizer *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < n->n_parts; i++)
        normalizer_free(n->parts[i]);
    mem_free(n->parts);
    regex_free(n->pattern);
    sb_deinit(&n->text);
    charsmap_free(n->map);
    if (n->bert)
        bert_chars_deinit(n->bert);
    mem_free(n->bert);
    mem_free(n);
}

void normalizer_apply(const struct normalizer *n, struct piece *p, struct piece *scratch)
{
    if (n && !p->failed)
        n->kind->apply(n, p, scratch);
    p->failed |= scratch->failed;
}
