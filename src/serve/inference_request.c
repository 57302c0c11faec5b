/* inference_request.c: see inference_request.h. */
#include "serve/inference_request.h"

#include "base/error.h"
#include "base/map.h"
#include "base/memory.h"

#include <string.h>

/* Nine tensors of 1,000 texts, each a list of its own. */
static const struct json_limits limits = {.values = 30000, .depth = 5};

const char *const inference_outputs[INFERENCE_OUTPUTS] = {"probabilities", "label"};

enum input {
    I_QUERY,
    I_LOCALE,
    I_ID,
    I_TITLE,
    I_DESCRIPTION,
    I_BULLETS,
    I_BRAND,
    I_COLOR,
    I_CATEGORY,
    INPUTS
};

static const struct {
    const char *name;
    size_t limit; /* bytes of a text */
} inputs[INPUTS] = {
    [I_QUERY] = {"query", CLASSIFY_MAX_TEXT},
    [I_LOCALE] = {"locale", CLASSIFY_MAX_LOCALE},
    [I_ID] = {"product_id", CLASSIFY_MAX_ID},
    [I_TITLE] = {"title", CLASSIFY_MAX_TEXT},
    [I_DESCRIPTION] = {"description", CLASSIFY_MAX_TEXT},
    [I_BULLETS] = {"bullets", CLASSIFY_MAX_TEXT},
    [I_BRAND] = {"brand", CLASSIFY_MAX_TEXT},
    [I_COLOR] = {"color", CLASSIFY_MAX_TEXT},
    [I_CATEGORY] = {"category", CLASSIFY_MAX_TEXT},
};

static medley_text *place(struct inference_request *r, enum input which, size_t i)
{
    medley_product *p = &r->products[i];
    medley_text *const places[INPUTS] = {
        [I_QUERY] = &r->query[i],
        [I_LOCALE] = &r->locale[i],
        [I_ID] = &p->id,
        [I_TITLE] = &p->title,
        [I_DESCRIPTION] = &p->description,
        [I_BULLETS] = &p->bullets,
        [I_BRAND] = &p->brand,
        [I_COLOR] = &p->color,
        [I_CATEGORY] = &p->category,
    };
    return places[which];
}

/* ---- tensors ----------------------------------------------------------------------------- */

/* [n] or [n, 1]; the first tensor says n for all. */
static medley_status read_shape(const json *v, const char *name, struct inference_request *r,
                                medley_error *err)
{
    int64_t n = 0, columns = 1;
    const json *first = json_first(v);
    bool good =
        json_kind_of(v) == JSON_ARRAY && json_as_i64(first, &n) &&
        (json_count(v) == 1 ||
         (json_count(v) == 2 && json_as_i64(json_next(first), &columns) && columns == 1));
    if (!good || n < 1 || n > CLASSIFY_MAX_PRODUCTS)
        return fail(err, MEDLEY_EINVAL, "%s: the shape must be [n] or [n, 1], n from 1 to %d",
                    name, CLASSIFY_MAX_PRODUCTS);
    if (r->n && r->n != (size_t)n)
        return fail(err, MEDLEY_EINVAL, "%s: of %lld rows, where another input has %zu", name,
                    (long long)n, r->n);
    if (r->n)
        return MEDLEY_OK;
    r->n = (size_t)n;
    r->query = mem_zalloc(r->n, sizeof *r->query);
    r->locale = mem_zalloc(r->n, sizeof *r->locale);
    r->products = mem_zalloc(r->n, sizeof *r->products);
    return r->query && r->locale && r->products ? MEDLEY_OK : fail_memory(err, "pairs");
}

/* A text, or (in a [n, 1] tensor that is nested) a list of one. */
static bool as_text(const json *v, const char **text)
{
    if (json_kind_of(v) == JSON_ARRAY && json_count(v) == 1)
        v = json_first(v);
    return json_as_text(v, text);
}

static medley_status read_data(const json *v, enum input which, struct inference_request *r,
                               medley_error *err)
{
    const char *name = inputs[which].name, *text;
    if (json_kind_of(v) != JSON_ARRAY || json_count(v) != r->n)
        return fail(err, MEDLEY_EINVAL, "%s: data must be a list of %zu texts", name, r->n);
    size_t i = 0;
    for (const json *one = json_first(v); one; one = json_next(one), i++) {
        if (!as_text(one, &text))
            return fail(err, MEDLEY_EINVAL, "%s: data[%zu] is no text", name, i);
        size_t n = strlen(text);
        if (n > inputs[which].limit)
            return fail(err, MEDLEY_EINVAL, "%s: data[%zu] has %zu bytes, more than %zu", name,
                        i, n, inputs[which].limit);
        *place(r, which, i) = (medley_text){text, n};
    }
    return MEDLEY_OK;
}

static medley_status read_input(const json *v, unsigned *seen, struct inference_request *r,
                                medley_error *err)
{
    const char *name = NULL, *datatype = NULL;
    size_t which = 0;
    if (!json_as_text(json_get(v, "name"), &name))
        return fail(err, MEDLEY_EINVAL, "inputs: each has a name");
    while (which < INPUTS && strcmp(name, inputs[which].name) != 0)
        which++;
    if (which == INPUTS)
        return fail(err, MEDLEY_EINVAL,
                    "inputs: '%.100s' is none of query, locale, product_id, "
                    "title, description, bullets, brand, color, category",
                    name);
    if (*seen & 1u << which)
        return fail(err, MEDLEY_EINVAL, "%s: given twice", name);
    *seen |= 1u << which;
    if (!json_as_text(json_get(v, "datatype"), &datatype) || strcmp(datatype, "BYTES") != 0)
        return fail(err, MEDLEY_EINVAL, "%s: the datatype must be BYTES", name);
    if (!json_get(v, "data"))
        return fail(err, MEDLEY_EINVAL, "%s: data is missing (binary tensors are not taken)",
                    name);
    medley_status st = read_shape(json_get(v, "shape"), inputs[which].name, r, err);
    return st ? st : read_data(json_get(v, "data"), (enum input)which, r, err);
}

