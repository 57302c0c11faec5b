/* bundle_diff.c: see bundle_diff.h. Proof: tests/test_diff.c. */
#include "ensemble/bundle_diff.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "data/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of both bundles together: models by name, then the context, then the base. */
enum { MAX_PLAYERS = 2 * MEDLEY_MAX_MODELS + 2, CALIBRATION = MAX_PLAYERS };

struct side {
    const medley_bundle *bundle;
    medley_result *results; /* [n] */
    float *contributions;   /* [n * (M+1) * K] */
    size_t player_of[MEDLEY_MAX_MODELS];
    float *probabilities; /* [n * K] */
};

struct player {
    const char *name;
    bool in[2];
    size_t caused; /* labels that turned */
    double size;   /* mean over pairs of the sum over classes of |change| */
    double toward; /* mean over turned labels of what it added to the new over the old */
};

/* One label that turned. */
struct turn {
    size_t pair, cause;
    double grew; /* the margin of the new label over the old */
};

struct diff {
    struct side side[2];
    const struct diff_pair *pairs;
    size_t n, k, n_players;
    struct player players[MAX_PLAYERS];
    struct turn *turns; /* [n_turns] the largest first */
    size_t n_turns;
};

/* ---- judging ---- */

static medley_status side_open(struct side *s, const struct diff_pair *pairs, size_t n,
                               const char *task, medley_error *err)
{
    size_t k = medley_bundle_classes(s->bundle), m = medley_bundle_models(s->bundle);
    struct judge_pair *list = mem_alloc(n + 1, sizeof *list);
    s->results = mem_zalloc(n + 1, sizeof *s->results);
    s->contributions = mem_alloc(n + 1, (m + 1) * k * sizeof *s->contributions);
    s->probabilities = mem_alloc(n + 1, k * sizeof *s->probabilities);
    medley_status st = list && s->results && s->contributions && s->probabilities
                           ? MEDLEY_OK
                           : fail_memory(err, "pairs");
    for (size_t i = 0; i < n && !st; i++)
        list[i] = pairs[i].pair;
    if (!st)
        st = judge_pairs(s->bundle, list, n, &(struct judge_options){.task = task},
                         &(struct judge_answers){s->results, s->contributions, NULL}, err);
    for (size_t i = 0; i < n && !st; i++)
        memcpy(s->probabilities + i * k, s->results[i].probabilities,
               k * sizeof *s->probabilities);
    mem_free(list);
    return st;
}

static void side_close(struct side *s)
{
    mem_free(s->results);
    mem_free(s->contributions);
    mem_free(s->probabilities);
}

static void name_players(struct diff *d)
{
    for (size_t s = 0; s < 2; s++) {
        struct side *side = &d->side[s];
        for (size_t m = 0; m < medley_bundle_models(side->bundle); m++) {
            const char *name = medley_bundle_model(side->bundle, m);
            size_t p = 0;
            while (p < d->n_players && strcmp(d->players[p].name, name) != 0)
                p++;
            if (p == d->n_players)
                d->players[d->n_players++] = (struct player){.name = name};
            d->players[p].in[s] = true;
            side->player_of[m] = p;
        }
    }
    d->players[d->n_players++] = (struct player){.name = "context", .in = {true, true}};
    d->players[d->n_players++] = (struct player){.name = "base", .in = {true, true}};
}

/* out[n_players][K] += sign * what each player contributes to pair i. */
static void add_side(const struct diff *d, size_t s, size_t i, double sign, double *out)
{
    const struct side *side = &d->side[s];
    size_t m = medley_bundle_models(side->bundle), k = d->k;
    const float *values = side->contributions + i * (m + 1) * k;
    double base[MEDLEY_MAX_CLASSES];
    medley_bundle_stage_base(side->bundle, side->results[i].stages, base);
    for (size_t j = 0; j <= m; j++) {
        size_t p = j < m ? side->player_of[j] : d->n_players - 2;
        for (size_t c = 0; c < k; c++)
            out[p * k + c] += sign * (double)values[j * k + c];
    }
    for (size_t c = 0; c < k; c++)
        out[(d->n_players - 1) * k + c] += sign * base[c];
}

