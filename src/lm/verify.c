/* verify.c: see verify.h. */
#include "lm/verify.h"

#include "base/error.h"
#include "base/memory.h"
#include "lm/encoder.h"
#include "nn/adamw.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TOKENS = 1 << 22 };
/* Ten steps of training in float32 against float64. */
#define TRAINING_TOLERANCE 1e-3

/* The recorded batch without its padding. */
struct recorded {
    int32_t *ids, *types, *positions;
    uint32_t *row;     /* [tokens] where each token stood in the padded batch */
    uint32_t *offsets; /* [n + 1] */
    uint8_t *labels;   /* [n] single label */
    float *targets;    /* [n, K] multi-label, regression */
    size_t tokens, n, width;
};

struct verified {
    const char *folder;
    struct encoder e;
    struct params params;
    struct tape tape;
    float *grads;
    size_t classes;
    struct recorded batch;
    struct checks *checks;
};

/* ---- inputs.json ---- */

static void recorded_deinit(struct recorded *r)
{
    mem_free(r->ids);
    mem_free(r->types);
    mem_free(r->positions);
    mem_free(r->row);
    mem_free(r->offsets);
    mem_free(r->labels);
    mem_free(r->targets);
}

static medley_status bad_inputs(const char *what, medley_error *err)
{
    return fail(err, MEDLEY_EFORMAT, "inputs.json: %s", what);
}

static bool recorded_allocate(struct recorded *r, size_t classes)
{
    size_t tokens = r->n * r->width;
    r->ids = mem_zalloc(tokens, sizeof *r->ids);
    r->types = mem_zalloc(tokens, sizeof *r->types);
    r->positions = mem_zalloc(tokens, sizeof *r->positions);
    r->row = mem_zalloc(tokens, sizeof *r->row);
    r->offsets = mem_zalloc(r->n + 1, sizeof *r->offsets);
    r->labels = mem_zalloc(r->n, sizeof *r->labels);
    r->targets = mem_zalloc(r->n * classes, sizeof *r->targets);
    return r->ids && r->types && r->positions && r->row && r->offsets && r->labels &&
           r->targets;
}

/* One row of the padded batch. */
static medley_status read_row(struct recorded *r, size_t s, const struct encoder_config *c,
                              const json *ids, const json *mask, const json *types,
                              medley_error *err)
{
    const json *id = json_first(ids), *seen = json_first(mask), *type = json_first(types);
    int32_t before = 0;
    if (json_count(ids) != r->width || (mask && json_count(mask) != r->width) ||
        (types && json_count(types) != r->width))
        return bad_inputs(
            "rows of input_ids, attention_mask and token_type_ids differ in length", err);
    for (size_t i = 0; i < r->width; i++) {
        int64_t word = -1, shown = 1, kind = 0;
        if (!json_as_i64(id, &word) || word < 0 || word >= c->vocabulary ||
            (mask && (!json_as_i64(seen, &shown) || shown < 0 || shown > 1)) ||
            (types && (!json_as_i64(type, &kind) || kind < 0 || kind > INT32_MAX)))
            return bad_inputs("an input_id is not below vocab_size, or a mask not 0 or 1", err);
        if (shown) {
            size_t n = r->tokens++;
            r->ids[n] = (int32_t)word;
            r->types[n] = (int32_t)kind;
            /* Families that count from after the padding's row skip masked tokens. */
            r->positions[n] = c->first_position ? before : (int32_t)i;
            r->row[n] = (uint32_t)(s * r->width + i);
            before++;
        }
        id = json_next(id);
        seen = mask ? json_next(seen) : NULL;
        type = types ? json_next(type) : NULL;
    }
    if (!before)
        return bad_inputs("a row of attention_mask hides every token", err);
    r->offsets[s + 1] = (uint32_t)r->tokens;
    return MEDLEY_OK;
}

static medley_status read_label(struct verified *v, size_t s, const json *label,
                                medley_error *err)
{
    struct recorded *r = &v->batch;
    if (v->e.config.problem == PROBLEM_SINGLE_LABEL) {
        int64_t k = -1;
        if (!json_as_i64(label, &k) || k < 0 || (size_t)k >= v->classes)
            return bad_inputs("a label is not the number of a class", err);
        r->labels[s] = (uint8_t)k;
        return MEDLEY_OK;
    }
    const json *item = json_first(label);
    for (size_t k = 0; k < v->classes; k++) {
        double value = NAN;
        json_as_double(item ? item : v->classes == 1 ? label : NULL, &value);
        if (!isfinite(value))
            return bad_inputs("expected one number per label and class", err);
        r->targets[s * v->classes + k] = (float)value;
        item = json_next(item);
    }
    return MEDLEY_OK;
}

