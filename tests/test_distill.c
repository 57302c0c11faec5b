/* test_distill.c: the distance to a teacher, a student that follows it, where teachers come
 * from, and that students are trained after them. */
#include "tests/ensemble_shop.h"

#include "base/npy.h"
#include "base/rng.h"
#include "ensemble/teacher.h"
#include "lm/cross_encoder_model.h"
#include "lm/distill.h"

static const char *folder;

/* ---- the loss ---- */

enum { ROWS = 4, CLASSES = 3 };

static double reference(const float *z, const float *q, double t)
{
    double loss = 0;
    for (int i = 0; i < ROWS; i++) {
        double sum = 0;
        for (int j = 0; j < CLASSES; j++)
            sum += exp((double)z[i * CLASSES + j] / t);
        for (int j = 0; j < CLASSES; j++) {
            double p = exp((double)z[i * CLASSES + j] / t) / sum;
            double target = (double)q[i * CLASSES + j];
            loss += target > 0 ? t * t * target * log(target / p) : 0;
        }
    }
    return loss / ROWS;
}

static void test_loss(float temperature)
{
    static const float q[ROWS * CLASSES] = {0.2f, 0.5f, 0.3f, 1, 0,    0,
                                            0.4f, 0.4f, 0.2f, 0, 0.1f, 0.9f};
    float z[ROWS * CLASSES], unused = 0;
    struct params none = {0};
    struct tape t;
    struct rng rng;
    double t64 = (double)temperature, worst = 0;
    rng_init(&rng, 5, 0);
    for (int i = 0; i < ROWS * CLASSES; i++)
        z[i] = (float)(2 * rng_normal(&rng));
    tape_init(&t, &none, &unused);
    tape_reset(&t, true, 1);
    struct tensor *x = tape_input(&t, z, ROWS, CLASSES, true);
    struct tensor *loss = op_soft_loss(&t, x, q, temperature);
    double wanted = reference(z, q, t64);
    ok(fabs((double)loss->value[0] - wanted) < 1e-5 * wanted, "T %.1f: loss %.6f is %.6f", t64,
       (double)loss->value[0], wanted);
    if (tape_backward(&t, loss, 3, NULL))
        abort();
    for (int i = 0; i < ROWS * CLASSES; i++) {
        float was = z[i];
        z[i] = was + 1e-2f;
        double up = reference(z, q, t64), high = (double)z[i];
        z[i] = was - 1e-2f;
        double slope = (up - reference(z, q, t64)) / (high - (double)z[i]);
        z[i] = was;
        worst = fmax(worst, fabs((double)x->grad[i] / 3 - slope));
    }
    ok(worst < 1e-4, "its gradient agrees with finite differences (%.1e)", worst);
    tape_deinit(&t);
}

/* ---- students ---- */

static const struct lm_options tiny = {.hidden = 32,
                                       .heads = 2,
                                       .layers = 1,
                                       .intermediate = 64,
                                       .vocabulary = 300,
                                       .max_tokens = 24,
                                       .fields = "query,title",
                                       .epochs = 15,
                                       .batch = 16,
                                       .dropout = -1,
                                       .learning_rate = 3e-3,
                                       .seed = 4};

/* What the teacher says of an example: another class than its label. */
static size_t taught(const struct dataset *d, size_t i)
{
    return (d->example_label[i] + 1u) % d->n_classes;
}

static float *student_of(const struct dataset *d, const struct lm_options *o, const float *p)
{
    struct lm_options options = *o;
    struct cross_encoder *m = NULL;
    medley_error err;
    size_t n = d->n_examples;
    uint32_t *rows = mem_alloc(n, sizeof *rows);
    struct pair_text *pairs = mem_alloc(n, sizeof *pairs);
    float *out = mem_alloc(n, d->n_classes * sizeof *out);
    for (uint32_t i = 0; i < n; i++) {
        rows[i] = i;
        pairs[i] = dataset_pair(d, d->example_query[i], d->example_product[i]);
    }
    options.distill.teacher = p;
    if (cross_encoder_new(&options, d, &m, &err) ||
        cross_encoder_train(m, d, rows, n, NULL, NULL, &err) ||
        cross_encoder_predict(m, pairs, n, NULL, out, &err)) {
        printf("Bail out! %s\n", err.message);
        exit(1);
    }
    cross_encoder_free(m);
    mem_free(rows), mem_free(pairs);
    return out;
}

static double agreement(const struct dataset *d, const float *p, bool with_teacher)
{
    size_t k = d->n_classes, n = 0;
    for (size_t i = 0; i < d->n_examples; i++) {
        size_t best = 0;
        for (size_t j = 1; j < k; j++)
            best = p[i * k + j] > p[i * k + best] ? j : best;
        n += best == (with_teacher ? taught(d, i) : d->example_label[i]);
    }
    return (double)n / (double)d->n_examples;
}

static void test_students(const struct dataset *d)
{
    size_t k = d->n_classes, cells = d->n_examples * k;
    float *p = mem_alloc(cells, sizeof *p);
    struct lm_options o = tiny;
    for (size_t i = 0; i < d->n_examples; i++)
        for (size_t j = 0; j < k; j++)
            p[i * k + j] = j == taught(d, i) ? 0.9f : 0.1f / (float)(k - 1);
    float *alone = student_of(d, &o, NULL);
    o.distill.weight = 1;
    float *follower = student_of(d, &o, p), *again = student_of(d, &o, p);
    double learned = agreement(d, alone, false), followed = agreement(d, follower, true);
    ok(learned > 0.7, "without a teacher the labels are learned (%.2f)", learned);
    ok(followed > 0.7 && agreement(d, follower, false) < 0.3,
       "with one and weight 1 what the teacher says is (%.2f)", followed);
    ok(memcmp(follower, again, cells * sizeof *again) == 0, "in the same bits each time");
    for (size_t i = 0; i < cells; i++)
        p[i] = NAN;
    o.distill.weight = 0.5;
    o.distill.temperature = 1;
    float *silent = student_of(d, &o, p);
    ok(agreement(d, silent, false) > 0.7, "a silent teacher leaves the labels (%.2f)",
       agreement(d, silent, false));
    mem_free(alone), mem_free(follower), mem_free(again), mem_free(silent), mem_free(p);
}

