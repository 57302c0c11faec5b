/* epochs.c: a table of products' epochs by open addressing; epochs.h says what for. */
#include "cache/epochs.h"

#include "base/memory.h"

#include <pthread.h>
#include <stdatomic.h>

#define FIRST_SLOTS 64

struct slot {
    struct hash128 product;
    uint64_t epoch; /* 0: empty */
};

struct epochs {
    pthread_rwlock_t lock;
    struct slot *slots; /* [n_slots], a power of two, at most half full */
    size_t n_slots, n;
    uint64_t everything;       /* of products that have none of their own */
    atomic_uint_least64_t top; /* the largest; 0: there is nothing to look up */
};

const struct hash128 epochs_everything = {0, 0};

struct epochs *epochs_new(void)
{
    struct epochs *e = mem_zalloc(1, sizeof *e);
    if (!e || !(e->slots = mem_zalloc(FIRST_SLOTS, sizeof *e->slots))) {
        mem_free(e);
        return NULL;
    }
    e->n_slots = FIRST_SLOTS;
    pthread_rwlock_init(&e->lock, NULL);
    return e;
}

void epochs_free(struct epochs *e)
{
    if (!e)
        return;
    pthread_rwlock_destroy(&e->lock);
    mem_free(e->slots);
    mem_free(e);
}

struct hash128 epochs_hash(struct str id)
{
    return hash_bytes(id.n ? id.s : "", id.n, (struct hash128){1, 1});
}

static struct slot *slot_of(struct slot *slots, size_t n_slots, struct hash128 product)
{
    size_t at = product.low & (n_slots - 1);
    while (slots[at].epoch &&
           (slots[at].product.low != product.low || slots[at].product.high != product.high))
        at = (at + 1) & (n_slots - 1);
    return &slots[at];
}

uint64_t epochs_of(struct epochs *e, struct str id)
{
    if (atomic_load(&e->top) == 0) /* the usual case */
        return 0;
    struct hash128 product = epochs_hash(id);
    pthread_rwlock_rdlock(&e->lock);
    uint64_t own = slot_of(e->slots, e->n_slots, product)->epoch;
    uint64_t epoch = own > e->everything ? own : e->everything;
    pthread_rwlock_unlock(&e->lock);
    return epoch;
}

uint64_t epochs_next(struct epochs *e, int64_t now_ms)
{
    uint64_t top = atomic_load(&e->top), next;
    do
        next = now_ms > 0 && (uint64_t)now_ms > top ? (uint64_t)now_ms : top + 1;
    while (!atomic_compare_exchange_weak(&e->top, &top, next));
    return next;
}

static bool grow(struct epochs *e)
{
    size_t n_slots = e->n_slots * 2;
    struct slot *larger = n_slots > 2 * EPOCHS_MAX ? NULL : mem_zalloc(n_slots, sizeof *larger);
    if (!larger)
        return false;
    for (size_t i = 0; i < e->n_slots; i++)
        if (e->slots[i].epoch)
            *slot_of(larger, n_slots, e->slots[i].product) = e->slots[i];
    mem_free(e->slots);
    e->slots = larger;
    e->n_slots = n_slots;
    return true;
}

static void raise_everything(struct epochs *e, uint64_t epoch)
{
    if (epoch <= e->everything)
        return;
    e->everything = epoch;
    /* Emptying single slots would break chains: all go, the few that are newer come back. */
    struct slot *old = e->slots, *fresh = mem_zalloc(e->n_slots, sizeof *fresh);
    if (!fresh) /* they stay, below `everything`, and do no harm */
        return;
    e->slots = fresh;
    e->n = 0;
    for (size_t i = 0; i < e->n_slots; i++) {
        if (old[i].epoch <= epoch)
            continue;
        *slot_of(fresh, e->n_slots, old[i].product) = old[i];
        e->n++;
    }
    mem_free(old);
}

void epochs_set(struct epochs *e, struct hash128 product, uint64_t epoch, bool *everything)
{
    uint64_t top = atomic_load(&e->top);
    *everything = product.low == 0 && product.high == 0;
    while (top < epoch && !atomic_compare_exchange_weak(&e->top, &top, epoch))
        ;
    pthread_rwlock_wrlock(&e->lock);
    struct slot *s = slot_of(e->slots, e->n_slots, product);
    if (!*everything && !s->epoch) {
        if (2 * (e->n + 1) > e->n_slots) {
            *everything = !grow(e);
            s = slot_of(e->slots, e->n_slots, product);
        }
        e->n += !*everything;
    }
    if (*everything)
        raise_everything(e, epoch);
    else if (epoch > s->epoch)
        *s = (struct slot){product, epoch};
    pthread_rwlock_unlock(&e->lock);
}

void epochs_each(struct epochs *e, void (*visit)(void *, struct hash128, uint64_t),
                 void *context)
{
    pthread_rwlock_rdlock(&e->lock);
    if (e->everything)
        visit(context, epochs_everything, e->everything);
    for (size_t i = 0; i < e->n_slots; i++)
        if (e->slots[i].epoch)
            visit(context, e->slots[i].product, e->slots[i].epoch);
    pthread_rwlock_unlock(&e->lock);
}