static medley_status read_outputs(const json *v, struct inference_request *r, medley_error *err)
{
    r->outputs = (1u << INFERENCE_OUTPUTS) - 1;
    if (!v)
        return MEDLEY_OK;
    if (json_kind_of(v) != JSON_ARRAY || json_count(v) == 0)
        return fail(err, MEDLEY_EINVAL, "outputs: must be a list");
    r->outputs = 0;
    for (const json *o = json_first(v); o; o = json_next(o)) {
        const char *name = NULL;
        unsigned which = 0;
        json_as_text(json_get(o, "name"), &name);
        while (name && which < INFERENCE_OUTPUTS && strcmp(name, inference_outputs[which]) != 0)
            which++;
        if (!name || which == INFERENCE_OUTPUTS)
            return fail(err, MEDLEY_EINVAL, "outputs: there are probabilities and label");
        r->outputs |= 1u << which;
    }
    return MEDLEY_OK;
}

/* ---- pairs and lists --------------------------------------------------------------------- */

static medley_status check_pairs(struct inference_request *r, unsigned seen, medley_error *err)
{
    const unsigned texts = ~(1u << I_QUERY | 1u << I_LOCALE | 1u << I_ID);
    if (!(seen & 1u << I_QUERY))
        return fail(err, MEDLEY_EINVAL, "inputs: query is missing");
    if (!(seen & (1u << I_ID | 1u << I_TITLE)))
        return fail(err, MEDLEY_EINVAL, "inputs: product_id or title is needed");
    for (size_t i = 0; i < r->n; i++) {
        medley_product *p = &r->products[i];
        if (str_trim((struct str){r->query[i].s, r->query[i].n}).n == 0)
            return fail(err, MEDLEY_EINVAL, "query: data[%zu] is blank", i);
        if (r->locale[i].n == 0)
            r->locale[i] = (medley_text){"us", 2};
        p->has_text = seen & texts && p->title.n;
        if (!p->has_text && !p->id.n)
            return fail(err, MEDLEY_EINVAL,
                        "title: data[%zu] is empty, and there is no product_id", i);
    }
    return MEDLEY_OK;
}

/* Stable: lists in the order in which their query first appears. */
static medley_status make_lists(struct inference_request *r, medley_error *err)
{
    struct map *lists = map_new(r->n);
    uint32_t *list = mem_alloc(r->n, sizeof *list);
    struct strbuf key;
    sb_init(&key);
    r->order = mem_alloc(r->n, sizeof *r->order);
    r->list_end = mem_zalloc(r->n + 1, sizeof *r->list_end);
    bool good = lists && list && r->order && r->list_end;
    for (size_t i = 0; i < r->n && good; i++) {
        bool added;
        sb_clear(&key);
        sb_add(&key, r->locale[i].s, r->locale[i].n);
        sb_addc(&key, '\0');
        sb_add(&key, r->query[i].s, r->query[i].n);
        list[i] = map_add(lists, sb_str(&key), &added);
        good = list[i] != MAP_NONE && !key.failed;
        if (good)
            r->list_end[list[i]]++;
    }
    if (good) {
        uint32_t end = 0;
        r->n_lists = map_count(lists);
        for (size_t l = 0; l < r->n_lists; l++) { /* where it begins, for now */
            uint32_t count = r->list_end[l];
            r->list_end[l] = end;
            end += count;
        }
        for (size_t i = 0; i < r->n; i++)
            r->order[r->list_end[list[i]]++] = (uint32_t)i;
    }
    sb_deinit(&key);
    map_free(lists);
    mem_free(list);
    return good ? MEDLEY_OK : fail_memory(err, "pairs");
}

static medley_status read_root(struct inference_request *r, medley_error *err)
{
    const json *list = json_get(r->root, "inputs");
    unsigned seen = 0;
    if (json_kind_of(r->root) != JSON_OBJECT || json_kind_of(list) != JSON_ARRAY)
        return fail(err, MEDLEY_EINVAL, "inputs: must be a list");
    json_as_text(json_get(r->root, "id"), &r->id);
    medley_status st = read_outputs(json_get(r->root, "outputs"), r, err);
    for (const json *v = json_first(list); v && !st; v = json_next(v))
        st = read_input(v, &seen, r, err);
    if (!st)
        st = check_pairs(r, seen, err);
    return st ? st : make_lists(r, err);
}

medley_status inference_request_parse(struct str body, struct inference_request *out,
                                      medley_error *err)
{
    struct inference_request r = {.n = 0};
    medley_status st = json_parse_within(body, "body", limits, &r.root, err);
    if (!st)
        st = read_root(&r, err);
    if (st)
        inference_request_deinit(&r);
    else
        *out = r;
    return st;
}

void inference_request_deinit(struct inference_request *r)
{
    mem_free(r->query);
    mem_free(r->locale);
    mem_free(r->products);
    mem_free(r->order);
    mem_free(r->list_end);
    json_free(r->root);
    *r = (struct inference_request){.n = 0};
}
