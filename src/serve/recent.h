/* recent.h: the bodies of the last classifications, to warm a new bundle with. */
#ifndef SERVE_RECENT_H
#define SERVE_RECENT_H

#include "base/str.h"

#include <pthread.h>

#define RECENT_REQUESTS 32
#define RECENT_BYTES 65536 /* longer bodies are not kept */

struct recent {
    pthread_mutex_t lock;
    struct strbuf bodies[RECENT_REQUESTS];
    size_t next;
};

void recent_init(struct recent *r);
void recent_deinit(struct recent *r);
/* Never waits: while another thread is in here, a body is left out. */
void recent_keep(struct recent *r, struct str body);
/* A copy of body i < RECENT_REQUESTS replaces what is in `out`; false: there is none. */
bool recent_copy(struct recent *r, size_t i, struct strbuf *out);

#endif
