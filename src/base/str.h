/* str.h: borrowed text (struct str) and growing text (struct strbuf). All text is UTF-8 bytes.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <locale.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A borrowed slice; not terminated. {NULL, 0} is the empty text. */
struct str {
    const char *s;
    size_t n;
};

#define STR(literal) ((struct str){("" literal), sizeof(literal) - 1})
struct str str_of(const char *z); /* NULL gives the empty text */
bool str_eq(struct str a, struct str b);
bool str_is(struct str a, const char *z);
struct str str_trim(struct str a); /* ASCII white space off both ends */

/* Strict numbers: the whole text must be one finite number in range; no spaces, no suffix. */
bool str_to_i64(struct str a, int64_t *out);
bool str_to_u64(struct str a, uint64_t *out);
bool str_to_double(struct str a, double *out);

/* A growing buffer. An allocation failure is remembered in `failed` (the buffer then ignores
 * further appends), so that a caller checks once, at the end. `s` is always terminated. */
struct strbuf {
    char *s;
    size_t n;        /* bytes in use, without the terminator */
    size_t capacity; /* bytes owned */
    bool failed;     /* out of memory at some point */
};

void sb_init(struct strbuf *b);
void sb_deinit(struct strbuf *b);
void sb_clear(struct strbuf *b); /* empties, keeps the memory and `failed` */
void sb_add(struct strbuf *b, const char *s, size_t n);
void sb_addz(struct strbuf *b, const char *z);
void sb_addc(struct strbuf *b, char c);
void sb_addf(struct strbuf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* At least n bytes that the caller may write behind the text, and the terminator; sb_took says
 * how many were. NULL when out of memory. */
char *sb_room(struct strbuf *b, size_t n);
void sb_took(struct strbuf *b, size_t n);
void sb_addvf(struct strbuf *b, const char *format, va_list args);
/* Numbers written by this thread with printf look as in C from here on, whatever locale the
 * program chose. The sb_ functions see to it themselves. Give what enter returned back to
 * leave. */
locale_t c_locale_enter(void);
void c_locale_leave(locale_t before);
struct str sb_str(const struct strbuf *b); /* borrowed until the next append */
char *sb_steal(
    struct strbuf *b); /* the text; the caller frees with mem_free; NULL when failed */

/* UTF-8. Both are strict: no overlong forms, no surrogates, nothing past U+10FFFF. */
bool utf8_valid(struct str text, size_t *bad_offset); /* bad_offset may be NULL */
size_t utf8_decode(struct str text,
                   uint32_t *codepoint);             /* bytes used; 0 at the end or on error */
size_t utf8_encode(uint32_t codepoint, char out[4]); /* bytes written */

#endif
