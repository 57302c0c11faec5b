/* request.c: one HTTP request from its headers to its log line.
 *
 * libmicrohttpd calls request_access once for the headers, once for each part of the body, and
 * once more at the end; an answer can only be given at the first or the last of these. So a
 * refusal waits until the rest of a moderate body has gone by, which keeps the connection
 * usable and lets clients that write before they read see why they were refused. */
#include "serve/classification.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"

#include <inttypes.h>
#include <netdb.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define REFUSED_BODIES 4 /* a refused body is read to its end up to so many times max_body */
#define BODY_BUDGET 64   /* bodies of the largest size held at a time, all requests together */

/* ---- answers ----------------------------------------------------------------------------- */

void answer(struct request *r, unsigned status, const char *content_type)
{
    r->status = status;
    r->content_type = content_type;
}

void answer_error(struct request *r, unsigned status, const char *format, ...)
{
    va_list args;
    struct json_writer w;
    va_start(args, format);
    vsnprintf(r->error, sizeof r->error, format, args);
    va_end(args);
    sb_clear(&r->out);
    jw_init(&w, &r->out, false);
    jw_object(&w);
    jw_key(&w, "error");
    jw_textz(&w, r->error);
    jw_object_end(&w);
    sb_addc(&r->out, '\n');
    answer(r, status, "application/json");
}

static void add_headers(const struct request *r, struct MHD_Response *response)
{
    MHD_add_response_header(response, "Content-Type", r->content_type);
    MHD_add_response_header(response, "X-Request-Id", r->id);
    MHD_add_response_header(response, "Cache-Control", r->tag ? "no-cache" : "no-store");
    if (r->tag) {
        MHD_add_response_header(response, "ETag", r->tag);
        MHD_add_response_header(response, "Vary", "Accept-Encoding");
    }
    if (r->packed)
        MHD_add_response_header(response, "Content-Encoding", "gzip");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (strncmp(r->content_type, "text/html", 9) == 0) {
        MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
        MHD_add_response_header(response, "Content-Security-Policy",
                                "default-src 'none'; script-src 'self'; style-src 'self'; "
                                "img-src 'self'; connect-src 'self'; base-uri 'none'; "
                                "form-action 'none'; frame-ancestors 'none'; "
                                "require-trusted-types-for 'script'; trusted-types 'none'");
    }
    if (r->status == 401)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (r->allow[0])
        MHD_add_response_header(response, "Allow", r->allow);
    if (r->status == 429 || r->status == 503)
        MHD_add_response_header(response, "Retry-After", "1");
    if (r->last || atomic_load(&r->server->draining))
        MHD_add_response_header(response, "Connection", "close");
}

/* Hands the answer to libmicrohttpd. */
static enum MHD_Result send_answer(struct request *r)
{
    if (r->out.failed) {
        r->fixed = STR("{\"error\":\"out of memory\"}\n");
        answer(r, 503, "application/json");
    }
    bool fixed = r->fixed.n > 0;
    size_t n = fixed ? r->fixed.n : r->out.n;
    char *data = fixed ? (char *)r->fixed.s : sb_steal(&r->out);
    struct MHD_Response *response = MHD_create_response_from_buffer(
        n, data, fixed ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);
    if (!response) {
        if (!fixed)
            mem_free(data);
        return MHD_NO;
    }
    r->stage = SENDING;
    r->sent = n;
    peer_takes(r->peer);
    add_headers(r, response);
    enum MHD_Result queued = MHD_queue_response(r->connection, r->status, response);
    MHD_destroy_response(response);
    return queued;
}

void request_done(struct request *r)
{
    r->stage = ANSWERED;
    MHD_resume_connection(r->connection); /* r may be gone from here on */
}

void request_suspend(struct request *r)
{
    r->stage = WORKING;
    peer_is_served(r->peer);
    MHD_suspend_connection(r->connection);
}

bool request_submit_to(struct request *r, struct jobs *jobs)
{
    request_suspend(r); /* before a worker can resume it */
    if (jobs_submit(jobs, &r->job))
        return true;
    answer_error(r, 429, "busy: %zu requests wait already", jobs_waiting(jobs));
    request_done(r);
    return false;
}

