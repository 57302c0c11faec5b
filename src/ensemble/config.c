/* config.c: the tables that medley.yaml is bound by; see config.h. A new key is one line here.
 */
#include "ensemble/config.h"

#include "base/error.h"
#include "lm/encoder.h"

#include <string.h>

const char *const model_kind_names[KIND_COUNT + 1] = {"lm", "gnn", "table", NULL};

static const char *const layer_names[] = {"gcn",   "sage", "sage-max",
                                          "gatv2", "rgcn", NULL};
static const char *const jumping_names[] = {"last", "cat", "max", NULL};
static const char *const training_names[] = {"auto", "sampled", "full", NULL};
static const char *const schedule_names[] = {"linear", "cosine", "constant", NULL};
static const char *const loss_names[] = {"softmax", "sigmoid", "mixed", NULL};
static const char *const head_names[] = {"cls", "segments", NULL};
static const char *const metric_choices[] = {"macro_f1", "accuracy", "log_loss", NULL};
static const char *const prefer_choices[] = {"best", "knee", "cheapest", NULL};

/* What `data:` binds to before the label list is worked out. */
struct data_section {
    struct import_options import;
    const struct yaml_node *columns, *labels, *relations;
};

/* clang-format off */
#define ROW(key, type, owner, member, min, max, choices, help) \
    {key, type, offsetof(struct owner, member), min, max, choices, help}
#define END {NULL, 0, 0, 0, 0, NULL, NULL}

#define DATA(key, type, member, min, max, help) ROW(key, type, data_section, member, min, max, NULL, help)
static const struct yaml_field data_fields[] = {
    DATA("examples", YAML_TEXT, import.examples, 0, 0, "judged pairs: .csv, .tsv, .jsonl or .parquet, or a folder of .parquet parts (required)"),
    DATA("products", YAML_TEXT, import.products, 0, 0, "product texts (required)"),
    DATA("metadata", YAML_TEXT, import.metadata, 0, 0, "categories by product"),
    DATA("lists", YAML_TEXT, import.lists, 0, 0, "result lists, which give co-listed products"),
    DATA("relations", YAML_NODE, relations, 0, 0, "your own: a list of {name, file}, tables of query, product_id, count or product_id, other_product_id, count"),
    DATA("events", YAML_TEXT, import.events, 0, 0, "behaviour events (UBI, .jsonl)"),
    DATA("events_until", YAML_TEXT, import.events_until, 0, 0, "events after this time are left out"),
    DATA("events_half_life", YAML_DOUBLE, import.events_half_life, 0, 100000, "days in which an event's weight halves; 0: never [0]"),
    DATA("columns", YAML_NODE, columns, 0, 0, "your column names for the ESCI ones"),
    DATA("labels", YAML_NODE, labels, 0, 0, "2 to 16 classes: names, or {name, gain, aliases}"),
    DATA("default_locale", YAML_TEXT, import.default_locale, 0, 0, "when there is no locale column [us]"),
    DATA("test_share", YAML_DOUBLE, import.test_share, 0.01, 0.9, "queries held out when there is no split column [0.2]"),
    DATA("seed", YAML_U64, import.seed, 0, 0, "of that split"),
    DATA("skip_unknown_products", YAML_BOOL, import.skip_unknown_products, 0, 0, "drop pairs whose product is not in products"),
    END,
};

#define COLUMN(name) ROW(#name, YAML_TEXT, import_columns, name, 0, 0, NULL, "column of the " #name)
static const struct yaml_field column_fields[] = {
    COLUMN(example_id), COLUMN(query), COLUMN(query_id), COLUMN(product_id), COLUMN(locale),
    COLUMN(label), COLUMN(split), COLUMN(title), COLUMN(description), COLUMN(bullets),
    COLUMN(brand), COLUMN(color), COLUMN(category), END,
};

static const struct yaml_field relation_fields[] = {
    ROW("name", YAML_TEXT, import_relation, name, 0, 0, NULL, "letters, digits, - and _ (required)"),
    ROW("file", YAML_TEXT, import_relation, file, 0, 0, NULL, "its table (required)"),
    END,
};