/* changes[n_players][K] of pair i: B less A. */
static void changes_of(const struct diff *d, size_t i, double *changes)
{
    memset(changes, 0, d->n_players * d->k * sizeof *changes);
    add_side(d, 1, i, 1, changes);
    add_side(d, 0, i, -1, changes);
}

/* What the change of margins adds to the new label over the old. */
static double toward(const struct diff *d, const double *change, size_t i)
{
    return change[d->side[1].results[i].label] - change[d->side[0].results[i].label];
}

static void take_turn(struct diff *d, size_t i, const double *changes)
{
    struct turn t = {.pair = i, .cause = CALIBRATION};
    double most = 0;
    for (size_t p = 0; p < d->n_players; p++) {
        double v = toward(d, changes + p * d->k, i);
        t.grew += v;
        d->players[p].toward += v;
        if (v > most)
            most = v, t.cause = p;
    }
    if (!(t.grew > 0))
        t.cause = CALIBRATION;
    if (t.cause != CALIBRATION)
        d->players[t.cause].caused++;
    d->turns[d->n_turns++] = t;
}

static int by_growth(const void *a, const void *b)
{
    const struct turn *x = a, *y = b;
    if (x->grew != y->grew)
        return x->grew > y->grew ? -1 : 1;
    return x->pair < y->pair ? -1 : 1;
}

static void compare(struct diff *d)
{
    double changes[MAX_PLAYERS * MEDLEY_MAX_CLASSES];
    for (size_t i = 0; i < d->n; i++) {
        changes_of(d, i, changes);
        for (size_t p = 0; p < d->n_players; p++)
            for (size_t c = 0; c < d->k; c++)
                d->players[p].size += fabs(changes[p * d->k + c]) / (double)d->n;
        if (d->side[0].results[i].label != d->side[1].results[i].label)
            take_turn(d, i, changes);
    }
    for (size_t p = 0; p < d->n_players && d->n_turns; p++)
        d->players[p].toward /= (double)d->n_turns;
    qsort(d->turns, d->n_turns, sizeof *d->turns, by_growth);
}

/* ---- writing ---- */

static const char *class_name(const struct diff *d, size_t c)
{
    return medley_bundle_class(d->side[0].bundle, c);
}

static void write_side(struct json_writer *w, const char *key, const struct side *s)
{
    const medley_bundle *b = s->bundle;
    jw_key(w, key), jw_object(w);
    jw_key(w, "bundle"), jw_textz(w, medley_bundle_id(b));
    jw_key(w, "models"), jw_array(w);
    for (size_t m = 0; m < medley_bundle_models(b); m++)
        jw_textz(w, medley_bundle_model(b, m));
    jw_array_end(w);
    jw_key(w, "cascade");
    if (medley_bundle_stages(b)) {
        jw_array(w);
        for (size_t j = 0; j < medley_bundle_stages(b); j++)
            jw_textz(w, medley_bundle_model(b, medley_bundle_stage_model(b, j)));
        jw_array_end(w);
    } else {
        jw_null(w);
    }
    jw_key(w, "calibration"), jw_textz(w, medley_bundle_calibration(b));
    jw_object_end(w);
}

/* counts[from][to] */
static void write_counts(struct json_writer *w, const struct diff *d)
{
    size_t counts[MEDLEY_MAX_CLASSES][MEDLEY_MAX_CLASSES] = {{0}};
    for (size_t i = 0; i < d->n; i++)
        counts[d->side[0].results[i].label][d->side[1].results[i].label]++;
    jw_key(w, "counts"), jw_array(w);
    for (size_t a = 0; a < d->k; a++) {
        jw_array(w);
        for (size_t b = 0; b < d->k; b++)
            jw_i64(w, (int64_t)counts[a][b]);
        jw_array_end(w);
    }
    jw_array_end(w);
}