bool request_submit(struct request *r)
{
    struct server *s = r->server;
    atomic_fetch_add(&s->classifying, 1);
    bool submitted = request_submit_to(r, s->jobs);
    if (!submitted)
        atomic_fetch_sub(&s->classifying, 1);
    return submitted;
}

bool request_resubmit(struct request *r)
{
    struct server *s = r->server;
    atomic_fetch_add(&s->classifying, 1);
    bool submitted = jobs_submit(s->jobs, &r->job);
    if (!submitted)
        atomic_fetch_sub(&s->classifying, 1);
    return submitted;
}

/* ---- the first look ---------------------------------------------------------------------- */

static bool is_safe_id(const char *id)
{
    size_t n = strlen(id);
    return n >= 1 && n <= 64 &&
           strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static void set_id(struct request *r)
{
    const char *given =
        MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "X-Request-Id");
    if (given && is_safe_id(given)) {
        snprintf(r->id, sizeof r->id, "%s", given);
        return;
    }
    uint64_t number = atomic_fetch_add(&r->server->next_id, 1);
    snprintf(r->id, sizeof r->id, "%016" PRIx64, mix64(r->server->id_seed, number, 0));
}

static struct request *request_new(struct server *s, struct MHD_Connection *connection,
                                   const char *path, const char *method)
{
    struct request *r = mem_zalloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->server = s;
    r->connection = connection;
    r->route = N_ROUTES;
    r->started = clock_seconds();
    r->deadline = r->started + s->options.body_seconds;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    r->peer = info ? info->socket_context : NULL;
    peer_sends(r->peer);
    snprintf(r->method, sizeof r->method, "%s", method);
    snprintf(r->path, sizeof r->path, "%s", path);
    sb_init(&r->body);
    sb_init(&r->argument);
    sb_init(&r->out);
    set_id(r);
    atomic_fetch_add(&s->in_flight, 1);
    return r;
}

