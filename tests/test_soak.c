/* test_soak.c: the server under load while everything around it misbehaves, for SOAK_SECONDS
 * (60, 15 under a sanitizer; `make soak T=1800`): bundles are swapped, a remote model hangs,
 * dies and lies, Redis stops and comes back, the disk of labels and texts is full at times, 1%
 * of the requests are malformed and 1% of the clients vanish. Every answer is compared, to the
 * bit, with what the bundle says offline of the same list with the models that the answer
 * names; texts of products that were acknowledged are there, also after a restart; memory must
 * not grow. The clients send 70% of what the server answers them when they do not pause.
 *
 * The disk is a small tmpfs in a mount namespace of this process, where the system lets it have
 * one. It fails in turns: filled to its last byte (ENOSPC; only such a tmpfs), no file may grow
 * (EFBIG), the last page of LMDB's transactions is not taken (EIO), for which LMDB gives its
 * file up. */
#define put http_put /* both headers have one */
#define at reply_at
#include "tests/serve_help.h"
#undef put
#undef at
#include "tests/failing_page.h"
#include "tests/inference_stub.h"
#include "tests/plugged_shop.h"

#include "base/cpu.h"

#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum {
    CLIENTS = 4,
    BUNDLES = 2,
    MODELS = 2,
    MASKS = 1 << MODELS,
    TEXTS = 16,
    MOST_TOLD = 3,
    LONGEST_TEXT = 20000, /* bytes: a disk that is full to the last page has no room for it */
    SLOTS = 400           /* of latencies, 16 for each doubling of a microsecond */
};
#define ADMIN "Authorization: Bearer admin-token-0123456\r\n"
#define LOAD 0.7
#define DISK_BYTES "6m"

struct truth {
    char id[SERVER_ID];
    const char *models[MODELS];
    float margins[PLUGGED_QUERIES][MASKS][PLUGGED_LIST][3];
};

static struct {
    struct truth truth[BUNDLES];
    medley_bundle *bundles[BUNDLES];
    struct server *server;
    uint16_t port;
    struct stub stub;
    char redis[128], folder[64], disk[96];
    bool own_disk;           /* a tmpfs is at `disk` */
    atomic_uint pause_us;    /* between the starts of a client's requests; 0: none */
    atomic_uint took[SLOTS]; /* answers */
    unsigned redis_stops, full_disks, forbidden_files, failed_pages;
    size_t memory[3]; /* after a third of the time, two thirds, all of it; bytes */
    pid_t redis_process;
    atomic_bool stop;
    atomic_uint right, wrong, refused, malformed, vanished, without, remembered, broken, swaps;
    unsigned acknowledged[TEXTS]; /* number of each product's last text; 0: none */
    atomic_uint texts, texts_refused;
} soak;

/* ---- what is right ----------------------------------------------------------------------- */

static void list_of(int q, char query[64], char ids[PLUGGED_LIST][16])
{
    snprintf(query, 64, "red%d shoe%d big%d", q, q, q);
    for (int i = 0; i < PLUGGED_LIST; i++)
        snprintf(ids[i], 16, "p%d", q * PLUGGED_LIST + i);
}

static bool learn(struct truth *t, const medley_bundle *b)
{
    snprintf(t->id, sizeof t->id, "%s", medley_bundle_id(b));
    if (medley_bundle_models(b) != MODELS)
        return false;
    for (size_t m = 0; m < MODELS; m++)
        t->models[m] = medley_bundle_model(b, m);
    for (int q = 0; q < PLUGGED_QUERIES; q++) {
        char query[64], ids[PLUGGED_LIST][16];
        medley_product products[PLUGGED_LIST] = {{.has_text = false}};
        medley_result results[PLUGGED_LIST];
        list_of(q, query, ids);
        for (int i = 0; i < PLUGGED_LIST; i++)
            products[i].id = (medley_text){ids[i], strlen(ids[i])};
        for (uint32_t mask = 1; mask < MASKS; mask++) {
            medley_classify_options o = {.models = mask};
            medley_error err = {0};
            if (medley_bundle_classify(b, (medley_text){query, strlen(query)},
                                       (medley_text){plugged_locale(q * PLUGGED_LIST), 2},
                                       products, PLUGGED_LIST, &o, results, &err) ||
                results[0].models_failed)
                return false;
            for (int i = 0; i < PLUGGED_LIST; i++)
                memcpy(t->margins[q][results[i].models_used][i], results[i].margins,
                       sizeof t->margins[q][0][i]);
        }
    }
    return true;
}

