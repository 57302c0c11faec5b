/* precompiled.c: the character map that SentencePiece compiles into its models: a double-array
 * trie (darts-clone) from UTF-8 to places in a blob of terminated replacements. As the
 * reference does, the shortest key that is a prefix counts, and a cluster of up to five bytes
 * is looked up whole first. */
#include "text/normalizer.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>
#include <utf8proc.h>

enum { CLUSTER_BYTES = 6 }; /* from here on a cluster is taken character by character */

struct charsmap {
    uint32_t *units; /* [n_units] */
    size_t n_units;
    char *texts; /* [n_texts] the last byte is 0 */
    size_t n_texts;
};

medley_status charsmap_new(struct str blob, const char *name, struct charsmap **out,
                           medley_error *err)
{
    uint32_t trie = 0;
    if (blob.n >= 4)
        memcpy(&trie, blob.s, 4); /* little-endian, as the machines we build for */
    if (blob.n < 4 || trie % 4 || trie < 4 || trie > blob.n - 4)
        return fail(err, MEDLEY_EFORMAT, "%s: the precompiled character map is damaged", name);
    struct charsmap *m = mem_zalloc(1, sizeof *m);
    if (!m)
        return fail_memory(err, "a character map");
    m->n_units = trie / 4;
    m->n_texts = blob.n - 4 - trie + 1;
    m->units = mem_alloc(m->n_units, sizeof *m->units);
    m->texts = mem_zalloc(m->n_texts, 1);
    if (!m->units || !m->texts) {
        charsmap_free(m);
        return fail_memory(err, "a character map");
    }
    memcpy(m->units, blob.s + 4, trie);
    memcpy(m->texts, blob.s + 4 + trie, m->n_texts - 1);
    if (!utf8_valid((struct str){m->texts, m->n_texts - 1}, NULL)) {
        charsmap_free(m);
        return fail(err, MEDLEY_EFORMAT,
                    "%s: the precompiled character map holds text that is not UTF-8", name);
    }
    *out = m;
    return MEDLEY_OK;
}

void charsmap_free(struct charsmap *m)
{
    if (!m)
        return;
    mem_free(m->units);
    mem_free(m->texts);
    mem_free(m);
}

size_t charsmap_longest(const struct charsmap *m)
{
    size_t longest = 1;
    for (size_t i = 0; i < m->n_texts;) {
        size_t n = strlen(m->texts + i);
        longest = n > longest ? n : longest;
        i += n + 1;
    }
    return longest;
}

static size_t offset_of(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & (1u << 9)) >> 6);
}

/* The replacement of the shortest key that begins `s`; NULL when there is none. */
static const char *replacement(const struct charsmap *m, const char *s, size_t n)
{
    size_t at = offset_of(m->units[0]);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        at ^= c;
        if (!c || at >= m->n_units)
            return NULL;
        uint32_t unit = m->units[at];
        if ((unit & (1u << 31 | 0xFFu)) != c)
            return NULL;
        at ^= offset_of(unit);
        if (at >= m->n_units)
            return NULL;
        if (unit >> 8 & 1) {
            uint32_t text = m->units[at] & 0x7FFFFFFFu;
            /* Inside a character it would not be UTF-8. */
            return text < m->n_texts && ((unsigned char)m->texts[text] & 0xC0) != 0x80
                       ? m->texts + text
                       : NULL;
        }
    }
    return NULL;
}

/* What stands for in->s[begin, end): as in the reference, the i-th character comes from the
 * i-th one, those left over from the last one. */
static void add_replacement(struct piece *out, const char *text, const struct piece *in,
                            size_t begin, size_t end)
{
    for (size_t i = 0; text[i];) {
        size_t next = i;
        char_at(text, &next);
        struct span span = in->spans[begin];
        size_t after = begin;
        char_at(in->s, &after);
        begin = after < end ? after : begin;
        piece_add(out, text + i, next - i, span);
        i = next;
    }
}

/* Where the grapheme cluster that begins at byte i ends. */
static size_t cluster_end(const struct piece *p, size_t i)
{
    utf8proc_int32_t state = 0;
    uint32_t before = char_at(p->s, &i);
    while (i < p->n) {
        size_t next = i;
        uint32_t c = char_at(p->s, &next);
        if (before < 0x80 && c < 0x80 && !(before == '\r' && c == '\n'))
            break;
        if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)before, (utf8proc_int32_t)c,
                                             &state))
            break;
        before = c;
        i = next;
    }
    return i;
}

void charsmap_apply(const struct charsmap *m, const struct piece *in, struct piece *out)
{
    for (size_t i = 0; i < in->n;) {
        size_t end = cluster_end(in, i);
        const char *text = end - i < CLUSTER_BYTES ? replacement(m, in->s + i, end - i) : NULL;
        if (text) {
            add_replacement(out, text, in, i, end);
            i = end;
            continue;
        }
        while (i < end) {
            size_t next = i;
            char_at(in->s, &next);
            text = replacement(m, in->s + i, next - i);
            if (text)
                add_replacement(out, text, in, i, next);
            else
                piece_add_range(out, in, i, next);
            i = next;
        }
    }
}
