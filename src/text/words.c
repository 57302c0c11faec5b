/* words.c: text_words of clean.h: lower-case words, CJK as overlapping bigrams. */
#include "text/clean.h"

#include <string.h>
#include <utf8proc.h>

#define WORD_BYTES 128 /* longer runs are visited in parts */

enum kind { OTHER, LETTER, CJK };

/* Scripts that write no spaces between words. Hangul does. */
static bool is_cjk(uint32_t c)
{
    if (c < 0x3005)
        return false;
    return c == 0x3005 || c == 0x3007 || (c >= 0x3041 && c <= 0x30FF && c != 0x30FB) ||
           (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFF66 && c <= 0xFF9F) ||
           (c >= 0x20000 && c <= 0x3FFFF);
}

static enum kind kind_of(uint32_t c)
{
    if (is_cjk(c))
        return CJK;
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    /* marks belong to the letter they stand on; Lu Ll Lt Lm Lo, Mn Mc Me, Nd Nl No */
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NO ? LETTER : OTHER;
}

struct splitter {
    word_visitor *visit;
    void *context;
    char word[WORD_BYTES]; /* a run of letters, or the last one or two CJK characters */
    size_t n;
    enum kind kind; /* of the run; OTHER: none */
    size_t last;    /* CJK: bytes of the last character in word */
    size_t run;     /* CJK: characters so far */
};

static void visit(struct splitter *p)
{
    p->visit(p->context, (struct str){p->word, p->n});
}

static void end_run(struct splitter *p)
{
    if ((p->kind == LETTER && p->n > 0) || (p->kind == CJK && p->run == 1))
        visit(p);
    p->kind = OTHER;
    p->n = p->run = 0;
}

static void add_letter(struct splitter *p, const char *utf8, size_t n)
{
    if (p->kind != LETTER)
        end_run(p);
    if (p->n + n > WORD_BYTES) {
        visit(p);
        p->n = 0;
    }
    p->kind = LETTER;
    memcpy(p->word + p->n, utf8, n);
    p->n += n;
}

static void add_cjk(struct splitter *p, const char *utf8, size_t n)
{
    if (p->kind != CJK)
        end_run(p);
    if (p->run >= 2) { /* keep the last character only */
        memmove(p->word, p->word + p->n - p->last, p->last);
        p->n = p->last;
    }
    p->kind = CJK;
    memcpy(p->word + p->n, utf8, n);
    p->n += n;
    p->last = n;
    if (++p->run >= 2)
        visit(p);
}

static void add(struct splitter *p, uint32_t c)
{
    char utf8[4];
    enum kind kind = kind_of(c);
    size_t n = utf8_encode((uint32_t)utf8proc_tolower((utf8proc_int32_t)c), utf8);
    if (kind == LETTER)
        add_letter(p, utf8, n);
    else if (kind == CJK)
        add_cjk(p, utf8, n);
    else
        end_run(p);
}

void text_words(struct str locale, struct str text, word_visitor *visitor, void *context)
{
    struct splitter p = {.visit = visitor, .context = context};
    (void)locale; /* the scripts themselves tell how to split, so far in every locale */
    for (size_t i = 0; i < text.n;) {
        unsigned char first = (unsigned char)text.s[i];
        if (first < 0x80) {
            char c = (char)(first >= 'A' && first <= 'Z' ? first + 32 : first);
            if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
                add_letter(&p, &c, 1);
            else
                end_run(&p);
            i++;
            continue;
        }
        uint32_t c = 0xFFFD;
        size_t n = utf8_decode((struct str){text.s + i, text.n - i}, &c);
        add(&p, n ? c : 0xFFFD);
        i += n ? n : 1;
    }
    end_run(&p);
}
