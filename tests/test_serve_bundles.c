/* test_serve_bundles.c: other bundles while the server runs: activation, warming, rollback, the
 * shadow, tokens; ranking and the other options of a request. Before fake engines. */
#include "base/cpu.h"
#include "tests/serve_help.h"

#define ADMIN "Authorization: Bearer 0123456789abcdef-admin\r\n"

/* ---- engines ------------------------------------------------------------------------------
 */

static atomic_uint opened, closed, next_calls;
static atomic_bool slow_opening;

/* Says I of everything. */
static medley_status next_classify(void *context, medley_text query, medley_text locale,
                                   const medley_product *products, size_t n,
                                   const medley_classify_options *options,
                                   medley_result *results, medley_error *err)
{
    (void)context, (void)query, (void)locale, (void)products, (void)options, (void)err;
    atomic_fetch_add(&next_calls, 1);
    for (size_t i = 0; i < n; i++)
        results[i] = (medley_result){
            .label = 2, .models_used = 1, .probabilities = {0.25f, 0.25f, 0.5f}};
    return MEDLEY_OK;
}

static void close_fake(struct engine *e)
{
    (void)e;
    atomic_fetch_add(&closed, 1);
}

/* folder/next and folder/again are bundles, folder/other has other classes. */
static medley_status open_fake(const char *folder, struct engine *out, medley_error *err)
{
    const char *name = strrchr(folder, '/') + 1;
    if (atomic_load(&slow_opening))
        sleep_ms(200);
    if (strcmp(name, "next") && strcmp(name, "again") && strcmp(name, "other"))
        return fake_fail(err, strcmp(name, "none") ? MEDLEY_EIO : MEDLEY_ENOTFOUND,
                         "cannot open that");
    *out = fake;
    out->id = strcmp(name, "again") ? "feedfeedfeedfeedfeedfeedfeedfeed" : fake.id;
    out->classify = strcmp(name, "again") ? next_classify : fake_classify;
    out->close = close_fake;
    if (strcmp(name, "other") == 0)
        out->classes[2] = "X";
    atomic_fetch_add(&opened, 1);
    return MEDLEY_OK;
}

static struct server *start_with_bundles(struct server_options o)
{
    atomic_store(&opened, 0);
    atomic_store(&closed, 0);
    o.bundles = "/folder";
    o.open = open_fake;
    return start(o);
}

static struct reply admin(uint16_t port, const char *what, const char *body)
{
    char path[64];
    snprintf(path, sizeof path, "/v1/bundles:%s", what);
    return ask(port, "POST", path, JSON_TYPE ADMIN, body);
}

static void is_answer(struct reply r, int status, const char *path, const char *wanted)
{
    ok(r.status == status, "status %d is %d", r.status, status);
    is_text(at(&r, path), wanted, "  %s: %s", path, wanted);
    reply_free(&r);
}

#define ONE "{\"query\":\"mouse\",\"products\":[\"B12\"]}"

static const struct server_options with_admin = {.admin_token = "0123456789abcdef-admin"};

/* ---- tests --------------------------------------------------------------------------------
 */

static void test_activate(void)
{
    struct server *s = start_with_bundles(with_admin);
    uint16_t port = server_port(s);
    is_answer(classify(port, ONE), 200, "results/0/label", "E");
    is_answer(admin(port, "rollback", "{}"), 409, "error", "there is no bundle to go back to");
    is_answer(admin(port, "activate", "{\"bundle\":\"none\"}"), 404, "error",
              "cannot open that");
    is_answer(admin(port, "activate", "{\"bundle\":\"../next\"}"), 400, "error",
              "bundle: must be the name of a bundle");
    is_answer(admin(port, "activate", "{\"bundle\":\"other\"}"), 400, "error",
              "bundle feedfeedfeedfeedfeedfeedfeedfeed has other classes: it needs a restart");
    ok(atomic_load(&opened) == 1 && atomic_load(&closed) == 1, "which is closed again");
    is_answer(admin(port, "activate", "{\"bundle\":7}"), 400, "error",
              "bundle: must be the name of a bundle");
    is_answer(admin(port, "activate", "{\"share\":1}"), 400, "error", "share: unknown key");
    is_answer(classify(port, ONE), 200, "results/0/label", "E");

    unsigned calls = atomic_load(&next_calls);
    is_answer(admin(port, "activate", "{\"bundle\":\"next\"}"), 200, "warmed_requests", "2");
    ok(atomic_load(&next_calls) == calls + 2, "recent requests warm it");
    struct reply r = classify(port, ONE);
    is_text(at(&r, "results/0/label"), "I", "the new bundle answers");
    is_text(at(&r, "results/0/cached"), "true", "from a cache that warming filled");
    is_text(at(&r, "bundle"), "feedfeedfeedfeedfeedfeedfeedfeed", "under its own id");
    reply_free(&r);

    is_answer(admin(port, "rollback", "{}"), 200, "active", fake.id);
    is_answer(classify(port, ONE), 200, "results/0/label", "E");
    is_answer(admin(port, "rollback", "{}"), 200, "previous", fake.id);
    is_answer(classify(port, ONE), 200, "results/0/label", "I");
    is_answer(admin(port, "activate", "{\"bundle\":\"again\"}"), 200, "active", fake.id);
    is_answer(admin(port, "activate", "{\"bundle\":\"next\"}"), 200, "previous", fake.id);
    ok(atomic_load(&opened) == 4 && atomic_load(&closed) == 2,
       "what is neither active nor previous is closed");
    struct server_change change = {0};
    medley_error err = {0};
    ok(server_activate(s, "again", &change, &err) == MEDLEY_OK &&
           strcmp(change.active, fake.id) == 0,
       "the program may do the same");
    ok(server_stop(s, 2), "stop");
    ok(atomic_load(&opened) == atomic_load(&closed), "at the end everything is closed");
}

