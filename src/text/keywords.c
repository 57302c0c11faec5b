/* keywords.c: document frequencies per locale, as a table in memory and as a sorted text file,
 * and the choice of the parts of a text that say most. Proof: tests/test_keywords.c. */
#include "text/keywords.h"

#include "base/error.h"
#include "base/file.h"
#include "base/map.h"
#include "base/memory.h"
#include "text/clean.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HEADER "medley-keywords 1"
#define FILE_LIMIT ((size_t)2 << 30)

struct counts { /* of one locale */
    char *locale;
    uint64_t documents;
    struct map *words;        /* text -> word */
    uint64_t *documents_with; /* [words] */
    uint64_t *last;           /* [words] the document that counted it last, from 1 */
    size_t with_capacity, last_capacity;
};

struct keywords {
    struct counts *locales; /* [n]: a handful, in order of appearance */
    size_t n, capacity;
};

struct keywords *keywords_new(void)
{
    return mem_zalloc(1, sizeof(struct keywords));
}

void keywords_free(struct keywords *k)
{
    if (!k)
        return;
    for (size_t i = 0; i < k->n; i++) {
        mem_free(k->locales[i].locale);
        map_free(k->locales[i].words);
        mem_free(k->locales[i].documents_with);
        mem_free(k->locales[i].last);
    }
    mem_free(k->locales);
    mem_free(k);
}

static struct counts *find_counts(const struct keywords *k, struct str locale)
{
    for (size_t i = 0; i < k->n; i++)
        if (str_is(locale, k->locales[i].locale))
            return &k->locales[i];
    return NULL;
}

static struct counts *add_counts(struct keywords *k, struct str locale)
{
    struct counts *c = find_counts(k, locale);
    if (c)
        return c;
    if (!mem_reserve(&k->locales, &k->capacity, k->n + 1, sizeof k->locales[0]))
        return NULL;
    struct counts fresh = {.locale = mem_strndup(locale.s, locale.n), .words = map_new(1024)};
    if (!fresh.locale || !fresh.words) {
        mem_free(fresh.locale);
        map_free(fresh.words);
        return NULL;
    }
    k->locales[k->n] = fresh;
    return &k->locales[k->n++];
}

/* The word's entry, made when it is new; MAP_NONE when out of memory. */
static uint32_t add_word(struct counts *c, struct str word)
{
    bool added = false;
    uint32_t id = map_add(c->words, word, &added);
    size_t need = (size_t)id + 1;
    if (id == MAP_NONE ||
        !mem_reserve(&c->documents_with, &c->with_capacity, need, sizeof c->last[0]) ||
        !mem_reserve(&c->last, &c->last_capacity, need, sizeof c->last[0]))
        return MAP_NONE;
    if (added)
        c->documents_with[id] = c->last[id] = 0;
    return id;
}

/* ---- counting ---- */

struct counting {
    struct counts *counts;
    bool failed;
};

static void count_word(void *context, struct str word)
{
    struct counting *c = context;
    uint32_t id = c->failed ? MAP_NONE : add_word(c->counts, word);
    if (id == MAP_NONE) {
        c->failed = true;
        return;
    }
    if (c->counts->last[id] != c->counts->documents) {
        c->counts->last[id] = c->counts->documents;
        c->counts->documents_with[id]++;
    }
}

medley_status keywords_add(struct keywords *k, struct str locale, struct str text,
                           medley_error *err)
{
    struct strbuf clean;
    sb_init(&clean);
    text_clean(locale, text, &clean);
    struct counting c = {.counts = add_counts(k, locale)};
    c.failed = clean.failed || !c.counts;
    if (!c.failed) {
        c.counts->documents++;
        text_words(locale, sb_str(&clean), count_word, &c);
    }
    sb_deinit(&clean);
    return c.failed ? fail_memory(err, "keyword counts") : MEDLEY_OK;
}

