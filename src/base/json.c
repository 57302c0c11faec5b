/* json.c: reads JSON, strictly, into a tree of two blocks of memory: nodes in the order in
 * which they stand in the text, and the strings without their escapes, which take no more room
 * than the text itself. So a value's first member is the node behind it, and a sibling so many
 * nodes further on. Proof: tests/test_base_json.c, fuzz/fuzz_json.c. */
#include "base/json.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_DEPTH 256
#define MAX_NUMBER 63
#define MAX_FILE ((size_t)1 << 30)

/* The node before the root has no value: its text owns the strings. */
struct json_value {
    const char *key; /* of a member of an object, else NULL */
    union {
        const char *text;
        double number;
        size_t count; /* members or items */
        bool truth;
    } as;
    enum json_kind kind;
    uint32_t next; /* nodes on to the next sibling; 0: the last */
};

/* ---- the scanner ------------------------------------------------------------------------- */

struct scanner {
    const char *start, *p, *end;
    struct json_limits limits;
    const char *problem; /* set where the scan stopped */
    char limit_text[64]; /* of a problem that names a limit */
    bool no_memory;
    size_t depth;
    json *nodes; /* [n_nodes] */
    size_t n_nodes, capacity;
    char *text; /* where the next string goes */
};

static bool scan_value(struct scanner *s, const char *key);

static bool stop(struct scanner *s, const char *problem)
{
    if (!s->problem)
        s->problem = problem;
    return false;
}

static bool stop_at_limit(struct scanner *s, const char *before, size_t limit,
                          const char *after)
{
    snprintf(s->limit_text, sizeof s->limit_text, "%s%zu%s", before, limit, after);
    return stop(s, s->limit_text);
}

