/* test_serve_cache.c: the server over a cache folder: labels outlive it, those of bundles that
 * are gone do not; what /v1/bundle and /metrics tell of the tiers; a folder that cannot be
 * used. */
#include "base/file.h"
#include "tests/serve_help.h"

static char cache_folder[128], bundles[128];
static char warning[512];

static void keep_warning(void *context, const char *text)
{
    (void)context;
    snprintf(warning, sizeof warning, "%s", text);
}

static struct server *start_as(const char *bundle, struct server_options o)
{
    struct server *s = NULL;
    struct engine e = fake;
    static struct engine engine;
    medley_error err = {0};
    e.id = bundle;
    engine = e;
    o.log = keep_log;
    o.warn = keep_warning;
    if (server_start(&engine, &o, &s, &err)) {
        printf("Bail out! %s\n", err.message);
        exit(1);
    }
    return s;
}

static unsigned long metric(uint16_t port, const char *name)
{
    struct reply r = ask(port, "GET", "/metrics", "", NULL);
    char line[128];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *found = strstr(body_of(&r), line);
    unsigned long value = found ? strtoul(found + strlen(line), NULL, 10) : 9999;
    reply_free(&r);
    return value;
}

static bool becomes(uint16_t port, const char *name, unsigned long wanted)
{
    for (int i = 0; i < 500; i++) {
        if (metric(port, name) == wanted)
            return true;
        sleep_ms(10);
    }
    return false;
}

#define BODY "{\"query\":\"q\",\"products\":[\"A\",\"BB\",\"CCC\"]}"
#define LMDB "{tier=\"lmdb\"}"

static bool ask_cached(uint16_t port)
{
    struct reply r = classify(port, BODY);
    bool cached = strcmp(at(&r, "results/2/cached"), "true") == 0;
    reply_free(&r);
    return cached;
}

static void test_restarts(void)
{
    struct server_options o = {
        .cache_folder = cache_folder, .cache_disk_bytes = 4 << 20, .bundles = bundles};
    struct server *s = start_as("aaaa", o);
    uint16_t port = server_port(s);
    ok(!ask_cached(port) && ask_cached(port), "judged, then remembered");
    ok(becomes(port, "medley_cache_tier_entries" LMDB, 3), "and on the disk");
    struct reply r = ask(port, "GET", "/v1/bundle", "", NULL);
    is_text(at(&r, "cache/tiers/0/name"), "memory", "/v1/bundle: the tiers");
    is_text(at(&r, "cache/tiers/0/hits"), "3", "what they found");
    is_text(at(&r, "cache/tiers/1/name"), "lmdb", "the second");
    is_text(at(&r, "cache/tiers/1/up"), "true", "is there");
    reply_free(&r);
    ok(metric(port, "medley_cache_tier_lookup_seconds_count" LMDB) == 1,
       "memory answers what it can");
    ok(server_stop(s, 2), "stopped");
    s = start_as("aaaa", o);
    port = server_port(s);
    ok(ask_cached(port), "another server remembers");
    ok(metric(port, "medley_cache_tier_hits_total" LMDB) == 3 &&
           metric(port, "medley_cache_tier_hits_total{tier=\"memory\"}") == 0,
       "from the disk");
    server_stop(s, 2);
    s = start_as("bbbb", o);
    port = server_port(s);
    ok(!ask_cached(port), "another bundle does not");
    ok(metric(port, "medley_cache_tier_entries" LMDB) == 3, "though its labels are kept");
    server_stop(s, 2);
    char *gone = path_join(bundles, "aaaa");
    remove_tree(gone, NULL);
    mem_free(gone);
    s = start_as("bbbb", o);
    port = server_port(s);
    ok(becomes(port, "medley_cache_tier_entries" LMDB, 0) &&
           metric(port, "medley_cache_tier_evicted_total" LMDB) == 3,
       "until the bundle is gone");
    struct server *second = start_as("bbbb", o);
    ok(strstr(warning, "another process") != NULL, "a second server warns: %s", warning);
    ok(!ask_cached(server_port(second)) && ask_cached(server_port(second)),
       "and serves from memory");
    ok(metric(server_port(second), "medley_cache_tier_up" LMDB) == 9999, "it has no such tier");
    server_stop(second, 2);
    server_stop(s, 2);
}

