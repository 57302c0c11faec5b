/* test_bundle.c: a bundle that answers in stages, and calibrated. */
#include "base/json.h"
#include "ensemble/bundle_write.h"
#include "ensemble/calibrator.h"
#include "ensemble/cascade_file.h"
#include "ensemble/decide.h"
#include "medley/bundle.h"
#include "tests/ensemble_shop.h"

enum { K = 3, M = 3 };
static const char *const names[M] = {"good", "noise", "half"};

static bool same_text(const struct strbuf *a, const struct strbuf *b)
{
    return a->n == b->n && memcmp(a->s, b->s, a->n) == 0;
}

/* The cascade that the workspace has, with thresholds at which some pairs stop and some not. */
static bool read_cascade(const char *folder, struct cascade *c)
{
    medley_error err = {0};
    json *root = NULL;
    medley_status st = json_load(at(folder, "ensemble/cascade/cascade.json"), &root, &err);
    if (!st)
        st = cascade_read(root, "cascade.json", names, M, K, c, &err);
    json_free(root);
    return ok(st == MEDLEY_OK, "the cascade reads: %s", err.message);
}

struct queries { /* of the test split: rows of one query stand together */
    const struct workspace *w;
    struct stack test;
};

static void ask(const medley_bundle *b, const struct queries *q, size_t begin, size_t end,
                const medley_classify_options *how, medley_result *results)
{
    const struct dataset *d = &q->w->data;
    medley_product products[SHOP_LIST];
    char ids[SHOP_LIST][16], text[32];
    medley_error err = {0};
    for (size_t i = begin; i < end; i++) {
        char *id = ids[i - begin];
        snprintf(id, sizeof *ids, "p%u", q->test.row[i]);
        products[i - begin] = (medley_product){.id = {id, strlen(id)}};
    }
    (void)d;
    snprintf(text, sizeof text, "query %u", q->test.row[begin] / SHOP_LIST);
    medley_status st =
        medley_bundle_classify(b, (medley_text){text, strlen(text)}, (medley_text){"us", 2},
                               products, end - begin, how, results, &err);
    if (st)
        ok(false, "classifies: %s", err.message);
}

static void test_answers(const medley_bundle *b, const struct queries *q,
                         const struct cascade *c, const struct cascade_run *run)
{
    const struct stack *s = &q->test;
    size_t wrong = 0, stops[M] = {0}, unsummed = 0, stray = 0, used = 0;
    for (size_t begin = 0; begin < s->n; begin += SHOP_LIST) {
        medley_result r[SHOP_LIST];
        float contributions[SHOP_LIST][M + 1][K];
        medley_classify_options how = {.contributions = &contributions[0][0][0]};
        ask(b, q, begin, begin + SHOP_LIST, &how, r);
        for (size_t i = 0; i < SHOP_LIST; i++) {
            const float *p = run->probabilities + (begin + i) * K;
            size_t stage = run->stage[begin + i];
            double base[K];
            stops[stage]++;
            wrong +=
                r[i].stages != stage + 1 || memcmp(r[i].probabilities, p, K * sizeof *p) != 0;
            medley_bundle_stage_base(b, r[i].stages, base);
            for (size_t k = 0; k < K; k++) {
                double sum = base[k];
                for (size_t m = 0; m <= M; m++)
                    sum += (double)contributions[i][m][k];
                unsummed += fabs(sum - (double)r[i].margins[k]) > 1e-5;
            }
            for (size_t m = 0; m < M; m++) {
                bool asked = c->prefix[stage] >> m & 1;
                used += (r[i].models_used >> m & 1) && !asked;
                for (size_t k = 0; k < K; k++)
                    stray += !asked && contributions[i][m][k] != 0;
            }
        }
    }
    ok(wrong == 0, "every pair as the cascade was measured, to the bit (%zu of %zu differ)",
       wrong, s->n);
    ok(stops[0] > 0 && stops[1] > 0 && stops[2] > 0, "%zu, %zu and %zu stop", stops[0],
       stops[1], stops[2]);
    ok(unsummed == 0, "base and contributions of the stage add up to the margin");
    ok(stray == 0 && used == 0, "models that were not asked contribute nothing");
}

