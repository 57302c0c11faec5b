/* test_frozen.c: logistic regression is at its optimum; a classifier of others used as it is
 * answers as the map of its logits does, wherever it was saved and loaded. */
#include "tests/lm_shop.h"

#include "base/file.h"
#include "base/npy.h"
#include "base/rng.h"
#include "ensemble/stages.h"
#include "lm/frozen.h"
#include "nn/logistic.h"

#include <dirent.h>

/* ---- logistic regression ---- */

enum { BLOCK = 2048 }; /* pairs of a block in frozen.c */
enum { N = 300, D = 3, K = 4, W = K * (D + 1) };
static float x[N * D];
static uint8_t y[N];
static const double even[K] = {1, 1, 1, 1};

static void draw(uint64_t seed)
{
    static const double truth[W] = {2, 0, 1, 0, -1, 1, 0, .5, 0, -2, 0, 1, 0, 0, -1, -1};
    struct rng r;
    rng_init(&r, seed, 1);
    for (size_t i = 0; i < N; i++) {
        float p[K];
        double at = rng_uniform(&r), sum = 0;
        for (size_t j = 0; j < D; j++)
            x[i * D + j] = (float)(rng_normal(&r) * (double)(j + 1) + 2);
        logistic_predict(truth, D, K, x + i * D, p);
        for (y[i] = 0; y[i] < K - 1 && (sum += (double)p[y[i]]) < at;)
            y[i]++;
    }
}

/* What logistic.h says is minimised, of weights of the inputs as they are. */
static double objective(const double *weights, const double *class_weights, double ridge)
{
    double total = 0;
    for (size_t j = 0; j < D; j++) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < N; i++)
            sum += (double)x[i * D + j];
        for (size_t i = 0; i < N; i++)
            squares += pow((double)x[i * D + j] - sum / N, 2);
        for (size_t c = 0; c < K; c++)
            total += ridge / 2 * pow(weights[c * (D + 1) + j], 2) * squares / N;
    }
    for (size_t i = 0; i < N; i++) {
        double z[K], sum = 0;
        for (size_t c = 0; c < K; c++) {
            z[c] = weights[c * (D + 1) + D];
            for (size_t j = 0; j < D; j++)
                z[c] += weights[c * (D + 1) + j] * (double)x[i * D + j];
            sum += exp(z[c]);
        }
        total += class_weights[y[i]] * (log(sum) - z[y[i]]);
    }
    return total;
}

static void test_optimum(const double *class_weights, double ridge)
{
    const struct logistic_data d = {x, y, class_weights, N, D, K};
    double w[W], worst = 0;
    medley_error err;
    ok(logistic_fit(&d, ridge, w, &err) == MEDLEY_OK, "fits");
    for (size_t i = 0; i < W; i++) {
        double moved[W], sides[2];
        for (int s = 0; s < 2; s++) {
            memcpy(moved, w, sizeof w);
            moved[i] += s ? 1e-4 : -1e-4;
            sides[s] = objective(moved, class_weights, ridge);
        }
        worst = fmax(worst, fabs(sides[1] - sides[0]) / 2e-4);
    }
    ok(worst < 1e-4, "ridge %g: the largest slope at the optimum is %.2g", ridge, worst);
}

