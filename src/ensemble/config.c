/* config.c: medley.yaml as a whole, and its small sections; see config.h. */
#include "ensemble/config_private.h"

#include "base/error.h"
#include "ensemble/config_plugged.h"

#include <string.h>

static const char *const metric_choices[] = {"macro_f1", "accuracy", "log_loss", NULL};
static const char *const prefer_choices[] = {"best", "knee", "cheapest", NULL};

/* clang-format off */
static const struct yaml_field stacking_fields[] = {
    ROW("folds", YAML_UNSIGNED, stacking_config, folds, 2, 50, NULL, "query-grouped folds for out-of-fold predictions [3]"),
    ROW("seed", YAML_U64, stacking_config, seed, 0, 0, NULL, "of all that is random [1]"),
    END,
};

#define GBDT(key, type, member, min, max, help) ROW(key, type, ensemble_config, member, min, max, NULL, help)
static const struct yaml_field ensemble_fields[] = {
    GBDT("rounds", YAML_UNSIGNED, rounds, 1, 100000, "at most; cross-validation chooses [400]"),
    GBDT("num_leaves", YAML_UNSIGNED, num_leaves, 2, 255, "[6]"),
    GBDT("min_data_in_leaf", YAML_UNSIGNED, min_data_in_leaf, 1, 1000000, "[a 32nd of the rows, 20 to 200]"),
    GBDT("learning_rate", YAML_DOUBLE, learning_rate, 1e-4, 1, "[0.04]"),
    GBDT("lambda_l2", YAML_DOUBLE, lambda_l2, 0, 1e6, "[1]"),
    GBDT("feature_fraction", YAML_DOUBLE, feature_fraction, 0.01, 1, "features tried per tree [0.2]"),
    GBDT("mask_rate", YAML_DOUBLE, mask_rate, 0, 0.9, "share of whole models made missing while training [0.1]"),
    GBDT("class_weights", YAML_TEXT, class_weights, 0, 0, "balanced, balanced^0.5 (a power of 0 to 1), or one number a class by commas; macro-F1 for accuracy and log-loss [1 each]"),
    GBDT("plain", YAML_BOOL, plain, 0, 0, "base models' probabilities only, no context features [false]"),
    END,
};

#define BUDGET(key, type, member, min, max, choices, help) ROW(key, type, budget_config, member, min, max, choices, help)
static const struct yaml_field budget_fields[] = {
    BUDGET("latency_ms", YAML_DOUBLE, latency_ms, 0, 1e9, NULL, "of a list, median"),
    BUDGET("latency_p99_ms", YAML_DOUBLE, latency_p99_ms, 0, 1e9, NULL, "of a list, 99th percentile"),
    BUDGET("pairs", YAML_UNSIGNED, pairs, 1, 64, NULL, "in that list: 1, 8 or 64 [1]"),
    BUDGET("cores", YAML_UNSIGNED, cores, 1, 64, NULL, "models side by side on so many cores [1: one after the other]"),
    BUDGET("throughput", YAML_DOUBLE, throughput, 0, 1e9, NULL, "at least so many pairs a second and core"),
    BUDGET("memory", YAML_BYTES, memory, 0, 0, NULL, "of the models, e.g. 2G"),
    BUDGET("price", YAML_DOUBLE, price, 0, 1e12, NULL, "of a million pairs"),
    BUDGET("core_hour", YAML_DOUBLE, core_hour, 0, 1e9, NULL, "what a core costs for an hour, to have prices of processor time"),
    BUDGET("pin", YAML_TEXT_LIST, pin, 0, 0, NULL, "models that are always kept"),
    BUDGET("prices", YAML_NODE, prices, 0, 0, NULL, "{model: price of a million pairs}, where it is not processor time"),
    BUDGET("top", YAML_UNSIGNED, top, 1, MEDLEY_MAX_MODELS, NULL, "number of models"),
    BUDGET("metric", YAML_CHOICE, metric, 0, 0, metric_choices, "what to keep high [macro_f1]"),
    BUDGET("prefer", YAML_CHOICE, prefer, 0, 0, prefer_choices, "best; knee of the front; cheapest that is not worse beyond noise [best]"),
    END,
};

