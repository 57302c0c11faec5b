/* error.c: filling a medley_error, the texts of the status codes and the version. A message too
 * long for its buffer is cut at a character boundary. Proof: tests/test_base.c. */
#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* The Makefile reads it from here for medley.pc and the name of the library. */
#define VERSION "0.1.0"

const char *medley_status_text(medley_status status)
{
    static const char *const texts[] = {
#define STATUS_TEXT(name, text) [MEDLEY_##name] = text,
        MEDLEY_STATUS_LIST(STATUS_TEXT)
#undef STATUS_TEXT
    };
    size_t i = (size_t)status;
    return i < sizeof texts / sizeof texts[0] ? texts[i] : "unknown status";
}

const char *medley_version(void)
{
    return VERSION;
}

/* Drops the bytes of a UTF-8 character that the end of the buffer cut in two. */
static void trim_cut_character(char *text, size_t n)
{
    size_t start = n;
    while (start > 0 && n - start < 3 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t length = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (length > n - (start - 1))
        text[start - 1] = 0;
}

/* Arguments may point into err->message, so the text is made elsewhere first. */
static void set_message(medley_error *err, const char *format, va_list args)
{
    char text[sizeof err->message];
    int n = vsnprintf(text, sizeof text, format, args);
    if (n < 0)
        text[0] = 0;
    if (n >= (int)sizeof text)
        trim_cut_character(text, sizeof text - 1);
    memcpy(err->message, text, strlen(text) + 1);
}

medley_status vfail(medley_error *err, medley_status status, const char *format, va_list args)
{
    if (err) {
        err->code = status;
        set_message(err, format, args);
    }
    return status;
}

medley_status fail(medley_error *err, medley_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfail(err, status, format, args);
    va_end(args);
    return status;
}

medley_status fail_memory(medley_error *err, const char *what)
{
    return fail(err, MEDLEY_ENOMEM, "out of memory for %s", what);
}

medley_status fail_within(medley_error *err, medley_status status, const char *format, ...)
{
    if (!err)
        return status;
    char context[sizeof err->message];
    va_list args;
    va_start(args, format);
    if (vsnprintf(context, sizeof context, format, args) < 0)
        context[0] = 0;
    va_end(args);
    return fail(err, err->code, "%s: %s", context, err->message);
}
