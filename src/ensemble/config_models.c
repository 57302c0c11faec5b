/* config_models.c: the `models:` section of medley.yaml; see config.h. */
#include "ensemble/config_private.h"

#include "base/error.h"
#include "ensemble/config_plugged.h"
#include "lm/encoder.h"

#include <stdio.h>
#include <string.h>

const char *const model_kind_names[KIND_COUNT + 1] = {"lm",     "gnn",    "table",
                                                      "plugin", "remote", NULL};

static const char *const layer_names[] = {"gcn", "sage", "sage-max", "gatv2", "rgcn", NULL};
static const char *const jumping_names[] = {"last", "cat", "max", NULL};
static const char *const training_names[] = {"auto", "sampled", "full", NULL};
static const char *const schedule_names[] = {"linear", "cosine", "constant", NULL};
static const char *const loss_names[] = {"softmax", "sigmoid", "mixed", NULL};
static const char *const head_names[] = {"cls", "segments", NULL};

/* clang-format off */
#define MODEL(key, type, member, min, max, help) ROW(key, type, model_config, member, min, max, NULL, help)
const struct yaml_field model_fields[] = {
    MODEL("name", YAML_TEXT, name, 0, 0, "letters, digits, - and _ (required)"),
    ROW("kind", YAML_CHOICE, model_config, kind_name, 0, 0, model_kind_names, "lm, gnn, table, plugin or remote (required)"),
    END,
};

const struct yaml_field lm_fields[] = {
    MODEL("pretrained", YAML_TEXT, lm.pretrained, 0, 0, "Hugging Face folder to start from; without it: from scratch"),
    MODEL("frozen", YAML_BOOL, lm.frozen, 0, 0, "pretrained is a classifier or reranker: it is not trained, only what its logits mean is learned [false]"),
    MODEL("trust", YAML_BOOL, trust, 0, 0, "frozen: do not test whether it saw the training pairs [false]"),
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
    MODEL("class_weights", YAML_TEXT, lm.class_weights, 0, 0, "balanced, balanced^0.5 (a power of 0 to 1), or one number a class by commas [1 each]"),
    MODEL("label_smoothing", YAML_DOUBLE, lm.label_smoothing, 0, 0.5, "[0]"),
    ROW("lora", YAML_NODE, model_config, lora, 0, 0, NULL, "learn thin adapters of the weights and the head alone; {} for the defaults"),
    MODEL("recompute", YAML_BOOL, lm.recompute, 0, 0, "keep no activations inside of layers: more time, less memory [false]"),
    MODEL("freeze_layers", YAML_UNSIGNED, lm.freeze_layers, 0, 48, "embeddings and the first n layers stay as they are [0]"),
    MODEL("freeze_embeddings", YAML_BOOL, lm.freeze_embeddings, 0, 0, "the embeddings stay as they are [false]"),
    MODEL("patience", YAML_UNSIGNED, lm.patience, 0, 1000, "stop after n evaluations without gain; 0: train on everything [0]"),
    MODEL("seed", YAML_U64, lm.seed, 0, 0, "[stacking.seed]"),
    END,
};

const struct yaml_field lora_fields[] = {
    MODEL("rank", YAML_UNSIGNED, lm.lora.rank, 1, 1024, "[8]"),
    MODEL("alpha", YAML_DOUBLE, lm.lora.alpha, 0.001, 1e6, "what they add is scaled by alpha / rank [2 x rank]"),
    MODEL("dropout", YAML_DOUBLE, lm.lora.dropout, 0, 0.9, "[0]"),
    MODEL("attention_only", YAML_BOOL, lm.lora.attention_only, 0, 0, "adapt the weights of attention, not all linear layers [false]"),
    END,
};

