/* test_remote.c: kind remote against a server that works, hangs, dies and lies: templates, one
 * request, retries, the breaker, all stages, serving. `test_remote serve K` is that server
 * alone, of K classes, for tests/e2e/plug.t: it prints its port, and ends with its input. */
#include "base/cpu.h"
#include "remote/client.h"
#include "tests/inference_stub.h"
#include "tests/plugged_shop.h"

static char url[80];

static const struct pair_text pairs[] = {
    {.query = {"red1", 4}, .locale = {"us", 2}, .product = {.title = {"red1 shoe1", 10}}},
    {.query = {"red1", 4}, .locale = {"us", 2}, .product = {.title = {"red1 thing", 10}}},
    {.query = {"\"\\\n", 3}, .locale = {"es", 2}, .product = {.title = {"lamp", 4}}},
};
enum { N = sizeof pairs / sizeof *pairs };

static void test_templates(void)
{
    static const char *const bad[] = {"no field", "{query", "{nothing} {query}", "", "{Query}"};
    medley_error err = {0};
    struct strbuf s;
    sb_init(&s);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ok(template_check(bad[i], &err) == MEDLEY_EFORMAT, "%s", err.message);
    ok(template_check("{{{query}} [SEP] {title}{brand}", &err) == MEDLEY_OK, "a good one");
    template_fill("{{{query}} [SEP] {title}{brand}", &pairs[0], &s);
    is_text(s.s, "{red1} [SEP] red1 shoe1", "filled in");
    sb_deinit(&s);
}

static void test_breaker(void)
{
    struct breaker b;
    breaker_init(&b, 2, 10);
    ok(breaker_enter(&b, 0), "closed");
    breaker_leave(&b, false, 0);
    ok(breaker_enter(&b, 1), "one failure is none");
    breaker_leave(&b, false, 1);
    ok(breaker_state(&b, 1) == BREAKER_OPEN && !breaker_enter(&b, 10.9), "two open it");
    ok(breaker_enter(&b, 11) && !breaker_enter(&b, 11), "later, one may try");
    breaker_leave(&b, false, 12);
    ok(!breaker_enter(&b, 21.9) && breaker_enter(&b, 22), "in vain: closed off again");
    breaker_cancel(&b);
    ok(breaker_enter(&b, 22), "who gave up leaves room for the next");
    breaker_leave(&b, true, 22);
    ok(breaker_state(&b, 22) == BREAKER_CLOSED && breaker_enter(&b, 22) &&
           breaker_enter(&b, 22),
       "and closed by an answer");
    breaker_deinit(&b);
}

static struct client_options options(void)
{
    return (struct client_options){.protocol = {.n_inputs = 1,
                                                .tensor = {"text"},
                                                .pattern = {"{query} {title}"},
                                                .output = "p",
                                                .n_classes = 3,
                                                .class_at = {0, 1, 2}},
                                   .url = url,
                                   .batch = 2,
                                   .timeout_ms = 2000,
                                   .deadline_ms = 4000,
                                   .backoff_ms = 1,
                                   .retries = 2,
                                   .breaker_failures = 3,
                                   .breaker_open_ms = 60};
}

static void test_good(struct stub *s)
{
    struct client_options o = options();
    struct client *c = NULL;
    medley_error err = {0};
    float p[N * 3];
    setenv("STUB_TOKEN", "abc", 1);
    o.token_env = "STUB_TOKEN";
    o.protocol.class_at[0] = 2, o.protocol.class_at[2] = 0;
    if (!ok(client_open(&o, &c, &err) == MEDLEY_OK, "opens: %s", err.message))
        return;
    atomic_store(&s->mode, STUB_GOOD);
    ok(client_ask(c, pairs, N, "00-1-2-01", true, p, &err) == MEDLEY_OK &&
           atomic_load(&s->requests) == 2 && atomic_load(&s->pairs) == 3,
       "three pairs in two batches: %s", err.message);
    ok(p[2] > 0.7f && p[4] > 0.7f && p[6] > 0.7f, "in our order of classes");
    is_text(s->traceparent, "00-1-2-01", "the trace is passed on");
    is_text(s->authorization, "Bearer abc", "and the token");
    atomic_store(&s->mode, STUB_NESTED);
    ok(client_ask(c, pairs, N, NULL, false, p, &err) == MEDLEY_OK && p[2] > 0.7f,
       "nested data: %s", err.message);
    is_text(s->traceparent, "", "no trace where there is none");
    atomic_store(&s->requests, 0);
    atomic_store(&s->mode, STUB_BUSY_ONCE);
    ok(client_ask(c, pairs, 2, NULL, false, p, &err) == MEDLEY_OK &&
           client_counters(c).retries == 1 && client_counters(c).failures == 1,
       "a busy server is asked again");
    client_close(c);
    unsetenv("STUB_TOKEN");
    ok(client_open(&o, &c, &err) == MEDLEY_EINVAL, "no token: %s", err.message);
}