static uint32_t used(const struct truth *t, const json *result)
{
    uint32_t mask = 0;
    for (const json *m = json_first(json_get(result, "models_used")); m; m = json_next(m)) {
        const char *name = NULL;
        json_as_text(m, &name);
        for (size_t i = 0; i < MODELS; i++)
            if (name && strcmp(name, t->models[i]) == 0)
                mask |= 1u << i;
    }
    return mask;
}

static bool is_right(const struct truth *t, int q, const json *root)
{
    static const char *const classes[] = {"good", "fair", "bad"};
    int i = 0;
    for (const json *r = json_first(json_get(root, "results")); r; r = json_next(r), i++) {
        uint32_t mask = used(t, r);
        bool cached = false;
        json_as_bool(json_get(r, "cached"), &cached);
        if (i == 0) {
            atomic_fetch_add(&soak.remembered, cached);
            atomic_fetch_add(&soak.without, mask != MASKS - 1);
        }
        for (int k = 0; k < 3; k++) {
            double v = NAN;
            json_as_double(json_get(json_get(r, "margins"), classes[k]), &v);
            if (mask == 0 || (float)v != t->margins[q][mask][i][k])
                return false;
        }
    }
    return i == PLUGGED_LIST;
}

static bool check(int q, const struct reply *r)
{
    json *root = NULL;
    const char *id = NULL;
    bool good = false;
    if (json_parse(sb_str(&r->body), "answer", &root, NULL) == MEDLEY_OK &&
        json_as_text(json_get(root, "bundle"), &id))
        for (size_t b = 0; b < BUNDLES; b++)
            good |= strcmp(id, soak.truth[b].id) == 0 && is_right(&soak.truth[b], q, root);
    json_free(root);
    return good;
}

/* The first of them on stderr, which is seen when the test runs among others. */
static void note_wrong(int q, const struct reply *r)
{
    if (atomic_fetch_add(&soak.wrong, 1) >= MOST_TOLD)
        return;
    struct strbuf s;
    sb_init(&s);
    for (size_t b = 0; b < BUNDLES; b++)
        for (size_t mask = 1; mask < MASKS; mask++) {
            const float *m = soak.truth[b].margins[q][mask][0];
            sb_addf(&s, "# %s with models %zu: %.9g %.9g %.9g\n", soak.truth[b].id, mask,
                    (double)m[0], (double)m[1], (double)m[2]);
        }
    fprintf(stderr, "# wrong answer to list %d: %s\n# its first product, offline:\n%s", q,
            body_of(r), s.s);
    sb_deinit(&s);
}

/* ---- clients ----------------------------------------------------------------------------- */

static void make_request(int q, bool no_cache, struct strbuf *out)
{
    char query[64], ids[PLUGGED_LIST][16], body[512];
    list_of(q, query, ids);
    int n =
        snprintf(body, sizeof body,
                 "{\"query\":\"%s\",\"locale\":\"%s\",\"products\":[\"%s\",\"%s\",\"%s\"]%s}",
                 query, plugged_locale(q * PLUGGED_LIST), ids[0], ids[1], ids[2],
                 no_cache ? ",\"cache\":\"off\"" : "");
    sb_clear(out);
    sb_addf(out,
            "POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: "
            "application/json\r\nContent-Length: %d\r\n\r\n"
            "%s",
            n, body);
}

