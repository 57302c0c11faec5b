/* test_flight.c: identical lists in flight are judged once: followers share the answer, the
 * leader's failure, or take over; what must go alone does; many clients at once. */
#include "tests/serve_help.h"

static atomic_uint judged; /* calls of the engine */
static atomic_uint to_fail;
static atomic_bool gate; /* closed: all queries but "free" wait */

/* Fails `to_fail` times; the query tells how. The margin tells which call it was. */
static medley_status judge(void *context, medley_text query, medley_text locale,
                           const medley_product *products, size_t n,
                           const medley_classify_options *options, medley_result *results,
                           medley_error *err)
{
    (void)context, (void)locale, (void)products;
    unsigned call = atomic_fetch_add(&judged, 1) + 1;
    while (atomic_load(&gate) && !begins(query, "free"))
        sleep_ms(1);
    if (begins(query, "bad"))
        return fake_fail(err, MEDLEY_EINVAL, "query: not liked");
    if (atomic_load(&to_fail) > 0) {
        atomic_fetch_sub(&to_fail, 1);
        return fake_fail(err, MEDLEY_EIO, "a model died");
    }
    for (size_t i = 0; i < n; i++) {
        results[i] = (medley_result){.label = 1, .models_used = 3};
        results[i].margins[0] = (float)call;
        results[i].probabilities[1] = 1;
        for (size_t v = 0; options->contributions && v < 9; v++)
            options->contributions[i * 9 + v] = 0;
    }
    return MEDLEY_OK;
}

static int send_body(uint16_t port, const char *body)
{
    struct strbuf out;
    int fd = dial(port);
    sb_init(&out);
    sb_addf(&out,
            "POST /v1/classify HTTP/1.1\r\nHost: x\r\n" JSON_TYPE
            "Content-Length: %zu\r\n\r\n%s",
            strlen(body), body);
    put(fd, out.s, out.n);
    sb_deinit(&out);
    return fd;
}

/* A number of /metrics. */
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
    for (int i = 0; i < 2000; i++) {
        if (metric(port, name) == wanted)
            return true;
        sleep_ms(2);
    }
    return false;
}

static bool waits_for(atomic_uint *what, unsigned wanted)
{
    for (int i = 0; i < 5000 && atomic_load(what) != wanted; i++)
        sleep_ms(1);
    return atomic_load(what) == wanted;
}

#define COLLAPSED "medley_requests_collapsed_total"
#define IN_FLIGHT "medley_http_requests_in_flight"

/* Sends the bodies while the gate is closed, waits until `calls` are being judged and the rest
 * follows or waits, then opens it. Statuses and first margins of the answers. */
struct outcome {
    int status;
    char margin[32];
};

static void fly(uint16_t port, const char *const *bodies, size_t n, unsigned collapsed,
                struct outcome *out)
{
    int fds[16];
    unsigned long before = metric(port, COLLAPSED);
    atomic_store(&judged, 0);
    atomic_store(&gate, true);
    for (size_t i = 0; i < n; i++) {
        fds[i] = send_body(port, bodies[i]);
        if (i == 0)
            waits_for(&judged, 1);
    }
    becomes(port, IN_FLIGHT, n + 1); /* and the one that asks */
    ok(becomes(port, COLLAPSED, before + collapsed), "%u of %zu requests follow", collapsed, n);
    atomic_store(&gate, false);
    for (size_t i = 0; i < n; i++) {
        struct reply r = get_reply(fds[i], false);
        out[i].status = r.status;
        snprintf(out[i].margin, sizeof out[i].margin, "%s", at(&r, "results/0/margins/E"));
        reply_free(&r);
        close(fds[i]);
    }
}

static size_t with_status(const struct outcome *o, size_t n, int status)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += o[i].status == status;
    return count;
}

#define SAME(query) "{\"query\":\"" query "\",\"products\":[\"A\",\"B\"]}"

static void test_sharing(uint16_t port)
{
    const char *same[] = {SAME("q1"), SAME(" Q1 "), SAME("q1"), SAME("q1"), SAME("q1")};
    struct outcome o[5];
    fly(port, same, 5, 4, o);
    ok(atomic_load(&judged) == 1, "judged once");
    size_t equal = 0;
    for (size_t i = 0; i < 5; i++)
        equal += o[i].status == 200 && strcmp(o[i].margin, "1") == 0;
    ok(equal == 5, "and all get that answer");
    struct reply r = classify(port, SAME("q1"));
    is_text(at(&r, "results/0/cached"), "true", "which is remembered");
    reply_free(&r);
    ok(metric(port, "medley_pairs_classified_total{source=\"shared\"}") == 8,
       "shared pairs are counted");
}