static bool method_fits(const struct route *route, const char *method)
{
    return strcmp(method, route->method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

/* Whether a path is the route's; what stands for {id} or {name} is kept. libmicrohttpd has
 * undone %41. */
static bool path_fits(struct request *r, const char *pattern, const char *path)
{
    const char *hole = strchr(pattern, '{'), *rest = hole ? strchr(hole, '}') : NULL;
    if (!rest)
        return strcmp(path, pattern) == 0;
    size_t before = (size_t)(hole - pattern), after = strlen(++rest), n = strlen(path);
    if (n <= before + after || memcmp(path, pattern, before) != 0 ||
        strcmp(path + n - after, rest) != 0)
        return false;
    if (hole[1] == 'n' && memchr(path + before, '/', n - before - after))
        return false;
    sb_clear(&r->argument);
    sb_add(&r->argument, path + before, n - before - after);
    return true;
}

/* Sets r->route, or answers 404 or 405. */
static bool find_route(struct request *r, const char *path, const char *method)
{
    const char *fits = NULL; /* a path belongs to the first pattern that it fits */
    for (size_t i = 0; i < N_ROUTES; i++) {
        if ((fits && strcmp(fits, routes[i].path) != 0) || !path_fits(r, routes[i].path, path))
            continue;
        r->route = i; /* for the log and the counters, even when the method is wrong */
        if (method_fits(&routes[i], method))
            return true;
        fits = routes[i].path;
        size_t n = strlen(r->allow);
        snprintf(r->allow + n, sizeof r->allow - n, "%s%s%s", n ? ", " : "", routes[i].method,
                 strcmp(routes[i].method, "GET") == 0 ? ", HEAD" : "");
    }
    if (fits)
        answer_error(r, 405, "%s is not possible here, %s is", r->method, r->allow);
    else
        answer_error(r, 404, "nothing at '%s'", r->path);
    return false;
}

/* "application/json", perhaps with parameters, of which only charset=utf-8 is known. */
static bool is_media_type(const char *given, const char *wanted)
{
    size_t n = strlen(wanted);
    if (!given || strncasecmp(given, wanted, n) != 0)
        return false;
    struct str rest = str_trim(str_of(given + n));
    if (rest.n == 0)
        return true;
    if (rest.s[0] != ';')
        return false;
    rest = str_trim((struct str){rest.s + 1, rest.n - 1});
    return (rest.n == 13 && strncasecmp(rest.s, "charset=utf-8", 13) == 0) ||
           (rest.n == 15 && strncasecmp(rest.s, "charset=\"utf-8\"", 15) == 0);
}

static const char *header(const struct request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

/* The time it takes tells nothing about where the texts differ. */
static bool same_secret(const char *given, const char *wanted)
{
    size_t n = strlen(given), m = strlen(wanted);
    unsigned char differ = n != m;
    for (size_t i = 0; i < m; i++)
        differ |= (unsigned char)(given[n ? i % n : 0] ^ wanted[i]);
    return !differ;
}

/* True when the caller may; else answers 401 or 403. */
static bool check_access(struct request *r)
{
    enum access access = routes[r->route].access;
    const struct server_options *o = &r->server->options;
    const char *wanted = access == FOR_ADMINS ? o->admin_token : o->token;
    const char *given = header(r, "Authorization");
    if (access == FOR_ADMINS && !wanted) {
        answer_error(r, 403, "this server was started without an admin token");
        return false;
    }
    if (access == OPEN_TO_ALL || !wanted)
        return true;
    if (given && strncasecmp(given, "Bearer ", 7) == 0 && same_secret(given + 7, wanted))
        return true;
    answer_error(r, 401, "authorization: a bearer token is needed");
    return false;
}

static void check_headers(struct request *r, const char *path, const char *method,
                          uint64_t length)
{
    const struct server *s = r->server;
    if (!find_route(r, path, method) || !check_access(r))
        return;
    if (atomic_load(&s->draining) && !routes[r->route].always) {
        answer_error(r, 503, "shutting down");
    } else if (!routes[r->route].always &&
               atomic_load(&s->connections.open) > s->max_connections) {
        r->last = true;
        answer_error(r, 429, "busy: more than %u connections", s->max_connections);
    } else if (length > s->options.max_body) {
        answer_error(r, 413, "body: %" PRIu64 " bytes are more than %zu", length,
                     s->options.max_body);
    } else if (routes[r->route].takes &&
               !is_media_type(header(r, "Content-Type"), routes[r->route].takes)) {
        answer_error(r, 415, "content-type: must be %s", routes[r->route].takes);
    } else if (routes[r->route].takes && header(r, "Content-Encoding")) {
        answer_error(r, 415, "content-encoding: '%.40s' is not supported",
                     header(r, "Content-Encoding"));
    }
}

/* libmicrohttpd itself refuses a Content-Length that is no number. */
static uint64_t declared_length(const struct request *r)
{
    uint64_t n = 0;
    return str_to_u64(str_of(header(r, "Content-Length")), &n) ? n : 0;
}

static enum MHD_Result begin(struct request *r, const char *path, const char *method)
{
    uint64_t length = declared_length(r);
    check_headers(r, path, method, length);
    if (!r->status)
        return MHD_YES;
    r->stage = REFUSING;
    /* Who expects "100 Continue" has not sent the body yet; what is too long is not worth
     * reading. An answer now closes the connection behind it. */
    if (header(r, "Expect") || length > REFUSED_BODIES * (uint64_t)r->server->options.max_body)
        return send_answer(r);
    return MHD_YES;
}

/* ---- the body ---------------------------------------------------------------------------- */

static void refuse_body(struct request *r, unsigned status, const char *why)
{
    answer_error(r, status, "%s", why);
    atomic_fetch_sub(&r->server->body_bytes, r->held);
    r->held = 0;
    sb_deinit(&r->body);
    sb_init(&r->body);
    r->stage = REFUSING;
}

static enum MHD_Result receive(struct request *r, const char *data, size_t n)
{
    struct server *s = r->server;
    size_t limit = s->options.max_body;
    r->received += n;
    if (clock_seconds() > r->deadline) {
        answer_error(r, 408, "the body took more than %u s", s->options.body_seconds);
        return MHD_NO; /* closes: an answer is not possible in the midst of a body */
    }
    if (r->stage == REFUSING)
        return r->received / REFUSED_BODIES > limit ? MHD_NO : MHD_YES;
    if (r->received > limit) {
        refuse_body(r, 413, "body: too long");
        return MHD_YES;
    }
    r->held += n;
    if (atomic_fetch_add(&s->body_bytes, n) + n > BODY_BUDGET * (uint64_t)limit) {
        refuse_body(r, 429, "busy: too many large requests at a time");
        return MHD_YES;
    }
    if (routes[r->route].takes)
        sb_add(&r->body, data, n);
    if (r->body.failed)
        refuse_body(r, 503, "out of memory");
    return MHD_YES;
}

enum MHD_Result request_access(void *server, struct MHD_Connection *connection, const char *url,
                               const char *method, const char *version, const char *upload,
                               size_t *upload_n, void **state)
{
    struct request *r = *state;
    (void)version;
    if (!r) {
        *state = r = request_new(server, connection, url, method);
        return r ? begin(r, url, method) : MHD_NO;
    }
    if (*upload_n > 0) {
        size_t n = *upload_n;
        *upload_n = 0;
        return r->stage == SENDING ? MHD_YES : receive(r, upload, n);
    }
    if (r->stage == COLLECTING && routes[r->route].handle(r) == SUBMITTED)
        return MHD_YES;
    return r->stage == SENDING ? MHD_YES : send_answer(r);
}

/* ---- the end ----------------------------------------------------------------------------- */

static void add_time(struct json_writer *w)
{
    char text[64];
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + n, sizeof text - n, ".%03ldZ", now.tv_nsec / 1000000);
    jw_key(w, "time");
    jw_textz(w, text);
}

static void add_client(const struct request *r, struct json_writer *w)
{
    char text[NI_MAXHOST] = "";
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info && info->client_addr) {
        socklen_t n = info->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                               : sizeof(struct sockaddr_in);
        if (getnameinfo(info->client_addr, n, text, sizeof text, NULL, 0, NI_NUMERICHOST) != 0)
            text[0] = 0;
    }
    jw_key(w, "client");
    jw_textz(w, text);
}

static void add_number(struct json_writer *w, const char *key, size_t v)
{
    jw_key(w, key);
    jw_i64(w, (int64_t)v);
}

/* Queries and products are people's words and stay out of the log. */
static void log_request(const struct request *r, double seconds, bool complete)
{
    struct strbuf line;
    struct json_writer w;
    sb_init(&line);
    jw_init(&w, &line, false);
    jw_object(&w);
    add_time(&w);
    jw_key(&w, "request_id");
    jw_textz(&w, r->id);
    add_client(r, &w);
    jw_key(&w, "method");
    jw_textz(&w, r->method);
    jw_key(&w, "path");
    jw_textz(&w, r->path);
    add_number(&w, "status", r->status);
    jw_key(&w, "ms");
    jw_double(&w, (double)(uint64_t)(seconds * 1e6) / 1e3);
    add_number(&w, "bytes_in", r->received);
    add_number(&w, "bytes_out", r->sent);
    if (r->pairs) {
        add_number(&w, "pairs", r->pairs);
        add_number(&w, "pairs_cached", r->pairs_cached);
        if (r->pairs_shared)
            add_number(&w, "pairs_shared", r->pairs_shared);
        add_number(&w, "pairs_precomputed", r->pairs_precomputed);
    }
    if (!complete) {
        jw_key(&w, "cut_short");
        jw_bool(&w, true);
    }
    if (r->error[0]) {
        jw_key(&w, "error");
        jw_textz(&w, r->error);
    }
    jw_object_end(&w);
    if (!line.failed)
        r->server->options.log(r->server->options.log_context, line.s, line.n);
    sb_deinit(&line);
}

void request_completed(void *server, struct MHD_Connection *connection, void **state,
                       enum MHD_RequestTerminationCode how)
{
    struct server *s = server;
    struct request *r = *state;
    (void)connection;
    if (!r)
        return;
    peer_waits(r->peer);
    *state = NULL;
    double seconds = clock_seconds() - r->started;
    counters_request(&s->counters, r->route, r->status, seconds);
    if (s->options.log)
        log_request(r, seconds, how == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    atomic_fetch_sub(&s->body_bytes, r->held);
    classification_free(r->classification);
    deployment_leave(r->deployment);
    sb_deinit(&r->argument);
    sb_deinit(&r->body);
    sb_deinit(&r->out);
    mem_free(r);
    atomic_fetch_sub(&s->in_flight, 1); /* last: server_stop waits for it */
}