/* NULL: stopped. The node moves when another is added. */
static json *add_node(struct scanner *s, enum json_kind kind, const char *key)
{
    if (s->n_nodes > s->limits.values) { /* the first node is no value */
        stop_at_limit(s, "more than ", s->limits.values, " values");
        return NULL;
    }
    if (s->n_nodes == s->capacity &&
        !mem_reserve(&s->nodes, &s->capacity, s->n_nodes + 1, sizeof *s->nodes)) {
        s->no_memory = true;
        stop(s, "out of memory");
        return NULL;
    }
    json *v = &s->nodes[s->n_nodes++];
    *v = (json){.key = key, .kind = kind};
    return v;
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

static bool scan_number(struct scanner *s, double *v)
{
    const char *from = s->p;
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
    return str_to_double((struct str){from, n}, v) || stop(s, "a number is out of range");
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

/* After "\u". */
static bool scan_codepoint(struct scanner *s)
{
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
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    s->text += utf8_encode((uint32_t)c, s->text); /* 3 bytes at most of 6, 4 of 12 */
    return true;
}

/* After a backslash. */
static bool scan_escape(struct scanner *s)
{
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *known = s->p < s->end && *s->p ? strchr(names, *s->p) : NULL;
    if (known) {
        s->p++;
        *s->text++ = meant[known - names];
        return true;
    }
    if (!take(s, 'u'))
        return stop(s, "unknown escape in a string");
    return scan_codepoint(s);
}

/* Bytes before the next quote, backslash or control character. */
static size_t plain_run(const char *p, const char *end)
{
    static const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    const char *from = p;
    for (uint64_t x; (size_t)(end - p) >= sizeof x; p += sizeof x) {
        memcpy(&x, p, sizeof x);
        uint64_t quote = x ^ ones * '"', slash = x ^ ones * '\\';
        /* A byte's top bit is set when it is the one looked for, or perhaps behind such. */
        if ((((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((x - ones * 0x20) & ~x)) &
            high)
            break;
    }
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
        p++;
    return (size_t)(p - from);
}

/* *out is terminated and lives as long as the tree. */
static bool scan_string(struct scanner *s, const char **out)
{
    if (!take(s, '"'))
        return stop(s, "expected a string in double quotes");
    *out = s->text;
    for (;;) {
        size_t run = plain_run(s->p, s->end);
        memcpy(s->text, s->p, run);
        s->text += run;
        s->p += run;
        if (s->p == s->end)
            return stop(s, "a string does not end");
        if (take(s, '"')) {
            *s->text++ = 0;
            return true;
        }
        if (!take(s, '\\'))
            return stop(s, "control character in a string");
        if (!scan_escape(s))
            return false;
    }
}

static bool scan_key(struct scanner *s, const char **key)
{
    if (!scan_string(s, key))
        return false;
    skip_space(s);
    return take(s, ':') || stop(s, "expected ':' after a key");
}

/* After the opening bracket; the container is the last node. */
static bool scan_members(struct scanner *s, char close, bool object)
{
    size_t container = s->n_nodes - 1, last = 0, count = 0;
    if (++s->depth > s->limits.depth)
        return stop_at_limit(s, "nested more than ", s->limits.depth, " deep");
    skip_space(s);
    for (bool more = !take(s, close); more; count++) {
        const char *key = NULL;
        skip_space(s);
        if (object && !scan_key(s, &key))
            return false;
        size_t member = s->n_nodes;
        if (!scan_value(s, key))
            return false;
        if (count)
            s->nodes[last].next = (uint32_t)(member - last);
        last = member;
        skip_space(s);
        more = take(s, ',');
        if (!more && !take(s, close))
            return stop(s, object ? "expected ',' or '}'" : "expected ',' or ']'");
    }
    s->nodes[container].as.count = count;
    s->depth--;
    return true;
}

static bool scan_value(struct scanner *s, const char *key)
{
    json *v;
    skip_space(s);
    if (s->p == s->end)
        return stop(s, "unexpected end");
    switch (*s->p) {
    case '{':
        s->p++;
        return add_node(s, JSON_OBJECT, key) && scan_members(s, '}', true);
    case '[':
        s->p++;
        return add_node(s, JSON_ARRAY, key) && scan_members(s, ']', false);
    case '"':
        v = add_node(s, JSON_STRING, key);
        return v && scan_string(s, &v->as.text);
    case 't':
        v = add_node(s, JSON_BOOL, key);
        return v && (v->as.truth = take_word(s, "true"));
    case 'f':
        return add_node(s, JSON_BOOL, key) && take_word(s, "false");
    case 'n':
        return add_node(s, JSON_NULL, key) && take_word(s, "null");
    default:
        if (*s->p != '-' && (*s->p < '0' || *s->p > '9'))
            return stop(s, "expected a value");
        v = add_node(s, JSON_NUMBER, key);
        return v && scan_number(s, &v->as.number);
    }
}

static bool scan_document(struct scanner *s)
{
    size_t bad;
    if (!utf8_valid((struct str){s->p, (size_t)(s->end - s->p)}, &bad)) {
        s->p += bad;
        return stop(s, "invalid UTF-8");
    }
    if (!scan_value(s, NULL))
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

/* ---- reading ----------------------------------------------------------------------------- */

/* Guesses the number of nodes, so that small texts need no second block. */
static bool make_room(struct scanner *s, size_t bytes)
{
    size_t guess = bytes / 16 < s->limits.values ? bytes / 16 : s->limits.values;
    if (!mem_reserve(&s->nodes, &s->capacity, guess + 8, sizeof *s->nodes))
        return false;
    s->text = mem_alloc(bytes + 1, 1);
    if (!s->text)
        return false;
    s->nodes[s->n_nodes++] = (json){.as.text = s->text};
    return true;
}

static void free_nodes(json *nodes)
{
    if (nodes)
        mem_free((char *)nodes->as.text);
    mem_free(nodes);
}

medley_status json_parse_within(struct str text, const char *name, struct json_limits limits,
                                json **out, medley_error *err)
{
    if (text.n >= 3 &&
        memcmp(text.s, "\xEF\xBB\xBF", 3) == 0) /* a byte order mark says nothing */
        text = (struct str){text.s + 3, text.n - 3};
    const char *start = text.n ? text.s : "";
    struct scanner s = {.start = start, .p = start, .end = start + text.n, .limits = limits};
    if (!make_room(&s, text.n)) {
        mem_free(s.nodes);
        return fail_memory(err, name);
    }
    if (scan_document(&s)) {
        *out = s.nodes + 1;
        return MEDLEY_OK;
    }
    free_nodes(s.nodes);
    return s.no_memory ? fail_memory(err, name)
                       : fail(err, MEDLEY_EFORMAT, "%s:%zu: %s", name, line_of(&s), s.problem);
}

medley_status json_parse(struct str text, const char *name, json **out, medley_error *err)
{
    struct json_limits limits = {.values = UINT32_MAX - 1, .depth = MAX_DEPTH};
    return json_parse_within(text, name, limits, out, err);
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
    if (root)
        free_nodes(root - 1);
}

enum json_kind json_kind_of(const json *v)
{
    return v ? v->kind : JSON_NULL;
}

static bool is_container(const json *v)
{
    return v && (v->kind == JSON_ARRAY || v->kind == JSON_OBJECT);
}

const json *json_first(const json *container)
{
    return is_container(container) && container->as.count ? container + 1 : NULL;
}

const json *json_next(const json *item)
{
    return item && item->next ? item + item->next : NULL;
}

const char *json_key(const json *member)
{
    return member ? member->key : NULL;
}

size_t json_count(const json *array_or_object)
{
    return is_container(array_or_object) ? array_or_object->as.count : 0;
}

const json *json_get(const json *object, const char *key)
{
    if (json_kind_of(object) != JSON_OBJECT)
        return NULL;
    for (const json *m = json_first(object); m; m = json_next(m))
        if (strcmp(m->key, key) == 0)
            return m;
    return NULL;
}

bool json_as_bool(const json *v, bool *out)
{
    if (json_kind_of(v) != JSON_BOOL)
        return false;
    *out = v->as.truth;
    return true;
}

bool json_as_double(const json *v, double *out)
{
    if (json_kind_of(v) != JSON_NUMBER)
        return false;
    *out = v->as.number;
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
    *out = v->as.text;
    return true;
}