static void test_logistic(void)
{
    static const double uneven[K] = {1, 0.2, 3, 0};
    double w[W];
    float p[K], moved[N * D], q[K];
    medley_error err;
    draw(3);
    test_optimum(even, 1);
    test_optimum(even, 25);
    test_optimum(uneven, 1);

    struct logistic_data d = {x, y, even, N, D, K};
    if (logistic_fit(&d, 1, w, &err))
        abort();
    logistic_predict(w, D, K, x, p);
    for (size_t i = 0; i < N * D; i++)
        moved[i] = x[i] * 100 - 7;
    d.x = moved;
    if (logistic_fit(&d, 1, w, &err))
        abort();
    logistic_predict(w, D, K, moved, q);
    ok(fabsf(p[0] - q[0]) < 1e-4f && fabsf(p[3] - q[3]) < 1e-4f, "units do not matter");

    for (size_t i = 0; i < N; i++) {
        y[i] = x[i * D] > 2;
        x[i * D + 1] = 5;
    }
    d.x = x;
    bool good = logistic_fit(&d, 1, w, &err) == MEDLEY_OK;
    for (size_t i = 0; i < W; i++)
        good = good && isfinite(w[i]);
    size_t right = 0;
    for (size_t i = 0; i < N && good; i++) {
        logistic_predict(w, D, K, x + i * D, p);
        right += (p[1] > p[0]) == y[i];
        good = p[2] < 0.05f && p[3] < 0.05f;
    }
    ok(good && right > N * 95 / 100,
       "told apart without error, an input that never changes, classes without points: %zu of "
       "%d",
       right, N);
    d.n = 0;
    ok(logistic_fit(&d, 1, w, &err) == MEDLEY_OK && w[0] == 0 && w[W - 1] == 0, "no points");
}

/* ---- frozen models ---- */

