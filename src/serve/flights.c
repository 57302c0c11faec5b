/* flights.c: see flights.h. Proof: tests/test_serve_cache.c. */
#include "serve/flights.h"

#include "serve/classification.h"

#include <math.h>
#include <string.h>

void flights_init(struct flights *f)
{
    *f = (struct flights){.buckets = {NULL}};
    pthread_mutex_init(&f->lock, NULL);
}

void flights_deinit(struct flights *f)
{
    pthread_mutex_destroy(&f->lock);
}

static struct request **bucket(struct flights *f, const struct classification *c)
{
    return &f->buckets[c->list_hash.low % FLIGHT_BUCKETS];
}

static bool same_text(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.s, b.s, a.n) == 0);
}

/* When its time is over; a leader that may answer in part leads only those who would take that.
 */
static double end_of(const struct classification *c)
{
    return c->asked.deadline_ms > 0 ? c->started + c->asked.deadline_ms / 1e3 : INFINITY;
}

static bool may_follow(const struct classification *a, const struct classification *leader)
{
    double end = end_of(a), leader_end = end_of(leader);
    return a->asked.n_products == leader->asked.n_products &&
           a->asked.explain == leader->asked.explain &&
           (isinf(end) == isinf(leader_end) && leader_end <= end) &&
           same_text(sb_str(&a->shared), sb_str(&leader->shared)) &&
           same_text(sb_str(&a->own), sb_str(&leader->own));
}

bool flights_join(struct flights *f, struct request *r)
{
    const struct classification *c = r->classification;
    if (!c->shared.n)
        return false;
    pthread_mutex_lock(&f->lock);
    struct request **at = bucket(f, c), *leader = *at;
    while (leader && !may_follow(c, leader->classification))
        leader = leader->next_leader;
    if (leader) {
        r->stage = WORKING;
        MHD_suspend_connection(r->connection); /* before the leader's worker can resume it */
        r->follower = leader->follower;
        leader->follower = r;
    } else {
        r->leads = true;
        r->next_leader = *at;
        *at = r;
    }
    pthread_mutex_unlock(&f->lock);
    return leader != NULL;
}

struct request *flights_land(struct flights *f, struct request *r)
{
    if (!r->leads)
        return NULL;
    pthread_mutex_lock(&f->lock);
    struct request **at = bucket(f, r->classification);
    while (*at != r)
        at = &(*at)->next_leader;
    *at = r->next_leader;
    struct request *first = r->follower;
    r->follower = NULL;
    r->leads = false;
    pthread_mutex_unlock(&f->lock);
    return first;
}
