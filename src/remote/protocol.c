/* protocol.c: see protocol.h. Proof: tests/test_remote.c, fuzz/fuzz_inference_reply.c. */
#include "remote/protocol.h"

#include "base/error.h"
#include "base/json.h"

#include <math.h>
#include <string.h>

/* ---- templates ---- */

static const char *const field_names[] = {"query",   "locale", "title", "description",
                                          "bullets", "brand",  "color", "category"};
enum { FIELDS = sizeof field_names / sizeof *field_names };

static struct str field_of(const struct pair_text *t, size_t field)
{
    const struct product_text *p = &t->product;
    const struct str all[FIELDS] = {t->query,   t->locale, p->title, p->description,
                                    p->bullets, p->brand,  p->color, p->category};
    return all[field];
}

/* The field at pattern ("{title}..."), with the bytes it takes; FIELDS: none. */
static size_t field_at(const char *pattern, size_t *length)
{
    for (size_t f = 0; f < FIELDS; f++) {
        size_t n = strlen(field_names[f]);
        if (strncmp(pattern + 1, field_names[f], n) == 0 && pattern[1 + n] == '}') {
            *length = n + 2;
            return f;
        }
    }
    return FIELDS;
}

medley_status template_check(const char *pattern, medley_error *err)
{
    bool reads = false;
    size_t length;
    for (const char *s = pattern; *s; s++) {
        if (*s != '{')
            continue;
        if (s[1] == '{') {
            s++;
            continue;
        }
        if (field_at(s, &length) == FIELDS)
            return fail(err, MEDLEY_EFORMAT,
                        "template '%.100s': '%.20s' is none of {query} {locale} {title} "
                        "{description} {bullets} {brand} {color} {category}",
                        pattern, s);
        s += length - 1;
        reads = true;
    }
    return reads ? MEDLEY_OK
                 : fail(err, MEDLEY_EFORMAT, "template '%.100s' reads no field", pattern);
}

void template_fill(const char *pattern, const struct pair_text *pair, struct strbuf *out)
{
    size_t length;
    for (const char *s = pattern; *s; s++) {
        if (*s != '{') {
            sb_addc(out, *s);
        } else if (s[1] == '{') {
            sb_addc(out, *s++);
        } else {
            struct str text = field_of(pair, field_at(s, &length));
            sb_add(out, text.s, text.n);
            s += length - 1;
        }
    }
}

/* ---- asking ---- */

static void write_input(struct json_writer *w, const struct protocol *p, size_t input,
                        const struct pair_text *pairs, size_t n)
{
    struct strbuf text;
    sb_init(&text);
    jw_object(w);
    jw_key(w, "name"), jw_textz(w, p->tensor[input]);
    jw_key(w, "shape"), jw_array(w);
    jw_i64(w, (int64_t)n);
    if (p->column)
        jw_i64(w, 1);
    jw_array_end(w);
    jw_key(w, "datatype"), jw_textz(w, "BYTES");
    jw_key(w, "data"), jw_array(w);
    for (size_t i = 0; i < n; i++) {
        sb_clear(&text);
        template_fill(p->pattern[input], &pairs[i], &text);
        jw_text(w, sb_str(&text));
    }
    jw_array_end(w);
    jw_object_end(w);
    w->out->failed |= text.failed;
    sb_deinit(&text);
}

void protocol_request(const struct protocol *p, const struct pair_text *pairs, size_t n,
                      struct strbuf *out)
{
    struct json_writer w;
    jw_init(&w, out, false);
    jw_object(&w);
    jw_key(&w, "inputs"), jw_array(&w);
    for (size_t i = 0; i < p->n_inputs; i++)
        write_input(&w, p, i, pairs, n);
    jw_array_end(&w);
    jw_key(&w, "outputs"), jw_array(&w);
    jw_object(&w);
    jw_key(&w, "name"), jw_textz(&w, p->output);
    jw_object_end(&w);
    jw_array_end(&w);
    jw_object_end(&w);
}

/* ---- what came back ---- */

