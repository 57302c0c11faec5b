/* encoder.c: the table of families, config.json and checkpoints. */
#include "lm/encoder.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

const struct encoder_family *const encoder_families[] = {&bert_family, NULL};

static const struct {
    const char *name;
    enum activation value;
} activations[] = {
    {"gelu", ACT_GELU}, {"gelu_new", ACT_GELU_TANH}, {"gelu_pytorch_tanh", ACT_GELU_TANH},
    {"relu", ACT_RELU}, {"silu", ACT_SILU},
};
enum { ACTIVATIONS = sizeof activations / sizeof *activations };

medley_status encoder_family_find(const char *model_type, const struct encoder_family **out,
                                  medley_error *err)
{
    char list[256] = "";
    for (size_t i = 0; encoder_families[i]; i++) {
        if (strcmp(encoder_families[i]->model_type, model_type) == 0) {
            *out = encoder_families[i];
            return MEDLEY_OK;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "",
                 encoder_families[i]->model_type);
    }
    return fail(err, MEDLEY_EUNSUPPORTED,
                "encoder family '%s' is not supported (there are: %s)", model_type, list);
}

/* Whole number from 1 to `most`. */
static medley_status read_count(const json *root, const char *path, const char *key,
                                int64_t most, unsigned *out, medley_error *err)
{
    int64_t v;
    if (!json_as_i64(json_get(root, key), &v) || v < 1 || v > most)
        return fail(err, MEDLEY_EFORMAT, "%s: %s must be a whole number from 1 to %lld", path,
                    key, (long long)most);
    *out = (unsigned)v;
    return MEDLEY_OK;
}

static medley_status read_config(const json *root, const char *path, struct encoder *e,
                                 medley_error *err)
{
    struct encoder_config *c = &e->config;
    const char *type = "bert", *act = "gelu";
    double eps = 1e-12, std = 0.02;
    json_as_text(json_get(root, "model_type"), &type);
    json_as_text(json_get(root, "hidden_act"), &act);
    json_as_double(json_get(root, "layer_norm_eps"), &eps);
    json_as_double(json_get(root, "initializer_range"), &std);
    medley_status st = encoder_family_find(type, &e->family, err);
    if (st)
        return fail_within(err, st, "%s", path);
    if ((st = read_count(root, path, "vocab_size", 10000000, &c->vocabulary, err)) ||
        (st = read_count(root, path, "hidden_size", 16384, &c->hidden, err)) ||
        (st = read_count(root, path, "num_hidden_layers", 256, &c->layers, err)) ||
        (st = read_count(root, path, "num_attention_heads", 256, &c->heads, err)) ||
        (st = read_count(root, path, "intermediate_size", 65536, &c->intermediate, err)) ||
        (st = read_count(root, path, "max_position_embeddings", 1000000, &c->positions, err)) ||
        (st = read_count(root, path, "type_vocab_size", 256, &c->types, err)))
        return st;
    if (c->hidden % c->heads)
        return fail(err, MEDLEY_EFORMAT,
                    "%s: hidden_size %u is not a multiple of "
                    "num_attention_heads %u",
                    path, c->hidden, c->heads);
    /* As floats: what is too small for one would be zero. */
    if (!((float)eps > 0 && eps < 1) || !((float)std > 0 && std < 1))
        return fail(err, MEDLEY_EFORMAT,
                    "%s: layer_norm_eps and initializer_range must lie between 0 and 1", path);
    const char *position = "absolute";
    json_as_text(json_get(root, "position_embedding_type"), &position);
    if (strcmp(position, "absolute") != 0)
        return fail(err, MEDLEY_EUNSUPPORTED,
                    "%s: position_embedding_type '%s' is not supported", path, position);
    c->norm_eps = (float)eps;
    c->init_std = (float)std;
    for (size_t i = 0; i < ACTIVATIONS; i++) {
        if (strcmp(activations[i].name, act) == 0) {
            c->activation = activations[i].value;
            return MEDLEY_OK;
        }
    }
    return fail(err, MEDLEY_EUNSUPPORTED, "%s: hidden_act '%s' is not supported", path, act);
}

