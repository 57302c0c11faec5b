/* medley_worker.c: one measurement of the tree engine in a process of its own, for bench/peers:
 *
 *   medley_worker train x=X.npy y=y.npy tx=X.npy ty=y.npy [rounds= leaves= ... save=FILE]
 *   medley_worker predict model=FILE x=X.npy [times=5] [save=margins.npy]
 *   medley_worker explain model=FILE x=X.npy [players=6] [times=3] [save=values.npy]
 *   medley_worker coalition x=X.npy y=y.npy tx=X.npy ty=y.npy players=6 [rounds= ...]
 *
 * Only the public API is measured, with tables already in memory, as for the peers. Prints one
 * line of JSON. Threads: MEDLEY_THREADS. */
#include "base/cpu.h"
#include "base/memory.h"
#include "base/npy.h"
#include "medley/coalition.h"
#include "medley/gbdt.h"
#include "medley/shapley.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static char **arguments;
static medley_error err;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "medley_worker: %s\n", what);
    exit(1);
}

static void must(medley_status st)
{
    if (st != MEDLEY_OK)
        die(err.message);
}

/* ---- arguments ---- */

static const char *text(const char *key)
{
    size_t n = strlen(key);
    for (char **a = arguments; *a; a++)
        if (strncmp(*a, key, n) == 0 && (*a)[n] == '=')
            return *a + n + 1;
    return NULL;
}

static double number(const char *key, double otherwise)
{
    const char *s = text(key);
    char *end;
    double v = s ? strtod(s, &end) : otherwise;
    if (s && (end == s || *end))
        die(key);
    return v;
}

static const struct setting {
    const char *key;
    enum { COUNT, REAL } kind;
    size_t offset;
} settings[] = {
    {"rounds", COUNT, offsetof(medley_gbdt_options, rounds)},
    {"leaves", COUNT, offsetof(medley_gbdt_options, num_leaves)},
    {"max_depth", COUNT, offsetof(medley_gbdt_options, max_depth)},
    {"min_data", COUNT, offsetof(medley_gbdt_options, min_data_in_leaf)},
    {"bins", COUNT, offsetof(medley_gbdt_options, max_bins)},
    {"rate", REAL, offsetof(medley_gbdt_options, learning_rate)},
    {"lambda", REAL, offsetof(medley_gbdt_options, lambda_l2)},
    {"feature_fraction", REAL, offsetof(medley_gbdt_options, feature_fraction)},
    {"row_fraction", REAL, offsetof(medley_gbdt_options, row_fraction)},
    {"gradient_fraction", REAL, offsetof(medley_gbdt_options, gradient_fraction)},
};

static medley_gbdt_options options(void)
{
    medley_gbdt_options o = {.seed = (uint64_t)number("seed", 1)};
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        const struct setting *s = &settings[i];
        void *at = (char *)&o + s->offset;
        if (text(s->key) && s->kind == COUNT)
            *(unsigned *)at = (unsigned)number(s->key, 0);
        else if (text(s->key))
            *(double *)at = number(s->key, 0);
    }
    if (text("trees") && strcmp(text("trees"), "vector") == 0)
        o.trees = MEDLEY_TREES_VECTOR;
    return o;
}

/* ---- tables, in memory like the peers' ---- */

static float *load_features(const char *key, size_t *n, size_t *cols)
{
    struct npy a;
    if (!text(key))
        die(key);
    must(npy_open(text(key), &a, &err));
    float *x = mem_alloc(a.rows, a.cols * sizeof *x);
    if (!x)
        die("out of memory");
    npy_to_float(&a, x);
    *n = a.rows;
    *cols = a.cols;
    npy_close(&a);
    return x;
}

static medley_table load_table(const char *x, const char *y)
{
    medley_table t = {0};
    struct npy a;
    t.features = load_features(x, &t.n, &t.n_features);
    if (!text(y))
        die(y);
    must(npy_open(text(y), &a, &err));
    if (a.type != NPY_U8 || a.rows != t.n)
        die("labels do not fit the features");
    uint8_t *labels = mem_alloc(t.n, 1);
    if (!labels)
        die("out of memory");
    memcpy(labels, a.data, t.n);
    for (size_t i = 0; i < t.n; i++)
        t.n_classes = labels[i] >= t.n_classes ? labels[i] + 1u : t.n_classes;
    t.labels = labels;
    npy_close(&a);
    return t;
}

/* ---- time and memory of a call ---- */

struct meter {
    double wall, cpu, before, peak; /* seconds; resident MB before, and at most since */
};

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double status_mb(const char *field)
{
    char line[256];
    double kb = NAN;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, field, strlen(field)) == 0)
            kb = strtod(line + strlen(field) + 1, NULL);
    if (f)
        fclose(f);
    return kb / 1024;
}

static void meter_start(struct meter *m)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (f) {
        fputs("5", f); /* the peak begins anew here */
        fclose(f);
    }
    m->before = status_mb("VmRSS");
    m->cpu = cpu_seconds();
    m->wall = clock_seconds();
}

static void meter_stop(struct meter *m)
{
    m->wall = clock_seconds() - m->wall;
    m->cpu = cpu_seconds() - m->cpu;
    m->peak = status_mb("VmHWM");
}

static void print_meter(const struct meter *m)
{
    printf("\"wall\": %.9g, \"cpu\": %.9g, \"extra_mb\": %.1f, \"peak_mb\": %.1f", m->wall,
           m->cpu, m->peak - m->before, m->peak);
}

/* ---- the jobs ---- */

static void save(const float *values, size_t rows, size_t cols)
{
    if (text("save"))
        must(npy_write(text("save"), NPY_F32, rows, cols, values, &err));
}