static struct lm_options theirs(const char *name)
{
    static char paths[4][256];
    static int at_path;
    char *path = paths[at_path++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return (struct lm_options){.pretrained = path, .frozen = true};
}

/* One label alone, the first of m: what rerankers have. */
static struct cross_encoder *reranker_of(const struct cross_encoder *m)
{
    struct dataset score = shop;
    struct cross_encoder *one = NULL;
    score.n_classes = 1;
    if (cross_encoder_new(&tiny, &score, &one, NULL))
        abort();
    lm_unseal(one);
    for (param_id i = 0; i < one->params.count; i++) {
        const struct param *item = &one->params.items[i];
        memcpy(params_value(&one->params, i), params_value(&m->params, i),
               item->rows * item->cols * sizeof(float));
    }
    if (lm_seal(one, NULL))
        abort();
    return one;
}

/* As Hugging Face would have saved it: nothing of ours in its folder. */
static void save_plain(const struct cross_encoder *m, const char *name)
{
    char path[256];
    medley_error err;
    snprintf(path, sizeof path, "%s/%s/medley.json", folder, name);
    if (cross_encoder_save(m, at(folder, name), &err) || remove(path)) {
        printf("Bail out! %s\n", err.message);
        exit(1);
    }
}

static double farthest(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    return worst;
}

static float *logits_in(const char *name, size_t *labels)
{
    char path[256];
    struct npy file;
    snprintf(path, sizeof path, "%s/%s/logits.npy", folder, name);
    if (npy_open(path, &file, NULL))
        abort();
    float *all = mem_alloc(file.rows * file.cols, sizeof *all);
    npy_to_float(&file, all);
    *labels = file.cols;
    npy_close(&file);
    return all;
}

/* Read, fitted, saved, loaded: everywhere what logistic regression of the logits gives. */
static void test_whole(const char *name, const char *precision)
{
    struct lm_options o = theirs(name);
    struct cross_encoder *m = NULL, *loaded = NULL;
    medley_error err = {0};
    size_t n = shop.n_examples, k = shop.n_classes, half = n / 2, labels;
    char read[256], saved[256];
    o.precision = precision;
    snprintf(read, sizeof read, "%s/read-%s", folder, name);
    snprintf(saved, sizeof saved, "%s/saved-%s", folder, name);
    medley_status st = frozen_read(&o, &shop, read, "read", &err);
    if (!st)
        st = frozen_fit(&o, &shop, read, rows, half, &m, &err);
    if (!st)
        st = cross_encoder_save(m, saved, &err);
    if (!st)
        st = cross_encoder_load(saved, &loaded, &err);
    if (!ok(!st, "%s, %s: read, fitted, saved and loaded", name, precision)) {
        printf("# %s\n", err.message);
        return;
    }
    snprintf(read, sizeof read, "read-%s", name);
    float *logits = logits_in(read, &labels), *fast = mem_alloc(n, k * sizeof *fast);
    float *asked = predict(m, n), *after = predict(loaded, n);
    snprintf(read, sizeof read, "%s/read-%s", folder, name);
    st = frozen_predict(m, read, rows, n, fast, &err);
    double off = farthest(fast, asked, n * k);
    ok(!st && off < 1e-5, "kept logits of %zu labels answer as the model: %.2g", labels, off);
    ok(same(asked, after, n * k), "and so does what was saved, bit for bit");
    ok(cross_encoder_classes(loaded) == k && share_right(after + half * k, n - half) > 0,
       "classes of the dataset");

    double w[MAX_CLASSES * (MAX_CLASSES + 1)];
    uint8_t label[4096];
    for (size_t i = 0; i < half; i++)
        label[i] = shop.example_label[rows[i]];
    const struct logistic_data d = {logits, label, even, half, labels, k};
    if (logistic_fit(&d, 1, w, &err))
        abort();
    for (size_t i = 0; i < n; i++)
        logistic_predict(w, labels, k, logits + i * labels, fast + i * k);
    ok(farthest(fast, asked, n * k) < 1e-5, "the map is the regression's");
    mem_free(logits);
    mem_free(fast);
    mem_free(asked);
    mem_free(after);
    cross_encoder_free(m);
    cross_encoder_free(loaded);
}

static size_t count_blocks(const char *name)
{
    size_t n = 0;
    DIR *dir = opendir(at(folder, name));
    for (struct dirent *e; dir && (e = readdir(dir));)
        n += strncmp(e->d_name, "block-", 6) == 0;
    if (dir)
        closedir(dir);
    return n;
}

static void stop_after_block(void *context, const char *task, uint64_t done, uint64_t total,
                             const char *unit)
{
    (void)context, (void)task, (void)unit;
    if (done > 0 && done < total)
        interrupt_request();
}

/* The first block's answers are put out of order on the disk: who keeps them gives them back.
 */
static void mark_block(const char *name, size_t labels)
{
    char path[512];
    static float row[BLOCK * MAX_CLASSES];
    DIR *dir = opendir(at(folder, name));
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (strncmp(e->d_name, "block-", 6) == 0)
            snprintf(path, sizeof path, "%s/%s/%s", folder, name, e->d_name);
    closedir(dir);
    for (size_t i = 0; i < BLOCK * labels; i++)
        row[i] = 77;
    if (npy_write(path, NPY_F32, BLOCK, labels, row, NULL))
        abort();
}

/* Of more pairs than a block has. */
static struct dataset larger_shop(void)
{
    struct synth_options o = {
        .products = 600, .queries = 400, .sessions = 1, .judged = 10, .seed = 5};
    static const char *const names[] = {"examples.csv", "products.csv"};
    char paths[2][256];
    struct dataset large;
    for (int i = 0; i < 2; i++)
        snprintf(paths[i], sizeof paths[i], "%s/large/%s", folder, names[i]);
    struct import_options in = {.examples = paths[0], .products = paths[1]};
    if (synth_write(at(folder, "large"), &o, NULL) ||
        dataset_import(&in, at(folder, "large-data"), NULL) ||
        dataset_open(at(folder, "large-data"), &large, NULL))
        abort();
    return large;
}

static void test_resume(const struct dataset *large)
{
    const struct progress_sink sink = {.step = stop_after_block};
    struct lm_options o = theirs("plain");
    char read[256];
    size_t labels;
    medley_error err;
    snprintf(read, sizeof read, "%s/resumed", folder);
    progress_install(&sink);
    ok(frozen_read(&o, large, read, "read", &err) == MEDLEY_EINTERRUPTED &&
           count_blocks("resumed") == 1,
       "cut short after the first block of %zu pairs", large->n_examples);
    progress_install(NULL);
    interrupt_clear();
    mark_block("resumed", large->n_classes);
    ok(frozen_read(&o, large, read, "read", &err) == MEDLEY_OK && count_blocks("resumed") == 2,
       "and gone on with");
    float *first = logits_in("resumed", &labels);
    ok(first[0] == 77 && first[BLOCK * labels] != 77, "what was read is not read again");
    o.max_tokens = 12;
    ok(frozen_read(&o, large, read, "read", &err) == MEDLEY_OK && count_blocks("resumed") == 2,
       "other tokens: other blocks, and the old ones go");
    float *other = logits_in("resumed", &labels);
    ok(other[0] != 77, "read anew");
    mem_free(first);
    mem_free(other);
}

static void test_errors(void)
{
    struct lm_options none = theirs("nowhere"), o = theirs("plain");
    struct cross_encoder *m = NULL;
    medley_error err;
    char read[256];
    snprintf(read, sizeof read, "%s/read-plain", folder);
    ok(frozen_read(&none, &shop, read, "read", &err) == MEDLEY_ENOTFOUND &&
           strstr(err.message, "holds no model"),
       "no folder: %s", err.message);
    ok(frozen_fit(&o, &shop, at(folder, "shop"), rows, 100, &m, &err) == MEDLEY_ENOTFOUND && !m,
       "never read: %s", err.message);
    o.class_weights = "balanced,";
    ok(frozen_fit(&o, &shop, read, rows, 100, &m, &err) == MEDLEY_EINVAL && !m, "weights: %s",
       err.message);
    o.class_weights = "balanced";
    size_t failed = 0;
    for (size_t i = 0; i < 200; i += 3) {
        mem_fail_after(i);
        medley_status st = frozen_fit(&o, &shop, read, rows, 100, &m, &err);
        mem_fail_after(SIZE_MAX);
        failed += st == MEDLEY_ENOMEM && !m;
        if (!st)
            cross_encoder_free(m);
        m = NULL;
    }
    ok(failed > 20, "%zu allocations that fail are told", failed);
}

static medley_status train_workspace(const char *trust, medley_error *err)
{
    static const char *const text =
        "data: {examples: shop/examples.csv, products: shop/products.csv}\n"
        "models: [{name: seen, kind: lm, pretrained: seen, frozen: true%s}]\n";
    char settings[256];
    struct workspace w;
    snprintf(settings, sizeof settings, text, trust);
    put(folder, "medley.yaml", settings);
    medley_status st = workspace_open(folder, &w, err);
    if (st)
        return st;
    st = stages_run_group(&w, STAGE_IMPORT, NULL, false, err);
    if (!st)
        st = stages_run_group(&w, STAGE_TRAIN, NULL, false, err);
    workspace_close(&w);
    return st;
}

static void test_in_sample(void)
{
    struct lm_options often = tiny;
    uint32_t *seen = mem_alloc(shop.n_examples, sizeof *seen);
    size_t n = 0;
    medley_error err;
    for (uint32_t i = 0; i < shop.n_examples; i++)
        if (shop.example_split[i] == SPLIT_TRAIN)
            seen[n++] = i;
    often.epochs = 60;
    often.dropout = -1;
    struct cross_encoder *m = new_model(&often);
    if (cross_encoder_train(m, &shop, seen, n, NULL, NULL, &err) ||
        cross_encoder_save(m, at(folder, "seen"), &err))
        abort();
    ok(train_workspace("", &err) == MEDLEY_EINSAMPLE && strstr(err.message, "'seen'"),
       "it knew the training pairs by heart: %s", err.message);
    ok(train_workspace(", trust: true", &err) == MEDLEY_OK, "who insists, may");
    cross_encoder_free(m);
    mem_free(seen);
}

int main(void)
{
    char own[64];
    snprintf(own, sizeof own, "%s", tap_folder());
    folder = own;
    test_logistic();
    make_shop();
    struct lm_options longer = tiny;
    longer.epochs = 10;
    struct cross_encoder *m = trained(&longer, shop.n_examples);
    medley_error err;
    save_plain(m, "plain");
    if (cross_encoder_save(m, at(folder, "ours"), &err))
        abort();
    test_whole("plain", "float32");
    test_whole("ours", "float32");
    test_whole("plain", "int8");
    struct cross_encoder *reranker = reranker_of(m);
    save_plain(reranker, "reranker");
    test_whole("reranker", "float32");
    struct dataset large = larger_shop();
    test_resume(&large);
    dataset_close(&large);
    test_errors();
    test_in_sample();
    cross_encoder_free(reranker);
    cross_encoder_free(m);
    mem_free(rows);
    dataset_close(&shop);
    return tap_done();
}
