/* unicode_forms.c: NFC, NFD, NFKC and NFKD (Unicode Standard Annex 15), segment by segment so
 * that each character keeps its source: a segment is a starter with the marks that follow it,
 * and further starters that compose with it. */
#include "text/normalizer.h"

#include <string.h>
#include <utf8proc.h>

enum {
    SEGMENT = 512
}; /* code points; a longer run of marks is cut, which loses only reordering */

struct segment {
    utf8proc_int32_t points[SEGMENT + 32]; /* decomposed */
    utf8proc_ssize_t n;
    struct span span;
};

static bool is_starter(utf8proc_int32_t c)
{
    return utf8proc_get_property(c)->combining_class == 0;
}

/* Canonical order: marks by class, stable. */
static void reorder(struct segment *g)
{
    for (utf8proc_ssize_t i = 1; i < g->n; i++) {
        utf8proc_int32_t c = g->points[i];
        utf8proc_propval_t class = utf8proc_get_property(c)->combining_class;
        utf8proc_ssize_t j = i;
        while (class && j > 0 &&
               utf8proc_get_property(g->points[j - 1])->combining_class > class) {
            g->points[j] = g->points[j - 1];
            j--;
        }
        g->points[j] = c;
    }
}

static void flush(struct segment *g, bool compose, struct piece *out)
{
    reorder(g);
    if (compose && g->n > 1)
        g->n = utf8proc_normalize_utf32(g->points, g->n, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    for (utf8proc_ssize_t i = 0; i < g->n; i++)
        piece_add_codepoint(out, (uint32_t)g->points[i], g->span);
    g->n = 0;
}

/* Does starter c join the segment, because it composes with the last of it? */
static bool composes(const struct segment *g, utf8proc_int32_t c)
{
    utf8proc_int32_t all[SEGMENT + 33];
    memcpy(all, g->points, (size_t)g->n * sizeof *all);
    utf8proc_ssize_t alone =
        utf8proc_normalize_utf32(all, g->n, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    memcpy(all, g->points, (size_t)g->n * sizeof *all);
    all[g->n] = c;
    return utf8proc_normalize_utf32(all, g->n + 1, UTF8PROC_COMPOSE | UTF8PROC_STABLE) == alone;
}

/* Characters whose decomposition is younger than the reference's tables (Unicode 9). */
static bool too_young(uint32_t c)
{
    return c == 0x32FF || (c >= 0xA7F2 && c <= 0xA7F4) || c == 0xAB69 ||
           (c >= 0x10781 && c <= 0x107BA) || c == 0x11938 || c == 0x1F16C ||
           (c >= 0x1FBF0 && c <= 0x1FBF9);
}

void unicode_form_apply(const struct piece *in, bool compatible, bool compose,
                        struct piece *out)
{
    struct segment g = {.n = 0};
    utf8proc_option_t how = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE;
    if (compatible)
        how |= UTF8PROC_COMPAT;
    for (size_t i = 0; i < in->n;) {
        size_t begin = i;
        uint32_t c = char_at(in->s, &i);
        bool plain = c < 0x80 && (g.n == 0 || (g.n == 1 && g.points[0] < 0x80));
        if (plain && (i == in->n || (unsigned char)in->s[i] < 0x80)) { /* ASCII among ASCII */
            flush(&g, false, out);
            piece_add_range(out, in, begin, i);
            continue;
        }
        utf8proc_int32_t parts[32];
        int boundary = 0;
        utf8proc_ssize_t n =
            utf8proc_decompose_char((utf8proc_int32_t)c, parts, 32, how, &boundary);
        if (n < 0 || n > 32 || too_young(c)) {
            parts[0] = (utf8proc_int32_t)c;
            n = 1;
        }
        bool fresh =
            n == 0 || (is_starter(parts[0]) && !(compose && g.n && composes(&g, parts[0])));
        if (g.n && (fresh || g.n + n > SEGMENT))
            flush(&g, compose, out);
        if (!g.n)
            g.span.from = in->spans[begin].from;
        g.span.to = in->spans[begin].to;
        memcpy(g.points + g.n, parts, (size_t)n * sizeof *parts);
        g.n += n;
    }
    flush(&g, compose, out);
}
