/* inference_stub.h: a small inference server (Open Inference Protocol v2) that knows the label
 * of a text by its first words, as plugged_shop.h writes them; and that hangs, dies and lies on
 * demand. */
#ifndef TESTS_INFERENCE_STUB_H
#define TESTS_INFERENCE_STUB_H

#include "base/json.h"
#include "base/str.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum stub_mode {
    STUB_GOOD, /* the honest ones come first */
    STUB_NESTED,
    STUB_BUSY_ONCE, /* 503, then good */
    STUB_HANG,
    STUB_DIE, /* hangs up without an answer */
    STUB_BROKEN,
    STUB_FORBIDDEN,
    STUB_REDIRECT,
    STUB_HTML,
    STUB_CUT,
    STUB_ENDLESS,
    STUB_ERROR,
    STUB_OTHER_NAME,
    STUB_TWICE,
    STUB_TYPE,
    STUB_SHAPE,
    STUB_SHORT,
    STUB_TEXTS,
    STUB_NULL,
    STUB_NAN,
    STUB_HUGE,
    STUB_NEGATIVE,
    STUB_SUM,
    STUB_MODES
};
__attribute__((unused)) static const char *const stub_mode_names[STUB_MODES] = {
    "good",    "nested", "busy once",  "hangs",         "dies",        "broken",
    "forbids", "moved",  "HTML",       "cut short",     "endless",     "error",
    "name",    "twice",  "other type", "wrong shape",   "too short",   "texts",
    "null",    "NaN",    "1e999",      "negative ones", "sum is not 1"};

struct stub {
    struct MHD_Daemon *daemon;
    int port, classes; /* more than three: the others have no part */
    atomic_int mode;
    atomic_uint requests, pairs;
    atomic_bool stop;
    pthread_mutex_t lock;
    char traceparent[80], authorization[80], path[80]; /* of the last request; guarded by lock */
};

static const char *stub_row(enum stub_mode mode, const char *text)
{
    static const char *const rows[] = {"0.8,0.15,0.05", "0.1,0.8,0.1", "0.05,0.15,0.8"};
    switch (mode) {
    case STUB_TEXTS:
        return "\"0.8\",\"0.1\",\"0.1\"";
    case STUB_NULL:
        return "null,0.5,0.5";
    case STUB_NAN:
        return "NaN,0.5,0.5";
    case STUB_HUGE:
        return "1e999,0,0";
    case STUB_NEGATIVE:
        return "-0.5,0.5,1.0";
    case STUB_SUM:
        return "0.5,0.5,0.5";
    default:
        return strstr(text, "shoe") ? rows[0] : strstr(text, "red") ? rows[1] : rows[2];
    }
}

static void stub_output(int classes, enum stub_mode mode, const char *name, const json *data,
                        struct strbuf *out)
{
    size_t n = json_count(data), row = 0;
    sb_addf(out, "{\"name\":\"%s\",\"datatype\":\"%s\",\"shape\":[%zu,%d],\"data\":[", name,
            mode == STUB_TYPE ? "INT64" : "FP32", n, classes + (mode == STUB_SHAPE));
    for (const json *v = json_first(data); v; v = json_next(v), row++) {
        const char *text = "";
        json_as_text(v, &text);
        if (mode == STUB_SHORT && row + 1 == n)
            break;
        sb_addf(out, "%s%s%s", row ? "," : "", mode == STUB_NESTED ? "[" : "",
                stub_row(mode, text));
        for (int c = 3; c < classes; c++)
            sb_addz(out, ",0");
        sb_addz(out, mode == STUB_NESTED ? "]" : "");
    }
    sb_addz(out, "]}");
}

