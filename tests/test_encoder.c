/* test_encoder.c: configurations and checkpoints of encoders, good and bad. What they compute
 * is compared with their references in test_lm_golden.c. */
#include "tests/data_help.h"

#include "lm/encoder.h"

enum { CLASSES = 4 };

/* An encoder with the parameters of a folder. */
struct model {
    struct encoder e;
    struct params params;
};

static medley_status model_open(struct model *m, const char *folder, unsigned layers,
                                medley_error *err)
{
    memset(m, 0, sizeof *m);
    params_init(&m->params);
    medley_status st = encoder_config_load(folder, layers, &m->e, err);
    if (!st)
        st = m->e.family->declare(&m->e, &m->params, CLASSES, err);
    if (!st)
        st = params_allocate(&m->params, 1, err);
    if (!st)
        st = encoder_load_params(&m->e, &m->params, folder, err);
    return st;
}

static void model_close(struct model *m)
{
    encoder_deinit(&m->e);
    params_deinit(&m->params);
}

/* ---- configurations and checkpoints ---- */

static const char tiny_config[] =
    "{\"model_type\": \"bert\", \"vocab_size\": 20, \"hidden_size\": 8, \"num_hidden_layers\": "
    "1,"
    " \"num_attention_heads\": 2, \"intermediate_size\": 16, \"max_position_embeddings\": 12,"
    " \"type_vocab_size\": 2}";

/* FOLDER/config.json, `from` replaced by `to`. */
static void put_config(const char *folder, const char *from, const char *to)
{
    char changed[1024];
    const char *cut = from ? strstr(tiny_config, from) : NULL;
    if (cut)
        snprintf(changed, sizeof changed, "%.*s%s%s", (int)(cut - tiny_config), tiny_config, to,
                 cut + strlen(from));
    put(folder, "config.json", cut ? changed : tiny_config);
}

static void test_config(const char *folder)
{
    static const struct {
        const char *from, *to, *message;
    } bad[] = {
        {"\"bert\"", "\"llama\"",
         "encoder family 'llama' is not supported (there are: bert, roberta"},
        {"\"hidden_size\": 8", "\"hidden_size\": 0", "hidden_size"},
        {"\"hidden_size\": 8", "\"hidden_size\": 1e9", "hidden_size"},
        {"\"hidden_size\": 8", "\"hidden_size\": 7", "multiple"},
        {"\"vocab_size\": 20", "\"vocab_size\": -3", "vocab_size"},
        {"\"vocab_size\": 20, ", "", "vocab_size"},
        {"\"type_vocab_size\": 2", "\"type_vocab_size\": 2, \"hidden_act\": \"swish9\"",
         "swish9"},
        {"\"type_vocab_size\": 2", "\"type_vocab_size\": 2, \"layer_norm_eps\": 1e-50",
         "layer_norm_eps"},
        {"\"type_vocab_size\": 2",
         "\"type_vocab_size\": 2, \"position_embedding_type\": \"relative_key\"",
         "relative_key"},
        {"\"bert\"", "3", "model_type must be a text"},
        {"\"vocab_size\": 20", "\"vocab_size\": \"20\"", "vocab_size"},
        {"\"num_hidden_layers\": 1", "\"num_hidden_layers\": 1000000000", "num_hidden_layers"},
        {"\"type_vocab_size\": 2", "\"hidden_act\": [1]", "hidden_act must be a text"},
        {"\"type_vocab_size\": 2", "\"problem_type\": 7", "problem_type must be a text"},
        {"\"type_vocab_size\": 2", "\"layer_norm_eps\": \"small\"",
         "layer_norm_eps must be a number"},
        {"\"type_vocab_size\": 2", "\"pad_token_id\": 0.5",
         "pad_token_id must be a whole number"},
        {tiny_config, "[]", "expected an object"},
    };
    struct encoder e;
    medley_error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_config(folder, bad[i].from, bad[i].to);
        medley_status st = encoder_config_load(folder, 0, &e, &err);
        ok(st != MEDLEY_OK && strstr(err.message, bad[i].message) &&
               strstr(err.message, folder),
           "a config with %s is refused: %s", bad[i].to, st ? err.message : "it was not");
    }
    put_config(folder, NULL, NULL);
    ok(encoder_config_load(folder, 2, &e, &err) == MEDLEY_EINVAL,
       "so are more layers than there are");
    ok(encoder_config_load(folder, 0, &e, &err) == MEDLEY_OK && e.config.hidden == 8,
       "the config itself is fine");
    size_t classes = 0;
    put_config(folder, "\"type_vocab_size\": 2", "\"id2label\": \"E\"");
    ok(encoder_config_classes(folder, &classes, &err) == MEDLEY_EFORMAT &&
           strstr(err.message, "id2label"),
       "labels that are no object are refused: %s", err.message);
    put_config(folder, "\"type_vocab_size\": 2",
               "\"hidden_act\": null, \"problem_type\": null, \"id2label\": null,"
               " \"num_labels\": 3");
    ok(encoder_config_load(folder, 0, &e, &err) == MEDLEY_OK &&
           encoder_config_classes(folder, &classes, &err) == MEDLEY_OK && classes == 3,
       "what is null counts as absent");
}

