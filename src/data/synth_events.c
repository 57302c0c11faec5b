/* synth_events.c: what people do in the synthetic shop. A session shows ten products in a noisy
 * order of true relevance; a person looks at rank k with a chance that falls with k whatever is
 * there, and clicks, adds and buys by true relevance (a position-based click model: Richardson
 * et al. 2007, Chuklin et al. 2015). A product that was looked at is an impression. Tested by
 * test_synth.c. */
#include "data/synth_world.h"

#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

enum { SHOWN = 10, POOL_LIMIT = 512 };

/* By true label E, S, C, I. */
static const double affinity[4] = {2.0, 1.4, 0.8, 0.0};
static const double click_chance[4] = {0.32, 0.14, 0.09, 0.02};
static const double add_chance[4] = {0.35, 0.15, 0.25, 0.03};     /* of those who clicked */
static const double purchase_chance[4] = {0.50, 0.30, 0.45, 0.1}; /* of those who added */
static const double order_noise = 0.8;

struct shown {
    double score;
    uint32_t product;
    int label;
};

static int by_score(const void *a, const void *b)
{
    const struct shown *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->product < y->product ? -1 : x->product > y->product;
}

struct session {
    uint64_t number;
    time_t clock;
};

static void add_event(const struct synth_search *s, struct session *session, const char *action,
                      uint32_t product, int rank, struct strbuf *out)
{
    char when[32];
    struct tm t;
    session->clock += 1 + (time_t)(product % 7);
    gmtime_r(&session->clock, &t);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &t);
    sb_addf(out,
            "{\"action_name\":\"%s\",\"timestamp\":\"%s\",\"query_id\":\"%zu\",\"session_id\":"
            "\"s%llu\","
            "\"client_id\":\"c%llu\",\"user_query\":",
            action, when, s->query_number, (unsigned long long)session->number,
            (unsigned long long)(mix64(s->world->options.seed, session->number, 3) % 100000));
    struct json_writer w;
    jw_init(&w, out, false);
    jw_text(&w, s->text);
    sb_addz(out, ",\"event_attributes\":{\"object\":{\"object_id\":\"");
    synth_product_id(product, out);
    sb_addf(out, "\",\"object_id_field\":\"product_id\"},\"position\":{\"ordinal\":%d}}}\n",
            rank);
}

static void visit(const struct synth_search *s, struct session *session,
                  const struct shown *shown, int rank, struct rng *r, struct strbuf *out)
{
    if (rng_uniform(r) >= 0.95 * pow(rank, -0.6))
        return; /* not looked at */
    add_event(s, session, "impression", shown->product, rank, out);
    if (rng_uniform(r) >= click_chance[shown->label])
        return;
    add_event(s, session, "click", shown->product, rank, out);
    if (rng_uniform(r) >= add_chance[shown->label])
        return;
    add_event(s, session, "add_to_cart", shown->product, rank, out);
    if (rng_uniform(r) < purchase_chance[shown->label])
        add_event(s, session, "purchase", shown->product, rank, out);
}

void synth_sessions(const struct synth_search *s, struct strbuf *line, FILE *out)
{
    static const time_t opening = 1704067200; /* 2024-01-01; sessions spread over 30 days */
    struct shown list[POOL_LIMIT];
    size_t n = s->n_pool < POOL_LIMIT ? s->n_pool : POOL_LIMIT;
    for (uint64_t i = 0; i < s->n; i++) {
        struct rng r;
        struct session session = {.number = s->first + i};
        synth_rng(s->world, STREAM_SESSION, session.number, &r);
        session.clock = opening + (time_t)rng_below(&r, 30 * 86400);
        for (size_t k = 0; k < n; k++) {
            list[k].product = s->pool[k];
            list[k].label = synth_label(s->query, &s->world->products[s->pool[k]]);
            list[k].score = affinity[list[k].label] + order_noise * rng_normal(&r);
        }
        qsort(list, n, sizeof *list, by_score);
        sb_clear(line);
        for (int k = 0; k < SHOWN && (size_t)k < n; k++)
            visit(s, &session, &list[k], k + 1, &r, line);
        fwrite(line->s, 1, line->n, out);
    }
}
