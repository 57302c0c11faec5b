/* resp.c: reading and writing Redis's protocol; see resp.h. */
#include "cache/resp.h"

#include <string.h>

static size_t bad(struct resp *out)
{
    *out = (struct resp){.kind = RESP_BAD};
    return 0;
}

static size_t more(struct resp *out)
{
    *out = (struct resp){.kind = RESP_MORE};
    return 0;
}

/* $-1 and *-1 are nil. */
static size_t read_text(struct str from, size_t head, int64_t length, struct resp *out)
{
    if (length == -1) {
        *out = (struct resp){.kind = RESP_NIL};
        return head;
    }
    if (length < 0 || length > RESP_MAX_BULK)
        return bad(out);
    size_t n = (size_t)length;
    if (from.n < head + n + 2)
        return more(out);
    if (from.s[head + n] != '\r' || from.s[head + n + 1] != '\n')
        return bad(out);
    *out = (struct resp){.kind = RESP_TEXT, .text = {from.s + head, n}};
    return head + n + 2;
}

static size_t read_array(size_t head, int64_t length, struct resp *out)
{
    if (length < -1 || length > RESP_MAX_ARRAY)
        return bad(out);
    *out = length == -1 ? (struct resp){.kind = RESP_NIL}
                        : (struct resp){.kind = RESP_ARRAY, .number = length};
    return head;
}

size_t resp_read(struct str from, struct resp *out)
{
    size_t limit = from.n < RESP_MAX_LINE + 3 ? from.n : RESP_MAX_LINE + 3;
    const char *end = limit ? memchr(from.s, '\n', limit) : NULL;
    if (!end)
        return from.n > RESP_MAX_LINE + 2 ? bad(out) : more(out);
    size_t head = (size_t)(end - from.s) + 1;
    if (head < 3 || from.s[head - 2] != '\r')
        return bad(out);
    struct str line = {from.s + 1, head - 3};
    int64_t number = 0;
    if (from.s[0] == '+' || from.s[0] == '-') {
        *out = (struct resp){.kind = from.s[0] == '+' ? RESP_LINE : RESP_ERROR, .text = line};
        return head;
    }
    if (!str_to_i64(line, &number))
        return bad(out);
    switch (from.s[0]) {
    case ':':
        *out = (struct resp){.kind = RESP_NUMBER, .number = number};
        return head;
    case '$':
        return read_text(from, head, number, out);
    case '*':
        return read_array(head, number, out);
    default:
        return bad(out);
    }
}

void resp_command(struct strbuf *out, size_t arguments)
{
    sb_addf(out, "*%zu\r\n", arguments);
}

void resp_argument(struct strbuf *out, struct str argument)
{
    sb_addf(out, "$%zu\r\n", argument.n);
    sb_add(out, argument.s, argument.n);
    sb_add(out, "\r\n", 2);
}