struct label_entry {
    const char *name;
    double gain;
    const char **aliases;
};
static const struct yaml_field label_fields[] = {
    ROW("name", YAML_TEXT, label_entry, name, 0, 0, NULL, "as in the label column"),
    ROW("gain", YAML_DOUBLE, label_entry, gain, 0, 1e6, NULL, "relevance gain for ranking"),
    ROW("aliases", YAML_TEXT_LIST, label_entry, aliases, 0, 0, NULL, "other spellings"),
    END,
};

#define MODEL(key, type, member, min, max, help) ROW(key, type, model_config, member, min, max, NULL, help)
static const struct yaml_field model_fields[] = {
    MODEL("name", YAML_TEXT, name, 0, 0, "letters, digits, - and _ (required)"),
    ROW("kind", YAML_CHOICE, model_config, kind_name, 0, 0, model_kind_names, "lm, gnn or table (required)"),
    END,
};

static const struct yaml_field lm_fields[] = {
    MODEL("pretrained", YAML_TEXT, lm.pretrained, 0, 0, "Hugging Face folder to start from; without it: from scratch"),
    MODEL("family", YAML_TEXT, lm.family, 0, 0, "from scratch: bert, roberta, electra, mpnet, deberta-v2, big_bird, modernbert [bert]"),
    ROW("pretrain", YAML_NODE, model_config, pretrain, 0, 0, NULL, "first learn the shop's texts without labels; {} for the defaults"),
    ROW("distill", YAML_NODE, model_config, distill, 0, 0, NULL, "learn from the probabilities of other models, too"),
    MODEL("fields", YAML_TEXT, lm.fields, 0, 0, "what it reads, in order [query,title,brand,color]"),
    ROW("head", YAML_CHOICE, model_config, lm.head, 0, 0, head_names, "segments: for sentence encoders and small data [cls]"),
    MODEL("max_tokens", YAML_UNSIGNED, lm.max_tokens, 8, 512, "per pair [96]"),
    MODEL("layers", YAML_UNSIGNED, lm.layers, 1, 48, "from scratch [2]; pretrained: keep the first n"),
    MODEL("hidden", YAML_UNSIGNED, lm.hidden, 16, 4096, "from scratch [128]"),
    MODEL("heads", YAML_UNSIGNED, lm.heads, 1, 64, "from scratch [4]"),
    MODEL("intermediate", YAML_UNSIGNED, lm.intermediate, 16, 16384, "from scratch [4 x hidden]"),
    MODEL("vocabulary", YAML_UNSIGNED, lm.vocabulary, 256, 500000, "from scratch: WordPiece pieces to train [8192]"),
    MODEL("keyword_words", YAML_UNSIGNED, lm.keyword_words, 1, 512, "words kept of bullets and description [32]"),
    ROW("precision", YAML_CHOICE, model_config, lm.precision, 0, 0, precision_names, "of the weights when it predicts; int8: fastest [float32]"),
    MODEL("epochs", YAML_UNSIGNED, lm.epochs, 1, 1000, "[2]"),
    MODEL("batch", YAML_UNSIGNED, lm.batch, 1, 4096, "pairs a step [32]"),
    MODEL("lanes", YAML_UNSIGNED, lm.lanes, 1, 64, "parts of a batch trained side by side [2]"),
    MODEL("learning_rate", YAML_DOUBLE, lm.learning_rate, 1e-8, 1, "[3e-5 pretrained, 5e-4 from scratch]"),
    MODEL("weight_decay", YAML_OR_NONE, lm.weight_decay, 0, 1, "[0.01]"),
    MODEL("warmup", YAML_OR_NONE, lm.warmup, 0, 0.9, "share of steps [0.1]"),
    ROW("schedule", YAML_CHOICE, model_config, lm.schedule, 0, 0, schedule_names, "of the learning rate after warm-up [linear]"),
    MODEL("clip", YAML_OR_NONE, lm.clip, 0, 1e6, "gradient norm; 0: none [1]"),
    MODEL("accumulate", YAML_UNSIGNED, lm.accumulate, 1, 65536, "batches whose gradients make one step [1]"),
    MODEL("layer_decay", YAML_DOUBLE, lm.layer_decay, 0.01, 1, "learning rate of a layer by that of the layer after it [1]"),
    MODEL("dropout", YAML_OR_NONE, lm.dropout, 0, 0.9, "[0.1]"),
    ROW("loss", YAML_CHOICE, model_config, lm.loss, 0, 0, loss_names, "sigmoid: each class against all others [softmax]"),
    MODEL("loss_mix", YAML_DOUBLE, lm.loss_mix, 0.001, 0.999, "mixed: share of sigmoid [0.5]"),
    MODEL("class_weights", YAML_TEXT, lm.class_weights, 0, 0, "balanced, or one number a class by commas [1 each]"),
    MODEL("label_smoothing", YAML_DOUBLE, lm.label_smoothing, 0, 0.5, "[0]"),
    ROW("lora", YAML_NODE, model_config, lora, 0, 0, NULL, "learn thin adapters of the weights and the head alone; {} for the defaults"),
    MODEL("recompute", YAML_BOOL, lm.recompute, 0, 0, "keep no activations inside of layers: more time, less memory [false]"),
    MODEL("freeze_layers", YAML_UNSIGNED, lm.freeze_layers, 0, 48, "embeddings and the first n layers stay as they are [0]"),
    MODEL("freeze_embeddings", YAML_BOOL, lm.freeze_embeddings, 0, 0, "the embeddings stay as they are [false]"),
    MODEL("patience", YAML_UNSIGNED, lm.patience, 0, 1000, "stop after n evaluations without gain; 0: train on everything [0]"),
    MODEL("seed", YAML_U64, lm.seed, 0, 0, "[stacking.seed]"),
    END,
};