/* What answers_check finds, the client hands on; the rest it refuses. */
static void test_lies(struct stub *s)
{
    struct client_options o = options();
    o.timeout_ms = 60;
    o.breaker_failures = 1000;
    for (int mode = STUB_HANG; mode < STUB_NEGATIVE; mode++) {
        struct client *c = NULL;
        medley_error err = {0};
        float p[6];
        bool again = mode == STUB_HANG || mode == STUB_DIE || mode == STUB_BROKEN;
        if (!ok(client_open(&o, &c, &err) == MEDLEY_OK, "opens"))
            return;
        atomic_store(&s->mode, mode);
        medley_status st = client_ask(c, pairs, 2, NULL, true, p, &err);
        bool infinite = mode == STUB_HUGE && !st && isinf(p[0]);
        ok((st == MEDLEY_EIO || st == MEDLEY_EFORMAT || infinite) &&
               client_counters(c).requests == (again ? 3 : 1),
           "%s: %.150s", stub_mode_names[mode], err.message);
        client_close(c);
    }
}

static void test_limits(struct stub *s)
{
    struct client_options o = options();
    struct client *c = NULL;
    medley_error err = {0};
    float p[N * 3];
    o.deadline_ms = 100;
    o.retries = 20;
    if (!ok(client_open(&o, &c, &err) == MEDLEY_OK, "opens"))
        return;
    atomic_store(&s->mode, STUB_HANG);
    double start = clock_seconds();
    for (int i = 0; i < 3; i++)
        ok(client_ask(c, pairs, N, NULL, false, p, &err) == MEDLEY_EIO, "%s", err.message);
    double took = clock_seconds() - start;
    ok(took > 0.29 && took < 1.5, "a list has its deadline, retries included: 3 in %.2f s",
       took);
    ok(client_ask(c, pairs, N, NULL, false, p, &err) == MEDLEY_EIO &&
           client_counters(c).refused == 1 && client_counters(c).state == BREAKER_OPEN,
       "then it is left alone: %s", err.message);
    atomic_store(&s->mode, STUB_GOOD);
    nanosleep(&(struct timespec){0, 90000000}, NULL);
    ok(client_ask(c, pairs, N, NULL, false, p, &err) == MEDLEY_OK &&
           client_counters(c).state == BREAKER_CLOSED,
       "and asked once more: %s", err.message);
    client_close(c);
    o.url = "http://127.0.0.1:1/v2/models/m/infer";
    o.retries = 1;
    ok(client_open(&o, &c, &err) == MEDLEY_OK &&
           client_ask(c, pairs, N, NULL, true, p, &err) == MEDLEY_EIO &&
           client_counters(c).requests == 2,
       "nobody there: %s", err.message);
    client_close(c);
}

/* ---- the whole way ---- */

static void write_workspace(const char *folder, int port, const char *rest)
{
    char line[400];
    snprintf(line, sizeof line,
             "  - {name: mine, kind: remote, url: 'http://127.0.0.1:%d', model: m, output: p, "
             "inputs: {text: '{query} | {title}'}, timeout_ms: 100, deadline_ms: 200, "
             "retries: 1, breaker_failures: 3, breaker_open_ms: 50%s}\n",
             port, rest);
    plugged_write(folder, line);
}

static void test_training(struct stub *s, const char *folder)
{
    for (int mode = STUB_HANG; mode < STUB_MODES; mode++) {
        medley_error err = {0};
        write_workspace(folder, s->port, "");
        atomic_store(&s->mode, mode);
        medley_status st = plugged_run(folder, false, &err);
        ok(st != MEDLEY_OK && err.message[0], "training, %s: %.140s", stub_mode_names[mode],
           err.message);
    }
    atomic_store(&s->mode, STUB_GOOD);
    atomic_store(&s->pairs, 0);
    medley_error err = {0};
    write_workspace(folder, s->port, "");
    medley_status st = plugged_run(folder, false, &err);
    unsigned first = atomic_exchange(&s->pairs, 0); /* its cost is measured, too */
    ok(!st && first >= PLUGGED_PAIRS, "an honest one, %u pairs: %s", first, err.message);
    is_text(s->path, "/v2/models/m/infer", "asked where the protocol says");
    write_workspace(folder, s->port, ", backoff_ms: 2");
    st = plugged_run(folder, false, &err);
    unsigned again = atomic_load(&s->pairs);
    ok(!st && again == first - PLUGGED_PAIRS,
       "other settings of the transport measure %u pairs, but ask for nothing again: %s", again,
       err.message);
}

