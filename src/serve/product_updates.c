/* product_updates.c: POST /v1/products, GET and DELETE /v1/products/{id}: texts of products
 * that are newer than the bundle's (product_texts.h). A text is part of the keys of the label
 * cache, so labels of another text are never found for it. The disk is waited for, so a worker
 * does it. */
#include "serve/classify_request.h"
#include "serve/server_private.h"

#include "base/error.h"

#include <stdio.h>
#include <time.h>

static bool takes_texts(struct request *r)
{
    if (!r->server->texts)
        answer_error(r, 409, "this server was started without a folder for texts of products");
    return r->server->texts != NULL;
}

static void answer_failure(struct request *r, medley_status st, bool full,
                           const medley_error *err)
{
    if (st == MEDLEY_EINVAL || st == MEDLEY_EFORMAT)
        answer_error(r, 400, "%s", err->message);
    else /* who may do this runs the server, and is told why */
        answer_error(r, full ? 507 : 503, "%s; nothing was stored", err->message);
}

static void answer_member(struct request *r, const char *key, int64_t number, bool is_number)
{
    struct json_writer w;
    jw_init(&w, &r->out, false);
    jw_object(&w);
    jw_key(&w, key);
    if (is_number)
        jw_i64(&w, number);
    else
        jw_bool(&w, number != 0);
    jw_object_end(&w);
    sb_addc(&r->out, '\n');
    answer(r, 200, "application/json");
}

/* ---- POST -------------------------------------------------------------------------------- */

static void run_put(struct job *job)
{
    struct request *r = (struct request *)job;
    struct classify_request asked = {0};
    medley_error err = {0};
    bool full = false;
    struct str body = sb_str(&r->body);
    medley_status st = products_request_parse(body.s ? body.s : "", body.n, &asked, &err);
    if (!st)
        st = product_texts_put(r->server->texts, asked.locale, asked.products, asked.n_products,
                               &full, &err);
    if (st)
        answer_failure(r, st, full, &err);
    else
        answer_member(r, "stored", (int64_t)asked.n_products, true);
    classify_request_deinit(&asked);
    request_done(r);
}

enum handled handle_products_put(struct request *r)
{
    if (!takes_texts(r))
        return HANDLED;
    r->job.run = run_put;
    request_submit_to(r, r->server->admin_jobs);
    return SUBMITTED;
}

/* ---- one product ------------------------------------------------------------------------- */

/* False: answered. */
static bool find_product(struct request *r, medley_text *locale, medley_text *id)
{
    const char *asked =
        MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, "locale");
    *locale = asked ? (medley_text){asked, strlen(asked)} : (medley_text){"us", 2};
    *id = (medley_text){r->argument.s, r->argument.n};
    if (id->n > CLASSIFY_MAX_ID)
        answer_error(r, 400, "id: more than %d bytes", CLASSIFY_MAX_ID);
    else if (!utf8_valid((struct str){id->s, id->n}, NULL))
        answer_error(r, 400, "id: invalid UTF-8");
    else if (!is_locale_tag(*locale))
        answer_error(r, 400, "locale: must be a tag of 1 to %d letters, digits, '-' and '_'",
                     CLASSIFY_MAX_LOCALE);
    else
        return true;
    return false;
}

static void write_text(struct json_writer *w, const char *key, medley_text text)
{
    if (text.n == 0)
        return;
    jw_key(w, key);
    jw_text(w, (struct str){text.s, text.n});
}

static void write_product(struct request *r, const struct product_record *p)
{
    struct json_writer w;
    char time_text[32] = "";
    time_t seconds = (time_t)(p->updated_ms / 1000);
    struct tm utc;
    if (gmtime_r(&seconds, &utc))
        strftime(time_text, sizeof time_text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    jw_init(&w, &r->out, false);
    jw_object(&w);
    write_text(&w, "id", p->product.id);
    write_text(&w, "locale", p->locale);
    jw_key(&w, "updated"), jw_textz(&w, time_text);
    write_text(&w, "title", p->product.title);
    write_text(&w, "description", p->product.description);
    write_text(&w, "bullets", p->product.bullets);
    write_text(&w, "brand", p->product.brand);
    write_text(&w, "color", p->product.color);
    write_text(&w, "category", p->product.category);
    jw_object_end(&w);
    sb_addc(&r->out, '\n');
    answer(r, 200, "application/json");
}

enum handled handle_product_get(struct request *r)
{
    medley_text locale, id;
    struct product_record product;
    struct arena texts;
    medley_error err = {0};
    bool found;
    if (!takes_texts(r) || !find_product(r, &locale, &id))
        return HANDLED;
    arena_init(&texts, 4096);
    if (product_texts_get(r->server->texts, locale, id, &product, &texts, &found, &err))
        answer_error(r, 503, "%s", err.message);
    else if (found)
        write_product(r, &product);
    else
        answer_error(r, 404, "no newer text than the bundle's has come for this product");
    arena_deinit(&texts);
    return HANDLED;
}

static void run_delete(struct job *job)
{
    struct request *r = (struct request *)job;
    medley_text locale, id;
    medley_error err = {0};
    bool found = false;
    if (find_product(r, &locale, &id)) {
        if (product_texts_remove(r->server->texts, locale, id, &found, &err))
            answer_failure(r, MEDLEY_EIO, false, &err);
        else
            answer_member(r, "removed", found, false);
    }
    request_done(r);
}

enum handled handle_product_delete(struct request *r)
{
    if (!takes_texts(r))
        return HANDLED;
    r->job.run = run_delete;
    request_submit_to(r, r->server->admin_jobs);
    return SUBMITTED;
}
