/* bert_chars.c: builds the table of bert_chars.h from the pinned sets of bert_ranges.h, and
 * case and decomposition from utf8proc (with the few pairs that its Unicode version lacks).
 * tests/test_tokenizer.c compares every code point with the reference. */
#include "text/bert_chars.h"

#include "base/error.h"
#include "base/memory.h"
#include "text/bert_ranges.h"

#include <string.h>
#include <utf8proc.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* c must not lie past the last range, so that the search ends on a range: use IN. */
static bool in_ranges(const struct range *r, size_t n, uint32_t c)
{
    size_t low = 0;
    while (n > 0) {
        size_t half = n / 2;
        if (r[low + half].last < c) {
            low += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return r[low].first <= c;
}
#define IN(set, c)                                        \
    ((c) <= set##_ranges[COUNT(set##_ranges) - 1].last && \
     in_ranges(set##_ranges, COUNT(set##_ranges), (c)))

/* Case pairs newer than Unicode 15, which the reference's standard library knows. */
static const struct {
    uint32_t first, last;
    int32_t delta;
} newer_lower[] = {
    {0x1C89, 0x1C89, 1},      {0xA7CB, 0xA7CB, 0x264 - 0xA7CB},
    {0xA7CC, 0xA7CC, 1},      {0xA7CE, 0xA7CE, 1},
    {0xA7D2, 0xA7D2, 1},      {0xA7D4, 0xA7D4, 1},
    {0xA7DA, 0xA7DA, 1},      {0xA7DC, 0xA7DC, 0x19B - 0xA7DC},
    {0x10D50, 0x10D65, 0x20}, {0x16EA0, 0x16EB8, 27},
};

static uint32_t lower(uint32_t c)
{
    for (size_t i = 0; i < COUNT(newer_lower); i++)
        if (newer_lower[i].first <= c && c <= newer_lower[i].last)
            return (uint32_t)((int32_t)c + newer_lower[i].delta);
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
}

/* The normalised code points of c, which is neither dropped nor a space. Marks are reordered by
 * nobody: canonical order only differs among marks, and those are removed. */
static size_t normalise(struct bert_options o, uint32_t c, uint32_t out[BERT_EXPAND_MAX])
{
    utf8proc_int32_t parts[BERT_EXPAND_MAX] = {(utf8proc_int32_t)c};
    utf8proc_ssize_t n = 1;
    /* U+11938 got its decomposition after the reference's tables were made. */
    if (o.strip_accents && c != 0x11938) {
        int boundary = 0;
        n = utf8proc_decompose_char((utf8proc_int32_t)c, parts, BERT_EXPAND_MAX,
                                    UTF8PROC_DECOMPOSE, &boundary);
        if (n < 1 || n > BERT_EXPAND_MAX) {
            parts[0] = (utf8proc_int32_t)c;
            n = 1;
        }
    }
    size_t kept = 0;
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        uint32_t part = (uint32_t)parts[i];
        if (o.strip_accents && IN(mark, part))
            continue;
        if (o.lowercase && part == 0x130 && kept + 2 <= BERT_EXPAND_MAX) {
            out[kept++] = 'i'; /* the one lower-case form of two code points */
            out[kept++] = 0x307;
        } else if (kept < BERT_EXPAND_MAX) {
            out[kept++] = o.lowercase ? lower(part) : part;
        }
    }
    return kept;
}

static uint32_t classify(uint32_t c, uint32_t source)
{
    enum bert_action action = IN(white, c)         ? BERT_SPACE
                              : IN(punctuation, c) ? BERT_ISOLATE
                                                   : BERT_KEEP;
    return (c ^ source) << 8 | (uint32_t)action;
}

bool bert_is_punctuation(uint32_t codepoint)
{
    return IN(punctuation, codepoint);
}

size_t bert_expand(const struct bert_chars *c, uint32_t codepoint,
                   uint32_t out[BERT_EXPAND_MAX])
{
    size_t n = normalise(c->options, codepoint, out);
    for (size_t i = 0; i < n; i++)
        out[i] = classify(out[i], codepoint);
    return n;
}

static uint32_t entry_for(struct bert_options o, uint32_t c)
{
    if (o.clean_text && IN(drop, c))
        return BERT_DROP;
    if (o.clean_text && IN(space, c))
        return BERT_SPACE;
    uint32_t parts[BERT_EXPAND_MAX];
    size_t n = normalise(o, c, parts);
    if (n == 0)
        return BERT_DROP;
    if (n > 1)
        return BERT_SEVERAL;
    if (o.cjk_chars && IN(cjk, c))
        return (parts[0] ^ c) << 8 | BERT_ISOLATE;
    return classify(parts[0], c);
}

static bool add_page(struct bert_chars *c, uint32_t page, const uint32_t entries[256])
{
    for (size_t p = 0; p < c->pages; p++)
        if (page > 0 && memcmp(c->entries + p * 256, entries, 1024) == 0) {
            c->page_of[page] = (uint16_t)p;
            return true;
        }
    if (!mem_reserve(&c->entries, &c->capacity, (c->pages + 1) * 256, sizeof c->entries[0]))
        return false;
    memcpy(c->entries + c->pages * 256, entries, 1024);
    c->page_of[page] = (uint16_t)c->pages++;
    return true;
}

/* Nothing is assigned in planes 3 to 13, and planes 15 and 16 are private use throughout but
 * for their last page: such a page equals its left neighbour. Saves four fifths of the building
 * time. */
static bool same_as_before(uint32_t page)
{
    uint32_t plane = page >> 8, low = page & 255;
    if (plane >= 3 && plane <= 13)
        return page > 0x300;
    return (plane == 14 && low > 2) || (plane >= 15 && low > 0 && low < 255);
}

medley_status bert_chars_init(struct bert_chars *c, struct bert_options options,
                              medley_error *err)
{
    memset(c, 0, sizeof *c);
    c->options = options;
    for (uint32_t page = 0; page < 0x1100; page++) {
        if (same_as_before(page)) {
            c->page_of[page] = c->page_of[page - 1];
            continue;
        }
        uint32_t entries[256];
        for (uint32_t i = 0; i < 256; i++)
            entries[i] = entry_for(options, page << 8 | i);
        if (!add_page(c, page, entries)) {
            bert_chars_deinit(c);
            return fail_memory(err, "character table");
        }
    }
    return MEDLEY_OK;
}

void bert_chars_deinit(struct bert_chars *c)
{
    mem_free(c->entries);
    memset(c, 0, sizeof *c);
}
