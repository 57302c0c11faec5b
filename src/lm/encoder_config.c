/* encoder_config.c: config.json, from and to Hugging Face. */
#include "lm/encoder.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/str.h"

#include <string.h>

static const struct {
    const char *name;
    enum activation value;
} activations[] = {
    {"gelu", ACT_GELU}, {"gelu_new", ACT_GELU_TANH}, {"gelu_pytorch_tanh", ACT_GELU_TANH},
    {"relu", ACT_RELU}, {"silu", ACT_SILU},          {"swish", ACT_SILU},
    {"tanh", ACT_TANH}, {"linear", ACT_NONE},
};
enum { ACTIVATIONS = sizeof activations / sizeof *activations };

static const char *const problems[] = {
    [PROBLEM_SINGLE_LABEL] = "single_label_classification",
    [PROBLEM_MULTI_LABEL] = "multi_label_classification",
    [PROBLEM_REGRESSION] = "regression",
};
enum { PROBLEMS = sizeof problems / sizeof *problems };

medley_status encoder_read_count(const json *root, const char *path, const char *key,
                                 int64_t least, int64_t most, unsigned *out, medley_error *err)
{
    const json *item = json_get(root, key);
    int64_t v;
    if (!item)
        return MEDLEY_OK;
    if (!json_as_i64(item, &v) || v < least || v > most)
        return fail(err, MEDLEY_EFORMAT, "%s: %s must be a whole number from %lld to %lld",
                    path, key, (long long)least, (long long)most);
    *out = (unsigned)v;
    return MEDLEY_OK;
}

static bool absent(const json *item)
{
    return !item || json_kind_of(item) == JSON_NULL;
}

static medley_status fail_kind(const char *path, const char *key, const char *what,
                               medley_error *err)
{
    return fail(err, MEDLEY_EFORMAT, "%s: %s must be %s", path, key, what);
}

/* The readers below leave *out alone where the key is absent, or null. */
static medley_status read_text(const json *root, const char *path, const char *key,
                               const char **out, medley_error *err)
{
    const json *item = json_get(root, key);
    return absent(item) || json_as_text(item, out) ? MEDLEY_OK
                                                   : fail_kind(path, key, "a text", err);
}

static medley_status read_number(const json *root, const char *path, const char *key,
                                 double *out, medley_error *err)
{
    const json *item = json_get(root, key);
    return absent(item) || json_as_double(item, out) ? MEDLEY_OK
                                                     : fail_kind(path, key, "a number", err);
}

static medley_status read_whole(const json *root, const char *path, const char *key,
                                int64_t *out, medley_error *err)
{
    const json *item = json_get(root, key);
    return absent(item) || json_as_i64(item, out) ? MEDLEY_OK
                                                  : fail_kind(path, key, "a whole number", err);
}

/* One that must be there. */
static medley_status read_size(const json *root, const char *path, const char *key,
                               int64_t least, int64_t most, unsigned *out, medley_error *err)
{
    if (!json_get(root, key))
        return fail(err, MEDLEY_EFORMAT, "%s: %s is missing", path, key);
    return encoder_read_count(root, path, key, least, most, out, err);
}

medley_status encoder_read_activation(const json *root, const char *path, const char *key,
                                      enum activation *out, medley_error *err)
{
    const char *name = NULL;
    medley_status st = read_text(root, path, key, &name, err);
    if (st || !name)
        return st;
    for (size_t i = 0; i < ACTIVATIONS; i++)
        if (strcmp(activations[i].name, name) == 0) {
            *out = activations[i].value;
            return MEDLEY_OK;
        }
    return fail(err, MEDLEY_EUNSUPPORTED, "%s: %s '%s' is not supported", path, key, name);
}

const char *encoder_activation_name(enum activation a)
{
    for (size_t i = 0; i < ACTIVATIONS; i++)
        if (activations[i].value == a)
            return activations[i].name;
    return "gelu";
}

static medley_status read_problem(const json *root, const char *path, enum encoder_problem *out,
                                  medley_error *err)
{
    const char *name = NULL;
    medley_status st = read_text(root, path, "problem_type", &name, err);
    if (st || !name)
        return st;
    for (int i = PROBLEM_SINGLE_LABEL; i < PROBLEMS; i++)
        if (strcmp(problems[i], name) == 0) {
            *out = (enum encoder_problem)i;
            return MEDLEY_OK;
        }
    return fail(err, MEDLEY_EUNSUPPORTED, "%s: problem_type '%s' is not supported", path, name);
}

