/* test_event_time.c: times of events: how they are written, the cut-off, decay, repeated lines,
 * products of one session; by themselves and in an import. */
#include "tests/data_help.h"

#include "data/event_time.h"
#include "data/import.h"
#include "data/relations.h"

static const char *folder;

static void test_times(void)
{
    static const struct {
        const char *text;
        double seconds;
    } good[] = {
        {"1970-01-01", 0},
        {"2024-02-29T12:30:00Z", 1709209800},
        {"2024-02-29T12:30:00.5Z", 1709209800.5},
        {"2024-02-29 12:30", 1709209800},
        {"2024-02-29T21:30:00+09:00", 1709209800},
        {"2024-02-29T07:30:00-0500", 1709209800},
        {"1969-12-31T23:59:59Z", -1},
        {"1709209800", 1709209800},
        {"1709209800500", 1709209800.5},
    };
    static const char *const bad[] = {"",
                                      "t",
                                      "2024-13-01",
                                      "2024-01-32",
                                      "2024-01-01T",
                                      "2024-01-01T25:00",
                                      "2024-01-01T10:00:00X",
                                      "-5",
                                      "2024-01-01T10:00+25:00",
                                      "1e99"};
    double t;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ok(event_time_parse(str_of(good[i].text), &t) && fabs(t - good[i].seconds) < 1e-6,
           "'%s'", good[i].text);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ok(!event_time_parse(str_of(bad[i]), &t), "'%s' is no time", bad[i]);
}

static void test_decay(void)
{
    struct decay d = {.half_life = 10}, none = {0};
    float w[4];
    ok(decay_weight(&d, 100, &w[0]) && decay_weight(&d, 120, &w[1]) &&
           decay_weight(&d, 110, &w[2]),
       "weights");
    double scale = decay_scale(&d);
    ok(fabs(w[0] * scale - 0.25) < 1e-6 && fabs(w[1] * scale - 1) < 1e-6 &&
           fabs(w[2] * scale - 0.5) < 1e-6,
       "halve every half-life; the last event weighs 1");
    ok(!decay_weight(&d, 100 + 10 * 101, &w[3]), "too long a log is noticed");
    ok(decay_weight(&none, 5, &w[3]) && w[3] == 1 && decay_scale(&none) == 1,
       "without a half-life nothing decays");
}

static struct hash128 hash_of(uint64_t i)
{
    return hash_bytes(&i, sizeof i, (struct hash128){1, 2});
}

static void test_windows(void)
{
    struct repeats r;
    struct sessions s;
    uint32_t met[SESSION_PRODUCTS];
    size_t wrong = 0;
    if (!repeats_init(&r) || !sessions_init(&s))
        abort();
    for (uint64_t i = 0; i < 1000; i++)
        wrong += repeats_note(&r, hash_of(i));
    for (uint64_t i = 0; i < 1000; i++)
        wrong += !repeats_note(&r, hash_of(i));
    ok(wrong < 4, "lines that come again are noticed, new ones are not (%zu)", wrong);
    ok(sessions_meet(&s, hash_of(1), 7, met) == 0 &&
           sessions_meet(&s, hash_of(1), 8, met) == 1 && met[0] == 7,
       "the second product of a session meets the first");
    ok(sessions_meet(&s, hash_of(2), 9, met) == 0, "another session has none");
    ok(sessions_meet(&s, hash_of(1), 8, met) == 0, "the same one meets nobody again");
    for (uint32_t p = 100; p < 140; p++)
        wrong += sessions_meet(&s, hash_of(3), p, met) >
                 (p - 100 < SESSION_PRODUCTS ? p - 100 : SESSION_PRODUCTS);
    ok(sessions_meet(&s, hash_of(3), 500, met) == SESSION_PRODUCTS, "sixteen are remembered");
    repeats_deinit(&r);
    sessions_deinit(&s);
}

/* ---- an import ----------------------------------------------------------------------------
 */

static void write_file(const char *name, const char *text)
{
    if (file_write(at(folder, name), text, strlen(text), NULL))
        abort();
}

static float weight_of(const char *relation, uint32_t source, uint32_t target)
{
    struct relations r;
    float weight = 0;
    if (relations_open(at(folder, "out"), &r, NULL))
        abort();
    const struct relation *x = relations_find(&r, relation);
    for (size_t i = 0; x && i < x->n; i++)
        if (x->source[i] == source && x->target[i] == target)
            weight = x->weight ? x->weight[i] : 1;
    relations_close(&r);
    return weight;
}

static void import_with(const char *until, double half_life)
{
    static char paths[3][128];
    medley_error err;
    snprintf(paths[0], sizeof paths[0], "%s", at(folder, "examples.csv"));
    snprintf(paths[1], sizeof paths[1], "%s", at(folder, "products.csv"));
    snprintf(paths[2], sizeof paths[2], "%s", at(folder, "events.jsonl"));
    struct import_options o = {.examples = paths[0],
                               .products = paths[1],
                               .events = paths[2],
                               .events_until = until,
                               .events_half_life = half_life};
    if (dataset_import(&o, at(folder, "out"), &err)) {
        printf("Bail out! %s\n", err.message);
        exit(1);
    }
}

#define EVENT(action, time, session, product)                                              \
    "{\"action_name\":\"" action "\",\"timestamp\":\"" time "\",\"session_id\":\"" session \
    "\",\"query_id\":\"1\",\"event_attributes\":{\"object\":{\"object_id\":\"" product     \
    "\"}}}\n"

static void test_import(void)
{
    write_file("products.csv", "product_id,product_title\np0,mug\np1,cup\np2,pot\n");
    write_file("examples.csv", "example_id,query,query_id,product_id,esci_label,split\n"
                               "1,mug,1,p0,E,train\n2,tea,2,p1,E,test\n");
    write_file("events.jsonl",
               EVENT("click", "2024-05-01T00:00:00Z", "a", "p0")
                   EVENT("click", "2024-05-01T00:00:00Z", "a", "p0")
                       EVENT("click", "2024-05-11T00:00:00Z", "a", "p1")
                           EVENT("purchase", "2024-05-11T00:00:00Z", "a", "p1")
                               EVENT("purchase", "2024-05-21T00:00:00Z", "b", "p2")
                                   EVENT("purchase", "2024-05-21T01:00:00Z", "b", "p1"));
    import_with(NULL, 0);
    ok(weight_of("clicks", 0, 0) == 1, "a repeated line counts once");
    ok(weight_of("co-viewed", 0, 1) == 1 && weight_of("co-purchased", 1, 2) == 1 &&
           weight_of("co-purchased", 0, 1) == 0,
       "products meet in their session, by what was done");
    import_with("2024-05-15", 0);
    ok(weight_of("purchases", 0, 1) == 1 && weight_of("purchases", 0, 2) == 0 &&
           weight_of("co-purchased", 1, 2) == 0,
       "nothing after the cut-off counts");
    import_with("2024-05-21T00:00:00Z", 10);
    ok(fabsf(weight_of("purchases", 0, 2) - 1) < 1e-5f &&
           fabsf(weight_of("clicks", 0, 1) - 0.5f) < 1e-5f &&
           fabsf(weight_of("clicks", 0, 0) - 0.25f) < 1e-5f,
       "older events weigh less");
}

int main(void)
{
    char own[64];
    snprintf(own, sizeof own, "%s", tap_folder());
    folder = own;
    test_times();
    test_decay();
    test_windows();
    test_import();
    return tap_done();
}