static const struct yaml_field lora_fields[] = {
    MODEL("rank", YAML_UNSIGNED, lm.lora.rank, 1, 1024, "[8]"),
    MODEL("alpha", YAML_DOUBLE, lm.lora.alpha, 0.001, 1e6, "what they add is scaled by alpha / rank [2 x rank]"),
    MODEL("dropout", YAML_DOUBLE, lm.lora.dropout, 0, 0.9, "[0]"),
    MODEL("attention_only", YAML_BOOL, lm.lora.attention_only, 0, 0, "adapt the weights of attention, not all linear layers [false]"),
    END,
};

#define PRETRAIN(key, type, member, min, max, help) ROW(key, type, lm_pretrain_options, member, min, max, NULL, help)
static const struct yaml_field pretrain_fields[] = {
    PRETRAIN("epochs", YAML_UNSIGNED, epochs, 1, 100000, "over all texts [10]"),
    PRETRAIN("steps", YAML_UNSIGNED, steps, 0, 4e9, "stop after so many; 0: when the epochs are over [0]"),
    PRETRAIN("batch", YAML_UNSIGNED, batch, 1, 65536, "texts a step [64]"),
    PRETRAIN("mask_rate", YAML_DOUBLE, mask_rate, 0.01, 0.9, "share of tokens to guess [0.15]"),
    PRETRAIN("learning_rate", YAML_DOUBLE, learning_rate, 1e-8, 1, "[1e-3 from scratch, 1e-4 with pretrained]"),
    PRETRAIN("weight_decay", YAML_OR_NONE, weight_decay, 0, 1, "[0.01]"),
    PRETRAIN("warmup", YAML_OR_NONE, warmup, 0, 0.9, "share of steps [0.1]"),
    PRETRAIN("clip", YAML_OR_NONE, clip, 0, 1e6, "gradient norm [1]"),
    PRETRAIN("dropout", YAML_DOUBLE, dropout, 0, 0.9, "[0]"),
    PRETRAIN("seed", YAML_U64, seed, 0, 0, "one pre-training for several seeds of the model [its seed]"),
    PRETRAIN("fields_only", YAML_BOOL, fields_only, 0, 0, "leave out bullets and descriptions that the model does not read [false]"),
    END,
};

