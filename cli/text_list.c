/* text_list.c: see text_list.h. */
#include "cli/text_list.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

static medley_status add(struct text_list *l, const char *s, size_t n, medley_error *err)
{
    if (!mem_reserve(&l->items, &l->capacity, l->n + 1, sizeof *l->items))
        return fail_memory(err, "texts");
    l->items[l->n++] = (struct str){s, n};
    return MEDLEY_OK;
}

medley_status text_list_lines(struct text_list *l, const char *data, size_t n,
                              medley_error *err)
{
    medley_status st = MEDLEY_OK;
    for (size_t at = 0; at < n && !st;) {
        const char *stop = memchr(data + at, '\n', n - at);
        size_t end = stop ? (size_t)(stop - data) : n, length = end - at;
        if (length && data[end - 1] == '\r')
            length--;
        st = add(l, data + at, length, err);
        at = end + 1;
    }
    return st;
}

void text_list_deinit(struct text_list *l)
{
    mem_free(l->items);
    *l = (struct text_list){0};
}

struct cursor {
    char *data;
    size_t at, n;
};

static void skip_white(struct cursor *c)
{
    while (c->at < c->n && strchr(" \t\r\n", c->data[c->at]) && c->data[c->at])
        c->at++;
}

static bool take(struct cursor *c, char wanted)
{
    skip_white(c);
    if (c->at == c->n || c->data[c->at] != wanted)
        return false;
    c->at++;
    return true;
}

/* Four hexadecimal digits. */
static bool read_unit(struct cursor *c, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++, c->at++) {
        char d = c->at < c->n ? c->data[c->at] : '\0';
        int value = d >= '0' && d <= '9'   ? d - '0'
                    : d >= 'a' && d <= 'f' ? d - 'a' + 10
                    : d >= 'A' && d <= 'F' ? d - 'A' + 10
                                           : -1;
        if (value < 0)
            return false;
        *out = *out << 4 | (uint32_t)value;
    }
    return true;
}

/* After "\u": a code point, from one unit or a surrogate pair; a lone surrogate is U+FFFD. */
static bool read_codepoint(struct cursor *c, uint32_t *out)
{
    uint32_t low;
    if (!read_unit(c, out))
        return false;
    if (*out >= 0xD800 && *out < 0xDC00 && c->at + 1 < c->n && c->data[c->at] == '\\' &&
        c->data[c->at + 1] == 'u') {
        struct cursor ahead = {c->data, c->at + 2, c->n};
        if (!read_unit(&ahead, &low))
            return false;
        if (low >= 0xDC00 && low < 0xE000) {
            *out = 0x10000 + ((*out - 0xD800) << 10) + (low - 0xDC00);
            c->at = ahead.at;
        }
    }
    if (*out >= 0xD800 && *out < 0xE000)
        *out = 0xFFFD;
    return true;
}

/* The rest of a string, written over itself: an escape is never shorter than what it stands
 * for. */
static bool read_string(struct cursor *c, struct str *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char *begin = c->data + c->at, *end = begin;
    while (c->at < c->n) {
        char x = c->data[c->at++];
        if (x == '"') {
            *out = (struct str){begin, (size_t)(end - begin)};
            return true;
        }
        if ((unsigned char)x < 0x20)
            return false;
        if (x != '\\') {
            *end++ = x;
            continue;
        }
        char kind = c->at < c->n ? c->data[c->at++] : '\0';
        const char *known = kind ? strchr(from, kind) : NULL;
        uint32_t codepoint;
        if (known) {
            *end++ = to[known - from];
        } else if (kind == 'u' && read_codepoint(c, &codepoint)) {
            char bytes[4];
            size_t n = utf8_encode(codepoint, bytes);
            memcpy(end, bytes, n);
            end += n;
        } else {
            return false;
        }
    }
    return false;
}

medley_status text_list_json(struct text_list *l, char *data, size_t n, const char *name,
                             medley_error *err)
{
    struct cursor c = {data, 0, n};
    medley_status st = MEDLEY_OK;
    bool good = take(&c, '['), more = good && !take(&c, ']');
    while (more && !st) {
        struct str text;
        good = take(&c, '"') && read_string(&c, &text);
        if (!good)
            break;
        st = add(l, text.s, text.n, err);
        more = take(&c, ',');
        good = more || take(&c, ']');
    }
    skip_white(&c);
    if (!st && (!good || c.at != c.n))
        st = fail(err, MEDLEY_EFORMAT,
                  "%s: expected a JSON array of strings; wrong at byte %zu", name, c.at);
    return st;
}
