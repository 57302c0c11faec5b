/* classify_request.c: reads the body of POST /v1/classify; see classify_request.h. */
#include "serve/classify_request.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>

#define MAX_AGE 1e9 /* seconds */

/* ---- fields ------------------------------------------------------------------------------ */

/* `where` is the path before the key: "" or "products[3]." */
static medley_status read_text(const json *v, const char *where, size_t limit, medley_text *out,
                               medley_error *err)
{
    const char *text;
    if (!json_as_text(v, &text))
        return fail(err, MEDLEY_EINVAL, "%s%s: must be text", where, json_key(v));
    size_t n = strlen(text);
    if (n > limit)
        return fail(err, MEDLEY_EINVAL, "%s%s: %zu bytes are more than %zu", where, json_key(v),
                    n, limit);
    *out = (medley_text){text, n};
    return MEDLEY_OK;
}

/* White space as people type it; what only Unicode calls so is left to the models. */
static bool is_blank(medley_text text)
{
    return str_trim((struct str){text.s, text.n}).n == 0;
}

enum product_field { P_ID, P_TITLE, P_DESCRIPTION, P_BULLETS, P_BRAND, P_COLOR, P_CATEGORY };

static const struct {
    const char *key;
    size_t offset; /* of a medley_text in medley_product */
    size_t limit;  /* bytes */
} product_fields[] = {
    [P_ID] = {"id", offsetof(medley_product, id), CLASSIFY_MAX_ID},
    [P_TITLE] = {"title", offsetof(medley_product, title), CLASSIFY_MAX_TEXT},
    [P_DESCRIPTION] = {"description", offsetof(medley_product, description), CLASSIFY_MAX_TEXT},
    [P_BULLETS] = {"bullets", offsetof(medley_product, bullets), CLASSIFY_MAX_TEXT},
    [P_BRAND] = {"brand", offsetof(medley_product, brand), CLASSIFY_MAX_TEXT},
    [P_COLOR] = {"color", offsetof(medley_product, color), CLASSIFY_MAX_TEXT},
    [P_CATEGORY] = {"category", offsetof(medley_product, category), CLASSIFY_MAX_TEXT},
};
#define N_PRODUCT_FIELDS (sizeof product_fields / sizeof product_fields[0])
#define PREDICTIONS N_PRODUCT_FIELDS /* the key that is no text, as a bit of `seen` */

/* A product on its way from the tree. */
struct reading {
    struct classify_request *r;
    size_t index;
    char where[40]; /* "products[3]." */
    unsigned seen;  /* bit f: field f */
};

/* The first of a request makes room for all. */
static medley_status read_predictions(const json *v, const struct reading *p, medley_error *err)
{
    struct classify_request *r = p->r;
    size_t n = json_count(json_get(r->root, "products"));
    if (!r->said_ends && !(r->said_ends = mem_zalloc(n, sizeof *r->said_ends)))
        return fail_memory(err, "predictions");
    return predictions_add(&r->predictions, v, p->index, err);
}

static medley_status read_member(const json *member, struct reading *p, medley_product *out,
                                 medley_error *err)
{
    const char *key = json_key(member);
    size_t f = 0;
    while (f < N_PRODUCT_FIELDS && strcmp(product_fields[f].key, key) != 0)
        f++;
    if (f == N_PRODUCT_FIELDS && (p->r->of_texts || strcmp(key, "predictions") != 0))
        return fail(err, MEDLEY_EINVAL, "%s%.100s: unknown key", p->where, key);
    if (p->seen & 1u << f)
        return fail(err, MEDLEY_EINVAL, "%s%s: given twice", p->where, key);
    p->seen |= 1u << f;
    if (f == PREDICTIONS)
        return read_predictions(member, p, err);
    medley_text *text = (medley_text *)((char *)out + product_fields[f].offset);
    return read_text(member, p->where, product_fields[f].limit, text, err);
}

static medley_status read_product_object(const json *v, struct reading *p, medley_product *out,
                                         medley_error *err)
{
    const char *where = p->where;
    for (const json *m = json_first(v); m; m = json_next(m)) {
        medley_status st = read_member(m, p, out, err);
        if (st)
            return st;
    }
    out->has_text = (p->seen & ~(1u << P_ID | 1u << PREDICTIONS)) != 0;
    if (out->has_text && is_blank(out->title))
        return fail(err, MEDLEY_EINVAL, "%stitle: missing or blank beside other text", where);
    if (!out->has_text && !out->id.n)
        return fail(err, MEDLEY_EINVAL, "%sid: missing or empty, and there is no title", where);
    return MEDLEY_OK;
}

