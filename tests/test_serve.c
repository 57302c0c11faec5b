/* test_serve.c: the server as a black box, by raw sockets on a free port, before a fake engine:
 * every route, every refusal, keep-alive and pipelining, the cache, concurrent requests, slow
 * clients, a full queue, shutdown. And the request parser by itself. */
#include "base/cpu.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/pool.h"
#include "serve/classify_request.h"
#include "serve/server.h"
#include "tests/tap.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>

/* ---- the fake engine --------------------------------------------------------------------- */

static atomic_uint fake_calls, fake_running;
static atomic_bool
    fake_gate; /* queries that begin with "hold" wait while it is closed (true) */

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static bool begins(medley_text t, const char *with)
{
    size_t n = strlen(with);
    return t.n >= n && memcmp(t.s, with, n) == 0;
}

static medley_status fake_fail(medley_error *err, medley_status st, const char *message)
{
    err->code = st;
    snprintf(err->message, sizeof err->message, "%s", message);
    return st;
}

/* The label is the length of the id or title modulo 3; margins count calls, to tell a fresh
 * answer from a remembered one. */
static medley_status fake_classify(void *context, medley_text query, medley_text locale,
                                   const medley_product *products, size_t n,
                                   const medley_classify_options *options,
                                   medley_result *results, medley_error *err)
{
    (void)context, (void)locale;
    unsigned call = atomic_fetch_add(&fake_calls, 1) + 1;
    atomic_fetch_add(&fake_running, 1);
    while (begins(query, "hold") && atomic_load(&fake_gate) && !interrupted())
        sleep_ms(1);
    atomic_fetch_sub(&fake_running, 1);
    if (begins(query, "hold") && interrupted())
        return fake_fail(err, MEDLEY_EINTERRUPTED, "interrupted");
    if (begins(query, "bad"))
        return fake_fail(err, MEDLEY_EINVAL, "query: the engine does not like it");
    if (begins(query, "crash"))
        return fake_fail(err, MEDLEY_EIO, "/secret/path: broken");
    if (begins(query, "full"))
        return fake_fail(err, MEDLEY_ENOMEM, "out of memory: somewhere");
    for (size_t i = 0; i < n; i++) {
        medley_text t = products[i].has_text ? products[i].title : products[i].id;
        results[i] = (medley_result){.label = (uint8_t)(t.n % 3),
                                     .known_product = !begins(t, "unknown"),
                                     .models_used = begins(t, "unknown") ? 1 : 3,
                                     .models_stored = begins(t, "frequent") ? 2 : 0};
        for (size_t k = 0; k < 3; k++) {
            results[i].probabilities[k] = k == t.n % 3 ? 0.75f : 0.125f;
            results[i].margins[k] = (float)(call * 10 + k);
            for (size_t m = 0; options->contributions && m < 3; m++)
                options->contributions[(i * 3 + m) * 3 + k] = (float)(i * 100 + m * 10 + k);
        }
    }
    return MEDLEY_OK;
}

static const struct engine fake = {.classify = fake_classify,
                                   .id = "0123456789abcdef0123456789abcdef",
                                   .n_classes = 3,
                                   .n_models = 2,
                                   .classes = {"E", "S", "I"},
                                   .gains = {1, 0.1, 0},
                                   .base = {0.5, -0.25, 0},
                                   .models = {"minilm", "sage \"x\""},
                                   .kinds = {"lm", "gnn"},
                                   .stores = {{0}, {40, 50, 60, 7000}},
                                   .file_bytes = 4711};

static struct strbuf log_lines;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static void keep_log(void *context, const char *line, size_t n)
{
    (void)context;
    pthread_mutex_lock(&log_lock);
    sb_add(&log_lines, line, n);
    sb_addc(&log_lines, '\n');
    pthread_mutex_unlock(&log_lock);
}

static struct server *start(struct server_options o)
{
    struct server *s = NULL;
    medley_error err = {0};
    o.log = keep_log;
    if (server_start(&fake, &o, &s, &err)) {
        printf("Bail out! %s\n", err.message);
        exit(1);
    }
    return s;
}

/* ---- a small HTTP client ----------------------------------------------------------------- */