static medley_status write_metrics(struct json_writer *w, const struct diff *d,
                                   medley_error *err)
{
    uint8_t *label = mem_alloc(d->n + 1, 1);
    uint32_t *index = mem_alloc(d->n + 1, sizeof *index);
    size_t n = 0, fixed = 0, broken = 0;
    if (!label || !index) {
        mem_free(label), mem_free(index);
        return fail_memory(err, "labels");
    }
    for (size_t i = 0; i < d->n; i++) {
        label[i] = d->pairs[i].label;
        if (label[i] >= d->k)
            continue;
        bool was = d->side[0].results[i].label == label[i];
        bool is = d->side[1].results[i].label == label[i];
        index[n++] = (uint32_t)i;
        fixed += is && !was;
        broken += was && !is;
    }
    jw_key(w, "truth");
    if (n) {
        jw_object(w);
        jw_key(w, "n"), jw_i64(w, (int64_t)n);
        jw_key(w, "fixed"), jw_i64(w, (int64_t)fixed);
        jw_key(w, "broken"), jw_i64(w, (int64_t)broken);
        for (size_t s = 0; s < 2; s++) {
            struct metrics m;
            metrics_compute(d->side[s].probabilities, label, index, n, d->k, &m);
            jw_key(w, s ? "b" : "a"), jw_object(w);
            for (int i = 0; i < METRIC_COUNT; i++)
                jw_key(w, metric_names[i]),
                    jw_double(w, metrics_value(&m, (enum metric_name)i));
            jw_object_end(w);
        }
        jw_object_end(w);
    } else {
        jw_null(w);
    }
    mem_free(label), mem_free(index);
    return MEDLEY_OK;
}

static void write_players(struct json_writer *w, const struct diff *d)
{
    size_t calibrated = 0;
    for (size_t i = 0; i < d->n_turns; i++)
        calibrated += d->turns[i].cause == CALIBRATION;
    jw_key(w, "players"), jw_array(w);
    for (size_t p = 0; p < d->n_players; p++) {
        const struct player *x = &d->players[p];
        jw_object(w);
        jw_key(w, "name"), jw_textz(w, x->name);
        jw_key(w, "in"), jw_textz(w, x->in[0] && x->in[1] ? "both" : x->in[0] ? "a" : "b");
        jw_key(w, "caused"), jw_i64(w, (int64_t)x->caused);
        jw_key(w, "toward"), jw_double(w, x->toward);
        jw_key(w, "mean_abs_change"), jw_double(w, x->size);
        jw_object_end(w);
    }
    jw_array_end(w);
    jw_key(w, "caused_by_calibration"), jw_i64(w, (int64_t)calibrated);
}

static void write_classes(struct json_writer *w, const struct diff *d, const double *values)
{
    jw_object(w);
    for (size_t c = 0; c < d->k; c++)
        jw_key(w, class_name(d, c)), jw_double(w, values[c]);
    jw_object_end(w);
}

static void write_judgement(struct json_writer *w, const struct diff *d, size_t s, size_t i)
{
    const struct side *side = &d->side[s];
    const medley_result *r = &side->results[i];
    size_t m = medley_bundle_models(side->bundle);
    double p[MEDLEY_MAX_CLASSES], margin[MEDLEY_MAX_CLASSES];
    medley_bundle_stage_base(side->bundle, r->stages, margin);
    for (size_t c = 0; c < d->k; c++) {
        p[c] = (double)r->probabilities[c];
        for (size_t j = 0; j <= m; j++)
            margin[c] += (double)side->contributions[(i * (m + 1) + j) * d->k + c];
    }
    jw_key(w, s ? "b" : "a"), jw_object(w);
    jw_key(w, "label"), jw_textz(w, class_name(d, r->label));
    jw_key(w, "probabilities"), write_classes(w, d, p);
    jw_key(w, "margins"), write_classes(w, d, margin);
    jw_object_end(w);
}

