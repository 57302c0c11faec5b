/* fuzz_clean.c: cleaning any bytes gives valid UTF-8 of bounded size; splitting it gives words.
 * The first byte chooses the locale. */
#include "text/clean.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void visit(void *context, struct str word)
{
    size_t *total = context;
    if (word.n == 0 || !utf8_valid(word, NULL))
        abort();
    *total += word.n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const locales[] = {"us", "es", "jp", ""};
    struct strbuf out;
    size_t total = 0;
    if (size == 0)
        return 0;
    struct str locale = str_of(locales[data[0] & 3]);
    sb_init(&out);
    ((data[0] & 4) ? text_clean_lines
                   : text_clean)(locale, (struct str){(const char *)data + 1, size - 1}, &out);
    /* the longest expansions: one bad byte to three, one character to 18 by NFKC */
    if (out.failed || !utf8_valid(sb_str(&out), NULL) || out.n > 36 * size)
        abort();
    text_words(locale, sb_str(&out), visit, &total);
    text_words(locale, (struct str){(const char *)data, size}, visit, &total);
    sb_deinit(&out);
    return 0;
}
