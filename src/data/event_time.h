/* event_time.h: when behaviour happened, and what follows from it: a cut-off, decay, repeated
 * lines, products met in one session. Memory is bounded by the windows below, whatever the
 * log's length. Private to src/data. Proof: tests/test_event_time.c. */
#ifndef DATA_EVENT_TIME_H
#define DATA_EVENT_TIME_H

#include "base/file.h"
#include "base/str.h"

/* "2024-05-01", "2024-05-01T12:30:00.5Z", "...+09:00" (no zone: UTC), or seconds or
 * milliseconds since 1970; seconds since 1970. */
bool event_time_parse(struct str text, double *out);

/* Weights that halve every `half_life` seconds. As the log's last time is known at its end
 * only, weights grow with time from 1 at the first, and decay_scale at the end makes the latest
 * weigh 1. */
struct decay {
    double half_life; /* 0: every weight is 1 */
    double first, last;
    bool begun;
};
/* False: more than 100 half-lives lie between this time and the first. */
bool decay_weight(struct decay *d, double time, float *out);
double decay_scale(const struct decay *d);

/* Lines that come again within the last REPEAT_WINDOW different ones. */
#define REPEAT_WINDOW (UINT32_C(1) << 20)
struct repeats {
    uint64_t *seen; /* [REPEAT_WINDOW], by hash; a newer line takes an older one's place */
};
bool repeats_init(struct repeats *r);
void repeats_deinit(struct repeats *r);
bool repeats_note(struct repeats *r, struct hash128 line); /* true: seen before */

/* The last SESSION_PRODUCTS products of each of the last sessions. */
#define SESSIONS (UINT32_C(1) << 16)
#define SESSION_PRODUCTS 16
struct session_window {
    uint64_t key;
    uint32_t n, next;
    uint32_t products[SESSION_PRODUCTS];
};
struct sessions {
    struct session_window
        *items; /* [SESSIONS] by hash; a newer session takes an older one's place */
};
bool sessions_init(struct sessions *s);
void sessions_deinit(struct sessions *s);
/* Writes the products met before in this session, other than `product`, each once, to
 * met[SESSION_PRODUCTS], and remembers this one. How many. */
size_t sessions_meet(struct sessions *s, struct hash128 session, uint32_t product,
                     uint32_t *met);

#endif
