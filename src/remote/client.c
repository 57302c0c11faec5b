/* client.c: see client.h. Proof: tests/test_remote.c. */
#include "remote/client.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/rng.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_IDLE = 16 };

struct client {
    struct client_options o;
    char *authorization; /* header line, or NULL */
    struct breaker breaker;
    pthread_mutex_t lock;  /* of idle */
    CURL *idle[MOST_IDLE]; /* with their open connections */
    size_t n_idle;
    atomic_uint_least64_t requests, failures, retries, refused, drawn;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

void client_close(struct client *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_idle; i++)
        curl_easy_cleanup(c->idle[i]);
    pthread_mutex_destroy(&c->lock);
    breaker_deinit(&c->breaker);
    mem_free(c->authorization);
    mem_free(c);
}

static medley_status read_token(struct client *c, medley_error *err)
{
    const char *name = c->o.token_env, *token = name ? getenv(name) : NULL;
    struct strbuf line;
    if (!name)
        return MEDLEY_OK;
    if (!token || !*token || token[strcspn(token, "\r\n")])
        return fail(err, MEDLEY_EINVAL, "environment variable '%s' holds no token (one line)",
                    name);
    sb_init(&line);
    sb_addf(&line, "Authorization: Bearer %s", token);
    c->authorization = sb_steal(&line);
    return c->authorization ? MEDLEY_OK : fail_memory(err, "a token");
}

medley_status client_open(const struct client_options *o, struct client **out,
                          medley_error *err)
{
    pthread_once(&once, start_curl);
    struct client *c = mem_zalloc(1, sizeof *c);
    if (!c)
        return fail_memory(err, "a client");
    c->o = *o;
    pthread_mutex_init(&c->lock, NULL);
    breaker_init(&c->breaker, o->breaker_failures, o->breaker_open_ms / 1e3);
    medley_status st = read_token(c, err);
    if (st)
        client_close(c);
    else
        *out = c;
    return st;
}

struct client_counters client_counters(struct client *c)
{
    return (struct client_counters){.requests = atomic_load(&c->requests),
                                    .failures = atomic_load(&c->failures),
                                    .retries = atomic_load(&c->retries),
                                    .refused = atomic_load(&c->refused),
                                    .state = breaker_state(&c->breaker, clock_seconds())};
}

/* ---- one request ---- */

/* What comes back, up to a limit: a server that sends more is hung up on. */
struct reply {
    struct strbuf body;
    size_t most;
    bool too_long;
};

static size_t take(char *data, size_t size, size_t n, void *context)
{
    struct reply *r = context;
    size_t bytes = size * n;
    if (bytes > r->most - r->body.n) {
        r->too_long = true;
        return 0;
    }
    sb_add(&r->body, data, bytes);
    return r->body.failed ? 0 : bytes;
}

static int stop_when_interrupted(void *context, curl_off_t a, curl_off_t b, curl_off_t c,
                                 curl_off_t d)
{
    (void)context, (void)a, (void)b, (void)c, (void)d;
    return interrupt_requested();
}

static CURL *handle_take(struct client *c)
{
    CURL *h = NULL;
    pthread_mutex_lock(&c->lock);
    if (c->n_idle)
        h = c->idle[--c->n_idle];
    pthread_mutex_unlock(&c->lock);
    return h ? h : curl_easy_init();
}

static void handle_give(struct client *c, CURL *h)
{
    pthread_mutex_lock(&c->lock);
    bool keep = c->n_idle < MOST_IDLE;
    if (keep)
        c->idle[c->n_idle++] = h;
    pthread_mutex_unlock(&c->lock);
    if (!keep)
        curl_easy_cleanup(h);
}

static bool add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *more = line ? curl_slist_append(*list, line) : *list;
    if (more)
        *list = more;
    return more || !line;
}

static bool add_headers(const struct client *c, const char *traceparent,
                        struct curl_slist **list)
{
    char trace[96];
    snprintf(trace, sizeof trace, "traceparent: %.64s", traceparent ? traceparent : "");
    bool good = add_header(list, "Content-Type: application/json") &&
                add_header(list, "Expect:") && add_header(list, c->authorization) &&
                add_header(list, traceparent ? trace : NULL);
    for (size_t i = 0; i < c->o.n_headers && good; i++)
        good = add_header(list, c->o.headers[i]);
    return good;
}

static void set_up(const struct client *c, CURL *h, struct str body, struct reply *reply,
                   double timeout_ms, struct curl_slist *headers)
{
    long ms = timeout_ms < 1 ? 1 : (long)timeout_ms;
    curl_easy_reset(h); /* keeps connections */
    curl_easy_setopt(h, CURLOPT_URL, c->o.url);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_POST, 1L);
    curl_easy_setopt(h, CURLOPT_POSTFIELDS, body.s);
    curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, ms);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, ms);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, reply);
    curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, stop_when_interrupted);
    curl_easy_setopt(h, CURLOPT_USERAGENT, "medley");
}

/* Whether another try may help: not when the server understood and refused. */
static bool worth_retrying(long status)
{
    return status == 0 || status == 408 || status == 429 || status >= 500;
}