static const struct yaml_field distill_fields[] = {
    MODEL("teacher", YAML_TEXT_LIST, teachers, 0, 0, "a model listed before, or several (their mean), or a table of out-of-fold predictions (required)"),
    MODEL("weight", YAML_DOUBLE, lm.distill.weight, 0.01, 1, "of the teacher against the labels [0.5]"),
    MODEL("temperature", YAML_DOUBLE, lm.distill.temperature, 0.1, 100, "softens both sides [2]"),
    END,
};

static const struct yaml_field gnn_fields[] = {
    ROW("layer", YAML_CHOICE, model_config, gnn.layer, 0, 0, layer_names, "[sage]"),
    MODEL("features", YAML_TEXT, features, 0, 0, "hashed, or the folder of a pretrained sentence encoder [hashed]"),
    MODEL("relations", YAML_TEXT_LIST, relations, 0, 0, "[all there are]"),
    MODEL("hops", YAML_UNSIGNED, gnn.hops, 1, 4, "[2]"),
    MODEL("hidden", YAML_UNSIGNED, gnn.hidden, 8, 1024, "[64]"),
    MODEL("heads", YAML_UNSIGNED, gnn.heads, 1, 16, "gatv2 [4]"),
    MODEL("bases", YAML_UNSIGNED, gnn.bases, 0, 256, "rgcn: its maps of relations are mixtures of so many; 0: each has its own [0]"),
    ROW("jumping", YAML_CHOICE, model_config, gnn.jumping, 0, 0, jumping_names, "what is read of the hops [last]"),
    MODEL("fanout", YAML_UNSIGNED, gnn.fanout, 1, 1000, "neighbours sampled per node and hop [10]"),
    MODEL("epochs", YAML_UNSIGNED, gnn.epochs, 1, 10000, "[10]"),
    MODEL("batch", YAML_UNSIGNED, gnn.batch, 1, 65536, "pairs a step [256]"),
    MODEL("lanes", YAML_UNSIGNED, gnn.lanes, 1, 64, "parts of a batch trained side by side [2]"),
    MODEL("learning_rate", YAML_DOUBLE, gnn.learning_rate, 1e-8, 1, "[1e-3]"),
    MODEL("weight_decay", YAML_OR_NONE, gnn.weight_decay, 0, 1, "[1e-4]"),
    MODEL("dropout", YAML_OR_NONE, gnn.dropout, 0, 0.9, "[0.3]"),
    MODEL("patience", YAML_UNSIGNED, gnn.patience, 0, 1000, "as for lm [0]"),
    ROW("training", YAML_CHOICE, model_config, gnn.training, 0, 0, training_names, "full: steps over the whole graph; sampled: over sampled neighbourhoods; auto: full with at least as many pairs as nodes, where it fits full_memory [auto]"),
    MODEL("full_memory", YAML_UNSIGNED, gnn.full_memory_mb, 1, 1000000, "MB that full training may take for auto [2048]"),
    MODEL("seed", YAML_U64, gnn.seed, 0, 0, "[stacking.seed]"),
    END,
};

static const struct yaml_field table_fields[] = {
    MODEL("predictions", YAML_TEXT, predictions, 0, 0, "out-of-fold probabilities: example_id and p_<class> columns, or .npy (required)"),
    MODEL("logits", YAML_BOOL, logits, 0, 0, "the file holds logits [false]"),
    MODEL("trust", YAML_BOOL, trust, 0, 0, "do not test whether they are out-of-fold [false]"),
    END,
};

