/* test_classify_request.c: the parser of POST /v1/classify by itself. */
#include "base/memory.h"
#include "base/str.h"
#include "serve/classify_request.h"
#include "tests/tap.h"

static void is_refused(const char *body, const char *why)
{
    struct classify_request r = {0};
    medley_error err = {0};
    medley_status st = classify_request_parse(body, strlen(body), &r, &err);
    ok(st == MEDLEY_EINVAL || st == MEDLEY_EFORMAT, "refused: %.70s", body);
    is_text(err.message, why, "  because: %s", why);
    if (!st)
        classify_request_deinit(&r);
}

static void test_parser(void)
{
    static const char whole[] =
        "{\"query\": \"a \\u00e9\", \"locale\": \"jp\", \"explain\": true, \"cache\": \"off\","
        "\"products\": [\"B1\", {\"id\": \"B2\"}, {\"title\": \"t\", \"bullets\": \"b\"},"
        "{\"id\": \"B3\", \"title\": \"t\", \"description\": \"d\", \"brand\": \"r\","
        "\"color\": \"c\", \"category\": \"g\"}]}";
    struct classify_request r = {0};
    medley_error err = {0};
    ok(classify_request_parse(whole, sizeof whole - 1, &r, &err) == MEDLEY_OK,
       "a whole request");
    ok(r.query.n == 4 && r.explain && r.cache == CACHE_OFF && r.n_products == 4, "its keys");
    ok(r.locale.n == 2 && memcmp(r.locale.s, "jp", 2) == 0, "its locale");
    ok(!r.products[0].has_text && r.products[0].id.n == 2, "an id alone");
    ok(!r.products[1].has_text && r.products[1].id.s[1] == '2', "an object with an id");
    ok(r.products[2].has_text && r.products[2].id.n == 0 && r.products[2].bullets.n == 1,
       "text without id");
    ok(r.products[3].has_text && r.products[3].category.s[0] == 'g' &&
           r.products[3].color.s[0] == 'c' && r.products[3].brand.s[0] == 'r' &&
           r.products[3].description.s[0] == 'd',
       "text and id");
    classify_request_deinit(&r);
    static const char least[] = "{\"query\":\"q\",\"products\":[\"B\"]}";
    ok(classify_request_parse(least, sizeof least - 1, &r, NULL) == MEDLEY_OK &&
           r.cache == CACHE_ON && !r.explain && memcmp(r.locale.s, "us", 2) == 0,
       "the least request, with its defaults");
    classify_request_deinit(&r);
    for (size_t n = 0; n < sizeof whole - 1; n++) {
        if (classify_request_parse(whole, n, &r, &err) == MEDLEY_OK)
            ok(0, "cut after %zu bytes it must be refused", n);
    }
    for (size_t n = 0; n < 12; n++) {
        mem_fail_after(n);
        if (classify_request_parse(whole, sizeof whole - 1, &r, &err) == MEDLEY_OK)
            classify_request_deinit(&r);
        mem_fail_after(SIZE_MAX);
    }
    ok(1, "failing allocations do not crash it");
}