struct decide_section {
    struct decide_config decide;
    const struct yaml_node *costs;
};
static const char *const save_choices[] = {"time", "models", NULL};
#define DECIDE(key, type, member, min, max, choices, help) ROW(key, type, decide_section, member, min, max, choices, help)
static const struct yaml_field decide_fields[] = {
    DECIDE("cascade_loss", YAML_DOUBLE, decide.cascade_loss, 0, 1, NULL, "macro-F1 that a cascade may give up [0.003]"),
    DECIDE("save", YAML_CHOICE, decide.save, 0, 0, save_choices, "what a cascade saves: processor time, or evaluations of models [time]"),
    DECIDE("cascade", YAML_BOOL, decide.cascade, 0, 0, NULL, "bundles answer in the cascade's stages [false]"),
    DECIDE("calibrate", YAML_BOOL, decide.calibrate, 0, 0, NULL, "bundles calibrate their probabilities [false]"),
    DECIDE("costs", YAML_NODE, costs, 0, 0, NULL, "rows of what it costs to answer each class (columns) when the row's is true"),
    END,
};

static const char *const admit_names[] = {"twice", "all", NULL};

/* What `serve:` binds to before the counts are worked out. */
struct serve_section {
    struct serve_config serve;
    const struct yaml_node *precompute;
};
struct precompute_section {
    const char *products, *queries;
};
#define SERVE(key, type, member, min, max, help) ROW(key, type, serve_section, serve.member, min, max, NULL, help)
static const struct yaml_field serve_fields[] = {
    SERVE("host", YAML_TEXT, host, 0, 0, "[127.0.0.1]"),
    SERVE("port", YAML_UNSIGNED, port, 1, 65535, "[8080]"),
    SERVE("cache_entries", YAML_UNSIGNED, cache_entries, 0, 1e9, "pairs remembered in memory; 0: no cache [100000]"),
    SERVE("cache_bytes", YAML_BYTES, cache_bytes, 65536, 1e12, "memory for them [64M]"),
    SERVE("cache_ttl_s", YAML_DOUBLE, cache_ttl_s, 0, 1e9, "forget pairs after so long; 0: never [0]"),
    SERVE("products_dir", YAML_TEXT, products_dir, 0, 0, "folder of texts sent to POST /v1/products, relative to the workspace [none: they are refused]"),
    SERVE("cache_dir", YAML_TEXT, cache_dir, 0, 0, "folder of those on disk, relative to the workspace [none]"),
    SERVE("cache_disk", YAML_BYTES, cache_disk, 1048576, 1e13, "size of its file, at most [1G]"),
    ROW("cache_admit", YAML_CHOICE, serve_section, serve.cache_admit, 0, 0, admit_names, "which pairs go to disk and Redis: asked for twice, or all [twice]"),
    SERVE("redis", YAML_TEXT, redis, 0, 0, "host:port[/database] or a socket's /path [none]"),
    SERVE("redis_password_file", YAML_TEXT, redis_password_file, 0, 0, "relative to the workspace [none]"),
    SERVE("redis_timeout_ms", YAML_UNSIGNED, redis_timeout_ms, 1, 10000, "for looking up a list [20]"),
    ROW("precompute", YAML_NODE, serve_section, precompute, 0, 0, NULL, "graph embeddings made ahead"),
    END,
};

static const struct yaml_field precompute_fields[] = {
    ROW("products", YAML_TEXT, precompute_section, products, 0, 0, NULL, "the most frequent n, or all; 0: none [10000]"),
    ROW("queries", YAML_TEXT, precompute_section, queries, 0, 0, NULL, "the most frequent n, or all; 0: none [10000]"),
    END,
};

struct sections {
    const struct yaml_node *data, *models, *stacking, *ensemble, *budget, *decide, *serve;
};
#define SECTION(name, help) ROW(#name, YAML_NODE, sections, name, 0, 0, NULL, help)
static const struct yaml_field section_fields[] = {
    SECTION(data, "what to import"), SECTION(models, "the base models"),
    SECTION(stacking, "out-of-fold predictions"), SECTION(ensemble, "the GBDT over them"),
    SECTION(budget, "what serving may cost"),
    SECTION(decide, "cascade and costs of errors"), SECTION(serve, "the HTTP server"), END,
};
/* clang-format on */

