/* recent.c: a ring of request bodies; see recent.h. */
#include "serve/recent.h"

void recent_init(struct recent *r)
{
    pthread_mutex_init(&r->lock, NULL);
    r->next = 0;
    for (size_t i = 0; i < RECENT_REQUESTS; i++)
        sb_init(&r->bodies[i]);
}

void recent_deinit(struct recent *r)
{
    for (size_t i = 0; i < RECENT_REQUESTS; i++)
        sb_deinit(&r->bodies[i]);
    pthread_mutex_destroy(&r->lock);
}

void recent_keep(struct recent *r, struct str body)
{
    if (body.n == 0 || body.n > RECENT_BYTES || pthread_mutex_trylock(&r->lock) != 0)
        return;
    struct strbuf *slot = &r->bodies[r->next];
    r->next = (r->next + 1) % RECENT_REQUESTS;
    sb_clear(slot);
    sb_add(slot, body.s, body.n);
    if (slot->failed) {
        sb_deinit(slot);
        sb_init(slot);
    }
    pthread_mutex_unlock(&r->lock);
}

bool recent_copy(struct recent *r, size_t i, struct strbuf *out)
{
    sb_clear(out);
    pthread_mutex_lock(&r->lock);
    sb_add(out, r->bodies[i].s, r->bodies[i].n);
    pthread_mutex_unlock(&r->lock);
    return out->n > 0 && !out->failed;
}
