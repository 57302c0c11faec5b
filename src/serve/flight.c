/* flight.c: followers find their leader, and get its answer; flight.h says why. */
#include "serve/classification.h"

#include <string.h>

void flights_init(struct flights *f)
{
    memset(f, 0, sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
}

void flights_deinit(struct flights *f)
{
    pthread_mutex_destroy(&f->lock);
}

/* ---- the table; its lock is held --------------------------------------------------------- */

static struct hash128 hash_of(const struct label_list *l)
{
    return hash_bytes(l->own.n ? l->own.s : "", l->own.n, l->shared_hash);
}

static struct request **bucket_of(struct flights *f, struct hash128 hash)
{
    return &f->buckets[hash.low % FLIGHT_BUCKETS];
}

/* The hash finds, the bytes decide. */
static bool same_question(const struct request *a, const struct request *b)
{
    const struct classification *x = a->classification, *y = b->classification;
    return a->flight.hash.low == b->flight.hash.low &&
           a->flight.hash.high == b->flight.hash.high &&
           x->asked.max_age_ms == y->asked.max_age_ms &&
           x->asked.deadline_ms == y->asked.deadline_ms && label_list_same(&x->list, &y->list);
}

static struct request *leader_of(struct flights *f, const struct request *r)
{
    struct request *l = *bucket_of(f, r->flight.hash);
    while (l && !same_question(l, r))
        l = l->flight.chain;
    return l;
}

static void lead(struct flights *f, struct request *r)
{
    struct request **bucket = bucket_of(f, r->flight.hash);
    r->flight.leads = true;
    r->flight.chain = *bucket;
    r->flight.followers = NULL;
    r->flight.last = &r->flight.followers;
    *bucket = r;
}

static void follow(struct request *leader, struct request *r)
{
    r->flight.leads = false;
    r->flight.next = NULL;
    *leader->flight.last = r;
    leader->flight.last = &r->flight.next;
}

/* Its followers, who have no leader now. */
static struct request *lead_no_more(struct flights *f, struct request *r)
{
    struct request **at = bucket_of(f, r->flight.hash);
    while (*at != r)
        at = &(*at)->flight.chain;
    *at = r->flight.chain;
    r->flight.leads = false;
    return r->flight.followers;
}

/* ---- setting out ------------------------------------------------------------------------- */

static bool goes_alone(const struct classification *c)
{
    return c->asked.explain || c->asked.cache != CACHE_ON || c->list.n == 0;
}

void flight_submit(struct request *r)
{
    struct flights *f = &r->server->flights;
    if (goes_alone(r->classification)) {
        request_submit(r);
        return;
    }
    r->flight.hash = hash_of(&r->classification->list);
    pthread_mutex_lock(&f->lock);
    struct request *leader = leader_of(f, r);
    if (leader) {
        request_suspend(r); /* before the leader's worker can resume it */
        follow(leader, r);
        atomic_fetch_add(&f->followed, 1);
    } else {
        lead(f, r);
        /* A request that finds no room is answered, but it cannot end before this function has:
         * both happen on its connection's thread. */
        if (!request_submit(r))
            lead_no_more(f, r);
    }
    pthread_mutex_unlock(&f->lock);
}

/* ---- landing ----------------------------------------------------------------------------- */

static void share(const struct classification *from, struct request *r)
{
    struct classification *to = r->classification;
    size_t n = to->asked.n_products;
    memcpy(to->results, from->results, n * sizeof *to->results);
    memcpy(to->stored_ms, from->stored_ms, n * sizeof *to->stored_ms);
    to->from_cache = from->from_cache;
    r->pairs_shared = n;
    counters_add(&r->server->counters.pairs_shared, n);
    classification_answer(r);
    request_done(r);
}

/* The first follower tries in its own name; the others follow it, or whoever asked meanwhile.
 */
static void take_over(struct server *s, struct request *first)
{
    struct flights *f = &s->flights;
    struct request *refused = NULL;
    pthread_mutex_lock(&f->lock);
    struct request *leader = leader_of(f, first);
    bool leads = !leader;
    if (leads) {
        leader = first;
        first = first->flight.next;
        lead(f, leader);
    }
    for (struct request *r = first, *next; r; r = next) {
        next = r->flight.next;
        follow(leader, r);
    }
    if (leads && !request_resubmit(leader)) {
        refused = leader;
        refused->flight.next = lead_no_more(f, leader);
    }
    pthread_mutex_unlock(&f->lock);
    for (struct request *r = refused, *next; r; r = next) {
        next = r->flight.next;
        answer_error(r, 429, "busy: too many requests wait already");
        request_done(r);
    }
}

/* What another request would meet, too. */
static bool is_theirs(const struct server *s, medley_status st)
{
    return st == MEDLEY_EINVAL || st == MEDLEY_EFORMAT || st == MEDLEY_EINTERRUPTED ||
           atomic_load(&s->hurrying);
}

void flight_land(struct request *r, medley_status st, const medley_error *err)
{
    struct server *s = r->server;
    pthread_mutex_lock(&s->flights.lock);
    struct request *first = r->flight.leads ? lead_no_more(&s->flights, r) : NULL;
    pthread_mutex_unlock(&s->flights.lock);
    if (first && st && !is_theirs(s, st)) {
        take_over(s, first);
        return;
    }
    for (struct request *f = first, *next; f; f = next) {
        next = f->flight.next;
        if (st) {
            classification_fail(f, st, err);
            request_done(f);
        } else {
            share(r->classification, f);
        }
    }
}
