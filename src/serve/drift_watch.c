/* drift_watch.c: see drift_watch.h. Proof: tests/test_drift.c. */
#include "serve/drift_watch.h"

#include "base/memory.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#define WINDOW 20000 /* pairs, after which the younger of two windows becomes the older */

struct window {
    uint32_t pairs;
    uint32_t labels[MEDLEY_MAX_CLASSES];
    uint32_t asked[MEDLEY_MAX_MODELS], missing[MEDLEY_MAX_MODELS];
    uint32_t *bins; /* [M * K * DRIFT_BINS] */
};

struct drift_watch {
    const struct engine *e;
    pthread_mutex_t lock;
    struct window windows[2]; /* the younger first */
};

static size_t n_bins(const struct engine *e)
{
    return e->n_models * e->n_classes * DRIFT_BINS;
}

struct drift_watch *drift_watch_new(const struct engine *e)
{
    struct drift_watch *d = e->drift ? mem_zalloc(1, sizeof *d) : NULL;
    if (!d)
        return NULL;
    d->e = e;
    pthread_mutex_init(&d->lock, NULL);
    for (int i = 0; i < 2; i++)
        d->windows[i].bins = mem_zalloc(n_bins(e), sizeof(uint32_t));
    if (d->windows[0].bins && d->windows[1].bins)
        return d;
    drift_watch_free(d);
    return NULL;
}

void drift_watch_free(struct drift_watch *d)
{
    if (!d)
        return;
    mem_free(d->windows[0].bins);
    mem_free(d->windows[1].bins);
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}

static void turn(struct drift_watch *d)
{
    uint32_t *bins = d->windows[1].bins;
    d->windows[1] = d->windows[0];
    memset(bins, 0, n_bins(d->e) * sizeof *bins);
    d->windows[0] = (struct window){.bins = bins};
}

static bool is_compared(const struct engine *e, size_t m)
{
    return e->n_stages == 0 || e->stages[0] == m;
}

static void add_pair(struct window *w, const struct engine *e, const medley_result *r,
                     const float *said)
{
    size_t k = e->n_classes;
    w->pairs++;
    w->labels[r->label]++;
    for (size_t m = 0; m < e->n_models; m++) {
        const float *p = said + m * k;
        if (!is_compared(e, m))
            continue;
        w->asked[m]++;
        w->missing[m] += isnan(p[0]);
        for (size_t c = 0; c < k && !isnan(p[0]); c++)
            w->bins[(m * k + c) * DRIFT_BINS + drift_bin(&e->drift->bins[m * k + c], p[c])]++;
    }
}

void drift_watch_add(struct drift_watch *d, const medley_result *results, const float *said,
                     size_t n)
{
    size_t row = d->e->n_models * d->e->n_classes;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < n; i++) {
        if (d->windows[0].pairs >= WINDOW)
            turn(d);
        add_pair(&d->windows[0], d->e, &results[i], said + i * row);
    }
    pthread_mutex_unlock(&d->lock);
}

/* ---- telling ----------------------------------------------------------------------------- */

struct summary {
    uint32_t pairs;
    double labels[MEDLEY_MAX_CLASSES];
    double psi[MEDLEY_MAX_MODELS]; /* the largest of the classes'; NaN: not compared */
    double missing[MEDLEY_MAX_MODELS];
};

static double psi_of(const struct drift_watch *d, size_t m)
{
    const struct engine *e = d->e;
    double largest = 0;
    for (size_t c = 0; c < e->n_classes; c++) {
        uint32_t live[DRIFT_BINS];
        size_t at = m * e->n_classes + c;
        for (size_t b = 0; b < DRIFT_BINS; b++)
            live[b] = d->windows[0].bins[at * DRIFT_BINS + b] +
                      d->windows[1].bins[at * DRIFT_BINS + b];
        double psi = drift_index(&e->drift->bins[at], live);
        largest = psi > largest ? psi : largest;
    }
    return largest;
}

static struct summary sum_up(struct drift_watch *d)
{
    const struct window *a = &d->windows[0], *b = &d->windows[1];
    struct summary s = {.pairs = 0};
    pthread_mutex_lock(&d->lock);
    s.pairs = a->pairs + b->pairs;
    for (size_t c = 0; c < d->e->n_classes; c++)
        s.labels[c] = s.pairs ? (double)(a->labels[c] + b->labels[c]) / s.pairs : 0;
    for (size_t m = 0; m < d->e->n_models; m++) {
        double asked = (double)a->asked[m] + b->asked[m];
        double missing = (double)a->missing[m] + b->missing[m];
        s.psi[m] = asked > missing ? psi_of(d, m) : NAN;
        s.missing[m] = asked > 0 ? missing / asked : NAN;
    }
    pthread_mutex_unlock(&d->lock);
    return s;
}

static void describe(struct strbuf *out, const char *name, const char *help)
{
    sb_addf(out, "# TYPE %s gauge\n# HELP %s %s\n", name, name, help);
}

/* Names as of a bundle: letters, digits and the like, but classes may be called anything. */
static void add_label(struct strbuf *out, const char *metric, const char *label,
                      const char *text, double value)
{
    if (isnan(value))
        return;
    sb_addf(out, "%s{%s=\"", metric, label);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            sb_addc(out, '\\');
        sb_addc(out, *text);
    }
    sb_addf(out, "\"} %.6g\n", value);
}

void drift_watch_metrics(struct drift_watch *d, struct strbuf *out)
{
    struct summary s = sum_up(d);
    const struct engine *e = d->e;
    describe(out, "medley_drift_pairs",
             "Judged pairs that drift is told of, the last 40,000 at most.");
    sb_addf(out, "medley_drift_pairs %" PRIu32 "\n", s.pairs);
    describe(
        out, "medley_drift_psi",
        "Population stability index of a model's probabilities against training, worst class.");
    for (size_t m = 0; m < e->n_models; m++)
        add_label(out, "medley_drift_psi", "model", e->models[m], s.psi[m]);
    describe(out, "medley_model_missing_ratio",
             "Share of judged pairs without this model's answer.");
    for (size_t m = 0; m < e->n_models; m++)
        add_label(out, "medley_model_missing_ratio", "model", e->models[m], s.missing[m]);
    describe(out, "medley_label_ratio", "Share of judged pairs by label.");
    for (size_t c = 0; c < e->n_classes && s.pairs; c++)
        add_label(out, "medley_label_ratio", "label", e->classes[c], s.labels[c]);
}

static void write_number(struct json_writer *w, const char *key, double v)
{
    jw_key(w, key);
    jw_double(w, v);
}

void drift_watch_write(struct drift_watch *d, struct json_writer *w)
{
    struct summary s = sum_up(d);
    const struct engine *e = d->e;
    jw_object(w);
    jw_key(w, "pairs");
    jw_i64(w, s.pairs);
    jw_key(w, "labels");
    jw_object(w);
    for (size_t c = 0; c < e->n_classes; c++)
        write_number(w, e->classes[c], s.labels[c]);
    jw_object_end(w);
    jw_key(w, "models");
    jw_object(w);
    for (size_t m = 0; m < e->n_models; m++) {
        jw_key(w, e->models[m]);
        jw_object(w);
        write_number(w, "psi", s.psi[m]);
        write_number(w, "missing", s.missing[m]);
        write_number(w, "missing_in_training", (double)e->drift->missing[m]);
        jw_object_end(w);
    }
    jw_object_end(w);
    jw_object_end(w);
}
