/* test_lm_options.c: the options of fine-tuning: what they refuse, that each does what it says,
 * and that runs with them resume in the same bits. */
#include "tests/lm_shop.h"

/* ---- limits -------------------------------------------------------------------------------
 */

static void is_refused(struct lm_options o, const char *why)
{
    struct cross_encoder *m = NULL;
    medley_error err = {0};
    o.vocabulary = o.vocabulary ? o.vocabulary : 700;
    ok(cross_encoder_new(&o, &shop, &m, &err) == MEDLEY_EINVAL && strstr(err.message, why),
       "refused: %s", err.message);
    cross_encoder_free(m);
}

static void test_limits(void)
{
    is_refused((struct lm_options){.lanes = 257}, "option 'lanes' is 257 (expected 1 to 256)");
    is_refused((struct lm_options){.batch = 70000}, "option 'batch' is 70000");
    is_refused((struct lm_options){.dropout = 1}, "option 'dropout' is 1 (expected 0 to 0.95)");
    is_refused((struct lm_options){.learning_rate = NAN}, "option 'learning_rate' is nan");
    is_refused((struct lm_options){.learning_rate = -1}, "option 'learning_rate' is -1");
    is_refused((struct lm_options){.warmup = 1}, "option 'warmup' is 1");
    is_refused((struct lm_options){.layer_decay = 1.5}, "option 'layer_decay' is 1.5");
    is_refused((struct lm_options){.label_smoothing = -0.1},
               "option 'label_smoothing' is -0.1");
    is_refused((struct lm_options){.lora.rank = 5000}, "option 'lora.rank' is 5000");
    is_refused((struct lm_options){.schedule = "cubic"},
               "option 'schedule' is 'cubic' (expected linear, cosine or constant)");
    is_refused((struct lm_options){.loss = "hinge"},
               "option 'loss' is 'hinge' (expected softmax, sigmoid or mixed)");
    static const char *const weights[] = {"",         "1,2,3",   "1,2,3,4,5", "1,2,x,4",
                                          "1,-2,3,4", "0,0,0,0", "1,2,3,",    "equal"};
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
        is_refused((struct lm_options){.class_weights = weights[i]}, "option 'class_weights'");
}

static void test_none(void)
{
    struct lm_options o = tiny;
    o.weight_decay = o.warmup = o.clip = o.dropout = -1;
    struct cross_encoder *none = new_model(&o), *usual = new_model(&tiny);
    ok(none->options.weight_decay == 0 && none->options.warmup == 0 &&
           none->options.clip == 0 && none->options.dropout == 0,
       "a negative number is none");
    ok(usual->options.weight_decay == 0.01 && usual->options.warmup == 0.1 &&
           usual->options.clip == 1 && usual->options.dropout == 0.1,
       "nothing said is the default");
    cross_encoder_free(none);
    cross_encoder_free(usual);
}

/* ---- what they do -------------------------------------------------------------------------
 */

static double furthest(const struct cross_encoder *a, const struct cross_encoder *b)
{
    double worst = 0;
    for (size_t i = 0; i < a->params.total; i++)
        worst = fmax(worst, fabs((double)a->params.values[i] - (double)b->params.values[i]));
    return worst;
}

/* Sums in another order, steps of AdamW that divide by small roots: near, not the same. */
static void test_accumulation(void)
{
    struct lm_options whole = tiny, parts = tiny;
    whole.epochs = parts.epochs = 1;
    whole.dropout = parts.dropout = -1;
    whole.class_weights = parts.class_weights = "1,2,0.5,3";
    whole.batch = 32, parts.batch = 8;
    parts.accumulate = 4;
    struct cross_encoder *a = trained(&whole, 100), *b = trained(&parts, 100);
    parts.accumulate = 1;
    struct cross_encoder *c = trained(&parts, 100);
    double near = furthest(a, b), far = furthest(a, c);
    ok(near < 2e-4 && near < far / 20,
       "four batches of 8 make a step of 32: %.1e apart, with steps of 8 %.1e", near, far);
    cross_encoder_free(a), cross_encoder_free(b), cross_encoder_free(c);
}

