/* config.h: medley.yaml: what to import, the base models, stacking, budget, serving. */
#ifndef ENSEMBLE_CONFIG_H
#define ENSEMBLE_CONFIG_H

#include "base/yaml.h"
#include "data/import.h"
#include "ensemble/plugged_options.h"
#include "gnn/link_classifier.h"
#include "lm/cross_encoder.h"
#include "medley/bundle.h"
#include "medley/gbdt.h"

enum model_kind { KIND_LM, KIND_GNN, KIND_TABLE, KIND_PLUGIN, KIND_REMOTE, KIND_COUNT };
extern const char *const model_kind_names[KIND_COUNT + 1]; /* NULL-terminated */

/* One entry of `models:`. Only the part of its kind is used. */
struct model_config {
    const char *name, *kind_name;
    enum model_kind kind;
    struct lm_options lm;
    struct gnn_options gnn;
    const char *features;    /* gnn: "hashed", or a pretrained sentence encoder's folder */
    const char **relations;  /* gnn: names; NULL: all */
    const char *predictions; /* table: file of probabilities */
    bool logits;             /* table: the file holds logits */
    bool trust;              /* table, remote, plugin: skip the in-sample check */
    struct plugin_options plugin;
    struct remote_options remote;
    const struct yaml_node *hop_fanout, *relation_fanout; /* gnn: [15, 5]; {clicks: 20} */
    const struct yaml_node *lora;     /* lm: the mapping, bound to lm.lora */
    const struct yaml_node *pretrain; /* lm: the mapping, bound to lm.pretrain */
    const struct yaml_node *distill;  /* lm: bound to lm.distill and: */
    const char **teachers;        /* names of models before this one, or files; NULL: none */
    const struct yaml_node *node; /* for the content hash */
};

struct stacking_config {
    unsigned folds; /* query-grouped folds of base models [3] */
    uint64_t seed;  /* of everything that has no seed of its own [1] */
};

struct ensemble_config {       /* the GBDT */
    unsigned rounds;           /* the limit; the number is chosen by cross-validation [400] */
    unsigned num_leaves;       /* [6] */
    unsigned min_data_in_leaf; /* 0: a 32nd of the rows, 20 to 200 */
    double learning_rate;      /* [0.04] */
    double lambda_l2;          /* [1] */
    double feature_fraction;   /* [0.2] */
    double mask_rate;          /* share of whole models made missing in training [0.1] */
    const char *class_weights; /* of the training pairs, data/class_weights.h; NULL: 1 each */
    bool plain;                /* leave out the context features */
};

/* Limits are off at 0. */
struct budget_config {
    double latency_ms,
        latency_p99_ms; /* of a list of so many `pairs`, median and 99th percentile */
    unsigned pairs;     /* 1, 8 or 64 [1] */
    unsigned cores;     /* models run side by side on so many cores; 0, 1: one after another */
    double throughput;  /* at least so many pairs a second and core */
    uint64_t memory;    /* bytes of the models together */
    double price;       /* of a million pairs */
    double core_hour;   /* what a core costs for an hour, for prices [0] */
    unsigned top;       /* at most this many models */
    const char *metric; /* macro_f1, accuracy or log_loss [macro_f1] */
    const char *prefer; /* best, knee or cheapest [best] */
    const struct yaml_node *prices;     /* {model: price of a million pairs} */
    double price_of[MEDLEY_MAX_MODELS]; /* by model; 0: by processor time */
    const char **pin;                   /* names of models that are always kept; NULL: none */
    uint32_t pinned;                    /* the same as a mask */
};

struct decide_config {
    double cascade_loss;                     /* macro-F1 that a cascade may give up [0.003] */
    const char *save;                        /* what it saves: time or models [time] */
    bool cascade, calibrate;                 /* put into bundles, which then answer by them */
    double costs[MAX_CLASSES * MAX_CLASSES]; /* [K*K] of answering column when row is true */
    size_t n_costs;                          /* numbers given; 0: none */
};

/* How many of the most frequent nodes have their embeddings made ahead; UINT64_MAX: all. */
struct precompute_config {
    uint64_t products, queries; /* [10000 each] */
};

struct serve_config {
    const char *host;                /* [127.0.0.1] */
    unsigned port;                   /* [8080] */
    unsigned cache_entries;          /* [100000] */
    uint64_t cache_bytes;            /* [64 MiB] */
    double cache_ttl_s;              /* 0: no limit [0] */
    const char *cache_dir;           /* relative to the workspace; NULL: in memory alone */
    const char *products_dir;        /* relative to the workspace; NULL: no new texts taken */
    uint64_t cache_disk;             /* bytes [1 GiB] */
    const char *cache_admit;         /* "twice" or "all" */
    const char *redis;               /* NULL: none */
    const char *redis_password_file; /* relative to the workspace; NULL: none */
    unsigned redis_timeout_ms;       /* [20] */
    struct precompute_config precompute;
};

enum { CONFIG_RELATIONS = 32 }; /* of the user's own, at most */

struct config {
    struct yaml_document *document; /* owns all text below */
    struct import_options data;
    struct import_label labels[MAX_CLASSES];
    struct import_relation relations[CONFIG_RELATIONS];
    const struct yaml_node *data_node, *ensemble_node, *stacking_node, *budget_node,
        *decide_node;
    struct model_config models[MEDLEY_MAX_MODELS];
    size_t n_models;
    struct stacking_config stacking;
    struct ensemble_config ensemble;
    struct budget_config budget;
    struct decide_config decide;
    struct serve_config serve;
};

/* Errors name file, line and key. Paths stay as written (relative to the workspace). The struct
 * points into itself: do not copy it. */
medley_status config_load(const char *path, struct config *out, medley_error *err);
void config_free(struct config *c);
size_t config_find_model(const struct config *c, const char *name); /* SIZE_MAX: none */

/* The tables behind it, for --help and docs: section name and fields; ends with a NULL name. */
struct config_section {
    const char *name, *help;
    const struct yaml_field *fields;
};
extern const struct config_section config_sections[];

#endif