medley_status encoder_config_load(const char *folder, unsigned layers, struct encoder *out,
                                  medley_error *err)
{
    struct encoder e = {0};
    json *root = NULL;
    char *path = path_join(folder, "config.json");
    if (!path)
        return fail_memory(err, "a path");
    medley_status st = json_load(path, &root, err);
    if (!st)
        st = read_config(root, path, &e, err);
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

static const char *activation_name(enum activation a)
{
    for (size_t i = 0; i < ACTIVATIONS; i++)
        if (activations[i].value == a)
            return activations[i].name;
    return "gelu";
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

void encoder_config_write(const struct encoder *e, const char *architecture,
                          const char *const *class_names, size_t classes, struct strbuf *out)
{
    const struct encoder_config *c = &e->config;
    struct json_writer w;
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
    jw_key(&w, "hidden_act"), jw_textz(&w, activation_name(c->activation));
    jw_key(&w, "hidden_dropout_prob"), jw_double(&w, 0.1);
    jw_key(&w, "attention_probs_dropout_prob"), jw_double(&w, 0.1);
    jw_key(&w, "position_embedding_type"), jw_textz(&w, "absolute");
    jw_key(&w, "pad_token_id"), jw_i64(&w, 0);
    write_labels(&w, class_names, classes);
    jw_object_end(&w);
    sb_addc(out, '\n');
}

void encoder_deinit(struct encoder *e)
{
    mem_free(e->ids);
    e->ids = NULL;
}

struct tensor *encoder_forward(const struct encoder *e, struct tape *t,
                               const struct encoder_batch *batch, float dropout)
{
    struct tensor *x = e->family->embed(e, t, batch, dropout);
    for (unsigned i = 0; i < e->config.layers; i++)
        x = e->family->layer(e, t, i, x, batch, dropout);
    return x;
}

struct tensor *encoder_infer(const struct encoder *e, struct tape tapes[2],
                             const struct encoder_batch *batch, struct tape **on)
{
    struct tape *t = &tapes[0];
    tape_reset(t, false, 0);
    struct tensor *x = e->family->embed(e, t, batch, 0);
    for (unsigned i = 0; i < e->config.layers; i++) {
        t = &tapes[(i + 1) % 2];
        tape_reset(t, false, 0);
        x = e->family->layer(e, t, i, x, batch, 0);
    }
    *on = t;
    return x;
}

static bool starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool of_the_head(const struct encoder *e, const char *name)
{
    size_t n = starts_with(name, e->family->prefix) ? strlen(e->family->prefix) : 0;
    return n == 0 || starts_with(name + n, "pooler.");
}

/* *out is NULL where the parameter keeps its start: a head that is missing, or a classifier for
 * another number of classes. */
static medley_status find_entry(const struct encoder *e, const struct param *item, bool whole,
                                const struct st_file *f, const char *path,
                                const struct st_entry **out, medley_error *err)
{
    const struct st_entry *entry = st_find(f, item->name);
    if (!entry && starts_with(item->name, e->family->prefix))
        entry = st_find(f, item->name + strlen(e->family->prefix));
    *out = NULL;
    if (!entry)
        return of_the_head(e, item->name) && !whole
                   ? MEDLEY_OK
                   : fail(err, MEDLEY_EFORMAT, "%s: tensor '%s' is missing", path, item->name);
    bool fits = entry->dims == item->dims && entry->shape[item->dims - 1] == item->cols &&
                (item->dims == 1 || entry->shape[0] == item->rows);
    if (!fits && !whole && starts_with(item->name, "classifier."))
        return MEDLEY_OK;
    if (!fits)
        return fail(err, MEDLEY_EFORMAT,
                    "%s: tensor '%s' has another shape than the expected %zu x "
                    "%zu",
                    path, item->name, item->rows, item->cols);
    *out = entry;
    return MEDLEY_OK;
}

medley_status encoder_check_params(const struct encoder *e, struct params *p,
                                   const char *folder, bool whole, medley_error *err)
{
    struct st_file *f = NULL;
    char *path = path_join(folder, "model.safetensors");
    if (!path)
        return fail_memory(err, "a path");
    medley_status st = st_open(path, &f, err);
    for (param_id i = 0; i < p->count && !st; i++) {
        const struct st_entry *entry = NULL;
        st = find_entry(e, &p->items[i], whole, f, path, &entry, err);
        if (!st && entry)
            p->items[i].init = INIT_ZERO;
    }
    st_close(f);
    mem_free(path);
    return st;
}

static medley_status load_one(const struct encoder *e, struct params *p, param_id id,
                              const struct st_file *f, const char *path, medley_error *err)
{
    const struct param *item = &p->items[id];
    const struct st_entry *entry = NULL;
    medley_status st = find_entry(e, item, false, f, path, &entry, err);
    if (st || !entry)
        return st;
    float *values = params_value(p, id);
    if (!st_to_float(entry, values))
        return fail(err, MEDLEY_EFORMAT,
                    "%s: tensor '%s' is of type %s (expected floating point)", path, item->name,
                    st_type_name(entry->type));
    for (size_t i = 0; i < entry->count; i++)
        if (!isfinite(values[i]))
            return fail(err, MEDLEY_EFORMAT, "%s: tensor '%s' holds a value that is not finite",
                        path, item->name);
    return MEDLEY_OK;
}

medley_status encoder_load_params(const struct encoder *e, struct params *p, const char *folder,
                                  medley_error *err)
{
    struct st_file *f = NULL;
    char *path = path_join(folder, "model.safetensors");
    if (!path)
        return fail_memory(err, "a path");
    medley_status st = st_open(path, &f, err);
    for (param_id i = 0; i < p->count && !st; i++)
        st = load_one(e, p, i, f, path, err);
    st_close(f);
    mem_free(path);
    return st;
}