static void test_refused(void)
{
    struct server *s = NULL;
    medley_error err = {0};
    struct server_options o = {.redis = "localhost"};
    ok(server_start(&fake, &o, &s, &err) == MEDLEY_EINVAL && strstr(err.message, "host:port"),
       "an address that is none: %s", err.message);
}

#define ADMIN "Authorization: Bearer admin-token-0123456\r\n"

static int invalidate(uint16_t port, const char *path, const char *headers, const char *body,
                      const char *says)
{
    struct reply r = ask(port, "POST", path, headers, body);
    int status = strstr(body_of(&r), says) ? r.status : -r.status;
    reply_free(&r);
    return status;
}

static void test_invalidation(bool disk)
{
    static const struct {
        const char *path, *headers, *body;
        int status;
        const char *says;
    } refused[] = {
        {"/v1/products/A:invalidate", "", "", 401, "bearer"},
        {"/v1/products/:invalidate", ADMIN, "", 405, "not possible"},
        {"/v1/products/A:delete", ADMIN, "", 405, "not possible"},
        {"/v1/products/%FF:invalidate", ADMIN, "", 400, "invalid UTF-8"},
        {"/v1/products:invalidate", ADMIN, "{}", 415, "must be"},
        {"/v1/products:invalidate", ADMIN JSON_TYPE, "{\"ids\":[]}", 400, "1 to 10000"},
        {"/v1/products:invalidate", ADMIN JSON_TYPE, "{\"ids\":[\"A\",7]}", 400, "ids[1]"},
        {"/v1/products:invalidate", ADMIN JSON_TYPE, "{\"ids\":[\"\"]}", 400, "ids[0]"},
        {"/v1/products:invalidate", ADMIN JSON_TYPE, "{\"id\":[\"A\"]}", 400, "unknown key"},
        {"/v1/products:invalidate", ADMIN JSON_TYPE, "[", 400, "body"},
    };
    struct server_options o = {.cache_folder = disk ? cache_folder : NULL,
                               .cache_disk_bytes = 4 << 20,
                               .admin_token = "admin-token-0123456"};
    struct server *s = start_as("cccc", o);
    uint16_t port = server_port(s);
    ok(!ask_cached(port) && ask_cached(port), "remembered, %s a disk",
       disk ? "with" : "without");
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        ok(invalidate(port, refused[i].path, refused[i].headers, refused[i].body,
                      refused[i].says) == refused[i].status,
           "refused: %s %s", refused[i].path, refused[i].body);
    ok(ask_cached(port), "which changes nothing");
    ok(invalidate(port, "/v1/products/B%42:invalidate", ADMIN, "", "\"invalidated\":1") == 200,
       "BB is invalidated");
    ok(!ask_cached(port) && ask_cached(port), "and judged anew");
    ok(invalidate(port, "/v1/products:invalidate", ADMIN JSON_TYPE,
                  "{\"ids\":[\"A\",\"other\"]}", "\"invalidated\":2") == 200,
       "so are several at once");
    ok(!ask_cached(port) && ask_cached(port), "and judged anew");
    server_stop(s, 2);
    o.no_cache = true;
    s = start_as("cccc", o);
    ok(invalidate(server_port(s), "/v1/products/A:invalidate", ADMIN, "", "1") == 200,
       "without a cache there is nothing to do");
    server_stop(s, 2);
}

int main(void)
{
    const char *folder = tap_folder();
    medley_error err;
    snprintf(cache_folder, sizeof cache_folder, "%s/labels", folder);
    snprintf(bundles, sizeof bundles, "%s/bundles", folder);
    static const char *const names[] = {"aaaa", "bbbb"};
    for (size_t i = 0; i < 2; i++) {
        char *path = path_join(bundles, names[i]);
        make_folders(path, &err);
        mem_free(path);
    }
    sb_init(&log_lines);
    test_restarts();
    test_refused();
    test_invalidation(true);
    test_invalidation(false);
    sb_deinit(&log_lines);
    return tap_done();
}
