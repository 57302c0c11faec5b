/* bert_words.c: one pass over the text, one table look-up a character; words are built in a
 * buffer on the stack, and most (ASCII, or not changed in length) need no map of offsets. */
#include "text/bert_words.h"

#include <string.h>

struct splitter {
    const struct bert_chars *chars;
    bert_visitor *visit;
    void *context;
    uint32_t max_chars;
    uint32_t n, count;      /* bytes and characters of the word so far */
    uint32_t from, to;      /* its source bytes */
    bool started, too_long; /* started: from is set (the word may still be too long) */
    bool mapped;            /* begin and end are in use */
    char bytes[BERT_WORD_BYTES];
    uint32_t begin[BERT_WORD_BYTES], end[BERT_WORD_BYTES];
};

static void flush(struct splitter *p)
{
    if (!p->started)
        return;
    struct bert_word word = {
        .s = p->bytes,
        .n = p->too_long ? 0 : p->n,
        .from = p->from,
        .to = p->to,
        .too_long = p->too_long,
        .begin = p->mapped ? p->begin : NULL,
        .end = p->mapped ? p->end : NULL,
    };
    p->visit(p->context, &word);
    p->n = p->count = 0;
    p->started = p->too_long = p->mapped = false;
}

/* From here on the word differs from its source in length: writes the offsets so far. So far
 * every character had as many bytes as its source. */
static void start_mapping(struct splitter *p)
{
    p->mapped = true;
    uint32_t i = 0;
    while (i < p->n) {
        uint32_t next = i + 1;
        while (next < p->n && ((unsigned char)p->bytes[next] & 0xC0) == 0x80)
            next++;
        for (uint32_t k = i; k < next; k++) {
            p->begin[k] = p->from + i;
            p->end[k] = p->from + next;
        }
        i = next;
    }
}

/* Appends a normalised character that came from source bytes [from, to). */
static void append(struct splitter *p, uint32_t c, uint32_t from, uint32_t to)
{
    if (!p->started) {
        p->started = true;
        p->from = from;
    }
    p->to = to;
    if (p->count >= p->max_chars)
        p->too_long = true;
    if (p->too_long)
        return;
    char utf8[4];
    uint32_t size = (uint32_t)utf8_encode(c, utf8);
    if (!p->mapped && (size != to - from || p->from + p->n != from))
        start_mapping(p);
    memcpy(p->bytes + p->n, utf8, size);
    if (p->mapped)
        for (uint32_t k = p->n; k < p->n + size; k++) {
            p->begin[k] = from;
            p->end[k] = to;
        }
    p->n += size;
    p->count++;
}

static void isolate(struct splitter *p, uint32_t c, uint32_t from, uint32_t to)
{
    flush(p);
    append(p, c, from, to);
    flush(p);
}

static void take(struct splitter *p, uint32_t c, uint32_t from, uint32_t to)
{
    uint32_t entry = bert_entry(p->chars, c);
    switch (bert_action_of(entry)) {
    case BERT_KEEP:
        append(p, bert_becomes(entry, c), from, to);
        break;
    case BERT_DROP:
        break;
    case BERT_SPACE:
        flush(p);
        break;
    case BERT_ISOLATE:
        isolate(p, bert_becomes(entry, c), from, to);
        break;
    case BERT_SEVERAL: {
        uint32_t parts[BERT_EXPAND_MAX];
        size_t n = bert_expand(p->chars, c, parts);
        for (size_t i = 0; i < n; i++) {
            uint32_t part = bert_becomes(parts[i], c);
            if (bert_action_of(parts[i]) == BERT_KEEP)
                append(p, part, from, to);
            else if (bert_action_of(parts[i]) == BERT_ISOLATE)
                isolate(p, part, from, to);
            else
                flush(p);
        }
    }
    }
}

/* Takes as many plain ASCII word characters as come, the bulk of most text, in a tight loop.
 * Returns the offset past them. */
static uint32_t take_ascii(struct splitter *p, struct str text, uint32_t i)
{
    if (p->mapped || p->too_long || (p->started && p->from + p->n != i))
        return i;
    const uint32_t *entries = p->chars->entries;
    uint32_t n = p->n, start = i;
    uint32_t room = n + p->max_chars - p->count; /* bytes at which the word gets too long */
    while (i < text.n && n < room) {
        unsigned char c = (unsigned char)text.s[i];
        if (c >= 0x80 || bert_action_of(entries[c]) != BERT_KEEP)
            break;
        p->bytes[n++] = (char)bert_becomes(entries[c], c);
        i++;
    }
    if (i > start) {
        if (!p->started) {
            p->started = true;
            p->from = start;
        }
        p->to = i;
        p->n = n;
        p->count += i - start;
    }
    return i;
}

void bert_words(const struct bert_chars *chars, struct str text, unsigned max_chars,
                bert_visitor *visit, void *context)
{
    struct splitter p; /* the buffers need no zeroing */
    p.chars = chars;
    p.visit = visit;
    p.context = context;
    p.max_chars = max_chars < BERT_WORD_CHARS ? max_chars : BERT_WORD_CHARS;
    p.n = p.count = p.from = p.to = 0;
    p.started = p.too_long = p.mapped = false;

    for (uint32_t i = 0; i < text.n;) {
        i = take_ascii(&p, text, i);
        if (i >= text.n)
            break;
        unsigned char first = (unsigned char)text.s[i];
        uint32_t c = first, size = 1;
        if (first >= 0x80) {
            size = (uint32_t)utf8_decode((struct str){text.s + i, text.n - i}, &c);
            if (size == 0) {
                size = 1;
                c = 0xFFFD;
            }
        }
        take(&p, c, i, i + size);
        i += size;
    }
    flush(&p);
}
