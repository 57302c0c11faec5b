/* test_redis.c: the Redis tier: the protocol, addresses, servers that lie, dribble and hang;
 * and before a real redis-server, when there is one: labels, ages, damaged values, passwords,
 * epochs that travel, a server that is stopped and started. */
#include "base/cpu.h"
#include "base/file.h"
#include "cache/redis_private.h"
#include "tests/cache_help.h"

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

static const char *folder;
static char place[128];

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* ---- the protocol --------------------------------------------------------------------------
 */

static enum resp_kind kind_of(const char *bytes, size_t n, size_t *used)
{
    struct resp r;
    *used = resp_read((struct str){bytes, n}, &r);
    return r.kind;
}

static void test_protocol(void)
{
    static const struct {
        const char *bytes;
        enum resp_kind kind;
        size_t used;
    } cases[] = {
        {"+OK\r\n", RESP_LINE, 5},
        {"-ERR x\r\nrest", RESP_ERROR, 8},
        {":-12\r\n", RESP_NUMBER, 6},
        {"$3\r\nabc\r\n", RESP_TEXT, 9},
        {"$0\r\n\r\n", RESP_TEXT, 6},
        {"$-1\r\n", RESP_NIL, 5},
        {"*2\r\n", RESP_ARRAY, 4},
        {"*-1\r\n", RESP_NIL, 5},
        {"", RESP_MORE, 0},
        {"$3\r\nab", RESP_MORE, 0},
        {"$3\r\nabc\r", RESP_MORE, 0},
        {"$3\r\nabcd\r\n", RESP_BAD, 0},
        {"$70000\r\n", RESP_BAD, 0},
        {"$99999999999999999999\r\n", RESP_BAD, 0},
        {"*2000000000\r\n", RESP_BAD, 0},
        {"*-2\r\n", RESP_BAD, 0},
        {":\r\n", RESP_BAD, 0},
        {":1 2\r\n", RESP_BAD, 0},
        {"HTTP/1.1 400 Bad Request\r\n", RESP_BAD, 0},
        {"\n", RESP_BAD, 0},
    };
    size_t used;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ok(kind_of(cases[i].bytes, strlen(cases[i].bytes), &used) == cases[i].kind &&
               used == cases[i].used,
           "reply %zu", i);
    char line[700];
    memset(line, 'x', sizeof line);
    line[0] = '+';
    ok(kind_of(line, 514, &used) == RESP_MORE && kind_of(line, 600, &used) == RESP_BAD,
       "a line without end is cut off");
    struct strbuf out;
    sb_init(&out);
    resp_command(&out, 2);
    resp_argument(&out, STR("GET"));
    resp_argument(&out, STR("a\0b"));
    ok(out.n == 22 && memcmp(out.s, "*2\r\n$3\r\nGET\r\n$3\r\na\0b\r\n", 22) == 0, "a command");
    sb_deinit(&out);
}

static void test_places(void)
{
    static const char *const bad[] = {"",         "host",       "host:",        "host:0",
                                      ":6379",    "host:70000", "host:1/x",     "host:1/99999",
                                      "::1:6379", "host:6379x", "host:6379/1/2"};
    struct redis_place p;
    medley_error err;
    ok(redis_place_parse("cache.local:6379/3", &p, &err) == MEDLEY_OK && p.database == 3,
       "host, port and database");
    is_text(p.host, "cache.local", "the host");
    is_text(p.port, "6379", "the port");
    redis_place_deinit(&p);
    ok(redis_place_parse("[::1]:6379", &p, &err) == MEDLEY_OK && strcmp(p.host, "::1") == 0,
       "IPv6");
    redis_place_deinit(&p);
    ok(redis_place_parse("/run/redis.sock", &p, &err) == MEDLEY_OK && p.length > 0, "a socket");
    redis_place_deinit(&p);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ok(redis_place_parse(bad[i], &p, &err) == MEDLEY_EINVAL, "refused: %s", err.message);
    char longest[200];
    memset(longest, '/', sizeof longest - 1);
    longest[199] = 0;
    ok(redis_place_parse(longest, &p, &err) == MEDLEY_EINVAL, "too long a path");
}