static medley_status judge(const struct client *c, CURLcode code, long status,
                           const struct reply *reply, bool *again, medley_error *err)
{
    *again = false;
    if (reply->body.failed)
        return fail_memory(err, "a reply");
    if (interrupt_requested())
        return fail(err, MEDLEY_EINTERRUPTED, "interrupted");
    if (reply->too_long)
        return fail(err, MEDLEY_EFORMAT, "%s: the reply is longer than %zu bytes", c->o.url,
                    reply->most);
    *again = worth_retrying(status);
    if (code != CURLE_OK) {
        *again = true;
        return fail(err, MEDLEY_EIO, "%s: %s", c->o.url, curl_easy_strerror(code));
    }
    if (status == 200)
        return MEDLEY_OK;
    struct str told = sb_str(&reply->body);
    size_t bad = 0, n = told.n < 120 ? told.n : 120;
    if (!utf8_valid((struct str){told.s, n}, &bad))
        n = bad;
    return fail(err, MEDLEY_EIO, "%s: HTTP status %ld: %.*s", c->o.url, status, (int)n,
                told.s ? told.s : "");
}

static medley_status send_once(struct client *c, struct str body, size_t n,
                               const char *traceparent, double timeout_ms, float *out,
                               bool *again, medley_error *err)
{
    struct reply reply = {.most = protocol_most_bytes(&c->o.protocol, n)};
    struct curl_slist *headers = NULL;
    long status = 0;
    *again = false;
    CURL *h = handle_take(c);
    if (!h)
        return fail_memory(err, "an HTTP request");
    sb_init(&reply.body);
    medley_status st =
        add_headers(c, traceparent, &headers) ? MEDLEY_OK : fail_memory(err, "HTTP headers");
    if (!st) {
        set_up(c, h, body, &reply, timeout_ms, headers);
        atomic_fetch_add(&c->requests, 1);
        CURLcode code = curl_easy_perform(h);
        curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
        st = judge(c, code, status, &reply, again, err);
    }
    if (!st && (st = protocol_reply(&c->o.protocol, sb_str(&reply.body), n, out, err)))
        fail_within(err, st, "%s", c->o.url);
    if (st)
        atomic_fetch_add(&c->failures, 1);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
    sb_deinit(&reply.body);
    handle_give(c, h);
    return st;
}

/* ---- retries ---- */

static void sleep_ms(double ms)
{
    while (ms > 0 && !interrupt_requested()) { /* in pieces, so that an interrupt is heard */
        double piece = ms < 50 ? ms : 50;
        struct timespec t = {0, (long)(piece * 1e6)};
        nanosleep(&t, NULL);
        ms -= piece;
    }
}

/* Full jitter: uniform below the exponential limit, so that clients do not come back together
 * (Brooker, "Exponential Backoff and Jitter", 2015). */
static double pause_ms(struct client *c, unsigned retry)
{
    double most = c->o.backoff_ms * (double)(UINT64_C(1) << (retry < 16 ? retry : 16));
    uint64_t draw = mix64(c->o.seed, atomic_fetch_add(&c->drawn, 1), 0);
    return most * (double)(draw >> 11) * 0x1p-53;
}

/* One batch; `end` is when the list's time is over, 0: never. */
static medley_status ask_batch(struct client *c, struct str body, size_t n,
                               const char *traceparent, double end, float *out,
                               medley_error *err)
{
    medley_status st = MEDLEY_OK;
    bool again = true;
    for (unsigned try = 0; again && try <= c->o.retries; try++) {
        double timeout = c->o.timeout_ms, left = 1e3 * (end - clock_seconds());
        if (try) {
            double pause = pause_ms(c, try - 1);
            if (end && pause >= left) /* the error of the last try stands */
                break;
            sleep_ms(pause);
            left -= pause;
            atomic_fetch_add(&c->retries, 1);
        }
        if (end && left <= 0)
            return st ? st
                      : fail(err, MEDLEY_EIO, "%s: no answer in time", c->o.url);
        st = send_once(c, body, n, traceparent, end && left < timeout ? left : timeout, out,
                       &again, err);
        if (!st)
            break;
    }
    return st;
}

static medley_status ask_all(struct client *c, const struct pair_text *pairs, size_t n,
                             const char *traceparent, bool patient, float *out,
                             medley_error *err)
{
    double end = patient ? 0 : clock_seconds() + c->o.deadline_ms / 1e3, limit = time_limit();
    if (limit > 0 && (end == 0 || limit < end))
        end = limit;
    size_t k = c->o.protocol.n_classes;
    struct strbuf body;
    medley_status st = MEDLEY_OK;
    sb_init(&body);
    for (size_t i = 0; i < n && !st; i += c->o.batch) {
        size_t m = n - i < c->o.batch ? n - i : c->o.batch;
        sb_clear(&body);
        protocol_request(&c->o.protocol, pairs + i, m, &body);
        st = body.failed ? fail_memory(err, "a request")
                         : ask_batch(c, sb_str(&body), m, traceparent, end, out + i * k, err);
    }
    sb_deinit(&body);
    return st;
}

medley_status client_ask(struct client *c, const struct pair_text *pairs, size_t n,
                         const char *traceparent, bool patient, float *out, medley_error *err)
{
    if (patient)
        return ask_all(c, pairs, n, traceparent, true, out, err);
    if (!breaker_enter(&c->breaker, clock_seconds())) {
        atomic_fetch_add(&c->refused, 1);
        return fail(err, MEDLEY_EIO, "%s: left alone after %u failures in a row", c->o.url,
                    c->o.breaker_failures);
    }
    medley_status st = ask_all(c, pairs, n, traceparent, false, out, err);
    if (st == MEDLEY_ENOMEM || st == MEDLEY_EINTERRUPTED)
        breaker_cancel(&c->breaker);
    else
        breaker_leave(&c->breaker, st == MEDLEY_OK, clock_seconds());
    return st;
}