static const struct yaml_field *const kind_fields[KIND_COUNT] = {lm_fields, gnn_fields, table_fields};

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
    SERVE("cache_entries", YAML_UNSIGNED, cache_entries, 0, 4e9, "[100000]"),
    SERVE("cache_ttl_s", YAML_DOUBLE, cache_ttl_s, 0, 1e9, "[86400]"),
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
    {"stacking", "out-of-fold predictions", stacking_fields},
    {"ensemble", "the GBDT", ensemble_fields},
    {"budget", "what serving may cost", budget_fields},
    {"decide", "cascade and costs of errors", decide_fields},
    {"serve", "the HTTP server", serve_fields},
    {"serve.precompute", "graph embeddings made ahead", precompute_fields},
    {NULL, NULL, NULL},
};

static medley_status refuse(const struct config *c, const struct yaml_node *at,
                            medley_error *err, const char *problem, const char *subject)
{
    return fail(err, MEDLEY_EFORMAT, "%s:%d: %s '%s'", yaml_path(c->document),
                at ? at->line : 1, problem, subject);
}

static medley_status bind_label(struct config *c, const struct yaml_node *node, size_t i,
                                medley_error *err)
{
    struct label_entry entry = {NULL, -1, NULL};
    char where[64];
    snprintf(where, sizeof where, "data.labels[%zu]", i);
    if (node->kind == YAML_SCALAR)
        entry.name = node->text;
    medley_status st = node->kind == YAML_SCALAR ? MEDLEY_OK
                                                 : yaml_bind(c->document, node, where,
                                                             label_fields, NULL, &entry, err);
    if (st)
        return st;
    if (!entry.name || !*entry.name)
        return refuse(c, node, err, "a label needs a", "name");
    for (size_t j = 0; j < i; j++)
        if (strcmp(entry.name, c->labels[j].name) == 0)
            return refuse(c, node, err, "label given twice:", entry.name);
    c->labels[i] = (struct import_label){entry.name, entry.aliases, entry.gain};
    return MEDLEY_OK;
}

static medley_status bind_labels(struct config *c, const struct yaml_node *node,
                                 medley_error *err)
{
    if (!node)
        return MEDLEY_OK;
    if (node->kind != YAML_SEQUENCE || node->count < 2 || node->count > MAX_CLASSES)
        return refuse(c, node, err, "expected a list of 2 to 16 classes in", "data.labels");
    for (size_t i = 0; i < node->count; i++) {
        medley_status st = bind_label(c, node->items[i], i, err);
        if (st)
            return st;
    }
    /* Gains not given fall evenly from 1 (first class) to 0 (last class). */
    for (size_t i = 0; i < node->count; i++)
        if (c->labels[i].gain < 0)
            c->labels[i].gain = 1 - (double)i / (double)(node->count - 1);
    c->data.labels = c->labels;
    c->data.n_labels = node->count;
    return MEDLEY_OK;
}

static bool plain_name(const char *s)
{
    return s && *s && strlen(s) < 64 &&
           s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")] ==
               '\0';
}

static medley_status bind_relations(struct config *c, const struct yaml_node *node,
                                    medley_error *err)
{
    if (!node)
        return MEDLEY_OK;
    if (node->kind != YAML_SEQUENCE || node->count > CONFIG_RELATIONS)
        return refuse(c, node, err, "expected a list of at most 32 tables in",
                      "data.relations");
    for (size_t i = 0; i < node->count; i++) {
        char where[64];
        struct import_relation *r = &c->relations[i];
        snprintf(where, sizeof where, "data.relations[%zu]", i);
        medley_status st = yaml_bind(c->document, node->items[i], where, relation_fields, NULL,
                                     r, err);
        if (st)
            return st;
        if (!plain_name(r->name) || !r->file)
            return refuse(c, node->items[i], err, "a relation needs a plain name and a file:",
                          r->name ? r->name : "");
    }
    c->data.relations = c->relations;
    c->data.n_relations = node->count;
    return MEDLEY_OK;
}