/* What write_checkpoint does to one tensor. */
enum damage {
    NONE,
    NO_PREFIX,
    NO_HEAD,
    ABSENT,
    MISSHAPEN,
    NOT_FINITE,
    INTEGERS,
    OTHER_CLASSES
};

/* The checkpoint of `m` with tensor `name` damaged. */
static void write_checkpoint(struct model *m, const char *folder, const char *name,
                             enum damage damage)
{
    struct st_writer *w = st_writer_new();
    for (size_t i = 0; i < m->params.count; i++) {
        struct param *p = &m->params.items[i];
        uint64_t shape[2] = {p->dims == 1 ? p->cols : p->rows, p->cols};
        float *value = m->params.values + p->offset;
        bool hit = name && strcmp(p->name, name) == 0;
        const char *as =
            damage == NO_PREFIX && strncmp(p->name, "bert.", 5) == 0 ? p->name + 5 : p->name;
        if ((hit && damage == ABSENT) ||
            (damage == NO_HEAD && (strstr(p->name, "pooler") || strstr(p->name, "classifier"))))
            continue;
        if (hit && damage == NOT_FINITE)
            value[1] = NAN;
        if (hit && (damage == MISSHAPEN || damage == OTHER_CLASSES))
            shape[0]--;
        st_writer_add(w, as, hit && damage == INTEGERS ? ST_I32 : ST_F32, p->dims, shape,
                      value);
    }
    if (st_writer_commit(w, at(folder, "model.safetensors"), NULL))
        abort();
    st_writer_free(w);
    for (size_t i = 0; i < m->params.total; i++) /* mended for the next */
        if (isnan(m->params.values[i]))
            m->params.values[i] = 0.5f;
}

static bool same_values(const struct model *a, const struct model *b)
{
    return memcmp(a->params.values, b->params.values, a->params.total * sizeof(float)) == 0;
}

static void test_checkpoints(const char *folder)
{
    static const struct {
        const char *tensor;
        enum damage damage;
        const char *message;
    } bad[] = {
        {"bert.embeddings.word_embeddings.weight", ABSENT, "is missing"},
        {"bert.encoder.layer.0.output.LayerNorm.bias", ABSENT, "is missing"},
        {"bert.encoder.layer.0.attention.self.key.weight", MISSHAPEN, "another shape"},
        {"bert.pooler.dense.weight", MISSHAPEN, "another shape"},
        {"bert.encoder.layer.0.output.dense.bias", MISSHAPEN, "another shape"},
        {"bert.encoder.layer.0.output.dense.weight", NOT_FINITE, "not finite"},
        {"bert.embeddings.position_embeddings.weight", INTEGERS, "I32"},
    };
    struct model source, m;
    medley_error err;
    put_config(folder, NULL, NULL);
    memset(&source, 0, sizeof source);
    if (encoder_config_load(folder, 0, &source.e, NULL) ||
        source.e.family->declare(&source.e, &source.params, CLASSES, NULL) ||
        params_allocate(&source.params, 77, NULL))
        abort();
    write_checkpoint(&source, folder, NULL, NONE);
    ok(model_open(&m, folder, 0, &err) == MEDLEY_OK && same_values(&m, &source),
       "a checkpoint loads");
    model_close(&m);
    write_checkpoint(&source, folder, NULL, NO_PREFIX);
    ok(model_open(&m, folder, 0, &err) == MEDLEY_OK && same_values(&m, &source),
       "so does one without the prefix 'bert.'");
    model_close(&m);
    write_checkpoint(&source, folder, NULL, NO_HEAD);
    ok(model_open(&m, folder, 0, &err) == MEDLEY_OK && !same_values(&m, &source),
       "one without pooler and classifier loads; they start at random");
    model_close(&m);
    write_checkpoint(&source, folder, "classifier.weight", OTHER_CLASSES);
    ok(model_open(&m, folder, 0, &err) == MEDLEY_OK,
       "a classifier of other classes starts anew");
    model_close(&m);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_checkpoint(&source, folder, bad[i].tensor, bad[i].damage);
        medley_status st = model_open(&m, folder, 0, &err);
        ok(st == MEDLEY_EFORMAT && strstr(err.message, bad[i].tensor) &&
               strstr(err.message, bad[i].message),
           "refused: %s", st ? err.message : "it was not");
        model_close(&m);
    }
    model_close(&source);
}

