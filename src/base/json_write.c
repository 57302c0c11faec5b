/* json_write.c: the streaming writer of JSON; see json.h. */
#include "base/json.h"

#include "base/decimal.h"

#include <math.h>

void jw_init(struct json_writer *w, struct strbuf *out, bool pretty)
{
    *w = (struct json_writer){.out = out, .pretty = pretty, .first = true};
}

static void new_line(struct json_writer *w)
{
    if (!w->pretty)
        return;
    sb_addc(w->out, '\n');
    for (int i = 0; i < w->depth; i++)
        sb_add(w->out, "  ", 2);
}

/* What stands before a value or a key. */
static void separate(struct json_writer *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (!w->first)
        sb_addc(w->out, ',');
    if (w->depth > 0)
        new_line(w);
    w->first = false;
}

static void open_container(struct json_writer *w, char bracket)
{
    separate(w);
    sb_addc(w->out, bracket);
    w->depth++;
    w->first = true;
}

static void close_container(struct json_writer *w, char bracket)
{
    w->depth--;
    if (!w->first)
        new_line(w);
    w->first = false;
    sb_addc(w->out, bracket);
}

void jw_object(struct json_writer *w)
{
    open_container(w, '{');
}

void jw_object_end(struct json_writer *w)
{
    close_container(w, '}');
}

void jw_array(struct json_writer *w)
{
    open_container(w, '[');
}

void jw_array_end(struct json_writer *w)
{
    close_container(w, ']');
}

/* The escape of one character; bytes of the text used. '<' before '/' or '!' is escaped too, so
 * that a document can stand inside an HTML <script>. */
static size_t escape(struct strbuf *out, struct str rest)
{
    static const char *const names[0x20] = {
        ['\b'] = "\\b", ['\f'] = "\\f", ['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t"};
    unsigned char c = (unsigned char)rest.s[0];
    uint32_t codepoint;
    if (c < 0x20 && names[c]) {
        sb_addz(out, names[c]);
    } else if (c < 0x20) {
        sb_addf(out, "\\u%04x", c);
    } else if (c == '"' || c == '\\') {
        sb_addc(out, '\\');
        sb_addc(out, (char)c);
    } else if (c == '<' && rest.n > 1 && (rest.s[1] == '/' || rest.s[1] == '!')) {
        sb_addz(out, "\\u003c");
    } else if (c < 0x80) {
        sb_addc(out, (char)c);
    } else {
        size_t used = utf8_decode(rest, &codepoint);
        if (used) {
            sb_add(out, rest.s, used);
            return used;
        }
        sb_addz(out, "\xEF\xBF\xBD"); /* U+FFFD for each bad byte */
    }
    return 1;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<';
}

void json_add_text(struct strbuf *out, struct str text)
{
    sb_addc(out, '"');
    for (size_t i = 0; i < text.n;) {
        size_t run = i;
        while (run < text.n && is_plain((unsigned char)text.s[run]))
            run++;
        if (run > i)
            sb_add(out, text.s + i, run - i);
        i = run;
        if (i < text.n)
            i += escape(out, (struct str){text.s + i, text.n - i});
    }
    sb_addc(out, '"');
}

void jw_key(struct json_writer *w, const char *key)
{
    separate(w);
    json_add_text(w->out, str_of(key));
    sb_addz(w->out, w->pretty ? ": " : ":");
    w->after_key = true;
}

void jw_text(struct json_writer *w, struct str text)
{
    separate(w);
    json_add_text(w->out, text);
}

void jw_textz(struct json_writer *w, const char *z)
{
    if (z)
        jw_text(w, str_of(z));
    else
        jw_null(w);
}

void jw_double(struct json_writer *w, double v)
{
    char text[DECIMAL_ROOM];
    separate(w);
    if (isfinite(v))
        sb_add(w->out, text, decimal_double(v, text));
    else
        sb_addz(w->out, "null");
}

void jw_float(struct json_writer *w, float v)
{
    char text[DECIMAL_ROOM];
    separate(w);
    if (isfinite(v))
        sb_add(w->out, text, decimal_float(v, text));
    else
        sb_addz(w->out, "null");
}

void jw_i64(struct json_writer *w, int64_t v)
{
    char text[DECIMAL_ROOM];
    separate(w);
    sb_add(w->out, text, decimal_i64(v, text));
}

void jw_bool(struct json_writer *w, bool v)
{
    separate(w);
    sb_addz(w->out, v ? "true" : "false");
}

void jw_null(struct json_writer *w)
{
    separate(w);
    sb_addz(w->out, "null");
}

struct strbuf *jw_raw(struct json_writer *w)
{
    separate(w);
    return w->out;
}
