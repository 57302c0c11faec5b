/* routes.c: the table of routes, and those of a few lines. */
#include "serve/classify_request.h"
#include "serve/server_private.h"

#include "base/cpu.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum handled handle_health(struct request *r)
{
    r->fixed = STR("{\"status\":\"ok\"}\n");
    answer(r, 200, "application/json");
    return HANDLED;
}

/* Requests are refused while the server shuts down, by request.c; else a bundle is there. */
static enum handled handle_ready(struct request *r)
{
    r->fixed = STR("{\"status\":\"ready\"}\n");
    answer(r, 200, "application/json");
    return HANDLED;
}

/* 0 where the system does not tell. */
static uint64_t resident_bytes(void)
{
    uint64_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%*u %" SCNu64, &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static enum handled handle_metrics(struct request *r)
{
    struct server *s = r->server;
    double share;
    struct deployment *shadow = deployment_enter_shadow(&s->deployments, &share);
    r->deployment = deployment_enter(&s->deployments);
    const struct engine *e = &r->deployment->engine;
    struct tier_stats tiers[TIERS] = {0};
    struct strbuf more;
    if (s->cache)
        label_cache_tiers(s->cache, tiers);
    sb_init(&more);
    connections_metrics(&s->connections, &more);
    server_cache_metrics(s, &more);
    if (s->texts)
        product_texts_metrics(s->texts, &more);
    const char *paths[N_ROUTES + 1];
    for (size_t i = 0; i < N_ROUTES; i++)
        paths[i] = routes[i].path;
    paths[N_ROUTES] = "none";
    medley_model_health health[MEDLEY_MAX_MODELS];
    for (size_t m = 0; e->health && m < e->n_models; m++)
        health[m] = e->health(e->context, m);
    if (r->deployment->drift)
        drift_watch_metrics(r->deployment->drift, &more);
    struct gauges g = {.uptime_seconds = clock_seconds() - s->started,
                       .in_flight = atomic_load(&s->in_flight),
                       .queued = jobs_waiting(s->jobs),
                       .cache_entries = tiers[TIER_MEMORY].entries,
                       .cache_bytes = tiers[TIER_MEMORY].bytes,
                       .cache_evicted = tiers[TIER_MEMORY].evicted,
                       .cache_expired = tiers[TIER_MEMORY].stale,
                       .more = sb_str(&more),
                       .resident_bytes = resident_bytes(),
                       .bundle_bytes = e->file_bytes,
                       .bundle = e->id,
                       .version = medley_version(),
                       .shadow = shadow ? shadow->engine.id : NULL,
                       .shadow_agreed = counters_get(&s->shadow.agreed),
                       .shadow_differed = counters_get(&s->shadow.differed),
                       .shadow_dropped = counters_get(&s->shadow.dropped),
                       .shadow_failed = counters_get(&s->shadow.failed),
                       .shadow_distance =
                           (double)counters_get(&s->shadow.distance_millionths) * 1e-6,
                       .models = e->models,
                       .kinds = e->kinds,
                       .n_models = e->n_models,
                       .stores = e->stores,
                       .health = e->health ? health : NULL,
                       .now = (int64_t)time(NULL),
                       .routes = paths,
                       .n_routes = N_ROUTES + 1};
    counters_write(&s->counters, &g, &r->out);
    sb_deinit(&more);
    deployment_leave(shadow);
    answer(r, 200, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    return HANDLED;
}

/* ---- GET /v1/bundle ---------------------------------------------------------------------- */

static void number(struct json_writer *w, const char *key, uint64_t v)
{
    jw_key(w, key);
    jw_i64(w, (int64_t)v);
}

static void write_classes(struct json_writer *w, const struct engine *e)
{
    jw_array(w);
    for (size_t k = 0; k < e->n_classes; k++) {
        jw_object(w);
        jw_key(w, "name");
        jw_textz(w, e->classes[k]);
        jw_key(w, "gain");
        jw_double(w, e->gains[k]);
        jw_object_end(w);
    }
    jw_array_end(w);
}

/* What was made ahead; nothing for models without. */
static void write_store(struct json_writer *w, const medley_store_size *s)
{
    if (s->bytes == 0)
        return;
    jw_key(w, "precomputed");
    jw_object(w);
    number(w, "queries", s->queries);
    number(w, "products", s->products);
    number(w, "pairs", s->pairs);
    number(w, "bytes", s->bytes);
    jw_key(w, "numbers");
    jw_textz(w, s->half ? "float16" : "float32");
    number(w, "made", (uint64_t)s->made);
    number(w, "graph_cutoff", (uint64_t)s->graph_cutoff);
    jw_object_end(w);
}

/* Milliseconds below which the share q of the lists stayed, evenly spread between two limits;
 * beyond the last that limit. NAN, which is written as null: none was asked. */
static double took_ms(const medley_model_health *h, double q)
{
    uint64_t total = 0, below = 0;
    double low = 0, limit = 0.01;
    for (size_t i = 0; i <= MEDLEY_TOOK_LIMITS; i++)
        total += h->took[i];
    for (size_t i = 0; i < MEDLEY_TOOK_LIMITS; i++, low = limit, limit *= 2) {
        uint64_t n = h->took[i];
        if (n && (double)(below + n) >= q * (double)total)
            return low + (limit - low) * (q * (double)total - (double)below) / (double)n;
        below += n;
    }
    return total ? low : NAN;
}

static void write_health(struct json_writer *w, const struct engine *e, size_t m)
{
    static const char *const states[] = {"closed", "open", "half-open"};
    medley_model_health h = e->health(e->context, m);
    jw_key(w, "latency");
    jw_object(w);
    number(w, "lists", h.lists_timed);
    jw_key(w, "p50_ms");
    jw_double(w, took_ms(&h, 0.5));
    jw_key(w, "p99_ms");
    jw_double(w, took_ms(&h, 0.99));
    jw_object_end(w);
    number(w, "lists_failed", h.lists_failed);
    jw_key(w, "breaker");
    if (strcmp(e->kinds[m], "remote") == 0)
        jw_textz(w, states[h.state < 3 ? h.state : 0]);
    else
        jw_null(w);
}

static void write_models(struct json_writer *w, const struct engine *e, bool with_health)
{
    jw_array(w);
    for (size_t m = 0; m < e->n_models; m++) {
        jw_object(w);
        jw_key(w, "name");
        jw_textz(w, e->models[m]);
        jw_key(w, "kind");
        jw_textz(w, e->kinds[m]);
        write_store(w, &e->stores[m]);
        if (with_health && e->health)
            write_health(w, e, m);
        jw_object_end(w);
    }
    jw_array_end(w);
}

/* Null where every model is asked for every pair. */
static void write_cascade(struct json_writer *w, const struct engine *e)
{
    jw_key(w, "cascade");
    if (e->n_stages) {
        jw_array(w);
        for (size_t j = 0; j < e->n_stages; j++)
            jw_textz(w, e->models[e->stages[j]]);
        jw_array_end(w);
    } else {
        jw_null(w);
    }
    jw_key(w, "calibration");
    jw_textz(w, e->calibration ? e->calibration : "none");
}

void write_make(struct json_writer *w, const struct engine *e)
{
    jw_key(w, "models");
    write_models(w, e, false);
    write_cascade(w, e);
}

static void write_memory(struct json_writer *w, const struct engine *e)
{
    jw_object(w);
    number(w, "bundle_file_bytes", e->file_bytes);
    number(w, "process_resident_bytes", resident_bytes());
    jw_object_end(w);
}

static void write_limits(struct json_writer *w, const struct server *s)
{
    jw_object(w);
    number(w, "body_bytes", s->options.max_body);
    number(w, "products", CLASSIFY_MAX_PRODUCTS);
    number(w, "text_bytes", CLASSIFY_MAX_TEXT);
    number(w, "id_bytes", CLASSIFY_MAX_ID);
    number(w, "waiting_requests", s->options.max_queue);
    number(w, "connections", s->max_connections);
    jw_object_end(w);
}

static void write_shadow(struct json_writer *w, struct server *s)
{
    double share;
    struct deployment *shadow = deployment_enter_shadow(&s->deployments, &share);
    if (!shadow) {
        jw_null(w);
        return;
    }
    jw_object(w);
    jw_key(w, "id");
    jw_textz(w, shadow->engine.id);
    jw_key(w, "share");
    jw_double(w, share);
    shadow_write(w, &s->shadow);
    jw_object_end(w);
    deployment_leave(shadow);
}

static enum handled handle_models(struct request *r)
{
    struct json_writer w;
    r->deployment = deployment_enter(&r->server->deployments);
    jw_init(&w, &r->out, false);
    jw_object(&w);
    jw_key(&w, "bundle");
    jw_textz(&w, r->deployment->engine.id);
    jw_key(&w, "models");
    write_models(&w, &r->deployment->engine, true);
    jw_object_end(&w);
    sb_addc(&r->out, '\n');
    answer(r, 200, "application/json");
    return HANDLED;
}

static enum handled handle_bundle(struct request *r)
{
    struct server *s = r->server;
    r->deployment = deployment_enter(&s->deployments);
    const struct engine *e = &r->deployment->engine;
    struct json_writer w;
    jw_init(&w, &r->out, false);
    jw_object(&w);
    jw_key(&w, "id");
    jw_textz(&w, e->id);
    jw_key(&w, "version");
    jw_textz(&w, medley_version());
    jw_key(&w, "classes");
    write_classes(&w, e);
    write_make(&w, e);
    jw_key(&w, "base");
    write_double_classes(&w, e, e->base);
    jw_key(&w, "memory");
    write_memory(&w, e);
    jw_key(&w, "cache");
    server_write_cache(&w, s);
    jw_key(&w, "limits");
    write_limits(&w, s);
    jw_key(&w, "shadow");
    write_shadow(&w, s);
    jw_key(&w, "drift");
    if (r->deployment->drift)
        drift_watch_write(r->deployment->drift, &w);
    else
        jw_null(&w);
    jw_key(&w, "uptime_s");
    jw_double(&w, (double)(uint64_t)((clock_seconds() - s->started) * 1e3) / 1e3);
    jw_object_end(&w);
    sb_addc(&r->out, '\n');
    answer(r, 200, "application/json");
    return HANDLED;
}

/* How the bundle was chosen; nulls where it does not tell. */
static enum handled handle_ensemble(struct request *r)
{
    r->deployment = deployment_enter(&r->server->deployments);
    const struct engine *e = &r->deployment->engine;
    struct json_writer w;
    if (e->about) {
        r->fixed = str_of(e->about);
    } else {
        jw_init(&w, &r->out, false);
        jw_object(&w);
        jw_key(&w, "bundle"), jw_textz(&w, e->id);
        jw_key(&w, "ranking"), jw_null(&w);
        jw_key(&w, "selection"), jw_null(&w);
        jw_object_end(&w);
        sb_addc(&r->out, '\n');
    }
    answer(r, 200, "application/json");
    return HANDLED;
}

/* HEAD is answered wherever GET is. */
const struct route routes[N_ROUTES] = {
    {"POST", "/v1/classify", handle_classify, "application/json", false, FOR_CLIENTS,
     "label products for a query"},
    {"POST", "/v1/rank", handle_rank, "application/json", false, FOR_CLIENTS,
     "the same, best products first"},
    {"GET", "/v1/bundle", handle_bundle, NULL, false, FOR_CLIENTS,
     "what answers: models, classes, limits"},
    {"GET", "/v1/models", handle_models, NULL, false, FOR_CLIENTS, "the base models"},
    {"GET", "/v1/ensemble", handle_ensemble, NULL, false, FOR_CLIENTS,
     "ranking of the models, and how they were chosen"},
    {"GET", "/v1/shadow", handle_shadow_state, NULL, false, FOR_CLIENTS,
     "the bundle in the shadow beside the active one"},
    {"GET", "/v1/shadow/changes", handle_shadow_changes, NULL, false, FOR_ADMINS,
     "pairs that it labels otherwise"},
    {"POST", "/v1/bundles:activate", handle_activate, "application/json", false, FOR_ADMINS,
     "let another bundle answer"},
    {"POST", "/v1/bundles:rollback", handle_rollback, "application/json", false, FOR_ADMINS,
     "go back to the bundle before"},
    {"POST", "/v1/bundles:shadow", handle_shadow, "application/json", false, FOR_ADMINS,
     "compare a bundle in the background"},
    {"POST", "/v1/products:invalidate", handle_invalidate, "application/json", false,
     FOR_ADMINS, "forget the labels of products"},
    {"POST", "/v1/products/{id}:invalidate", handle_invalidate_one, NULL, false, FOR_ADMINS,
     "forget the labels of one product"},
    {"POST", "/v1/products", handle_products_put, "application/json", false, FOR_ADMINS,
     "newer texts of products than the bundle has"},
    {"GET", "/v1/products/{id}", handle_product_get, NULL, false, FOR_CLIENTS,
     "the newer text of a product"},
    {"DELETE", "/v1/products/{id}", handle_product_delete, NULL, false, FOR_ADMINS,
     "let the bundle's text of a product count again"},
    {"GET", "/v2", handle_inference_server, NULL, false, OPEN_TO_ALL,
     "Open Inference Protocol: the server"},
    {"GET", "/v2/health/live", handle_inference_live, NULL, true, OPEN_TO_ALL, "it lives"},
    {"GET", "/v2/health/ready", handle_inference_ready, NULL, false, OPEN_TO_ALL,
     "requests are welcome"},
    {"POST", "/v2/models/{name}/infer", handle_infer, "application/json", false, FOR_CLIENTS,
     "probabilities of the ensemble or of a base model"},
    {"GET", "/v2/models/{name}/ready", handle_inference_model_ready, NULL, false, FOR_CLIENTS,
     "whether there is this model"},
    {"GET", "/v2/models/{name}", handle_inference_model, NULL, false, FOR_CLIENTS,
     "its tensors and classes"},
    {"GET", "/healthz", handle_health, NULL, true, OPEN_TO_ALL, "200 while the process lives"},
    {"GET", "/readyz", handle_ready, NULL, false, OPEN_TO_ALL,
     "200 while requests are welcome, else 503"},
    {"GET", "/metrics", handle_metrics, NULL, true, OPEN_TO_ALL,
     "counters for Prometheus (OpenMetrics)"},
    {"GET", "/openapi.json", handle_openapi, NULL, false, OPEN_TO_ALL,
     "these routes, as OpenAPI 3.1"},
    {"GET", "/", handle_page, NULL, false, OPEN_TO_ALL, "the dashboard"},
    {"GET", "/page.css", handle_css, NULL, false, OPEN_TO_ALL, "its style"},
    {"GET", "/page.js", handle_js, NULL, false, OPEN_TO_ALL, "its script"},
    {"GET", "/page.svg", handle_icon, NULL, false, OPEN_TO_ALL, "its icon"},
};
