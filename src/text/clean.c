/* clean.c: the steps of cleaning, in order: HTML (html.c), symbols (emoji, quotes, dashes,
 * control characters), NFKC by utf8proc, contractions, white space. Cleaning what is clean
 * changes nothing. A locale is one line of the table below. Proof: tests/test_clean.c,
 * fuzz/fuzz_clean.c. */
#include "text/clean.h"

#include "base/memory.h"
#include "text/html.h"

#include <string.h>
#include <strings.h>
#include <utf8proc.h>

/* ---- locales ---- */

struct contraction {
    const char *ending, *becomes;
    bool whole; /* the whole word, else the end of a longer one */
};

/* Only what has one reading: 's (is, has, possessive) and 'd (had, would) stay. */
static const struct contraction english[] = {
    {"can't", "cannot", true}, {"won't", "will not", true}, {"shan't", "shall not", true},
    {"let's", "let us", true}, {"n't", " not", false},      {"'re", " are", false},
    {"'ve", " have", false},   {"'ll", " will", false},     {"'m", " am", false},
    {NULL, NULL, false},
};

struct locale {
    const char *tag;
    const struct contraction
        *contractions; /* NULL: none. Spanish del and al are words, and stay */
    bool
        kana; /* dashes after kana are prolonged sound marks, and runs of the mark become one */
};

static const struct locale locales[] = {
    {"us", english, false}, {"en", english, false}, {"uk", english, false},
    {"gb", english, false}, {"ca", english, false}, {"au", english, false},
    {"es", NULL, false},    {"jp", NULL, true},     {"ja", NULL, true},
    {NULL, NULL, false}, /* the rest */
};

/* By the tag up to a dash: "en-GB" is "en". */
static const struct locale *find_locale(struct str tag)
{
    size_t n = 0;
    while (n < tag.n && tag.s[n] != '-' && tag.s[n] != '_')
        n++;
    const struct locale *l = locales;
    while (l->tag && (strlen(l->tag) != n || strncasecmp(l->tag, tag.s, n) != 0))
        l++;
    return l;
}

/* ---- symbols ---- */

/* Pictures and ornaments: they carry no words, and where they stand a new item usually starts.
 */
static bool is_ornament(uint32_t c)
{
    if (c < 0x2022)
        return false;
    return c == 0x2022 || c == 0x2023 || c == 0x2043 || c == 0x20E3 ||
           (c >= 0x2190 && c <= 0x21FF) || (c >= 0x2300 && c <= 0x23FF) ||
           (c >= 0x25A0 && c <= 0x27BF) || (c >= 0x2B00 && c <= 0x2BFF) || c == 0x3030 ||
           c == 0x303D || (c >= 0x1F000 && c <= 0x1FAFF);
}

static bool is_variation(uint32_t c)
{
    return (c >= 0xFE00 && c <= 0xFE0F) || (c >= 0xE0100 && c <= 0xE01EF);
}

static bool is_kana(uint32_t c)
{
    return (c >= 0x3041 && c <= 0x309F) || (c >= 0x30A1 && c <= 0x30FF && c != 0x30FB) ||
           (c >= 0xFF66 && c <= 0xFF9F);
}

#define PROLONGED 0x30FC /* the katakana-hiragana prolonged sound mark */

static bool is_dash(uint32_t c)
{
    return (c >= 0x2010 && c <= 0x2015) || c == 0x2212 || c == 0x2500 || c == 0x2501 ||
           c == 0xFE63 || c == 0xFF0D;
}

/* One of the characters that a simpler one stands for; 0 for other characters. */
static uint32_t plain_punctuation(uint32_t c)
{
    switch (c) {
    case 0x2018:
    case 0x2019:
    case 0x201A:
    case 0x201B:
    case 0x2032:
    case 0x02BC:
    case 0xB4: /* NFKC would make it a space and an accent */
        return '\'';
    case 0x201C:
    case 0x201D:
    case 0x201E:
    case 0x201F:
    case 0x2033:
        return '"';
    case 0xA9:
    case 0xAE:
    case 0x2117:
    case 0x2120:
    case 0x2122: /* NFKC would glue "TM" on */
        return ' ';
    default:
        return 0;
    }
}

static bool is_fraction(uint32_t c)
{
    return (c >= 0xBC && c <= 0xBE) || (c >= 0x2150 && c <= 0x215E) || c == 0x2189;
}

