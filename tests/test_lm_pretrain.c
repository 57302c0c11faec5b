/* test_lm_pretrain.c: the loss over a vocabulary, what is hidden in texts, pre-training and its
 * folders, resuming, every family from scratch. */
#include "tests/data_help.h"

#include "base/pool.h"
#include "base/progress.h"
#include "data/import.h"
#include "data/synth.h"
#include "lm/lm_pretrain.h"
#include "lm/pretrain_text.h"

static const char *folder;
static struct dataset shop;

static const struct lm_options tiny = {
    .hidden = 32,
    .heads = 2,
    .layers = 1,
    .intermediate = 64,
    .vocabulary = 700,
    .max_tokens = 40,
    .fields = "query,title,brand,color",
    .seed = 11,
    .pretrain = {
        .wanted = true, .epochs = 2, .batch = 32, .learning_rate = 3e-3, .fields_only = true}};

static void make_shop(void)
{
    struct synth_options o = {
        .products = 240, .queries = 60, .sessions = 1, .judged = 10, .seed = 3};
    static const char *const names[] = {"examples.csv", "products.csv", "product_metadata.csv"};
    char paths[3][256];
    medley_error err;
    for (int i = 0; i < 3; i++)
        snprintf(paths[i], sizeof paths[i], "%s/shop/%s", folder, names[i]);
    struct import_options in = {
        .examples = paths[0], .products = paths[1], .metadata = paths[2]};
    if (synth_write(at(folder, "shop"), &o, &err) ||
        dataset_import(&in, at(folder, "data"), &err) ||
        dataset_open(at(folder, "data"), &shop, &err)) {
        printf("Bail out! %s\n", err.message);
        exit(1);
    }
}

static struct cross_encoder *new_model(const struct lm_options *o)
{
    struct cross_encoder *m = NULL;
    medley_error err;
    if (cross_encoder_new(o, &shop, &m, &err)) {
        printf("Bail out! %s\n", err.message);
        exit(1);
    }
    return m;
}

/* ---- the loss ---- */

enum { ROWS = 5, WORDS = 301 };

static double reference_loss(const float *z, const int32_t *targets)
{
    double loss = 0;
    for (int i = 0; i < ROWS; i++) {
        double top = -INFINITY, sum = 0;
        for (int j = 0; j < WORDS; j++)
            top = fmax(top, (double)z[i * WORDS + j]);
        for (int j = 0; j < WORDS; j++)
            sum += exp((double)z[i * WORDS + j] - top);
        loss += top + log(sum) - (double)z[i * WORDS + targets[i]];
    }
    return loss / ROWS;
}

static void test_vocabulary_loss(void)
{
    const int32_t targets[ROWS] = {0, 300, 17, 17, 150};
    static float z[ROWS * WORDS], moved[ROWS * WORDS];
    struct params none = {0};
    struct tape t;
    struct rng rng;
    float unused = 0;
    rng_init(&rng, 5, 0);
    for (int i = 0; i < ROWS * WORDS; i++)
        z[i] = (float)(3 * rng_normal(&rng)) + (i / WORDS == 3 ? 60 : 0);
    tape_init(&t, &none, &unused);
    tape_reset(&t, true, 1);
    struct tensor *x = tape_input(&t, z, ROWS, WORDS, true);
    struct tensor *loss = op_vocabulary_loss(&t, x, targets);
    double wanted = reference_loss(z, targets), worst = 0, sum = 0;
    ok(fabs((double)loss->value[0] - wanted) < 1e-5 * wanted, "loss %.6f is %.6f",
       (double)loss->value[0], wanted);
    medley_error err;
    ok(tape_backward(&t, loss, 2, &err) == MEDLEY_OK, "went back");
    for (int i = 0; i < ROWS * WORDS; i += 7) {
        memcpy(moved, z, sizeof z);
        moved[i] = z[i] + 1e-2f;
        double step = (double)moved[i] - (double)z[i], up = reference_loss(moved, targets);
        moved[i] = z[i] - (float)step;
        double slope = (up - reference_loss(moved, targets)) / (2 * step);
        worst = fmax(worst, fabs((double)x->grad[i] / 2 - slope));
    }
    for (int i = 0; i < ROWS * WORDS; i++)
        sum += (double)x->grad[i];
    ok(worst < 1e-5, "its gradient agrees with finite differences (%.1e)", worst);
    ok(fabs(sum) < 1e-5, "and sums to nothing (%.1e)", sum);
    tape_deinit(&t);
}

