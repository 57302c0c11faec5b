/* token_text.c: what a token of a vocabulary stands for, for people to read. Tested by
 * test_tokenizer.c. */
#include "text/byte_chars.h"
#include "text/tokenizer.h"

#include <string.h>
#include <utf8proc.h>

#define WORD_MARK "\xe2\x96\x81" /* U+2581, before a word in SentencePiece's vocabularies */
#define BYTE_MARK "\xc4\xa0"     /* U+0120, a space in byte-level vocabularies */

static bool starts(struct str s, const char *with)
{
    size_t n = strlen(with);
    return s.n >= n && memcmp(s.s, with, n) == 0;
}

enum token_marks tokenizer_marks(const struct tokenizer *t)
{
    size_t n = tokenizer_size(t);
    if (tokenizer_id(t, STR("##s")) >= 0 || tokenizer_id(t, STR("##e")) >= 0)
        return MARKS_CONTINUATION;
    for (size_t i = 0; i < n; i++) {
        struct str token = tokenizer_token(t, (int32_t)i);
        /* The marks alone may be there as characters of the texts. */
        if (starts(token, WORD_MARK) && token.n > strlen(WORD_MARK))
            return MARKS_WORD;
        if (starts(token, BYTE_MARK) && token.n > strlen(BYTE_MARK))
            return MARKS_BYTES;
        if (starts(token, "##") && token.n > 2)
            return MARKS_CONTINUATION;
    }
    return MARKS_NONE;
}

static const char *mark_of(enum token_marks marks)
{
    static const char *const texts[] = {"", WORD_MARK, "##", BYTE_MARK};
    return texts[marks];
}

bool token_begins_word(enum token_marks marks, struct str token)
{
    return starts(token, mark_of(marks)) != (marks == MARKS_CONTINUATION);
}

/* The byte that a character of a byte-level vocabulary stands for; -1: none. */
static int byte_of(int32_t character)
{
    for (unsigned b = 0; b < 256; b++)
        if (byte_to_char((unsigned char)b) == (uint32_t)character)
            return (int)b;
    return -1;
}

static void spell_bytes(struct str token, struct strbuf *out)
{
    for (size_t at = 0; at < token.n;) {
        utf8proc_int32_t character;
        utf8proc_ssize_t length =
            utf8proc_iterate((const utf8proc_uint8_t *)token.s + at,
                             (utf8proc_ssize_t)(token.n - at), &character);
        int byte = length > 0 ? byte_of(character) : -1;
        if (byte < 0) { /* a special token is written as it is */
            sb_add(out, token.s + at, length > 0 ? (size_t)length : 1);
            at += length > 0 ? (size_t)length : 1;
            continue;
        }
        sb_addc(out, (char)byte);
        at += (size_t)length;
    }
}

void token_spell(enum token_marks marks, struct str token, struct strbuf *out)
{
    const char *mark = mark_of(marks);
    size_t n = strlen(mark);
    if (starts(token, mark) && token.n > n)
        token = (struct str){token.s + n, token.n - n};
    if (marks == MARKS_BYTES)
        spell_bytes(token, out);
    else
        sb_add(out, token.s, token.n);
}