static int dial(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {20, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool put(int fd, const char *s, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, s, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        s += sent;
        n -= (size_t)sent;
    }
    return true;
}

struct reply {
    int status; /* 0: none came */
    struct strbuf head, body;
};

static struct reply reply_new(void)
{
    struct reply r = {0};
    sb_init(&r.head);
    sb_init(&r.body);
    return r;
}

static void reply_free(struct reply *r)
{
    sb_deinit(&r->head);
    sb_deinit(&r->body);
}

static const char *head_of(const struct reply *r)
{
    return r->head.s ? r->head.s : "";
}

static const char *body_of(const struct reply *r)
{
    return r->body.s ? r->body.s : "";
}

static bool has_header(const struct reply *r, const char *line)
{
    return strcasestr(head_of(r), line) != NULL;
}

/* Reads one reply byte by byte up to its body, so that nothing of the next is taken. */
static struct reply get_reply(int fd, bool head_only)
{
    struct reply r = reply_new();
    char c;
    while (!strstr(head_of(&r), "\r\n\r\n")) {
        if (recv(fd, &c, 1, 0) != 1)
            return r;
        sb_addc(&r.head, c);
    }
    r.status = atoi(head_of(&r) + strlen("HTTP/1.1 "));
    const char *length = strcasestr(head_of(&r), "\r\nContent-Length:");
    size_t left = length ? strtoul(length + 17, NULL, 10) : 0;
    while (left > 0 && !head_only) {
        char part[4096];
        ssize_t n = recv(fd, part, left < sizeof part ? left : sizeof part, 0);
        if (n <= 0)
            break;
        sb_add(&r.body, part, (size_t)n);
        left -= (size_t)n;
    }
    return r;
}

/* One request on a connection of its own. `headers` are whole lines. */
static struct reply ask(uint16_t port, const char *method, const char *path,
                        const char *headers, const char *body)
{
    struct strbuf out;
    int fd = dial(port);
    sb_init(&out);
    sb_addf(&out, "%s %s HTTP/1.1\r\nHost: x\r\n%s", method, path, headers);
    if (body)
        sb_addf(&out, "Content-Length: %zu\r\n", strlen(body));
    sb_addz(&out, "\r\n");
    if (body)
        sb_addz(&out, body);
    put(fd, out.s, out.n);
    struct reply r = get_reply(fd, strcmp(method, "HEAD") == 0);
    sb_deinit(&out);
    close(fd);
    return r;
}

#define JSON_TYPE "Content-Type: application/json\r\n"

static struct reply classify(uint16_t port, const char *body)
{
    return ask(port, "POST", "/v1/classify", JSON_TYPE, body);
}

/* The value at a path like "results/0/label" as text; static storage. */
static const char *at(const struct reply *r, const char *path)
{
    static char text[512];
    json *root = NULL;
    medley_error err;
    char copy[128], *rest = copy;
    snprintf(copy, sizeof copy, "%s", path);
    if (json_parse(sb_str(&r->body), "reply", &root, &err))
        return err.message[0] ? "(no JSON)" : "";
    const json *v = root;
    for (char *part; v && (part = strsep(&rest, "/"));) {
        uint64_t index;
        if (str_to_u64(str_of(part), &index)) {
            v = json_first(v);
            while (v && index--)
                v = json_next(v);
        } else {
            v = json_get(v, part);
        }
    }
    const char *z = "(absent)";
    double d;
    bool b;
    snprintf(text, sizeof text, "%s",
             json_as_text(v, &z)                 ? z
             : json_as_bool(v, &b)               ? (b ? "true" : "false")
             : v && json_kind_of(v) == JSON_NULL ? "null"
                                                 : z);
    if (json_as_double(v, &d))
        snprintf(text, sizeof text, "%.6g", d);
    json_free(root);
    return text;
}

/* ---- the parser -------------------------------------------------------------------------- */

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
    ok(r.query.n == 4 && r.explain && !r.use_cache && r.n_products == 4, "its keys");
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
    ok(classify_request_parse(least, sizeof least - 1, &r, NULL) == MEDLEY_OK && r.use_cache &&
           !r.explain && memcmp(r.locale.s, "us", 2) == 0,
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
               "cache: must be \"on\" or \"off\"");
    is_refused("{\"query\":\"q\",\"products\":[\"B\"],\"locale\":\"u s\"}",
               "locale: must be a tag of letters, digits, '-' and '_'");
    is_refused("{\"query\":\"q\",\"products\":[\"B\"]} x", "body:1: more text after the value");
    is_refused("{\"query\":\"\\u0000\",\"products\":[\"B\"]}",
               "body:1: a string holds \\u0000");
    is_refused("{\"query\":\"\xFF\",\"products\":[\"B\"]}", "body:1: invalid UTF-8");
    is_refused("{\"query\":[[[[\"q\"]]]]}", "body: nested more than 4 deep");
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
    is_refused(b.s, "body: more than 20000 values");
    sb_deinit(&b);
}