static double moved(const struct cross_encoder *m, const struct cross_encoder *start,
                    const char *name)
{
    const struct param *p = &m->params.items[params_find(&m->params, name)];
    double sum = 0;
    for (size_t i = 0; i < p->rows * p->cols; i++)
        sum += fabs((double)m->params.values[p->offset + i] -
                    (double)start->params.values[p->offset + i]);
    return sum / (double)(p->rows * p->cols);
}

static void test_layer_decay(void)
{
    struct lm_options o = tiny;
    o.layers = 2;
    o.epochs = 1;
    o.layer_decay = 0.1;
    static const char first[] = "bert.encoder.layer.0.attention.self.query.weight",
                      second[] = "bert.encoder.layer.1.attention.self.query.weight";
    struct cross_encoder *start = new_model(&o), *m = trained(&o, 64);
    double decayed = moved(m, start, first) / moved(m, start, second);
    double head = moved(m, start, "classifier.weight") / moved(m, start, second);
    ok(decayed > 0.02 && decayed < 0.3 && head > 2,
       "the first layer moves %.2f as far as the second, the head %.1f times", decayed, head);
    cross_encoder_free(start), cross_encoder_free(m);
}

/* Mean probability of class c over the examples. */
static double share_of(const struct cross_encoder *m, size_t c)
{
    float *p = predict(m, shop.n_examples);
    double sum = 0;
    for (size_t i = 0; i < shop.n_examples; i++)
        sum += (double)p[i * shop.n_classes + c];
    mem_free(p);
    return sum / (double)shop.n_examples;
}

static void test_class_weights(void)
{
    struct lm_options o = tiny;
    o.epochs = 3;
    size_t counts[MAX_CLASSES] = {0}, rarest = 0;
    for (size_t i = 0; i < shop.n_examples; i++)
        counts[shop.example_label[i]]++;
    for (size_t c = 1; c < shop.n_classes; c++)
        rarest = counts[c] < counts[rarest] ? c : rarest;
    char heavy[64] = "";
    for (size_t c = 0; c < shop.n_classes; c++)
        strcat(strcat(heavy, c ? "," : ""), c == rarest ? "100" : "1");
    struct cross_encoder *usual = trained(&o, shop.n_examples);
    o.class_weights = heavy;
    struct cross_encoder *weighted = trained(&o, shop.n_examples);
    o.class_weights = "balanced";
    struct cross_encoder *balanced = trained(&o, shop.n_examples);
    double shares[] = {share_of(usual, rarest), share_of(balanced, rarest),
                       share_of(weighted, rarest)};
    ok(shares[0] < shares[1] && shares[1] < shares[2],
       "the rarest class is expected in %.2f of the pairs, balanced %.2f, weighing 100 %.2f",
       shares[0], shares[1], shares[2]);
    ok(furthest(usual, balanced) > 1e-3, "balanced weights are no equal ones");
    cross_encoder_free(usual), cross_encoder_free(weighted), cross_encoder_free(balanced);
}

static void test_losses(void)
{
    struct lm_options o = tiny;
    medley_error err;
    o.epochs = 20;
    for (int mixed = 0; mixed < 2; mixed++) {
        o.loss = mixed ? "mixed" : "sigmoid";
        struct cross_encoder *m = trained(&o, shop.n_examples), *back = NULL;
        float *p = predict(m, shop.n_examples);
        double right = share_right(p, shop.n_examples), chance = largest_share(), worst = 0;
        ok(right > chance + 0.1, "%s: %.2f are right, the commonest class has %.2f", o.loss,
           right, chance);
        for (size_t i = 0; i < shop.n_examples; i++) {
            double sum = 0;
            for (size_t c = 0; c < shop.n_classes; c++)
                sum += (double)p[i * shop.n_classes + c];
            worst = fmax(worst, fabs(sum - 1));
        }
        ok(worst < 1e-5, "probabilities add up to 1");
        ok(cross_encoder_save(m, at(folder, "loss"), &err) == MEDLEY_OK &&
               cross_encoder_load(at(folder, "loss"), &back, &err) == MEDLEY_OK,
           "saved and loaded");
        float *q = predict(back, shop.n_examples);
        ok(same(p, q, shop.n_examples * shop.n_classes), "with the same probabilities");
        mem_free(p), mem_free(q);
        cross_encoder_free(m), cross_encoder_free(back);
    }
}

