/* test_bert.c: BERT against a small random checkpoint with the reference implementation's
 * logits, hidden states, gradients and ten steps of AdamW; its configuration and its
 * checkpoints. */
#include "tests/data_help.h"

#include "lm/encoder.h"
#include "nn/adamw.h"

#define GOLDEN "../shared/data/golden/lm/bert"
enum { MAX_TOKENS = 256, MAX_SEQUENCES = 8, CLASSES = 4 };

/* The golden batch without its padding; `row` says where each token stood in the padded one. */
struct golden {
    int32_t ids[MAX_TOKENS], types[MAX_TOKENS], positions[MAX_TOKENS];
    uint32_t row[MAX_TOKENS], offsets[MAX_SEQUENCES + 1];
    uint8_t labels[MAX_SEQUENCES];
    size_t tokens, n;
};

static int64_t number(const json *v)
{
    int64_t x = -1;
    if (!json_as_i64(v, &x))
        abort();
    return x;
}

static const json *item(const json *array, size_t i)
{
    const json *v = json_first(array);
    while (i--)
        v = json_next(v);
    return v;
}

static void read_golden(struct golden *g)
{
    json *root = NULL;
    if (json_load(GOLDEN "/inputs.json", &root, NULL))
        abort();
    memset(g, 0, sizeof *g);
    const json *ids = json_get(root, "input_ids"), *types = json_get(root, "token_type_ids");
    const json *mask = json_get(root, "attention_mask");
    g->n = json_count(ids);
    uint32_t row = 0;
    for (size_t s = 0; s < g->n; s++) {
        g->labels[s] = (uint8_t)number(item(json_get(root, "labels"), s));
        for (size_t i = 0; i < json_count(item(ids, s)); i++, row++) {
            if (number(item(item(mask, s), i)) == 0)
                continue;
            g->ids[g->tokens] = (int32_t)number(item(item(ids, s), i));
            g->types[g->tokens] = (int32_t)number(item(item(types, s), i));
            g->positions[g->tokens] = (int32_t)i;
            g->row[g->tokens++] = row;
        }
        g->offsets[s + 1] = (uint32_t)g->tokens;
    }
    json_free(root);
}

static struct encoder_batch batch_of(const struct golden *g)
{
    return (struct encoder_batch){
        g->ids, g->types, g->positions, g->tokens, {g->offsets, g->n}};
}

/* An encoder with the parameters of a folder. */
struct model {
    struct encoder e;
    struct params params;
    struct tape tape;
    float *grads;
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
    if (!st && !(m->grads = mem_zalloc(m->params.total, sizeof *m->grads)))
        st = MEDLEY_ENOMEM;
    tape_init(&m->tape, &m->params, m->grads);
    return st;
}

static void model_close(struct model *m)
{
    tape_deinit(&m->tape);
    encoder_deinit(&m->e);
    params_deinit(&m->params);
    mem_free(m->grads);
}

static struct tensor *run(struct model *m, const struct golden *g, bool training,
                          struct tensor **hidden)
{
    struct encoder_batch batch = batch_of(g);
    tape_reset(&m->tape, training, 1);
    *hidden = encoder_forward(&m->e, &m->tape, &batch, 0);
    return m->e.family->classify(&m->e, &m->tape, *hidden, &batch, 0);
}

static double loss_and_gradients(struct model *m, const struct golden *g)
{
    struct tensor *hidden, *logits = run(m, g, true, &hidden);
    struct tensor *loss = op_softmax_loss(&m->tape, logits, g->labels, NULL, 0);
    if (tape_backward(&m->tape, loss, 1, NULL))
        abort();
    return loss->value[0];
}

/* Ten times the reference's own difference between float32 and float64 on these inputs. */
static const double logit_tolerance = 7e-6;

static double logit_error(const struct tensor *logits, const json *rows)
{
    double worst = 0;
    for (size_t s = 0; s < logits->rows; s++)
        for (size_t k = 0; k < logits->cols; k++) {
            double wanted = NAN;
            json_as_double(item(item(rows, s), k), &wanted);
            worst = fmax(worst, fabs(wanted - (double)logits->value[s * logits->cols + k]));
        }
    return worst;
}

static void test_logits(const struct golden *g, const json *expected)
{
    struct model m;
    struct tensor *hidden;
    ok(model_open(&m, GOLDEN, 0, NULL) == MEDLEY_OK, "the golden checkpoint loads");
    for (int training = 0; training <= 1; training++) {
        double e = logit_error(run(&m, g, training, &hidden), json_get(expected, "logits_f64"));
        ok(e < logit_tolerance, "logits are right, %s (off by %.1e)",
           training ? "recording" : "not recording", e);
    }
    double wanted = NAN, loss = loss_and_gradients(&m, g);
    json_as_double(json_get(expected, "loss_f64"), &wanted);
    ok(fabs(loss - wanted) < 2e-6, "the loss is right (off by %.1e)", fabs(loss - wanted));
    model_close(&m);
}