/* A list whose time is over before the server's own time limit. */
static void test_deadline(struct stub *s, const medley_bundle *b, size_t m)
{
    medley_product p = {.id = {"p0", 2}};
    medley_classify_options o = {.deadline_ms = 5};
    medley_result r = {0};
    medley_error err = {0};
    atomic_store(&s->mode, STUB_HANG);
    ok(medley_bundle_classify(b, (medley_text){"red0 shoe0 big0", 15}, (medley_text){"us", 2},
                              &p, 1, &o, &r, &err) == MEDLEY_OK &&
           r.models_late == 1u << m && !r.models_failed && !(r.models_used >> m & 1),
       "a deadline: answered without the one that hangs");
    atomic_store(&s->mode, STUB_GOOD);
    nanosleep(&(struct timespec){0, 60000000}, NULL);
    o.deadline_ms = 60000;
    ok(medley_bundle_classify(b, (medley_text){"red0 shoe0 big0", 15}, (medley_text){"us", 2},
                              &p, 1, &o, &r, &err) == MEDLEY_OK &&
           !r.models_late && r.models_used >> m & 1,
       "and with it in good time");
}

static void test_serving(struct stub *s, const char *folder)
{
    static const int ways[] = {STUB_HANG,  STUB_DIE, STUB_BROKEN,   STUB_HTML,
                               STUB_SHAPE, STUB_NAN, STUB_NEGATIVE, STUB_SUM};
    medley_bundle *b = NULL;
    medley_error err = {0};
    medley_result last = {0};
    atomic_store(&s->mode, STUB_GOOD);
    if (!ok(plugged_run(folder, true, &err) == MEDLEY_OK &&
                medley_bundle_open(at(folder, "bundle/current"), &b, &err) == MEDLEY_OK,
            "all stages: %s", err.message))
        return;
    size_t m = 0;
    while (m < medley_bundle_models(b) && strcmp(medley_bundle_model(b, m), "mine") != 0)
        m++;
    int right = plugged_ask(b, 20, "00-ab-cd-01", &last);
    ok(right > 48 && last.models_used >> m & 1, "%d of 60 labels are right", right);
    is_text(s->traceparent, "00-ab-cd-01", "the request's trace is passed on");
    medley_model_health good = medley_bundle_health(b, m);
    uint64_t failed = 0, counted = 0;
    for (size_t i = 0; i <= MEDLEY_TOOK_LIMITS; i++)
        counted += good.took[i];
    ok(good.lists_timed == 20 && counted == 20 && good.took_ns > 20 * 1000,
       "20 lists took %.3f ms", (double)good.took_ns * 1e-6);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        atomic_store(&s->mode, ways[i]);
        ok(plugged_ask(b, 1, NULL, &last) >= 0 && last.models_failed >> m & 1 &&
               !(last.models_used >> m & 1) &&
               medley_bundle_health(b, m).lists_failed == ++failed,
           "serving, %s: answered without it", stub_mode_names[ways[i]]);
        atomic_store(&s->mode, STUB_GOOD);
        nanosleep(&(struct timespec){0, 60000000}, NULL);
        plugged_ask(b, 1, NULL, &last);
        ok(!last.models_failed && last.models_used >> m & 1, "and with it once more");
    }
    test_deadline(s, b, m);
    stub_stop(s);
    plugged_ask(b, 5, NULL, &last);
    medley_model_health h = medley_bundle_health(b, m);
    ok(last.models_failed >> m & 1 && h.state == BREAKER_OPEN && h.lists_refused == 2 &&
           h.requests > h.request_failures,
       "a dead server: answered without it, and left alone");
    medley_bundle_close(b);
}

static void test_settings(const char *folder)
{
    static const char *const bad[] = {
        "kind: remote",
        "kind: remote, url: 'ftp://x', inputs: {t: '{query}'}",
        "kind: remote, url: 'http://x'",
        "kind: remote, url: 'http://x', inputs: {t: '{quarry}'}",
        "kind: remote, url: 'http://x', inputs: [t]",
        "kind: remote, url: 'http://x', inputs: {t: '{query}'}, batch: 0",
        "kind: remote, url: 'http://x', inputs: {t: '{query}'}, headers: {\"a:\": b}",
        "kind: remote, url: 'http://x', inputs: {t: '{query}'}, classes: [good, bad]"};
    char line[200];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        medley_error err = {0};
        snprintf(line, sizeof line, "  - {name: mine, %s}\n", bad[i]);
        plugged_write(folder, line);
        ok(plugged_run(folder, false, &err) == MEDLEY_EFORMAT, "%.200s", err.message);
    }
}

static int serve_alone(int classes)
{
    struct stub s;
    if (!stub_start(&s))
        return 1;
    s.classes = classes;
    printf("%d\n", s.port);
    fflush(stdout);
    while (getchar() != EOF)
        ;
    stub_stop(&s);
    return 0;
}

int main(int argc, char **argv)
{
    struct stub s;
    if (argc > 1 && strcmp(argv[1], "serve") == 0)
        return serve_alone(argc > 2 ? argv[2][0] - '0' : 3);
    if (!ok(stub_start(&s), "a server"))
        return tap_done();
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v2/models/m/infer", s.port);
    test_templates();
    test_breaker();
    test_good(&s);
    test_lies(&s);
    test_limits(&s);
    test_settings(tap_folder());
    char folder[64];
    snprintf(folder, sizeof folder, "%s", tap_folder());
    test_training(&s, folder);
    test_serving(&s, folder);
    stub_stop(&s);
    return tap_done();
}
