/* products.c: POST /v1/products:invalidate and /v1/products/{id}:invalidate: no label of these
 * products is answered from the cache any more. The disk is waited for, so a worker does it. */
#include "serve/classify_request.h"
#include "serve/server_private.h"

#include "base/error.h"
#include "base/memory.h"

static medley_status read_id(const json *item, size_t i, medley_text *out, medley_error *err)
{
    const char *text;
    if (!json_as_text(item, &text) || !*text || strlen(text) > CLASSIFY_MAX_ID)
        return fail(err, MEDLEY_EINVAL, "ids[%zu]: must be text of 1 to %d bytes", i,
                    CLASSIFY_MAX_ID);
    *out = (medley_text){text, strlen(text)};
    return MEDLEY_OK;
}

/* {"ids": [...]}; the texts are root's, *out is freed with mem_free. */
static medley_status read_ids(const json *root, medley_text **out, size_t *n, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    if (json_kind_of(root) != JSON_OBJECT)
        return fail(err, MEDLEY_EINVAL, "body: must be an object");
    for (const json *m = json_first(root); m; m = json_next(m))
        if (strcmp(json_key(m), "ids") != 0)
            return fail(err, MEDLEY_EINVAL, "%.100s: unknown key", json_key(m));
    if (json_count(root) > 1)
        return fail(err, MEDLEY_EINVAL, "ids: given twice");
    const json *ids = json_get(root, "ids");
    size_t count = ids && json_kind_of(ids) == JSON_ARRAY ? json_count(ids) : 0;
    if (count < 1 || count > PRODUCTS_MAX_IDS)
        return fail(err, MEDLEY_EINVAL, "ids: must be a list of 1 to %d products",
                    PRODUCTS_MAX_IDS);
    medley_text *list = mem_alloc(count, sizeof *list);
    if (!list)
        return fail_memory(err, "a list of products");
    size_t i = 0;
    for (const json *item = json_first(ids); !st && item; item = json_next(item), i++)
        st = read_id(item, i, &list[i], err);
    if (st) {
        mem_free(list);
        return st;
    }
    *out = list;
    *n = count;
    return MEDLEY_OK;
}

static void invalidate(struct request *r, const medley_text *ids, size_t n)
{
    medley_error err = {0};
    struct json_writer w;
    medley_status st =
        r->server->cache ? label_cache_invalidate(r->server->cache, ids, n, &err) : MEDLEY_OK;
    if (st) { /* who may do this runs the server, and is told why */
        answer_error(r, 503, "%s", err.message);
        return;
    }
    jw_init(&w, &r->out, false);
    jw_object(&w);
    jw_key(&w, "invalidated");
    jw_i64(&w, (int64_t)n);
    jw_object_end(&w);
    sb_addc(&r->out, '\n');
    answer(r, 200, "application/json");
}

static const struct json_limits list_limits = {.values = 2 * PRODUCTS_MAX_IDS, .depth = 2};

static void run_list(struct job *job)
{
    struct request *r = (struct request *)job;
    json *root = NULL;
    medley_text *ids = NULL;
    size_t n = 0;
    medley_error err = {0};
    medley_status st = json_parse_within(sb_str(&r->body), "body", list_limits, &root, &err);
    if (!st)
        st = read_ids(root, &ids, &n, &err);
    if (st)
        answer_error(r, st == MEDLEY_ENOMEM ? 503 : 400, "%s", err.message);
    else
        invalidate(r, ids, n);
    mem_free(ids);
    json_free(root);
    request_done(r);
}

static void run_one(struct job *job)
{
    struct request *r = (struct request *)job;
    const medley_text id = {r->argument.s, r->argument.n};
    if (id.n > CLASSIFY_MAX_ID)
        answer_error(r, 400, "id: more than %d bytes", CLASSIFY_MAX_ID);
    else if (!utf8_valid((struct str){id.s, id.n}, NULL))
        answer_error(r, 400, "id: invalid UTF-8");
    else
        invalidate(r, &id, 1);
    request_done(r);
}

static enum handled submit(struct request *r, void (*run)(struct job *job))
{
    r->job.run = run;
    request_submit_to(r, r->server->admin_jobs);
    return SUBMITTED;
}

enum handled handle_invalidate(struct request *r)
{
    return submit(r, run_list);
}

enum handled handle_invalidate_one(struct request *r)
{
    return submit(r, run_one);
}