static void test_alone(uint16_t port)
{
    const char *different[] = {
        SAME("q2"),
        "{\"query\":\"q2\",\"products\":[\"B\",\"A\"]}",
        "{\"query\":\"q2\",\"products\":[\"A\",\"B\"],\"cache\":\"off\"}",
        "{\"query\":\"q2\",\"products\":[\"A\",\"B\"],\"explain\":true}",
        "{\"query\":\"q2\",\"products\":[\"A\",\"B\"],\"locale\":\"es\"}",
        "{\"query\":\"q2\",\"products\":[\"A\",\"B\"],\"deadline_ms\":5000}",
        "{\"query\":\"q2\",\"products\":[\"A\",\"B\"],\"max_age_s\":5}",
        "{\"query\":\"q2\",\"products\":[\"A\",\"B\"],\"models\":[\"minilm\"]}",
    };
    struct outcome o[8];
    fly(port, different, 8, 0, o);
    ok(with_status(o, 8, 200) == 8 && atomic_load(&judged) == 8,
       "eight questions, eight calls");
    const char *timed[] = {"{\"query\":\"q3\",\"products\":[\"A\"],\"deadline_ms\":60000}",
                           "{\"query\":\"q3\",\"products\":[\"A\"],\"deadline_ms\":60000}"};
    fly(port, timed, 2, 1, o);
    ok(with_status(o, 2, 200) == 2, "the same deadline: together");
}

static void test_failures(uint16_t port)
{
    struct outcome o[4];
    const char *bad[] = {SAME("bad"), SAME("bad"), SAME("bad")};
    fly(port, bad, 3, 2, o);
    ok(with_status(o, 3, 400) == 3 && atomic_load(&judged) == 1,
       "what is wrong with the request is told to all");
    const char *same[] = {SAME("q4"), SAME("q4"), SAME("q4"), SAME("q4")};
    atomic_store(&to_fail, 1);
    fly(port, same, 4, 3, o);
    ok(o[0].status == 500, "the leader fails");
    ok(with_status(o + 1, 3, 200) == 3, "a follower takes over");
    ok(atomic_load(&judged) == 2, "for all the others");
    const char *again[] = {SAME("q5"), SAME("q5"), SAME("q5")};
    atomic_store(&to_fail, 3);
    fly(port, again, 3, 2, o);
    ok(with_status(o, 3, 500) == 3 && atomic_load(&judged) == 3, "each fails in its own name");
}

/* One worker, one place: when the leader fails there is no room to take over. */
static void test_no_room(void)
{
    struct server *s = NULL;
    struct engine engine = fake;
    engine.classify = judge;
    struct server_options options = {.threads = 1, .max_queue = 1, .log = keep_log};
    medley_error err;
    if (server_start(&engine, &options, &s, &err)) {
        ok(false, "start: %s", err.message);
        return;
    }
    uint16_t port = server_port(s);
    const char *bodies[] = {SAME("q6"), SAME("q6"), SAME("q6"), SAME("q7")};
    struct outcome o[4];
    atomic_store(&to_fail, 1);
    fly(port, bodies, 4, 2, o);
    ok(o[0].status == 500 && o[3].status == 200, "the leader fails, the one in the queue not");
    ok(with_status(o + 1, 2, 429) == 2, "followers that find no room are told so");
    /* Followers take no place in the queue: three more than it has are fine. */
    const char *same[] = {SAME("q8"), SAME("q8"), SAME("q8"), SAME("q8")};
    fly(port, same, 4, 3, o);
    ok(with_status(o, 4, 200) == 4, "followers need no room");
    ok(server_stop(s, 2), "stops");
}

/* ---- many ----------------------------------------------------------------------------------
 */

static uint16_t many_port;

static void *ask_many(void *context)
{
    size_t good = 0, id = (size_t)(uintptr_t)context;
    for (size_t i = 0; i < 60; i++) {
        char body[128];
        snprintf(body, sizeof body,
                 "{\"query\":\"free %zu\",\"products\":[\"A\"],\"max_age_s\":0}",
                 (i + id % 2) % 5);
        struct reply r = classify(many_port, body);
        good += r.status == 200 || r.status == 500;
        reply_free(&r);
    }
    return (void *)(uintptr_t)good;
}

static void test_many(uint16_t port)
{
    pthread_t threads[6];
    size_t good = 0;
    many_port = port;
    atomic_store(&to_fail, 40);
    for (size_t t = 0; t < 6; t++)
        pthread_create(&threads[t], NULL, ask_many, (void *)(uintptr_t)t);
    for (size_t t = 0; t < 6; t++) {
        void *n;
        pthread_join(threads[t], &n);
        good += (size_t)(uintptr_t)n;
    }
    ok(good == 360, "%zu of 360 requests are answered, whoever led", good);
    ok(becomes(port, IN_FLIGHT, 1), "and none is left behind");
}

int main(void)
{
    struct server *s = NULL;
    struct engine engine = fake;
    engine.classify = judge;
    struct server_options options = {.threads = 8, .log = keep_log};
    medley_error err;
    sb_init(&log_lines);
    if (server_start(&engine, &options, &s, &err)) {
        printf("Bail out! %s\n", err.message);
        return 1;
    }
    uint16_t port = server_port(s);
    test_sharing(port);
    test_alone(port);
    test_failures(port);
    test_many(port);
    ok(server_stop(s, 2), "stops");
    test_no_room();
    sb_deinit(&log_lines);
    return tap_done();
}
