/* json.h: the one door to JSON: a strict reader into a tree with checked accessors, and a
 * streaming writer onto a strbuf. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/str.h"
#include "medley/status.h"

typedef struct json_value
    json; /* a parsed value; borrowed from its root, except the root itself */

/* Parses text strictly (one value, no trailing bytes, depth limited, UTF-8 checked). `name` is
 * put before the message as name:line. Free the root with json_free. */
medley_status json_parse(struct str text, const char *name, json **out, medley_error *err);
/* The same for text of strangers: within limits that bound the memory, too (32 bytes a value,
 * and once the text). What is longer or deeper is refused. */
struct json_limits {
    size_t values, depth; /* of containers, members and items together; of containers */
};
medley_status json_parse_within(struct str text, const char *name, struct json_limits limits,
                                json **out, medley_error *err);
medley_status json_load(const char *path, json **out, medley_error *err);
void json_free(json *root);

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };
enum json_kind json_kind_of(const json *v);
const json *json_get(const json *object,
                     const char *key);          /* case-sensitive; NULL when absent */
size_t json_count(const json *array_or_object); /* O(1); 0 for anything else */
const json *json_first(const json *container);  /* iterate: O(1) a step */
const json *json_next(const json *item);
const char *json_key(const json *member); /* NULL for array items */

/* NULL-safe accessors: false (nothing written) when absent or of another kind. */
bool json_as_bool(const json *v, bool *out);
bool json_as_double(const json *v, double *out);
bool json_as_i64(const json *v, int64_t *out); /* integral and exactly representable only */
bool json_as_text(const json *v, const char **out);

/* Streaming writer; commas and nesting are its business. Non-finite numbers become null. */
struct json_writer {
    struct strbuf *out;
    int depth;
    bool pretty; /* two-space indentation */
    bool first, after_key;
};
void jw_init(struct json_writer *w, struct strbuf *out, bool pretty);
void jw_object(struct json_writer *w);
void jw_object_end(struct json_writer *w);
void jw_array(struct json_writer *w);
void jw_array_end(struct json_writer *w);
void jw_key(struct json_writer *w, const char *key);
void jw_text(struct json_writer *w, struct str text);
void jw_textz(struct json_writer *w, const char *z); /* NULL writes null */
void jw_double(struct json_writer *w,
               double v); /* 15 to 17 digits, the fewest that read back equal */
void jw_float(struct json_writer *w, float v);
void jw_i64(struct json_writer *w, int64_t v);
void jw_bool(struct json_writer *w, bool v);
void jw_null(struct json_writer *w);
/* The caller writes one value here itself. */
struct strbuf *jw_raw(struct json_writer *w);
/* `text` as a JSON string, appended. */
void json_add_text(struct strbuf *out, struct str text);

#endif