static void stub_answer(struct stub *s, enum stub_mode mode, struct str body,
                        struct strbuf *out)
{
    json *root = NULL;
    medley_error err;
    if (mode == STUB_HTML || json_parse(body, "request", &root, &err)) {
        sb_addz(out, "<html>hello</html>");
        return;
    }
    const json *data = json_get(json_first(json_get(root, "inputs")), "data");
    atomic_fetch_add(&s->pairs, (unsigned)json_count(data));
    sb_addz(out, "{\"model_name\":\"m\",\"outputs\":[");
    stub_output(s->classes, mode, mode == STUB_OTHER_NAME ? "q" : "p", data, out);
    if (mode == STUB_TWICE) {
        sb_addz(out, ",");
        stub_output(s->classes, mode, "p", data, out);
    }
    sb_addz(out, "]}");
    if (mode == STUB_ERROR) {
        sb_clear(out);
        sb_addz(out, "{\"error\":\"out of cheese\"}");
    }
    for (int i = 0; mode == STUB_ENDLESS && i < 1 << 18; i++)
        sb_addz(out, "        ");
    if (mode == STUB_CUT)
        out->n /= 2;
    json_free(root);
}

static void stub_note(struct stub *s, struct MHD_Connection *c, const char *path)
{
    const char *trace = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "traceparent");
    const char *token = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization");
    pthread_mutex_lock(&s->lock);
    snprintf(s->traceparent, sizeof s->traceparent, "%s", trace ? trace : "");
    snprintf(s->authorization, sizeof s->authorization, "%s", token ? token : "");
    snprintf(s->path, sizeof s->path, "%s", path);
    pthread_mutex_unlock(&s->lock);
}

static enum MHD_Result stub_reply(struct MHD_Connection *c, unsigned status,
                                  const struct strbuf *out)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(
        out->n, (char *)(out->s ? out->s : ""), MHD_RESPMEM_MUST_COPY);
    if (status == 302)
        MHD_add_response_header(r, "Location", "file:///etc/hostname");
    enum MHD_Result done = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return done;
}

static enum MHD_Result stub_handle(void *context, struct MHD_Connection *c, const char *path,
                                   const char *method, const char *version, const char *data,
                                   size_t *n, void **state)
{
    struct stub *s = context;
    struct strbuf *body = *state;
    (void)version, (void)method;
    if (!body) {
        *state = body = calloc(1, sizeof *body);
        sb_init(body);
        return MHD_YES;
    }
    if (*n) {
        sb_add(body, data, *n);
        *n = 0;
        return MHD_YES;
    }
    unsigned mode = (unsigned)atomic_load(&s->mode), before = atomic_fetch_add(&s->requests, 1);
    stub_note(s, c, path);
    while (mode == STUB_HANG && !atomic_load(&s->stop) && atomic_load(&s->mode) == STUB_HANG)
        nanosleep(&(struct timespec){0, 2000000}, NULL);
    if (mode == STUB_DIE || mode == STUB_HANG)
        return MHD_NO;
    struct strbuf out;
    sb_init(&out);
    unsigned status = mode == STUB_BROKEN || (mode == STUB_BUSY_ONCE && before == 0) ? 503
                      : mode == STUB_FORBIDDEN                                       ? 403
                      : mode == STUB_REDIRECT                                        ? 302
                                                                                     : 200;
    stub_answer(s, (enum stub_mode)mode, sb_str(body), &out);
    enum MHD_Result done = stub_reply(c, status, &out);
    sb_deinit(&out);
    return done;
}

static void stub_end(void *context, struct MHD_Connection *c, void **state,
                     enum MHD_RequestTerminationCode code)
{
    (void)context, (void)c, (void)code;
    if (*state) {
        sb_deinit(*state);
        free(*state);
        *state = NULL;
    }
}

static int stub_start(struct stub *s)
{
    memset(s, 0, sizeof *s);
    s->classes = 3;
    pthread_mutex_init(&s->lock, NULL);
    s->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION, 0, NULL, NULL,
        stub_handle, s, MHD_OPTION_NOTIFY_COMPLETED, stub_end, NULL, MHD_OPTION_END);
    if (!s->daemon)
        return 0;
    s->port = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    return 1;
}

static void stub_stop(struct stub *s)
{
    atomic_store(&s->stop, true);
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    s->daemon = NULL;
}

#endif
