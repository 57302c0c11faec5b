/* ubi.c: User Behavior Insights 1.3 events (JSONL) to query-product relations weighted by how
 * often each happened. Lenient, since logs are: an event that cannot be placed is counted and
 * ignored; only a line that is not JSON stops the import.
 *
 * An event's query is found by its query_id, by its user_query in the event's locale (any
 * locale when it names none), or by a query record (user_query, query_id,
 * query_response_hit_ids) met earlier in the same file. The hits of a query record count as
 * impressions. Tested by test_import.c, fuzz_ubi.c. */
#include "data/event_time.h"
#include "data/importer.h"

#include "base/error.h"
#include "base/memory.h"

#include <float.h>
#include <math.h>
#include <strings.h>

static const struct {
    const char *action;
    enum built_relation relation;
} actions[] = {
    {"impression", BUILT_IMPRESSIONS}, {"click", BUILT_CLICKS},   {"add_to_cart", BUILT_ADDS},
    {"purchase", BUILT_PURCHASES},     {"watch", BUILT_CONSUMES}, {"view", BUILT_CONSUMES},
};

struct events {
    struct importer *im;
    struct table *t;
    size_t action, query_id, user_query, object, object_id, locale, hits, time, session, client;
    bool timed;   /* a cut-off or decay was asked for */
    double until; /* seconds; INFINITY: no cut-off */
    struct decay decay;
    struct repeats repeats;
    struct sessions viewed, purchased;
    struct map *searches;   /* query_id of a query record -> row of search_query */
    uint32_t *search_query; /* a dataset query */
    size_t search_capacity;
};

static void find_columns(struct events *e)
{
    e->action = table_find(e->t, "action_name");
    e->query_id = table_find(e->t, "query_id");
    e->user_query = table_find(e->t, "user_query");
    e->object = table_find(e->t, "event_attributes.object.object_id");
    e->object_id = table_find(e->t, "object_id");
    e->locale = table_find(e->t, "locale");
    e->hits = table_find(e->t, "query_response_hit_ids");
    e->time = table_find(e->t, "timestamp");
    e->session = table_find(e->t, "session_id");
    e->client = table_find(e->t, "client_id");
}

/* The query of a locale that this line names, or MAP_NONE. */
static uint32_t query_in(struct events *e, uint8_t locale, struct str id, struct str text)
{
    struct importer *im = e->im;
    uint32_t row = id.n ? importer_find(im, im->query_ids, locale, id) : MAP_NONE;
    if (row != MAP_NONE)
        return im->id_rows[row].query;
    return text.n ? importer_find(im, im->queries, locale, text) : MAP_NONE;
}

/* Finds the query of the current line and, in its locale, the product `object` (unless empty).
 * The same id or text may stand in several locales: the one that knows the product wins. */
static void resolve(struct events *e, struct str object, uint32_t *query, uint32_t *product)
{
    struct importer *im = e->im;
    struct str id = str_trim(table_field(e->t, e->query_id));
    struct str text = str_trim(table_field(e->t, e->user_query));
    struct str tag = str_trim(table_field(e->t, e->locale));
    uint32_t only = tag.n ? map_find(im->locales, tag) : MAP_NONE;
    *query = *product = MAP_NONE;
    for (uint32_t l = 0; l < map_count(im->locales); l++) {
        uint32_t q =
            only == MAP_NONE || only == l ? query_in(e, (uint8_t)l, id, text) : MAP_NONE;
        if (q == MAP_NONE)
            continue;
        if (*query == MAP_NONE)
            *query = q;
        *product = importer_find(im, im->products, (uint8_t)l, object);
        if (*product != MAP_NONE || object.n == 0) {
            *query = q;
            return;
        }
    }
    uint32_t search = *query == MAP_NONE ? map_find(e->searches, id) : MAP_NONE;
    if (search != MAP_NONE) {
        *query = e->search_query[search];
        *product = importer_find(im, im->products, im->query_rows[*query].locale, object);
    }
}

/* ---- time and sessions --------------------------------------------------------------------
 */

static struct hash128 hash_field(struct events *e, size_t column, struct hash128 seed)
{
    struct str f = str_trim(table_field(e->t, column));
    return hash_bytes(f.n ? f.s : "", f.n, hash_bytes(&f.n, sizeof f.n, seed));
}

