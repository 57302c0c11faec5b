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
    is_refused("{\"query\":[[[[[\"q\"]]]]]}", "body:1: nested more than 5 deep");
    is_refused("{\"query\":[[[[\"q\"]]]]}", "query: must be text");
    is_refused("{\"query\":\"q\",\"products\":[\"B\"],\"deadline_ms\":0}",
               "deadline_ms: must be a number from 1 to 600000");
    is_refused("{\"query\":\"q\",\"products\":[\"B\"],\"max_age_s\":-1}",
               "max_age_s: must be a number from 0 to 1000000000");
    is_refused("{\"query\":\"q\",\"products\":[\"B\"],\"models\":[]}",
               "models: must be a list of 1 to 32 names, unless a product has predictions");
    is_refused("{\"query\":\"q\",\"products\":[\"B\"],\"models\":{}}",
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
    for (int i = 0; i < 210000; i++)
        sb_addz(&b, "[],");
    is_refused(b.s, "body:1: more than 200000 values");
    sb_deinit(&b);
}

/* ---- predictions ------------------------------------------------------------------------- */

static bool said(const struct classify_request *r, size_t product, size_t at, const char *name,
                 const float *values, size_t n)
{
    size_t i = at + (product ? r->said_ends[product - 1] : 0);
    if (i >= r->said_ends[product])
        return false;
    const struct prediction *p = &r->predictions.items[i];
    return strcmp(r->predictions.names[p->name], name) == 0 && p->n == n &&
           memcmp(r->predictions.values + p->values, values, n * sizeof *values) == 0;
}

static void test_predictions(void)
{
    static const char whole[] =
        "{\"products\": [\"B1\", {\"id\": \"B2\", \"predictions\": {\"a\": [0.25,0.75],\n"
        "\"s\\u00e9 \\\"x\\\"\" : [ 1e0 , 0.0E+1,-0 ] } },\n"
        "{\"predictions\": { }, \"title\": \"{[\\\"\"},"
        "{\"predictions\": {\"s\303\251 \\\"x\\\"\":[1]}, \"id\": \"B3\"}],"
        "\"query\": \"q\", \"models\": []}";
    static const float a[] = {0.25f, 0.75f}, s[] = {1, 0, -0.0f};
    struct classify_request r = {0};
    medley_error err = {0};
    ok(classify_request_parse(whole, sizeof whole - 1, &r, &err) == MEDLEY_OK,
       "a request with predictions: %s", err.message);
    ok(r.n_products == 4 && r.asks_none && r.cache == CACHE_OFF, "its keys");
    ok(r.said_ends && r.said_ends[0] == 0, "a product without");
    ok(said(&r, 1, 0, "a", a, 2) && said(&r, 1, 1, "s\303\251 \"x\"", s, 3), "two models");
    ok(!r.products[1].has_text && r.products[2].has_text, "they are no text");
    ok(!said(&r, 2, 0, "", NULL, 0), "none of a product");
    ok(said(&r, 3, 0, "s\303\251 \"x\"", s, 1) && r.predictions.n_names == 2,
       "a name is a name, escaped or not");
    classify_request_deinit(&r);
    size_t wrong = 0;
    for (size_t n = 0; n < sizeof whole - 1; n++)
        wrong += classify_request_parse(whole, n, &r, &err) == MEDLEY_OK;
    ok(wrong == 0, "cut short it is refused");
    bool told = true;
    for (size_t n = 0; n < 60; n++) {
        mem_fail_after(n);
        medley_status st = classify_request_parse(whole, sizeof whole - 1, &r, &err);
        mem_fail_after(SIZE_MAX);
        told &= !st || st == MEDLEY_ENOMEM;
        if (!st)
            classify_request_deinit(&r);
    }
    ok(told, "failing allocations are told");
    ok(products_request_parse(whole, sizeof whole - 1, &r, &err) == MEDLEY_EINVAL,
       "not where texts of products are stored");
}