/* ---- servers that are none -----------------------------------------------------------------
 */

enum manner { REFUSES, LIES, TOO_FEW, DRIBBLES, HANGS, HANGS_UP, FLOODS };

struct liar {
    enum manner manner;
    int listener;
    pthread_t thread;
    atomic_bool stop;
    atomic_uint accepted;
};

static void say(int fd, const char *text)
{
    send(fd, text, strlen(text), MSG_NOSIGNAL);
}

/* Good manners until the first MGET, so that the tier is up. */
static void serve_lies(struct liar *l, int fd)
{
    char in[65536];
    ssize_t n;
    while (!atomic_load(&l->stop) && (n = recv(fd, in, sizeof in - 1, 0)) > 0) {
        in[n] = 0;
        if (strstr(in, "ZRANGEBYSCORE"))
            say(fd, "*0\r\n");
        if (strstr(in, "ZREM"))
            say(fd, ":0\r\n");
        if (!strstr(in, "MGET"))
            continue;
        switch (l->manner) {
        case REFUSES:
            say(fd, "-LOADING wait a little\r\n");
            break;
        case LIES:
            say(fd, "*3\r\n$5\r\nhello\r\n:7\r\n$-1\r\n");
            break;
        case TOO_FEW:
            say(fd, "*1\r\n$-1\r\n");
            break;
        case DRIBBLES:
            for (int i = 0; i < 200 && !atomic_load(&l->stop); i++) {
                say(fd, i ? "x" : "*3\r\n$65000\r\n");
                sleep_ms(2);
            }
            break;
        case HANGS:
            break;
        case HANGS_UP:
            return;
        case FLOODS:
            for (int i = 0; i < 3000; i++)
                say(fd, "*1000000\r\n");
            break;
        }
    }
}

static void *lie(void *context)
{
    struct liar *l = context;
    int fds[64], n = 0;
    while (!atomic_load(&l->stop) && n < 64) {
        int fd = accept(l->listener, NULL, NULL);
        if (fd < 0)
            break;
        atomic_fetch_add(&l->accepted, 1);
        struct timeval patience = {0, 20000};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        fds[n++] = fd;
        /* Connections take turns: those of the writer and of one look-up. */
        for (int round = 0; round < 2; round++)
            for (int i = 0; i < n; i++)
                serve_lies(l, fds[i]);
        if (l->manner == HANGS_UP)
            shutdown(fd, SHUT_RDWR);
    }
    while (n > 0)
        close(fds[--n]);
    return NULL;
}

static void liar_start(struct liar *l, enum manner manner)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    *l = (struct liar){.manner = manner};
    snprintf(place, sizeof place, "%s/liar%d.sock", folder, manner);
    memcpy(at.sun_path, place, strlen(place));
    l->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink(place);
    if (bind(l->listener, (struct sockaddr *)&at, sizeof at) || listen(l->listener, 50))
        printf("Bail out! no socket\n");
    pthread_create(&l->thread, NULL, lie, l);
}

static void liar_stop(struct liar *l)
{
    atomic_store(&l->stop, true);
    shutdown(l->listener, SHUT_RDWR);
    pthread_join(l->thread, NULL);
    close(l->listener);
}

static struct redis *open_redis(struct epochs *epochs, unsigned timeout_ms, int64_t ttl_ms,
                                const char *password)
{
    struct redis *r = NULL;
    medley_error err = {0};
    struct redis_options o = {.place = place,
                              .password = password,
                              .timeout_ms = timeout_ms,
                              .n_classes = K,
                              .ttl_ms = ttl_ms,
                              .warn = keep_warning};
    if (redis_open(&o, epochs, &r, &err))
        printf("Bail out! %s\n", err.message);
    return r;
}

static bool comes_up(struct redis *r, bool up)
{
    for (int i = 0; i < 800 && redis_up(r) != up; i++)
        sleep_ms(10);
    return redis_up(r) == up;
}