static void test_schedules(void)
{
    struct lm_options o = tiny;
    o.epochs = 1;
    struct cross_encoder *m[3];
    static const char *const names[] = {"linear", "cosine", "constant"};
    for (int i = 0; i < 3; i++) {
        o.schedule = names[i];
        m[i] = trained(&o, 160);
    }
    ok(furthest(m[0], m[1]) > 1e-5 && furthest(m[1], m[2]) > 1e-5 &&
           furthest(m[0], m[2]) > 1e-5,
       "three schedules end in three models");
    for (int i = 0; i < 3; i++)
        cross_encoder_free(m[i]);
}

static void test_recompute(void)
{
    struct lm_options o = tiny;
    o.layers = 2;
    struct cross_encoder *kept = trained(&o, 100);
    o.recompute = true;
    struct cross_encoder *again = trained(&o, 100);
    ok(same_params(kept, again), "recomputed activations give the same bits");
    cross_encoder_free(kept), cross_encoder_free(again);
}

/* ---- adapters -----------------------------------------------------------------------------
 */

static void test_lora(void)
{
    struct lm_options o = tiny;
    medley_error err;
    o.layers = 2;
    o.epochs = 8;
    struct cross_encoder *base = trained(&o, shop.n_examples / 2);
    float *before = predict(base, shop.n_examples);
    ok(cross_encoder_save(base, at(folder, "base"), &err) == MEDLEY_OK, "a model to adapt");
    cross_encoder_free(base);
    o.pretrained = at(folder, "base");
    o.learning_rate = 5e-3;
    o.lora = (struct adapter_options){.rank = 4, .dropout = 0.1};
    struct cross_encoder *start = new_model(&o), *m = new_model(&o), *back = NULL;
    size_t whole = m->params.total, count = m->params.count;
    struct param_span span = params_trainable(&m->params);
    ok(span.end == whole && span.end - span.begin < whole / 4, "%zu of %zu numbers are trained",
       span.end - span.begin, whole);
    ok(cross_encoder_train(m, &shop, rows, shop.n_examples, NULL, NULL, &err) == MEDLEY_OK,
       "adapters are trained");
    ok(m->params.count < count && m->params.total < whole, "and merged");
    size_t wrong = 0, learned = 0;
    for (size_t i = 0; i < m->params.count; i++) {
        const struct param *p = &m->params.items[i];
        size_t n = p->rows * p->cols;
        bool changed = !same(m->params.values + p->offset, start->params.values + p->offset, n);
        bool may = p->linear || i >= m->encoder.marks[2];
        wrong += changed && !may;
        learned += changed;
    }
    ok(wrong == 0 && learned >= 12, "into the %zu weights they belong to", learned);
    float *p = predict(m, shop.n_examples);
    double right = share_right(p, shop.n_examples), was = share_right(before, shop.n_examples);
    ok(right > was + 0.02, "%.2f of the examples are right, before %.2f", right, was);
    ok(cross_encoder_save(m, at(folder, "lora"), &err) == MEDLEY_OK &&
           cross_encoder_load(at(folder, "lora"), &back, &err) == MEDLEY_OK,
       "the folder is one as any %s", err.message);
    float *q = predict(back, shop.n_examples);
    ok(same(p, q, shop.n_examples * shop.n_classes), "with the same probabilities");
    mem_free(before), mem_free(p), mem_free(q);
    cross_encoder_free(start), cross_encoder_free(m), cross_encoder_free(back);
}