size_t protocol_most_bytes(const struct protocol *p, size_t n)
{
    return 65536 + n * p->n_classes * 64; /* other outputs and parameters may stand beside */
}

static medley_status check_shape(const json *output, size_t n, size_t k, medley_error *err)
{
    int64_t want[2] = {(int64_t)n, (int64_t)k}, got;
    const json *shape = json_get(output, "shape");
    size_t i = 0;
    for (const json *v = json_first(shape); v && json_count(shape) == 2; v = json_next(v), i++)
        if (!json_as_i64(v, &got) || got != want[i])
            break;
    return i == 2 ? MEDLEY_OK
                  : fail(err, MEDLEY_EFORMAT,
                         "the output's shape is not [%zu, %zu] (pairs, classes)", n, k);
}

/* Numbers in row-major order, flat or nested once; false when they are not n * k numbers. */
static bool read_numbers(const json *data, size_t n, size_t k, float *out)
{
    size_t at = 0;
    double v;
    if (!data || json_kind_of(data) != JSON_ARRAY)
        return false;
    bool nested = json_first(data) && json_kind_of(json_first(data)) == JSON_ARRAY;
    if (json_count(data) != (nested ? n : n * k))
        return false;
    for (const json *row = json_first(data); row; row = json_next(row)) {
        if (nested && (json_kind_of(row) != JSON_ARRAY || json_count(row) != k))
            return false;
        for (const json *x = nested ? json_first(row) : row; x;
             x = nested ? json_next(x) : NULL) {
            if (!json_as_double(x, &v))
                return false;
            out[at++] = (float)v;
        }
    }
    return at == n * k;
}

static void softmax(float *p, size_t k)
{
    float top = -INFINITY, sum = 0;
    for (size_t c = 0; c < k; c++)
        top = fmaxf(top, p[c]);
    for (size_t c = 0; c < k; c++)
        sum += p[c] = expf(p[c] - top);
    for (size_t c = 0; c < k; c++)
        p[c] /= sum;
}

static void settle(const struct protocol *p, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        float row[MAX_CLASSES];
        for (size_t c = 0; c < p->n_classes; c++)
            row[p->class_at[c]] = out[i * p->n_classes + c];
        if (p->logits)
            softmax(row, p->n_classes);
        memcpy(out + i * p->n_classes, row, p->n_classes * sizeof *row);
    }
}

static medley_status read_output(const struct protocol *p, const json *root, size_t n,
                                 float *out, medley_error *err)
{
    const json *outputs = json_get(root, "outputs"), *found = NULL;
    const char *text = "";
    if (json_as_text(json_get(root, "error"), &text))
        return fail(err, MEDLEY_EFORMAT, "the server says: %.200s", text);
    for (const json *o = json_first(outputs); o; o = json_next(o)) {
        if (!json_as_text(json_get(o, "name"), &text) || strcmp(text, p->output) != 0)
            continue;
        if (found)
            return fail(err, MEDLEY_EFORMAT, "two outputs are called '%s'", p->output);
        found = o;
    }
    if (!found)
        return fail(err, MEDLEY_EFORMAT, "there is no output '%s'", p->output);
    if (!json_as_text(json_get(found, "datatype"), &text) ||
        (strcmp(text, "FP32") != 0 && strcmp(text, "FP64") != 0))
        return fail(err, MEDLEY_EFORMAT, "output '%s' is neither FP32 nor FP64", p->output);
    medley_status st = check_shape(found, n, p->n_classes, err);
    if (st)
        return st;
    if (!read_numbers(json_get(found, "data"), n, p->n_classes, out))
        return fail(err, MEDLEY_EFORMAT, "the data of output '%s' are not %zu x %zu numbers",
                    p->output, n, p->n_classes);
    settle(p, n, out);
    return MEDLEY_OK;
}

medley_status protocol_reply(const struct protocol *p, struct str body, size_t n, float *out,
                             medley_error *err)
{
    json *root = NULL;
    medley_status st = json_parse(body, "reply", &root, err);
    if (!st)
        st = read_output(p, root, n, out, err);
    json_free(root);
    return st;
}
