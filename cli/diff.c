/* diff.c: `medley diff A B`: two bundles side by side on the same pairs. */
#include "cli/common.h"

#include "base/error.h"
#include "base/map.h"
#include "base/memory.h"
#include "data/import.h"
#include "ensemble/bundle_diff.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { KEY_PAIRS = 1000, KEY_SHOW, KEY_MOST, EXIT_CHANGED = 3 };

struct arguments {
    struct common_options common;
    const char *bundle[2], *pairs;
    size_t n_bundles, show;
    double most; /* share of labels that may change; negative: any */
};

static const struct argp_option options[] = {
    {"pairs", KEY_PAIRS, "FILE", 0,
     "pairs as for `medley predict` [the labelled pairs of the test split]", 0},
    {"show", KEY_SHOW, "N", 0, "changed pairs to print [10]", 0},
    {"max-changed", KEY_MOST, "SHARE", 0,
     "exit with 3 when more labels than that share change, such as 0 or 0.02", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    switch (key) {
    case KEY_PAIRS:
        a->pairs = arg;
        return 0;
    case KEY_SHOW:
        a->show = (size_t)cli_count("--show", arg, 0, 1000000);
        return 0;
    case KEY_MOST:
        a->most = cli_number("--max-changed", arg, 0, 1);
        return 0;
    case ARGP_KEY_ARG:
        if (a->n_bundles == 2)
            argp_error(state, "unexpected argument '%s'", arg);
        a->bundle[a->n_bundles++] = arg;
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->common;
        return 0;
    case ARGP_KEY_END:
        if (a->n_bundles != 2)
            argp_error(state, "expected two bundles, A and B");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&common_json_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {
    .options = options,
    .parser = parse,
    .children = children,
    .args_doc = "A B",
    .doc =
        "Compare two bundles on the same pairs: which labels changed, and which base model did "
        "it.\vA and B are folders, or names in bundle/ of the workspace: current, an id, or "
        "the "
        "beginning of one. Differences of contributions sum to the difference of margins. Exit "
        "status: 0 done, 1 failed, 2 wrong usage, 3 more changed than --max-changed allows.\n"
        "Example:\n  medley diff -C shop 1d374b59 current --max-changed 0.02",
};

/* ---- bundles ---- */

/* A folder, or the only name in bundle/ that begins so. */
static medley_status find_bundle(const struct workspace *w, const char *name, struct path *out,
                                 medley_error *err)
{
    struct path whole = workspace_path(w, "bundle/%s", name);
    if (!strchr(name, '/') && folder_exists(whole.s)) {
        *out = whole;
        return MEDLEY_OK;
    }
    struct dirent *e = NULL;
    DIR *folder = strchr(name, '/') ? NULL : opendir(workspace_path(w, "bundle").s);
    size_t found = 0;
    while (folder && (e = readdir(folder)))
        if (e->d_name[0] != '.' && strncmp(e->d_name, name, strlen(name)) == 0) {
            *out = workspace_path(w, "bundle/%s", e->d_name);
            found++;
        }
    if (folder)
        closedir(folder);
    if (found > 1)
        return fail(err, MEDLEY_EINVAL, "%zu bundles begin with '%s'", found, name);
    if (found == 0 && snprintf(out->s, sizeof out->s, "%s", name) >= (int)sizeof out->s)
        return fail(err, MEDLEY_EINVAL, "the path of a bundle is too long");
    return MEDLEY_OK;
}

/* ---- pairs ---- */

/* The example of every id, to tell the truth where a file's pair is one of them. */
static medley_status know_truth(const struct dataset *d, struct diff_pair *pairs, size_t n,
                                medley_error *err)
{
    struct map *ids = map_new(d->n_examples);
    medley_status st = ids ? MEDLEY_OK : fail_memory(err, "example ids");
    for (size_t i = 0; i < d->n_examples && !st; i++) {
        bool added;
        if (map_add(ids, column_at(&d->example_id, i), &added) == MAP_NONE)
            st = fail_memory(err, "example ids");
    }
    for (size_t i = 0; i < n && !st; i++) {
        uint32_t e = map_find(ids, pairs[i].example_id);
        if (e < d->n_examples &&
            str_eq(column_at(&d->product_id, d->example_product[e]),
                   pairs[i].pair.product_id) &&
            str_eq(column_at(&d->query_text, d->example_query[e]), pairs[i].pair.text.query))
            pairs[i].label = d->example_label[e];
    }
    map_free(ids);
    return st;
}

static medley_status pairs_of_file(const struct workspace *w, const struct pairs *file,
                                   struct diff_pair **out, size_t *n, medley_error *err)
{
    struct diff_pair *list = mem_alloc(file->n + 1, sizeof *list);
    if (!list)
        return fail_memory(err, "pairs");
    for (size_t i = 0; i < file->n; i++) {
        list[i] = (struct diff_pair){.pair = {file->texts[i], column_at(&file->product_id, i)},
                                     .example_id = column_at(&file->example_id, i),
                                     .title = file->texts[i].product.title,
                                     .label = LABEL_NONE};
        uint32_t p =
            dataset_find_product(&w->data, list[i].pair.product_id, file->texts[i].locale);
        if (!list[i].title.n && p != UINT32_MAX)
            list[i].title = column_at(&w->data.title, p);
    }
    *out = list;
    *n = file->n;
    return know_truth(&w->data, list, file->n, err);
}

static medley_status pairs_of_test(const struct workspace *w, struct diff_pair **out, size_t *n,
                                   medley_error *err)
{
    const struct dataset *d = &w->data;
    struct diff_pair *list = mem_alloc(d->n_examples + 1, sizeof *list);
    if (!list)
        return fail_memory(err, "pairs");
    for (size_t i = 0; i < d->n_examples; i++) {
        if (d->example_split[i] != SPLIT_TEST || d->example_label[i] == LABEL_NONE)
            continue;
        uint32_t q = d->example_query[i], p = d->example_product[i];
        struct pair_text text = {.query = column_at(&d->query_text, q),
                                 .locale = str_of(d->locale_names[d->query_locale[q]])};
        list[(*n)++] = (struct diff_pair){.pair = {text, column_at(&d->product_id, p)},
                                          .example_id = column_at(&d->example_id, i),
                                          .title = column_at(&d->title, p),
                                          .label = d->example_label[i]};
    }
    *out = list;
    return *n ? MEDLEY_OK
              : fail(err, MEDLEY_EINVAL, "the test split has no labelled pairs (try --pairs)");
}

/* ---- text ---- */

static double number(const json *object, const char *key)
{
    double v = NAN;
    json_as_double(json_get(object, key), &v);
    return v;
}

static const char *text(const json *object, const char *key)
{
    const char *v = "";
    json_as_text(json_get(object, key), &v);
    return v;
}

static void print_bundle(const json *d, const char *key, const char *title)
{
    const json *s = json_get(d, key), *order = json_get(s, "cascade");
    bool staged = json_kind_of(order) == JSON_ARRAY;
    printf("%s %s%s:", title, text(s, "bundle"), staged ? ", in stages" : "");
    for (const json *m = json_first(staged ? order : json_get(s, "models")); m;
         m = json_next(m)) {
        const char *name = "";
        json_as_text(m, &name);
        printf(" %s", name);
    }
    printf("%s%s\n", strcmp(text(s, "calibration"), "none") == 0 ? "" : ", calibrated by ",
           strcmp(text(s, "calibration"), "none") == 0 ? "" : text(s, "calibration"));
}

static void print_counts(const json *d)
{
    printf("\n%-14s", "A \\ B");
    for (const json *c = json_first(json_get(d, "labels")); c; c = json_next(c)) {
        const char *name = "";
        json_as_text(c, &name);
        printf(" %8s", name);
    }
    const json *label = json_first(json_get(d, "labels"));
    for (const json *row = json_first(json_get(d, "counts")); row && label;
         row = json_next(row), label = json_next(label)) {
        const char *name = "";
        json_as_text(label, &name);
        printf("\n%-14s", name);
        for (const json *v = json_first(row); v; v = json_next(v)) {
            double n = NAN;
            json_as_double(v, &n);
            printf(" %8.0f", n);
        }
    }
    printf("\n");
}

static void print_truth(const json *t)
{
    if (json_kind_of(t) != JSON_OBJECT)
        return;
    const json *a = json_get(t, "a"), *b = json_get(t, "b");
    printf("\nOf %.0f labelled pairs %.0f became right and %.0f wrong: accuracy %.4f to %.4f, "
           "macro-F1 %.4f to %.4f, log-loss %.4f to %.4f\n",
           number(t, "n"), number(t, "fixed"), number(t, "broken"), number(a, "accuracy"),
           number(b, "accuracy"), number(a, "macro_f1"), number(b, "macro_f1"),
           number(a, "log_loss"), number(b, "log_loss"));
}

static void print_players(const json *d)
{
    printf("\nWhat did it           labels turned   toward the new label   mean |change|\n");
    for (const json *p = json_first(json_get(d, "players")); p; p = json_next(p))
        printf("  %-20s %12.0f %22.4f %15.4f%s\n", text(p, "name"), number(p, "caused"),
               number(p, "toward"), number(p, "mean_abs_change"),
               strcmp(text(p, "in"), "a") == 0   ? "   only in A"
               : strcmp(text(p, "in"), "b") == 0 ? "   only in B"
                                                 : "");
    if (number(d, "caused_by_calibration") > 0)
        printf("  %-20s %12.0f\n", "calibration", number(d, "caused_by_calibration"));
}

static void print_pair(const json *p)
{
    const json *truth = json_get(p, "truth");
    printf("\n%s -> %s  %s | %s %.60s%s%s\n", text(json_get(p, "a"), "label"),
           text(json_get(p, "b"), "label"), text(p, "query"), text(p, "product"),
           text(p, "title"), json_kind_of(truth) == JSON_STRING ? "  truth " : "",
           text(p, "truth"));
    printf("    %+.4f =", number(p, "grew"));
    for (const json *t = json_first(json_get(p, "toward")); t; t = json_next(t)) {
        double v = NAN;
        if (json_as_double(t, &v) && v != 0)
            printf(" %s %+.4f", json_key(t), v);
    }
    printf("\n");
}

static void print_text(const json *d, size_t show)
{
    print_bundle(d, "a", "A"), print_bundle(d, "b", "B");
    double n = number(d, "n"), changed = number(d, "changed");
    printf("%.0f of %.0f labels changed (%.2f%%)\n", changed, n,
           n > 0 ? 100 * changed / n : 0.0);
    print_counts(d);
    print_truth(json_get(d, "truth"));
    print_players(d);
    size_t shown = 0;
    for (const json *p = json_first(json_get(d, "pairs")); p && shown < show;
         p = json_next(p), shown++)
        print_pair(p);
    if ((double)shown < changed)
        printf("\n%.0f more changed pairs: --show N, or --json\n", changed - (double)shown);
}

/* ---- the verb ---- */

static medley_status compare(const struct arguments *a, struct workspace *w, struct strbuf *out,
                             struct diff_counts *counts, medley_error *err)
{
    medley_bundle *bundle[2] = {NULL, NULL};
    struct pairs file = {0};
    struct diff_pair *pairs = NULL;
    size_t n = 0;
    medley_status st = workspace_open_data(w, err);
    for (size_t i = 0; i < 2 && !st; i++) {
        struct path p = {{0}};
        st = find_bundle(w, a->bundle[i], &p, err);
        if (!st)
            st = medley_bundle_open(p.s, &bundle[i], err);
    }
    if (!st && a->pairs)
        st = pairs_read(a->pairs, &w->config.data.columns, &file, err);
    if (!st)
        st = a->pairs ? pairs_of_file(w, &file, &pairs, &n, err)
                      : pairs_of_test(w, &pairs, &n, err);
    if (!st)
        st = bundle_diff(bundle[0], bundle[1], pairs, n, out, counts, err);
    medley_bundle_close(bundle[0]);
    medley_bundle_close(bundle[1]);
    mem_free(pairs);
    pairs_free(&file);
    return st;
}

static int show(const struct arguments *a, struct str result)
{
    medley_error err;
    json *root = NULL;
    if (a->common.json)
        return fwrite(result.s, 1, result.n, stdout) == result.n ? 0 : 1;
    if (json_parse(result, "diff", &root, &err))
        return cli_fail(&err);
    print_text(root, a->show);
    json_free(root);
    return 0;
}

int verb_diff(int argc, char **argv)
{
    struct arguments a = {.show = 10, .most = -1};
    struct workspace w;
    struct diff_counts counts = {0, 0};
    struct strbuf out;
    medley_error err;
    cli_parse(&argp, argc, argv, &a);
    if (!common_open(&a.common, &w))
        return 1;
    sb_init(&out);
    int status = compare(&a, &w, &out, &counts, &err) ? cli_fail(&err) : show(&a, sb_str(&out));
    if (status == 0 && a.most >= 0 && (double)counts.changed > a.most * (double)counts.n)
        status = EXIT_CHANGED;
    sb_deinit(&out);
    workspace_close(&w);
    return status;
}
