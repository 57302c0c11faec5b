/* test_inference.c: the Open Inference Protocol v2 served: requests read strictly, the ensemble
 * and a base model asked over HTTP, and another Medley that uses this one as its model of kind
 * remote. */
#define put http_put /* both headers have one */
#define at reply_at
#include "tests/serve_help.h"
#undef put
#undef at
#include "base/npy.h"
#include "serve/inference_request.h"
#include "tests/plugged_shop.h"

#include <math.h>

#define Q "{\"name\":\"query\",\"shape\":[2],\"datatype\":\"BYTES\",\"data\":[\"a\",\"b\"]}"
#define T "{\"name\":\"title\",\"shape\":[2],\"datatype\":\"BYTES\",\"data\":[\"x\",\"y\"]}"

static void is_refused(const char *body, const char *why)
{
    struct inference_request r;
    medley_error err = {0};
    medley_status st = inference_request_parse(str_of(body), &r, &err);
    if (!ok(st != MEDLEY_OK && strstr(err.message, why), "refused: %s", why))
        printf("# %d: %s\n", (int)st, err.message);
    if (!st)
        inference_request_deinit(&r);
}

static void test_refused(void)
{
    is_refused("{", "body");
    is_refused("[]", "inputs: must be a list");
    is_refused("{\"inputs\":7}", "inputs: must be a list");
    is_refused("{\"inputs\":[]}", "query is missing");
    is_refused("{\"inputs\":[7]}", "each has a name");
    is_refused("{\"inputs\":[" Q "]}", "product_id or title is needed");
    is_refused("{\"inputs\":[" T "]}", "query is missing");
    is_refused("{\"inputs\":[" Q "," Q "]}", "query: given twice");
    is_refused("{\"inputs\":[" Q "," T "],\"outputs\":[{\"name\":\"logits\"}]}",
               "there are probabilities and label");
    is_refused("{\"inputs\":[" Q "," T "],\"outputs\":[]}", "outputs: must be a list");
    static const char *const tensors[][2] = {
        {"{\"name\":\"price\"}", "'price' is none of"},
        {"{\"name\":\"title\",\"shape\":[2],\"datatype\":\"FP32\",\"data\":[1,2]}",
         "must be BYTES"},
        {"{\"name\":\"title\",\"shape\":[2],\"datatype\":\"BYTES\"}", "data is missing"},
        {"{\"name\":\"title\",\"shape\":2,\"datatype\":\"BYTES\",\"data\":[]}",
         "the shape must be"},
        {"{\"name\":\"title\",\"shape\":[0],\"datatype\":\"BYTES\",\"data\":[]}",
         "the shape must be"},
        {"{\"name\":\"title\",\"shape\":[-1],\"datatype\":\"BYTES\",\"data\":[]}",
         "the shape must be"},
        {"{\"name\":\"title\",\"shape\":[1001],\"datatype\":\"BYTES\",\"data\":[]}",
         "the shape must be"},
        {"{\"name\":\"title\",\"shape\":[1,2],\"datatype\":\"BYTES\",\"data\":[]}",
         "the shape must be"},
        {"{\"name\":\"title\",\"shape\":[3],\"datatype\":\"BYTES\",\"data\":[]}",
         "of 3 rows, where another input has 2"},
        {"{\"name\":\"title\",\"shape\":[2],\"datatype\":\"BYTES\",\"data\":[\"x\"]}",
         "a list of 2 texts"},
        {"{\"name\":\"title\",\"shape\":[2],\"datatype\":\"BYTES\",\"data\":[\"x\",7]}",
         "data[1] is no text"},
        {"{\"name\":\"title\",\"shape\":[2],\"datatype\":\"BYTES\",\"data\":[\"x\",\"\"]}",
         "data[1] is empty"},
    };
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        char body[400];
        snprintf(body, sizeof body, "{\"inputs\":[" Q ",%s]}", tensors[i][0]);
        is_refused(body, tensors[i][1]);
    }
    is_refused("{\"inputs\":[{\"name\":\"query\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":"
               "[\" \"]},"
               "{\"name\":\"title\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"x\"]}]}",
               "query: data[0] is blank");
}

