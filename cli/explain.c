/* explain.c: `medley explain`: why one product got its label for one query. */
#include "cli/common.h"
#include "cli/show.h"

#include "base/error.h"
#include "base/memory.h"
#include "ensemble/explain.h"
#include "report/report.h"

#include <stdio.h>
#include <string.h>

enum {
    KEY_QUERY = 1000,
    KEY_PRODUCT,
    KEY_LOCALE,
    KEY_TITLE,
    KEY_BUNDLE,
    KEY_HTML,
    KEY_LIST,
    KEY_WHOLE,
    KEY_QUICK,
    KEY_NEIGHBOURS,
    LIST_LIMIT = 1000
};

struct arguments {
    struct common_options common;
    const char *query, *product, *title, *locale, *bundle, *html;
    bool list, whole, quick;
    unsigned neighbours;
};

static const struct argp_option options[] = {
    {"query", KEY_QUERY, "TEXT", 0, "what was searched for (required)", 0},
    {"product", KEY_PRODUCT, "ID", 0, "a product of the bundle", 0},
    {"title", KEY_TITLE, "TEXT", 0, "or the title of any product", 0},
    {"locale", KEY_LOCALE, "TAG", 0, "[us]", 0},
    {"bundle", KEY_BUNDLE, "DIR", 0, "another bundle than the workspace's current one", 0},
    {"html", KEY_HTML, "FILE", 0, "also write a page that needs nothing but itself", 0},
    {"list", KEY_LIST, NULL, 0,
     "judge the product beside all that are judged for this query in the workspace, as "
     "`medley predict` of them does, not alone",
     0},
    {"whole", KEY_WHOLE, NULL, 0, "ask every model, even if the bundle has a cascade", 0},
    {"quick", KEY_QUICK, NULL, 0, "leave out the words, which take a second", 0},
    {"neighbours", KEY_NEIGHBOURS, "N", 0, "of the query and of the product in the graph [5]",
     0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    switch (key) {
    case KEY_QUERY:
        a->query = arg;
        return 0;
    case KEY_PRODUCT:
        a->product = arg;
        return 0;
    case KEY_TITLE:
        a->title = arg;
        return 0;
    case KEY_LOCALE:
        a->locale = arg;
        return 0;
    case KEY_BUNDLE:
        a->bundle = arg;
        return 0;
    case KEY_HTML:
        a->html = arg;
        return 0;
    case KEY_LIST:
        a->list = true;
        return 0;
    case KEY_WHOLE:
        a->whole = true;
        return 0;
    case KEY_QUICK:
        a->quick = true;
        return 0;
    case KEY_NEIGHBOURS:
        a->neighbours = (unsigned)cli_count("--neighbours", arg, 0, 1000);
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->common;
        return 0;
    case ARGP_KEY_END:
        if (!a->query || (!a->product && !a->title))
            argp_error(state, "expected --query TEXT and --product ID or --title TEXT");
        if (a->list && (!a->product || a->title))
            argp_error(state, "--list needs --product ID, and no --title");
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
    .doc =
        "Explain one decision: what each base model said and added to the margin of each "
        "class, which two mattered together, what graph models saw, and which words moved "
        "the language model that mattered most.\v"
        "The contributions of a class and its base value sum to its margin; the words sum "
        "to what the model's own margin has over that of the same pair with all words "
        "masked.\nExample:\n"
        "  medley explain -C shop --query 'usb c cable' --product B07NCQWCQS --html why.html",
};

/* ---- the list ---- */

/* All products that the workspace judges for the query; the one asked for comes in if it is not
 * among them. products[LIST_LIMIT]. */
static medley_status take_list(struct workspace *w, const struct arguments *a,
                               struct str locale, medley_product *products,
                               struct explain_ask *ask, medley_error *err)
{
    medley_status st = workspace_open_data(w, err);
    if (st)
        return st;
    const struct dataset *d = &w->data;
    uint32_t query = dataset_find_query(d, str_trim(str_of(a->query)), locale);
    size_t n = 0, which = SIZE_MAX;
    for (size_t i = 0; i < d->n_examples && n < LIST_LIMIT - 1; i++) {
        if (d->example_query[i] != query)
            continue;
        struct str id = column_at(&d->product_id, d->example_product[i]);
        if (str_is(id, a->product))
            which = n;
        products[n++] = (medley_product){.id = {id.s, id.n}};
    }
    if (query == UINT32_MAX)
        return fail(err, MEDLEY_EINVAL, "--list: the workspace judges nothing for '%s'",
                    a->query);
    if (which == SIZE_MAX) {
        which = n;
        products[n++] = (medley_product){.id = {a->product, strlen(a->product)}};
    }
    ask->n = n;
    ask->which = which;
    return MEDLEY_OK;
}

static medley_status explain(const struct arguments *a, struct workspace *w,
                             const medley_bundle *b, struct strbuf *out, medley_error *err)
{
    const char *locale = a->locale ? a->locale : "us", *id = a->product ? a->product : "";
    size_t models = medley_bundle_models(b);
    medley_product *products = mem_zalloc(LIST_LIMIT, sizeof *products);
    struct explain_ask ask = {.query = {a->query, strlen(a->query)},
                              .locale = {locale, strlen(locale)},
                              .products = products,
                              .n = 1,
                              .models = !a->whole      ? 0
                                        : models >= 32 ? UINT32_MAX
                                                       : (1u << models) - 1,
                              .tokens = !a->quick,
                              .neighbours = a->neighbours};
    struct json_writer j;
    medley_status st = products ? MEDLEY_OK : fail_memory(err, "products");
    if (!st && a->list) {
        st = take_list(w, a, str_of(locale), products, &ask, err);
    } else if (!st) {
        products[0] = (medley_product){.id = {id, strlen(id)}, .has_text = a->title != NULL};
        if (a->title)
            products[0].title = (medley_text){a->title, strlen(a->title)};
    }
    jw_init(&j, out, true);
    if (!st)
        st = bundle_explain(b, &ask, &j, err);
    sb_addc(out, '\n');
    mem_free(products);
    return st || !out->failed ? st : fail_memory(err, "an explanation");
}

static medley_status present(const struct arguments *a, struct str result, medley_error *err)
{
    json *root = NULL;
    medley_status st = json_parse(result, "explain", &root, err);
    if (!st && a->html)
        st = explanation_write(root, a->html, err);
    if (!st && a->common.json)
        fwrite(result.s, 1, result.n, stdout);
    else if (!st)
        show_explanation(root);
    json_free(root);
    if (!st && fflush(stdout) != 0)
        st = fail(err, MEDLEY_EIO, "cannot write to stdout");
    return st;
}

int verb_explain(int argc, char **argv)
{
    struct arguments a = {.neighbours = 5};
    struct workspace w;
    struct strbuf out;
    medley_error err;
    medley_bundle *b = NULL;
    cli_parse(&argp, argc, argv, &a);
    if (!common_open(&a.common, &w))
        return 1;
    sb_init(&out);
    struct path current = workspace_path(&w, "bundle/current");
    medley_status st = medley_bundle_open(a.bundle ? a.bundle : current.s, &b, &err);
    if (!st)
        st = explain(&a, &w, b, &out, &err);
    if (!st)
        st = present(&a, sb_str(&out), &err);
    medley_bundle_close(b);
    sb_deinit(&out);
    workspace_close(&w);
    return st ? cli_fail(&err) : 0;
}