/* The same parameters in two shards, under the old names of norms. */
static void test_shards(const char *folder)
{
    struct model source = {0}, m;
    medley_error err;
    put_config(folder, NULL, NULL);
    if (encoder_config_load(folder, 0, &source.e, NULL) ||
        source.e.family->declare(&source.e, &source.params, CLASSES, NULL) ||
        params_allocate(&source.params, 78, NULL))
        abort();
    const char *const names[] = {"a.safetensors", "b.safetensors"};
    static char old[64][128];
    struct strbuf index;
    sb_init(&index);
    sb_addz(&index, "{\"weight_map\": {\"x\": \"a.safetensors\"");
    for (size_t part = 0; part < 2; part++) {
        struct st_writer *w = st_writer_new();
        for (size_t i = part; i < source.params.count; i += 2) {
            struct param *p = &source.params.items[i];
            uint64_t shape[3];
            int dims = param_shape(p, shape);
            size_t stem = strlen(p->name) - strlen("LayerNorm.weight");
            bool norm = strstr(p->name, "LayerNorm.weight") != NULL;
            snprintf(old[i], sizeof old[i], "%.*s%s", norm ? (int)stem : 127, p->name,
                     norm ? "LayerNorm.gamma" : "");
            st_writer_add(w, old[i], ST_F32, dims, shape, source.params.values + p->offset);
            sb_addf(&index, ", \"%s\": \"%s\"", old[i], names[part]);
        }
        if (st_writer_commit(w, at(folder, names[part]), NULL))
            abort();
        st_writer_free(w);
    }
    sb_addz(&index, "}}");
    remove(at(folder, "model.safetensors"));
    put_bytes(folder, "model.safetensors.index.json", index.s, index.n);
    ok(model_open(&m, folder, 0, &err) == MEDLEY_OK && same_values(&m, &source),
       "a checkpoint in shards loads, norms under their old names");
    model_close(&m);
    put(folder, "model.safetensors.index.json",
        "{\"weight_map\": {\"x\": \"../a.safetensors\"}}");
    ok(model_open(&m, folder, 0, &err) == MEDLEY_EFORMAT && strstr(err.message, "weight_map"),
       "an index that leads out of the folder is refused: %s", err.message);
    model_close(&m);
    put(folder, "model.safetensors.index.json", "{\"weight_map\": []}");
    ok(model_open(&m, folder, 0, &err) == MEDLEY_EFORMAT && strstr(err.message, "weight_map"),
       "so is one without a weight_map");
    model_close(&m);
    put(folder, "model.safetensors.index.json", "{\"weight_map\": {\"x\": \"c.safetensors\"}}");
    ok(model_open(&m, folder, 0, &err) != MEDLEY_OK && strstr(err.message, "index.json") &&
           strstr(err.message, "tensor 'x'") && strstr(err.message, "c.safetensors"),
       "so is one that names a missing shard: %s", err.message);
    model_close(&m);
    remove(at(folder, "model.safetensors.index.json"));
    sb_deinit(&index);
    model_close(&source);
}