static size_t look(struct redis *r, const struct label_list *l, unsigned first, int64_t now)
{
    struct found f = found_new(l->n, now);
    size_t n = redis_find(r, l, &f.search), right = 0;
    for (size_t i = 0; i < l->n; i++)
        right += f.stored_ms[i] >= 0 && is_numbered(&f.results[i], first + (unsigned)i);
    found_free(&f);
    return n == right ? n : SIZE_MAX;
}

static struct tier_stats stats_of(struct redis *r)
{
    struct tier_stats s;
    redis_stats(r, &s);
    return s;
}

static void test_liars(void)
{
    static const char *const names[] = {"refuses", "lies",     "says too little", "dribbles",
                                        "hangs",   "hangs up", "floods"};
    struct label_list l = list_of("b", "q", 0, 3, NULL);
    for (enum manner m = REFUSES; m <= FLOODS; m++) {
        struct epochs *e = epochs_new();
        struct liar liar;
        liar_start(&liar, m);
        struct redis *r = open_redis(e, 100, 0, NULL);
        ok(comes_up(r, true), "a server that %s: seems to be there", names[m]);
        double started = clock_seconds(), longest = 0;
        size_t found = 0;
        for (int i = 0; i < 8; i++) {
            double now = clock_seconds();
            found += look(r, &l, 0, NOW);
            now = clock_seconds() - now;
            longest = now > longest ? now : longest;
        }
        double seconds = clock_seconds() - started;
        struct tier_stats s = stats_of(r);
        ok(found == 0 && s.errors >= 1, "nothing is found, and that is counted");
        ok(longest < 0.4, "no look-up takes much longer than its limit: %.0f ms",
           longest * 1e3);
        ok(seconds < 1.2, "eight of them take %.0f ms: it is left alone", seconds * 1e3);
        redis_close(r);
        liar_stop(&liar);
        epochs_free(e);
    }
    label_list_deinit(&l);
}

static void test_nobody(void)
{
    struct epochs *e = epochs_new();
    struct label_list l = list_of("b", "q", 0, 100, NULL);
    snprintf(place, sizeof place, "%s/nobody.sock", folder);
    warnings = 0;
    struct redis *r = open_redis(e, 100, 0, NULL);
    sleep_ms(300);
    double started = clock_seconds();
    for (int i = 0; i < 1000; i++)
        look(r, &l, 0, NOW);
    double each = (clock_seconds() - started) / 1000;
    ok(!redis_up(r) && each < 1e-4, "nobody there: %.2f us a list", each * 1e6);
    ok(warnings == 1, "one warning: %s", last_warning);
    struct label_key key = label_list_key(&l, 0);
    medley_result v = numbered(0);
    redis_offer(r, l.bundle, &key, &(struct label){&v, NOW, false});
    ok(stats_of(r).dropped == 1, "what is offered is dropped");
    redis_flush(r);
    redis_close(r);
    epochs_free(e);
    label_list_deinit(&l);
}

/* ---- a real one ----------------------------------------------------------------------------
 */

static pid_t server;

static bool start_server(const char *password)
{
    snprintf(place, sizeof place, "%s/redis.sock", folder);
    unlink(place);
    server = fork();
    if (server == 0) {
        if (!freopen("/dev/null", "w", stdout))
            _exit(126);
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", place, "--save",
               "", "--appendonly", "no", "--dir", folder, password ? "--requirepass" : NULL,
               password, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 500; i++) {
        int status;
        if (access(place, F_OK) == 0)
            return true;
        if (waitpid(server, &status, WNOHANG) == server)
            return false;
        sleep_ms(10);
    }
    return false;
}

static void stop_server(void)
{
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
}