/* Asked for by name, all models answer, calibrated by the calibrator. */
static void test_whole(const medley_bundle *b, const struct queries *q, const char *folder)
{
    medley_error err = {0};
    struct calibrator calibrator = {.method = CALIBRATION_NONE};
    json *root = NULL;
    size_t wrong = 0;
    medley_status st = json_load(at(folder, "ensemble/calibrator.json"), &root, &err);
    if (!st)
        st = calibrator_read(root, "calibrator.json", K, &calibrator, &err);
    ok(st == MEDLEY_OK, "the calibrator reads: %s", err.message);
    is_text(medley_bundle_calibration(b), calibration_method_names[calibrator.method],
            "the bundle names it");
    for (size_t begin = 0; begin < q->test.n; begin += SHOP_LIST) {
        medley_result r[SHOP_LIST];
        ask(b, q, begin, begin + SHOP_LIST, &(medley_classify_options){.models = 7}, r);
        for (size_t i = 0; i < SHOP_LIST; i++) {
            float p[K];
            double sum = 0;
            for (size_t k = 0; k < K; k++)
                sum += exp((double)r[i].margins[k]);
            for (size_t k = 0; k < K; k++)
                p[k] = (float)(exp((double)r[i].margins[k]) / sum);
            calibrator_apply(&calibrator, p, 1, K);
            wrong += r[i].stages != 0;
            for (size_t k = 0; k < K; k++)
                wrong += fabs((double)(p[k] - r[i].probabilities[k])) > 1e-6;
        }
    }
    ok(wrong == 0, "with all models by name: no stages, calibrated probabilities");
    json_free(root);
    calibrator_free(&calibrator);
}

static void test_cascade(struct workspace *w, const char *folder)
{
    medley_error err = {0};
    struct cascade c = {.n_stages = 0};
    struct stack train = {0};
    struct queries q = {.w = w};
    struct cascade_models models = {0};
    struct cascade_run run = {0};
    medley_bundle *b = NULL;
    if (!read_cascade(folder, &c))
        return;
    for (size_t k = 0; k < K; k++)
        c.threshold[0][k] = c.threshold[1][k] = 0.55;
    c.rounds = 20;
    c.threshold[0][2] = 2;
    bool good = stack_open(w, SPLIT_TRAIN, &train, &err) == MEDLEY_OK &&
                stack_open(w, SPLIT_TEST, &q.test, &err) == MEDLEY_OK &&
                cascade_fit(&train, &c, false, &models, &err) == MEDLEY_OK &&
                cascade_save(w, &c, &models, &err) == MEDLEY_OK &&
                cascade_play(&q.test, &c, &models, &run, &err) == MEDLEY_OK &&
                bundle_write_tuned(w, 7, &err) == MEDLEY_OK &&
                medley_bundle_open(at(folder, "bundle/current"), &b, &err) == MEDLEY_OK;
    if (ok(good, "a bundle with the cascade: %s", err.message)) {
        ok(medley_bundle_stages(b) == 3 && medley_bundle_stage_model(b, 0) == c.order[0] &&
               medley_bundle_stage_model(b, 3) == SIZE_MAX,
           "it knows its stages");
        test_answers(b, &q, &c, &run);
        test_whole(b, &q, folder);
    }
    medley_bundle_close(b);
    cascade_run_free(&run);
    cascade_models_free(&models, M);
    mem_free(c.guess);
    stack_close(&train);
    stack_close(&q.test);
}

/* Every byte that is cut off or turned is refused or harmless. */
static void test_damage(const char *folder)
{
    static const char *const members[] = {"bundle/current/cascade/cascade.json",
                                          "bundle/current/calibrator.json",
                                          "bundle/current/cascade/stage-1.txt"};
    for (size_t f = 0; f < 3; f++) {
        char *text;
        size_t n, accepted = 0;
        medley_error err;
        medley_bundle *b = NULL;
        if (!ok(file_read(at(folder, members[f]), 1 << 20, &text, &n, &err) == MEDLEY_OK,
                "reads"))
            return;
        for (size_t cut = 0; cut + 2 < n; cut += 1 + n / 40) {
            put_bytes(folder, members[f], text, cut);
            accepted += medley_bundle_open(at(folder, "bundle/current"), &b, &err) == MEDLEY_OK;
            medley_bundle_close(b);
            b = NULL;
        }
        ok(accepted == 0, "%s cut short is refused", members[f]);
        put_bytes(folder, members[f], text, n);
        mem_free(text);
    }
}

/* Selecting alone leaves a plain bundle; the run that follows adds the cascade again. */
static void test_again(struct workspace *w, const char *folder)
{
    medley_error err = {0};
    struct stages s = {NULL, 0};
    ok(stages_run_group(w, STAGE_SELECT, NULL, true, &err) == MEDLEY_OK &&
           !file_exists(at(folder, "bundle/current/cascade/cascade.json")),
       "selecting alone: a plain bundle %s", err.message);
    ok(stages_inspect(w, &s, &err) == MEDLEY_OK, "inspects");
    for (size_t i = 0; i < s.n; i++)
        if (s.items[i].group == STAGE_TUNE)
            is_text(s.items[i].why, "bundle/current has not what decide: wants",
                    "which is known");
    stages_free(&s);
    ok(remove_tree(at(folder, "bundle"), &err) == MEDLEY_OK &&
           stages_run(w, &err) == MEDLEY_OK &&
           file_exists(at(folder, "bundle/current/cascade/cascade.json")) &&
           file_exists(at(folder, "bundle/current/calibrator.json")),
       "when the bundle is gone, a whole one is made %s", err.message);
    ok(stages_inspect(w, &s, &err) == MEDLEY_OK, "inspects");
    size_t stale = 0;
    for (size_t i = 0; i < s.n; i++)
        stale += !s.items[i].up_to_date;
    ok(stale == 0, "and all is up to date");
    stages_free(&s);
}