static medley_status bind_data(struct config *c, const struct yaml_node *node,
                               medley_error *err)
{
    struct data_section section = {0};
    medley_status st = yaml_bind(c->document, node, "data", data_fields, NULL, &section, err);
    if (!st)
        st = yaml_bind(c->document, section.columns, "data.columns", column_fields, NULL,
                       &section.import.columns, err);
    if (st)
        return st;
    c->data = section.import;
    if (!c->data.examples || !c->data.products)
        return refuse(c, node, err, "data needs", c->data.examples ? "products" : "examples");
    st = bind_relations(c, section.relations, err);
    return st ? st : bind_labels(c, section.labels, err);
}

/* Names become folder names and CSV columns. */
static bool good_name(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    size_t n = strlen(name);
    return n > 0 && n <= 64 && strspn(name, allowed) == n && strcmp(name, "context") != 0;
}

static medley_status check_model(struct config *c, const struct model_config *m, size_t i,
                                 medley_error *err)
{
    if (!m->name || !good_name(m->name))
        return refuse(c, m->node, err, "a model's name is 1 to 64 letters, digits, - or _, not",
                      m->name ? m->name : "");
    for (size_t j = 0; j < i; j++)
        if (strcmp(m->name, c->models[j].name) == 0)
            return refuse(c, m->node, err, "two models are called", m->name);
    if (m->kind == KIND_TABLE && !m->predictions)
        return refuse(c, m->node, err, "a model of kind table needs", "predictions");
    const struct encoder_family *family;
    if (m->lm.family && m->lm.pretrained)
        return refuse(c, m->node, err, "pretrained says the family already; remove family from",
                      m->name);
    medley_status st =
        m->lm.family ? encoder_family_find(m->lm.family, &family, err) : MEDLEY_OK;
    if (st)
        return fail_within(err, st, "%s:%d", yaml_path(c->document), m->node->line);
    if (m->lm.heads && (m->lm.hidden ? m->lm.hidden : 128) % m->lm.heads)
        return refuse(c, m->node, err, "hidden is not a multiple of heads in", m->name);
    return MEDLEY_OK;
}

static medley_status bind_pretrain(struct config *c, struct model_config *m, size_t i,
                                   medley_error *err)
{
    char where[64];
    snprintf(where, sizeof where, "models[%zu].pretrain", i);
    if (!m->pretrain)
        return MEDLEY_OK;
    m->lm.pretrain.wanted = true;
    return yaml_bind(c->document, m->pretrain, where, pretrain_fields, NULL, &m->lm.pretrain,
                     err);
}

static medley_status bind_lora(struct config *c, struct model_config *m, size_t i,
                               medley_error *err)
{
    char where[64];
    snprintf(where, sizeof where, "models[%zu].lora", i);
    if (!m->lora)
        return MEDLEY_OK;
    m->lm.lora.rank = 8;
    return yaml_bind(c->document, m->lora, where, lora_fields, NULL, m, err);
}

/* Teachers stand before their students, so that they are trained before them. */
static medley_status bind_distill(struct config *c, struct model_config *m, size_t i,
                                  medley_error *err)
{
    char where[64];
    snprintf(where, sizeof where, "models[%zu].distill", i);
    if (!m->distill)
        return MEDLEY_OK;
    medley_status st = yaml_bind(c->document, m->distill, where, distill_fields, NULL, m, err);
    if (st)
        return st;
    if (!m->teachers || !m->teachers[0])
        return refuse(c, m->distill, err, "distill needs a", "teacher");
    for (const char **t = m->teachers; *t; t++) {
        bool known = strchr(*t, '.') || strchr(*t, '/');
        for (size_t j = 0; j < i && !known; j++)
            known = strcmp(c->models[j].name, *t) == 0;
        if (!known)
            return refuse(c, m->distill, err,
                          "a teacher is a model listed before its student, or a file, not", *t);
    }
    return MEDLEY_OK;
}

