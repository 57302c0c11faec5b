/* test_serve_limits.c: every limit of docs/serving.md against a running server: what is too
 * much, too long or too slow is refused with a status and a reason, or cut off, and the server
 * lives on, with nothing left of it: no request in flight, no connection open. */
#include "base/cpu.h"
#include "serve/classify_request.h"
#include "serve/inference_request.h"
#include "tests/serve_help.h"

#include <errno.h>

/* ---- bodies that are too much -------------------------------------------------------------
 */

static void add_times(struct strbuf *out, size_t n, const char *piece)
{
    for (size_t i = 0; i < n; i++)
        sb_addz(out, piece);
}

/* `before`, so many `piece`s, `after`. */
static const struct too_much {
    const char *path, *before, *piece;
    size_t times;
    const char *after;
    int status;
    const char *why; /* in the reply */
} too_much[] = {
    {"/v1/classify", "{\"query\":\"q\",\"products\":", "[", 6, "]", 400,
     "body:1: nested more than 5 deep"},
    {"/v1/classify", "", "[", 300000, "", 400, "body:1: nested more than 5 deep"},
    {"/v1/classify", "", "{\"a\":", 200000, "", 400, "body:1: nested more than 5 deep"},
    {"/v1/classify", "{\"query\":\"q\",\"products\":[", "[],", 210000, "1]}", 400,
     "body:1: more than 200000 values"},
    {"/v1/classify", "{\"query\":\"q\",\"products\":[", "\"B\",", 1000, "\"B\"]}", 400,
     "products: 1001 are not between 1 and 1000"},
    {"/v1/rank", "{\"query\":\"q\",\"products\":[", "\"B\",", 1000, "\"B\"]}", 400,
     "products: 1001 are not between 1 and 1000"},
    {"/v1/classify", "{\"products\":[\"B\"],\"query\":\"", "x", 65537, "\"}", 400,
     "query: 65537 bytes are more than 65536"},
    {"/v1/classify", "{\"query\":\"q\",\"products\":[\"B\",{\"title\":\"t\",\"bullets\":\"",
     "x", 65537, "\"}]}", 400, "products[1].bullets: 65537 bytes are more than 65536"},
    {"/v1/classify", "{\"query\":\"q\",\"products\":[\"", "x", 1025, "\"]}", 400,
     "products[0]: an id has 1 to 1024 bytes, not 1025"},
    {"/v1/classify", "{\"query\":\"q\",\"products\":[{\"id\":\"", "x", 1025, "\"}]}", 400,
     "products[0].id: 1025 bytes are more than 1024"},
    {"/v1/classify", "{\"query\":\"q\",\"products\":[\"B\"],\"locale\":\"", "x", 36, "\"}", 400,
     "locale: 36 bytes are more than 35"},
    {"/v1/classify", "{\"query\":\"q\",\"products\":[\"B\"],\"models\":[", "\"m\",", 32,
     "\"m\"]}", 400, "models: must be a list of 1 to 32 names"},
    {"/v1/classify", "{\"query\":\"q\",\"products\":[\"B\"],\"deadline_ms\":", "9", 7, "}", 400,
     "deadline_ms: must be a number from 1 to 600000"},
    {"/v1/classify", "{\"query\":\"q\",\"products\":[\"B\"],\"max_age_s\":1", "0", 10, "}", 400,
     "max_age_s: must be a number from 0 to 1000000000"},
    {"/v1/classify", "{\"query\":\"q\",\"products\":[\"B\"],\"max_age_s\":1", "0", 80, "}", 400,
     "body:1: a number has more than 63 characters"},
    {"/v1/classify",
     "{\"query\":\"q\",\"products\":[{\"id\":\"B\",\"predictions\":{\"minilm\":[", "0,", 16,
     "1]}}]}", 400, "products[0].predictions.minilm: must be a list of 1 to 16 numbers"},
    {"/v1/classify", "{\"query\":\"q\",\"query\":\"q\",\"products\":[\"B\"", "", 0, "]}", 400,
     "query: given twice"},
    {"/v1/classify", "{\"query\":\"q\",\"products\":[{\"id\":\"B\",\"id\":\"B\"}", "", 0, "]}",
     400, "products[0].id: given twice"},
    {"/v1/classify", "{\"query\":\"\xC0\xAF\",\"products\":[\"B\"", "", 0, "]}", 400,
     "body:1: invalid UTF-8"},
    {"/v1/classify", "{\"query\":\"q\",\n\"products\":[\"\xED\xA0\x80\"", "", 0, "]}", 400,
     "body:2: invalid UTF-8"},
    {"/v1/classify", "{\"query\":\"\\ud800\",\"products\":[\"B\"", "", 0, "]}", 400,
     "body:1: a high surrogate stands alone"},
    {"/v1/classify", "", " ", 1000001, "", 413, "body: 1000001 bytes are more than 1000000"},
    {"/v1/products", "{\"products\":[", "{\"id\":\"B\",\"title\":\"t\"},", 1001, "]}", 400,
     "body:1: "},
    {"/v1/products", "{\"products\":[{\"id\":\"B\",\"title\":\"t\"}",
     ",{\"id\":\"B\",\"title\":\"t\"}", 1000, "]}", 400,
     "products: 1001 are not between 1 and 1000"},
    {"/v1/products", "{\"products\":[{\"id\":\"B\",\"title\":\"", "x", 65537, "\"}]}", 400,
     "products[0].title: 65537 bytes are more than 65536"},
    {"/v1/products:invalidate", "{\"ids\":[\"B\"", ",\"B\"", 10000, "]}", 400, "ids: "},
    {"/v1/products:invalidate", "{\"ids\":[\"", "x", 1025, "\"]}", 400, "ids[0]"},
    {"/v1/products:invalidate", "{\"ids\":[\"B\"", ",\"B\"", 20000, "]}", 400,
     "body:1: more than 20000 values"},
    {"/v1/products:invalidate", "{\"ids\":[\"B\"],\"ids\":[\"B\"", "", 0, "]}", 400,
     "ids: given twice"},
    {"/v1/bundles:activate", "{\"bundle\":", "[", 1000, "", 400, "body:1: nested more than 2"},
    {"/v1/bundles:activate", "{\"bundle\":[", "1,", 1000, "1]}", 400,
     "body:1: more than 16 values"},
    {"/v1/bundles:activate", "{\"bundle\":\"a\",\"bundle\":\"b\"", "", 0, "}", 400,
     "bundle: given twice"},
    {"/v1/bundles:shadow", "{\"bundle\":\"a\",\"share\":1,\"share\":1", "", 0, "}", 400,
     "share: given twice"},
    {"/v1/bundles:activate", "{\"bundle\":\"", "x", 129, "\"}", 409,
     "this server has no folder of bundles"},
    {"/v2/models/ensemble/infer", "{\"inputs\":[", "[", 1000, "", 400, "body:1: nested"},
    {"/v2/models/ensemble/infer",
     "{\"inputs\":[{\"name\":\"query\",\"datatype\":\"BYTES\",\"shape\":[1001],\"data\":[\"q\"",
     ",\"q\"", 1000, "]}]}", 400, "query: the shape must be [n] or [n, 1], n from 1 to 1000"},
    {"/v2/models/ensemble/infer",
     "{\"inputs\":[{\"name\":\"query\",\"datatype\":\"BYTES\",\"shape\":[1],\"data\":[\"", "x",
     65537, "\"]}]}", 400, "65537"},
};

