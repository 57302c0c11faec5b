/* outbox.c: the queue before a slow tier; see outbox.h. */
#include "cache/outbox.h"

#include "base/memory.h"
#include "cache/label_record.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

struct outbox {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct outbox_item *first, **last;
    size_t items, bytes, max_bytes, enough;
    bool hurried;
};

struct outbox *outbox_new(size_t bytes)
{
    pthread_condattr_t monotonic;
    struct outbox *o = mem_zalloc(1, sizeof *o);
    if (!o)
        return NULL;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    o->last = &o->first;
    o->max_bytes = bytes;
    o->enough = SIZE_MAX;
    return o;
}

void outbox_free(struct outbox *o)
{
    if (!o)
        return;
    for (struct outbox_item *i = o->first, *next; i; i = next) {
        next = i->next;
        mem_free(i);
    }
    pthread_cond_destroy(&o->wake);
    pthread_mutex_destroy(&o->lock);
    mem_free(o);
}

bool outbox_add(struct outbox *o, uint64_t bundle, const struct label_key *key,
                const struct label *label, size_t n_classes)
{
    char record[LABEL_RECORD_MAX];
    size_t n = label_record_write(record, key, label, n_classes);
    struct outbox_item *item = n ? mem_alloc(1, sizeof *item + n) : NULL;
    if (!item)
        return false;
    *item = (struct outbox_item){NULL, bundle, key->hash, label->stored_ms, n};
    memcpy(item->record, record, n);
    pthread_mutex_lock(&o->lock);
    bool room = o->bytes + sizeof *item + n <= o->max_bytes;
    if (room) {
        *o->last = item;
        o->last = &item->next;
        o->items++;
        o->bytes += sizeof *item + n;
        if (o->bytes >= o->enough)
            pthread_cond_signal(&o->wake);
    }
    pthread_mutex_unlock(&o->lock);
    if (!room)
        mem_free(item);
    return room;
}

struct outbox_item *outbox_take(struct outbox *o, size_t enough, unsigned wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    until.tv_sec += wait_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&o->lock);
    o->enough = enough;
    while (o->bytes < enough && !o->hurried &&
           pthread_cond_timedwait(&o->wake, &o->lock, &until) == 0)
        ;
    struct outbox_item *all = o->first;
    o->first = NULL;
    o->last = &o->first;
    o->items = o->bytes = 0;
    o->enough = SIZE_MAX;
    o->hurried = false;
    pthread_mutex_unlock(&o->lock);
    return all;
}

void outbox_hurry(struct outbox *o)
{
    pthread_mutex_lock(&o->lock);
    o->hurried = true;
    pthread_cond_signal(&o->wake);
    pthread_mutex_unlock(&o->lock);
}

size_t outbox_waiting(struct outbox *o)
{
    pthread_mutex_lock(&o->lock);
    size_t n = o->items;
    pthread_mutex_unlock(&o->lock);
    return n;
}
