/* predict.c: `medley predict`: labels pairs of a file with the workspace's bundle. Pairs of one
 * query are judged together, as a list. */
#include "cli/common.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"
#include "data/import.h"
#include "data/table_writer.h"
#include "ensemble/judge.h"
#include "medley/bundle.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { KEY_PAIRS = 1000, KEY_EXPLAIN, KEY_BUNDLE, KEY_WHOLE, KEY_EACH, KEY_FORMAT };

struct arguments {
    struct common_options common;
    const char *pairs, *output, *format, *bundle;
    bool explain, each, whole;
};

static const struct argp_option options[] = {
    {"pairs", KEY_PAIRS, "FILE", 0,
     "query, product_id, product_locale, and if you like example_id and product texts; "
     ".csv, .tsv, .jsonl or .parquet (required)",
     0},
    {"output", 'o', "FILE", 0,
     "where to write, - for stdout [-]; .csv, .tsv, .jsonl or .parquet, by its ending", 0},
    {"format", KEY_FORMAT, "NAME", 0, "csv, tsv, jsonl or parquet, whatever the ending", 0},
    {"explain", KEY_EXPLAIN, NULL, 0, "add each model's contribution to each class", 0},
    {"each", KEY_EACH, NULL, 0, "add the class probabilities of each model itself", 0},
    {"bundle", KEY_BUNDLE, "DIR", 0, "another bundle than the workspace's current one", 0},
    {"whole", KEY_WHOLE, NULL, 0,
     "ask every model of every pair, even if the bundle has a cascade", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    switch (key) {
    case KEY_PAIRS:
        a->pairs = arg;
        return 0;
    case 'o':
        a->output = arg;
        return 0;
    case KEY_FORMAT:
        a->format = arg;
        if (!table_format_known(arg))
            argp_error(state, "no format is called '%s' (expected one of %s)", arg,
                       table_formats());
        return 0;
    case KEY_EXPLAIN:
        a->explain = true;
        return 0;
    case KEY_EACH:
        a->each = true;
        return 0;
    case KEY_WHOLE:
        a->whole = true;
        return 0;
    case KEY_BUNDLE:
        a->bundle = arg;
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->common;
        return 0;
    case ARGP_KEY_END:
        if (!a->pairs)
            argp_error(state, "which --pairs FILE?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {
    .options = options,
    .parser = parse,
    .children = children,
    .doc =
        "Label (query, product) pairs: example_id, label and one probability per class.\v"
        "With --explain, the contribution_MODEL_CLASS columns of a row and class sum to its "
        "margin_CLASS minus base_CLASS. With --each, p_MODEL_CLASS is what a model alone says, "
        "empty where it was not asked or had no answer. With a cascade in the bundle, the last "
        "two columns are "
        "the stage that a pair stopped at and the models that were asked.\nExample:\n"
        "  medley predict -C shop --pairs new.csv -o labelled.csv\n"
        "  medley predict -C shop --pairs new.parquet -o labelled.parquet",
};

struct prediction {
    medley_bundle *bundle;
    struct pairs pairs;
    struct judge_answers answers; /* by pair */
    uint32_t models;              /* to ask; 0: as the bundle does */
    struct table_writer *out;
    struct strbuf used; /* scratch */
};

/* Says it only where there was something to use. */
static void note_precomputed(const struct prediction *p)
{
    size_t hits = 0;
    bool any = false;
    for (size_t m = 0; m < medley_bundle_models(p->bundle); m++)
        any |= medley_bundle_store(p->bundle, m).bytes > 0;
    for (size_t i = 0; i < p->pairs.n; i++)
        hits += p->answers.results[i].models_stored != 0;
    if (any)
        progress_note("%zu of %zu pairs from precomputed graph embeddings", hits, p->pairs.n);
}

static bool in_stages(const struct prediction *p)
{
    return medley_bundle_stages(p->bundle) && !p->models;
}

static void note_cascade(const struct prediction *p)
{
    size_t asked = 0;
    for (size_t i = 0; i < p->pairs.n; i++)
        asked += p->answers.results[i].stages;
    if (in_stages(p) && p->pairs.n)
        progress_note("cascade: %.2f of %zu models a pair", (double)asked / (double)p->pairs.n,
                      medley_bundle_models(p->bundle));
}

static medley_status classify_all(struct prediction *p, medley_error *err)
{
    size_t n = p->pairs.n;
    struct judge_options how = {.models = p->models, .task = "predict"};
    struct judge_pair *pairs = mem_alloc(n + 1, sizeof *pairs);
    if (!pairs)
        return fail_memory(err, "pairs");
    for (size_t i = 0; i < n; i++)
        pairs[i] = (struct judge_pair){p->pairs.texts[i], column_at(&p->pairs.product_id, i)};
    medley_status st = judge_pairs(p->bundle, pairs, n, &how, &p->answers, err);
    mem_free(pairs);
    if (!st)
        note_precomputed(p), note_cascade(p);
    return st;
}

/* ---- the table ---- */

/* Its columns, in order; names are in one text. */
struct layout {
    struct table_column *columns;
    size_t n, capacity;
    struct strbuf names;
};

static void add_column(struct layout *l, enum table_type type, bool optional,
                       const char *format, ...) __attribute__((format(printf, 4, 5)));
static void add_column(struct layout *l, enum table_type type, bool optional,
                       const char *format, ...)
{
    va_list args;
    va_start(args, format);
    sb_addvf(&l->names, format, args);
    va_end(args);
    sb_addc(&l->names, 0);
    if (!mem_reserve(&l->columns, &l->capacity, l->n + 1, sizeof *l->columns))
        l->names.failed = true;
    else
        l->columns[l->n++] = (struct table_column){NULL, type, optional};
}

/* PREFIX_CLASS for each class. */
static void add_classes(struct layout *l, const medley_bundle *b, const char *prefix,
                        const char *of, bool optional)
{
    for (size_t c = 0; c < medley_bundle_classes(b); c++)
        add_column(l, TABLE_FLOAT, optional, "%s%s%s_%s", prefix, of ? "_" : "", of ? of : "",
                   medley_bundle_class(b, c));
}

static medley_status lay_out(const struct prediction *p, struct layout *l, medley_error *err)
{
    const medley_bundle *b = p->bundle;
    size_t n_models = medley_bundle_models(b);
    sb_init(&l->names);
    add_column(l, TABLE_TEXT, false, "example_id");
    add_column(l, TABLE_TEXT, false, "label");
    add_classes(l, b, "p", NULL, false);
    if (p->answers.contributions) {
        add_classes(l, b, "margin", NULL, false);
        add_classes(l, b, "base", NULL, false);
        for (size_t m = 0; m <= n_models; m++)
            add_classes(l, b, "contribution", common_player(b, m), true);
    }
    for (size_t m = 0; m < n_models && p->answers.said; m++)
        add_classes(l, b, "p", medley_bundle_model(b, m), true);
    if (in_stages(p)) {
        add_column(l, TABLE_INTEGER, false, "cascade_stage");
        add_column(l, TABLE_TEXT, false, "models_used");
    }
    if (l->names.failed)
        return fail_memory(err, "columns");
    const char *name = l->names.s;
    for (size_t i = 0; i < l->n; i++, name += strlen(name) + 1)
        l->columns[i].name = name;
    return MEDLEY_OK;
}

/* "gcn+minilm" */
static void write_used(struct prediction *p, uint32_t used)
{
    sb_clear(&p->used);
    for (size_t m = 0; m < medley_bundle_models(p->bundle); m++)
        if (used >> m & 1)
            sb_addf(&p->used, "%s%s", p->used.n ? "+" : "", medley_bundle_model(p->bundle, m));
    table_put_text(p->out, sb_str(&p->used));
}

static void write_numbers(struct table_writer *out, const float *v, size_t n)
{
    for (size_t j = 0; j < n; j++)
        table_put_real(out, v[j]);
}

static medley_status write_row(struct prediction *p, size_t i, medley_error *err)
{
    size_t k = medley_bundle_classes(p->bundle), n_models = medley_bundle_models(p->bundle);
    const medley_result *r = &p->answers.results[i];
    double base[MEDLEY_MAX_CLASSES];
    medley_bundle_stage_base(p->bundle, r->stages, base);
    table_put_text(p->out, column_at(&p->pairs.example_id, i));
    table_put_text(p->out, str_of(medley_bundle_class(p->bundle, r->label)));
    write_numbers(p->out, r->probabilities, k);
    if (p->answers.contributions) {
        size_t width = (n_models + 1) * k;
        write_numbers(p->out, r->margins, k);
        for (size_t c = 0; c < k; c++)
            table_put_real(p->out, (float)base[c]);
        write_numbers(p->out, p->answers.contributions + i * width, width);
    }
    if (p->answers.said)
        write_numbers(p->out, p->answers.said + i * n_models * k, n_models * k);
    if (in_stages(p)) {
        table_put_integer(p->out, r->stages);
        write_used(p, r->models_used);
    }
    return table_writer_row(p->out, err);
}

static medley_status write_all(struct prediction *p, const struct arguments *a,
                               medley_error *err)
{
    struct layout l = {0};
    sb_init(&p->used);
    medley_status st = lay_out(p, &l, err);
    if (!st)
        st = table_writer_open(a->output, a->format, l.columns, l.n, &p->out, err);
    for (size_t i = 0; i < p->pairs.n && !st; i++)
        st = write_row(p, i, err);
    if (!st)
        st = table_writer_commit(p->out, err);
    table_writer_free(p->out);
    sb_deinit(&p->used);
    sb_deinit(&l.names);
    mem_free(l.columns);
    return st;
}

static medley_status answers_new(struct prediction *p, const struct arguments *a,
                                 medley_error *err)
{
    size_t models = medley_bundle_models(p->bundle);
    size_t row = medley_bundle_classes(p->bundle) * sizeof(float);
    struct judge_answers *to = &p->answers;
    bool good = (to->results = mem_alloc(p->pairs.n + 1, sizeof *to->results));
    if (a->explain)
        good &= !!(to->contributions = mem_alloc(p->pairs.n + 1, (models + 1) * row));
    if (a->each)
        good &= !!(to->said = mem_alloc(p->pairs.n + 1, models * row));
    return good ? MEDLEY_OK : fail_memory(err, "predictions");
}

static medley_status predict(const struct arguments *a, const struct workspace *w,
                             medley_error *err)
{
    struct prediction p = {0};
    struct path current = workspace_path(w, "bundle/current");
    medley_status st = pairs_read(a->pairs, &w->config.data.columns, &p.pairs, err);
    if (!st)
        st = medley_bundle_open(a->bundle ? a->bundle : current.s, &p.bundle, err);
    if (!st) {
        size_t models = medley_bundle_models(p.bundle);
        p.models = !a->whole ? 0 : models >= 32 ? UINT32_MAX : (1u << models) - 1;
        st = answers_new(&p, a, err);
    }
    if (!st)
        st = classify_all(&p, err);
    if (!st)
        st = write_all(&p, a, err);
    mem_free(p.answers.results);
    mem_free(p.answers.contributions);
    mem_free(p.answers.said);
    medley_bundle_close(p.bundle);
    pairs_free(&p.pairs);
    return st;
}

int verb_predict(int argc, char **argv)
{
    struct arguments a = {0};
    struct workspace w;
    medley_error err;
    cli_parse(&argp, argc, argv, &a);
    if (!common_open(&a.common, &w))
        return 1;
    int status = predict(&a, &w, &err) ? cli_fail(&err) : 0;
    workspace_close(&w);
    return status;
}
