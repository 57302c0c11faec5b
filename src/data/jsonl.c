/* jsonl.c: one JSON object a line, as rows of text fields. Only the columns asked for are
 * taken. Tested by test_csv.c, fuzz_jsonl.c. */
#include "data/table_format.h"

#include "base/error.h"
#include "base/json.h"

#include <string.h>

/* One line, without its break, into t->text; *more is false at the end. */
static medley_status read_line(struct table *t, bool *more, medley_error *err)
{
    sb_clear(&t->text);
    t->row_line = t->line;
    for (;;) {
        medley_status st = table_fill(t, err);
        if (st != MEDLEY_OK)
            return st;
        if (t->at == t->end)
            break;
        const char *from = t->block + t->at;
        const char *newline = memchr(from, '\n', t->end - t->at);
        size_t n = newline ? (size_t)(newline - from) : t->end - t->at;
        st = table_add_text(t, from, n, err);
        if (st != MEDLEY_OK)
            return st;
        t->at += n + (newline != NULL);
        if (newline) {
            t->line++;
            *more = true;
            return MEDLEY_OK;
        }
    }
    *more = t->text.n > 0;
    return MEDLEY_OK;
}

static medley_status parse_line(struct table *t, struct str line, json **out, medley_error *err)
{
    static const char name[] = "json";
    medley_error inner = {0};
    if (memchr(line.s, 0, line.n))
        return table_fail(t, err, "NUL byte");
    size_t bad = 0;
    if (!utf8_valid(line, &bad))
        return table_fail(t, err, "invalid UTF-8 at byte %zu of the line", bad + 1);
    medley_status st = json_parse(line, name, out, &inner);
    if (st == MEDLEY_EFORMAT) {
        /* The parser counts lines within the text it is given; ours is known better. */
        const char *text = inner.message;
        if (strncmp(text, "json:1: ", 8) == 0)
            text += 8;
        return table_fail(t, err, "%s", text);
    }
    if (st != MEDLEY_OK)
        return fail(err, st, "%s", inner.message);
    if (json_kind_of(*out) == JSON_OBJECT)
        return MEDLEY_OK;
    json_free(*out);
    *out = NULL;
    return table_fail(t, err, "expected a JSON object");
}

/* The member `key`, or, when there is none, the one that the dots of `key` lead to. */
static const json *find_member(const json *object, const char *key)
{
    const json *v = json_get(object, key);
    const char *dot = strchr(key, '.');
    if (v || !dot)
        return v;
    char head[64];
    size_t n = (size_t)(dot - key);
    if (n >= sizeof head)
        return NULL;
    memcpy(head, key, n);
    head[n] = 0;
    const json *inner = json_get(object, head);
    return inner && json_kind_of(inner) == JSON_OBJECT ? find_member(inner, dot + 1) : NULL;
}

static bool is_repeated(const json *object, const char *key)
{
    size_t n = 0;
    for (const json *m = json_first(object); m; m = json_next(m))
        n += strcmp(json_key(m), key) == 0;
    return n > 1;
}

static void add_number(struct strbuf *out, double number, const json *v)
{
    int64_t whole;
    if (json_as_i64(v, &whole)) {
        sb_addf(out, "%lld", (long long)whole);
        return;
    }
    struct json_writer w;
    jw_init(&w, out, false);
    jw_double(&w, number);
}

/* Appends a plain value as text; false for arrays and objects. */
static bool add_plain(struct strbuf *out, const json *v)
{
    const char *text;
    double number;
    bool truth;
    if (json_as_text(v, &text))
        sb_addz(out, text);
    else if (json_as_double(v, &number))
        add_number(out, number, v);
    else if (json_as_bool(v, &truth))
        sb_addz(out, truth ? "true" : "false");
    else
        return json_kind_of(v) == JSON_NULL;
    return true;
}

static bool add_value(struct strbuf *out, const json *v)
{
    if (json_kind_of(v) != JSON_ARRAY)
        return add_plain(out, v);
    for (const json *item = json_first(v); item; item = json_next(item)) {
        if (item != json_first(v))
            sb_addc(out, '\n');
        if (!add_plain(out, item))
            return false;
    }
    return true;
}

static medley_status missing_key(const struct table *t, const json *object, const char *key,
                                 medley_error *err)
{
    struct strbuf found;
    sb_init(&found);
    for (const json *m = json_first(object); m; m = json_next(m))
        sb_addf(&found, "%s%s", m == json_first(object) ? "" : ", ", json_key(m));
    table_fail(t, err, "no key '%s' (found: %s)", key, found.s ? found.s : "");
    sb_deinit(&found);
    return MEDLEY_EFORMAT;
}

static medley_status take_column(struct table *t, const json *object, size_t i,
                                 medley_error *err)
{
    const char *key = t->names[i];
    const json *v = find_member(object, key);
    size_t begin = t->text.n;
    if (!v && t->required[i])
        return missing_key(t, object, key, err);
    if (v && is_repeated(object, key))
        return table_fail(t, err, "the key '%s' comes twice", key);
    if (v && !add_value(&t->text, v)) {
        /* An optional value of an odd shape (UBI's "position": {}) is as good as absent. */
        t->text.n = begin;
        if (t->required[i])
            return table_fail(t, err, "'%s' is not a text or a number", key);
    }
    if (t->text.failed)
        return fail_memory(err, "a row");
    return table_add_span(t, begin, err);
}

medley_status jsonl_next(struct table *t, bool *more, medley_error *err)
{
    struct str line;
    do {
        medley_status st = read_line(t, more, err);
        if (st != MEDLEY_OK || !*more)
            return st;
        line = str_trim(sb_str(&t->text));
    } while (line.n == 0);
    json *object = NULL;
    medley_status st = parse_line(t, line, &object, err);
    if (st != MEDLEY_OK)
        return st;
    sb_clear(&t->text);
    t->n_fields = 0;
    for (size_t i = 0; i < t->n_names && st == MEDLEY_OK; i++)
        st = take_column(t, object, i, err);
    json_free(object);
    return st;
}