/* Without a problem_type: one class is regression, a list per text multi-label. */
static void guess_problem(struct verified *v, const json *labels)
{
    if (v->e.config.problem != PROBLEM_UNSAID)
        return;
    v->e.config.problem = PROBLEM_SINGLE_LABEL;
    if (v->classes == 1)
        v->e.config.problem = PROBLEM_REGRESSION;
    else if (json_kind_of(json_first(labels)) == JSON_ARRAY)
        v->e.config.problem = PROBLEM_MULTI_LABEL;
}

static medley_status read_batch(struct verified *v, const json *root, medley_error *err)
{
    const struct encoder_config *c = &v->e.config;
    struct recorded *r = &v->batch;
    const json *ids = json_get(root, "input_ids"), *mask = json_get(root, "attention_mask");
    const json *types = json_get(root, "token_type_ids"), *labels = json_get(root, "labels");
    r->n = json_count(ids);
    r->width = json_count(json_first(ids));
    if (!r->n || !r->width || r->n > MAX_TOKENS / r->width)
        return bad_inputs("input_ids must be a list of lists of equal length", err);
    if (r->width > c->positions - c->first_position && c->types + c->first_position > 0)
        return bad_inputs("rows are longer than the model's positions", err);
    if ((mask && json_count(mask) != r->n) || (types && json_count(types) != r->n) ||
        json_count(labels) != r->n)
        return bad_inputs("attention_mask, token_type_ids and labels must have a row per text",
                          err);
    guess_problem(v, labels);
    if (!recorded_allocate(r, v->classes))
        return fail_memory(err, "recorded inputs");
    const json *id = json_first(ids), *seen = json_first(mask), *type = json_first(types);
    const json *label = json_first(labels);
    medley_status st = MEDLEY_OK;
    for (size_t s = 0; s < r->n && !st; s++) {
        st = read_row(r, s, c, id, seen, type, err);
        if (!st)
            st = read_label(v, s, label, err);
        id = json_next(id), label = json_next(label);
        seen = seen ? json_next(seen) : NULL;
        type = type ? json_next(type) : NULL;
    }
    return st;
}

static medley_status load_json(const char *folder, const char *name, json **out,
                               medley_error *err)
{
    char *path = path_join(folder, name);
    medley_status st = path ? json_load(path, out, err) : fail_memory(err, "a path");
    mem_free(path);
    return st;
}

static medley_status open_arrays(const char *folder, const char *name, struct st_file **out,
                                 medley_error *err)
{
    char *path = path_join(folder, name);
    medley_status st = path ? st_open(path, out, err) : fail_memory(err, "a path");
    mem_free(path);
    return st;
}

/* ---- the model ---- */

static medley_status load_model(struct verified *v, medley_error *err)
{
    medley_status st = encoder_config_load(v->folder, 0, &v->e, err);
    if (!st)
        st = encoder_config_classes(v->folder, &v->classes, err);
    if (!st)
        st = v->e.family->declare(&v->e, &v->params, v->classes, err);
    if (!st)
        st = encoder_check_params(&v->e, &v->params, v->folder, true, err);
    if (!st)
        st = params_allocate(&v->params, 1, err);
    if (!st)
        st = encoder_load_params(&v->e, &v->params, v->folder, err);
    if (!st && !(v->grads = mem_zalloc(v->params.total, sizeof *v->grads)))
        st = fail_memory(err, "gradients");
    if (!st)
        tape_init(&v->tape, &v->params, v->grads);
    return st;
}

static struct encoder_batch batch_of(const struct recorded *r)
{
    return (struct encoder_batch){.ids = r->ids,
                                  .types = r->types,
                                  .positions = r->positions,
                                  .tokens = r->tokens,
                                  .sequences = {r->offsets, r->n},
                                  .padded = (uint32_t)r->width};
}

static struct tensor *forward(struct verified *v, bool training)
{
    struct encoder_batch batch = batch_of(&v->batch);
    tape_reset(&v->tape, training, 1);
    struct tensor *hidden = encoder_forward(&v->e, &v->tape, &batch, 0);
    return v->e.family->classify(&v->e, &v->tape, hidden, &batch, 0);
}

static medley_status loss_and_gradients(struct verified *v, double *loss, medley_error *err)
{
    struct tensor *logits = forward(v, true), *y;
    switch (v->e.config.problem) {
    case PROBLEM_MULTI_LABEL:
        y = op_sigmoid_loss(&v->tape, logits, v->batch.targets);
        break;
    case PROBLEM_REGRESSION:
        y = op_square_loss(&v->tape, logits, v->batch.targets);
        break;
    default:
        y = op_softmax_loss(&v->tape, logits, v->batch.labels, NULL, 0);
    }
    medley_status st = tape_backward(&v->tape, y, 1, err);
    if (!st)
        *loss = (double)y->value[0];
    return st;
}