/* One command of our own; the number of its reply, or its length. */
static int64_t command(const char *const *words, const size_t *lengths, size_t n)
{
    struct redis_place p;
    struct redis_link *l = NULL;
    struct strbuf out;
    struct resp reply = {.number = -9};
    medley_error err;
    sb_init(&out);
    resp_command(&out, n);
    for (size_t i = 0; i < n; i++)
        resp_argument(&out, (struct str){words[i], lengths ? lengths[i] : strlen(words[i])});
    if (redis_place_parse(place, &p, &err) ||
        redis_link_open(&p, NULL, clock_seconds() + 2, &l, &err) ||
        redis_link_send(l, sb_str(&out), clock_seconds() + 2, &err) ||
        redis_link_reply(l, clock_seconds() + 2, &reply, &err))
        ok(false, "command: %s", err.message);
    int64_t result = reply.kind == RESP_TEXT ? (int64_t)reply.text.n : reply.number;
    redis_link_close(l);
    redis_place_deinit(&p);
    sb_deinit(&out);
    return result;
}

static void offer(struct redis *r, const struct label_list *l, unsigned first, int64_t stored)
{
    for (size_t i = 0; i < l->n; i++) {
        medley_result v = numbered(first + (unsigned)i);
        struct label_key key = label_list_key(l, i);
        redis_offer(r, l->bundle, &key, &(struct label){&v, stored, false});
    }
    redis_flush(r);
}

static void test_labels(void)
{
    struct epochs *e = epochs_new();
    int64_t now = label_cache_now();
    struct redis *r = open_redis(e, 500, 60000, NULL), *other = open_redis(e, 500, 0, NULL);
    struct label_list l = list_of("b", "q", 0, 1000, NULL),
                      forged = list_of("b", "f", 0, 1000, NULL);
    ok(comes_up(r, true) && comes_up(other, true), "two tiers before one server");
    ok(look(r, &l, 0, now) == 0, "empty");
    offer(r, &l, 0, now);
    ok(stats_of(r).written == 1000 && stats_of(r).dropped == 0,
       "a thousand labels are written");
    ok(look(r, &l, 0, now + 10) == 1000, "and found by one MGET");
    ok(look(other, &l, 0, now + 10) == 1000, "by another server, too");
    ok(look(r, &l, 0, now + 60001) == 0 && stats_of(r).stale == 1000, "the TTL holds");
    forged.shared_hash = l.shared_hash;
    ok(look(other, &forged, 0, now) == 0 && stats_of(other).damaged == 1000,
       "another key with the same hash is a miss");
    char key[REDIS_KEY];
    redis_key(l.bundle, label_list_key(&l, 5).hash, key);
    int64_t px = command((const char *[]){"PTTL", key}, NULL, 2);
    ok(px > 30000 && px <= 60000, "keys expire: in %ld ms", (long)px);
    command((const char *[]){"SET", key, "not a label"}, NULL, 3);
    redis_key(l.bundle, label_list_key(&l, 6).hash, key);
    command((const char *[]){"DEL", key}, NULL, 2);
    command((const char *[]){"LPUSH", key, "a list"}, NULL, 3);
    ok(look(r, &l, 0, now) == 998, "a damaged value and one of another kind are misses");
    struct label_list old = list_of("b", "old", 0, 3, NULL);
    offer(r, &old, 0, now - 70000);
    ok(stats_of(r).dropped == 3, "what is older than the TTL is not written");
    redis_close(r);
    redis_close(other);
    epochs_free(e);
    label_list_deinit(&l);
    label_list_deinit(&old);
    label_list_deinit(&forged);
}