#define PRETRAIN(key, type, member, min, max, help) ROW(key, type, lm_pretrain_options, member, min, max, NULL, help)
const struct yaml_field pretrain_fields[] = {
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

const struct yaml_field distill_fields[] = {
    MODEL("teacher", YAML_TEXT_LIST, teachers, 0, 0, "a model listed before, or several (their mean), or a table of out-of-fold predictions (required)"),
    MODEL("weight", YAML_DOUBLE, lm.distill.weight, 0.01, 1, "of the teacher against the labels [0.5]"),
    MODEL("temperature", YAML_DOUBLE, lm.distill.temperature, 0.1, 100, "softens both sides [2]"),
    END,
};

const struct yaml_field gnn_fields[] = {
    ROW("layer", YAML_CHOICE, model_config, gnn.layer, 0, 0, layer_names, "[sage]"),
    MODEL("features", YAML_TEXT, features, 0, 0, "hashed, or the folder of a pretrained sentence encoder [hashed]"),
    MODEL("relations", YAML_TEXT_LIST, relations, 0, 0, "[all there are]"),
    MODEL("hops", YAML_UNSIGNED, gnn.hops, 1, 4, "[2]"),
    MODEL("hidden", YAML_UNSIGNED, gnn.hidden, 8, 1024, "[64]"),
    MODEL("heads", YAML_UNSIGNED, gnn.heads, 1, 16, "gatv2 [4]"),
    MODEL("bases", YAML_UNSIGNED, gnn.bases, 0, 256, "rgcn: its maps of relations are mixtures of so many; 0: each has its own [0]"),
    ROW("jumping", YAML_CHOICE, model_config, gnn.jumping, 0, 0, jumping_names, "what is read of the hops [last]"),
    MODEL("fanout", YAML_UNSIGNED, gnn.fanout, 1, 1000, "neighbours sampled per node and hop [10]"),
    MODEL("hop_fanout", YAML_NODE, hop_fanout, 0, 0, "the same hop by hop, the pair's own neighbours first, such as [15, 5] [fanout]"),
    MODEL("relation_fanout", YAML_NODE, relation_fanout, 0, 0, "most of a relation among them, such as {same-brand: 3} [no limit of its own]"),
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

const struct yaml_field table_fields[] = {
    MODEL("predictions", YAML_TEXT, predictions, 0, 0, "out-of-fold probabilities: example_id and p_<class> columns, or .npy (required)"),
    MODEL("logits", YAML_BOOL, logits, 0, 0, "the file holds logits [false]"),
    MODEL("trust", YAML_BOOL, trust, 0, 0, "do not test whether they are out-of-fold [false]"),
    END,
};

static const struct yaml_field *const kind_fields[KIND_COUNT] = {lm_fields, gnn_fields, table_fields, plugin_fields, remote_fields};
/* clang-format on */

static bool good_name(const char *name)
{
    return config_plain_name(name) && strcmp(name, "context") != 0;
}

/* What training would need is no setting of a model that is not trained. */
static medley_status check_frozen(struct config *c, const struct model_config *m,
                                  medley_error *err)
{
    static const char *const known[] = {"name",      "kind",       "pretrained",    "frozen",
                                        "precision", "max_tokens", "class_weights", "trust"};
    if (!m->lm.frozen)
        return MEDLEY_OK;
    if (!m->lm.pretrained)
        return config_refuse(c, m->node, err, "a frozen model needs a folder at", "pretrained");
    for (size_t i = 0; i < m->node->count; i++) {
        bool good = false;
        for (size_t k = 0; k < sizeof known / sizeof *known && !good; k++)
            good = strcmp(known[k], m->node->keys[i]) == 0;
        if (!good)
            return config_refuse(c, m->node->items[i], err, "a frozen model has no",
                                 m->node->keys[i]);
    }
    return MEDLEY_OK;
}

static medley_status check_model(struct config *c, const struct model_config *m, size_t i,
                                 medley_error *err)
{
    if (!m->name || !good_name(m->name))
        return config_refuse(c, m->node, err,
                             "a model's name is 1 to 64 letters, digits, - or _, not",
                             m->name ? m->name : "");
    for (size_t j = 0; j < i; j++)
        if (strcmp(m->name, c->models[j].name) == 0)
            return config_refuse(c, m->node, err, "two models are called", m->name);
    if (m->kind == KIND_TABLE && !m->predictions)
        return config_refuse(c, m->node, err, "a model of kind table needs", "predictions");
    medley_status st = plugged_check(c->document, m, err);
    if (!st)
        st = check_frozen(c, m, err);
    if (st)
        return st;
    const struct encoder_family *family;
    if (m->lm.family && m->lm.pretrained)
        return config_refuse(c, m->node, err,
                             "pretrained says the family already; remove family from", m->name);
    st = m->lm.family ? encoder_family_find(m->lm.family, &family, err) : MEDLEY_OK;
    if (st)
        return fail_within(err, st, "%s:%d", yaml_path(c->document), m->node->line);
    if (m->lm.heads && (m->lm.hidden ? m->lm.hidden : 128) % m->lm.heads)
        return config_refuse(c, m->node, err, "hidden is not a multiple of heads in", m->name);
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
        return config_refuse(c, m->distill, err, "distill needs a", "teacher");
    for (const char **t = m->teachers; *t; t++) {
        bool known = strchr(*t, '.') || strchr(*t, '/');
        for (size_t j = 0; j < i && !known; j++)
            known = strcmp(c->models[j].name, *t) == 0;
        if (!known)
            return config_refuse(
                c, m->distill, err,
                "a teacher is a model listed before its student, or a file, not", *t);
    }
    return MEDLEY_OK;
}

static bool read_fanout(const struct yaml_node *node, unsigned *out)
{
    uint64_t v = 0;
    bool good =
        node->kind == YAML_SCALAR && str_to_u64(str_of(node->text), &v) && v >= 1 && v <= 1000;
    *out = good ? (unsigned)v : 0;
    return good;
}

/* Relations are known by name once there is a graph: model_gnn.c. */
static medley_status bind_fanouts(struct config *c, struct model_config *m, medley_error *err)
{
    const struct yaml_node *hops = m->hop_fanout, *relations = m->relation_fanout;
    unsigned ignored;
    if (hops && (hops->kind != YAML_SEQUENCE || hops->count == 0 || hops->count > GNN_MAX_HOPS))
        return config_refuse(c, hops, err, "expected a list of 1 to 4 fan-outs in", m->name);
    for (size_t i = 0; hops && i < hops->count; i++)
        if (!read_fanout(hops->items[i], &m->gnn.hop_fanout[i]))
            return config_refuse(c, hops, err, "expected fan-outs from 1 to 1000 in", m->name);
    if (relations && relations->kind != YAML_MAPPING)
        return config_refuse(c, relations, err, "expected {relation: fan-out} in", m->name);
    for (size_t i = 0; relations && i < relations->count; i++)
        if (!read_fanout(relations->items[i], &ignored))
            return config_refuse(c, relations, err, "expected a fan-out from 1 to 1000 for",
                                 relations->keys[i]);
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
        return config_refuse(c, node, err, "a model needs a", "kind");
    m->node = node;
    m->kind = KIND_COUNT;
    for (int k = 0; k < KIND_COUNT; k++)
        if (strcmp(kind->text, model_kind_names[k]) == 0)
            m->kind = (enum model_kind)k;
    if (m->kind == KIND_COUNT) /* the table's own message lists the choices */
        return yaml_bind(c->document, node, where, model_fields, lm_fields, m, err);
    m->features = "hashed";
    plugged_defaults(m);
    medley_status st =
        yaml_bind(c->document, node, where, model_fields, kind_fields[m->kind], m, err);
    if (st)
        return st;
    if ((st = bind_lora(c, m, i, err)) || (st = bind_pretrain(c, m, i, err)) ||
        (st = bind_distill(c, m, i, err)) || (st = bind_fanouts(c, m, err)))
        return st;
    if (!yaml_get(node, "seed"))
        m->lm.seed = m->gnn.seed = c->stacking.seed;
    return check_model(c, m, i, err);
}

medley_status config_bind_models(struct config *c, const struct yaml_node *node,
                                 medley_error *err)
{
    if (!node || node->kind != YAML_SEQUENCE || node->count == 0 ||
        node->count > MEDLEY_MAX_MODELS)
        return config_refuse(c, node, err, "expected a list of 1 to 32 base models in",
                             "models");
    for (size_t i = 0; i < node->count; i++) {
        medley_status st = bind_model(c, node->items[i], i, err);
        if (st)
            return st;
    }
    c->n_models = node->count;
    return MEDLEY_OK;
}
