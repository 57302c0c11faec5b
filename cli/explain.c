/* explain.c: `medley explain`: why one product got its label for one query. */
#include "cli/common.h"

#include "base/error.h"
#include "base/memory.h"
#include "medley/bundle.h"

#include <stdio.h>
#include <string.h>

enum { KEY_QUERY = 1000, KEY_PRODUCT, KEY_LOCALE, KEY_TITLE, KEY_BUNDLE };

struct arguments {
    struct common_options common;
    const char *query, *product, *title, *locale, *bundle;
};

static const struct argp_option options[] = {
    {"query", KEY_QUERY, "TEXT", 0, "what was searched for (required)", 0},
    {"product", KEY_PRODUCT, "ID", 0, "a product of the bundle", 0},
    {"title", KEY_TITLE, "TEXT", 0, "or the title of any product", 0},
    {"locale", KEY_LOCALE, "TAG", 0, "[us]", 0},
    {"bundle", KEY_BUNDLE, "DIR", 0, "another bundle than the workspace's current one", 0},
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
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->common;
        return 0;
    case ARGP_KEY_END:
        if (!a->query || (!a->product && !a->title))
            argp_error(state, "expected --query TEXT and --product ID or --title TEXT");
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
    .doc = "Explain one decision: what each base model added to the margin of each class.\v"
           "The contributions of a class and its base value sum to its margin.\nExample:\n"
           "  medley explain -C shop --query 'usb c cable' --product B07NCQWCQS",
};

static void print_text(const medley_bundle *b, const medley_result *r,
                       const float *contributions, const double *base)
{
    size_t k = medley_bundle_classes(b);
    printf("label %s%s\n\n%-20s", medley_bundle_class(b, r->label),
           r->known_product ? "" : " (the product is unknown: judged by the query alone)", "");
    for (size_t c = 0; c < k; c++)
        printf(" %9s", medley_bundle_class(b, c));
    printf("\n%-20s", "probability");
    for (size_t c = 0; c < k; c++)
        printf(" %9.4f", (double)r->probabilities[c]);
    printf("\n\n%-20s", "base");
    for (size_t c = 0; c < k; c++)
        printf(" %+9.4f", base[c]);
    for (size_t m = 0; m <= medley_bundle_models(b); m++) {
        printf("\n%-20s", common_player(b, m));
        for (size_t c = 0; c < k; c++)
            printf(" %+9.4f", (double)contributions[m * k + c]);
    }
    printf("\n%-20s", "= margin");
    for (size_t c = 0; c < k; c++)
        printf(" %+9.4f", (double)r->margins[c]);
    printf("\n");
}

static void write_classes(struct json_writer *w, const medley_bundle *b, const char *key,
                          const float *values)
{
    jw_key(w, key), jw_object(w);
    for (size_t c = 0; c < medley_bundle_classes(b); c++)
        jw_key(w, medley_bundle_class(b, c)), jw_float(w, values[c]);
    jw_object_end(w);
}

static void print_json(const medley_bundle *b, const struct arguments *a,
                       const medley_result *r, const float *contributions, const double *base)
{
    struct strbuf text;
    struct json_writer w;
    float base_values[MEDLEY_MAX_CLASSES];
    size_t k = medley_bundle_classes(b);
    for (size_t c = 0; c < k; c++)
        base_values[c] = (float)base[c];
    sb_init(&text);
    jw_init(&w, &text, true);
    jw_object(&w);
    jw_key(&w, "bundle"), jw_textz(&w, medley_bundle_id(b));
    jw_key(&w, "query"), jw_textz(&w, a->query);
    jw_key(&w, "product"), jw_textz(&w, a->product);
    jw_key(&w, "known_product"), jw_bool(&w, r->known_product);
    jw_key(&w, "label"), jw_textz(&w, medley_bundle_class(b, r->label));
    write_classes(&w, b, "probabilities", r->probabilities);
    write_classes(&w, b, "margins", r->margins);
    write_classes(&w, b, "base", base_values);
    jw_key(&w, "contributions"), jw_object(&w);
    for (size_t m = 0; m <= medley_bundle_models(b); m++)
        write_classes(&w, b, common_player(b, m), contributions + m * k);
    jw_object_end(&w);
    jw_object_end(&w);
    if (!text.failed)
        printf("%s\n", text.s);
    sb_deinit(&text);
}

static medley_status explain(const struct arguments *a, const medley_bundle *b,
                             medley_error *err)
{
    float contributions[(MEDLEY_MAX_MODELS + 1) * MEDLEY_MAX_CLASSES];
    double base[MEDLEY_MAX_CLASSES];
    medley_result result;
    const char *locale = a->locale ? a->locale : "us", *id = a->product ? a->product : "";
    medley_product product = {.id = {id, strlen(id)}, .has_text = a->title != NULL};
    if (a->title)
        product.title = (medley_text){a->title, strlen(a->title)};
    medley_classify_options how = {.contributions = contributions};
    medley_status st = medley_bundle_classify(b, (medley_text){a->query, strlen(a->query)},
                                              (medley_text){locale, strlen(locale)}, &product,
                                              1, &how, &result, err);
    if (st)
        return st;
    medley_bundle_base(b, base);
    if (a->common.json)
        print_json(b, a, &result, contributions, base);
    else
        print_text(b, &result, contributions, base);
    return MEDLEY_OK;
}

int verb_explain(int argc, char **argv)
{
    struct arguments a = {0};
    struct workspace w;
    medley_error err;
    medley_bundle *b = NULL;
    cli_parse(&argp, argc, argv, &a);
    if (!common_open(&a.common, &w))
        return 1;
    struct path current = workspace_path(&w, "bundle/current");
    medley_status st = medley_bundle_open(a.bundle ? a.bundle : current.s, &b, &err);
    if (!st)
        st = explain(&a, b, &err);
    medley_bundle_close(b);
    workspace_close(&w);
    return st ? cli_fail(&err) : 0;
}