/* ---- comparisons ---- */

/* An array of the reference as floats, owned; NULL when it has another size. */
static float *reference(const struct st_entry *e, size_t count)
{
    float *values = e && e->count == count ? mem_alloc(count, sizeof *values) : NULL;
    if (values && !st_to_float(e, values)) {
        mem_free(values);
        values = NULL;
    }
    return values;
}

static medley_status check_logits(struct verified *v, const struct st_file *f,
                                  medley_error *err)
{
    size_t n = v->batch.n * v->classes;
    const struct st_entry *e = st_find(f, "logits_f64");
    float *wanted = reference(e ? e : st_find(f, "logits_f32"), n);
    if (!wanted)
        return fail(err, MEDLEY_EFORMAT,
                    "outputs.safetensors: expected logits_f64 or logits_f32 [%zu, %zu]",
                    v->batch.n, v->classes);
    struct tensor *logits = forward(v, false);
    double error = logits ? relative_error(logits->value, wanted, n, 0) : INFINITY;
    checks_add(v->checks, error, LM_LOGIT_TOLERANCE, "logits");
    mem_free(wanted);
    return logits ? MEDLEY_OK : fail_memory(err, "a forward pass");
}

/* One layer's hidden states where no padding is; absent ones are not compared. The reference
 * may have padded further than the inputs are. */
static void check_hidden(struct verified *v, const struct st_file *f, unsigned layer,
                         const struct tensor *hidden)
{
    char name[32];
    const struct recorded *r = &v->batch;
    size_t d = v->e.config.hidden;
    snprintf(name, sizeof name, "hidden_%u", layer);
    const struct st_entry *e = st_find(f, name);
    if (!e)
        return;
    size_t width = e->dims == 3 && e->shape[1] >= r->width ? (size_t)e->shape[1] : r->width;
    float *padded = reference(e, r->n * width * d);
    float *wanted = mem_alloc(r->tokens * d, sizeof *wanted);
    double error = INFINITY;
    if (padded && wanted && hidden) {
        for (size_t t = 0; t < r->tokens; t++) {
            size_t at = r->row[t] / r->width * width + r->row[t] % r->width;
            memcpy(wanted + t * d, padded + at * d, d * sizeof *wanted);
        }
        error = relative_error(hidden->value, wanted, r->tokens * d, 0);
    }
    checks_add(v->checks, error, LM_LOGIT_TOLERANCE, "%s", name);
    mem_free(padded);
    mem_free(wanted);
}

static void check_all_hidden(struct verified *v, const struct st_file *f)
{
    struct encoder_batch batch = batch_of(&v->batch);
    tape_reset(&v->tape, false, 1);
    struct tensor *x = v->e.family->embed(&v->e, &v->tape, &batch, 0);
    check_hidden(v, f, 0, x);
    for (unsigned i = 0; i < v->e.config.layers; i++) {
        x = v->e.family->layer(&v->e, &v->tape, i, x, &batch, 0);
        check_hidden(v, f, i + 1, x);
    }
}

static double largest(const struct st_entry *e)
{
    float *values = reference(e, e->count);
    double top = 0;
    for (size_t i = 0; values && i < e->count; i++)
        top = fmax(top, fabs((double)values[i]));
    mem_free(values);
    return top;
}

/* A parameter without a reference is one that the loss does not read. */
static double gradient_error(const float *gradient, const struct st_entry *e, size_t n,
                             double top)
{
    double error = 0;
    if (!e) {
        for (size_t i = 0; i < n; i++)
            error = gradient[i] == 0 ? error : INFINITY;
        return error;
    }
    float *wanted = reference(e, n);
    error = wanted ? relative_error(gradient, wanted, n, top / 100) : INFINITY;
    mem_free(wanted);
    return error;
}

/* The gradients of the first step are in v->grads. */
static void check_gradients(struct verified *v, const struct st_file *f)
{
    double top = 0;
    for (size_t i = 0; i < st_count(f); i++)
        top = fmax(top, largest(st_at(f, i)));
    for (size_t i = 0; i < v->params.count; i++) {
        const struct param *p = &v->params.items[i];
        double error =
            gradient_error(v->grads + p->offset, st_find(f, p->name), p->rows * p->cols, top);
        checks_add(v->checks, error, LM_GRADIENT_TOLERANCE, "gradient of %s", p->name);
    }
}

