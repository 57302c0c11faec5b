/* ubi.c: User Behavior Insights 1.3 events (JSONL) to query-product relations weighted by how
 * often each happened. Lenient, since logs are: an event that cannot be placed is counted and
 * ignored; only a line that is not JSON stops the import.
 *
 * An event's query is found by its query_id, by its user_query in the event's locale (any
 * locale when it names none), or by a query record (user_query, query_id,
 * query_response_hit_ids) met earlier in the same file. The hits of a query record count as
 * impressions. Tested by test_import.c, fuzz_ubi.c. */
#include "data/importer.h"

#include "base/error.h"
#include "base/memory.h"

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
    size_t action, query_id, user_query, object, object_id, locale, hits;
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

/* Adds one event, or counts why not. */
static medley_status add_event(struct events *e, enum built_relation relation,
                               struct str object, medley_error *err)
{
    uint32_t query, product;
    struct str text = str_trim(table_field(e->t, e->user_query));
    struct str id = str_trim(table_field(e->t, e->query_id));
    resolve(e, object, &query, &product);
    if (query == MAP_NONE)
        issue_add(e->im, ISSUE_EVENT_QUERY, e->t, "query id '%.*s', text '%.*s'", (int)id.n,
                  id.s, (int)text.n, text.s);
    else if (product == MAP_NONE)
        issue_add(e->im, ISSUE_EVENT_PRODUCT, e->t, "'%.*s'", (int)object.n, object.s);
    else if (!edges_add(&e->im->relations[relation], query, product, 1.0f))
        return fail_memory(err, "behaviour relations");
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
        st = action.n ? action_row(e, action, err) : search_row(e, err);
        if (st == MEDLEY_OK)
            st = importer_tick("import events", e->t, row, err);
    }
    return st;
}

medley_status import_events(struct importer *im, medley_error *err)
{
    if (!im->options->events)
        return MEDLEY_OK;
    struct events e = {.im = im};
    medley_status st = table_open(im->options->events, &e.t, err);
    if (st != MEDLEY_OK)
        return st;
    e.searches = map_new(64);
    st = e.searches ? event_rows(&e, err) : fail_memory(err, "searches");
    map_free(e.searches);
    mem_free(e.search_query);
    importer_finish("import events", e.t, st);
    return st;
}
