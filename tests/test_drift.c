/* test_drift.c: shares of probabilities: kept in a file, read strictly, compared with live
 * ones. */
#include "base/file.h"
#include "base/memory.h"
#include "base/rng.h"
#include "serve/drift_watch.h"
#include "tests/plugged_shop.h"
#include "tests/tap.h"

#include <math.h>

static const char *const names[] = {"one"}, *const classes[] = {"good", "bad"};

static void write_shares(const char *folder, const char *edges, const char *shares)
{
    char text[600];
    snprintf(text, sizeof text,
             "{\"one\": {\"missing\": 0.25, \"good\": {\"edges\": [%s], \"shares\": [%s]}, "
             "\"bad\": {\"edges\": [%s], \"shares\": [%s]}}}",
             edges, shares, edges, shares);
    put(folder, "drift.json", text);
}

#define EDGES "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9"
#define TENTHS "0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1"

static struct drift_reference *read_back(const char *folder)
{
    struct drift_reference *d = NULL;
    medley_error err = {0};
    medley_status st = drift_read(at(folder, "drift.json"), names, 1, classes, 2, &d, &err);
    if (st)
        printf("# %s\n", err.message);
    return st ? NULL : d;
}

static void test_reading(const char *folder)
{
    write_shares(folder, EDGES, TENTHS);
    struct drift_reference *d = read_back(folder);
    ok(d && d->missing[0] == 0.25f && d->bins[1].edges[8] == 0.9f, "what is right is read");
    mem_free(d);
    static const char *const bad[][2] = {{"0.1", TENTHS},
                                         {"0.2,0.1,0.3,0.4,0.5,0.6,0.7,0.8,0.9", TENTHS},
                                         {EDGES, "0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.9"},
                                         {EDGES, "0.1"},
                                         {EDGES, "-1,2,0,0,0,0,0,0,0,0"},
                                         {"null,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9", TENTHS}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_shares(folder, bad[i][0], bad[i][1]);
        d = read_back(folder);
        ok(!d, "what is wrong is refused");
        mem_free(d);
    }
}

/* By the definition, on numbers that a reader can follow. */
static void test_index(void)
{
    struct drift_bins b = {.edges = {.1f, .2f, .3f, .4f, .5f, .6f, .7f, .8f, .9f}};
    uint32_t live[DRIFT_BINS];
    for (size_t i = 0; i < DRIFT_BINS; i++) {
        b.share[i] = 0.1f;
        live[i] = 1000;
    }
    ok(drift_bin(&b, 0) == 0 && drift_bin(&b, 0.1f) == 1 && drift_bin(&b, 1) == 9, "bins");
    ok(drift_index(&b, live) < 1e-9, "the same shares: 0");
    for (size_t i = 0; i < DRIFT_BINS; i++)
        live[i] = i < 5 ? 1500 : 500;
    double expected = 5 * (0.05 * log(1.5)) + 5 * (-0.05 * log(0.5));
    ok(fabs(drift_index(&b, live) - expected) < 1e-3,
       "half as many above the middle: %.4f is %.4f", drift_index(&b, live), expected);
}

static double psi(struct drift_watch *d)
{
    struct strbuf out;
    sb_init(&out);
    drift_watch_metrics(d, &out);
    const char *found = strstr(out.s, "medley_drift_psi{model=\"one\"} ");
    double v = found ? atof(found + 31) : NAN;
    sb_deinit(&out);
    return v;
}

static void feed(struct drift_watch *d, struct rng *r, int pairs, double power)
{
    for (int i = 0; i < pairs; i++) {
        double u = (double)rng_below(r, 1 << 24) / (1 << 24);
        float p = (float)pow(u, power), said[2] = {p, 1 - p};
        medley_result result = {.label = p < 0.5f};
        drift_watch_add(d, &result, said, 1);
    }
}

static void test_watch(const char *folder)
{
    write_shares(folder, EDGES, TENTHS);
    struct drift_reference *reference = read_back(folder);
    struct engine e = {.n_classes = 2,
                       .n_models = 1,
                       .classes = {"good", "bad"},
                       .models = {"one"},
                       .drift = reference};
    struct drift_watch *d = drift_watch_new(&e);
    struct rng r;
    rng_init(&r, 3, 0);
    ok(d && isnan(psi(d)), "nothing judged, nothing told");
    feed(d, &r, 20000, 1);
    ok(psi(d) < 0.01, "as in training: %.4f", psi(d));
    feed(d, &r, 20000, 2);
    double half = psi(d);
    feed(d, &r, 20000, 2);
    ok(half > 0.02 && psi(d) > 2 * half && psi(d) > 0.1, "another population: %.3f, then %.3f",
       half, psi(d));
    feed(d, &r, 40000, 1);
    ok(psi(d) < 0.01, "and back: %.4f", psi(d));
    float none[2] = {NAN, NAN};
    medley_result result = {.label = 0};
    for (int i = 0; i < 20000; i++)
        drift_watch_add(d, &result, none, 1);
    struct strbuf out;
    sb_init(&out);
    drift_watch_metrics(d, &out);
    const char *found = strstr(out.s, "medley_model_missing_ratio{model=\"one\"} ");
    ok(found && fabs(atof(found + 41) - 0.5) < 0.1, "half of the answers are missing");
    sb_deinit(&out);
    drift_watch_free(d);
    mem_free(reference);
}

/* What a workspace writes is what its bundle has, and training itself does not drift. */
static void test_bundle(const char *folder)
{
    medley_error err = {0};
    medley_bundle *b = NULL;
    plugged_write(folder, "  - {name: mine, kind: table, predictions: noise.csv}\n");
    if (!ok(plugged_run(folder, true, &err) == MEDLEY_OK &&
                medley_bundle_open(at(folder, "bundle/current"), &b, &err) == MEDLEY_OK,
            "a bundle: %s", err.message))
        return;
    const struct drift_reference *d = bundle_drift(b);
    ok(d && d->n_models == medley_bundle_models(b) && d->n_classes == 3, "has shares");
    float sum = 0;
    for (size_t i = 0; d && i < DRIFT_BINS; i++)
        sum += d->bins[0].share[i];
    ok(fabsf(sum - 1) < 1e-5f, "that sum to 1");
    medley_bundle_close(b);
}

int main(void)
{
    char folder[64];
    snprintf(folder, sizeof folder, "%s", tap_folder());
    test_reading(folder);
    test_index();
    test_watch(folder);
    test_bundle(folder);
    return tap_done();
}