static double number(const json *v)
{
    double x = NAN;
    json_as_double(v, &x);
    return x;
}

static double number_at(const json *array, size_t i)
{
    const json *v = json_first(array);
    while (v && i--)
        v = json_next(v);
    return number(v);
}

/* fmax would let a NaN pass. */
static double worse(double worst, double error)
{
    return isfinite(error) && error <= worst ? worst : isfinite(error) ? error : INFINITY;
}

static medley_status check_training(struct verified *v, const json *train, medley_error *err)
{
    const json *losses = json_get(train, "loss_before_step");
    const json *norms = json_get(train, "grad_norm_before_clip");
    struct adamw_options o = {.learning_rate = number(json_get(train, "lr")),
                              .epsilon = number(json_get(train, "eps")),
                              .weight_decay = number(json_get(train, "weight_decay_2d_and_up")),
                              .clip = number(json_get(train, "clip_grad_norm"))};
    struct adamw a;
    if (!(o.learning_rate > 0) || !(o.epsilon > 0) || !(o.weight_decay >= 0) || !(o.clip >= 0))
        return fail(err, MEDLEY_EFORMAT,
                    "expected.json: train: expected lr, eps, weight_decay_2d_and_up and "
                    "clip_grad_norm");
    medley_status st = adamw_init(&a, &v->params, &o, err);
    if (st)
        return st;
    double worst_loss = 0, worst_norm = 0;
    for (size_t step = 0; step < json_count(losses) && !st; step++) {
        double loss = NAN, wanted = number_at(losses, step);
        memset(v->grads, 0, v->params.total * sizeof *v->grads);
        st = loss_and_gradients(v, &loss, err);
        double norm = st ? NAN : adamw_step(&a, &v->params, v->grads);
        worst_loss = worse(worst_loss, fabs(loss - wanted) / fmax(fabs(wanted), 1));
        if (norms)
            worst_norm = worse(worst_norm, fabs(norm / number_at(norms, step) - 1));
    }
    adamw_deinit(&a);
    if (!st) {
        checks_add(v->checks, worst_loss, TRAINING_TOLERANCE, "losses of %zu steps of AdamW",
                   json_count(losses));
        checks_add(v->checks, worst_norm, TRAINING_TOLERANCE, "norms of their gradients");
    }
    return st;
}

static medley_status check_outputs(struct verified *v, medley_error *err)
{
    struct st_file *f = NULL;
    medley_status st = open_arrays(v->folder, "outputs.safetensors", &f, err);
    if (!st)
        check_all_hidden(v, f);
    if (!st)
        st = check_logits(v, f, err);
    st_close(f);
    return st;
}

static bool has_file(const char *folder, const char *name)
{
    char *path = path_join(folder, name);
    bool has = path && access(path, F_OK) == 0;
    mem_free(path);
    return has;
}

static medley_status check_learning(struct verified *v, medley_error *err)
{
    struct st_file *f = NULL;
    json *expected = NULL;
    double loss = NAN, wanted;
    medley_status st = MEDLEY_OK;
    if (has_file(v->folder, "expected.json"))
        st = load_json(v->folder, "expected.json", &expected, err);
    if (!st)
        st = loss_and_gradients(v, &loss, err);
    if (!st && json_as_double(json_get(expected, "loss_f64"), &wanted))
        checks_add(v->checks, worse(0, fabs(loss - wanted) / fmax(fabs(wanted), 1e-3)),
                   LM_LOGIT_TOLERANCE, "loss");
    if (!st && has_file(v->folder, "grads.safetensors"))
        st = open_arrays(v->folder, "grads.safetensors", &f, err);
    if (!st && f)
        check_gradients(v, f);
    if (!st && json_get(expected, "train"))
        st = check_training(v, json_get(expected, "train"), err);
    st_close(f);
    json_free(expected);
    return st;
}

medley_status lm_verify(const char *folder, struct checks *out, medley_error *err)
{
    struct verified v = {.folder = folder, .checks = out};
    json *inputs = NULL;
    params_init(&v.params);
    medley_status st = load_model(&v, err);
    bool taped = !st;
    if (!st)
        st = load_json(folder, "inputs.json", &inputs, err);
    if (!st && (st = read_batch(&v, inputs, err)))
        st = fail_within(err, st, "%s", folder);
    if (!st)
        st = check_outputs(&v, err);
    if (!st)
        st = check_learning(&v, err);
    if (!st && out->failed)
        st = fail_memory(err, "checks");
    json_free(inputs);
    if (taped)
        tape_deinit(&v.tape);
    recorded_deinit(&v.batch);
    encoder_deinit(&v.e);
    params_deinit(&v.params);
    mem_free(v.grads);
    return st;
}
