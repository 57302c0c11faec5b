/* test_serve.c: the server as a black box, by raw sockets on a free port, before a fake engine:
 * every route but the page, every refusal, keep-alive and pipelining, the cache, concurrent requests, slow
 * clients, a full queue, shutdown. */
#include "base/cpu.h"
#include "tests/serve_help.h"

static void test_small_routes(uint16_t port)
{
    struct reply r = ask(port, "GET", "/healthz", "", NULL);
    ok(r.status == 200, "GET /healthz");
    is_text(at(&r, "status"), "ok", "healthy");
    ok(has_header(&r, "X-Content-Type-Options: nosniff"), "nosniff");
    reply_free(&r);
    r = ask(port, "GET", "/readyz", "", NULL);
    ok(r.status == 200, "GET /readyz");
    reply_free(&r);
    r = ask(port, "HEAD", "/healthz", "", NULL);
    ok(r.status == 200 && has_header(&r, "Content-Length: 16"), "HEAD works where GET does");
    reply_free(&r);
    r = ask(port, "GET", "/v1/models", "", NULL);
    is_text(at(&r, "models/0/latency/lists"), "100", "GET /v1/models: lists timed");
    is_text(at(&r, "models/0/latency/p50_ms"), "0.00510204", "the 50th of 98 within 10 us");
    is_text(at(&r, "models/0/latency/p99_ms"), "0.02", "the 99th, within 20");
    is_text(at(&r, "models/1/latency/p99_ms"), "null", "nothing where none was asked");
    is_text(at(&r, "models/0/breaker"), "null", "no breaker where nothing runs elsewhere");
    reply_free(&r);
    r = ask(port, "GET", "/metrics", "", NULL);
    ok(strstr(body_of(&r),
              "medley_model_duration_seconds_bucket{model=\"minilm\",le=\"1e-05\"} "
              "98\n") &&
           strstr(body_of(&r),
                  "medley_model_duration_seconds_bucket{model=\"minilm\",le=\"2e-05\"} "
                  "99\n") &&
           strstr(body_of(&r), "le=\"+Inf\"} 100\n") &&
           strstr(body_of(&r), "medley_model_duration_seconds_count{model=\"minilm\"} 100\n") &&
           strstr(body_of(&r),
                  "medley_model_duration_seconds_sum{model=\"minilm\"} 0.001500000\n"),
       "metrics: what a model took");
    reply_free(&r);
    r = ask(port, "GET", "/v1/bundle", "", NULL);
    ok(r.status == 200, "GET /v1/bundle");
    is_text(at(&r, "id"), fake.id, "bundle id");
    is_text(at(&r, "models/1/name"), "sage \"x\"", "models");
    is_text(at(&r, "models/0/kind"), "lm", "kinds");
    is_text(at(&r, "models/0/precomputed"), "(absent)", "nothing made ahead");
    is_text(at(&r, "models/1/precomputed/products"), "50", "products made ahead");
    is_text(at(&r, "models/1/precomputed/bytes"), "7000", "and their size");
    is_text(at(&r, "models/1/precomputed/graph_cutoff"), "1.6e+09", "and their graph");
    is_text(at(&r, "models/1/precomputed/numbers"), "float32", "and their numbers");
    is_text(at(&r, "classes/1/gain"), "0.1", "classes and gains");
    is_text(at(&r, "memory/bundle_file_bytes"), "4711", "memory");
    is_text(at(&r, "limits/body_bytes"), "100000", "limits");
    is_text(at(&r, "cache/on"), "true", "cache");
    reply_free(&r);
}

