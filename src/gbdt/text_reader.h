/* text_reader.h: model files of lines KEY=VALUE: lines, words and strict numbers, with errors
 * that name file, line and key. */
#ifndef GBDT_TEXT_READER_H
#define GBDT_TEXT_READER_H

#include "base/str.h"
#include "medley/status.h"

struct reader {
    const char *path;
    struct str rest;   /* what has not been read */
    size_t line;       /* of `text`, from 1 */
    struct str text;   /* the current line, or the rest of its value */
    medley_error *err; /* not NULL: positions are put before messages */
};

/* MEDLEY_EFORMAT with "path:line: " before the message. */
medley_status reader_bad(struct reader *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Puts the position before a message that a callee wrote. */
medley_status reader_within(struct reader *r);
/* MEDLEY_EUNSUPPORTED with "path:line: not supported: " before it. */
medley_status reader_unsupported(struct reader *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

medley_status reader_line(struct reader *r); /* the next one into text; refuses the end */
/* The next line must be KEY=...; leaves the value in text. */
medley_status reader_key(struct reader *r, const char *key);

/* The next number of the value in text; words are parted by one space. */
medley_status reader_integer(struct reader *r, const char *key, int64_t min, int64_t max,
                             int64_t *out);
medley_status reader_double(struct reader *r, const char *key, double *out);
/* The same, and no larger than a float can be. */
medley_status reader_float(struct reader *r, const char *key, double *out);
medley_status reader_used_up(struct reader *r, const char *key);
/* A line KEY=INTEGER. */
medley_status reader_count(struct reader *r, const char *key, int64_t min, int64_t max,
                           int64_t *out);

bool str_starts(struct str s, const char *prefix);
/* For "%.*s" of outside text: at most 40 bytes. */
int shown(struct str s);

#endif