static double idf(const struct counts *c, struct str word)
{
    uint32_t id = c ? map_find(c->words, word) : MAP_NONE;
    double n = c ? (double)c->documents : 0;
    double with = id == MAP_NONE ? 0 : (double)c->documents_with[id];
    return log((1 + n) / (1 + with)) + 1;
}

double keywords_idf(const struct keywords *k, struct str locale, struct str word)
{
    return idf(find_counts(k, locale), word);
}

/* ---- the file ----
 *
 * medley-keywords 1
 * locales <number>
 * locale <tag> <documents> <words>
 * <word> TAB <documents with it>      one line a word, in byte order
 *
 * Locales are in byte order too, so equal counts give equal files. Every line ends with a
 * newline, and all numbers of lines are stated, so a file cut short is noticed. */

static int compare_text(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.s, b.s, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

struct line {
    struct str word;
    uint64_t with;
};

static int by_word(const void *a, const void *b)
{
    return compare_text(((const struct line *)a)->word, ((const struct line *)b)->word);
}

static int by_locale(const void *a, const void *b)
{
    const struct counts *const *x = a, *const *y = b;
    return strcmp((*x)->locale, (*y)->locale);
}

static bool write_counts(FILE *f, const struct counts *c)
{
    size_t n = map_count(c->words);
    struct line *lines = mem_alloc(n, sizeof lines[0]);
    if (!lines)
        return false;
    for (size_t i = 0; i < n; i++)
        lines[i] = (struct line){map_key(c->words, (uint32_t)i), c->documents_with[i]};
    qsort(lines, n, sizeof lines[0], by_word);
    fprintf(f, "locale %s %" PRIu64 " %zu\n", c->locale, c->documents, n);
    for (size_t i = 0; i < n; i++)
        fprintf(f, "%.*s\t%" PRIu64 "\n", (int)lines[i].word.n, lines[i].word.s, lines[i].with);
    mem_free(lines);
    return true;
}

static bool good_tag(struct str tag)
{
    for (size_t i = 0; i < tag.n; i++)
        if ((unsigned char)tag.s[i] <= ' ' || tag.s[i] == 0x7F)
            return false;
    return tag.n > 0 && utf8_valid(tag, NULL);
}

medley_status keywords_save(const struct keywords *k, const char *path, medley_error *err)
{
    struct outfile o = {0};
    for (size_t i = 0; i < k->n; i++)
        if (!good_tag(str_of(k->locales[i].locale)))
            return fail(err, MEDLEY_EINVAL, "locale '%s' is empty or holds a space",
                        k->locales[i].locale);
    const struct counts **order = mem_alloc(k->n, sizeof order[0]);
    if (!order)
        return fail_memory(err, "keywords");
    for (size_t i = 0; i < k->n; i++)
        order[i] = &k->locales[i];
    qsort(order, k->n, sizeof order[0], by_locale);
    medley_status st = outfile_open(&o, path, err);
    if (st != MEDLEY_OK)
        goto done;
    fprintf(o.f, HEADER "\nlocales %zu\n", k->n);
    for (size_t i = 0; i < k->n && st == MEDLEY_OK; i++)
        if (!write_counts(o.f, order[i]))
            st = fail_memory(err, "keywords");
    if (st == MEDLEY_OK)
        st = outfile_commit(&o, err);
done:
    outfile_abort(&o);
    mem_free(order);
    return st;
}

struct reader {
    const char *path;
    struct str rest;
    uint64_t line; /* of the line read last, from 1 */
};

/* The next line without its newline; false where there is none. */
static bool next_line(struct reader *r, struct str *line)
{
    const char *newline = r->rest.n ? memchr(r->rest.s, '\n', r->rest.n) : NULL;
    if (!newline)
        return false;
    size_t n = (size_t)(newline - r->rest.s);
    *line = (struct str){r->rest.s, n};
    r->rest = (struct str){r->rest.s + n + 1, r->rest.n - n - 1};
    r->line++;
    return true;
}

static medley_status bad_line(const struct reader *r, const char *problem, medley_error *err)
{
    return fail(err, MEDLEY_EFORMAT, "%s:%" PRIu64 ": %s", r->path, r->line, problem);
}

/* Cuts the text before the first separator off *rest. */
static struct str cut(struct str *rest, char separator)
{
    const char *at = rest->n ? memchr(rest->s, separator, rest->n) : NULL;
    size_t n = at ? (size_t)(at - rest->s) : rest->n;
    struct str head = {rest->s, n};
    n += at != NULL;
    *rest = (struct str){rest->s + n, rest->n - n};
    return head;
}

static medley_status read_word(struct reader *r, struct counts *c, struct str *previous,
                               medley_error *err)
{
    struct str line;
    uint64_t with = 0;
    if (!next_line(r, &line))
        return fail(err, MEDLEY_EFORMAT, "%s: ends before all words of locale '%s'", r->path,
                    c->locale);
    struct str word = cut(&line, '\t');
    if (word.n == 0 || !utf8_valid(word, NULL))
        return bad_line(r, "word is empty or not UTF-8", err);
    if (!str_to_u64(line, &with) || with < 1 || with > c->documents)
        return bad_line(r, "count is not a number from 1 to the number of documents", err);
    if (previous->n > 0 && compare_text(*previous, word) >= 0)
        return bad_line(r, "words are not in order", err);
    *previous = word;
    uint32_t id = add_word(c, word);
    if (id == MAP_NONE)
        return fail_memory(err, "keywords");
    c->documents_with[id] = with;
    return MEDLEY_OK;
}

static medley_status read_locale(struct reader *r, struct keywords *k, medley_error *err)
{
    uint64_t documents = 0, words = 0;
    struct str line, previous = {NULL, 0};
    if (!next_line(r, &line))
        return fail(err, MEDLEY_EFORMAT, "%s: ends before its last locale", r->path);
    bool named = str_is(cut(&line, ' '), "locale");
    struct str tag = cut(&line, ' ');
    if (!named || !good_tag(tag) || !str_to_u64(cut(&line, ' '), &documents) ||
        !str_to_u64(line, &words) || documents > INT64_MAX)
        return bad_line(r, "expected 'locale <tag> <documents> <words>'", err);
    if (find_counts(k, tag))
        return bad_line(r, "locale comes twice", err);
    struct counts *c = add_counts(k, tag);
    if (!c)
        return fail_memory(err, "keywords");
    c->documents = documents;
    medley_status st = MEDLEY_OK;
    for (uint64_t i = 0; i < words && st == MEDLEY_OK; i++)
        st = read_word(r, c, &previous, err);
    return st;
}

static medley_status read_all(struct reader *r, struct keywords *k, medley_error *err)
{
    struct str line;
    uint64_t locales = 0;
    medley_status st = MEDLEY_OK;
    if (!next_line(r, &line) || !str_is(line, HEADER))
        return fail(err, MEDLEY_EFORMAT, "%s:1: expected '" HEADER "'", r->path);
    if (!next_line(r, &line) || !str_is(cut(&line, ' '), "locales") ||
        !str_to_u64(line, &locales))
        return fail(err, MEDLEY_EFORMAT, "%s:2: expected 'locales <number>'", r->path);
    for (uint64_t i = 0; i < locales && st == MEDLEY_OK; i++)
        st = read_locale(r, k, err);
    if (st == MEDLEY_OK && r->rest.n > 0)
        st = fail(err, MEDLEY_EFORMAT, "%s:%" PRIu64 ": text after the last word", r->path,
                  r->line + 1);
    return st;
}

medley_status keywords_load(const char *path, struct keywords **out, medley_error *err)
{
    char *data = NULL;
    size_t n = 0;
    struct keywords *k = NULL;
    medley_status st = file_read(path, FILE_LIMIT, &data, &n, err);
    if (st != MEDLEY_OK)
        return st;
    struct reader r = {.path = path, .rest = {data, n}};
    k = keywords_new();
    st = k ? read_all(&r, k, err) : fail_memory(err, "keywords");
    mem_free(data);
    if (st == MEDLEY_OK)
        *out = k;
    else
        keywords_free(k);
    return st;
}

/* ---- extraction ----
 *
 * The text is cut into parts at lines, sentences and clauses, long parts into windows. Parts
 * are taken greedily by the weight of their words that no part taken before holds, per word of
 * the part; a word weighs (1 + ln tf) idf. So a second sentence about the same thing has little
 * to add. */

#define WINDOW 12        /* words of the longest part, about */
#define WINDOW_BYTES 240 /* and its bytes, for what has neither spaces nor CJK */

struct part {
    size_t begin, end;   /* bytes of the cleaned text */
    size_t first, words; /* into extraction.sequence */
    bool taken;
};

struct extraction {
    const struct counts *counts;
    struct map *words;  /* of the text */
    uint32_t *sequence; /* [n_sequence] the words of all parts */
    size_t n_sequence, sequence_capacity;
    double *weight; /* [words] tf until weigh() */
    size_t weight_capacity;
    struct part *parts;
    size_t n_parts, parts_capacity;
    bool failed;
};

static void extraction_deinit(struct extraction *e)
{
    map_free(e->words);
    mem_free(e->sequence);
    mem_free(e->weight);
    mem_free(e->parts);
}

static void note_word(void *context, struct str word)
{
    struct extraction *e = context;
    bool added = false;
    uint32_t id = e->failed ? MAP_NONE : map_add(e->words, word, &added);
    if (id == MAP_NONE ||
        !mem_reserve(&e->weight, &e->weight_capacity, (size_t)id + 1, sizeof e->weight[0]) ||
        !mem_reserve(&e->sequence, &e->sequence_capacity, e->n_sequence + 1,
                     sizeof e->sequence[0])) {
        e->failed = true;
        return;
    }
    e->weight[id] = added ? 1 : e->weight[id] + 1;
    e->sequence[e->n_sequence++] = id;
}

static void add_part(struct extraction *e, struct str locale, struct str text, size_t begin,
                     size_t end)
{
    struct part p = {.begin = begin, .end = end, .first = e->n_sequence};
    text_words(locale, (struct str){text.s + begin, end - begin}, note_word, e);
    p.words = e->n_sequence - p.first;
    if (p.words == 0)
        return;
    if (e->failed ||
        !mem_reserve(&e->parts, &e->parts_capacity, e->n_parts + 1, sizeof e->parts[0]))
        e->failed = true;
    else
        e->parts[e->n_parts++] = p;
}

/* Bytes of the punctuation that ends a sentence or clause at i; 0 when there is none. A comma,
 * point or colon counts only before a space: not in "1,000" and "3.5". */
static size_t boundary(struct str text, size_t i)
{
    static const char *const wide[] = {"\xE3\x80\x81", "\xE3\x80\x82", "\xE3\x83\xBB"};
    char c = text.s[i];
    bool ends = i + 1 == text.n || text.s[i + 1] == ' ' || text.s[i + 1] == '\n';
    if (c == '\n' || c == ';' || c == '|' || c == '!' || c == '?')
        return 1;
    if ((c == '.' || c == ',' || c == ':') && ends)
        return 1;
    for (size_t k = 0; k < 3; k++) /* ideographic comma and full stop, katakana middle dot */
        if (text.n - i >= 3 && memcmp(text.s + i, wide[k], 3) == 0)
            return 3;
    return 0;
}

static void count_only(void *context, struct str word)
{
    (void)word;
    ++*(size_t *)context;
}

static size_t count_words_in(struct str locale, struct str text)
{
    size_t n = 0;
    text_words(locale, text, count_only, &n);
    return n;
}

/* Adds [begin, end) as one part, or as windows cut at spaces; a run without spaces (Japanese)
 * is cut between characters. */
static void add_windows(struct extraction *e, struct str locale, struct str text, size_t begin,
                        size_t end)
{
    size_t start = begin, words = 0, chars = 0;
    for (size_t i = begin; i < end; i++) {
        bool space = text.s[i] == ' ';
        bool lead = ((unsigned char)text.s[i] & 0xC0) == 0xC0;
        words += space;
        chars += lead; /* non-ASCII characters: each begins about one word of CJK */
        bool full = (space && words + chars / 4 >= WINDOW) || (lead && chars >= 4 * WINDOW) ||
                    (i - start >= WINDOW_BYTES && ((unsigned char)text.s[i] & 0xC0) != 0x80);
        if (!full)
            continue;
        add_part(e, locale, text, start, i);
        start = i;
        words = chars = 0;
    }
    add_part(e, locale, text, start, end);
}

static void split_parts(struct extraction *e, struct str locale, struct str text)
{
    size_t begin = 0;
    for (size_t i = 0; i < text.n && !e->failed;) {
        size_t n = boundary(text, i);
        i += n ? n : 1;
        if (n || i >= text.n) {
            add_windows(e, locale, text, begin, i < text.n ? i : text.n);
            begin = i;
        }
    }
}

/* Turns term counts into weights. */
static void weigh(struct extraction *e)
{
    for (uint32_t id = 0; id < map_count(e->words); id++)
        e->weight[id] = (1 + log(e->weight[id])) * idf(e->counts, map_key(e->words, id));
}

static double part_score(const struct extraction *e, const struct part *p)
{
    double sum = 0;
    for (size_t i = 0; i < p->words; i++) {
        uint32_t word = e->sequence[p->first + i];
        size_t k = 0; /* a word counts once in a part */
        while (k < i && e->sequence[p->first + k] != word)
            k++;
        sum += k == i ? e->weight[word] : 0;
    }
    return sum / (double)p->words;
}

/* Takes the best part that fits into `room` words; false when none does. The first of equals
 * wins. */
static bool take_best(struct extraction *e, size_t *room)
{
    struct part *best = NULL;
    double best_score = 0;
    for (size_t i = 0; i < e->n_parts; i++) {
        struct part *p = &e->parts[i];
        if (p->taken || p->words > *room)
            continue;
        double score = part_score(e, p);
        if (score > best_score) {
            best = p;
            best_score = score;
        }
    }
    if (!best)
        return false;
    best->taken = true;
    *room -= best->words;
    for (size_t i = 0; i < best->words; i++)
        e->weight[e->sequence[best->first + i]] = 0;
    return true;
}

static void append_part(struct str text, struct strbuf *out, size_t start)
{
    text = str_trim(text);
    if (out->n > start && text.n > 0)
        sb_addc(out, ' ');
    for (size_t i = 0; i < text.n; i++)
        sb_addc(out, text.s[i] == '\n' ? ' ' : text.s[i]);
}

static void extract(struct extraction *e, struct str text, size_t max_words, struct strbuf *out)
{
    size_t start = out->n, room = max_words;
    weigh(e);
    while (room > 0 && take_best(e, &room))
        ;
    for (size_t i = 0; i < e->n_parts; i++)
        if (e->parts[i].taken)
            append_part(
                (struct str){text.s + e->parts[i].begin, e->parts[i].end - e->parts[i].begin},
                out, start);
}

void keywords_extract(const struct keywords *k, struct str locale, struct str text,
                      size_t max_words, struct strbuf *out)
{
    struct strbuf clean;
    struct extraction e = {.counts = find_counts(k, locale)};
    sb_init(&clean);
    text_clean_lines(locale, text, &clean);
    struct str all = sb_str(&clean);
    if (clean.failed) {
        out->failed = true;
    } else if (count_words_in(locale, all) <= max_words) {
        append_part(all, out, out->n);
    } else {
        e.words = map_new(256);
        e.failed = !e.words;
        if (!e.failed)
            split_parts(&e, locale, all);
        if (e.failed)
            out->failed = true;
        else
            extract(&e, all, max_words, out);
    }
    extraction_deinit(&e);
    sb_deinit(&clean);
}