static void print_quality(const medley_gbdt *model, const medley_table *t)
{
    size_t k = t->n_classes;
    float *p = mem_alloc(t->n, k * sizeof *p);
    if (!p)
        die("out of memory");
    must(medley_gbdt_predict(model, t->features, t->n, p, &err));
    double loss = 0;
    for (size_t i = 0; i < t->n; i++)
        loss -= log(fmax((double)p[i * k + t->labels[i]], 1e-15));
    printf(", \"log_loss\": %.6f", loss / (double)t->n);
    mem_free(p);
}

static void train(void)
{
    medley_table t = load_table("x", "y"), test = load_table("tx", "ty");
    medley_gbdt_options o = options();
    medley_gbdt *model = NULL;
    struct meter m;
    meter_start(&m);
    must(medley_gbdt_train(&t, NULL, &o, &model, &err));
    meter_stop(&m);
    if (text("save"))
        must(medley_gbdt_save(model, text("save"), &err));
    printf("{");
    print_meter(&m);
    print_quality(model, &test);
    printf("}\n");
    medley_gbdt_free(model);
}

static medley_gbdt *load_model(void)
{
    medley_gbdt *model = NULL;
    if (!text("model"))
        die("model");
    must(medley_gbdt_load(text("model"), &model, &err));
    return model;
}

/* The first call is not timed: tables are built and pages come in. */
static void print_times(void (*run)(void *), void *context, const char *more)
{
    int times = (int)number("times", 5);
    printf("{\"runs\": [");
    for (int i = -1; i < times; i++) {
        struct meter m;
        meter_start(&m);
        run(context);
        meter_stop(&m);
        if (i >= 0) {
            printf("%s{", i ? ", " : "");
            print_meter(&m);
            printf("}");
        }
    }
    printf("]%s}\n", more);
}

struct predicting {
    const medley_gbdt *model;
    const float *x;
    size_t n;
    float *out;
};

static void predict_once(void *context)
{
    const struct predicting *p = context;
    must(medley_gbdt_margins(p->model, p->x, p->n, p->out, &err));
}

static void predict(void)
{
    size_t n, cols;
    medley_gbdt *model = load_model();
    float *x = load_features("x", &n, &cols);
    size_t k = medley_gbdt_classes(model);
    struct predicting p = {model, x, n, mem_alloc(n, k * sizeof(float))};
    if (!p.out || cols != medley_gbdt_features(model))
        die("the rows do not fit the model");
    print_times(predict_once, &p, "");
    save(p.out, n, k);
    medley_gbdt_free(model);
}

/* Players own equal runs of features, as the probabilities of base models do. */
static uint32_t *players_of(size_t n_features, size_t players)
{
    uint32_t *of = mem_alloc(n_features, sizeof *of);
    if (!of || players == 0 || n_features % players != 0)
        die("players");
    for (size_t f = 0; f < n_features; f++)
        of[f] = (uint32_t)(f / (n_features / players));
    return of;
}

struct explaining {
    const medley_explainer *e;
    const float *x;
    size_t n;
    float *out;
};

static void explain_once(void *context)
{
    const struct explaining *p = context;
    must(medley_explainer_values(p->e, p->x, p->n, p->out, &err));
}

static void explain(void)
{
    size_t n, cols;
    medley_gbdt *model = load_model();
    float *x = load_features("x", &n, &cols);
    if (cols != medley_gbdt_features(model))
        die("the rows do not fit the model");
    size_t players = (size_t)number("players", (double)cols), k = medley_gbdt_classes(model);
    uint32_t *of = players_of(cols, players);
    medley_explainer *e = NULL;
    struct meter building;
    meter_start(&building);
    must(medley_explainer_new(model, of, players, &e, &err));
    meter_stop(&building);
    struct explaining p = {e, x, n, mem_alloc(n, players * k * sizeof(float))};
    if (!p.out)
        die("out of memory");
    char more[160];
    snprintf(more, sizeof more, ", \"build_cpu\": %.6f, \"build_mb\": %.1f", building.cpu,
             building.peak - building.before);
    print_times(explain_once, &p, more);
    save(p.out, n, players * k);
    medley_explainer_free(e);
    medley_gbdt_free(model);
}

/* Every coalition refitted and measured on the test rows. */
static void coalition(void)
{
    medley_table t = load_table("x", "y"), test = load_table("tx", "ty");
    medley_gbdt_options o = options();
    size_t players = (size_t)number("players", 6);
    uint32_t *of = players_of(t.n_features, players);
    medley_coalition *game = NULL;
    double values[MEDLEY_COALITION_PLAYERS], none, all;
    struct meter m;
    meter_start(&m);
    must(medley_coalition_play(&t, &test, of, players, &o, NULL, &game, &err));
    meter_stop(&m);
    printf("{");
    print_meter(&m);
    medley_coalition_metric(game, MEDLEY_METRIC_LOG_LOSS, 0, &none);
    medley_coalition_metric(game, MEDLEY_METRIC_LOG_LOSS, UINT64_MAX >> (64 - players), &all);
    medley_coalition_values(game, MEDLEY_METRIC_LOG_LOSS, values, NULL);
    printf(", \"refits\": %zu, \"none\": %.6f, \"all\": %.6f, \"values\": [",
           medley_coalition_refits(game), none, all);
    for (size_t p = 0; p < players; p++)
        printf("%s%.6f", p ? ", " : "", values[p]);
    printf("]}\n");
    medley_coalition_free(game);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        die("which job?");
    arguments = argv + 2;
    if (strcmp(argv[1], "train") == 0)
        train();
    else if (strcmp(argv[1], "predict") == 0)
        predict();
    else if (strcmp(argv[1], "explain") == 0)
        explain();
    else if (strcmp(argv[1], "coalition") == 0)
        coalition();
    else
        die("unknown job");
    return 0;
}