static medley_status read_sizes(const json *root, const char *path, struct encoder_config *c,
                                medley_error *err)
{
    medley_status st;
    if ((st = read_size(root, path, "vocab_size", 1, 10000000, &c->vocabulary, err)) ||
        (st = read_size(root, path, "hidden_size", 1, 16384, &c->hidden, err)) ||
        (st = read_size(root, path, "num_hidden_layers", 1, ENCODER_MAX_LAYERS, &c->layers,
                        err)) ||
        (st = read_size(root, path, "num_attention_heads", 1, 256, &c->heads, err)) ||
        (st = read_size(root, path, "intermediate_size", 1, 65536, &c->intermediate, err)) ||
        (st = read_size(root, path, "max_position_embeddings", 1, 1000000, &c->positions,
                        err)) ||
        (st = encoder_read_count(root, path, "type_vocab_size", 0, 256, &c->types, err)))
        return st;
    if (c->hidden % c->heads)
        return fail(err, MEDLEY_EFORMAT,
                    "%s: hidden_size %u is not a multiple of "
                    "num_attention_heads %u",
                    path, c->hidden, c->heads);
    c->embedding = c->hidden;
    return MEDLEY_OK;
}

medley_status encoder_config_read(const json *root, const char *path, struct encoder *e,
                                  medley_error *err)
{
    struct encoder_config *c = &e->config;
    const char *type = "bert";
    double eps = 1e-12, std = 0.02;
    int64_t padding = -1;
    medley_status st;
    if (json_kind_of(root) != JSON_OBJECT)
        return fail(err, MEDLEY_EFORMAT, "%s: expected an object", path);
    if ((st = read_text(root, path, "model_type", &type, err)) ||
        (st = read_number(root, path, "layer_norm_eps", &eps, err)) ||
        (st = read_number(root, path, "initializer_range", &std, err)) ||
        (st = read_whole(root, path, "pad_token_id", &padding, err)))
        return st;
    st = encoder_family_find(type, &e->family, err);
    if (st)
        return fail_within(err, st, "%s", path);
    c->activation = ACT_GELU;
    c->types = 2;
    st = read_sizes(root, path, c, err);
    if (!st)
        st = encoder_read_activation(root, path, "hidden_act", &c->activation, err);
    if (!st)
        st = read_problem(root, path, &c->problem, err);
    if (st)
        return st;
    /* As floats: what is too small for one would be zero. */
    if (!((float)eps > 0 && eps < 1) || !((float)std > 0 && std < 1))
        return fail(err, MEDLEY_EFORMAT,
                    "%s: layer_norm_eps and initializer_range must lie between 0 and 1", path);
    if (padding >= (int64_t)c->vocabulary)
        return fail(err, MEDLEY_EFORMAT, "%s: pad_token_id %lld is not below vocab_size %u",
                    path, (long long)padding, c->vocabulary);
    c->padding = padding < 0 ? -1 : (int)padding;
    c->norm_eps = (float)eps;
    c->init_std = (float)std;
    if (e->family->configure)
        st = e->family->configure(c, root, path, err);
    if (!st && c->first_position >= c->positions)
        st = fail(err, MEDLEY_EFORMAT,
                  "%s: max_position_embeddings %u leaves no position after the padding's", path,
                  c->positions);
    return st;
}

static medley_status load(const char *folder, char **path, json **root, medley_error *err)
{
    *path = path_join(folder, "config.json");
    if (!*path)
        return fail_memory(err, "a path");
    return json_load(*path, root, err);
}

medley_status encoder_config_load(const char *folder, unsigned layers, struct encoder *out,
                                  medley_error *err)
{
    struct encoder e = {0};
    json *root = NULL;
    char *path = NULL;
    medley_status st = load(folder, &path, &root, err);
    if (!st)
        st = encoder_config_read(root, path, &e, err);
    if (!st && layers > e.config.layers)
        st = fail(err, MEDLEY_EINVAL, "%s: layers %u asked for, but the model has %u", path,
                  layers, e.config.layers);
    json_free(root);
    mem_free(path);
    if (st)
        return st;
    if (layers)
        e.config.layers = layers;
    *out = e;
    return MEDLEY_OK;
}