/* A broken body, a broken head, a client that hangs up in the midst, or before the answer. */
static void misbehave(struct rng *r, struct strbuf *request)
{
    int fd = dial(soak.port), kind = (int)rng_below(r, 4);
    if (kind < 2) {
        static const char body[] =
            "POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            "Content-Length: 11\r\n\r\n{\"query\": 7}",
                          head[] = "POST /v1/classify\r\nHost\r\n\r\n";
        http_put(fd, kind ? head : body, strlen(kind ? head : body));
        struct reply reply = get_reply(fd, false);
        atomic_fetch_add(reply.status == 400 || (kind && reply.status == 0) ? &soak.malformed
                                                                            : &soak.wrong,
                         1);
        reply_free(&reply);
    } else {
        http_put(fd, request->s, kind == 2 ? request->n / 2 : request->n);
        atomic_fetch_add(&soak.vanished, 1);
    }
    close(fd);
}

static void note_took(double seconds)
{
    double slot = 16 * log2(seconds * 1e6 + 1);
    atomic_fetch_add(&soak.took[slot < SLOTS - 1 ? (int)slot : SLOTS - 1], 1);
}

/* Milliseconds. */
static double percentile(double share)
{
    double total = 0, below = 0;
    for (int i = 0; i < SLOTS; i++)
        total += atomic_load(&soak.took[i]);
    for (int i = 0; i < SLOTS; i++)
        if ((below += atomic_load(&soak.took[i])) >= share * total)
            return (exp2((i + 1) / 16.0) - 1) * 1e-3;
    return 0;
}

/* Until the next request is due; who is late does not make up for it. */
static void wait_turn(double *due)
{
    double now = clock_seconds();
    *due += atomic_load(&soak.pause_us) * 1e-6;
    if (*due > now)
        nanosleep(&(struct timespec){(time_t)(*due - now),
                                     (long)((*due - now - floor(*due - now)) * 1e9)},
                  NULL);
    else
        *due = now;
}

static void *run_client(void *context)
{
    struct rng r;
    struct strbuf request;
    int fd = dial(soak.port);
    double due = clock_seconds();
    sb_init(&request);
    rng_init(&r, 99, (uint64_t)(uintptr_t)context);
    while (!atomic_load(&soak.stop)) {
        int q = (int)rng_below(&r, PLUGGED_QUERIES);
        make_request(q, rng_below(&r, 4) == 0, &request);
        if (rng_below(&r, 50) == 0)
            misbehave(&r, &request);
        double sent = clock_seconds();
        http_put(fd, request.s, request.n);
        struct reply reply = get_reply(fd, false);
        note_took(clock_seconds() - sent);
        if (reply.status == 200 && check(q, &reply))
            atomic_fetch_add(&soak.right, 1);
        else if (reply.status == 200)
            note_wrong(q, &reply);
        else if (reply.status == 429)
            atomic_fetch_add(&soak.refused, 1);
        else
            atomic_fetch_add(&soak.broken, 1);
        if (reply.status != 200 && reply.status != 429)
            printf("# status %d: %.200s\n", reply.status, body_of(&reply));
        bool closed = reply.status == 0 || has_header(&reply, "Connection: close");
        reply_free(&reply);
        if (closed) {
            close(fd);
            fd = dial(soak.port);
        }
        wait_turn(&due);
    }
    close(fd);
    sb_deinit(&request);
    return NULL;
}

/* ---- texts of products ------------------------------------------------------------------- */

/* Of products that no list has. */
static void check_text(size_t i)
{
    char path[64], wanted[96];
    snprintf(path, sizeof path, "/v1/products/new%zu", i);
    snprintf(wanted, sizeof wanted, "\"title\":\"text %u\"", soak.acknowledged[i]);
    struct reply r = ask(soak.port, "GET", path, ADMIN, NULL);
    bool good =
        soak.acknowledged[i] ? r.status == 200 && strstr(body_of(&r), wanted) : r.status == 404;
    if (!good)
        printf("# %s, wanted %s, status %d: %.200s\n", path, wanted, r.status, body_of(&r)),
            atomic_fetch_add(&soak.wrong, 1);
    reply_free(&r);
}

static void *run_writer(void *context)
{
    struct rng r;
    (void)context;
    rng_init(&r, 98, 0);
    for (unsigned number = 1; !atomic_load(&soak.stop); number++) {
        size_t i = rng_below(&r, TEXTS);
        char body[LONGEST_TEXT + 128];
        snprintf(body, sizeof body,
                 "{\"products\":[{\"id\":\"new%zu\",\"title\":\"text %u\","
                 "\"description\":\"%0*u\"}]}",
                 i, number, (int)rng_below(&r, LONGEST_TEXT), number);
        struct reply reply = ask(soak.port, "POST", "/v1/products", ADMIN JSON_TYPE, body);
        if (reply.status == 200) {
            soak.acknowledged[i] = number;
            atomic_fetch_add(&soak.texts, 1);
        } else if (reply.status == 503 || reply.status == 507 || reply.status == 429) {
            atomic_fetch_add(&soak.texts_refused, 1);
        } else {
            printf("# a text: status %d: %.200s\n", reply.status, body_of(&reply));
            atomic_fetch_add(&soak.broken, 1);
        }
        reply_free(&reply);
        check_text(i);
        check_text(rng_below(&r, TEXTS));
        sleep_ms(20);
    }
    return NULL;
}

/* ---- what goes wrong --------------------------------------------------------------------- */

static void redis_start(void)
{
    const char *const arguments[] = {"redis-server", "--port",    "0",         "--unixsocket",
                                     soak.redis,     "--save",    "",          "--appendonly",
                                     "no",           "--logfile", "/dev/null", NULL};
    unlink(soak.redis);
    if (posix_spawnp(&soak.redis_process, arguments[0], NULL, NULL, (char *const *)arguments,
                     environ) != 0)
        soak.redis_process = 0;
}

static void redis_stop(void)
{
    if (!soak.redis_process)
        return;
    kill(soak.redis_process, SIGKILL);
    waitpid(soak.redis_process, NULL, 0);
    soak.redis_process = 0;
    soak.redis_stops++;
}

static bool write_line(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return good;
}

/* Root may mount in a namespace of its own; others in one where they are root. To be called
 * before there are threads. */
static bool mount_disk(const char *path)
{
    char users[64], groups[64];
    snprintf(users, sizeof users, "0 %u 1", (unsigned)getuid());
    snprintf(groups, sizeof groups, "0 %u 1", (unsigned)getgid());
    mkdir(path, 0700);
    if (unshare(CLONE_NEWNS) != 0 &&
        (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 ||
         !write_line("/proc/self/setgroups", "deny") ||
         !write_line("/proc/self/gid_map", groups) || !write_line("/proc/self/uid_map", users)))
        return false;
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("soak", path, "tmpfs", 0, "size=" DISK_BYTES) == 0;
}

static void fill_to_the_last(bool full)
{
    static const char zeros[4096];
    char path[128];
    snprintf(path, sizeof path, "%s/ballast", soak.disk);
    unlink(path);
    if (!full)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (fd >= 0 && write(fd, zeros, sizeof zeros) > 0)
        continue;
    if (fd >= 0)
        close(fd);
    soak.full_disks++;
}

static void forbid_files(bool full)
{
    static rlim_t before;
    struct rlimit l;
    getrlimit(RLIMIT_FSIZE, &l);
    if (full && l.rlim_cur != 4096)
        before = l.rlim_cur;
    l.rlim_cur = full ? 4096 : before;
    setrlimit(RLIMIT_FSIZE, &l);
    soak.forbidden_files += full;
}

static void fail_last_page(bool fails)
{
    atomic_store(&last_page_fails, fails);
    soak.failed_pages += fails;
}

/* One kind of trouble after the other. */
static void fail_disk(bool fails)
{
    static void (*const kinds[])(bool) = {forbid_files, fail_last_page, fill_to_the_last};
    static unsigned turn;
    static bool failing;
    if (fails == failing)
        return;
    kinds[turn % (soak.own_disk ? 3 : 2)](fails);
    turn += !fails;
    failing = fails;
}

static size_t resident(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%*u %lu", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* What the clients get when they do not pause, and with it how long they are to. */
static double find_pace(double seconds)
{
    unsigned before = atomic_load(&soak.right);
    double began = clock_seconds();
    sleep_ms((long)(seconds * 1e3));
    double rate = (atomic_load(&soak.right) - before) / (clock_seconds() - began);
    atomic_store(&soak.pause_us, (unsigned)(1e6 * CLIENTS / (LOAD * (rate + 1))));
    return rate;
}

/* One piece of bad luck after the other. */
static void misfortunes(double seconds)
{
    static const int moods[] = {STUB_GOOD, STUB_HANG, STUB_GOOD,  STUB_DIE,
                                STUB_NAN,  STUB_GOOD, STUB_SUM,   STUB_CUT,
                                STUB_GOOD, STUB_HTML, STUB_SHAPE, STUB_GOOD};
    int ticks = seconds > 1200 ? (int)(seconds / 20) : 60; /* a swap a minute, or 20 */
    for (int tick = 0; tick < ticks; tick++) {
        struct server_change change;
        medley_error err = {0};
        atomic_store(&soak.stub.mode, moods[tick % (int)(sizeof moods / sizeof *moods)]);
        if (tick % 3 == 0) {
            if (server_activate(soak.server, soak.truth[tick / 3 % BUNDLES].id, &change, &err))
                printf("# %s\n", err.message), atomic_fetch_add(&soak.wrong, 1);
            else
                atomic_fetch_add(&soak.swaps, 1);
        }
        if (tick % 10 == 4)
            redis_stop();
        if (tick % 10 == 7)
            redis_start();
        if (tick % 8 == 5)
            fail_disk(true);
        if (tick % 8 == 7)
            fail_disk(false);
        sleep_ms((long)(seconds * 1e3 / ticks));
        for (int third = 1; third <= 3; third++)
            if (tick + 1 == ticks * third / 3)
                soak.memory[third - 1] = resident();
    }
    fail_disk(false);
}

/* ---- what came of it --------------------------------------------------------------------- */

static void report(double fair, double rate)
{
    double answers = atomic_load(&soak.right);
    printf("#\n# requests answered            %10.0f   %.0f a second; %.0f when clients do not "
           "pause\n",
           answers, fair, rate);
    printf("#   wrong                      %10u\n", atomic_load(&soak.wrong));
    printf("#   broken off, or 5xx         %10u\n", atomic_load(&soak.broken));
    printf("#   from the cache             %10u\n", atomic_load(&soak.remembered));
    printf("#   without the remote model   %10u\n", atomic_load(&soak.without));
    printf("#   429                        %10u\n", atomic_load(&soak.refused));
    printf("# malformed requests, all 400  %10u   %.1f%%\n", atomic_load(&soak.malformed),
           100 * atomic_load(&soak.malformed) / answers);
    printf("# clients that vanished        %10u   %.1f%%\n", atomic_load(&soak.vanished),
           100 * atomic_load(&soak.vanished) / answers);
    printf("# p50, p99, p99.9              %10.2f %.2f %.2f ms\n", percentile(0.5),
           percentile(0.99), percentile(0.999));
    printf("# bundle swaps                 %10u\n", atomic_load(&soak.swaps));
    printf("# Redis killed                 %10u\n", soak.redis_stops);
    printf("# disk full, no growth, no page  %8u %u %u\n", soak.full_disks,
           soak.forbidden_files, soak.failed_pages);
    printf("# texts acknowledged, refused  %10u %u\n", atomic_load(&soak.texts),
           atomic_load(&soak.texts_refused));
    printf("# memory at 1/3, 2/3, the end  %10.1f %.1f %.1f MiB\n#\n",
           (double)soak.memory[0] / 1048576, (double)soak.memory[1] / 1048576,
           (double)soak.memory[2] / 1048576);
}

static void judge(void)
{
    ok(atomic_load(&soak.wrong) == 0 && atomic_load(&soak.broken) == 0,
       "%u wrong answers, %u broken ones", atomic_load(&soak.wrong), atomic_load(&soak.broken));
    ok(atomic_load(&soak.right) > 100 && atomic_load(&soak.remembered) > 0 &&
           atomic_load(&soak.without) > 0 && atomic_load(&soak.swaps) >= 20 &&
           atomic_load(&soak.malformed) > 0 && atomic_load(&soak.vanished) > 0 &&
           soak.redis_stops > 0 && soak.forbidden_files > 0 && soak.failed_pages > 0 &&
           (soak.full_disks > 0 || !soak.own_disk) && atomic_load(&soak.texts) > 0 &&
           atomic_load(&soak.texts_refused) > 0,
       "there was something to get wrong");
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip("memory: not under a sanitizer");
#else
    ok(soak.memory[2] < soak.memory[0] + ((size_t)8 << 20), "memory is flat");
#endif
}

/* ---- set up ------------------------------------------------------------------------------ */

static bool make_bundle(size_t b, const char *ensemble)
{
    char models[256], *yaml = NULL;
    size_t n = 0;
    medley_error err = {0};
    struct strbuf s;
    snprintf(models, sizeof models,
             "  - {name: mine, kind: remote, url: 'http://127.0.0.1:%d', model: m, inputs: "
             "{text: '{query} "
             "{title}'}, output: p, timeout_ms: 100, retries: 1, breaker_open_ms: 200}\n",
             soak.stub.port);
    if (b == 0)
        plugged_write(soak.folder, models);
    file_read(at(soak.folder, "medley.yaml"), 1 << 16, &yaml, &n, &err);
    const char *cut = yaml ? strstr(yaml, "ensemble:") : NULL;
    sb_init(&s);
    sb_add(&s, yaml, cut ? (size_t)(cut - yaml) : 0);
    sb_addf(&s, "ensemble: {%s}\nbudget: {pin: [mine, noise]}\n", ensemble);
    put(soak.folder, "medley.yaml", s.s);
    sb_deinit(&s);
    mem_free(yaml);
    bool good = plugged_run(soak.folder, true, &err) == MEDLEY_OK &&
                medley_bundle_open(at(soak.folder, "bundle/current"), &soak.bundles[b], &err) ==
                    MEDLEY_OK &&
                learn(&soak.truth[b], soak.bundles[b]);
    return ok(good, "bundle %zu: %s", b, err.message);
}

static void run(double seconds)
{
    static char bundles[128], disk[128], texts[128], current[256];
    struct engine engine;
    medley_error err = {0};
    snprintf(bundles, sizeof bundles, "%s/bundle", soak.folder);
    snprintf(disk, sizeof disk, "%s/labels", soak.disk);
    snprintf(texts, sizeof texts, "%s/texts", soak.disk);
    snprintf(current, sizeof current, "%s/%s", bundles, soak.truth[0].id);
    snprintf(soak.redis, sizeof soak.redis, "%s/redis.sock", soak.folder);
    struct server_options o = {.bundles = bundles,
                               .cache_folder = disk,
                               .cache_entries = 200,
                               .products_folder = texts,
                               .admin_token = "admin-token-0123456",
                               .redis = soak.redis,
                               .threads = 2};
    redis_start();
    if (!ok(engine_open_bundle(current, &engine, &err) == MEDLEY_OK &&
                server_start(&engine, &o, &soak.server, &err) == MEDLEY_OK,
            "serves: %s", err.message))
        return;
    soak.port = server_port(soak.server);
    pthread_t threads[CLIENTS], writer;
    pthread_create(&writer, NULL, run_writer, NULL);
    for (uintptr_t i = 0; i < CLIENTS; i++)
        pthread_create(&threads[i], NULL, run_client, (void *)i);
    double rate = find_pace(seconds < 40 ? 1 : fmin(seconds / 40, 10)), began = clock_seconds();
    unsigned before = atomic_load(&soak.right);
    misfortunes(seconds);
    double fair = (atomic_load(&soak.right) - before) / (clock_seconds() - began);
    atomic_store(&soak.stop, true);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
    pthread_join(writer, NULL);
    if (soak.redis_process) {
        redis_stop();
        soak.redis_stops--;
    }
    ok(server_stop(soak.server, 5), "stops");
    ok(server_start(&engine, &o, &soak.server, &err) == MEDLEY_OK, "starts again: %s",
       err.message);
    soak.port = server_port(soak.server);
    for (size_t i = 0; i < TEXTS; i++)
        check_text(i);
    ok(server_stop(soak.server, 5), "stops");
    engine_close(&engine);
    report(fair, rate);
    judge();
}

int main(void)
{
    const char *asked = getenv("SOAK_SECONDS");
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    double usual = 15;
#else
    double usual = 60;
#endif
    double seconds = asked && atof(asked) > 0 ? atof(asked) : usual;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    snprintf(soak.folder, sizeof soak.folder, "%s", tap_folder());
    snprintf(soak.disk, sizeof soak.disk, "%s/disk", soak.folder);
    soak.own_disk = mount_disk(soak.disk);
    if (ok(stub_start(&soak.stub), "an inference server") && make_bundle(0, "rounds: 30") &&
        make_bundle(1, "rounds: 20"))
        run(seconds);
    for (size_t b = 0; b < BUNDLES; b++)
        medley_bundle_close(soak.bundles[b]);
    stub_stop(&soak.stub);
    if (soak.own_disk)
        umount2(soak.disk, MNT_DETACH);
    return tap_done();
}
