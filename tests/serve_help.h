/* serve_help.h: what the tests of the server share: a fake engine, a small HTTP client, a
 * reader of JSON answers. */
#ifndef TESTS_SERVE_HELP_H
#define TESTS_SERVE_HELP_H

#include "base/json.h"
#include "base/memory.h"
#include "base/pool.h"
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

__attribute__((unused)) static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

__attribute__((unused)) static bool begins(medley_text t, const char *with)
{
    size_t n = strlen(with);
    return t.n >= n && memcmp(t.s, with, n) == 0;
}

__attribute__((unused)) static medley_status fake_fail(medley_error *err, medley_status st,
                                                       const char *message)
{
    err->code = st;
    snprintf(err->message, sizeof err->message, "%s", message);
    return st;
}

/* The label is the length of the id or title modulo 3; margins count calls, to tell a fresh
 * answer from a remembered one. */
__attribute__((unused)) static medley_status fake_classify(
    void *context, medley_text query, medley_text locale, const medley_product *products,
    size_t n, const medley_classify_options *options, medley_result *results, medley_error *err)
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
        results[i] =
            (medley_result){.label = (uint8_t)(t.n % 3),
                            .known_product = !begins(t, "unknown"),
                            .models_used = begins(t, "unknown") ? 1 : 3,
                            .models_late = begins(query, "late") && options->deadline_ms > 0 &&
                                                   options->deadline_ms <= 20
                                               ? 2
                                               : 0,
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

/* Of model 0: 98 lists within 10 us, one within 20, one within 40; model 1 was never asked. */
__attribute__((unused)) static medley_model_health fake_health(void *context, size_t m)
{
    (void)context;
    return m ? (medley_model_health){0}
             : (medley_model_health){
                   .lists_timed = 100, .took_ns = 1500000, .took = {98, 1, 1}};
}

__attribute__((unused)) static const struct engine fake = {
    .classify = fake_classify,
    .id = "0123456789abcdef0123456789abcdef",
    .n_classes = 3,
    .n_models = 2,
    .classes = {"E", "S", "I"},
    .gains = {1, 0.1, 0},
    .base = {0.5, -0.25, 0},
    .models = {"minilm", "sage \"x\""},
    .kinds = {"lm", "gnn"},
    .stores = {{0},
               {.queries = 40,
                .products = 50,
                .pairs = 60,
                .bytes = 7000,
                .made = 1700000000,
                .graph_cutoff = 1600000000}},
    .file_bytes = 4711,
    .health = fake_health};

static struct strbuf log_lines;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((unused)) static void keep_log(void *context, const char *line, size_t n)
{
    (void)context;
    pthread_mutex_lock(&log_lock);
    sb_add(&log_lines, line, n);
    sb_addc(&log_lines, '\n');
    pthread_mutex_unlock(&log_lock);
}

__attribute__((unused)) static struct server *start(struct server_options o)
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

__attribute__((unused)) static int dial(uint16_t port)
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

__attribute__((unused)) static bool put(int fd, const char *s, size_t n)
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

__attribute__((unused)) static struct reply reply_new(void)
{
    struct reply r = {0};
    sb_init(&r.head);
    sb_init(&r.body);
    return r;
}

__attribute__((unused)) static void reply_free(struct reply *r)
{
    sb_deinit(&r->head);
    sb_deinit(&r->body);
}

__attribute__((unused)) static const char *head_of(const struct reply *r)
{
    return r->head.s ? r->head.s : "";
}

__attribute__((unused)) static const char *body_of(const struct reply *r)
{
    return r->body.s ? r->body.s : "";
}

__attribute__((unused)) static bool has_header(const struct reply *r, const char *line)
{
    return strcasestr(head_of(r), line) != NULL;
}

/* Reads one reply byte by byte up to its body, so that nothing of the next is taken. */
__attribute__((unused)) static struct reply get_reply(int fd, bool head_only)
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
__attribute__((unused)) static struct reply ask(uint16_t port, const char *method,
                                                const char *path, const char *headers,
                                                const char *body)
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

__attribute__((unused)) static struct reply classify(uint16_t port, const char *body)
{
    return ask(port, "POST", "/v1/classify", JSON_TYPE, body);
}

/* The value at a path like "results/0/label" as text; static storage. */
__attribute__((unused)) static const char *at(const struct reply *r, const char *path)
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

#endif
