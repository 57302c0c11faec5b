/* test_serve_products.c: POST /v1/products and its like through HTTP: the next request is
 * judged by the new text, remembered labels of the old one are not given, a restart keeps it.
 */
#include "tests/serve_help.h"

#define ADMIN "Authorization: Bearer admin-token-0123456\r\n"
#define ASKED "{\"query\":\"shoe\",\"products\":[\"A\",\"BB\"]}"

static char folder[128];

static struct server *start_here(const char *products)
{
    return start((struct server_options){.products_folder = products,
                                         .admin_token = "admin-token-0123456"});
}

static int send_texts(uint16_t port, const char *body, const char *says)
{
    struct reply r = ask(port, "POST", "/v1/products", ADMIN JSON_TYPE, body);
    int status = strstr(body_of(&r), says) ? r.status : -r.status;
    if (status < 0)
        printf("# %s\n", body_of(&r));
    reply_free(&r);
    return status;
}

/* "label cached" of both products. */
static const char *labels(uint16_t port)
{
    static char text[64];
    struct reply r = classify(port, ASKED);
    static const char *const paths[] = {"results/0/label", "results/0/cached",
                                        "results/1/label", "results/1/cached"};
    static const char *const between[] = {" ", ", ", " ", ""};
    size_t n = 0;
    for (int i = 0; i < 4; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", at(&r, paths[i]), between[i]);
    reply_free(&r);
    return text;
}

static int one(uint16_t port, const char *method, const char *path, const char *says)
{
    struct reply r = ask(port, method, path, ADMIN, NULL);
    int status = strstr(body_of(&r), says) ? r.status : -r.status;
    if (status < 0)
        printf("# %s\n", body_of(&r));
    reply_free(&r);
    return status;
}

static void test_update(void)
{
    struct server *s = start_here(folder);
    uint16_t port = server_port(s);
    is_text(labels(port), "S false, I false", "by their ids");
    is_text(labels(port), "S true, I true", "remembered");
    ok(send_texts(port, "{\"products\":[{\"id\":\"A\",\"title\":\"123456\",\"brand\":\"b\"}]}",
                  "{\"stored\":1}") == 200,
       "a new text");
    is_text(labels(port), "E false, I false", "is what the next list is judged by");
    is_text(labels(port), "E true, I true", "and is remembered");
    ok(send_texts(port,
                  "{\"locale\":\"es\",\"products\":[{\"id\":\"A\",\"title\":\"1\"},"
                  "{\"id\":\"BB\",\"title\":\"1\"}]}",
                  "{\"stored\":2}") == 200,
       "texts of another locale");
    is_text(labels(port), "E true, I true", "change nothing here");
    ok(one(port, "GET", "/v1/products/A", "\"title\":\"123456\",\"brand\":\"b\"") == 200,
       "the text is shown");
    ok(one(port, "GET", "/v1/products/%41?locale=es", "\"locale\":\"es\"") == 200,
       "of a locale");
    ok(one(port, "GET", "/v1/products/B", "no newer text") == 404, "if there is one");
    struct reply r =
        ask(port, "POST", "/v2/models/ensemble/infer", JSON_TYPE,
            "{\"inputs\":[{\"name\":\"query\",\"datatype\":\"BYTES\",\"shape\":[1],"
            "\"data\":[\"shoe\"]},{\"name\":\"product_id\",\"datatype\":\"BYTES\","
            "\"shape\":[1],\"data\":[\"A\"]}],\"outputs\":[{\"name\":\"label\"}]}");
    is_text(at(&r, "outputs/0/data/0"), "E", "the other protocol is answered by it, too");
    reply_free(&r);
    r = ask(port, "GET", "/metrics", "", NULL);
    ok(strstr(body_of(&r), "\nmedley_product_texts 3\n") &&
           strstr(body_of(&r), "\nmedley_product_texts_put_total 3\n") &&
           strstr(body_of(&r), "\nmedley_product_texts_failed_total 0\n"),
       "counted");
    reply_free(&r);
    server_stop(s, 2);

    s = start_here(folder);
    port = server_port(s);
    is_text(labels(port), "E false, I false", "after a restart");
    ok(one(port, "DELETE", "/v1/products/A", "{\"removed\":true}") == 200 &&
           one(port, "DELETE", "/v1/products/A", "{\"removed\":false}") == 200,
       "removed, once");
    is_text(labels(port), "S false, I false", "the bundle's text counts again");
    server_stop(s, 2);
}

static void test_refusals(void)
{
    static const struct {
        const char *body, *says;
    } wrong[] = {
        {"[", "body"},
        {"{}", "products: missing"},
        {"{\"products\":[]}", "products: 0"},
        {"{\"products\":[\"A\"]}", "products[0].title: missing"},
        {"{\"products\":[{\"title\":\"t\"}]}", "products[0].id: missing"},
        {"{\"products\":[{\"id\":\"\",\"title\":\"t\"}]}", "products[0].id: missing or empty"},
        {"{\"products\":[{\"id\":\"A\",\"title\":\" \"}]}", "title: missing or blank"},
        {"{\"products\":[{\"id\":\"A\",\"titel\":\"t\"}]}", "titel: unknown key"},
        {"{\"query\":\"q\",\"products\":[{\"id\":\"A\",\"title\":\"t\"}]}",
         "query: unknown key"},
        {"{\"locale\":\"\",\"products\":[{\"id\":\"A\",\"title\":\"t\"}]}", "locale: must"},
        {"{\"products\":[{\"id\":\"A\",\"title\":\"a\"},{\"id\":\"B\"}]}", "products[1].title"},
    };
    struct server *s = start_here(folder);
    uint16_t port = server_port(s);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ok(send_texts(port, wrong[i].body, wrong[i].says) == 400, "refused: %s", wrong[i].body);
    ok(one(port, "GET", "/v1/products/A", "no newer text") == 404,
       "of a refused list nothing is stored");
    struct reply r = ask(port, "POST", "/v1/products", JSON_TYPE, "{}");
    ok(r.status == 401, "not without the admin token");
    reply_free(&r);
    ok(one(port, "DELETE", "/v1/products/%FF", "invalid UTF-8") == 400, "no UTF-8");
    ok(one(port, "GET", "/v1/products/A?locale=", "locale") == 400, "no locale");
    server_stop(s, 2);
    s = start_here(NULL);
    ok(send_texts(server_port(s), "{\"products\":[{\"id\":\"A\",\"title\":\"t\"}]}",
                  "without a folder") == 409,
       "not without a folder");
    server_stop(s, 2);
}

int main(void)
{
    snprintf(folder, sizeof folder, "%s/texts", tap_folder());
    sb_init(&log_lines);
    test_update();
    test_refusals();
    sb_deinit(&log_lines);
    return tap_done();
}
