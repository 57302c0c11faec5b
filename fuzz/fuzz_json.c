/* fuzz_json.c: any bytes are parsed or refused; what is parsed is walked, written and parsed
 * again. */
#include "base/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void copy(struct json_writer *w, const json *v)
{
    const char *text = "";
    double number = 0;
    bool flag = false;
    switch (json_kind_of(v)) {
    case JSON_OBJECT:
        jw_object(w);
        for (const json *m = json_first(v); m; m = json_next(m)) {
            jw_key(w, json_key(m));
            copy(w, m);
        }
        jw_object_end(w);
        break;
    case JSON_ARRAY:
        jw_array(w);
        for (const json *m = json_first(v); m; m = json_next(m))
            copy(w, m);
        jw_array_end(w);
        break;
    case JSON_STRING:
        json_as_text(v, &text);
        jw_textz(w, text);
        break;
    case JSON_NUMBER:
        json_as_double(v, &number);
        jw_double(w, number);
        break;
    case JSON_BOOL:
        json_as_bool(v, &flag);
        jw_bool(w, flag);
        break;
    case JSON_NULL:
        jw_null(w);
        break;
    }
}

/* The text of a document written anew; the caller ends it. */
static struct strbuf rewritten(const json *v)
{
    struct strbuf b;
    struct json_writer w;
    sb_init(&b);
    jw_init(&w, &b, false);
    copy(&w, v);
    return b;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json *v = NULL, *again = NULL;
    medley_error err;
    if (json_parse((struct str){(const char *)data, n}, "fuzz", &v, &err))
        return 0;
    struct strbuf first = rewritten(v);
    if (json_parse(sb_str(&first), "again", &again, &err))
        abort(); /* what we write must be what we read */
    struct strbuf second = rewritten(again);
    if (!str_eq(sb_str(&first), sb_str(&second)))
        abort();
    sb_deinit(&first);
    sb_deinit(&second);
    json_free(v);
    json_free(again);
    return 0;
}
