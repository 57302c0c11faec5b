/* test_serve_cache.c: the server's cache below memory, and requests for one list that is being
 * judged. */
#include "tests/serve_help.h"

enum { CROWD = 6 };

struct client {
    uint16_t port;
    const char *body;
    struct reply reply;
    pthread_t thread;
};

static void *run_client(void *context)
{
    struct client *c = context;
    c->reply = classify(c->port, c->body);
    return NULL;
}

static void send_all(struct client *clients, size_t n, uint16_t port, const char *const *bodies)
{
    for (size_t i = 0; i < n; i++) {
        clients[i] = (struct client){.port = port, .body = bodies[i]};
        pthread_create(&clients[i].thread, NULL, run_client, &clients[i]);
        if (i == 0) { /* the first leads */
            for (int t = 0; t < 2000 && atomic_load(&fake_running) == 0; t++)
                sleep_ms(1);
        }
    }
}

static void wait_all(struct client *clients, size_t n)
{
    for (size_t i = 0; i < n; i++)
        pthread_join(clients[i].thread, NULL);
}

static uint64_t joined(uint16_t port)
{
    struct reply r = ask(port, "GET", "/metrics", "", NULL);
    const char *at = strstr(body_of(&r), "\nmedley_pairs_joined_total ");
    uint64_t n = at ? strtoul(at + 27, NULL, 10) : 0;
    reply_free(&r);
    return n;
}

/* Opens the gate when so many pairs have joined a flight... which is told only when they land;
 * so: after a while. */
static void open_gate(void)
{
    sleep_ms(150);
    atomic_store(&fake_gate, false);
}

static void test_stampede(void)
{
    struct server *s = start((struct server_options){.threads = 4});
    uint16_t port = server_port(s);
    const char *const bodies[CROWD] = {
        "{\"query\":\"hold me\",\"products\":[\"A1\",\"B12\"]}",
        "{\"query\":\"Hold  ME\",\"products\":[\"A1\",\"B12\"]}",
        "{\"query\":\"hold me\",\"products\":[\"A1\",\"B12\"]}",
        "{\"query\":\"hold me\",\"products\":[\"A1\",\"B12\"],\"explain\":true}",
        "{\"query\":\"hold me\",\"products\":[\"A1\",\"B12\"],\"deadline_ms\":60000}",
        "{\"query\":\"hold me\",\"products\":[\"B12\",\"A1\"]}"};
    struct client clients[CROWD];
    unsigned before = atomic_load(&fake_calls);
    atomic_store(&fake_gate, true);
    send_all(clients, CROWD, port, bodies);
    open_gate();
    wait_all(clients, CROWD);
    bool good = true;
    for (size_t i = 0; i < CROWD; i++)
        good &= clients[i].reply.status == 200;
    ok(good, "all are answered");
    ok(atomic_load(&fake_calls) - before == 4, "the same list once: %u evaluations of 6",
       atomic_load(&fake_calls) - before);
    is_text(at(&clients[1].reply, "query"), "Hold  ME", "in the words of who asked");
    char margin[64];
    snprintf(margin, sizeof margin, "%s", at(&clients[0].reply, "results/0/margins/E"));
    is_text(at(&clients[2].reply, "results/0/margins/E"), margin, "with the same numbers");
    is_text(at(&clients[2].reply, "results/0/cached"), "false", "which are fresh");
    ok(joined(port) == 4, "and are counted");
    for (size_t i = 0; i < CROWD; i++)
        reply_free(&clients[i].reply);

    const char *const broken[3] = {"{\"query\":\"hold then crash\",\"products\":[\"A1\"]}",
                                   "{\"query\":\"hold then crash\",\"products\":[\"A1\"]}",
                                   "{\"query\":\"hold then crash\",\"products\":[\"A1\"]}"};
    atomic_store(&fake_gate, true);
    send_all(clients, 3, port, broken);
    open_gate();
    wait_all(clients, 3);
    good = true;
    for (size_t i = 0; i < 3; i++) {
        good &= clients[i].reply.status == 500;
        reply_free(&clients[i].reply);
    }
    ok(good, "a failure is everybody's");
    ok(server_stop(s, 5), "stops");
}