static void test_epochs_travel(void)
{
    struct epochs *a = epochs_new(), *b = epochs_new();
    struct redis *first = open_redis(a, 500, 0, NULL), *second = open_redis(b, 500, 0, NULL);
    struct hash128 product = epochs_hash(STR("P1"));
    bool everything;
    comes_up(first, true);
    comes_up(second, true);
    uint64_t epoch = epochs_next(a, label_cache_now());
    epochs_set(a, product, epoch, &everything);
    redis_tell_epochs(first, &product, 1, epoch);
    for (int i = 0; i < 300 && epochs_of(b, STR("P1")) != epoch; i++)
        sleep_ms(10);
    ok(epochs_of(b, STR("P1")) == epoch, "the other server hears of it");
    struct epochs *c = epochs_new();
    struct redis *third = open_redis(c, 500, 0, NULL);
    comes_up(third, true);
    ok(epochs_of(c, STR("P1")) == epoch, "one that starts later, before it is asked anything");
    command((const char *[]){"ZADD", REDIS_EPOCHS, "17", "no product of ours"}, NULL, 4);
    redis_close(third);
    epochs_free(c);
    stop_server();
    ok(comes_up(second, false), "Redis is gone, which the poll notices");
    epoch = epochs_next(a, label_cache_now());
    epochs_set(a, product, epoch, &everything);
    redis_tell_epochs(first, &product, 1, epoch);
    ok(start_server(NULL), "and back, empty");
    for (int i = 0; i < 1500 && epochs_of(b, STR("P1")) != epoch; i++)
        sleep_ms(10);
    ok(epochs_of(b, STR("P1")) == epoch, "what happened meanwhile is told then");
    redis_close(first);
    redis_close(second);
    epochs_free(a);
    epochs_free(b);
}

static void test_stop_and_start(void)
{
    struct epochs *e = epochs_new();
    struct redis *r = open_redis(e, 100, 0, NULL);
    struct label_list l = list_of("b", "q", 0, 50, NULL);
    int64_t now = label_cache_now();
    comes_up(r, true);
    offer(r, &l, 0, now);
    ok(look(r, &l, 0, now) == 50, "there");
    kill(server, SIGSTOP);
    double started = clock_seconds();
    for (int i = 0; i < 20; i++)
        look(r, &l, 0, now);
    double seconds = clock_seconds() - started;
    ok(!redis_up(r) && seconds < 0.9, "frozen: 20 look-ups take %.0f ms", seconds * 1e3);
    kill(server, SIGCONT);
    ok(comes_up(r, true) && look(r, &l, 0, now) == 50, "and there again");
    stop_server();
    ok(comes_up(r, false), "killed");
    ok(look(r, &l, 0, now) == 0, "a miss");
    ok(start_server(NULL) && comes_up(r, true), "started");
    offer(r, &l, 0, now);
    ok(look(r, &l, 0, now) == 50, "and used again");
    command((const char *[]){"CONFIG", "SET", "maxmemory", "1mb"}, NULL, 4);
    struct label_list more = list_of("b", "more", 0, 20000, NULL);
    warnings = 0;
    offer(r, &more, 0, now);
    struct tier_stats s = stats_of(r);
    ok(s.dropped > 0 && warnings == 1 && redis_up(r), "full: %lu labels dropped: %s",
       (unsigned long)s.dropped, last_warning);
    ok(look(r, &l, 0, now) == 50, "what is there is read");
    redis_close(r);
    epochs_free(e);
    label_list_deinit(&l);
    label_list_deinit(&more);
}

static void test_password(void)
{
    stop_server();
    ok(start_server("secret"), "a server with a password");
    struct epochs *e = epochs_new();
    struct redis *wrong = open_redis(e, 100, 0, "wrong"),
                 *right = open_redis(e, 100, 0, "secret");
    ok(comes_up(right, true), "the right one opens");
    sleep_ms(100);
    ok(!redis_up(wrong), "the wrong one does not");
    redis_close(wrong);
    redis_close(right);
    epochs_free(e);
}