#define ADMIN "Authorization: Bearer administrator-token\r\n"

static void lives(uint16_t port)
{
    struct reply r =
        classify(port, "{\"query\":\"q\",\"products\":[\"B1\"],\"cache\":\"off\"}");
    if (r.status != 200)
        ok(false, "the server does not answer any more: %d", r.status);
    reply_free(&r);
}

static void test_too_much(uint16_t port)
{
    for (size_t i = 0; i < sizeof too_much / sizeof *too_much; i++) {
        const struct too_much *t = &too_much[i];
        struct strbuf body;
        sb_init(&body);
        sb_addz(&body, t->before);
        add_times(&body, t->times, t->piece);
        sb_addz(&body, t->after);
        struct reply r = ask(port, "POST", t->path, JSON_TYPE ADMIN, body.s);
        ok(r.status == t->status && has_header(&r, "Content-Type: application/json"),
           "%s, %.40s..., %zu times %s: %d", t->path, t->before, t->times, t->piece, r.status);
        ok(strstr(at(&r, "error"), t->why) != NULL, "  says: %s%s%s", t->why,
           strstr(at(&r, "error"), t->why) ? "" : "; not: ",
           strstr(at(&r, "error"), t->why) ? "" : at(&r, "error"));
        reply_free(&r);
        sb_deinit(&body);
        lives(port);
    }
}