static void test_lists(void)
{
    static const char body[] = "{\"id\":\"7\",\"inputs\":["
                               "{\"name\":\"query\",\"shape\":[5,1],\"datatype\":\"BYTES\","
                               "\"data\":[[\"a\"],[\"b\"],[\"a\"],[\"a\"],[\"b\"]]},"
                               "{\"name\":\"locale\",\"shape\":[5],\"datatype\":\"BYTES\","
                               "\"data\":[\"us\",\"us\",\"es\",\"\",\"us\"]},"
                               "{\"name\":\"product_id\",\"shape\":[5],\"datatype\":\"BYTES\","
                               "\"data\":[\"1\",\"2\",\"3\",\"4\",\"5\"]}],"
                               "\"outputs\":[{\"name\":\"label\"}]}";
    struct inference_request r;
    medley_error err = {0};
    if (!ok(inference_request_parse(STR(""), &r, &err) != MEDLEY_OK, "an empty body"))
        return;
    if (!ok(inference_request_parse(str_of(body), &r, &err) == MEDLEY_OK, "reads: %s",
            err.message))
        return;
    ok(r.n == 5 && r.n_lists == 3 && r.list_end[0] == 2 && r.list_end[1] == 4 &&
           r.list_end[2] == 5,
       "three lists");
    ok(r.order[0] == 0 && r.order[1] == 3 && r.order[2] == 1 && r.order[3] == 4 &&
           r.order[4] == 2,
       "by query and locale, in order");
    ok(strcmp(r.id, "7") == 0 && r.outputs == 1u << OUTPUT_LABEL && !r.products[0].has_text,
       "id and outputs");
    inference_request_deinit(&r);
}

/* ---- served ------------------------------------------------------------------------------ */

static void add_tensor(struct strbuf *out, const char *name, int n, const char *pattern,
                       bool title)
{
    sb_addf(out, "{\"name\":\"%s\",\"shape\":[%d],\"datatype\":\"BYTES\",\"data\":[", name, n);
    for (int i = 0; i < n; i++) {
        struct strbuf t;
        sb_init(&t);
        if (title)
            plugged_title(i, &t);
        else
            sb_addf(&t, pattern, i / PLUGGED_LIST, i / PLUGGED_LIST, i / PLUGGED_LIST);
        sb_addf(out, "%s\"%s\"", i ? "," : "", t.s);
        sb_deinit(&t);
    }
    sb_addz(out, "]}");
}

static double number_at(const json *list, size_t i)
{
    const json *v = json_first(list);
    double d = NAN;
    while (v && i--)
        v = json_next(v);
    json_as_double(v, &d);
    return d;
}

/* The model's own probabilities of the first `n` pairs, asked directly. */
static void said_of(const medley_bundle *b, int n, size_t model, float *out)
{
    size_t m = medley_bundle_models(b);
    for (int q = 0; q < n / PLUGGED_LIST; q++) {
        char query[64];
        struct strbuf titles[PLUGGED_LIST];
        medley_product products[PLUGGED_LIST];
        medley_result results[PLUGGED_LIST];
        float said[PLUGGED_LIST * 8 * 3];
        medley_classify_options o = {.said = said};
        snprintf(query, sizeof query, "red%d shoe%d big%d", q, q, q);
        for (int i = 0; i < PLUGGED_LIST; i++) {
            sb_init(&titles[i]);
            plugged_title(q * PLUGGED_LIST + i, &titles[i]);
            products[i] =
                (medley_product){.has_text = true, .title = {titles[i].s, titles[i].n}};
        }
        medley_bundle_classify(b, (medley_text){query, strlen(query)}, (medley_text){"us", 2},
                               products, PLUGGED_LIST, &o, results, NULL);
        for (int i = 0; i < PLUGGED_LIST; i++) {
            memcpy(out + (q * PLUGGED_LIST + i) * 3,
                   model < m ? said + ((size_t)i * m + model) * 3 : results[i].probabilities,
                   3 * sizeof *out);
            sb_deinit(&titles[i]);
        }
    }
}

static void test_model(uint16_t port, const medley_bundle *b, const char *name, size_t model)
{
    enum { N = 30 };
    char path[96];
    float wanted[N * 3];
    struct strbuf body;
    sb_init(&body);
    sb_addz(&body, "{\"inputs\":[");
    add_tensor(&body, "query", N, "red%d shoe%d big%d", false);
    sb_addc(&body, ',');
    add_tensor(&body, "title", N, "", true);
    sb_addz(&body, "]}");
    snprintf(path, sizeof path, "/v2/models/%s/infer", name);
    struct reply r = ask(port, "POST", path, JSON_TYPE, body.s);
    json *root = NULL;
    if (ok(r.status == 200 && json_parse(sb_str(&r.body), "answer", &root, NULL) == MEDLEY_OK,
           "%s: %d %.100s", path, r.status, r.status == 200 ? "" : body_of(&r))) {
        const json *outputs = json_get(root, "outputs"),
                   *p = json_get(json_first(outputs), "data");
        const json *labels = json_get(json_next(json_first(outputs)), "data");
        bool same = json_count(p) == N * 3;
        said_of(b, N, model, wanted);
        for (size_t i = 0; i < N * 3; i++)
            same &= (float)number_at(p, i) == wanted[i];
        ok(same, "the probabilities, to the bit");
        ok(json_count(labels) == N, "and labels");
        json_free(root);
    }
    reply_free(&r);
    sb_deinit(&body);
}