const struct config_section config_sections[] = {
    {"data", "what to import", data_fields},
    {"data.columns", "your column names", column_fields},
    {"data.labels[]", "the classes", label_fields},
    {"data.relations[]", "tables of counts", relation_fields},
    {"models[]", "every base model", model_fields},
    {"models[] of kind lm", "language model", lm_fields},
    {"models[].lora", "of a language model", lora_fields},
    {"models[].pretrain", "of a language model, before its fine-tuning", pretrain_fields},
    {"models[].distill", "of a language model", distill_fields},
    {"models[] of kind gnn", "graph model", gnn_fields},
    {"models[] of kind table", "predictions made elsewhere", table_fields},
    {"models[] of kind plugin", "shared library", plugin_fields},
    {"models[] of kind remote", "inference server", remote_fields},
    {"stacking", "out-of-fold predictions", stacking_fields},
    {"ensemble", "the GBDT", ensemble_fields},
    {"budget", "what serving may cost", budget_fields},
    {"decide", "cascade and costs of errors", decide_fields},
    {"serve", "the HTTP server", serve_fields},
    {"serve.precompute", "graph embeddings made ahead", precompute_fields},
    {NULL, NULL, NULL},
};

medley_status config_refuse(const struct config *c, const struct yaml_node *at,
                            medley_error *err, const char *problem, const char *subject)
{
    return fail(err, MEDLEY_EFORMAT, "%s:%d: %s '%s'", yaml_path(c->document),
                at ? at->line : 1, problem, subject);
}

bool config_plain_name(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    size_t n = strlen(name);
    return n > 0 && n <= 64 && strspn(name, allowed) == n;
}

size_t config_find_model(const struct config *c, const char *name)
{
    size_t m = 0;
    while (m < c->n_models && strcmp(c->models[m].name, name) != 0)
        m++;
    return m < c->n_models ? m : SIZE_MAX;
}

/* What names models, once they are known. */
static medley_status bind_budget(struct config *c, medley_error *err)
{
    const struct yaml_node *node = c->budget.prices;
    for (const char **name = c->budget.pin; name && *name; name++) {
        size_t m = config_find_model(c, *name);
        if (m == SIZE_MAX)
            return config_refuse(c, yaml_get(c->budget_node, "pin"), err,
                                 "budget.pin: no model", *name);
        c->budget.pinned |= UINT32_C(1) << m;
    }
    if (node && node->kind != YAML_MAPPING)
        return config_refuse(c, node, err, "expected {model: price} in", "budget.prices");
    for (size_t i = 0; node && i < node->count; i++) {
        size_t m = config_find_model(c, node->keys[i]);
        double price;
        if (m == SIZE_MAX)
            return config_refuse(c, node->items[i], err, "budget.prices: no model",
                                 node->keys[i]);
        if (node->items[i]->kind != YAML_SCALAR ||
            !str_to_double(str_of(node->items[i]->text), &price) || !(price > 0))
            return config_refuse(c, node->items[i], err,
                                 "expected a number above 0 as price of", node->keys[i]);
        c->budget.price_of[m] = price;
    }
    if (c->budget.pairs != 1 && c->budget.pairs != 8 && c->budget.pairs != 64)
        return config_refuse(c, c->budget_node, err, "budget.pairs is 1, 8 or 64 in", "budget");
    return MEDLEY_OK;
}

/* A number of nodes, or "all". */
static medley_status bind_count(struct config *c, const struct yaml_node *node, const char *key,
                                const char *text, uint64_t *out, medley_error *err)
{
    if (!text)
        return MEDLEY_OK;
    if (strcmp(text, "all") == 0)
        *out = UINT64_MAX;
    else if (!str_to_u64(str_of(text), out))
        return fail(err, MEDLEY_EFORMAT,
                    "%s:%d: serve.precompute.%s: '%s' is neither a whole number nor all",
                    yaml_path(c->document), yaml_get(node, key)->line, key, text);
    return MEDLEY_OK;
}