/* Lines without a time may be equal and yet different events. */
static bool is_repeated(struct events *e)
{
    const size_t columns[] = {e->action, e->query_id, e->user_query, e->object, e->object_id,
                              e->locale, e->session,  e->client,     e->time};
    struct hash128 h = {0, 0};
    if (str_trim(table_field(e->t, e->time)).n == 0)
        return false;
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        h = hash_field(e, columns[i], h);
    if (!repeats_note(&e->repeats, h))
        return false;
    issue_add(e->im, ISSUE_EVENT_REPEATED, e->t, "the same action at the same time");
    return true;
}

/* The weight of the current line; false: it does not count. */
static bool weigh(struct events *e, float *weight)
{
    struct str text = str_trim(table_field(e->t, e->time));
    double time;
    *weight = 1;
    if (!e->timed)
        return true;
    if (!event_time_parse(text, &time)) {
        issue_add(e->im, ISSUE_EVENT_TIME, e->t, "'%.*s'", (int)text.n, text.s);
        return false;
    }
    if (time > e->until) {
        issue_add(e->im, ISSUE_EVENT_LATE, e->t, "%.*s", (int)text.n, text.s);
        return false;
    }
    if (decay_weight(&e->decay, time, weight))
        return true;
    issue_add(e->im, ISSUE_EVENT_TIME, e->t, "%.*s is 100 half-lives from the first event",
              (int)text.n, text.s);
    return false;
}

/* Joins the product with those that its session met before. */
static medley_status meet(struct events *e, enum built_relation relation, uint32_t product,
                          float weight, medley_error *err)
{
    bool bought = relation == BUILT_PURCHASES;
    uint32_t met[SESSION_PRODUCTS];
    struct hash128 none = {0, 0};
    if (str_trim(table_field(e->t, e->session)).n == 0 ||
        (!bought && relation != BUILT_CLICKS && relation != BUILT_CONSUMES))
        return MEDLEY_OK;
    struct hash128 session = hash_field(e, e->session, none);
    size_t n = sessions_meet(bought ? &e->purchased : &e->viewed, session, product, met);
    struct edges *edges = &e->im->relations[bought ? BUILT_CO_PURCHASED : BUILT_CO_VIEWED];
    for (size_t i = 0; i < n; i++)
        if (!edges_add_pair(edges, met[i], product, weight))
            return fail_memory(err, "behaviour relations");
    return MEDLEY_OK;
}

/* Adds one event, or counts why not. */
static medley_status add_event(struct events *e, enum built_relation relation,
                               struct str object, medley_error *err)
{
    uint32_t query, product;
    float weight;
    struct str text = str_trim(table_field(e->t, e->user_query));
    struct str id = str_trim(table_field(e->t, e->query_id));
    resolve(e, object, &query, &product);
    if (query == MAP_NONE)
        issue_add(e->im, ISSUE_EVENT_QUERY, e->t, "query id '%.*s', text '%.*s'", (int)id.n,
                  id.s, (int)text.n, text.s);
    else if (product == MAP_NONE)
        issue_add(e->im, ISSUE_EVENT_PRODUCT, e->t, "'%.*s'", (int)object.n, object.s);
    else if (!weigh(e, &weight))
        return MEDLEY_OK;
    else if (!edges_add(&e->im->relations[relation], query, product, weight))
        return fail_memory(err, "behaviour relations");
    else
        return meet(e, relation, product, weight, err);
    return MEDLEY_OK;
}

static medley_status action_row(struct events *e, struct str action, medley_error *err)
{
    struct str object = str_trim(table_field(e->t, e->object));
    if (object.n == 0)
        object = str_trim(table_field(e->t, e->object_id));
    bool has_query = table_field(e->t, e->query_id).n || table_field(e->t, e->user_query).n;
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        struct str known = str_of(actions[i].action);
        if (known.n != action.n || strncasecmp(known.s, action.s, action.n) != 0)
            continue;
        if (object.n && has_query)
            return add_event(e, actions[i].relation, object, err);
        issue_add(e->im, ISSUE_EVENT_FIELDS, e->t, "'%s' without %s", actions[i].action,
                  object.n ? "a query" : "an object");
        return MEDLEY_OK;
    }
    issue_add(e->im, ISSUE_EVENT_ACTION, e->t, "'%.*s'", (int)action.n, action.s);
    return MEDLEY_OK;
}