/* What stands just within its limit. */
static void test_not_too_much(uint16_t port)
{
    struct strbuf body;
    sb_init(&body);
    sb_addz(&body, "{\"query\":\"");
    add_times(&body, CLASSIFY_MAX_TEXT, "x");
    sb_addz(&body, "\",\"products\":[\"B\"");
    add_times(&body, CLASSIFY_MAX_PRODUCTS - 2, ",\"B\"");
    sb_addz(&body, ",{\"id\":\"");
    add_times(&body, CLASSIFY_MAX_ID, "x");
    sb_addz(&body, "\",\"title\":\"");
    add_times(&body, CLASSIFY_MAX_TEXT, "x");
    sb_addz(&body, "\"}]}");
    add_times(&body, 1000000 - body.n, " ");
    struct reply r = classify(port, body.s);
    ok(r.status == 200, "a request at every limit is answered: %d %.100s", r.status,
       r.status == 200 ? "" : body_of(&r));
    is_text(at(&r, "results/999/label"), "S", "to its last product");
    reply_free(&r);
    sb_deinit(&body);
}

/* ---- lines and headers --------------------------------------------------------------------
 */

/* The status of raw bytes, and whether its body holds `why`; 0: closed without a word. */
static int raw(uint16_t port, const struct strbuf *bytes, const char *why)
{
    int fd = dial(port);
    put(fd, bytes->s, bytes->n);
    struct reply r = get_reply(fd, false);
    int status = r.status;
    if (!strstr(body_of(&r), why)) {
        printf("# %d without '%s': %.300s\n", status, why, body_of(&r));
        status = -status;
    }
    reply_free(&r);
    close(fd);
    lives(port);
    return status;
}

static const struct line {
    const char *before, *piece;
    size_t times;
    const char *after;
    int status;
    const char *why;
} lines[] = {
    {"GET /", "x", 40000, " HTTP/1.1\r\nHost: x\r\n\r\n", 414, ""},
    {"GET /", "x", 4000000, " HTTP/1.1\r\nHost: x\r\n\r\n", 414, ""},
    {"GET /healthz?", "a=b&", 20000, " HTTP/1.1\r\nHost: x\r\n\r\n", 414, ""},
    {"GET /", "x", 8000, " HTTP/1.1\r\nHost: x\r\n\r\n", 404, "nothing at '/xxx"},
    {"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ", "x", 40000, "\r\n\r\n", 431, ""},
    {"GET /healthz HTTP/1.1\r\nHost: x\r\n", "X-Many: x\r\n", 4000, "\r\n", 431, ""},
    {"GET /healthz HTTP/1.1\r\n", "", 0, "\r\n", 400, ""}, /* without Host */
    {"GET /healthz HTTP/1.1\r\nHost: x\r\nno colon\r\n", "", 0, "\r\n", 400, ""},
    {"POST /v1/classify HTTP/1.1\r\nHost: x\r\n" JSON_TYPE "Content-Length: -1\r\n", "", 0,
     "\r\n", 400, ""},
    {"POST /v1/classify HTTP/1.1\r\nHost: x\r\n" JSON_TYPE
     "Content-Length: 99999999999999999999999\r\n",
     "", 0, "\r\n", 413, ""},
    {"POST /v1/classify HTTP/1.1\r\nHost: x\r\n" JSON_TYPE "Transfer-Encoding: chunked\r\n\r\n",
     "", 0, "zz\r\n", 400, ""},
    {"\x16\x03\x01", "", 0, "\x02\r\n\r\n", 0, ""}, /* TLS: no HTTP to answer in */
    {"PUT /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n", "", 0, "\r\n", 405,
     "PUT is not possible here, POST is"},
    {"BREW /v1/classify HTTP/1.1\r\nHost: x\r\n", "", 0, "\r\n", 405, "BREW is not possible"},
    {"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n", "", 0,
     "Content-Length: 2\r\n\r\n{}", 415, "content-type: must be application/json"},
    {"POST /v1/classify HTTP/1.1\r\nHost: x\r\n", "", 0, "Content-Length: 2\r\n\r\n{}", 415,
     "content-type: must be application/json"},
    {"POST /v1/classify HTTP/1.1\r\nHost: x\r\n" JSON_TYPE "Content-Encoding: br\r\n", "", 0,
     "Content-Length: 2\r\n\r\n{}", 415, "content-encoding: 'br' is not supported"},
    {"GET /v1/products/", "x", 1025, " HTTP/1.1\r\nHost: x\r\n" ADMIN "\r\n", 400, "1024"},
    {"GET /v1/products/%FF", "", 0, " HTTP/1.1\r\nHost: x\r\n" ADMIN "\r\n", 400, "UTF-8"},
    {"POST /v1/products/", "x", 1025, ":invalidate HTTP/1.1\r\nHost: x\r\n" ADMIN "\r\n", 400,
     "1024"},
};

