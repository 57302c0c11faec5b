/* piece.c: see piece.h. */
#include "text/piece.h"

#include "base/memory.h"
#include "text/bert_chars.h"

#include <pthread.h>
#include <string.h>
#include <utf8proc.h>

void piece_deinit(struct piece *p)
{
    mem_free(p->s);
    mem_free(p->spans);
    memset(p, 0, sizeof *p);
}

void piece_clear(struct piece *p)
{
    p->n = 0;
}

static bool room(struct piece *p, size_t n)
{
    if (p->n + n <= p->capacity && p->n + n <= p->span_capacity)
        return true;
    if (!mem_reserve(&p->s, &p->capacity, p->n + n, 1) ||
        !mem_reserve(&p->spans, &p->span_capacity, p->n + n, sizeof *p->spans))
        p->failed = true;
    return !p->failed;
}

void piece_add(struct piece *p, const char *s, size_t n, struct span span)
{
    if (!room(p, n))
        return;
    for (size_t i = 0; i < n; i++) {
        p->s[p->n + i] = s[i];
        p->spans[p->n + i] = span;
    }
    p->n += n;
}

void piece_add_codepoint(struct piece *p, uint32_t codepoint, struct span span)
{
    char bytes[4];
    piece_add(p, bytes, utf8_encode(codepoint, bytes), span);
}

void piece_add_range(struct piece *p, const struct piece *from, size_t begin, size_t end)
{
    size_t n = end - begin;
    if (!n || !room(p, n))
        return;
    memcpy(p->s + p->n, from->s + begin, n);
    memcpy(p->spans + p->n, from->spans + begin, n * sizeof *p->spans);
    p->n += n;
}

void piece_add_text(struct piece *p, struct str text, uint32_t offset)
{
    if (!room(p, text.n))
        return;
    for (size_t i = 0; i < text.n;) {
        uint32_t codepoint;
        unsigned char c = (unsigned char)text.s[i];
        size_t used =
            c < 0x80 ? 1 : utf8_decode((struct str){text.s + i, text.n - i}, &codepoint);
        uint32_t at = offset + (uint32_t)i;
        if (used)
            piece_add(p, text.s + i, used, (struct span){at, at + (uint32_t)used});
        else
            piece_add(p, "\xEF\xBF\xBD", 3, (struct span){at, at + 1});
        i += used ? used : 1;
    }
}

/* ---- classes of characters ---- */

static uint8_t classes[0x110000];

static bool in(uint32_t c, uint32_t first, uint32_t last)
{
    return c >= first && c <= last;
}

static unsigned of_category(utf8proc_category_t category)
{
    switch (category) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return CHAR_LETTER | CHAR_WORD;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
        return CHAR_NUMBER | CHAR_WORD;
    case UTF8PROC_CATEGORY_NO:
        return CHAR_NUMBER;
    case UTF8PROC_CATEGORY_MN:
        return CHAR_MARK | CHAR_NONSPACING | CHAR_WORD;
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
        return CHAR_MARK | CHAR_WORD;
    case UTF8PROC_CATEGORY_PC:
        return CHAR_WORD;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return CHAR_SPACE;
    default:
        return 0;
    }
}

static void fill_classes(void)
{
    for (uint32_t c = 0; c < sizeof classes; c++) {
        unsigned set = of_category(utf8proc_category((utf8proc_int32_t)c));
        if (in(c, 9, 13) || c == 0x85)
            set |= CHAR_SPACE;
        if (bert_is_punctuation(c))
            set |= CHAR_PUNCTUATION;
        /* Other_Alphabetic symbols and joiners are of a word, too. */
        if (in(c, 0x24B6, 0x24E9) || in(c, 0x1F130, 0x1F149) || in(c, 0x1F150, 0x1F169) ||
            in(c, 0x1F170, 0x1F189) || in(c, 0x200C, 0x200D))
            set |= CHAR_WORD;
        classes[c] = (uint8_t)set;
    }
}

unsigned char_classes(uint32_t codepoint)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_classes);
    return codepoint < sizeof classes ? classes[codepoint] : 0;
}