struct client {
    uint16_t port;
    atomic_bool *stop;
    unsigned sent, good;
};

static void *keep_asking(void *context)
{
    struct client *c = context;
    while (!atomic_load(c->stop)) {
        struct reply r =
            classify(c->port, "{\"query\":\"q\",\"cache\":\"off\",\"products\":[\"B12\"]}");
        bool new = strcmp(at(&r, "bundle"), fake.id) != 0;
        c->sent++;
        c->good += r.status == 200 && strcmp(at(&r, "results/0/label"), new ? "I" : "E") == 0;
        reply_free(&r);
    }
    return NULL;
}

static void test_swaps_under_load(void)
{
    struct server *s = start_with_bundles(with_admin);
    atomic_bool stop = false;
    struct client c = {.port = server_port(s), .stop = &stop};
    pthread_t thread;
    pthread_create(&thread, NULL, keep_asking, &c);
    unsigned swaps = 0;
    for (int i = 0; i < 60; i++) {
        struct reply r = admin(server_port(s), i % 3 == 2 ? "rollback" : "activate",
                               i % 3 == 2 ? "{}"
                               : i % 2    ? "{\"bundle\":\"again\"}"
                                          : "{\"bundle\":\"next\"}");
        swaps += r.status == 200;
        reply_free(&r);
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    ok(swaps == 60 && c.sent > 0 && c.good == c.sent,
       "%u swaps: each of %u answers is of one bundle, none fails", swaps, c.sent);
    server_stop(s, 2);
    ok(atomic_load(&opened) == atomic_load(&closed), "and none is left open");
}

static void test_request_in_flight(void)
{
    struct server *s = start_with_bundles(with_admin);
    uint16_t port = server_port(s);
    int fd = dial(port);
    static const char held[] =
        "POST /v1/classify HTTP/1.1\r\nHost: x\r\n" JSON_TYPE "Content-Length: 37\r\n\r\n"
        "{\"query\":\"hold\",\"products\":[\"B1234\"]}";
    atomic_store(&fake_gate, true);
    put(fd, held, strlen(held));
    for (int i = 0; i < 5000 && atomic_load(&fake_running) == 0; i++)
        sleep_ms(1);
    is_answer(admin(port, "activate", "{\"bundle\":\"next\"}"), 200, "previous", fake.id);
    is_answer(classify(port, ONE), 200, "results/0/label", "I");
    atomic_store(&fake_gate, false);
    is_answer(get_reply(fd, false), 200, "bundle", fake.id);
    close(fd);
    server_stop(s, 2);
}

static unsigned pairs_compared(uint16_t port)
{
    struct reply r = ask(port, "GET", "/v1/bundle", "", NULL);
    unsigned n = (unsigned)atoi(at(&r, "shadow/pairs"));
    reply_free(&r);
    return n;
}

static void test_shadow(void)
{
    struct server *s = start_with_bundles(with_admin);
    uint16_t port = server_port(s);
    is_answer(admin(port, "shadow", "{\"bundle\":\"next\",\"share\":2}"), 400, "error",
              "share: must be above 0 and at most 1");
    is_answer(admin(port, "shadow", "{\"bundle\":\"next\",\"share\":1}"), 200, "share", "1");
    is_answer(classify(port, "{\"query\":\"a\",\"products\":[\"B12\", \"B1\"]}"), 200,
              "results/1/label", "I");
    for (int i = 0; i < 2000 && pairs_compared(port) < 2; i++)
        sleep_ms(1);
    struct reply r = ask(port, "GET", "/v1/bundle", "", NULL);
    is_text(at(&r, "shadow/id"), "feedfeedfeedfeedfeedfeedfeedfeed", "the shadow is named");
    is_text(at(&r, "shadow/pairs"), "2", "it judged both pairs");
    is_text(at(&r, "shadow/pairs_differing"), "1", "and differed in one");
    /* (.75 .125 .125) and (.125 .125 .75) against (.25 .25 .5): 0.5 and 0.25 */
    is_text(at(&r, "shadow/mean_distance"), "0.375", "by so much");
    reply_free(&r);
    r = ask(port, "GET", "/metrics", "", NULL);
    ok(strstr(body_of(&r), "medley_shadow_pairs_total{label=\"different\"} 1\n") &&
           strstr(body_of(&r), "medley_shadow_distance_total 0.750000\n") &&
           strstr(body_of(&r), "medley_shadow_bundle_info{id=\"feed"),
       "the metrics say so too");
    reply_free(&r);
    r = ask(port, "GET", "/v1/shadow", "", NULL);
    is_text(at(&r, "active"), fake.id, "GET /v1/shadow: beside the active bundle");
    is_text(at(&r, "id"), "feedfeedfeedfeedfeedfeedfeedfeed", "its id");
    is_text(at(&r, "labels/0/2"), "1", "a label that moves");
    is_text(at(&r, "labels/2/2"), "1", "one that stays");
    is_text(at(&r, "labels/0/0"), "0", "and no other");
    is_text(at(&r, "pairs_differing"), "1", "counted");
    is_text(at(&r, "mean_distance"), "0.375", "and measured");
    is_text(at(&r, "models/0/name"), fake.models[0], "its models");
    reply_free(&r);
    r = ask(port, "GET", "/v1/shadow/changes", "", NULL);
    ok(r.status == 401, "who asked what is not for all");
    reply_free(&r);
    r = ask(port, "GET", "/v1/shadow/changes", ADMIN, NULL);
    is_text(at(&r, "changes/0/product"), "B12", "a pair that changes");
    is_text(at(&r, "changes/0/query"), "a", "its query");
    is_text(at(&r, "changes/0/active/label"), "E", "from this");
    is_text(at(&r, "changes/0/shadow/label"), "I", "to that");
    is_text(at(&r, "changes/0/shadow/probability"), "0.5", "so probable");
    is_text(at(&r, "changes/1"), "(absent)", "and no other");
    reply_free(&r);
    is_answer(admin(port, "activate", "{\"bundle\":\"next\"}"), 200, "previous", fake.id);
    r = ask(port, "GET", "/v1/bundle", "", NULL);
    is_text(at(&r, "shadow"), "null", "what is activated is no shadow any more");
    reply_free(&r);
    r = ask(port, "GET", "/v1/shadow", "", NULL);
    is_text(at(&r, "id"), "null", "nor has it counts");
    reply_free(&r);
    is_answer(admin(port, "shadow", "{\"bundle\":null}"), 200, "shadow", "null");
    server_stop(s, 2);
    ok(atomic_load(&opened) == atomic_load(&closed), "shadows are closed");
}

static void test_tokens(void)
{
    struct server *s = start_with_bundles((struct server_options){0});
    is_answer(admin(server_port(s), "rollback", "{}"), 403, "error",
              "this server was started without an admin token");
    server_stop(s, 2);
    struct server_options o = {.admin_token = "0123456789abcdef-admin",
                               .token = "abcdefghijklmnop"};
    s = start_with_bundles(o);
    uint16_t port = server_port(s);
    static const char *const wrong[] = {
        "",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer abcdefghijklmno\r\n",
        "Authorization: Bearer abcdefghijklmnopabcdefghijklmnop\r\n",
        "Authorization: Basic abcdefghijklmnop\r\n",
        "Authorization: Bearer 0123456789abcdef-admin\r\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char headers[200];
        snprintf(headers, sizeof headers, JSON_TYPE "%s", wrong[i]);
        struct reply r = ask(port, "POST", "/v1/classify", headers, ONE);
        ok(r.status == 401 && has_header(&r, "WWW-Authenticate: Bearer"), "refused: '%s'",
           wrong[i]);
        reply_free(&r);
    }
    is_answer(ask(port, "POST", "/v1/classify",
                  JSON_TYPE "Authorization: bearer abcdefghijklmnop\r\n", ONE),
              200, "results/0/label", "E");
    is_answer(ask(port, "POST", "/v1/bundles:rollback",
                  JSON_TYPE "Authorization: Bearer abcdefghijklmnop\r\n", "{}"),
              401, "error", "authorization: a bearer token is needed");
    is_answer(ask(port, "GET", "/healthz", "", NULL), 200, "status", "ok");
    server_stop(s, 2);
}

static void test_rank(uint16_t port)
{
    /* labels by length modulo 3: E of B12, S of B123, I of B1234; gains 1, 0.1, 0 */
    struct reply r = ask(port, "POST", "/v1/rank", JSON_TYPE,
                         "{\"query\":\"q\",\"products\":[\"B1234\",\"B123\",\"B12\",\"C12\"]}");
    ok(r.status == 200, "POST /v1/rank");
    is_text(at(&r, "results/0/id"), "B12", "best first");
    is_text(at(&r, "results/0/position"), "2", "with the place it came from");
    is_text(at(&r, "results/0/expected_gain"), "0.7625", "by expected gain");
    is_text(at(&r, "results/1/id"), "C12", "equal ones as they came");
    is_text(at(&r, "results/2/id"), "B123", "then the next");
    is_text(at(&r, "results/3/id"), "B1234", "worst last");
    reply_free(&r);
}

static void test_cache_options(uint16_t port)
{
    struct reply r = classify(port, "{\"query\":\"only\",\"products\":[\"B12\"]}");
    reply_free(&r);
    unsigned calls = atomic_load(&fake_calls);
    r = classify(port, "{\"query\":\"only\",\"cache\":\"only\",\"products\":[\"B12\",\"B7\"]}");
    is_text(at(&r, "results/0/cached"), "true", "cache only: what is remembered");
    is_text(at(&r, "results/1/label"), "null", "and nothing else");
    ok(atomic_load(&fake_calls) == calls, "without the engine");
    reply_free(&r);
    is_answer(classify(port, "{\"query\":\"only\",\"max_age_s\":100,\"products\":[\"B12\"]}"),
              200, "results/0/cached", "true");
    sleep_ms(5);
    is_answer(classify(port, "{\"query\":\"only\",\"max_age_s\":0.001,\"products\":[\"B12\"]}"),
              200, "results/0/cached", "false");
}

static void test_deadline(uint16_t port)
{
    is_answer(classify(port, "{\"query\":\"late\",\"deadline_ms\":15,\"products\":[\"B12\"]}"),
              200, "results/0/models_late/0", "sage \"x\"");
    is_answer(classify(port, "{\"query\":\"late\",\"products\":[\"B12\"]}"), 200,
              "results/0/cached", "false"); /* it was not remembered */
    struct reply r = ask(port, "GET", "/metrics", "", NULL);
    ok(r.body.n && strstr(r.body.s, "medley_pairs_late_total 1\n"), "and is counted");
    reply_free(&r);
}

static void test_models(uint16_t port)
{
    is_answer(ask(port, "GET", "/v1/models", "", NULL), 200, "models/0/name", "minilm");
    is_answer(classify(port, "{\"query\":\"m\",\"models\":[\"bert\"],\"products\":[\"B12\"]}"),
              400, "error", "models[0]: the bundle has no model 'bert'");
    struct reply r =
        classify(port, "{\"query\":\"m\",\"models\":[\"minilm\"],\"products\":[\"B12\"]}");
    ok(r.status == 200, "a choice of models");
    reply_free(&r);
    is_answer(classify(port, "{\"query\":\"m\",\"products\":[\"B12\"]}"), 200,
              "results/0/cached", "false");
    is_answer(
        classify(port, "{\"query\":\"m\",\"models\":[\"minilm\"],\"products\":[\"B12\"]}"), 200,
        "results/0/cached", "true");
}

int main(void)
{
    sb_init(&log_lines);
    test_activate();
    test_swaps_under_load();
    test_request_in_flight();
    test_shadow();
    test_tokens();
    struct server *s = start((struct server_options){0});
    test_rank(server_port(s));
    test_cache_options(server_port(s));
    test_deadline(server_port(s));
    test_models(server_port(s));
    server_stop(s, 2);
    sb_deinit(&log_lines);
    return tap_done();
}
