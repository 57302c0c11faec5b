/* test_openapi.c: /openapi.json has every route of the table, with its method, body and token,
 * and refers to nothing that is not there. */
#include "serve/server_private.h"
#include "tests/serve_help.h"

static const json *walk(const json *v, const char *const *keys)
{
    for (; v && *keys; keys++)
        v = json_get(v, *keys);
    return v;
}

/* How many references there are; -1000 for each that leads nowhere. */
static int count_references(const json *root, const json *v)
{
    const char *text;
    int n = 0;
    for (const json *m = json_first(v); m; m = json_next(m)) {
        n += count_references(root, m);
        if (!json_key(m) || strcmp(json_key(m), "$ref") != 0)
            continue;
        char kind[32], name[64];
        bool good = json_as_text(m, &text) &&
                    sscanf(text, "#/components/%31[a-z]/%63s", kind, name) == 2 &&
                    walk(root, (const char *[]){"components", kind, name, NULL});
        n += good ? 1 : -1000;
    }
    return n;
}

static void test_route(const json *root, const struct route *route)
{
    const char *method = route->method[0] == 'G'   ? "get"
                         : route->method[0] == 'D' ? "delete"
                                                   : "post";
    const char *text;
    const json *o = walk(root, (const char *[]){"paths", route->path, method, NULL});
    ok(o != NULL, "%s %s is there", route->method, route->path);
    ok(json_as_text(json_get(o, "summary"), &text) && strcmp(text, route->summary) == 0,
       "with its summary");
    const json *answer = walk(o, (const char *[]){"responses", "200", "content", NULL});
    ok(json_count(answer) == 1, "what it answers");
    ok(!json_get(o, "security") == (route->access == OPEN_TO_ALL), "its token");
    const json *body = walk(o, (const char *[]){"requestBody", "content", NULL});
    ok(route->takes ? json_first(json_get(json_get(body, route->takes), "schema")) != NULL
                    : body == NULL,
       "and what it takes");
    ok(!json_get(o, "parameters") == !strchr(route->path, '{'), "and its argument");
}

int main(void)
{
    sb_init(&log_lines);
    struct server *s = start((struct server_options){0});
    struct reply r = ask(server_port(s), "GET", "/openapi.json", "", NULL);
    json *root = NULL;
    medley_error err = {0};
    ok(r.status == 200 && !json_parse(sb_str(&r.body), "openapi", &root, &err), "JSON: %s",
       err.message);
    is_text(at(&r, "openapi"), "3.1.0", "of that version");
    ok(json_count(json_get(root, "paths")) > 0 &&
           json_count(json_get(root, "paths")) <= N_ROUTES,
       "no more paths than routes");
    for (size_t i = 0; i < N_ROUTES; i++)
        test_route(root, &routes[i]);
    ok(count_references(root, root) > 50, "all references lead somewhere");
    json_free(root);
    reply_free(&r);
    server_stop(s, 2);
    sb_deinit(&log_lines);
    return tap_done();
}