medley_status encoder_config_classes(const char *folder, size_t *classes, medley_error *err)
{
    json *root = NULL;
    char *path = NULL;
    medley_status st = load(folder, &path, &root, err);
    if (!st) {
        unsigned n = 2;
        const json *labels = json_get(root, "id2label");
        if (!absent(labels) && json_kind_of(labels) != JSON_OBJECT)
            st = fail_kind(path, "id2label", "an object", err);
        else if (!absent(labels))
            n = (unsigned)json_count(labels);
        else
            st = encoder_read_count(root, path, "num_labels", 1, ENCODER_MAX_CLASSES, &n, err);
        if (!st && (n < 1 || n > ENCODER_MAX_CLASSES))
            st = fail(err, MEDLEY_EUNSUPPORTED, "%s: expected 1 to %d labels, found %u", path,
                      ENCODER_MAX_CLASSES, n);
        if (!st)
            *classes = n;
    }
    json_free(root);
    mem_free(path);
    return st;
}

static bool is_classifier(const json *root)
{
    static const char ending[] = "ForSequenceClassification";
    const char *name;
    if (!json_as_text(json_first(json_get(root, "architectures")), &name))
        return false;
    size_t n = strlen(name), m = sizeof ending - 1;
    return n > m && strcmp(name + n - m, ending) == 0;
}

medley_status encoder_config_labels(const char *folder, char **names, size_t *n,
                                    medley_error *err)
{
    json *root = NULL;
    char *path = NULL, number[32];
    size_t found = 0;
    medley_status st = load(folder, &path, &root, err);
    if (!st && !is_classifier(root))
        st = fail(err, MEDLEY_EUNSUPPORTED,
                  "%s: architectures names no ...ForSequenceClassification: only classifiers, "
                  "and what Medley has fine-tuned (kind: lm, pretrained: in medley.yaml), give "
                  "probabilities",
                  path);
    if (!st)
        st = encoder_config_classes(folder, &found, err);
    for (*n = 0; *n < found && !st; ++*n) {
        const char *name = number;
        snprintf(number, sizeof number, "LABEL_%zu", *n);
        json_as_text(json_get(json_get(root, "id2label"), number + strlen("LABEL_")), &name);
        if (!(names[*n] = mem_strdup(name)))
            st = fail_memory(err, "class names");
    }
    json_free(root);
    mem_free(path);
    return st;
}

static void write_labels(struct json_writer *w, const char *const *names, size_t n)
{
    char number[24];
    jw_key(w, "id2label"), jw_object(w);
    for (size_t i = 0; i < n; i++) {
        snprintf(number, sizeof number, "%zu", i);
        jw_key(w, number), jw_textz(w, names[i]);
    }
    jw_object_end(w);
    jw_key(w, "label2id"), jw_object(w);
    for (size_t i = 0; i < n; i++)
        jw_key(w, names[i]), jw_i64(w, (int64_t)i);
    jw_object_end(w);
}

void encoder_config_write(const struct encoder *e, const char *head,
                          const char *const *class_names, size_t classes, struct strbuf *out)
{
    const struct encoder_config *c = &e->config;
    struct json_writer w;
    char architecture[64];
    snprintf(architecture, sizeof architecture, "%s%s", e->family->architecture, head);
    jw_init(&w, out, true);
    jw_object(&w);
    jw_key(&w, "architectures"), jw_array(&w);
    jw_textz(&w, architecture);
    jw_array_end(&w);
    jw_key(&w, "model_type"), jw_textz(&w, e->family->model_type);
    jw_key(&w, "vocab_size"), jw_i64(&w, c->vocabulary);
    jw_key(&w, "hidden_size"), jw_i64(&w, c->hidden);
    jw_key(&w, "num_hidden_layers"), jw_i64(&w, c->layers);
    jw_key(&w, "num_attention_heads"), jw_i64(&w, c->heads);
    jw_key(&w, "intermediate_size"), jw_i64(&w, c->intermediate);
    jw_key(&w, "max_position_embeddings"), jw_i64(&w, c->positions);
    jw_key(&w, "type_vocab_size"), jw_i64(&w, c->types);
    jw_key(&w, "layer_norm_eps"), jw_float(&w, c->norm_eps);
    jw_key(&w, "initializer_range"), jw_float(&w, c->init_std);
    jw_key(&w, "hidden_act"), jw_textz(&w, encoder_activation_name(c->activation));
    jw_key(&w, "hidden_dropout_prob"), jw_double(&w, 0.1);
    jw_key(&w, "attention_probs_dropout_prob"), jw_double(&w, 0.1);
    jw_key(&w, "pad_token_id");
    if (c->padding < 0)
        jw_null(&w);
    else
        jw_i64(&w, c->padding);
    jw_key(&w, "problem_type"), jw_textz(&w, problems[c->problem]);
    if (e->family->describe)
        e->family->describe(c, &w);
    write_labels(&w, class_names, classes);
    jw_object_end(&w);
    sb_addc(out, '\n');
}