/* Probabilities go through powers and back to probabilities. */
static void test_softening(const struct dataset *d)
{
    struct lm_options o = tiny;
    struct distill s;
    uint32_t row = 5;
    float *p = mem_zalloc(d->n_examples, d->n_classes * sizeof *p);
    p[5 * 3] = 0.64f, p[5 * 3 + 1] = 0.32f, p[5 * 3 + 2] = 0.04f;
    o.lanes = 2;
    o.distill.teacher = p;
    if (distill_init(&s, &o, d, &row, 1, NULL))
        abort();
    double sum = 0.8 + sqrt(0.32) + 0.2;
    ok(fabs((double)s.targets[0] - 0.8 / sum) < 1e-6 &&
           fabs((double)s.targets[2] - 0.2 / sum) < 1e-6,
       "at temperature 2 the square roots count");
    distill_deinit(&s);
    mem_free(p);
}

/* ---- in a workspace ---- */

static void test_teachers(struct workspace *w)
{
    medley_error err = {0};
    float *mean = NULL, *file = NULL, *none = NULL;
    struct npy good;
    ok(teacher_load(w, 3, &mean, &err) == MEDLEY_OK, "two models teach %s", err.message);
    ok(teacher_load(w, 4, &file, &err) == MEDLEY_OK, "a file teaches %s", err.message);
    ok(teacher_load(w, 0, &none, &err) == MEDLEY_OK && !none, "a table has no teacher");
    if (npy_open(at(folder, "predictions/good/probabilities.npy"), &good, &err))
        abort();
    const float *p = good.data;
    bool same = true, halves = true;
    size_t silent = 0;
    for (size_t i = 0; i < good.rows * good.cols; i++) {
        same &= file[i] == p[i];
        silent += isnan(mean[i]); /* `half` answers half of the queries */
        halves &= isnan(mean[i]) || fabsf(mean[i] - p[i]) < 1e-6f;
    }
    ok(same, "with its probabilities");
    ok(halves && silent == good.rows * good.cols / 2, "together where both have an answer");
    npy_close(&good);
    mem_free(mean), mem_free(file);
}

static const char student[] =
    "  - {name: pupil, kind: lm, hidden: 16, heads: 2, layers: 1, vocabulary: 300,\n"
    "     fields: 'query,title', max_tokens: 16, distill: {teacher: [good, half]}}\n"
    "  - {name: reader, kind: lm, hidden: 16, heads: 2, layers: 1, vocabulary: 300,\n"
    "     fields: 'query,title', max_tokens: 16, distill: {teacher: good.csv, weight: 1}}\n";

/* The shop's medley.yaml with students after its tables. */
static void add_students(void)
{
    char *text = NULL;
    size_t n;
    struct strbuf b;
    sb_init(&b);
    if (file_read(at(folder, "medley.yaml"), 1 << 20, &text, &n, NULL))
        abort();
    const char *tail = strstr(text, "ensemble:");
    sb_add(&b, text, (size_t)(tail - text));
    sb_addz(&b, student);
    sb_addz(&b, tail);
    put(folder, "medley.yaml", b.s);
    sb_deinit(&b);
    mem_free(text);
}

static void test_stages(struct workspace *w)
{
    medley_error err;
    ok(stages_run_group(w, STAGE_IMPORT, NULL, false, &err) == MEDLEY_OK, "imported");
    ok(stages_run_group(w, STAGE_TRAIN, "pupil", false, &err) == MEDLEY_ESTALE &&
           strstr(err.message, "'train-pupil' needs 'train-good'"),
       "a student waits for its teacher: %s", err.message);
    ok(stages_run_group(w, STAGE_TRAIN, NULL, false, &err) == MEDLEY_OK, "trained in order");
    put(folder, "good.csv", "example_id,p_good,p_fair,p_bad\n0,1,0,0\n");
    struct stages s;
    if (stages_inspect(w, &s, &err))
        abort();
    for (size_t i = 0; i < s.n; i++) {
        if (strcmp(s.items[i].name, "train-pupil") == 0)
            ok(!s.items[i].up_to_date && strstr(s.items[i].why, "train-good"),
               "another teacher, another student: %s", s.items[i].why);
        if (strcmp(s.items[i].name, "train-reader") == 0)
            ok(!s.items[i].up_to_date && strstr(s.items[i].why, "good.csv"), "as with a file");
    }
    stages_free(&s);
    shop_table(folder, "good.csv", 1, true);
}

int main(void)
{
    struct workspace w;
    medley_error err;
    folder = tap_folder();
    test_loss(1);
    test_loss(2.5f);
    shop_write(folder, "");
    add_students();
    if (workspace_open(folder, &w, &err)) {
        printf("Bail out! %s\n", err.message);
        return 1;
    }
    test_stages(&w);
    if (workspace_open_data(&w, &err))
        abort();
    test_teachers(&w);
    test_softening(&w.data);
    test_students(&w.data);
    workspace_close(&w);
    return tap_done();
}