static void test_predictions_refused(void)
{
    static const struct {
        const char *predictions, *why;
    } bad[] = {
        {"7", ": must be an object of models"},
        {"[0]", ": must be an object of models"},
        {"null", ": must be an object of models"},
        {"{\"a\":1}", ".a: must be a list of 1 to 16 numbers"},
        {"{\"a\":[]}", ".a: must be a list of 1 to 16 numbers"},
        {"{\"b\":[1],\"a\":[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}",
         ".a: must be a list of 1 to 16 numbers"},
        {"{\"a\":[0,null]}", ".a[1]: must be a number"},
        {"{\"a\":[0.5,0.5],\"a\":[0,1]}", ".a: given twice"},
        {"{\"a\":[0.5,0.5],\"\\u0061\":[0,1]}", ".a: given twice"},
        {"{\"a\":[0.5,0.498]}", ".a: sums to 0.998, not 1"},
        {"{\"a\":[1.1,-0.1]}", ".a[0]: must be from 0 to 1"},
        {"{\"a\":[0.9,-0.1,0.2]}", ".a[1]: must be from 0 to 1"},
        {"{\"a\":[1,1e300]}", ".a[1]: must be from 0 to 1"},
    };
    char body[400], why[200];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(body, sizeof body,
                 "{\"query\":\"q\",\"products\":[{\"id\":\"B\",\"predictions\":%s}]}",
                 bad[i].predictions);
        snprintf(why, sizeof why, "products[0].predictions%s", bad[i].why);
        is_refused(body, why);
    }
    is_refused(
        "{\"query\":\"q\",\n\"products\":[{\"id\":\"B\",\"predictions\":{\"a\":\n[01]}}]}",
        "body:3: expected ',' or ']'");
    is_refused(
        "{\"query\":\"q\",\n\"products\":[{\"id\":\"B\",\"predictions\":{\"a\":\n[1]}}],\n]",
        "body:4: expected a string in double quotes");
    is_refused("{\"query\":\"q\",\"products\":[{\"id\":{\"a\":[1]}}]}",
               "products[0].id: must be text");
    is_refused("{\"query\":\"q\",\"products\":[{\"id\":\"B\",\"predictions\":{},"
               "\"predictions\":{}}]}",
               "products[0].predictions: given twice");
    is_refused("{\"query\":\"q\",\"cache\":\"only\",\"products\":[{\"id\":\"B\","
               "\"predictions\":{}}]}",
               "predictions: not with \"cache\": \"only\"");
    is_refused("{\"query\":\"q\",\"products\":[{\"predictions\":{\"a\":[1]}}]}",
               "products[0].id: missing or empty, and there is no title");
}

/* As many as there may be, and one more name than that. */
static void test_many_predictions(void)
{
    struct classify_request r = {0};
    medley_error err = {0};
    struct strbuf b;
    for (int more = 0; more < 2; more++) {
        sb_init(&b);
        sb_addz(&b, "{\"query\":\"q\",\"products\":[");
        for (int i = 0; i < CLASSIFY_MAX_PRODUCTS; i++) {
            sb_addf(&b, "%s{\"id\":\"B%d\",\"predictions\":{", i ? "," : "", i);
            for (int m = 0; m < MEDLEY_MAX_MODELS; m++)
                sb_addf(&b, "%s\"m%d\":[0.5,0.25,0.125,0.125]", m ? "," : "",
                        m + (more && i == 999));
            sb_addz(&b, "}}");
        }
        sb_addz(&b, "]}");
        if (more) {
            is_refused(b.s,
                       "products[999].predictions.m32: the request names more than 32 models");
        } else {
            ok(classify_request_parse(b.s, b.n, &r, &err) == MEDLEY_OK &&
                   r.predictions.n_names == 32 && r.said_ends[999] == 32000,
               "32 models of 1,000 products: %s", err.message);
            classify_request_deinit(&r);
        }
        sb_deinit(&b);
    }
}

int main(void)
{
    test_parser();
    test_refusals();
    test_large_refusals();
    test_predictions();
    test_predictions_refused();
    test_many_predictions();
    return tap_done();
}