static void test_about(uint16_t port)
{
    static const char *const good[] = {"/v2",
                                       "/v2/health/live",
                                       "/v2/health/ready",
                                       "/v2/models/mine",
                                       "/v2/models/mine/ready",
                                       "/v2/models/ensemble"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct reply r = ask(port, "GET", good[i], "", NULL);
        ok(r.status == 200, "GET %s", good[i]);
        reply_free(&r);
    }
    struct reply r = ask(port, "GET", "/v2/models/mine", "", NULL);
    is_text(reply_at(&r, "outputs/0/shape/1"), "3", "the width of its probabilities");
    is_text(reply_at(&r, "classes/2"), "bad", "and its classes");
    reply_free(&r);
    r = ask(port, "GET", "/v2/models/yours", "", NULL);
    ok(r.status == 404 && strstr(body_of(&r), "there is no model 'yours'"), "no such model");
    reply_free(&r);
    r = ask(port, "POST", "/v2/models/yours/infer", JSON_TYPE, "{}");
    ok(r.status == 404, "to ask, too");
    reply_free(&r);
    r = ask(port, "POST", "/v2/models/mine/infer", JSON_TYPE, "{\"inputs\":7}");
    ok(r.status == 400 && strstr(body_of(&r), "\"error\":\"inputs: must be a list\""),
       "errors as the protocol has them");
    reply_free(&r);
    r = ask(port, "GET", "/v2/models/mine/infer", "", NULL);
    ok(r.status == 404 || r.status == 405, "not with GET");
    reply_free(&r);
}

/* Another workspace, whose only trained model is the server's. */
static void test_remote(uint16_t port, const medley_bundle *b)
{
    char folder[64], line[400];
    float wanted[PLUGGED_PAIRS * 3];
    struct npy a;
    medley_error err = {0};
    snprintf(folder, sizeof folder, "%s", tap_folder());
    snprintf(line, sizeof line,
             "  - {name: mine, kind: remote, url: 'http://127.0.0.1:%d', model: mine, output: "
             "probabilities, "
             "inputs: {query: '{query}', title: '{title}'}, batch: 64, trust: true}\n",
             port);
    plugged_write(folder, line);
    if (!ok(plugged_run(folder, false, &err) == MEDLEY_OK, "a workspace that asks this one: %s",
            err.message) ||
        !ok(npy_open(at(folder, "predictions/mine/probabilities.npy"), &a, &err) == MEDLEY_OK,
            "%s", err.message))
        return;
    float *p = mem_alloc(a.rows, a.cols * sizeof *p);
    npy_to_float(&a, p);
    said_of(b, 30, 0, wanted);
    float worst = 0;
    for (int i = 0; i < 30 * 3; i++)
        worst = fmaxf(worst, fabsf(p[i] - wanted[i]));
    ok(worst < 1e-6f, "has its probabilities (within %.1e)", (double)worst);
    mem_free(p);
    npy_close(&a);
}

int main(void)
{
    char folder[64];
    medley_error err = {0};
    struct engine engine;
    struct server *s = NULL;
    medley_bundle *b = NULL;
    test_refused();
    test_lists();
    snprintf(folder, sizeof folder, "%s", tap_folder());
    plugged_write(folder, "  - {name: mine, kind: lm, layers: 1, hidden: 32, vocabulary: 400, "
                          "epochs: 1, max_tokens: 32, "
                          "fields: \"query,title\"}\n");
    if (!ok(plugged_run(folder, true, &err) == MEDLEY_OK &&
                medley_bundle_open(at(folder, "bundle/current"), &b, &err) == MEDLEY_OK &&
                engine_open_bundle(at(folder, "bundle/current"), &engine, &err) == MEDLEY_OK &&
                server_start(&engine, &(struct server_options){.threads = 2}, &s, &err) ==
                    MEDLEY_OK,
            "serves: %s", err.message))
        return tap_done();
    size_t mine = 0;
    while (mine < medley_bundle_models(b) && strcmp(medley_bundle_model(b, mine), "mine") != 0)
        mine++;
    test_about(server_port(s));
    test_model(server_port(s), b, "ensemble", medley_bundle_models(b));
    test_model(server_port(s), b, "mine", mine);
    if (mine == 0)
        test_remote(server_port(s), b);
    ok(server_stop(s, 5), "stops");
    engine_close(&engine);
    medley_bundle_close(b);
    return tap_done();
}