static void test_refusals(void)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"{}", "c: expected 3 stages, one for each model"},
        {"{\"stages\":[{\"model\":\"good\",\"temperature\":1,\"thresholds\":[0,0,0]},"
         "{\"model\":\"good\"},{}]}",
         "c: stages[1].model is no model of the bundle, or comes twice"},
        {"{\"stages\":[{\"model\":\"good\",\"temperature\":0},{},{}]}",
         "c: stages[0].temperature should be from 0.001 to 1000"},
        {"{\"stages\":[{\"model\":\"good\",\"temperature\":1,\"thresholds\":[0,2,0]},{},{}]}",
         "c: stages[0].thresholds should be 3 margins or nulls"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json *root = NULL;
        medley_error err = {0};
        struct cascade c;
        struct str text = {bad[i].text, strlen(bad[i].text)};
        ok(json_parse(text, "c", &root, &err) == MEDLEY_OK, "parses");
        ok(cascade_read(root, "c", names, M, K, &c, &err) == MEDLEY_EFORMAT, "refuses");
        is_text(err.message, bad[i].says, "and says why");
        json_free(root);
    }
}

/* What is read back calibrates to the same bits, and is written alike. */
static void test_calibrators(void)
{
    enum { N = 60 };
    float p[N * K];
    uint8_t label[N];
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < K; k++)
            p[i * K + k] = (float)(1 + (i * 7 + k * 5) % 11) / 40;
        label[i] = (uint8_t)(mix64(3, i, 0) % K);
    }
    for (int m = 0; m < CALIBRATION_METHODS; m++) {
        medley_error err = {0};
        struct calibrator a, b = {.method = CALIBRATION_NONE};
        struct strbuf first, second;
        struct json_writer w;
        json *root = NULL;
        float x[N * K], y[N * K];
        sb_init(&first), sb_init(&second);
        ok(calibrator_fit((enum calibration_method)m, p, label, NULL, N, K, &a, &err) ==
               MEDLEY_OK,
           "fits %s", calibration_method_names[m]);
        jw_init(&w, &first, false);
        calibrator_write(&w, &a, K);
        ok(json_parse(sb_str(&first), "c", &root, &err) == MEDLEY_OK &&
               calibrator_read(root, "c", K, &b, &err) == MEDLEY_OK,
           "reads: %s", err.message);
        jw_init(&w, &second, false);
        calibrator_write(&w, &b, K);
        memcpy(x, p, sizeof p);
        memcpy(y, p, sizeof p);
        calibrator_apply(&a, x, N, K);
        calibrator_apply(&b, y, N, K);
        ok(same_text(&first, &second) && memcmp(x, y, sizeof x) == 0, "the same again");
        ok((memcmp(x, p, sizeof x) != 0) == (m != CALIBRATION_NONE), "it does something");
        json_free(root);
        calibrator_free(&a), calibrator_free(&b);
        sb_deinit(&first), sb_deinit(&second);
    }
}

int main(void)
{
    char folder[64];
    medley_error err = {0};
    struct workspace w;
    snprintf(folder, sizeof folder, "%s", tap_folder());
    test_refusals();
    test_calibrators();
    ok(shop_run(folder,
                "budget: {pin: [good, noise, half]}\n"
                "decide: {cascade: true, calibrate: true, save: models, cascade_loss: 0.02}",
                &err) == MEDLEY_OK,
       "all stages run: %s", err.message);
    ok(file_exists(at(folder, "bundle/current/cascade/cascade.json")) &&
           file_exists(at(folder, "bundle/current/calibrator.json")),
       "the bundle has what was opted in to");
    if (ok(workspace_open(folder, &w, &err) == MEDLEY_OK &&
               workspace_open_data(&w, &err) == MEDLEY_OK,
           "opens")) {
        test_cascade(&w, folder);
        test_damage(folder);
        test_again(&w, folder);
        w.config.decide.cascade = w.config.decide.calibrate = false;
        ok(bundle_write_tuned(&w, 7, &err) == MEDLEY_OK &&
               !file_exists(at(folder, "bundle/current/cascade/cascade.json")),
           "and has it no longer when that is taken back");
        workspace_close(&w);
    }
    return tap_done();
}