static void test_http_refusals(uint16_t port)
{
    static const struct {
        const char *method, *path, *headers, *body;
        int status;
        const char *why; /* in the reply */
    } cases[] = {
        {"GET", "/nothing", "", NULL, 404, "nothing at '/nothing'"},
        {"POST", "/nothing", "", "some body", 404, "nothing at"},
        {"GET", "/v1/classify", "", NULL, 405, "POST"},
        {"DELETE", "/v1/classify", "", NULL, 405, "POST"},
        {"POST", "/healthz", "", "x", 405, "GET, HEAD"},
        {"OPTIONS", "/metrics", "", NULL, 405, "GET, HEAD"},
        {"POST", "/v1/classify", "", "{}", 415, "application/json"},
        {"POST", "/v1/classify", "Content-Type: text/plain\r\n", "{}", 415, "application/json"},
        {"POST", "/v1/classify", "Content-Type: application/jsonx\r\n", "{}", 415, "must be"},
        {"POST", "/v1/classify", "Content-Type: application/json; charset=latin1\r\n", "{}",
         415, "must be"},
        {"POST", "/v1/classify", JSON_TYPE "Content-Encoding: gzip\r\n", "{}", 415,
         "content-encoding"},
        {"POST", "/v1/classify", JSON_TYPE, "{}", 400, "query: missing"},
        {"POST", "/v1/classify", JSON_TYPE, "", 400, "unexpected end"},
        {"POST", "/v1/classify", JSON_TYPE, "{\"query\":\"bad\",\"products\":[\"B\"]}", 400,
         "the engine does not like it"},
        {"POST", "/v1/classify", JSON_TYPE, "{\"query\":\"crash\",\"products\":[\"B\"]}", 500,
         "internal error"},
        {"POST", "/v1/classify", JSON_TYPE, "{\"query\":\"full\",\"products\":[\"B\"]}", 503,
         "out of memory"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reply r =
            ask(port, cases[i].method, cases[i].path, cases[i].headers, cases[i].body);
        ok(r.status == cases[i].status, "%s %s: %d", cases[i].method, cases[i].path,
           cases[i].status);
        ok(strstr(at(&r, "error"), cases[i].why) != NULL, "  says: %s", cases[i].why);
        if (cases[i].status == 405)
            ok(has_header(&r, "Allow: "), "  with Allow");
        ok(!strstr(body_of(&r), "secret"), "  and nothing of the inside");
        reply_free(&r);
    }
}

/* max_body is 100,000 here. */
static void test_large_bodies(uint16_t port)
{
    struct strbuf body, out;
    sb_init(&body);
    sb_init(&out);
    for (int i = 0; i < 150000; i++)
        sb_addc(&body, ' ');
    struct reply r = classify(port, body.s);
    ok(r.status == 413, "413 for a long body, after it was read");
    ok(strstr(at(&r, "error"), "body: 150000 bytes are more than 100000"), "  and why");
    reply_free(&r);
    int fd = dial(port);
    sb_addz(&out, "POST /v1/classify HTTP/1.1\r\nHost: x\r\n" JSON_TYPE
                  "Transfer-Encoding: chunked\r\n\r\n");
    sb_addf(&out, "%zx\r\n%s\r\n0\r\n\r\n", body.n, body.s);
    put(fd, out.s, out.n);
    r = get_reply(fd, false);
    ok(r.status == 413, "413 for a long chunked body");
    reply_free(&r);
    static const char next[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    put(fd, next, sizeof next - 1);
    r = get_reply(fd, false);
    ok(r.status == 200, "  and the connection is still good");
    reply_free(&r);
    close(fd);
    r = ask(port, "POST", "/v1/classify", JSON_TYPE "Content-Length: 99999999999\r\n", NULL);
    ok(r.status == 413, "413 at once for a huge length");
    reply_free(&r);
    r = ask(port, "POST", "/v1/classify",
            JSON_TYPE "Content-Length: 150000\r\nExpect: 100-continue\r\n", NULL);
    ok(r.status == 413, "413 at once for who waits for 100 Continue");
    reply_free(&r);
    r = ask(port, "POST", "/v1/classify", JSON_TYPE "Content-Length: x\r\n", NULL);
    ok(r.status == 400, "400 for a length that is no number");
    reply_free(&r);
    sb_deinit(&body);
    sb_deinit(&out);
}

/* ---- classification ---------------------------------------------------------------------- */

static void test_precomputed(uint16_t port)
{
    const char *body = "{\"query\":\"often asked\",\"products\":[\"frequent\",\"B1\"]}";
    struct reply r = classify(port, body);
    long long age = (long long)time(NULL) - 1600000000, told = 0;
    is_text(at(&r, "pairs_precomputed"), "1", "one pair came from embeddings made ahead");
    const char *field = strstr(body_of(&r), "\"embeddings_age_s\":");
    ok(field && sscanf(field, "\"embeddings_age_s\":%lld", &told) == 1 && told >= age &&
           told < age + 60,
       "whose graph is so old: %lld s", told);
    is_text(at(&r, "results/0/models_precomputed/0"), "sage \"x\"", "by the graph model");
    is_text(at(&r, "results/0/models_used/1"), "sage \"x\"", "which counts as used");
    is_text(at(&r, "results/1/models_precomputed/0"), "(absent)", "the other pair did not");
    reply_free(&r);
    r = classify(port, body);
    is_text(at(&r, "pairs_precomputed"), "0", "what is remembered needs none");
    is_text(at(&r, "embeddings_age_s"), "null", "and has no age");
    is_text(at(&r, "results/0/models_precomputed/0"), "(absent)", "and says so");
    reply_free(&r);
}

static void test_classify(uint16_t port)
{
    struct reply r =
        classify(port, "{\"query\":\"Red  Shoe\",\"products\":[\"B1\",{\"id\":\"B22\"},"
                       "{\"title\":\"abcd\"},\"unknown\"]}");
    ok(r.status == 200, "POST /v1/classify");
    is_text(at(&r, "bundle"), fake.id, "bundle");
    is_text(at(&r, "query"), "Red  Shoe", "the query comes back as it was");
    is_text(at(&r, "locale"), "us", "the default locale");
    is_text(at(&r, "results/0/id"), "B1", "id");
    is_text(at(&r, "results/0/label"), "I", "label");
    is_text(at(&r, "results/1/label"), "E", "label of the second");
    is_text(at(&r, "results/1/probabilities/E"), "0.75", "probabilities");
    is_text(at(&r, "results/2/id"), "null", "no id");
    is_text(at(&r, "results/2/label"), "S", "label by text");
    is_text(at(&r, "results/3/known_product"), "false", "an unknown product");
    is_text(at(&r, "results/3/models_used/0"), "minilm", "models used");
    is_text(at(&r, "results/3/models_used/1"), "(absent)", "and no others");
    is_text(at(&r, "results/0/cached"), "false", "not cached");
    is_text(at(&r, "results/0/contributions/minilm/E"), "(absent)", "no reasons unless asked");
    is_text(at(&r, "base/E"), "(absent)", "nor the base");
    ok(at(&r, "took_ms")[0] != '(', "took_ms");
    reply_free(&r);
}

static void test_explain(uint16_t port)
{
    static const char body[] =
        "{\"query\":\"why\",\"explain\":true,\"products\":[\"B1\",\"B2\"]}";
    struct reply r = classify(port, body);
    is_text(at(&r, "base/S"), "-0.25", "base");
    is_text(at(&r, "results/0/contributions/minilm/S"), "1", "contribution of a model");
    is_text(at(&r, "results/1/contributions/context/I"), "122", "contribution of the context");
    reply_free(&r);
    r = classify(port, body);
    is_text(at(&r, "results/0/cached"), "false", "explanations are made afresh");
    reply_free(&r);
    r = classify(port, "{\"query\":\"why\",\"products\":[\"B2\"]}");
    is_text(at(&r, "results/0/cached"), "true", "but their labels are remembered");
    reply_free(&r);
}

static void test_cache(uint16_t port)
{
    struct reply r = classify(port, "{\"query\":\"Cache Me\",\"products\":[\"C1\",\"C2\"]}");
    char margin[32];
    snprintf(margin, sizeof margin, "%s", at(&r, "results/0/margins/E"));
    is_text(at(&r, "results/0/cached"), "false", "first time: judged");
    reply_free(&r);
    unsigned calls = atomic_load(&fake_calls);
    r = classify(port, "{\"query\":\" cache   ME\",\"products\":[\"C2\",\"C1\"]}");
    is_text(at(&r, "results/1/cached"), "true",
            "second time: remembered, case and space apart");
    is_text(at(&r, "results/1/margins/E"), margin, "the same answer");
    is_text(at(&r, "results/1/label"), "I", "the same label");
    is_text(at(&r, "results/1/age_s"), "0", "its age");
    is_text(at(&r, "results/1/known_product"), "true", "what else belongs to it");
    is_text(at(&r, "results/1/models_used/1"), "sage \"x\"", "and its models");
    reply_free(&r);
    ok(atomic_load(&fake_calls) == calls, "without the engine");
    r = classify(port, "{\"query\":\"cache me\",\"products\":[\"C1\",\"C3\"]}");
    is_text(at(&r, "results/0/cached"), "false",
            "one pair is missing: the whole list is judged");
    ok(strcmp(at(&r, "results/0/margins/E"), margin) != 0, "anew");
    reply_free(&r);
    calls = atomic_load(&fake_calls);
    r = classify(port, "{\"query\":\"cache me\",\"cache\":\"off\",\"products\":[\"C1\"]}");
    is_text(at(&r, "results/0/cached"), "false", "off: judged");
    snprintf(margin, sizeof margin, "%s", at(&r, "results/0/margins/E"));
    reply_free(&r);
    r = classify(port, "{\"query\":\"cache me\",\"products\":[\"C1\"]}");
    is_text(at(&r, "results/0/cached"), "true", "on again: remembered");
    ok(strcmp(at(&r, "results/0/margins/E"), margin) != 0,
       "and what \"off\" found is not kept");
    reply_free(&r);
    ok(atomic_load(&fake_calls) == calls + 1, "one call");
    r = classify(port, "{\"query\":\"cache me\",\"locale\":\"es\",\"products\":[\"C1\"]}");
    is_text(at(&r, "results/0/cached"), "false", "another locale is another pair");
    reply_free(&r);
    r = classify(port,
                 "{\"query\":\"cache me\",\"products\":[{\"id\":\"C1\",\"title\":\"t\"}]}");
    is_text(at(&r, "results/0/cached"), "false", "another text too");
    reply_free(&r);
}

static void test_request_ids(uint16_t port)
{
    struct reply r = ask(port, "GET", "/healthz", "X-Request-Id: my-id.7\r\n", NULL);
    ok(has_header(&r, "X-Request-Id: my-id.7\r\n"), "a request id is echoed");
    reply_free(&r);
    r = ask(port, "GET", "/nothing", "X-Request-Id: a b\"<\r\n", NULL);
    ok(has_header(&r, "X-Request-Id: ") && !has_header(&r, "a b"), "an odd one is replaced");
    struct reply other = ask(port, "GET", "/healthz", "", NULL);
    const char *a = strcasestr(head_of(&r), "X-Request-Id: ") + 14;
    const char *b = strcasestr(head_of(&other), "X-Request-Id: ") + 14;
    ok(strspn(a, "0123456789abcdef") == 16 && strncmp(a, b, 16) != 0, "made ones differ");
    reply_free(&r);
    reply_free(&other);
}

static void test_keep_alive(uint16_t port)
{
    static const char one[] = "{\"query\":\"pipe\",\"products\":[\"B1\"]}";
    static const char two[] = "{\"query\":\"pipe 2\",\"products\":[\"B22\"]}";
    struct strbuf out;
    sb_init(&out);
    int fd = dial(port);
    const char *bodies[] = {one, two, one};
    for (size_t i = 0; i < 3; i++)
        sb_addf(&out,
                "POST /v1/classify HTTP/1.1\r\nHost: x\r\nX-Request-Id: p%zu\r\n" JSON_TYPE
                "Content-Length: %zu\r\n\r\n%s",
                i, strlen(bodies[i]), bodies[i]);
    sb_addz(&out, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    put(fd, out.s, out.n);
    for (size_t i = 0; i < 3; i++) {
        char id[32];
        struct reply r = get_reply(fd, false);
        snprintf(id, sizeof id, "X-Request-Id: p%zu\r\n", i);
        ok(r.status == 200 && has_header(&r, id), "pipelined answer %zu comes in its turn", i);
        is_text(at(&r, "results/0/id"), i == 1 ? "B22" : "B1", "  and is its own");
        reply_free(&r);
    }
    struct reply r = get_reply(fd, false);
    ok(r.status == 200, "the connection stays for the next");
    reply_free(&r);
    close(fd);
    fd = dial(port);
    sb_clear(&out);
    sb_addf(&out,
            "POST /v1/classify HTTP/1.1\r\nHost: x\r\n" JSON_TYPE "Content-Length: %zu\r\n\r\n",
            strlen(one));
    for (size_t i = 0; one[i]; i++)
        sb_addc(&out, one[i]);
    for (size_t i = 0; i < out.n; i += 40) { /* in small parts */
        put(fd, out.s + i, out.n - i < 40 ? out.n - i : 40);
        sleep_ms(2);
    }
    r = get_reply(fd, false);
    ok(r.status == 200, "a request in many parts");
    reply_free(&r);
    close(fd);
    sb_deinit(&out);
}

/* ---- concurrency ------------------------------------------------------------------------- */

#define CLIENTS 8
#define ASKS 40
static uint16_t shared_port;

static void *client(void *context)
{
    size_t id = (size_t)(uintptr_t)context, good = 0;
    for (size_t i = 0; i < ASKS; i++) {
        char body[200], name[32];
        snprintf(name, sizeof name, "P%zu-%zu", id, i % 7);
        snprintf(body, sizeof body,
                 "{\"query\":\"concurrent %zu\",\"products\":[\"%s\",\"x\"],\"cache\":\"%s\"}",
                 i % 3, name, i % 2 ? "on" : "off");
        struct reply r = classify(shared_port, body);
        char copy[600];
        snprintf(copy, sizeof copy, "%s", body_of(&r));
        good += r.status == 200 && strstr(copy, name) != NULL;
        reply_free(&r);
    }
    return (void *)(uintptr_t)good;
}

static void test_concurrent(uint16_t port)
{
    pthread_t threads[CLIENTS];
    size_t good = 0;
    shared_port = port;
    for (size_t t = 0; t < CLIENTS; t++)
        pthread_create(&threads[t], NULL, client, (void *)(uintptr_t)t);
    for (size_t t = 0; t < CLIENTS; t++) {
        void *result;
        pthread_join(threads[t], &result);
        good += (size_t)(uintptr_t)result;
    }
    ok(good == CLIENTS * ASKS, "%zu of %d concurrent requests are answered right", good,
       CLIENTS * ASKS);
}

static int send_held(uint16_t port, const char *query)
{
    char body[100], text[300];
    int fd = dial(port);
    snprintf(body, sizeof body, "{\"query\":\"%s\",\"products\":[\"B\"],\"cache\":\"off\"}",
             query);
    int n = snprintf(text, sizeof text,
                     "POST /v1/classify HTTP/1.1\r\nHost: x\r\n" JSON_TYPE
                     "Content-Length: %zu\r\n\r\n%s",
                     strlen(body), body);
    put(fd, text, (size_t)n);
    return fd;
}

static bool wait_running(unsigned wanted)
{
    for (int i = 0; i < 5000 && atomic_load(&fake_running) != wanted; i++)
        sleep_ms(1);
    return atomic_load(&fake_running) == wanted;
}

/* One worker, one place in the queue. */
static void test_full_queue(void)
{
    struct server *s = start((struct server_options){.threads = 1, .max_queue = 1});
    uint16_t port = server_port(s);
    atomic_store(&fake_gate, true);
    int first = send_held(port, "hold 1");
    ok(wait_running(1), "a worker is busy");
    int second = send_held(port, "hold 2");
    struct reply r = reply_new();
    for (int i = 0; i < 1000 && !(r.body.n && strstr(body_of(&r), "medley_queue_length 1\n"));
         i++) {
        reply_free(&r);
        r = ask(port, "GET", "/metrics", "", NULL);
    }
    ok(strstr(body_of(&r), "medley_queue_length 1\n"), "another request waits");
    reply_free(&r);
    int third = send_held(port, "hold 3");
    r = get_reply(third, false);
    ok(r.status == 429 && has_header(&r, "Retry-After: "), "a third is answered 429");
    reply_free(&r);
    r = ask(port, "GET", "/healthz", "", NULL);
    ok(r.status == 200, "the health check answers meanwhile");
    reply_free(&r);
    atomic_store(&fake_gate, false);
    r = get_reply(first, false);
    ok(r.status == 200, "the first is answered");
    reply_free(&r);
    r = get_reply(second, false);
    ok(r.status == 200, "and the one that waited");
    reply_free(&r);
    close(first);
    close(second);
    close(third);
    ok(server_stop(s, 2), "and the server stops");
}

/* The n-th allocation of a request fails. The client here allocates nothing, so that it is the
 * server's: the answer is whole, a 503, or a closed connection. */
static void test_no_memory(void)
{
    struct server *s = start((struct server_options){0});
    static const char body[] =
        "{\"query\":\"q\",\"explain\":true,\"products\":[\"B1\",{\"title\":\"t\"}]}";
    char text[400], answer[8192];
    size_t whole = 0, refused = 0, closed = 0, odd = 0;
    for (size_t n = 0; n < 40; n++) {
        int fd = dial(server_port(s)), length;
        size_t got = 0;
        length =
            snprintf(text, sizeof text,
                     "POST /v1/classify HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" JSON_TYPE
                     "Content-Length: %zu\r\n\r\n%s",
                     sizeof body - 1, body);
        mem_fail_after(n);
        put(fd, text, (size_t)length);
        for (ssize_t part; got < sizeof answer - 1 &&
                           (part = recv(fd, answer + got, sizeof answer - 1 - got, 0)) > 0;)
            got += (size_t)part;
        sleep_ms(2); /* the log line */
        mem_fail_after(SIZE_MAX);
        answer[got] = 0;
        bool ended = got > 0 && answer[got - 1] == '\n' && strstr(answer, "}\n");
        whole += ended && strncmp(answer, "HTTP/1.1 200", 12) == 0;
        refused += ended && strncmp(answer, "HTTP/1.1 503", 12) == 0;
        closed += got == 0;
        odd += got > 0 && !ended;
        close(fd);
    }
    ok(odd == 0 && whole + refused + closed == 40 && refused > 0 && whole > 0,
       "failing allocations: %zu whole answers, %zu times 503, %zu closed", whole, refused,
       closed);
    struct reply r = classify(server_port(s), "{\"query\":\"q\",\"products\":[\"B1\"]}");
    ok(r.status == 200, "and the server lives on");
    reply_free(&r);
    ok(server_stop(s, 2), "and stops");
}

/* Bodies that are arriving share 64 times the longest body, here 64,000 bytes. */
static void test_body_budget(void)
{
    struct server *s = start((struct server_options){.max_body = 1000});
    uint16_t port = server_port(s);
    int fds[80];
    char body[1001];
    size_t statuses[2] = {0, 0}, good = 0;
    int n = snprintf(body, sizeof body, "{\"query\":\"q\",\"products\":[\"B1\"]}");
    memset(body + n, ' ', sizeof body - 1 - (size_t)n);
    body[1000] = 0;
    for (size_t i = 0; i < 200; i++) { /* one after the other */
        struct reply r = classify(port, body);
        good += r.status == 200;
        reply_free(&r);
    }
    ok(good == 200, "%zu of 200 large requests in turn", good);
    for (size_t i = 0; i < 80; i++) { /* all at a time, all but the last byte */
        static const char headers[] = "POST /v1/classify HTTP/1.1\r\nHost: x\r\n" JSON_TYPE
                                      "Content-Length: 1000\r\n\r\n";
        fds[i] = dial(port);
        put(fds[i], headers, sizeof headers - 1);
        put(fds[i], body, 999);
    }
    struct reply r = ask(port, "GET", "/metrics", "", NULL);
    for (int i = 0; i < 2000 && !strstr(body_of(&r), "medley_http_requests_in_flight 81\n");
         i++) {
        reply_free(&r);
        r = ask(port, "GET", "/metrics", "", NULL);
    }
    reply_free(&r);
    sleep_ms(50);
    for (size_t i = 0; i < 80; i++) {
        put(fds[i], " ", 1);
        r = get_reply(fds[i], false);
        statuses[0] += r.status == 200;
        statuses[1] += r.status == 429;
        reply_free(&r);
        close(fds[i]);
    }
    ok(statuses[0] >= 64 && statuses[1] > 0 && statuses[0] + statuses[1] == 80,
       "at a time: %zu answered, %zu refused with 429", statuses[0], statuses[1]);
    ok(server_stop(s, 2), "and the server stops");
}

/* ---- slow clients ------------------------------------------------------------------------ */

static void test_slow_clients(void)
{
    struct server *s = start((struct server_options){.idle_seconds = 1, .body_seconds = 1});
    static const char headers[] =
        "POST /v1/classify HTTP/1.1\r\nHost: x\r\n" JSON_TYPE "Content-Length: 1000\r\n\r\n";
    char c;
    double began = clock_seconds();
    int idle = dial(server_port(s)), drip = dial(server_port(s));
    put(idle, headers, 30);
    put(drip, headers, sizeof headers - 1);
    bool closed = false;
    for (int i = 0; i < 40 && !closed; i++) { /* never idle for a second */
        closed = !put(drip, " ", 1);
        sleep_ms(100);
    }
    ok(closed, "who sends a byte now and then is cut off");
    ssize_t n;
    while ((n = recv(idle, &c, 1, 0)) > 0) /* libmicrohttpd may say 408 first */
        ;
    ok(n == 0 && clock_seconds() - began < 8, "who falls silent in the headers too");
    close(idle);
    close(drip);
    ok(server_stop(s, 2), "and the server stops");
}

/* ---- metrics and log --------------------------------------------------------------------- */

static bool has_metric(const struct reply *r, const char *line)
{
    bool found = strstr(body_of(r), line) != NULL;
    if (!found)
        printf("# no line '%s' in:\n", line);
    return found;
}

/* Every sample belongs to the family that was declared last, every family once. */
static bool is_openmetrics(const char *text)
{
    char family[128] = "", seen[8192] = "";
    for (const char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end)
            return false;
        if (strncmp(line, "# EOF", 5) == 0)
            return end[1] == 0;
        if (strncmp(line, "# TYPE ", 7) == 0) {
            sscanf(line + 7, "%127s", family);
            char mark[140];
            snprintf(mark, sizeof mark, "[%s]", family);
            if (strstr(seen, mark))
                return false;
            strncat(seen, mark, sizeof seen - strlen(seen) - 1);
        } else if (line[0] != '#' && strncmp(line, family, strlen(family)) != 0) {
            return false;
        }
    }
    return false;
}

static void test_metrics(void)
{
    struct server *s = start((struct server_options){0});
    uint16_t port = server_port(s);
    for (int i = 0; i < 3; i++) {
        struct reply r = classify(port, "{\"query\":\"count\",\"products\":[\"B1\",\"B2\"]}");
        reply_free(&r);
    }
    struct reply r = classify(port, "{\"query\":\"count\",\"products\":[\"B1\",\"B9\"]}");
    reply_free(&r);
    r = classify(port, "{}");
    reply_free(&r);
    r = ask(port, "GET", "/nothing", "", NULL);
    reply_free(&r);
    sleep_ms(50); /* requests are counted when the last byte is out */
    r = ask(port, "GET", "/metrics", "", NULL);
    ok(r.status == 200 && has_header(&r, "Content-Type: application/openmetrics-text"),
       "GET /metrics");
    static const char *const lines[] = {
        "medley_http_requests_total{route=\"/v1/classify\",status=\"200\"} 4\n",
        "medley_http_requests_total{route=\"/v1/classify\",status=\"400\"} 1\n",
        "medley_http_requests_total{route=\"none\",status=\"404\"} 1\n",
        "medley_http_request_duration_seconds_bucket{route=\"/v1/classify\",le=\"+Inf\"} 5\n",
        "medley_http_request_duration_seconds_count{route=\"/v1/classify\"} 5\n",
        "medley_pairs_classified_total{source=\"bundle\"} 4\n",
        "medley_pairs_classified_total{source=\"cache\"} 4\n",
        "medley_pairs_precomputed_total 0\n",
        "medley_cache_lookups_total{result=\"hit\"} 4\n",
        "medley_cache_lookups_total{result=\"miss\"} 3\n",
        "medley_cache_lookups_total{result=\"unused\"} 1\n",
        "medley_cache_entries 3\n",
        "medley_bundle_info{id=\"0123456789abcdef0123456789abcdef\",version=",
        "medley_bundle_model_info{model=\"sage \\\"x\\\"\",kind=\"gnn\"} 1\n",
        "medley_bundle_bytes 4711\n",
        "medley_embeddings_age_seconds{model=\"sage \\\"x\\\"\"} ",
        "medley_embeddings_graph_age_seconds{model=\"sage \\\"x\\\"\"} ",
        "medley_http_requests_in_flight 1\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        ok(has_metric(&r, lines[i]), "%.*s", (int)strcspn(lines[i], "\n"), lines[i]);
    ok(is_openmetrics(body_of(&r)), "families are declared once, samples follow, # EOF ends");
    reply_free(&r);
    ok(server_stop(s, 2), "and the server stops");
}

static void test_log(void)
{
    json *line = NULL;
    const char *text = "";
    int64_t n = 0;
    pthread_mutex_lock(&log_lock);
    sb_clear(&log_lines);
    pthread_mutex_unlock(&log_lock);
    struct server *s = start((struct server_options){0});
    struct reply r =
        ask(server_port(s), "POST", "/v1/classify", JSON_TYPE "X-Request-Id: log-me\r\n",
            "{\"query\":\"private words\",\"products\":[\"B1\"]}");
    reply_free(&r);
    r = ask(server_port(s), "GET", "/a%0Ab\"\xFF", "", NULL);
    reply_free(&r);
    ok(server_stop(s, 2), "the server stops");
    /* Requests are logged when they are over, which need not be in the order of their answers.
     */
    struct str all = sb_str(&log_lines), lines[2];
    size_t first = (size_t)(strchr(all.s, '\n') - all.s);
    lines[0] = (struct str){all.s, first};
    lines[1] = (struct str){all.s + first + 1, all.n - first - 2};
    int mine = memmem(lines[0].s, lines[0].n, "log-me", 6) == NULL;
    ok(json_parse(lines[mine], "log", &line, NULL) == MEDLEY_OK, "a log line is JSON");
    ok(json_as_text(json_get(line, "request_id"), &text) && strcmp(text, "log-me") == 0,
       "with the request id");
    ok(json_as_i64(json_get(line, "status"), &n) && n == 200, "the status");
    ok(json_as_i64(json_get(line, "pairs"), &n) && n == 1, "the number of pairs");
    ok(json_as_text(json_get(line, "client"), &text) && strcmp(text, "127.0.0.1") == 0,
       "the client");
    ok(!strstr(all.s, "private"), "and not the query");
    json_free(line);
    line = NULL;
    ok(json_parse(lines[!mine], "log", &line, NULL) == MEDLEY_OK,
       "an odd path cannot break a line");
    json_free(line);
}

/* ---- start and stop ---------------------------------------------------------------------- */

/* What is seen from outside while the server shuts down. */
struct onlooker {
    uint16_t port;
    int health, ready; /* connections that were open before */
    bool refused;      /* a new connection */
    int health_status, ready_status;
};

static int get_status(int fd, const char *path)
{
    char text[100];
    put(fd, text,
        (size_t)snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path));
    struct reply r = get_reply(fd, false);
    int status = has_header(&r, "Connection: close") ? r.status : 0;
    reply_free(&r);
    close(fd);
    return status;
}

static void *look_and_open_gate(void *context)
{
    struct onlooker *o = context;
    sleep_ms(200);
    int fd = dial(o->port);
    o->refused = fd < 0;
    if (fd >= 0)
        close(fd);
    o->health_status = get_status(o->health, "/healthz");
    o->ready_status = get_status(o->ready, "/readyz");
    atomic_store(&fake_gate, false);
    return NULL;
}

static void test_shutdown(void)
{
    struct server *s = start((struct server_options){0});
    uint16_t port = server_port(s);
    pthread_t thread;
    atomic_store(&fake_gate, true);
    int idle = dial(port), busy = send_held(port, "hold");
    struct onlooker onlooker = {.port = port, .health = dial(port), .ready = dial(port)};
    ok(wait_running(1), "a request is in flight");
    pthread_create(&thread, NULL, look_and_open_gate, &onlooker);
    double began = clock_seconds();
    bool stopped = server_stop(s, 4);
    double took = clock_seconds() - began;
    pthread_join(thread, NULL);
    ok(onlooker.refused, "nobody new is let in meanwhile");
    ok(onlooker.health_status == 200, "who was in before hears that the server lives");
    ok(onlooker.ready_status == 503, "but is not ready");
    struct reply r = get_reply(busy, false);
    ok(stopped && r.status == 200, "the request is finished before the server stops");
    ok(took > 0.15 && took < 3, "which takes as long as it needs (%.2f s)", took);
    ok(dial(port) < 0, "then nobody listens");
    reply_free(&r);
    close(idle);
    close(busy);
}

/* Nobody reads the answer any more when it comes. */
static void test_left_client(void)
{
    struct server *s = start((struct server_options){.threads = 1});
    atomic_store(&fake_gate, true);
    int busy = send_held(server_port(s), "hold");
    ok(wait_running(1), "a request runs");
    close(busy);
    atomic_store(&fake_gate, false);
    struct reply r = classify(server_port(s), "{\"query\":\"q\",\"products\":[\"B1\"]}");
    ok(r.status == 200, "its client leaving harms nobody");
    reply_free(&r);
    ok(server_stop(s, 2), "and the server stops");
}

static void test_hurried_shutdown(void)
{
    struct server *s = start((struct server_options){.threads = 1});
    uint16_t port = server_port(s);
    atomic_store(&fake_gate, true);
    int busy = send_held(port, "hold 1");
    ok(wait_running(1), "a request runs");
    int waiting = send_held(port, "would be quick");
    sleep_ms(100);
    double began = clock_seconds();
    ok(server_stop(s, 0.2), "a stop with little time succeeds");
    ok(clock_seconds() - began < 2, "soon");
    struct reply r = get_reply(busy, false);
    ok(r.status == 503, "the request that would not end is answered 503");
    reply_free(&r);
    r = get_reply(waiting, false);
    ok(r.status == 503, "and so is the one behind it");
    reply_free(&r);
    close(busy);
    close(waiting);
    atomic_store(&fake_gate, false);
    interrupt_clear();
}

static void test_start(void)
{
    struct server *s = start((struct server_options){0}), *other = NULL;
    medley_error err = {0};
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u", server_port(s));
    is_text(server_url(s), url, "the url");
    struct server_options o = {.port = server_port(s)};
    ok(server_start(&fake, &o, &other, &err) == MEDLEY_EIO, "a port in use is an error");
    snprintf(url, sizeof url, "cannot listen on 127.0.0.1 port %u: Address already in use",
             server_port(s));
    is_text(err.message, url, "that names it");
    o = (struct server_options){.host = "no such host"};
    ok(server_start(&fake, &o, &other, &err) == MEDLEY_EINVAL, "so is a host that is none");
    ok(server_stop(s, 1), "stop");
    s = start((struct server_options){.no_cache = true});
    for (int i = 0; i < 2; i++) {
        struct reply r = classify(server_port(s), "{\"query\":\"q\",\"products\":[\"B1\"]}");
        is_text(at(&r, "results/0/cached"), "false", "without a cache nothing is remembered");
        reply_free(&r);
    }
    ok(server_stop(s, 1), "stop");
}

int main(void)
{
    sb_init(&log_lines);
    struct server *s = start((struct server_options){.max_body = 100000});
    uint16_t port = server_port(s);
    test_small_routes(port);
    test_http_refusals(port);
    test_large_bodies(port);
    test_classify(port);
    test_precomputed(port);
    test_explain(port);
    test_cache(port);
    test_request_ids(port);
    test_keep_alive(port);
    test_concurrent(port);
    ok(server_stop(s, 2), "the server stops");
    test_full_queue();
    test_no_memory();
    test_body_budget();
    test_slow_clients();
    test_left_client();
    test_metrics();
    test_log();
    test_shutdown();
    test_hurried_shutdown();
    test_start();
    sb_deinit(&log_lines);
    return tap_done();
}
