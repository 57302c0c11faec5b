/* client.h: asks an inference server over HTTP (libcurl): batches, time limits, retries with
 * exponential backoff and full jitter, a circuit breaker. Threads may share a client. */
#ifndef REMOTE_CLIENT_H
#define REMOTE_CLIENT_H

#include "remote/breaker.h"
#include "remote/protocol.h"

/* Everything is borrowed and outlives the client. Times are milliseconds. */
struct client_options {
    struct protocol protocol;
    const char *url;            /* complete, with .../infer */
    const char *const *headers; /* [n_headers] "Name: value" */
    size_t n_headers;
    const char *token_env; /* the variable's value at opening is sent; or NULL */
    size_t batch;
    double timeout_ms, deadline_ms, backoff_ms;
    unsigned retries;
    unsigned breaker_failures;
    double breaker_open_ms;
    uint64_t seed; /* of the jitter */
};

struct client_counters {
    uint64_t requests; /* sent, retries included */
    uint64_t failures; /* of them */
    uint64_t retries;
    uint64_t refused; /* lists that the open breaker kept back */
    enum breaker_state state;
};

struct client; /* opaque */

/* Does not connect. EINVAL when the environment lacks the token. */
medley_status client_open(const struct client_options *o, struct client **out,
                          medley_error *err);
void client_close(struct client *c);
struct client_counters client_counters(struct client *c);

/* out[n * K] of n pairs, batch after batch. In training (`patient`) each request has its time
 * and the breaker does not matter; while serving the whole list has deadline_ms, and the
 * breaker may refuse it at once. traceparent: a W3C header to pass on, or NULL. Errors: EIO
 * (not reached, timed out, HTTP status, refused), EFORMAT (the reply), ENOMEM, EINTERRUPTED. */
medley_status client_ask(struct client *c, const struct pair_text *pairs, size_t n,
                         const char *traceparent, bool patient, float *out, medley_error *err);

#endif
