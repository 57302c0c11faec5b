/* serve.c: `medley serve`: answers classification requests over HTTP until it is told to stop.
 */
#include "cli/cli.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/str.h"
#include "base/yaml.h"
#include "ensemble/config.h"
#include "serve/classify_request.h"
#include "serve/server.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DRAIN_SECONDS 4.0 /* with the last wait of server_stop below 5 s altogether */

enum {
    OPT_BUNDLE = 256,
    OPT_HOST,
    OPT_PORT,
    OPT_THREADS,
    OPT_QUEUE,
    OPT_ENTRIES,
    OPT_BYTES,
    OPT_TTL,
    OPT_CACHE_DIR,
    OPT_CACHE_DISK,
    OPT_CACHE_ADMIT,
    OPT_PRODUCTS,
    OPT_REDIS,
    OPT_REDIS_PASSWORD,
    OPT_REDIS_TIMEOUT,
    OPT_BODY,
    OPT_CONNECTIONS,
    OPT_TIMEOUT,
    OPT_DEADLINE,
    OPT_TOKEN,
    OPT_ADMIN_TOKEN,
    OPT_QUIET
};

static const struct argp_option options[] = {
    {"workspace", 'C', "FOLDER", 0, "serve FOLDER/bundle/current [.]", 0},
    {"bundle", OPT_BUNDLE, "FOLDER", 0, "serve this bundle instead", 0},
    {"host", OPT_HOST, "ADDRESS", 0, "listen here; 0.0.0.0 or :: for everybody [127.0.0.1]", 0},
    {"port", OPT_PORT, "N", 0, "0: any free one, which is printed [8080]", 0},
    {"threads", OPT_THREADS, "N", 0, "requests classified at a time [one a core]", 0},
    {"max-queue", OPT_QUEUE, "N", 0, "requests that may wait; more are answered 429 [128]", 0},
    {"cache-entries", OPT_ENTRIES, "N", 0, "pairs remembered; 0: none [100000]", 0},
    {"cache-bytes", OPT_BYTES, "SIZE", 0, "memory for them [64M]", 0},
    {"cache-ttl", OPT_TTL, "SECONDS", 0, "forget pairs after so long; 0: never [0]", 0},
    {"cache-dir", OPT_CACHE_DIR, "FOLDER", 0,
     "keep pairs here too, over restarts; one server a folder", 0},
    {"cache-disk", OPT_CACHE_DISK, "SIZE", 0, "disk for them [1G]", 0},
    {"cache-admit", OPT_CACHE_ADMIT, "twice|all", 0,
     "pairs that go to disk and Redis: asked for twice, or all [twice]", 0},
    {"products", OPT_PRODUCTS, "FOLDER", 0,
     "take new texts of products by POST /v1/products, and keep them here; one server a folder",
     0},
    {"redis", OPT_REDIS, "HOST:PORT", 0,
     "share pairs with other servers; HOST:PORT/DATABASE or the /path of a socket, too", 0},
    {"redis-password-file", OPT_REDIS_PASSWORD, "FILE", 0, "the password of that Redis", 0},
    {"redis-timeout", OPT_REDIS_TIMEOUT, "MS", 0, "for looking up a list there [20]", 0},
    {"max-body", OPT_BODY, "BYTES", 0, "longest request [4194304]", 0},
    {"max-connections", OPT_CONNECTIONS, "N", 0, "at a time; more are answered 429 [1000]", 0},
    {"timeout", OPT_TIMEOUT, "SECONDS", 0,
     "for headers to arrive, for a body to arrive, and of silence [30]", 0},
    {"deadline", OPT_DEADLINE, "MS", 0,
     "answer after so long with the models that are done, unless a request says otherwise; 0: "
     "wait "
     "for all [0]",
     0},
    {"token-file", OPT_TOKEN, "FILE", 0,
     "ask clients for the bearer token in this file; health and metrics stay open", 0},
    {"admin-token-file", OPT_ADMIN_TOKEN, "FILE", 0,
     "let holders of this token activate, shadow and roll back bundles", 0},
    {"quiet", OPT_QUIET, NULL, 0, "no log line per request", 0},
    {0},
};