static medley_status read_product(const json *v, struct classify_request *r, size_t index,
                                  medley_product *out, medley_error *err)
{
    struct reading p = {.r = r, .index = index};
    const char *id;
    *out = (medley_product){0};
    if (json_as_text(v, &id)) {
        size_t n = strlen(id);
        if (n == 0 || n > CLASSIFY_MAX_ID)
            return fail(err, MEDLEY_EINVAL, "products[%zu]: an id has 1 to %d bytes, not %zu",
                        index, CLASSIFY_MAX_ID, n);
        out->id = (medley_text){id, n};
        return MEDLEY_OK;
    }
    if (json_kind_of(v) != JSON_OBJECT)
        return fail(err, MEDLEY_EINVAL, "products[%zu]: must be an id or an object", index);
    snprintf(p.where, sizeof p.where, "products[%zu].", index);
    return read_product_object(v, &p, out, err);
}

/* ---- keys of the request ----------------------------------------------------------------- */

static medley_status read_query(const json *v, struct classify_request *r, medley_error *err)
{
    medley_status st = read_text(v, "", CLASSIFY_MAX_TEXT, &r->query, err);
    if (!st && is_blank(r->query))
        st = fail(err, MEDLEY_EINVAL, "query: blank");
    return st;
}

bool is_locale_tag(medley_text text)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    for (size_t i = 0; i < text.n; i++)
        if (!memchr(allowed, text.s[i], sizeof allowed - 1))
            return false;
    return text.n > 0 && text.n <= CLASSIFY_MAX_LOCALE;
}

static medley_status read_locale(const json *v, struct classify_request *r, medley_error *err)
{
    medley_status st = read_text(v, "", CLASSIFY_MAX_LOCALE, &r->locale, err);
    if (!st && !is_locale_tag(r->locale))
        st = fail(err, MEDLEY_EINVAL, "locale: must be a tag of letters, digits, '-' and '_'");
    return st;
}

static medley_status read_products(const json *v, struct classify_request *r, medley_error *err)
{
    if (json_kind_of(v) != JSON_ARRAY)
        return fail(err, MEDLEY_EINVAL, "products: must be a list");
    size_t n = json_count(v);
    if (n == 0 || n > CLASSIFY_MAX_PRODUCTS)
        return fail(err, MEDLEY_EINVAL, "products: %zu are not between 1 and %d", n,
                    CLASSIFY_MAX_PRODUCTS);
    r->products = mem_alloc(n, sizeof *r->products);
    if (!r->products)
        return fail_memory(err, "products");
    for (const json *p = json_first(v); p; p = json_next(p)) {
        medley_status st = read_product(p, r, r->n_products, &r->products[r->n_products], err);
        if (st)
            return st;
        if (r->said_ends)
            r->said_ends[r->n_products] = (uint32_t)r->predictions.n_items;
        r->n_products++;
    }
    return MEDLEY_OK;
}

static medley_status read_explain(const json *v, struct classify_request *r, medley_error *err)
{
    return json_as_bool(v, &r->explain)
               ? MEDLEY_OK
               : fail(err, MEDLEY_EINVAL, "explain: must be true or false");
}

static medley_status read_cache(const json *v, struct classify_request *r, medley_error *err)
{
    static const char *const names[] = {
        [CACHE_ON] = "on", [CACHE_OFF] = "off", [CACHE_ONLY] = "only"};
    const char *text;
    for (size_t i = 0; json_as_text(v, &text) && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            r->cache = (enum cache_use)i;
            return MEDLEY_OK;
        }
    }
    return fail(err, MEDLEY_EINVAL, "cache: must be \"on\", \"off\" or \"only\"");
}

static medley_status read_max_age(const json *v, struct classify_request *r, medley_error *err)
{
    double seconds;
    if (!json_as_double(v, &seconds) || !(seconds >= 0 && seconds <= MAX_AGE))
        return fail(err, MEDLEY_EINVAL, "max_age_s: must be a number from 0 to %.0f", MAX_AGE);
    r->max_age_ms = (int64_t)(seconds * 1e3);
    return MEDLEY_OK;
}

static medley_status read_deadline(const json *v, struct classify_request *r, medley_error *err)
{
    if (!json_as_double(v, &r->deadline_ms) ||
        !(r->deadline_ms >= 1 && r->deadline_ms <= CLASSIFY_MAX_DEADLINE))
        return fail(err, MEDLEY_EINVAL, "deadline_ms: must be a number from 1 to %d",
                    CLASSIFY_MAX_DEADLINE);
    return MEDLEY_OK;
}