/* Decodes one character; what is not UTF-8 is U+FFFD, a byte at a time. */
static size_t next_char(struct str text, size_t i, uint32_t *c)
{
    size_t n = utf8_decode((struct str){text.s + i, text.n - i}, c);
    if (n > 0)
        return n;
    *c = 0xFFFD;
    return 1;
}

static void add_char(struct strbuf *out, uint32_t c)
{
    char utf8[4];
    sb_add(out, utf8, utf8_encode(c, utf8));
}

/* Whether a dash after kana is a sound mark: not after one, nor before a letter that is no
 * kana. */
static bool prolongs(uint32_t before, struct str text, size_t after)
{
    uint32_t c = ' ';
    if (!is_kana(before) || before == PROLONGED || before == 0xFF70)
        return false;
    if (after < text.n)
        next_char(text, after, &c);
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    bool alphanumeric = k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NO;
    return is_kana(c) || !alphanumeric;
}

/* What a character becomes before NFKC; 0: nothing. */
static uint32_t simplify(const struct locale *l, uint32_t before, uint32_t c, struct str text,
                         size_t after)
{
    uint32_t plain = plain_punctuation(c);
    if (plain)
        return plain;
    if (is_dash(c))
        return l->kana && prolongs(before, text, after) ? PROLONGED : '-';
    if (is_ornament(c))
        return '\n';
    if (is_variation(c))
        return 0;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CC:
        return c == '\n' || c == '\r' || c == '\v' || c == '\f' || c == 0x85 ? '\n' : ' ';
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return '\n';
    case UTF8PROC_CATEGORY_CF: /* zero-width joiners and spaces, direction marks, soft hyphens
                                */
        return 0;
    case UTF8PROC_CATEGORY_CO:
        return ' ';
    default:
        return c;
    }
}

static void simplify_all(const struct locale *l, struct str text, struct strbuf *out)
{
    uint32_t before = ' ';
    for (size_t i = 0; i < text.n;) {
        uint32_t c = (unsigned char)text.s[i];
        size_t n = 1;
        if (c >= 0x80)
            n = next_char(text, i, &c);
        if (c < 0x20 || c >= 0x7F)
            c = is_fraction(c) ? c : simplify(l, before, c, text, i + n);
        i += n;
        if (is_fraction(c) && before >= '0' && before <= '9')
            sb_addc(out, ' '); /* 1 and a half is "1 1/2", not "11/2" */
        if (c == 0)
            continue;
        add_char(out, c);
        before = c;
    }
}

/* ---- NFKC ---- */

static bool is_ascii(struct str text)
{
    unsigned char all = 0;
    for (size_t i = 0; i < text.n; i++)
        all |= (unsigned char)text.s[i];
    return all < 0x80;
}

/* Appends text, which is valid UTF-8, in NFKC. */
static void add_nfkc(struct str text, struct strbuf *out)
{
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_COMPOSE;
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text.s;
    utf8proc_int32_t *codes = NULL;
    utf8proc_ssize_t n = -1, size;
    if (is_ascii(text)) {
        sb_add(out, text.s, text.n);
        return;
    }
    size = utf8proc_decompose(bytes, (utf8proc_ssize_t)text.n, NULL, 0, options);
    /* utf8proc_reencode writes the UTF-8 over the code points, and a zero after it */
    if (size >= 0)
        codes = mem_alloc((size_t)size + 1, sizeof codes[0]);
    if (codes)
        n = utf8proc_decompose(bytes, (utf8proc_ssize_t)text.n, codes, size, options);
    if (n >= 0)
        n = utf8proc_reencode(codes, n, options);
    if (n >= 0)
        sb_add(out, (const char *)codes, (size_t)n);
    else
        out->failed = true;
    mem_free(codes);
}

/* ---- contractions and white space ---- */

static bool ascii_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool ends_with(struct str word, const char *ending, bool whole)
{
    size_t n = strlen(ending);
    return (whole ? word.n == n : word.n > n) &&
           strncasecmp(word.s + word.n - n, ending, n) == 0;
}

/* At an apostrophe in text at i, the word's beginning being the end of `out`: writes the word
 * out in full and returns the bytes of text used; 0 when there is nothing to expand. */