/* ---- routes ------------------------------------------------------------------------------ */

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
    r = ask(port, "GET", "/v1/bundle", "", NULL);
    ok(r.status == 200, "GET /v1/bundle");
    is_text(at(&r, "id"), fake.id, "bundle id");
    is_text(at(&r, "models/1/name"), "sage \"x\"", "models");
    is_text(at(&r, "models/0/kind"), "lm", "kinds");
    is_text(at(&r, "models/0/precomputed"), "(absent)", "nothing made ahead");
    is_text(at(&r, "models/1/precomputed/products"), "50", "products made ahead");
    is_text(at(&r, "models/1/precomputed/bytes"), "7000", "and their size");
    is_text(at(&r, "classes/1/gain"), "0.1", "classes and gains");
    is_text(at(&r, "memory/bundle_file_bytes"), "4711", "memory");
    is_text(at(&r, "limits/body_bytes"), "100000", "limits");
    is_text(at(&r, "cache/on"), "true", "cache");
    reply_free(&r);
}

static void test_page(uint16_t port)
{
    struct reply r = ask(port, "GET", "/", "", NULL);
    ok(r.status == 200 && strstr(body_of(&r), "<form"), "GET / is a page with a form");
    ok(has_header(&r, "Content-Security-Policy: default-src 'none'"), "with a strict policy");
    ok(!strstr(body_of(&r), "<style") && !strstr(body_of(&r), "style=") &&
           !strstr(body_of(&r), "onclick") && !strstr(body_of(&r), "http"),
       "that it keeps: nothing inline, nothing from elsewhere");
    reply_free(&r);
    r = ask(port, "GET", "/page.js?v=1", "", NULL);
    ok(r.status == 200 && has_header(&r, "Content-Type: text/javascript"), "GET /page.js");
    ok(!strstr(body_of(&r), "innerHTML"), "texts enter the page as text");
    reply_free(&r);
    r = ask(port, "GET", "/page.css", "", NULL);
    ok(r.status == 200 && has_header(&r, "Content-Type: text/css"), "GET /page.css");
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
    is_text(at(&r, "pairs_precomputed"), "1", "one pair came from embeddings made ahead");
    is_text(at(&r, "results/0/models_precomputed/0"), "sage \"x\"", "by the graph model");
    is_text(at(&r, "results/0/models_used/1"), "sage \"x\"", "which counts as used");
    is_text(at(&r, "results/1/models_precomputed/0"), "(absent)", "the other pair did not");
    reply_free(&r);
    r = classify(port, body);
    is_text(at(&r, "pairs_precomputed"), "0", "what is remembered needs none");
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
    struct str all = sb_str(&log_lines);
    size_t first = (size_t)(strchr(all.s, '\n') - all.s);
    ok(json_parse((struct str){all.s, first}, "log", &line, NULL) == MEDLEY_OK,
       "a log line is JSON");
    ok(json_as_text(json_get(line, "request_id"), &text) && strcmp(text, "log-me") == 0,
       "with the request id");
    ok(json_as_i64(json_get(line, "status"), &n) && n == 200, "the status");
    ok(json_as_i64(json_get(line, "pairs"), &n) && n == 1, "the number of pairs");
    ok(json_as_text(json_get(line, "client"), &text) && strcmp(text, "127.0.0.1") == 0,
       "the client");
    ok(!strstr(all.s, "private"), "and not the query");
    json_free(line);
    line = NULL;
    ok(json_parse((struct str){all.s + first + 1, all.n - first - 2}, "log", &line, NULL) ==
           MEDLEY_OK,
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
    test_parser();
    test_refusals();
    test_large_refusals();
    struct server *s = start((struct server_options){.max_body = 100000});
    uint16_t port = server_port(s);
    test_small_routes(port);
    test_page(port);
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