static medley_status bind_decide(struct config *c, const struct yaml_node *node,
                                 medley_error *err)
{
    struct decide_section section = {.decide = c->decide};
    medley_status st =
        yaml_bind(c->document, node, "decide", decide_fields, NULL, &section, err);
    if (st)
        return st;
    c->decide = section.decide;
    const struct yaml_node *rows = section.costs;
    size_t k = rows ? rows->count : 0;
    if (rows && (rows->kind != YAML_SEQUENCE || k < 2 || k > MAX_CLASSES))
        return config_refuse(c, rows, err, "expected 2 to 16 rows of costs in", "decide.costs");
    for (size_t i = 0; i < k; i++) {
        const struct yaml_node *row = rows->items[i];
        if (row->kind != YAML_SEQUENCE || row->count != k)
            return config_refuse(c, row, err,
                                 "as many costs as there are rows belong in a row of",
                                 "decide.costs");
        for (size_t j = 0; j < k; j++) {
            double *cost = &c->decide.costs[c->decide.n_costs++];
            if (row->items[j]->kind != YAML_SCALAR ||
                !str_to_double(str_of(row->items[j]->text), cost) || !(*cost >= 0))
                return config_refuse(c, row, err, "expected numbers from 0 in", "decide.costs");
        }
    }
    return MEDLEY_OK;
}

static medley_status bind_serve(struct config *c, const struct yaml_node *node,
                                medley_error *err)
{
    struct serve_section section = {.serve = c->serve};
    struct precompute_section counts = {NULL, NULL};
    medley_status st = yaml_bind(c->document, node, "serve", serve_fields, NULL, &section, err);
    if (!st)
        st = yaml_bind(c->document, section.precompute, "serve.precompute", precompute_fields,
                       NULL, &counts, err);
    if (st)
        return st;
    c->serve = section.serve;
    struct precompute_config *p = &c->serve.precompute;
    st = bind_count(c, section.precompute, "products", counts.products, &p->products, err);
    if (!st)
        st = bind_count(c, section.precompute, "queries", counts.queries, &p->queries, err);
    return st;
}

static medley_status bind_sections(struct config *c, medley_error *err)
{
    struct sections s = {0};
    struct yaml_document *d = c->document;
    medley_status st = yaml_bind(d, yaml_root(d), "the file", section_fields, NULL, &s, err);
    if (st)
        return st;
    c->data_node = s.data;
    c->stacking_node = s.stacking;
    c->ensemble_node = s.ensemble;
    c->budget_node = s.budget;
    c->decide_node = s.decide;
    if (!s.data)
        return config_refuse(c, yaml_root(d), err, "missing section", "data");
    if ((st = config_bind_data(c, s.data, err)) ||
        (st = yaml_bind(d, s.stacking, "stacking", stacking_fields, NULL, &c->stacking, err)) ||
        (st = yaml_bind(d, s.ensemble, "ensemble", ensemble_fields, NULL, &c->ensemble, err)) ||
        (st = yaml_bind(d, s.budget, "budget", budget_fields, NULL, &c->budget, err)) ||
        (st = bind_decide(c, s.decide, err)) || (st = bind_serve(c, s.serve, err)))
        return st;
    st = config_bind_models(c, s.models, err);
    return st ? st : bind_budget(c, err);
}

medley_status config_load(const char *path, struct config *out, medley_error *err)
{
    *out = (struct config){
        .stacking = {.folds = 3, .seed = 1},
        .ensemble = {.rounds = 400,
                     .num_leaves = 6,
                     .learning_rate = 0.04,
                     .lambda_l2 = 1,
                     .feature_fraction = 0.2,
                     .mask_rate = 0.1},
        .budget = {.metric = "macro_f1", .prefer = "best", .pairs = 1},
        .decide = {.cascade_loss = 0.003, .save = "time"},
        .serve = {.host = "127.0.0.1",
                  .port = 8080,
                  .cache_entries = 100000,
                  .cache_bytes = 64 << 20,
                  .cache_disk = UINT64_C(1) << 30,
                  .cache_admit = "twice",
                  .redis_timeout_ms = 20,
                  .precompute = {10000, 10000}},
    };
    medley_status st = yaml_load(path, &out->document, err);
    if (!st)
        st = bind_sections(out, err);
    if (st)
        config_free(out);
    return st;
}

void config_free(struct config *c)
{
    yaml_free(c->document);
    memset(c, 0, sizeof *c);
}