static void test_lines(uint16_t port)
{
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const struct line *l = &lines[i];
        struct strbuf bytes;
        sb_init(&bytes);
        sb_addz(&bytes, l->before);
        add_times(&bytes, l->times, l->piece);
        sb_addz(&bytes, l->after);
        int status = raw(port, &bytes, l->why);
        ok(status == l->status, "%.30s... %zu times %.10s: %d", l->before, l->times, l->piece,
           status);
        sb_deinit(&bytes);
    }
}

/* ---- what is left of it -------------------------------------------------------------------
 */

static long metric(uint16_t port, const char *name)
{
    struct reply r = ask(port, "GET", "/metrics", "", NULL);
    char line[100];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *found = strstr(body_of(&r), line);
    long v = found ? strtol(found + strlen(line), NULL, 10) : -1;
    reply_free(&r);
    return v;
}

/* Soon: the connection and the request that ask are there themselves. A server that forgets a
 * client only by its timeout, 30 s unless told otherwise, is too late. */
static bool settles(uint16_t port, const char *name, long wanted)
{
    double began = clock_seconds(), took = 0;
    long v = metric(port, name);
    for (; v != wanted && took < 20; v = metric(port, name)) {
        sleep_ms(20);
        took = clock_seconds() - began;
    }
    if (took > 3)
        printf("# %s is %ld after %.1f s\n", name, v, took);
    return v == wanted;
}

static void nothing_left(uint16_t port)
{
    ok(settles(port, "medley_http_requests_in_flight", 1), "no request is left in flight");
    ok(settles(port, "medley_http_connections", 1), "no connection is left open");
    lives(port);
}

/* ---- clients that are slow ----------------------------------------------------------------
 */

#define HEADERS "POST /v1/classify HTTP/1.1\r\nHost: x\r\n" JSON_TYPE
#define NOTHING "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
#define HEALTH "GET /healthz HTTP/1.1\r\nHost: x\r\n"

static const struct sluggard {
    const char *what, *first;
    const char *then;   /* byte by byte, over and over; "": silence */
    double least, most; /* seconds until it is cut off */
} sluggards[] = {
    {"a request line that drips", "", "GET /healthz HTTP/1.1\r\nX-Header: value", 0.8, 4},
    {"headers that drip", HEALTH, "X-A: b\r\n", 0.8, 4},
    {"a body that drips", HEADERS "Content-Length: 1000\r\n\r\n", " ", 0.8, 4},
    {"a body that drips in chunks", HEADERS "Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n",
     0.8, 4},
    {"a second request that drips", HEALTH "\r\n", HEALTH "X: y", 1.5, 6},
    {"the body of a refused request that drips", NOTHING, "x", 0.8, 4},
    {"silence", "", "", 0.8, 4},
    {"silence in a request line", "GET /", "", 0.8, 4},
    {"silence in headers", HEADERS, "", 0.8, 4},
    {"silence in a body", HEADERS "Content-Length: 1000\r\n\r\n{", "", 0.8, 4},
    {"silence behind a request", HEALTH "\r\n", "", 0.8, 4},
};
#define SLUGGARDS (sizeof sluggards / sizeof *sluggards)