struct arguments {
    const char *workspace, *bundle, *token_file, *admin_token_file;
    const char *cache_folder, *redis_password_file, *products_folder;
    bool quiet;
    struct server_options server;
};

static size_t parse_size(const struct argp_state *state, const char *option, const char *text,
                         uint64_t least)
{
    uint64_t bytes = 0;
    if (!yaml_parse_bytes(text, &bytes) || bytes < least || bytes > (uint64_t)1 << 44)
        argp_error(state, "%s: '%s' is no size from %llu, such as 512M", option, text,
                   (unsigned long long)least);
    return (size_t)bytes;
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    struct arguments *a = state->input;
    struct server_options *s = &a->server;
    switch (key) {
    case 'C':
        a->workspace = text;
        return 0;
    case OPT_BUNDLE:
        a->bundle = text;
        return 0;
    case OPT_HOST:
        s->host = text;
        return 0;
    case OPT_PORT:
        s->port = (uint16_t)cli_count("--port", text, 0, UINT16_MAX);
        return 0;
    case OPT_THREADS:
        s->threads = (unsigned)cli_count("--threads", text, 1, 256);
        return 0;
    case OPT_QUEUE:
        s->max_queue = cli_count("--max-queue", text, 1, 1000000);
        return 0;
    case OPT_ENTRIES:
        s->cache_entries = cli_count("--cache-entries", text, 0, 1000000000);
        s->no_cache = s->cache_entries == 0;
        return 0;
    case OPT_BYTES:
        s->cache_bytes = parse_size(state, "--cache-bytes", text, 1 << 16);
        return 0;
    case OPT_TTL:
        s->cache_ttl = cli_number("--cache-ttl", text, 0, 1e9);
        return 0;
    case OPT_CACHE_DIR:
        a->cache_folder = text;
        return 0;
    case OPT_CACHE_DISK:
        s->cache_disk_bytes = parse_size(state, "--cache-disk", text, 1 << 20);
        return 0;
    case OPT_CACHE_ADMIT:
        if (strcmp(text, "twice") != 0 && strcmp(text, "all") != 0)
            argp_error(state, "--cache-admit: '%s' is neither twice nor all", text);
        s->cache_admit_all = strcmp(text, "all") == 0;
        return 0;
    case OPT_PRODUCTS:
        a->products_folder = text;
        return 0;
    case OPT_REDIS:
        s->redis = text;
        return 0;
    case OPT_REDIS_PASSWORD:
        a->redis_password_file = text;
        return 0;
    case OPT_REDIS_TIMEOUT:
        s->redis_timeout_ms = (unsigned)cli_count("--redis-timeout", text, 1, 10000);
        return 0;
    case OPT_BODY:
        s->max_body = cli_count("--max-body", text, 1024, 1 << 30);
        return 0;
    case OPT_CONNECTIONS:
        s->max_connections = (unsigned)cli_count("--max-connections", text, 1, 100000);
        return 0;
    case OPT_TIMEOUT:
        s->idle_seconds = s->body_seconds = (unsigned)cli_count("--timeout", text, 1, 3600);
        return 0;
    case OPT_DEADLINE:
        s->deadline_ms = (double)cli_count("--deadline", text, 0, CLASSIFY_MAX_DEADLINE);
        return 0;
    case OPT_TOKEN:
        a->token_file = text;
        return 0;
    case OPT_ADMIN_TOKEN:
        a->admin_token_file = text;
        return 0;
    case OPT_QUIET:
        a->quiet = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument '%s'", text);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    parse_option,
    NULL,
    "Answers POST /v1/classify, and a dashboard at /, until SIGINT or SIGTERM; then "
    "finishes "
    "what it has begun and exits; SIGHUP opens the bundle's folder anew and lets what is there "
    "answer. Each request is one line of JSON on stderr. Pairs of "
    "frequent products and queries use graph embeddings made ahead (serve.precompute in "
    "medley.yaml). What is not said here is taken from serve: in the workspace's "
    "medley.yaml.\v"
    "Example: medley serve -C my-shop --port 8080\n"
    "         curl -H 'Content-Type: application/json' localhost:8080/v1/classify \\\n"
    "           -d '{\"query\": \"wireless mouse\", \"products\": [\"P1\", {\"title\": \"Mouse "
    "pad\"}]}'",
    NULL,
    NULL,
    NULL,
};

/* One write a line, so that lines of several threads do not mix. */
static void log_line(void *context, const char *line, size_t n)
{
    char *text = mem_alloc(n + 1, 1);
    (void)context;
    if (!text)
        return;
    memcpy(text, line, n);
    text[n] = '\n';
    ssize_t written = write(STDERR_FILENO, text, n + 1);
    (void)written; /* a log that cannot be written cannot be complained about */
    mem_free(text);
}

static void warn(void *context, const char *text)
{
    (void)context;
    fprintf(stderr, "medley: %s\n", text);
}

/* A semaphore, because a handler may post it whichever thread the signal meets. */
static sem_t signalled;
static volatile sig_atomic_t stop_wanted;

static void on_signal(int signal_number)
{
    int e = errno;
    if (signal_number != SIGHUP) {
        stop_wanted = 1;
        signal(signal_number, SIG_DFL); /* a second one ends at once */
    }
    sem_post(&signalled);
    errno = e;
}

/* SIGHUP: the folder that was opened at the start may hold, or point to, another bundle now. */
static void reload(struct server *server, const char *name)
{
    struct server_change change;
    medley_error err = {0};
    if (server_activate(server, name, &change, &err))
        fprintf(stderr, "medley: not reloaded: %s\n", err.message);
    else
        fprintf(stderr, "bundle %s answers now, after %zu requests to warm it; before: %s\n",
                change.active, change.warmed, change.previous);
}

static void wait_for_stop(struct server *server, const char *name)
{
    while (!stop_wanted) {
        bool woken = sem_wait(&signalled) == 0;
        if (woken && !stop_wanted)
            reload(server, name);
    }
}

static int serve(const struct engine *engine, const struct server_options *o, const char *name)
{
    struct server *server = NULL;
    medley_error err = {0};
    struct sigaction on = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sem_init(&signalled, 0, 0);
    sigaction(SIGINT, &on, NULL);
    sigaction(SIGTERM, &on, NULL);
    sigaction(SIGHUP, &on, NULL);
    if (server_start(engine, o, &server, &err))
        return cli_fail(&err);
    fprintf(stderr, "listening on %s (bundle %s)\n", server_url(server), engine->id);
    wait_for_stop(server, name);
    if (server_stop(server, DRAIN_SECONDS))
        return 0;
    fprintf(stderr, "medley: a classification did not end in time and was cut short\n");
    _exit(1); /* threads still run in it: nothing can be freed under them */
}

/* ---- secrets and folders ------------------------------------------------------------------
 */

#define SHORTEST_TOKEN 16
#define LONGEST_TOKEN 1024

/* The file's text without white space around it, at least so long; the caller frees *out. */
static medley_status read_secret(const char *path, size_t shortest, char **out,
                                 medley_error *err)
{
    char *text = NULL;
    size_t n = 0;
    if (!path)
        return MEDLEY_OK;
    medley_status st = file_read(path, LONGEST_TOKEN, &text, &n, err);
    if (st)
        return st;
    struct str token = str_trim((struct str){text, n});
    bool good = token.n >= shortest;
    for (size_t i = 0; good && i < token.n; i++)
        good = token.s[i] > ' ' && token.s[i] < 127;
    if (!good)
        st = fail(err, MEDLEY_EINVAL,
                  "%s: expected a token of at least %zu printable ASCII characters", path,
                  shortest);
    else if (!(*out = mem_strndup(token.s, token.n)))
        st = fail_memory(err, "a token");
    mem_free(text);
    return st;
}

/* Cuts "shop/bundle/current" into the folder of bundles and the name of one, in place. */
static const char *split_folder(char *folder, const char **bundles)
{
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/')
        folder[--n] = 0;
    char *slash = strrchr(folder, '/');
    if (!slash) {
        *bundles = ".";
        return folder;
    }
    *bundles = slash == folder ? "/" : folder;
    *slash = 0;
    return slash + 1;
}

static medley_status run(struct arguments *a, char *folder, int *exit_status, medley_error *err)
{
    struct engine engine = {0};
    char *token = NULL, *admin_token = NULL, *password = NULL;
    medley_status st = read_secret(a->token_file, SHORTEST_TOKEN, &token, err);
    if (!st)
        st = read_secret(a->admin_token_file, SHORTEST_TOKEN, &admin_token, err);
    if (!st)
        st = read_secret(a->redis_password_file, 1, &password, err);
    if (!st)
        st = engine_open_bundle(folder, &engine, err);
    if (!st) {
        a->server.log = a->quiet ? NULL : log_line;
        a->server.token = token;
        a->server.admin_token = admin_token;
        a->server.warn = warn;
        a->server.cache_folder = a->cache_folder;
        a->server.products_folder = a->products_folder;
        a->server.redis_password = password;
        const char *name = split_folder(folder, &a->server.bundles);
        *exit_status = interrupted() ? 1 : serve(&engine, &a->server, name);
    }
    engine_close(&engine);
    mem_free(token);
    mem_free(admin_token);
    mem_free(password);
    return st;
}

/* ---- settings ----------------------------------------------------------------------------
 */

/* Paths in medley.yaml are relative to the workspace; the caller frees *out. */
static medley_status place(const char *workspace, const char *path, const char **borrowed,
                           char **out, medley_error *err)
{
    if (!path)
        return MEDLEY_OK;
    *borrowed = *out = path_join(workspace, path);
    return *out ? MEDLEY_OK : fail_memory(err, "a path");
}

struct settings {
    struct config config;
    char *cache_folder, *password_file, *products_folder; /* owned */
};

/* What medley.yaml says under serve:, if there is one; the command line comes after it. */
static medley_status read_settings(const char *workspace, struct settings *s,
                                   struct arguments *a, medley_error *err)
{
    char *path = path_join(workspace, "medley.yaml");
    if (!path)
        return fail_memory(err, "a path");
    medley_status st = file_exists(path) ? config_load(path, &s->config, err) : MEDLEY_OK;
    const struct serve_config *c = &s->config.serve;
    bool there = !st && s->config.document;
    mem_free(path);
    if (!there)
        return st;
    a->server.host = c->host;
    a->server.port = (uint16_t)c->port;
    a->server.cache_entries = c->cache_entries;
    a->server.no_cache = c->cache_entries == 0;
    a->server.cache_bytes = (size_t)c->cache_bytes;
    a->server.cache_ttl = c->cache_ttl_s;
    a->server.cache_disk_bytes = (size_t)c->cache_disk;
    a->server.cache_admit_all = strcmp(c->cache_admit, "all") == 0;
    a->server.redis = c->redis;
    a->server.redis_timeout_ms = c->redis_timeout_ms;
    st = place(workspace, c->cache_dir, &a->cache_folder, &s->cache_folder, err);
    if (!st)
        st = place(workspace, c->products_dir, &a->products_folder, &s->products_folder, err);
    return st ? st
              : place(workspace, c->redis_password_file, &a->redis_password_file,
                      &s->password_file, err);
}

static void settings_deinit(struct settings *s)
{
    if (s->config.document)
        config_free(&s->config);
    mem_free(s->cache_folder);
    mem_free(s->password_file);
    mem_free(s->products_folder);
}

/* A bundle that is named stands for itself: there is no workspace to ask. */
int verb_serve(int argc, char **argv)
{
    struct arguments first = {.workspace = "."};
    struct arguments a = {.workspace = ".", .server.port = 8080};
    struct settings settings = {0};
    medley_error err = {0};
    int exit_status = 1;
    cli_parse(&argp, argc, argv, &first);
    medley_status st =
        first.bundle ? MEDLEY_OK : read_settings(first.workspace, &settings, &a, &err);
    cli_parse(&argp, argc, argv, &a);
    char *folder = a.bundle ? mem_strdup(a.bundle) : path_join(a.workspace, "bundle/current");
    if (!st)
        st = folder ? run(&a, folder, &exit_status, &err)
                    : fail_memory(&err, "the path of the bundle");
    mem_free(folder);
    settings_deinit(&settings);
    return st ? cli_fail(&err) : exit_status;
}