static void test_refusals(void)
{
    is_refused("", "body:1: unexpected end");
    is_refused("[]", "body: must be an object");
    is_refused("{\"query\":\"q\"}", "products: missing");
    is_refused("{\"products\":[\"B\"]}", "query: missing");
    is_refused("{\"query\":\"q\",\"products\":[\"B\"],\"model\":1}", "model: unknown key");
    is_refused("{\"query\":\"q\",\"query\":\"q\",\"products\":[\"B\"]}", "query: given twice");
    is_refused("{\"query\":7,\"products\":[\"B\"]}", "query: must be text");
    is_refused("{\"query\":\" \\n\",\"products\":[\"B\"]}", "query: blank");
    is_refused("{\"query\":\"q\",\"products\":[]}", "products: 0 are not between 1 and 1000");
    is_refused("{\"query\":\"q\",\"products\":\"B\"}", "products: must be a list");
    is_refused("{\"query\":\"q\",\"products\":[\"B\",7]}",
               "products[1]: must be an id or an object");
    is_refused("{\"query\":\"q\",\"products\":[\"\"]}",
               "products[0]: an id has 1 to 1024 bytes, not 0");
    is_refused("{\"query\":\"q\",\"products\":[{}]}",
               "products[0].id: missing or empty, and there is no title");
    is_refused("{\"query\":\"q\",\"products\":[{\"id\":\"B\",\"brand\":\"x\"}]}",
               "products[0].title: missing or blank beside other text");
    is_refused("{\"query\":\"q\",\"products\":[{\"price\":1}]}",
               "products[0].price: unknown key");
    is_refused("{\"query\":\"q\",\"products\":[{\"id\":\"B\",\"id\":\"B\"}]}",
               "products[0].id: given twice");
    is_refused("{\"query\":\"q\",\"products\":[{\"title\":null}]}",
               "products[0].title: must be text");
    is_refused("{\"query\":\"q\",\"products\":[\"B\"],\"explain\":1}",
               "explain: must be true or false");
    is_refused("{\"query\":\"q\",\"products\":[\"B\"],\"cache\":true}",
               "cache: must be \"on\", \"off\" or \"only\"");
    is_refused("{\"query\":\"q\",\"products\":[\"B\"],\"locale\":\"u s\"}",
               "locale: must be a tag of letters, digits, '-' and '_'");
    is_refused("{\"query\":\"q\",\"products\":[\"B\"]} x", "body:1: more text after the value");
    is_refused("{\"query\":\"\\u0000\",\"products\":[\"B\"]}",
               "body:1: a string holds \\u0000");
    is_refused("{\"query\":\"\xFF\",\"products\":[\"B\"]}", "body:1: invalid UTF-8");
    is_refused("{\"query\":[[[[\"q\"]]]]}", "body:1: nested more than 4 deep");
    is_refused("{\"query\":\"q\",\"products\":[\"B\"],\"deadline_ms\":0}",
               "deadline_ms: must be a number from 1 to 600000");
    is_refused("{\"query\":\"q\",\"products\":[\"B\"],\"max_age_s\":-1}",
               "max_age_s: must be a number from 0 to 1000000000");
    is_refused("{\"query\":\"q\",\"products\":[\"B\"],\"models\":[]}",
               "models: must be a list of 1 to 32 names");
    is_refused("{\"query\":\"q\",\"products\":[\"B\"],\"models\":[3]}",
               "models[0]: must be a name");
    is_refused("{\"query\":\"q\",\"products\":[\"B\"],\"models\":[\"a\",\"a\"]}",
               "models[1]: 'a' is given twice");
    is_refused("{\"query\":\"q\",\"products\":[\"B\"],\"explain\":true,\"cache\":\"only\"}",
               "explain: not with \"cache\": \"only\"");
}

static void test_large_refusals(void)
{
    struct strbuf b;
    sb_init(&b);
    sb_addz(&b, "{\"query\":\"q\",\"products\":[{\"title\":\"");
    for (size_t i = 0; i <= CLASSIFY_MAX_TEXT; i++)
        sb_addc(&b, 'x');
    sb_addz(&b, "\"}]}");
    is_refused(b.s, "products[0].title: 65537 bytes are more than 65536");
    sb_clear(&b);
    sb_addz(&b, "{\"query\":\"q\",\"products\":[\"B\"");
    for (int i = 0; i < CLASSIFY_MAX_PRODUCTS; i++)
        sb_addz(&b, ",\"B\"");
    sb_addz(&b, "]}");
    is_refused(b.s, "products: 1001 are not between 1 and 1000");
    sb_clear(&b);
    sb_addz(&b, "{\"query\":\"q\",\"products\":[");
    for (int i = 0; i < 30000; i++)
        sb_addz(&b, "[],");
    is_refused(b.s, "body:1: more than 20000 values");
    sb_deinit(&b);
}

/* ---- routes ------------------------------------------------------------------------------ */

int main(void)
{
    test_parser();
    test_refusals();
    test_large_refusals();
    return tap_done();
}
