/* csv.c: RFC 4180 rows, and tab-separated ones, as a state machine over blocks of input, so
 * that a row may span blocks and a field may be longer than one. Tested by test_csv.c,
 * fuzz_csv.c. */
#include "data/table_format.h"

#include <string.h>

enum state {
    FIELD_START,
    PLAIN,     /* in an unquoted field */
    PLAIN_CR,  /* after a CR in an unquoted field: a row end if LF follows, else text */
    QUOTED,    /* in a quoted field */
    QUOTE_END, /* after a quote in a quoted field: doubled, or the end of the field */
    QUOTE_CR,  /* after a CR that follows a closing quote */
    ROW_END,
};

struct row {
    enum state state;
    size_t field_begin;  /* text offset */
    bool quoted;         /* the current field is quoted */
    uint64_t quote_line; /* where it opened */
};

static medley_status end_field(struct table *t, struct row *r, medley_error *err)
{
    medley_status st = table_add_span(t, r->field_begin, err);
    r->field_begin = t->text.n;
    r->quoted = false;
    r->state = FIELD_START;
    return st;
}

/* Ends the row after a line break, or starts afresh when the line was blank. */
static medley_status end_row(struct table *t, struct row *r, medley_error *err)
{
    t->line++;
    if (t->n_fields == 0 && t->text.n == 0 && !r->quoted) {
        t->row_line = t->line;
        r->state = FIELD_START;
        return MEDLEY_OK;
    }
    medley_status st = end_field(t, r, err);
    r->state = ROW_END;
    return st;
}

static medley_status step_plain(struct table *t, struct row *r, medley_error *err)
{
    const char *from = t->block + t->at, *p = from, *end = t->block + t->end;
    while (p < end && *p != t->format->delimiter && *p != '\n' && *p != '\r')
        p++;
    t->at += (size_t)(p - from);
    r->state = PLAIN;
    if (p > from) {
        medley_status st = table_add_text(t, from, (size_t)(p - from), err);
        if (st != MEDLEY_OK || p == end)
            return st;
    }
    t->at++;
    if (*p == '\n')
        return end_row(t, r, err);
    if (*p == t->format->delimiter)
        return end_field(t, r, err);
    r->state = PLAIN_CR;
    return MEDLEY_OK;
}

static medley_status step_quoted(struct table *t, struct row *r, medley_error *err)
{
    const char *from = t->block + t->at, *p = from, *end = t->block + t->end;
    while (p < end && *p != '"')
        t->line += *p++ == '\n';
    t->at += (size_t)(p - from);
    if (p < end) {
        t->at++;
        r->state = QUOTE_END;
    }
    return table_add_text(t, from, (size_t)(p - from), err);
}

static medley_status step_quote_end(struct table *t, struct row *r, medley_error *err)
{
    char c = t->block[t->at++];
    if (c == '"') {
        r->state = QUOTED;
        return table_add_text(t, "\"", 1, err);
    }
    if (c == t->format->delimiter)
        return end_field(t, r, err);
    if (c == '\n')
        return end_row(t, r, err);
    if (c == '\r') {
        r->state = QUOTE_CR;
        return MEDLEY_OK;
    }
    return table_fail(t, err, "text after the closing quote of field %zu", t->n_fields + 1);
}

static medley_status step(struct table *t, struct row *r, medley_error *err)
{
    char c = t->block[t->at];
    switch (r->state) {
    case FIELD_START:
        if (c != '"')
            return step_plain(t, r, err);
        t->at++;
        r->quoted = true;
        r->quote_line = t->line;
        r->state = QUOTED;
        return MEDLEY_OK;
    case PLAIN:
        return step_plain(t, r, err);
    case PLAIN_CR:
        if (c == '\n') {
            t->at++;
            return end_row(t, r, err);
        }
        r->state = PLAIN; /* a lone CR is text */
        return table_add_text(t, "\r", 1, err);
    case QUOTED:
        return step_quoted(t, r, err);
    case QUOTE_END:
        return step_quote_end(t, r, err);
    case QUOTE_CR:
        if (c != '\n')
            return table_fail(t, err, "text after the closing quote of field %zu",
                              t->n_fields + 1);
        t->at++;
        return end_row(t, r, err);
    case ROW_END:
        break;
    }
    return MEDLEY_OK;
}

/* The last row may lack its line break. */
static medley_status end_of_file(struct table *t, struct row *r, bool *more, medley_error *err)
{
    if (r->state == QUOTED)
        return table_fail(t, err,
                          "the quote of field %zu, opened in line %llu, is never closed",
                          t->n_fields + 1, (unsigned long long)r->quote_line);
    *more = t->n_fields > 0 || t->text.n > 0 || r->quoted;
    return *more ? end_field(t, r, err) : MEDLEY_OK;
}

medley_status csv_next(struct table *t, bool *more, medley_error *err)
{
    struct row r = {FIELD_START, 0, false, 0};
    sb_clear(&t->text);
    t->n_fields = 0;
    t->row_line = t->line;
    while (r.state != ROW_END) {
        medley_status st = table_fill(t, err);
        if (st == MEDLEY_OK && t->at == t->end)
            return end_of_file(t, &r, more, err);
        if (st == MEDLEY_OK)
            st = step(t, &r, err);
        if (st != MEDLEY_OK)
            return st;
    }
    *more = true;
    return MEDLEY_OK;
}