static medley_status read_models(const json *v, struct classify_request *r, medley_error *err)
{
    size_t n = json_count(v);
    if (json_kind_of(v) != JSON_ARRAY || n > MEDLEY_MAX_MODELS)
        return fail(err, MEDLEY_EINVAL, "models: must be a list of 1 to %d names",
                    MEDLEY_MAX_MODELS);
    r->asks_none = n == 0;
    r->models = mem_alloc(n, sizeof *r->models);
    if (!r->models)
        return fail_memory(err, "models");
    for (const json *m = json_first(v); m; m = json_next(m)) {
        const char *name;
        if (!json_as_text(m, &name))
            return fail(err, MEDLEY_EINVAL, "models[%zu]: must be a name", r->n_models);
        for (size_t i = 0; i < r->n_models; i++)
            if (strcmp(name, r->models[i]) == 0)
                return fail(err, MEDLEY_EINVAL, "models[%zu]: '%.100s' is given twice",
                            r->n_models, name);
        r->models[r->n_models++] = name;
    }
    return MEDLEY_OK;
}

static const struct {
    const char *key;
    medley_status (*read)(const json *v, struct classify_request *r, medley_error *err);
    bool required;
    bool of_products; /* of POST /v1/products, too */
} keys[] = {
    {"query", read_query, true, false},      {"locale", read_locale, false, true},
    {"products", read_products, true, true}, {"explain", read_explain, false, false},
    {"cache", read_cache, false, false},     {"max_age_s", read_max_age, false, false},
    {"models", read_models, false, false},   {"deadline_ms", read_deadline, false, false},
};
#define N_KEYS (sizeof keys / sizeof keys[0])

/* What is wrong between keys. */
static medley_status check_together(struct classify_request *r, medley_error *err)
{
    if (r->explain && r->cache == CACHE_ONLY)
        return fail(err, MEDLEY_EINVAL, "explain: not with \"cache\": \"only\"");
    if (r->said_ends && r->cache == CACHE_ONLY)
        return fail(err, MEDLEY_EINVAL, "predictions: not with \"cache\": \"only\"");
    if (r->asks_none && !r->said_ends)
        return fail(err, MEDLEY_EINVAL,
                    "models: must be a list of 1 to %d names, unless a product has predictions",
                    MEDLEY_MAX_MODELS);
    if (r->said_ends)
        r->cache = CACHE_OFF;
    return MEDLEY_OK;
}

static medley_status read_root(struct classify_request *r, medley_error *err)
{
    unsigned seen = 0;
    bool update = r->of_texts;
    if (json_kind_of(r->root) != JSON_OBJECT)
        return fail(err, MEDLEY_EINVAL, "body: must be an object");
    for (const json *m = json_first(r->root); m; m = json_next(m)) {
        size_t k = 0;
        while (k < N_KEYS && strcmp(keys[k].key, json_key(m)) != 0)
            k++;
        if (k == N_KEYS || (update && !keys[k].of_products))
            return fail(err, MEDLEY_EINVAL, "%.100s: unknown key", json_key(m));
        if (seen & 1u << k)
            return fail(err, MEDLEY_EINVAL, "%s: given twice", keys[k].key);
        seen |= 1u << k;
        medley_status st = keys[k].read(m, r, err);
        if (st)
            return st;
    }
    for (size_t k = 0; k < N_KEYS; k++) {
        bool needed = keys[k].required && (!update || keys[k].of_products);
        if (needed && !(seen & 1u << k))
            return fail(err, MEDLEY_EINVAL, "%s: missing", keys[k].key);
    }
    return check_together(r, err);
}

/* A full request has 1,000 products of 7 fields, and of each what 32 models say of 4 classes.
 */
static const struct json_limits request_limits = {.values = 200000, .depth = 5};

static medley_status parse(const char *body, size_t n, bool update,
                           struct classify_request *out, medley_error *err)
{
    struct classify_request r = {.locale = {"us", 2}, .max_age_ms = -1, .of_texts = update};
    struct str text = {body, n};
    medley_status st = json_parse_within(text, "body", request_limits, &r.root, err);
    if (!st)
        st = read_root(&r, err);
    if (st)
        classify_request_deinit(&r);
    else
        *out = r;
    return st;
}

medley_status classify_request_parse(const char *body, size_t n, struct classify_request *out,
                                     medley_error *err)
{
    return parse(body, n, false, out, err);
}

static medley_status check_update(const medley_product *p, size_t i, medley_error *err)
{
    if (p->id.n && p->has_text)
        return MEDLEY_OK;
    return fail(err, MEDLEY_EINVAL, "products[%zu].%s: missing%s", i, p->id.n ? "title" : "id",
                p->id.n ? "" : " or empty");
}

medley_status products_request_parse(const char *body, size_t n, struct classify_request *out,
                                     medley_error *err)
{
    medley_status st = parse(body, n, true, out, err);
    if (st)
        return st;
    for (size_t i = 0; i < out->n_products && !st; i++)
        st = check_update(&out->products[i], i, err);
    if (st)
        classify_request_deinit(out);
    return st;
}

void classify_request_deinit(struct classify_request *r)
{
    mem_free(r->products);
    mem_free(r->models);
    mem_free(r->said_ends);
    predictions_deinit(&r->predictions);
    json_free(r->root);
    *r = (struct classify_request){0};
}