/* ---- what is hidden ---- */

struct counts {
    size_t words, hidden, masked, kept, replaced, roomy, queries, wrong;
};

/* Draws document i and compares it with the original. */
static void count_one(const struct pretrain_text *t, size_t i, uint64_t draw, struct counts *c)
{
    struct masked_batch b;
    masked_batch_init(&b);
    masked_batch_add(&b, t, i, 0.15, 9, draw);
    const struct lm_inputs *in = &b.inputs;
    size_t length = t->documents.offsets[i + 1] - t->documents.offsets[i];
    size_t added = in->n_tokens - length;
    const int32_t *from = t->documents.ids + t->documents.offsets[i];
    if (i < shop.n_products && length + 6 <= t->max_tokens) {
        c->roomy++;
        c->queries += added > 0;
    }
    c->hidden += b.n;
    for (size_t row = 0, next = 0; row < in->n_tokens; row++) {
        bool asked = next < b.n && b.index[next] == row;
        int32_t was = asked ? b.target[next] : in->ids[row];
        next += asked;
        if (row < t->query_at || row >= t->query_at + added) {
            size_t old = row < t->query_at ? row : row - added;
            c->wrong += was != from[old] || in->positions[row] != (int32_t)row ||
                        in->types[row] != t->documents.types[t->documents.offsets[i] + old];
        } else {
            c->wrong += in->types[row] != 0 || t->special[was];
        }
        c->words += !t->special[was];
        c->wrong += asked && t->special[was];
        if (asked) {
            c->masked += in->ids[row] == t->mask;
            c->kept += in->ids[row] == was;
            c->replaced += in->ids[row] != was && in->ids[row] != t->mask;
        }
    }
    masked_batch_deinit(&b);
}

static bool near(size_t part, size_t whole, double share, double tolerance)
{
    return fabs((double)part / (double)whole - share) < tolerance;
}

static void test_hiding(void)
{
    struct cross_encoder *m = new_model(&tiny);
    struct pretrain_text t;
    struct counts c = {0};
    medley_error err;
    ok(pretrain_text_init(&t, m, &shop, true, &err) == MEDLEY_OK, "texts");
    size_t queries = 0;
    for (uint32_t q = 0; q < shop.n_queries; q++) {
        bool train = false;
        for (size_t i = 0; i < shop.n_examples; i++)
            train |= shop.example_query[i] == q && shop.example_split[i] == SPLIT_TRAIN;
        queries += train;
    }
    ok(queries < shop.n_queries && t.documents.n == shop.n_products + queries,
       "%zu products and %zu of %zu queries", shop.n_products, queries, shop.n_queries);
    for (uint64_t draw = 0; draw < 20; draw++)
        for (size_t i = 0; i < t.documents.n; i++)
            count_one(&t, i, draw, &c);
    ok(c.wrong == 0, "what is not hidden stays as it is (%zu of %zu words)", c.hidden, c.words);
    ok(near(c.hidden, c.words, 0.15, 0.02), "15%% hidden");
    ok(near(c.masked, c.hidden, 0.8, 0.01) && near(c.kept, c.hidden, 0.1, 0.01) &&
           near(c.replaced, c.hidden, 0.1, 0.01),
       "of them 80%% masked, 10%% kept, 10%% replaced");
    ok(near(c.queries, c.roomy, 0.5, 0.03), "half of the products get a query");

    struct masked_batch a, b;
    masked_batch_init(&a), masked_batch_init(&b);
    masked_batch_add(&a, &t, 3, 0.15, 9, 1);
    masked_batch_add(&b, &t, 2, 0.15, 9, 1); /* another one first */
    size_t first = b.n, begin = b.inputs.n_tokens;
    masked_batch_add(&b, &t, 3, 0.15, 9, 1);
    bool same = b.inputs.n_tokens - begin == a.inputs.n_tokens && b.n - first == a.n &&
                memcmp(a.inputs.ids, b.inputs.ids + begin,
                       a.inputs.n_tokens * sizeof *a.inputs.ids) == 0;
    ok(same, "a document is drawn the same whatever its batch");
    masked_batch_deinit(&a), masked_batch_deinit(&b);
    pretrain_text_deinit(&t);
    size_t fields = t.documents.n;
    ok(pretrain_text_init(&t, m, &shop, false, &err) == MEDLEY_OK &&
           t.documents.n > fields + shop.n_products,
       "bullets and descriptions are documents of their own");
    for (size_t i = 0; i < t.documents.n; i++)
        if (t.documents.offsets[i + 1] - t.documents.offsets[i] > tiny.max_tokens)
            c.wrong++;
    ok(c.wrong == 0, "none is longer than max_tokens");
    pretrain_text_deinit(&t);
    cross_encoder_free(m);
}

