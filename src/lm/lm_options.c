/* lm_options.c: defaults and limits of a language model's options, named in messages as users
 * write them. */
#include "lm/cross_encoder_model.h"

#include "base/error.h"

#include <math.h>
#include <string.h>

static unsigned or_default(unsigned value, unsigned fallback)
{
    return value ? value : fallback;
}

double lm_or_none(double value, double fallback)
{
    return value == 0 ? fallback : value < 0 ? 0 : value;
}

static void fill_defaults(struct lm_options *o, bool pretrained)
{
    o->max_tokens = or_default(o->max_tokens, 96);
    o->hidden = or_default(o->hidden, 128);
    o->heads = or_default(o->heads, 4);
    o->intermediate = or_default(o->intermediate, 4 * o->hidden);
    o->vocabulary = or_default(o->vocabulary, 8192);
    o->keyword_words = or_default(o->keyword_words, 32);
    o->epochs = or_default(o->epochs, 2);
    o->batch = or_default(o->batch, 32);
    o->lanes = or_default(o->lanes, 2);
    o->accumulate = or_default(o->accumulate, 1);
    if (!o->learning_rate)
        o->learning_rate = pretrained ? 3e-5 : 5e-4;
    if (!o->layer_decay)
        o->layer_decay = 1;
    if (!o->loss_mix)
        o->loss_mix = 0.5;
    if (!o->lora.alpha)
        o->lora.alpha = 2.0 * o->lora.rank;
    o->weight_decay = lm_or_none(o->weight_decay, 0.01);
    o->warmup = lm_or_none(o->warmup, 0.1);
    o->clip = lm_or_none(o->clip, 1);
    o->dropout = lm_or_none(o->dropout, 0.1);
}

/* ---- limits -------------------------------------------------------------------------------
 */

static medley_status check_counts(const struct lm_options *o, medley_error *err)
{
    const struct {
        const char *name;
        unsigned value, least, most;
    } counts[] = {
        {"hidden", o->hidden, 1, 16384},
        {"heads", o->heads, 1, 1024},
        {"intermediate", o->intermediate, 1, 65536},
        {"layers", o->layers, 0, ENCODER_MAX_LAYERS},
        {"vocabulary", o->vocabulary, 64, 4000000},
        {"epochs", o->epochs, 1, 1000000},
        {"batch", o->batch, 1, 65536},
        {"lanes", o->lanes, 1, 256},
        {"accumulate", o->accumulate, 1, 65536},
        {"lora.rank", o->lora.rank, 0, 1024},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i].value < counts[i].least || counts[i].value > counts[i].most)
            return fail(err, MEDLEY_EINVAL, "option '%s' is %u (expected %u to %u)",
                        counts[i].name, counts[i].value, counts[i].least, counts[i].most);
    return MEDLEY_OK;
}

static medley_status check_numbers(const struct lm_options *o, medley_error *err)
{
    const struct {
        const char *name;
        double value, least, most;
    } numbers[] = {
        {"learning_rate", o->learning_rate, 1e-12, 10},
        {"weight_decay", o->weight_decay, 0, 10},
        {"warmup", o->warmup, 0, 0.99},
        {"clip", o->clip, 0, 1e9},
        {"layer_decay", o->layer_decay, 0.01, 1},
        {"dropout", o->dropout, 0, 0.95},
        {"loss_mix", o->loss_mix, 1e-6, 1},
        {"label_smoothing", o->label_smoothing, 0, 0.99},
        {"lora.alpha", o->lora.alpha, 0, 1e6},
        {"lora.dropout", o->lora.dropout, 0, 0.95},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!(numbers[i].value >= numbers[i].least && numbers[i].value <= numbers[i].most))
            return fail(err, MEDLEY_EINVAL, "option '%s' is %g (expected %g to %g)",
                        numbers[i].name, numbers[i].value, numbers[i].least, numbers[i].most);
    return MEDLEY_OK;
}

