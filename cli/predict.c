/* predict.c: `medley predict`: labels pairs of a file with the workspace's bundle. Pairs of one
 * query are judged together, as a list. */
#include "cli/common.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"
#include "data/import.h"
#include "ensemble/judge.h"
#include "medley/bundle.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { KEY_PAIRS = 1000, KEY_EXPLAIN, KEY_BUNDLE, KEY_WHOLE, KEY_EACH };

struct arguments {
    struct common_options common;
    const char *pairs, *output, *bundle;
    bool explain, each, whole;
};

static const struct argp_option options[] = {
    {"pairs", KEY_PAIRS, "FILE", 0,
     "query, product_id, product_locale, and if you like example_id and product texts; "
     ".csv, .tsv, .jsonl or .parquet (required)",
     0},
    {"output", 'o', "FILE", 0, "where to write, - for stdout [-]", 0},
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
        "  medley predict -C shop --pairs new.csv -o labelled.csv",
};

struct prediction {
    medley_bundle *bundle;
    struct pairs pairs;
    struct judge_answers answers; /* by pair */
    uint32_t models;              /* to ask; 0: as the bundle does */
    FILE *out;
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

static void write_field(FILE *out, struct str s)
{
    if (!memchr(s.s ? s.s : "", ',', s.n) && !memchr(s.s ? s.s : "", '"', s.n) &&
        !memchr(s.s ? s.s : "", '\n', s.n) && !memchr(s.s ? s.s : "", '\r', s.n)) {
        fprintf(out, "%.*s", (int)s.n, s.s ? s.s : "");
        return;
    }
    fputc('"', out);
    for (size_t i = 0; i < s.n; i++) {
        if (s.s[i] == '"')
            fputc('"', out);
        fputc(s.s[i], out);
    }
    fputc('"', out);
}

static void write_header(const struct prediction *p)
{
    const medley_bundle *b = p->bundle;
    size_t k = medley_bundle_classes(b);
    fprintf(p->out, "example_id,label");
    for (size_t c = 0; c < k; c++)
        fprintf(p->out, ",p_%s", medley_bundle_class(b, c));
    if (p->answers.contributions) {
        for (size_t c = 0; c < k; c++)
            fprintf(p->out, ",margin_%s", medley_bundle_class(b, c));
        for (size_t c = 0; c < k; c++)
            fprintf(p->out, ",base_%s", medley_bundle_class(b, c));
        for (size_t m = 0; m <= medley_bundle_models(b); m++)
            for (size_t c = 0; c < k; c++)
                fprintf(p->out, ",contribution_%s_%s", common_player(b, m),
                        medley_bundle_class(b, c));
    }
    for (size_t m = 0; m < medley_bundle_models(b) && p->answers.said; m++)
        for (size_t c = 0; c < k; c++)
            fprintf(p->out, ",p_%s_%s", medley_bundle_model(b, m), medley_bundle_class(b, c));
    if (in_stages(p))
        fprintf(p->out, ",cascade_stage,models_used");
    fputc('\n', p->out);
}

/* "gcn+minilm" */
static void write_used(const struct prediction *p, uint32_t used)
{
    const char *between = "";
    for (size_t m = 0; m < medley_bundle_models(p->bundle); m++) {
        if (!(used >> m & 1))
            continue;
        fprintf(p->out, "%s%s", between, medley_bundle_model(p->bundle, m));
        between = "+";
    }
}

/* Row i of n columns; NaN is left empty. */
static void write_numbers(FILE *out, const float *rows, size_t i, size_t n)
{
    for (size_t j = 0; j < n; j++)
        if (isnan(rows[i * n + j]))
            fputc(',', out);
        else
            fprintf(out, ",%.9g", (double)rows[i * n + j]);
}

static void write_row(const struct prediction *p, size_t i)
{
    size_t k = medley_bundle_classes(p->bundle), n_models = medley_bundle_models(p->bundle);
    const medley_result *r = &p->answers.results[i];
    double base[MEDLEY_MAX_CLASSES];
    medley_bundle_stage_base(p->bundle, r->stages, base);
    write_field(p->out, column_at(&p->pairs.example_id, i));
    fprintf(p->out, ",%s", medley_bundle_class(p->bundle, r->label));
    for (size_t c = 0; c < k; c++)
        fprintf(p->out, ",%.9g", (double)r->probabilities[c]);
    if (p->answers.contributions) {
        for (size_t c = 0; c < k; c++)
            fprintf(p->out, ",%.9g", (double)r->margins[c]);
        for (size_t c = 0; c < k; c++)
            fprintf(p->out, ",%.9g", base[c]);
        write_numbers(p->out, p->answers.contributions, i, (n_models + 1) * k);
    }
    if (p->answers.said)
        write_numbers(p->out, p->answers.said, i, n_models * k);
    if (in_stages(p)) {
        fprintf(p->out, ",%u,", r->stages);
        write_used(p, r->models_used);
    }
    fputc('\n', p->out);
}

static medley_status write_all(struct prediction *p, const char *path, medley_error *err)
{
    struct outfile file = {0};
    bool to_stdout = !path || strcmp(path, "-") == 0;
    medley_status st = to_stdout ? MEDLEY_OK : outfile_open(&file, path, err);
    if (st)
        return st;
    p->out = to_stdout ? stdout : file.f;
    write_header(p);
    for (size_t i = 0; i < p->pairs.n; i++)
        write_row(p, i);
    if (!to_stdout)
        return outfile_commit(&file, err);
    return fflush(stdout) == 0 ? MEDLEY_OK : fail(err, MEDLEY_EIO, "cannot write to stdout");
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
        st = write_all(&p, a->output, err);
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