/* ---- pre-training ---- */

static medley_status pretrain(const struct lm_options *o, const char *name, medley_error *err)
{
    return lm_pretrain(o, &shop, at(folder, name), err);
}

static bool same_files(const char *a, const char *b)
{
    char *x = NULL, *y = NULL;
    size_t n = 0, m = 1;
    if (file_read(a, 1 << 26, &x, &n, NULL) || file_read(b, 1 << 26, &y, &m, NULL))
        abort();
    bool same = n == m && memcmp(x, y, n) == 0;
    mem_free(x), mem_free(y);
    return same;
}

static void read_losses(const char *path, double *first, double *last, size_t *lines)
{
    char *text = NULL;
    size_t n;
    *lines = 0;
    if (file_read(path, 1 << 20, &text, &n, NULL))
        abort();
    for (char *line = text; line && *line; line = strchr(line, '\n') + 1, ++*lines)
        if (sscanf(line, "{\"epoch\": %*d, \"masked_loss\": %lf", last) == 1 && *lines == 0)
            *first = *last;
    mem_free(text);
}

static void test_learning(void)
{
    struct lm_options o = tiny;
    medley_error err = {0};
    double first = NAN, last = NAN;
    size_t lines;
    o.pretrain.epochs = 12;
    ok(pretrain(&o, "own", &err) == MEDLEY_OK, "pre-trained %s", err.message);
    read_losses(at(folder, "own/pretrain.log.jsonl"), &first, &last, &lines);
    ok(lines == 12 && first < log(700) + 0.5 && last < first - 1,
       "the loss falls from %.2f to %.2f", first, last);
    ok(!file_exists(at(folder, "own/pretrain.checkpoint")), "no checkpoint is left");
    ok(pretrain(&o, "own", &err) == MEDLEY_OK, "again");
    read_losses(at(folder, "own/pretrain.log.jsonl"), &first, &last, &lines);
    ok(lines == 12, "what is there is not made again");

    struct lm_options fine = tiny;
    fine.pretrained = at(folder, "own");
    fine.layers = 0;
    struct cross_encoder *m = new_model(&fine), *fresh = new_model(&tiny);
    param_id words = params_find(&m->params, "bert.embeddings.word_embeddings.weight");
    ok(m->params.total == fresh->params.total &&
           memcmp(params_value(&m->params, words), params_value(&fresh->params, words), 4096),
       "a cross-encoder takes the encoder over");
    ok(m->marker[FIELD_TITLE] >= 0 && m->marker[FIELD_TITLE] == fresh->marker[FIELD_TITLE],
       "and its vocabulary");
    cross_encoder_free(m), cross_encoder_free(fresh);

    o = tiny;
    o.pretrained = at(folder, "own");
    o.layers = 0;
    o.pretrain.epochs = 1;
    ok(pretrain(&o, "further", &err) == MEDLEY_OK, "pre-training goes on from a folder");
    double start = NAN;
    read_losses(at(folder, "further/pretrain.log.jsonl"), &start, &last, &lines);
    ok(start < first - 1, "with what was learned (%.2f)", start);
}

static uint64_t stop_at, stop_every;

static void interrupt_at(void *context, const char *task, uint64_t done, uint64_t total,
                         const char *unit)
{
    (void)context, (void)unit, (void)total;
    if (strcmp(task, "pretrain") == 0 && done >= stop_at) {
        interrupt_request();
        stop_at = done + stop_every;
    }
}