/* Remembers which query a search was for, so that later events need only name the search. */
static medley_status note_search(struct events *e, medley_error *err)
{
    struct str id = str_trim(table_field(e->t, e->query_id));
    uint32_t query, product;
    resolve(e, (struct str){"", 0}, &query, &product);
    if (id.n == 0 || query == MAP_NONE)
        return MEDLEY_OK;
    uint32_t row = map_add(e->searches, id, NULL);
    if (row == MAP_NONE || !mem_reserve(&e->search_query, &e->search_capacity, (size_t)row + 1,
                                        sizeof *e->search_query))
        return fail_memory(err, "searches");
    e->search_query[row] = query;
    return MEDLEY_OK;
}

static medley_status search_row(struct events *e, medley_error *err)
{
    struct str hits = table_field(e->t, e->hits);
    if (!table_field(e->t, e->user_query).n) {
        issue_add(e->im, ISSUE_EVENT_FIELDS, e->t, "no 'action_name'");
        return MEDLEY_OK;
    }
    medley_status st = note_search(e, err);
    while (st == MEDLEY_OK && hits.n) { /* an array arrives with one value a line */
        size_t n = 0;
        while (n < hits.n && hits.s[n] != '\n')
            n++;
        struct str object = str_trim((struct str){hits.s, n});
        if (object.n)
            st = add_event(e, BUILT_IMPRESSIONS, object, err);
        n += n < hits.n;
        hits = (struct str){hits.s + n, hits.n - n};
    }
    return st;
}

static medley_status event_rows(struct events *e, medley_error *err)
{
    bool more = true;
    medley_status st = MEDLEY_OK;
    find_columns(e);
    for (uint64_t row = 0; st == MEDLEY_OK && more; row++) {
        st = table_next(e->t, &more, err);
        if (st != MEDLEY_OK || !more)
            break;
        struct str action = str_trim(table_field(e->t, e->action));
        if (!action.n)
            st = search_row(e, err);
        else if (!is_repeated(e))
            st = action_row(e, action, err);
        if (st == MEDLEY_OK)
            st = importer_tick("import events", e->t, row, err);
    }
    return st;
}

static medley_status start_events(struct events *e, medley_error *err)
{
    const struct import_options *o = e->im->options;
    e->until = INFINITY;
    e->decay.half_life = o->events_half_life * 86400;
    e->timed = o->events_until || o->events_half_life > 0;
    if (o->events_until && !event_time_parse(str_of(o->events_until), &e->until))
        return fail(err, MEDLEY_EINVAL,
                    "events_until: '%s' is no time (like 2024-05-01 or 2024-05-01T12:00:00Z)",
                    o->events_until);
    e->searches = map_new(64);
    bool good = repeats_init(&e->repeats);
    good = sessions_init(&e->viewed) && good;
    good = sessions_init(&e->purchased) && good;
    return e->searches && good ? table_open(o->events, &e->t, err) : fail_memory(err, "events");
}

/* The relations of behaviour: weights so that the last event's is 1. */
static void scale_weights(struct events *e)
{
    static const enum built_relation timed[] = {
        BUILT_IMPRESSIONS, BUILT_CLICKS,    BUILT_ADDS,        BUILT_PURCHASES,
        BUILT_CONSUMES,    BUILT_CO_VIEWED, BUILT_CO_PURCHASED};
    double scale = decay_scale(&e->decay);
    for (size_t i = 0; scale != 1 && i < sizeof timed / sizeof *timed; i++) {
        struct edges *edges = &e->im->relations[timed[i]];
        for (size_t k = 0; k < edges->n; k++) /* forgotten altogether below the least float */
            edges->items[k].weight = fmaxf((float)(edges->items[k].weight * scale), FLT_MIN);
    }
}

medley_status import_events(struct importer *im, medley_error *err)
{
    if (!im->options->events)
        return MEDLEY_OK;
    struct events e = {.im = im};
    medley_status st = start_events(&e, err);
    if (st == MEDLEY_OK) {
        st = event_rows(&e, err);
        scale_weights(&e);
        importer_finish("import events", e.t, st);
    }
    map_free(e.searches);
    mem_free(e.search_query);
    repeats_deinit(&e.repeats);
    sessions_deinit(&e.viewed);
    sessions_deinit(&e.purchased);
    return st;
}