/* Whether the server has ended a connection; what it says is thrown away. */
static bool is_over(int fd)
{
    char part[1000];
    ssize_t n;
    while ((n = recv(fd, part, sizeof part, MSG_DONTWAIT)) > 0)
        ;
    return n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

/* All of them at a time, a byte every 100 ms. */
static void test_sluggards(uint16_t port)
{
    int fds[SLUGGARDS];
    double began = clock_seconds(), took[SLUGGARDS] = {0};
    size_t open = SLUGGARDS;
    for (size_t i = 0; i < SLUGGARDS; i++) {
        fds[i] = dial(port);
        put(fds[i], sluggards[i].first, strlen(sluggards[i].first));
    }
    for (size_t step = 0; open && clock_seconds() < began + 10; step++) {
        sleep_ms(100);
        for (size_t i = 0; i < SLUGGARDS; i++) {
            const char *then = sluggards[i].then;
            if (took[i] > 0)
                continue;
            if (is_over(fds[i]) || (*then && !put(fds[i], then + step % strlen(then), 1))) {
                took[i] = clock_seconds() - began;
                open--;
            }
        }
    }
    for (size_t i = 0; i < SLUGGARDS; i++) {
        ok(took[i] > sluggards[i].least && took[i] < sluggards[i].most,
           "%s is cut off after %.1f s", sluggards[i].what, took[i]);
        close(fds[i]);
    }
    ok(metric(port, "medley_http_connections_cut_total") > 0, "which is counted");
}

/* A request whose answer does not fit into the buffers of a connection. */
static int ask_for_much(uint16_t port)
{
    struct strbuf out;
    int fd = dial(port), small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    sb_init(&out);
    sb_addz(&out, "{\"query\":\"q\",\"explain\":true,\"products\":[");
    for (int i = 0; i < CLASSIFY_MAX_PRODUCTS; i++) {
        sb_addf(&out, "%s\"%d", i ? "," : "", i);
        add_times(&out, 800, "x");
        sb_addc(&out, '"');
    }
    sb_addz(&out, "]}");
    char headers[200];
    snprintf(headers, sizeof headers, HEADERS "Content-Length: %zu\r\n\r\n", out.n);
    put(fd, headers, strlen(headers));
    put(fd, out.s, out.n);
    sb_deinit(&out);
    return fd;
}

static void test_slow_readers(uint16_t port)
{
    double began = clock_seconds();
    int mute = ask_for_much(port), slow = ask_for_much(port);
    char part[200];
    ssize_t n = 1;
    size_t got = 0;
    while (n > 0 && clock_seconds() < began + 10) {
        sleep_ms(100);
        n = recv(slow, part, sizeof part, 0);
        got += n > 0 ? (size_t)n : 0;
        if (metric(port, "medley_http_connections") <= 1)
            break;
    }
    double s = clock_seconds() - began;
    ok(s > 0.8 && s < 8, "who takes %zu bytes of an answer a few at a time is cut off, %.1f s",
       got, s);
    nothing_left(port);
    close(mute);
    close(slow);
}

static void test_slow(void)
{
    struct server *s = start((struct server_options){
        .idle_seconds = 1, .body_seconds = 1, .max_body = 1000000, .no_cache = true});
    uint16_t port = server_port(s);
    test_sluggards(port);
    test_slow_readers(port);
    ok(server_stop(s, 2), "and the server stops");
}

/* ---- clients that vanish ------------------------------------------------------------------
 */

/* With a reset, not a farewell. */
static void vanish(int fd)
{
    struct linger at_once = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

static void test_vanishing(void)
{
    struct server *s = start((struct server_options){.threads = 1, .max_body = 1000000});
    uint16_t port = server_port(s);
    static const char body[] =
        "{\"query\":\"hold me\",\"products\":[\"B1\"],\"cache\":\"off\"}";
    char whole[400];
    int n = snprintf(whole, sizeof whole, HEADERS "Content-Length: %zu\r\n\r\n%s",
                     sizeof body - 1, body);
    for (int cut = 0; cut < n; cut++) {
        int fd = dial(port);
        put(fd, whole, (size_t)cut);
        if (cut % 2)
            vanish(fd);
        else
            close(fd);
    }
    ok(1, "clients that vanish after each of %d bytes of a request", n);
    nothing_left(port);
    atomic_store(&fake_gate, true);
    int at_work = dial(port), in_queue = dial(port);
    put(at_work, whole, (size_t)n);
    for (int i = 0; i < 5000 && atomic_load(&fake_running) != 1; i++)
        sleep_ms(1);
    put(in_queue, whole, (size_t)n);
    ok(settles(port, "medley_queue_length", 1), "one at work, one in the queue");
    vanish(at_work);
    vanish(in_queue);
    atomic_store(&fake_gate, false);
    ok(1, "clients that vanish while they are served");
    nothing_left(port);
    for (int i = 0; i < 20; i++) {
        int fd = ask_for_much(port);
        char part[100];
        if (i % 2)
            recv(fd, part, sizeof part, 0);
        if (i % 4 < 2)
            vanish(fd);
        else
            close(fd);
    }
    ok(1, "and before or in the midst of the answer");
    nothing_left(port);
    ok(server_stop(s, 2), "and the server stops");
}

/* ---- too many -----------------------------------------------------------------------------
 */

static void test_many_connections(void)
{
    enum { MOST = 20, MORE = 30 };
    struct server *s = start((struct server_options){.max_connections = MOST});
    uint16_t port = server_port(s);
    int fds[MORE];
    for (size_t i = 0; i < MORE; i++)
        fds[i] = dial(port);
    struct reply r = reply_new();
    for (int i = 0; i < 500; i++) { /* all of them have been accepted */
        reply_free(&r);
        r = ask(port, "GET", "/healthz", "", NULL);
        if (metric(port, "medley_http_connections") == MORE + 1)
            break;
        sleep_ms(10);
    }
    ok(r.status == 200, "health is told whatever");
    reply_free(&r);
    r = classify(port, "{\"query\":\"q\",\"products\":[\"B1\"]}");
    ok(r.status == 429 && has_header(&r, "Retry-After: 1") &&
           has_header(&r, "Connection: close"),
       "above %d connections: %d, try again later", MOST, r.status);
    is_text(at(&r, "error"), "busy: more than 20 connections", "which says why");
    reply_free(&r);
    for (size_t i = 0; i < MORE; i++)
        close(fds[i]);
    nothing_left(port);
    /* Far more than may be open at all: they wait, or are told, and none is lost. */
    enum { CROWD = 200 };
    int crowd[CROWD];
    size_t answered = 0;
    for (size_t i = 0; i < CROWD; i++)
        crowd[i] = dial(port);
    for (size_t i = 0; i < CROWD; i++) {
        static const char get[] =
            "GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        put(crowd[i], get, sizeof get - 1);
    }
    for (size_t i = 0; i < CROWD; i++) {
        r = get_reply(crowd[i], false);
        answered += r.status == 200 || r.status == 429;
        reply_free(&r);
        close(crowd[i]);
    }
    ok(answered == CROWD, "%zu of %d at a time are answered 200 or 429", answered, CROWD);
    nothing_left(port);
    ok(server_stop(s, 2), "and the server stops");
}

/* Twice as many lists as a worker and its queue can hold. */
static void test_full_queue(void)
{
    enum { WAITING = 8, MORE = 2 * (WAITING + 1) };
    struct server *s = start((struct server_options){.threads = 1, .max_queue = WAITING});
    uint16_t port = server_port(s);
    int fds[MORE];
    size_t refused = 0, whole = 0, reasons = 0;
    atomic_store(&fake_gate, true);
    for (int i = 0; i < MORE; i++) {
        char body[100], text[400];
        snprintf(body, sizeof body,
                 "{\"query\":\"hold %d\",\"products\":[\"B\"],\"cache\":\"off\"}", i);
        int n = snprintf(text, sizeof text, HEADERS "Content-Length: %zu\r\n\r\n%s",
                         strlen(body), body);
        fds[i] = dial(port);
        put(fds[i], text, (size_t)n);
        for (int j = 0; i == 0 && j < 5000 && atomic_load(&fake_running) != 1; j++)
            sleep_ms(1);
    }
    ok(settles(port, "medley_http_requests_in_flight", WAITING + 2), "the others are refused");
    atomic_store(&fake_gate, false);
    for (int i = 0; i < MORE; i++) {
        struct reply r = get_reply(fds[i], false);
        whole += r.status == 200;
        refused += r.status == 429 && has_header(&r, "Retry-After: 1");
        reasons +=
            r.status == 429 && strcmp(at(&r, "error"), "busy: 8 requests wait already") == 0;
        reply_free(&r);
        close(fds[i]);
    }
    ok(whole == WAITING + 1 && refused == MORE - whole && reasons == refused,
       "%zu are answered, %zu are told to try again, and why", whole, refused);
    nothing_left(port);
    ok(server_stop(s, 2), "and the server stops");
}

int main(void)
{
    sb_init(&log_lines);
    char folder[64];
    snprintf(folder, sizeof folder, "%s", tap_folder());
    struct server *s = start((struct server_options){
        .max_body = 1000000, .admin_token = "administrator-token", .products_folder = folder});
    uint16_t port = server_port(s);
    test_not_too_much(port);
    test_too_much(port);
    test_lines(port);
    nothing_left(port);
    ok(server_stop(s, 2), "and the server stops");
    test_slow();
    test_vanishing();
    test_many_connections();
    test_full_queue();
    sb_deinit(&log_lines);
    return tap_done();
}