static void test_resume(void)
{
    struct progress_sink sink = {.step = interrupt_at};
    medley_error err;
    medley_status st;
    int stops = 0;
    struct lm_options o = tiny;
    o.pretrain.dropout = 0.1;
    o.pretrain.steps = 13; /* ends within the second epoch */
    stop_at = 32, stop_every = 32 * 3;
    pool_set_threads(1);
    if (pretrain(&o, "whole", &err))
        abort();
    pool_set_threads(0);
    progress_install(&sink);
    do {
        interrupt_clear();
        st = pretrain(&o, "parts", &err);
        stops += st == MEDLEY_EINTERRUPTED;
    } while (st == MEDLEY_EINTERRUPTED && stops < 50);
    progress_install(NULL);
    interrupt_clear();
    ok(st == MEDLEY_OK && stops > 3, "finished after %d interruptions", stops);
    ok(same_files(at(folder, "whole/model.safetensors"), at(folder, "parts/model.safetensors")),
       "in the bits of an uninterrupted run on one thread");
    ok(same_files(at(folder, "whole/pretrain.json"), at(folder, "parts/pretrain.json")),
       "and the same record");
    o.pretrain.mask_rate = 0.2;
    ok(pretrain(&o, "parts", &err) == MEDLEY_OK &&
           !same_files(at(folder, "whole/model.safetensors"),
                       at(folder, "parts/model.safetensors")),
       "other settings make it anew");
}

/* ---- families ---- */

static void test_family(const struct encoder_family *family)
{
    struct lm_options o = tiny;
    struct cross_encoder *m = NULL, *back = NULL;
    medley_error err = {0};
    uint32_t rows[32];
    char name[64];
    snprintf(name, sizeof name, "family-%s", family->model_type);
    o.family = family->model_type;
    o.layers = 2;
    o.pretrain.steps = 2;
    o.epochs = 1;
    ok(pretrain(&o, name, &err) == MEDLEY_OK, "%s pre-trains from scratch %s",
       family->model_type, err.message);
    char pretrained[256];
    snprintf(pretrained, sizeof pretrained, "%s/%s", folder, name);
    o.family = NULL;
    o.pretrained = pretrained;
    o.layers = 0;
    for (uint32_t i = 0; i < 32; i++)
        rows[i] = i;
    medley_status st = cross_encoder_new(&o, &shop, &m, &err);
    ok(st == MEDLEY_OK && m->encoder.family == family, "%s loads %s", family->model_type,
       st ? err.message : "");
    if (!st)
        st = cross_encoder_train(m, &shop, rows, 32, NULL, NULL, &err);
    snprintf(name, sizeof name, "tuned-%s", family->model_type);
    if (!st)
        st = cross_encoder_save(m, at(folder, name), &err);
    if (!st)
        st = cross_encoder_load(at(folder, name), &back, &err);
    ok(st == MEDLEY_OK && back->params.total == m->params.total,
       "%s is fine-tuned, saved and loaded %s", family->model_type, st ? err.message : "");
    cross_encoder_free(m), cross_encoder_free(back);
}

static void test_refusals(void)
{
    struct lm_options o = tiny;
    struct cross_encoder *m = NULL;
    medley_error err;
    o.family = "gpt2";
    ok(pretrain(&o, "no", &err) == MEDLEY_EUNSUPPORTED && strstr(err.message, "modernbert"),
       "%s", err.message);
    o = tiny;
    o.heads = 5;
    ok(cross_encoder_new(&o, &shop, &m, &err) == MEDLEY_EINVAL, "%s", err.message);
    o = tiny;
    o.pretrain.learning_rate = 1e9;
    o.pretrain.clip = 1e12;
    o.pretrain.epochs = 40;
    medley_status st = pretrain(&o, "wild", &err);
    ok(st == MEDLEY_EINVAL && strstr(err.message, "diverged"), "%s",
       st ? err.message : "it did not diverge");
}

static void test_memory(void)
{
    struct lm_options o = tiny;
    medley_status st = MEDLEY_ENOMEM;
    medley_error err;
    size_t failures = 0;
    char own[256];
    snprintf(own, sizeof own, "%s/own", folder);
    o.pretrained = own; /* training a vocabulary is tested elsewhere */
    o.layers = 0;
    o.pretrain.steps = 1;
    pool_set_threads(1);
    for (size_t n = 0; st && n < 200000; n += 1 + n / 8) {
        mem_fail_after(n);
        st = pretrain(&o, "memory", &err);
        mem_fail_after(SIZE_MAX);
        failures += st == MEDLEY_ENOMEM;
    }
    pool_set_threads(0);
    ok(st == MEDLEY_OK && failures > 10, "survives %zu failing allocations", failures);
}

int main(void)
{
    folder = tap_folder();
    make_shop();
    test_vocabulary_loss();
    test_hiding();
    test_learning();
    test_resume();
    for (size_t i = 0; encoder_families[i]; i++)
        test_family(encoder_families[i]);
    test_refusals();
    test_memory();
    dataset_close(&shop);
    return tap_done();
}
