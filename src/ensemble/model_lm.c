/* model_lm.c: language models as base models: a cross-encoder over query and product text. */
#include "base/error.h"
#include "base/memory.h"
#include "ensemble/base_model.h"
#include "lm/frozen.h"
#include "lm/lm_pretrain.h"

/* Fine-tuning an encoder of our own, which is small: a rate between those for random and for
 * well-trained parameters. */
#define OWN_ENCODER_RATE 3e-4

static medley_status lm_prepare(const struct model_context *c, const char *folder, bool *done,
                                medley_error *err)
{
    const struct lm_options *o = &c->config->lm;
    *done = o->frozen || o->pretrain.wanted;
    if (o->frozen)
        return frozen_read(o, c->data, folder, c->config->name, err);
    return *done ? lm_pretrain(o, c->data, folder, err) : MEDLEY_OK;
}

static medley_status lm_fit(const struct model_context *c, const uint32_t *rows, size_t n,
                            const char *checkpoint, const char *log_path, void **model,
                            medley_error *err)
{
    struct cross_encoder *m = NULL;
    struct lm_options options = c->config->lm;
    if (options.frozen) {
        medley_status st = frozen_fit(&options, c->data, c->prepared, rows, n, &m, err);
        *model = m;
        return st;
    }
    options.distill.teacher = c->teacher;
    if (c->prepared) {
        if (!options.pretrained && !options.learning_rate)
            options.learning_rate = OWN_ENCODER_RATE;
        options.pretrained = c->prepared;
    }
    medley_status st = cross_encoder_new(&options, c->data, &m, err);
    if (!st)
        st = cross_encoder_train(m, c->data, rows, n, checkpoint, log_path, err);
    if (st)
        cross_encoder_free(m);
    else
        *model = m;
    return st;
}

static medley_status lm_save(const void *model, const char *folder, medley_error *err)
{
    return cross_encoder_save(model, folder, err);
}

static medley_status lm_load(const struct model_context *c, const char *folder, void **model,
                             medley_error *err)
{
    struct cross_encoder *m = NULL;
    (void)c;
    medley_status st = cross_encoder_load(folder, &m, err);
    if (!st)
        *model = m;
    return st;
}

static void lm_free(void *model)
{
    cross_encoder_free(model);
}

static size_t lm_memory(const void *model)
{
    return cross_encoder_memory(model);
}

static medley_status lm_predict(const struct model_context *c, const void *model,
                                const uint32_t *rows, size_t n, const char *task,
                                float *probabilities, medley_error *err)
{
    if (c->config->lm.frozen && c->prepared)
        return frozen_predict(model, c->prepared, rows, n, probabilities, err);
    struct pair_text *pairs = mem_alloc(n, sizeof *pairs);
    if (!pairs)
        return fail_memory(err, "pairs to predict");
    const struct dataset *d = c->data;
    for (size_t i = 0; i < n; i++)
        pairs[i] = dataset_pair(d, d->example_query[rows[i]], d->example_product[rows[i]]);
    medley_status st = cross_encoder_predict(model, pairs, n, task, probabilities, err);
    mem_free(pairs);
    return st;
}

static medley_status lm_answer(const struct model_context *c, const void *model,
                               const struct model_request *request, float *probabilities,
                               medley_error *err)
{
    (void)c;
    return cross_encoder_predict(model, request->texts, request->n, NULL, probabilities, err);
}

const struct base_model_ops lm_kind = {
    .kind = "lm",
    .prepare = lm_prepare,
    .fit = lm_fit,
    .save = lm_save,
    .load = lm_load,
    .free = lm_free,
    .memory = lm_memory,
    .predict = lm_predict,
    .answer = lm_answer,
};