static size_t expand(const struct contraction *list, struct str text, size_t i, size_t start,
                     struct strbuf *out)
{
    size_t from = i, to = i + 1;
    while (from > 0 && i - from < 32 && ascii_letter(text.s[from - 1]))
        from--;
    while (to < text.n && to - i < 8 && ascii_letter(text.s[to]))
        to++;
    struct str word = {text.s + from, to - from};
    size_t before = i - from; /* bytes of the word that `out` already has */
    if (to < text.n && ((unsigned char)text.s[to] >= 0x80 || text.s[to] == '\''))
        return 0;
    for (; list && list->ending; list++) {
        if (!ends_with(word, list->ending, list->whole) || out->n < start + before)
            continue;
        size_t apostrophe = (size_t)(strchr(list->ending, '\'') - list->ending);
        size_t stem = out->n - apostrophe;
        char first = out->n > stem ? out->s[stem] : 0;
        out->n = stem;
        sb_addz(out, list->becomes);
        if (list->whole && !out->failed && first >= 'A' && first <= 'Z')
            out->s[stem] = first; /* "Can't" is "Cannot" */
        return to - i;
    }
    return 0;
}

static void add_space(struct strbuf *out, size_t start, char space)
{
    if (out->n == start) /* nothing yet */
        return;
    char *last = &out->s[out->n - 1];
    if (*last != ' ' && *last != '\n')
        sb_addc(out, space);
    else if (space == '\n')
        *last = '\n';
}

/* Bytes of the white space at text.s[i]; 0 when it is none. After NFKC few kinds are left. */
static size_t space_at(struct str text, size_t i)
{
    unsigned char c = (unsigned char)text.s[i];
    if (c == ' ' || c == '\n')
        return 1;
    uint32_t code = 0;
    size_t n = c >= 0xE0 ? utf8_decode((struct str){text.s + i, text.n - i}, &code) : 0;
    return n && utf8proc_category((utf8proc_int32_t)code) == UTF8PROC_CATEGORY_ZS ? n : 0;
}

#define MARK "\xE3\x83\xBC"           /* PROLONGED as UTF-8 */
#define FRACTION_SLASH "\xE2\x81\x84" /* what NFKC puts into fractions */

static bool starts_with(struct str text, size_t i, const char *three)
{
    return text.n - i >= 3 && memcmp(text.s + i, three, 3) == 0;
}

static void finish(const struct locale *l, bool lines, struct str text, struct strbuf *out)
{
    size_t start = out->n, n;
    for (size_t i = 0; i < text.n && !out->failed;) {
        char c = text.s[i];
        if ((n = space_at(text, i)) > 0) {
            add_space(out, start, lines && c == '\n' ? '\n' : ' ');
            i += n;
        } else if (c == '\'' && (n = expand(l->contractions, text, i, start, out)) > 0) {
            i += n;
        } else if (l->kana && i >= 3 && starts_with(text, i, MARK) &&
                   starts_with(text, i - 3, MARK)) {
            i += 3;
        } else if (starts_with(text, i, FRACTION_SLASH)) {
            sb_addc(out, '/');
            i += 3;
        } else {
            sb_addc(out, c);
            i++;
        }
    }
    while (out->n > start && (out->s[out->n - 1] == ' ' || out->s[out->n - 1] == '\n'))
        out->s[--out->n] = 0;
}

/* ---- the door ---- */

static void clean(struct str locale, struct str text, bool lines, struct strbuf *out)
{
    struct strbuf decoded, untagged, simple, composed;
    const struct locale *l = find_locale(locale);
    sb_init(&decoded);
    sb_init(&untagged);
    sb_init(&simple);
    sb_init(&composed);
    if (text.n > 0 && memchr(text.s, '&', text.n)) {
        html_decode_entities(text, &decoded);
        text = sb_str(&decoded);
    }
    if (text.n > 0 && memchr(text.s, '<', text.n)) {
        html_remove_tags(text, &untagged);
        text = sb_str(&untagged);
    }
    simplify_all(l, text, &simple);
    if (!simple.failed)
        add_nfkc(sb_str(&simple), &composed);
    out->failed |= decoded.failed | untagged.failed | simple.failed | composed.failed;
    if (!out->failed)
        finish(l, lines, sb_str(&composed), out);
    sb_deinit(&decoded);
    sb_deinit(&untagged);
    sb_deinit(&simple);
    sb_deinit(&composed);
}

void text_clean(struct str locale, struct str text, struct strbuf *out)
{
    clean(locale, text, false, out);
}

void text_clean_lines(struct str locale, struct str text, struct strbuf *out)
{
    clean(locale, text, true, out);
}