static void write_turn(struct json_writer *w, const struct diff *d, const struct turn *t)
{
    const struct diff_pair *pair = &d->pairs[t->pair];
    double changes[MAX_PLAYERS * MEDLEY_MAX_CLASSES];
    changes_of(d, t->pair, changes);
    jw_object(w);
    jw_key(w, "example_id"), jw_text(w, pair->example_id);
    jw_key(w, "query"), jw_text(w, pair->pair.text.query);
    jw_key(w, "locale"), jw_text(w, pair->pair.text.locale);
    jw_key(w, "product"), jw_text(w, pair->pair.product_id);
    jw_key(w, "title"), jw_text(w, pair->title);
    jw_key(w, "truth"), jw_textz(w, pair->label < d->k ? class_name(d, pair->label) : NULL);
    write_judgement(w, d, 0, t->pair);
    write_judgement(w, d, 1, t->pair);
    jw_key(w, "cause"),
        jw_textz(w, t->cause == CALIBRATION ? "calibration" : d->players[t->cause].name);
    jw_key(w, "grew"), jw_double(w, t->grew);
    jw_key(w, "toward"), jw_object(w);
    for (size_t p = 0; p < d->n_players; p++)
        jw_key(w, d->players[p].name), jw_double(w, toward(d, changes + p * d->k, t->pair));
    jw_object_end(w);
    jw_key(w, "changes"), jw_object(w);
    for (size_t p = 0; p < d->n_players; p++)
        jw_key(w, d->players[p].name), write_classes(w, d, changes + p * d->k);
    jw_object_end(w);
    jw_object_end(w);
}

static medley_status write_diff(struct strbuf *out, const struct diff *d, medley_error *err)
{
    struct json_writer w;
    jw_init(&w, out, true);
    jw_object(&w);
    write_side(&w, "a", &d->side[0]);
    write_side(&w, "b", &d->side[1]);
    jw_key(&w, "labels"), jw_array(&w);
    for (size_t c = 0; c < d->k; c++)
        jw_textz(&w, class_name(d, c));
    jw_array_end(&w);
    jw_key(&w, "n"), jw_i64(&w, (int64_t)d->n);
    jw_key(&w, "changed"), jw_i64(&w, (int64_t)d->n_turns);
    write_counts(&w, d);
    medley_status st = write_metrics(&w, d, err);
    if (st)
        return st;
    write_players(&w, d);
    jw_key(&w, "pairs"), jw_array(&w);
    for (size_t i = 0; i < d->n_turns; i++)
        write_turn(&w, d, &d->turns[i]);
    jw_array_end(&w);
    jw_object_end(&w);
    sb_addc(out, '\n');
    return out->failed ? fail_memory(err, "a comparison") : MEDLEY_OK;
}

static medley_status check_classes(const medley_bundle *a, const medley_bundle *b,
                                   medley_error *err)
{
    size_t k = medley_bundle_classes(a);
    bool same = k == medley_bundle_classes(b);
    for (size_t c = 0; c < k && same; c++)
        same = strcmp(medley_bundle_class(a, c), medley_bundle_class(b, c)) == 0;
    return same ? MEDLEY_OK
                : fail(err, MEDLEY_EINVAL, "bundles '%s' and '%s' have different classes",
                       medley_bundle_id(a), medley_bundle_id(b));
}

medley_status bundle_diff(const medley_bundle *a, const medley_bundle *b,
                          const struct diff_pair *pairs, size_t n, struct strbuf *out,
                          struct diff_counts *counts, medley_error *err)
{
    struct diff *d = mem_zalloc(1, sizeof *d);
    if (!d)
        return fail_memory(err, "a comparison");
    d->side[0].bundle = a;
    d->side[1].bundle = b;
    d->pairs = pairs;
    d->n = n;
    d->k = medley_bundle_classes(a);
    medley_status st = check_classes(a, b, err);
    if (!st && !(d->turns = mem_alloc(n + 1, sizeof *d->turns)))
        st = fail_memory(err, "a comparison");
    if (!st)
        st = side_open(&d->side[0], pairs, n, "bundle A", err);
    if (!st)
        st = side_open(&d->side[1], pairs, n, "bundle B", err);
    if (!st) {
        name_players(d);
        compare(d);
        st = write_diff(out, d, err);
    }
    if (!st)
        *counts = (struct diff_counts){n, d->n_turns};
    side_close(&d->side[0]);
    side_close(&d->side[1]);
    mem_free(d->turns);
    mem_free(d);
    return st;
}