/* One worker, one waiting request: the next leader is refused, and who came behind it, too;
 * nobody hangs. */
static void test_refused(void)
{
    struct server *s = start((struct server_options){.threads = 1, .max_queue = 1});
    uint16_t port = server_port(s);
    char body[8][96];
    const char *bodies[8];
    struct client clients[8];
    for (int i = 0; i < 8; i++) {
        snprintf(body[i], sizeof body[i], "{\"query\":\"hold %d\",\"products\":[\"A1\"]}",
                 i / 2);
        bodies[i] = body[i];
    }
    atomic_store(&fake_gate, true);
    send_all(clients, 8, port, bodies);
    open_gate();
    wait_all(clients, 8);
    int answered = 0, busy = 0;
    for (int i = 0; i < 8; i++) {
        answered += clients[i].reply.status == 200;
        busy +=
            clients[i].reply.status == 429 && has_header(&clients[i].reply, "Retry-After: ");
        reply_free(&clients[i].reply);
    }
    ok(answered >= 3 && answered + busy == 8, "a full queue: %d answered, %d sent away",
       answered, busy);
    ok(server_stop(s, 5), "stops");
}

static void test_restart(const char *folder)
{
    static const char body[] = "{\"query\":\"kept\",\"products\":[\"A1\",\"B12\"]}";
    struct server_options o = {.cache_folder = folder};
    struct server *s = start(o);
    struct reply r = classify(server_port(s), body);
    char margin[64];
    snprintf(margin, sizeof margin, "%s", at(&r, "results/0/margins/E"));
    is_text(at(&r, "results/0/cached"), "false", "judged");
    reply_free(&r);
    ok(server_stop(s, 5), "stops");
    unsigned calls = atomic_load(&fake_calls);
    s = start(o);
    uint16_t port = server_port(s);
    r = classify(port, body);
    is_text(at(&r, "results/1/cached"), "true", "remembered by the next server");
    is_text(at(&r, "results/0/margins/E"), margin, "bit for bit");
    reply_free(&r);
    r = classify(port, "{\"query\":\"kept\",\"cache\":\"only\",\"products\":[\"A1\",\"C7\"]}");
    is_text(at(&r, "results/0/cached"), "true", "cache only: what is remembered");
    is_text(at(&r, "results/1/label"), "null", "and nothing else");
    reply_free(&r);
    ok(atomic_load(&fake_calls) == calls, "nothing was evaluated");
    r = classify(port, "{\"query\":\"kept\",\"max_age_s\":0,\"products\":[\"A1\",\"B12\"]}");
    is_text(at(&r, "results/0/cached"), "false", "too old for this client");
    reply_free(&r);
    r = ask(port, "GET", "/metrics", "", NULL);
    ok(strstr(body_of(&r),
              "medley_cache_level_lookups_total{level=\"disk\",result=\"hit\"} 4\n"),
       "metrics of the disk");
    reply_free(&r);
    r = ask(port, "GET", "/v1/bundle", "", NULL);
    is_text(at(&r, "cache/disk/write_errors"), "0", "and /v1/bundle");
    reply_free(&r);
    ok(server_stop(s, 5), "stops");
    struct server *none = NULL;
    medley_error err = {0};
    struct server_options bad = {.redis = "nowhere:x"};
    ok(server_start(&fake, &bad, &none, &err) == MEDLEY_EINVAL, "a bad address: %s",
       err.message);
    bad = (struct server_options){.no_cache = true, .cache_folder = folder};
    ok(server_start(&fake, &bad, &none, &err) == MEDLEY_EINVAL, "a folder without a cache: %s",
       err.message);
}

int main(void)
{
    test_stampede();
    test_refused();
    test_restart(tap_folder());
    return tap_done();
}