/* Unmerged and merged: the same function. */
static void test_merge(void)
{
    struct lm_options o = tiny;
    o.lora = (struct adapter_options){.rank = 3, .alpha = 9, .attention_only = true};
    struct cross_encoder *m = new_model(&o);
    double worst = 0;
    struct rng r;
    rng_init(&r, 5, 0);
    for (size_t i = 0; i < m->params.count; i++) {
        const struct param *p = &m->params.items[i];
        for (size_t j = 0; strstr(p->name, "lora_B") && j < p->rows * p->cols; j++)
            m->params.values[p->offset + j] = (float)(0.1 * rng_normal(&r));
        if (p->adapter && !strstr(p->name, "attention"))
            worst = INFINITY;
    }
    float *apart = predict(m, 100);
    lm_unseal(m);
    adapters_merge(&m->params, NULL);
    float *merged = predict(m, 100);
    for (size_t i = 0; i < 100 * shop.n_classes; i++)
        worst = fmax(worst, fabs((double)apart[i] - (double)merged[i]));
    ok(worst < 1e-5, "merged adapters of attention say the same (%.1e)", worst);
    mem_free(apart), mem_free(merged);
    cross_encoder_free(m);
}

/* ---- resuming -----------------------------------------------------------------------------
 */

static void test_resume(struct lm_options o, const char *what)
{
    o.epochs = 2;
    struct cross_encoder *whole = trained(&o, 160), *m = NULL;
    const char *checkpoint = at(folder, "options-checkpoint");
    struct stop stop = {16 * 3};
    struct progress_sink sink = {.step = interrupt_at, .context = &stop};
    medley_status st;
    int stops = 0;
    progress_install(&sink);
    do {
        cross_encoder_free(m);
        interrupt_clear();
        m = new_model(&o);
        st = cross_encoder_train(m, &shop, rows, 160, checkpoint, NULL, NULL);
        stops += st == MEDLEY_EINTERRUPTED;
        stop.at -= 16 * 10;
    } while (st == MEDLEY_EINTERRUPTED && stops < 100);
    progress_install(NULL);
    interrupt_clear();
    ok(st == MEDLEY_OK && stops > 0 && same_params(m, whole),
       "%s: the same bits after %d interruptions", what, stops);
    cross_encoder_free(m), cross_encoder_free(whole);
}

/* A checkpoint of other options is left alone. */
static void test_other_options(void)
{
    const char *checkpoint = at(folder, "other-options");
    struct lm_options variants[9];
    for (size_t i = 0; i < 9; i++)
        variants[i] = tiny;
    variants[1].schedule = "cosine";
    variants[2].accumulate = 2;
    variants[3].layer_decay = 0.9;
    variants[4].loss = "mixed";
    variants[5].class_weights = "balanced";
    variants[6].lora.rank = 2;
    variants[7].weight_decay = -1;
    variants[8].class_weights = "1,2,1,1";
    struct hash128 seen[9];
    size_t equal = 0;
    for (size_t i = 0; i < 9; i++) {
        struct cross_encoder *m = new_model(&variants[i]);
        seen[i] = lm_options_hash(m, (struct hash128){0, 0});
        for (size_t j = 0; j < i; j++)
            equal += memcmp(&seen[i], &seen[j], sizeof seen[0]) == 0;
        cross_encoder_free(m);
    }
    ok(equal == 0 && checkpoint, "each option is part of what a checkpoint belongs to");
}

int main(void)
{
    char own[64];
    snprintf(own, sizeof own, "%s", tap_folder());
    folder = own;
    make_shop();
    test_limits();
    test_none();
    test_accumulation();
    test_layer_decay();
    test_class_weights();
    test_losses();
    test_schedules();
    test_recompute();
    test_lora();
    test_merge();
    struct lm_options o = tiny;
    o.accumulate = 2;
    o.schedule = "cosine";
    test_resume(o, "accumulation, cosine");
    o = tiny;
    o.lora.rank = 2;
    o.lora.dropout = 0.2;
    o.recompute = true;
    test_resume(o, "adapters, recomputed");
    o = tiny;
    o.loss = "mixed";
    o.class_weights = "balanced";
    o.layer_decay = 0.8;
    test_resume(o, "mixed loss, weights, layer decay");
    test_other_options();
    mem_free(rows);
    dataset_close(&shop);
    return tap_done();
}