/* Settings that a family refuses; what it writes reads back as it was. */
static void test_families(const char *folder)
{
    static const struct {
        const char *family, *settings, *message; /* NULL: good */
    } cases[] = {
        {"roberta", "\"pad_token_id\": 1", NULL},
        {"roberta", "\"pad_token_id\": 11", "no position"},
        {"roberta", "\"pad_token_id\": 99", "pad_token_id 99"},
        {"xlm-roberta", "\"type_vocab_size\": 1", NULL},
        {"electra", "\"embedding_size\": 6", NULL},
        {"electra", "\"embedding_size\": 0", "embedding_size"},
        {"mpnet", "\"relative_attention_num_buckets\": 32", NULL},
        {"mpnet", "\"relative_attention_num_buckets\": 8", "relative_attention_num_buckets"},
        {"deberta-v2",
         "\"relative_attention\": true, \"position_buckets\": 4, "
         "\"norm_rel_ebd\": \"layer_norm\", \"pos_att_type\": [\"c2p\"], "
         "\"conv_kernel_size\": 3, \"conv_act\": \"gelu\"",
         NULL},
        {"deberta-v2", "\"relative_attention\": true, \"position_buckets\": 64",
         "position_buckets"},
        {"deberta-v2", "\"conv_kernel_size\": 2", "conv_kernel_size"},
        {"deberta-v2", "\"pooler_hidden_size\": 5", "pooler_hidden_size"},
        {"deberta-v2", "\"pooler_hidden_act\": \"maxout\"", "maxout"},
        {"big_bird", "\"attention_type\": \"block_sparse\", \"block_size\": 2", NULL},
        {"big_bird", "\"attention_type\": \"strided\"", "strided"},
        {"big_bird", "\"block_size\": 0", "block_size"},
        {"modernbert", "\"classifier_pooling\": \"mean\", \"local_rope_theta\": null", NULL},
        {"modernbert", "\"classifier_pooling\": \"max\"", "max"},
        {"modernbert", "\"global_rope_theta\": 0", "global_rope_theta"},
        {"modernbert", "\"norm_eps\": 0", "norm_eps"},
    };
    const char *names[CLASSES] = {"E", "S", "C", "I"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct encoder e, again;
        struct strbuf text;
        medley_error err;
        char config[1024];
        snprintf(config, sizeof config,
                 "{\"model_type\": \"%s\", \"vocab_size\": 20, \"hidden_size\": 8, "
                 "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, "
                 "\"intermediate_size\": 16, \"max_position_embeddings\": 12, %s}",
                 cases[i].family, cases[i].settings);
        put(folder, "config.json", config);
        medley_status st = encoder_config_load(folder, 0, &e, &err);
        if (cases[i].message) {
            ok(st != MEDLEY_OK && strstr(err.message, cases[i].message), "%s refused: %s",
               cases[i].family, st ? err.message : "it was not");
            continue;
        }
        ok(st == MEDLEY_OK, "%s with %s: %s", cases[i].family, cases[i].settings,
           st ? err.message : "good");
        sb_init(&text);
        encoder_config_write(&e, "ForSequenceClassification", names, CLASSES, &text);
        put_bytes(folder, "config.json", text.s, text.n);
        size_t classes = 0;
        ok(encoder_config_load(folder, 0, &again, &err) == MEDLEY_OK &&
               memcmp(&e.config, &again.config, sizeof e.config) == 0 &&
               again.family == e.family,
           "and reads back as it was written");
        ok(encoder_config_classes(folder, &classes, &err) == MEDLEY_OK && classes == CLASSES,
           "with its classes");
        sb_deinit(&text);
    }
}

/* A model that someone saved must be whole; sizes that the file does not hold cost no memory.
 */
static void test_checking(const char *folder)
{
    static const struct {
        const char *tensor;
        enum damage damage;
    } bad[] = {{"classifier.weight", ABSENT},
               {"classifier.weight", OTHER_CLASSES},
               {"bert.pooler.dense.bias", ABSENT}};
    struct model source = {0}, m = {0};
    medley_error err;
    put_config(folder, NULL, NULL);
    if (encoder_config_load(folder, 0, &source.e, NULL) ||
        source.e.family->declare(&source.e, &source.params, CLASSES, NULL) ||
        params_allocate(&source.params, 77, NULL))
        abort();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_checkpoint(&source, folder, bad[i].tensor, bad[i].damage);
        ok(encoder_check_params(&source.e, &source.params, folder, false, &err) == MEDLEY_OK,
           "a pretrained checkpoint may do without %s", bad[i].tensor);
        medley_status st = encoder_check_params(&source.e, &source.params, folder, true, &err);
        ok(st == MEDLEY_EFORMAT && strstr(err.message, bad[i].tensor),
           "a whole one may not: %s", st ? err.message : "it did");
    }
    put_config(folder, "\"vocab_size\": 20", "\"vocab_size\": 9000000");
    if (encoder_config_load(folder, 0, &m.e, NULL) ||
        m.e.family->declare(&m.e, &m.params, CLASSES, NULL))
        abort();
    ok(encoder_check_params(&m.e, &m.params, folder, false, &err) == MEDLEY_EFORMAT &&
           strstr(err.message, "word_embeddings") && !m.params.values,
       "a config of other sizes is refused before anything is allocated");
    model_close(&m);
    model_close(&source);
}

int main(void)
{
    const char *folder = tap_folder();
    test_config(folder);
    test_families(folder);
    test_checkpoints(folder);
    test_shards(folder);
    test_checking(folder);
    return tap_done();
}