static medley_status bind_model(struct config *c, const struct yaml_node *node, size_t i,
                                medley_error *err)
{
    struct model_config *m = &c->models[i];
    char where[64];
    snprintf(where, sizeof where, "models[%zu]", i);
    const struct yaml_node *kind = yaml_get(node, "kind");
    if (!kind || kind->kind != YAML_SCALAR)
        return refuse(c, node, err, "a model needs a", "kind");
    m->node = node;
    m->kind = KIND_COUNT;
    for (int k = 0; k < KIND_COUNT; k++)
        if (strcmp(kind->text, model_kind_names[k]) == 0)
            m->kind = (enum model_kind)k;
    if (m->kind == KIND_COUNT) /* the table's own message lists the choices */
        return yaml_bind(c->document, node, where, model_fields, lm_fields, m, err);
    m->features = "hashed";
    medley_status st =
        yaml_bind(c->document, node, where, model_fields, kind_fields[m->kind], m, err);
    if (st)
        return st;
    if ((st = bind_lora(c, m, i, err)) || (st = bind_pretrain(c, m, i, err)) ||
        (st = bind_distill(c, m, i, err)))
        return st;
    if (!yaml_get(node, "seed"))
        m->lm.seed = m->gnn.seed = c->stacking.seed;
    return check_model(c, m, i, err);
}

static medley_status bind_models(struct config *c, const struct yaml_node *node,
                                 medley_error *err)
{
    if (!node || node->kind != YAML_SEQUENCE || node->count == 0 ||
        node->count > MEDLEY_MAX_MODELS)
        return refuse(c, node, err, "expected a list of 1 to 32 base models in", "models");
    for (size_t i = 0; i < node->count; i++) {
        medley_status st = bind_model(c, node->items[i], i, err);
        if (st)
            return st;
    }
    c->n_models = node->count;
    return MEDLEY_OK;
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
            return refuse(c, yaml_get(c->budget_node, "pin"), err, "budget.pin: no model",
                          *name);
        c->budget.pinned |= UINT32_C(1) << m;
    }
    if (node && node->kind != YAML_MAPPING)
        return refuse(c, node, err, "expected {model: price} in", "budget.prices");
    for (size_t i = 0; node && i < node->count; i++) {
        size_t m = config_find_model(c, node->keys[i]);
        double price;
        if (m == SIZE_MAX)
            return refuse(c, node->items[i], err, "budget.prices: no model", node->keys[i]);
        if (node->items[i]->kind != YAML_SCALAR ||
            !str_to_double(str_of(node->items[i]->text), &price) || !(price > 0))
            return refuse(c, node->items[i], err, "expected a number above 0 as price of",
                          node->keys[i]);
        c->budget.price_of[m] = price;
    }
    if (c->budget.pairs != 1 && c->budget.pairs != 8 && c->budget.pairs != 64)
        return refuse(c, c->budget_node, err, "budget.pairs is 1, 8 or 64 in", "budget");
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
        return refuse(c, rows, err, "expected 2 to 16 rows of costs in", "decide.costs");
    for (size_t i = 0; i < k; i++) {
        const struct yaml_node *row = rows->items[i];
        if (row->kind != YAML_SEQUENCE || row->count != k)
            return refuse(c, row, err, "as many costs as there are rows belong in a row of",
                          "decide.costs");
        for (size_t j = 0; j < k; j++) {
            double *cost = &c->decide.costs[c->decide.n_costs++];
            if (row->items[j]->kind != YAML_SCALAR ||
                !str_to_double(str_of(row->items[j]->text), cost) || !(*cost >= 0))
                return refuse(c, row, err, "expected numbers from 0 in", "decide.costs");
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
        return refuse(c, yaml_root(d), err, "missing section", "data");
    if ((st = bind_data(c, s.data, err)) ||
        (st = yaml_bind(d, s.stacking, "stacking", stacking_fields, NULL, &c->stacking, err)) ||
        (st = yaml_bind(d, s.ensemble, "ensemble", ensemble_fields, NULL, &c->ensemble, err)) ||
        (st = yaml_bind(d, s.budget, "budget", budget_fields, NULL, &c->budget, err)) ||
        (st = bind_decide(c, s.decide, err)) || (st = bind_serve(c, s.serve, err)))
        return st;
    st = bind_models(c, s.models, err);
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
                  .cache_ttl_s = 86400,
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