/* Labels that were judged while Redis was away reach it when they are asked for again. */
static void test_return(void)
{
    struct label_cache_options o = {
        .n_classes = K, .redis = place, .redis_timeout_ms = 500, .warn = keep_warning};
    struct label_cache *c = NULL;
    struct tier_stats tiers[TIERS];
    medley_error err;
    stop_server();
    ok(label_cache_open(&o, &c, &err) == MEDLEY_OK, "memory over a Redis that is away");
    struct label_list l = list_of("b", "return", 0, 5, c);
    struct found f = found_new(5, NOW);
    medley_result judged[5];
    for (unsigned i = 0; i < 5; i++)
        judged[i] = numbered(i);
    label_cache_keep(c, &l, judged, NOW);
    ok(label_cache_find(c, &l, LABELS_NEAR, &f.search) == 5, "asked for twice");
    start_server(NULL);
    for (int i = 0; i < 1000 && !label_cache_has_far(c); i++)
        sleep_ms(10);
    for (int ask = 0; ask < 3; ask++) {
        for (size_t i = 0; i < 5; i++)
            f.stored_ms[i] = -1;
        label_cache_find(c, &l, LABELS_NEAR, &f.search);
    }
    label_cache_flush(c);
    label_cache_tiers(c, tiers);
    ok(tiers[1].written == 5, "and again when Redis is back: %lu labels written, once",
       (unsigned long)tiers[1].written);
    found_free(&f);
    label_list_deinit(&l);
    label_cache_close(c);
}

/* ---- all tiers, threads --------------------------------------------------------------------
 */

static struct label_cache *shared;

static void *hammer(void *context)
{
    size_t wrong = 0;
    unsigned id = (unsigned)(uintptr_t)context;
    for (unsigned i = 0; i < 150; i++) {
        unsigned first = (i * 7 + id) % 40 * 10;
        struct label_list l = list_of("b", "t", first, 10, shared);
        struct found f = found_new(10, NOW);
        size_t n = label_cache_find(shared, &l, LABELS_NEAR, &f.search);
        if (n < 10)
            n = label_cache_find(shared, &l, LABELS_FAR, &f.search);
        for (unsigned k = 0; k < 10; k++)
            wrong += f.stored_ms[k] >= 0 && !is_numbered(&f.results[k], first + k);
        for (unsigned k = 0; k < 10; k++)
            f.results[k] = numbered(first + k);
        if (n < 10)
            label_cache_keep(shared, &l, f.results, NOW);
        if (i == 100)
            label_cache_invalidate(shared, &(medley_text){"P7", 2}, 1, NULL);
        found_free(&f);
        label_list_deinit(&l);
    }
    return (void *)(uintptr_t)wrong;
}

static void test_threads(void)
{
    struct label_cache_options o = {.entries = 100,
                                    .n_classes = K,
                                    .admit_all = true,
                                    .redis = place,
                                    .redis_timeout_ms = 500,
                                    .warn = keep_warning};
    pthread_t threads[4];
    size_t wrong = 0;
    medley_error err;
    stop_server();
    start_server(NULL);
    ok(label_cache_open(&o, &shared, &err) == MEDLEY_OK, "memory over Redis");
    for (int i = 0; i < 500 && !label_cache_has_far(shared); i++)
        sleep_ms(10);
    for (size_t t = 0; t < 4; t++)
        pthread_create(&threads[t], NULL, hammer, (void *)(uintptr_t)t);
    for (size_t t = 0; t < 4; t++) {
        void *n;
        pthread_join(threads[t], &n);
        wrong += (size_t)(uintptr_t)n;
    }
    struct tier_stats tiers[TIERS];
    size_t n_tiers = label_cache_tiers(shared, tiers);
    ok(n_tiers == 2 && tiers[1].hits > 0 && tiers[1].errors == 0,
       "four threads: %lu labels from Redis", (unsigned long)tiers[1].hits);
    ok(wrong == 0, "none wrong");
    label_cache_close(shared);
    o.redis = "no place";
    ok(label_cache_open(&o, &shared, &err) == MEDLEY_EINVAL, "%s", err.message);
}

int main(void)
{
    folder = tap_folder();
    signal(SIGPIPE, SIG_IGN);
    test_protocol();
    test_places();
    test_nobody();
    test_liars();
    if (start_server(NULL)) {
        test_labels();
        test_epochs_travel();
        test_stop_and_start();
        test_password();
        test_return();
        test_threads();
        stop_server();
    } else {
        skip("no redis-server: the tests that need a real one");
    }
    return tap_done();
}