static double hidden_error(const struct golden *g, const struct tensor *hidden,
                           const struct st_file *f, unsigned layer)
{
    char name[16];
    snprintf(name, sizeof name, "hidden_%u", layer);
    const struct st_entry *e = st_find(f, name);
    float *wanted = mem_alloc(e->count, sizeof *wanted);
    double worst = 0;
    size_t d = hidden->cols;
    st_to_float(e, wanted);
    for (size_t t = 0; t < g->tokens; t++)
        for (size_t j = 0; j < d; j++)
            worst = fmax(worst, fabs((double)hidden->value[t * d + j] -
                                     (double)wanted[g->row[t] * d + j]));
    mem_free(wanted);
    return worst;
}

/* Embeddings (0) and each layer; then a model of which only two layers are kept. */
static void test_hidden(const struct golden *g)
{
    struct model m;
    struct tensor *hidden;
    struct st_file *f = NULL;
    if (model_open(&m, GOLDEN, 0, NULL) || st_open(GOLDEN "/outputs.safetensors", &f, NULL))
        abort();
    for (unsigned layer = 0; layer <= 3; layer++) {
        m.e.config.layers = layer;
        run(&m, g, false, &hidden);
        double e = hidden_error(g, hidden, f, layer);
        ok(e < 1e-5, "hidden states of layer %u are right (off by %.1e)", layer, e);
    }
    model_close(&m);
    ok(model_open(&m, GOLDEN, 2, NULL) == MEDLEY_OK && m.e.config.layers == 2,
       "the first two layers load alone");
    run(&m, g, false, &hidden);
    ok(hidden_error(g, hidden, f, 2) < 1e-5, "and give the hidden states of layer 2");
    model_close(&m);
    st_close(f);
}

static void compare_gradient(const struct model *m, const struct param *p,
                             const struct st_file *f)
{
    const struct st_entry *e = st_find(f, p->name);
    size_t n = p->rows * p->cols;
    double top = 0, worst = 0;
    if (!ok(e && e->count == n, "%s has a reference", p->name))
        return;
    float *wanted = mem_alloc(n, sizeof *wanted);
    st_to_float(e, wanted);
    for (size_t i = 0; i < n; i++) {
        top = fmax(top, fabs((double)wanted[i]));
        worst = fmax(worst, fabs((double)wanted[i] - (double)m->grads[p->offset + i]));
    }
    /* The gradient of a key bias is zero but for rounding, hence the floor. */
    ok(worst <= 1e-4 * top + 1e-6, "gradient of %s is right (off by %.1e of %.1e)", p->name,
       worst, top);
    mem_free(wanted);
}

static void test_gradients(const struct golden *g)
{
    struct model m;
    struct st_file *f = NULL;
    if (model_open(&m, GOLDEN, 0, NULL) || st_open(GOLDEN "/grads.safetensors", &f, NULL))
        abort();
    loss_and_gradients(&m, g);
    for (size_t i = 0; i < m.params.count; i++)
        compare_gradient(&m, &m.params.items[i], f);
    st_close(f);
    model_close(&m);
}

static void test_training(const struct golden *g, const json *expected)
{
    const json *train = json_get(expected, "train");
    const json *losses = json_get(train, "loss_before_step");
    const json *norms = json_get(train, "grad_norm_before_clip");
    struct adamw_options o = {.learning_rate = 1e-3, .weight_decay = 0.01, .clip = 1};
    struct adamw a;
    struct model m;
    struct tensor *hidden;
    double worst = 0, worst_norm = 0;
    if (model_open(&m, GOLDEN, 0, NULL) || adamw_init(&a, &m.params, &o, NULL))
        abort();
    for (size_t step = 0; step < json_count(losses); step++) {
        double loss = NAN, norm = NAN;
        json_as_double(item(losses, step), &loss);
        json_as_double(item(norms, step), &norm);
        worst = fmax(worst, fabs(loss - loss_and_gradients(&m, g)));
        worst_norm = fmax(worst_norm, fabs(norm / adamw_step(&a, &m.params, m.grads) - 1));
    }
    ok(json_count(losses) == 10 && worst < 1e-4, "losses of ten steps are right (off by %.1e)",
       worst);
    ok(worst_norm < 1e-4, "and the norms of the gradients (off by %.1e)", worst_norm);
    double e =
        logit_error(run(&m, g, false, &hidden), json_get(train, "logits_after_10_steps"));
    ok(e < 1e-3, "logits after ten steps are right (off by %.1e)", e);
    adamw_deinit(&a);
    model_close(&m);
}

/* ---- configurations and checkpoints ---- */

static const char *tiny_config =
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
        {"\"bert\"", "\"llama\"", "encoder family 'llama' is not supported (there are: bert)"},
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
    static struct golden g;
    json *expected = NULL;
    if (file_exists(GOLDEN "/config.json")) {
        read_golden(&g);
        if (json_load(GOLDEN "/expected.json", &expected, NULL))
            abort();
        test_logits(&g, expected);
        test_hidden(&g);
        test_gradients(&g);
        test_training(&g, expected);
        json_free(expected);
    } else {
        skip("no golden checkpoint here");
    }
    const char *folder = tap_folder();
    test_config(folder);
    test_checkpoints(folder);
    test_checking(folder);
    return tap_done();
}
