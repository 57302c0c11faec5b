/* json.c: the door to JSON. A strict scanner of our own reads the text first, because cJSON
 * takes control characters for white space, reads "01" and "1.", cuts strings at \u0000 and
 * does not say where or why it stopped; what passes the scanner cJSON turns into a tree, so
 * that a failure there can only be want of memory. Proof: tests/test_base_json.c,
 * fuzz/fuzz_json.c. */
#include "base/json.h"

#include "base/decimal.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

#define MAX_DEPTH 256
#define MAX_NUMBER 63 /* what cJSON's own buffer holds */
#define MAX_FILE ((size_t)1 << 30)

/* ---- the scanner
 * ----------------------------------------------------------------------------- */

struct scanner {
    const char *start, *p, *end;
    const char *problem; /* set where the scan stopped */
    int depth;
};

static bool scan_value(struct scanner *s);

static bool stop(struct scanner *s, const char *problem)
{
    if (!s->problem)
        s->problem = problem;
    return false;
}

static void skip_space(struct scanner *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
}

static bool take(struct scanner *s, char c)
{
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

static bool take_word(struct scanner *s, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return stop(s, "expected a value");
    s->p += n;
    return true;
}

static size_t take_digits(struct scanner *s)
{
    const char *from = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return (size_t)(s->p - from);
}

static bool scan_number(struct scanner *s)
{
    const char *from = s->p;
    double v;
    take(s, '-');
    if (!take(s, '0') && take_digits(s) == 0)
        return stop(s, "expected a digit");
    if (take(s, '.') && take_digits(s) == 0)
        return stop(s, "expected a digit after the point");
    if (take(s, 'e') || take(s, 'E')) {
        if (!take(s, '+'))
            take(s, '-');
        if (take_digits(s) == 0)
            return stop(s, "expected a digit in the exponent");
    }
    size_t n = (size_t)(s->p - from);
    if (n > MAX_NUMBER)
        return stop(s, "a number has more than 63 characters");
    if (!str_to_double((struct str){from, n}, &v))
        return stop(s, "a number is out of range");
    return true;
}

/* Four hexadecimal digits; -1 when they are none. */
static int32_t take_hex4(struct scanner *s)
{
    int32_t v = 0;
    if (s->end - s->p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = *s->p++;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        v = v << 4 | digit;
    }
    return v;
}

/* After a backslash. */
static bool scan_escape(struct scanner *s)
{
    if (s->p < s->end && *s->p && strchr("\"\\/bfnrt", *s->p)) {
        s->p++;
        return true;
    }
    if (!take(s, 'u'))
        return stop(s, "unknown escape in a string");
    int32_t c = take_hex4(s);
    if (c < 0)
        return stop(s, "expected four hexadecimal digits after \\u");
    if (c == 0)
        return stop(s, "a string holds \\u0000");
    if (c >= 0xDC00 && c <= 0xDFFF)
        return stop(s, "a low surrogate stands alone");
    if (c >= 0xD800 && c <= 0xDBFF) {
        int32_t low = take(s, '\\') && take(s, 'u') ? take_hex4(s) : -1;
        if (low < 0xDC00 || low > 0xDFFF)
            return stop(s, "a high surrogate stands alone");
    }
    return true;
}

static bool scan_string(struct scanner *s)
{
    if (!take(s, '"'))
        return stop(s, "expected a string in double quotes");
    while (s->p < s->end) {
        unsigned char c = (unsigned char)*s->p++;
        if (c == '"')
            return true;
        if (c < 0x20) {
            s->p--;
            return stop(s, "control character in a string");
        }
        if (c == '\\' && !scan_escape(s))
            return false;
    }
    return stop(s, "a string does not end");
}

static bool scan_members(struct scanner *s, char close, bool object)
{
    if (++s->depth > MAX_DEPTH)
        return stop(s, "nested more than 256 deep");
    skip_space(s);
    bool more = !take(s, close);
    while (more) {
        skip_space(s);
        if (object) {
            if (!scan_string(s))
                return false;
            skip_space(s);
            if (!take(s, ':'))
                return stop(s, "expected ':' after a key");
        }
        if (!scan_value(s))
            return false;
        skip_space(s);
        more = take(s, ',');
        if (!more && !take(s, close))
            return stop(s, object ? "expected ',' or '}'" : "expected ',' or ']'");
    }
    s->depth--;
    return true;
}

static bool scan_value(struct scanner *s)
{
    skip_space(s);
    if (s->p == s->end)
        return stop(s, "unexpected end");
    switch (*s->p) {
    case '{':
        s->p++;
        return scan_members(s, '}', true);
    case '[':
        s->p++;
        return scan_members(s, ']', false);
    case '"':
        return scan_string(s);
    case 't':
        return take_word(s, "true");
    case 'f':
        return take_word(s, "false");
    case 'n':
        return take_word(s, "null");
    default:
        if (*s->p == '-' || (*s->p >= '0' && *s->p <= '9'))
            return scan_number(s);
        return stop(s, "expected a value");
    }
}

static bool scan_document(struct scanner *s)
{
    size_t bad;
    if (!utf8_valid((struct str){s->p, (size_t)(s->end - s->p)}, &bad)) {
        s->p += bad;
        return stop(s, "invalid UTF-8");
    }
    if (!scan_value(s))
        return false;
    skip_space(s);
    return s->p == s->end || stop(s, "more text after the value");
}

static size_t line_of(const struct scanner *s)
{
    size_t line = 1;
    for (const char *p = s->start; p < s->p; p++)
        line += *p == '\n';
    return line;
}

/* ---- reading
 * --------------------------------------------------------------------------------- */

medley_status json_parse(struct str text, const char *name, json **out, medley_error *err)
{
    if (text.n >= 3 &&
        memcmp(text.s, "\xEF\xBB\xBF", 3) == 0) /* a byte order mark says nothing */
        text = (struct str){text.s + 3, text.n - 3};
    const char *start = text.n ? text.s : "";
    struct scanner s = {start, start, start + text.n, NULL, 0};
    if (!scan_document(&s))
        return fail(err, MEDLEY_EFORMAT, "%s:%zu: %s", name, line_of(&s), s.problem);
    json *root = cJSON_ParseWithLength(start, text.n);
    if (!root)
        return fail_memory(err, name);
    *out = root;
    return MEDLEY_OK;
}

medley_status json_load(const char *path, json **out, medley_error *err)
{
    char *data;
    size_t n;
    medley_status st = file_read(path, MAX_FILE, &data, &n, err);
    if (st)
        return st;
    st = json_parse((struct str){data, n}, path, out, err);
    mem_free(data);
    return st;
}

void json_free(json *root)
{
    cJSON_Delete(root); /* accepts NULL */
}

enum json_kind json_kind_of(const json *v)
{
    switch (v ? v->type & 0xFF : cJSON_NULL) {
    case cJSON_True:
    case cJSON_False:
        return JSON_BOOL;
    case cJSON_Number:
        return JSON_NUMBER;
    case cJSON_String:
        return JSON_STRING;
    case cJSON_Array:
        return JSON_ARRAY;
    case cJSON_Object:
        return JSON_OBJECT;
    default:
        return JSON_NULL;
    }
}

const json *json_get(const json *object, const char *key)
{
    if (!object || json_kind_of(object) != JSON_OBJECT)
        return NULL;
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

const json *json_first(const json *container)
{
    enum json_kind kind = json_kind_of(container);
    return kind == JSON_ARRAY || kind == JSON_OBJECT ? container->child : NULL;
}

const json *json_next(const json *item)
{
    return item ? item->next : NULL;
}

const char *json_key(const json *member)
{
    return member ? member->string : NULL;
}

size_t json_count(const json *array_or_object)
{
    size_t n = 0;
    for (const json *v = json_first(array_or_object); v; v = v->next)
        n++;
    return n;
}

bool json_as_bool(const json *v, bool *out)
{
    if (json_kind_of(v) != JSON_BOOL)
        return false;
    *out = (v->type & 0xFF) == cJSON_True;
    return true;
}

bool json_as_double(const json *v, double *out)
{
    if (json_kind_of(v) != JSON_NUMBER || !isfinite(v->valuedouble))
        return false;
    *out = v->valuedouble;
    return true;
}

bool json_as_i64(const json *v, int64_t *out)
{
    double d;
    if (!json_as_double(v, &d) || fabs(d) > 0x1p53 || d != trunc(d))
        return false;
    *out = (int64_t)d;
    return true;
}

bool json_as_text(const json *v, const char **out)
{
    if (json_kind_of(v) != JSON_STRING)
        return false;
    *out = v->valuestring;
    return true;
}

/* ---- writing
 * --------------------------------------------------------------------------------- */

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