/* ---- choices ------------------------------------------------------------------------------
 */

/* The place of `text` among `names`; the first when nothing was said. */
static medley_status choose(const char *option, const char *text, const char *const *names,
                            int *out, medley_error *err)
{
    *out = 0;
    while (text && names[*out] && strcmp(text, names[*out]) != 0)
        ++*out;
    return names[*out] ? MEDLEY_OK
                       : fail(err, MEDLEY_EINVAL, "option '%s' is '%s' (expected %s, %s or %s)",
                              option, text, names[0], names[1], names[2]);
}

medley_status lm_options_take(struct cross_encoder *m, const struct lm_options *from,
                              size_t n_classes, medley_error *err)
{
    static const char *const schedules[] = {[SCHEDULE_LINEAR] = "linear",
                                            [SCHEDULE_COSINE] = "cosine",
                                            [SCHEDULE_CONSTANT] = "constant",
                                            NULL};
    static const char *const losses[] = {"softmax", "sigmoid", "mixed", NULL};
    enum { SIGMOID = 1, MIXED };
    int schedule = 0, loss = 0;
    struct lm_options *o = &m->options;
    *o = *from;
    m->from_pretrained = from->pretrained != NULL;
    fill_defaults(o, m->from_pretrained);
    medley_status st = check_counts(o, err);
    if (!st)
        st = check_numbers(o, err);
    if (!st)
        st = choose("schedule", o->schedule, schedules, &schedule, err);
    if (!st)
        st = choose("loss", o->loss, losses, &loss, err);
    if (!st)
        st = class_weights_parse(o->class_weights, n_classes, &m->recipe.class_weights, err);
    m->recipe.schedule = (enum schedule)schedule;
    m->recipe.sigmoid = loss == SIGMOID ? 1 : loss == MIXED ? (float)o->loss_mix : 0;
    o->pretrained = o->family = o->fields = o->head = o->precision = NULL; /* borrowed */
    o->schedule = o->loss = o->class_weights = NULL;
    return st;
}

struct hash128 lm_options_hash(const struct cross_encoder *m, struct hash128 seed)
{
    const struct lm_options *o = &m->options;
    const struct lm_recipe *r = &m->recipe;
    const double numbers[] = {o->learning_rate,
                              o->weight_decay,
                              o->warmup,
                              o->clip,
                              o->dropout,
                              o->label_smoothing,
                              o->layer_decay,
                              (double)o->epochs,
                              (double)o->batch,
                              (double)o->accumulate,
                              (double)o->lanes,
                              (double)o->freeze_layers,
                              (double)o->freeze_embeddings,
                              (double)o->patience,
                              (double)o->lora.rank,
                              o->lora.alpha,
                              o->lora.dropout,
                              (double)o->lora.attention_only,
                              (double)r->schedule,
                              (double)r->sigmoid,
                              (double)r->class_weights.given,
                              (double)r->class_weights.balanced,
                              r->class_weights.power};
    struct hash128 h = hash_bytes(numbers, sizeof numbers, seed);
    return hash_bytes(r->class_weights.of, sizeof r->class_weights.of, h);
}

void lm_probabilities(const struct cross_encoder *m, const float *logits, float *out)
{
    if (m->n_classes == 1) { /* a score: Hugging Face's num_labels 1 */
        *out = (float)(1 / (1 + exp(-(double)*logits)));
        return;
    }
    if (m->recipe.sigmoid < 1) {
        softmax_rows(logits, 1, m->n_classes, out);
        return;
    }
    double p[MAX_CLASSES], sum = 0;
    for (size_t k = 0; k < m->n_classes; k++)
        sum += p[k] = 1 / (1 + exp(-(double)logits[k]));
    for (size_t k = 0; k < m->n_classes; k++)
        out[k] = (float)(sum > 0 ? p[k] / sum : 1 / (double)m->n_classes);
}
