/* test_cross_encoder.c: training from scratch on a small synthetic shop, files, resuming, what
 * a result may depend on, odd texts and failing allocations. */
#include "tests/lm_shop.h"

/* ---- learning ---- */

static void test_learning(void)
{
    struct lm_options o = tiny;
    o.epochs = 20;
    struct cross_encoder *m = new_model(&o);
    const char *log = at(folder, "log.jsonl");
    medley_error err;
    ok(cross_encoder_train(m, &shop, rows, shop.n_examples, NULL, log, &err) == MEDLEY_OK,
       "trained from scratch");
    char *text = NULL, *line;
    size_t n, lines = 0;
    double first = NAN, last = NAN;
    file_read(log, 1 << 20, &text, &n, NULL);
    for (line = text; line && *line; line = strchr(line, '\n') + 1, lines++)
        if (sscanf(line, "{\"epoch\": %*d, \"train_loss\": %lf", &last) == 1 && lines == 0)
            first = last;
    ok(lines == 20 && last < 0.75 * first, "the loss falls from %.3f to %.3f, logged %zu times",
       first, last, lines);
    float *p = predict(m, shop.n_examples);
    double right = share_right(p, shop.n_examples), chance = largest_share();
    ok(right > chance + 0.15, "%.2f of the examples are right, the commonest class has %.2f",
       right, chance);
    mem_free(p);
    mem_free(text);
    cross_encoder_free(m);
}

/* ---- the head over the means of query and product ---- */

static double value_at(const struct cross_encoder *m, const char *name, size_t i)
{
    return (double)params_value(&m->params, params_find(&m->params, name))[i];
}

/* The difference between logits[K] and the formula of head.c, worked out here in double for the
 * tokens begin..end of which those before `middle` are the query's. */
static double head_error(const struct cross_encoder *m, const struct tensor *hidden,
                         const size_t cut[3], const float *logits)
{
    enum { D = 32 };
    double mean[2][D] = {{0}}, x[4 * D], y[D], worst = 0;
    for (int h = 0; h < 2; h++)
        for (size_t r = cut[h]; r < cut[h + 1]; r++)
            for (size_t j = 0; j < D; j++)
                mean[h][j] += (double)hidden->value[r * D + j] / (double)(cut[h + 1] - cut[h]);
    for (size_t j = 0; j < D; j++) {
        double u = mean[0][j], v = mean[1][j];
        x[j] = u, x[D + j] = v, x[2 * D + j] = u * v, x[3 * D + j] = (u - v) * (u - v);
    }
    for (size_t j = 0; j < D; j++) {
        double sum = value_at(m, "segments.dense.bias", j);
        for (size_t i = 0; i < 4 * D; i++)
            sum += value_at(m, "segments.dense.weight", j * 4 * D + i) * x[i];
        y[j] = tanh(sum);
    }
    for (size_t k = 0; k < m->n_classes; k++) {
        double z = value_at(m, "classifier.bias", k);
        for (size_t j = 0; j < D; j++)
            z += value_at(m, "classifier.weight", k * D + j) * y[j];
        worst = fmax(worst, fabs(z - (double)logits[k]));
    }
    return worst;
}

static void test_head(void)
{
    struct lm_options o = tiny;
    o.head = "segments";
    struct cross_encoder *m = trained(&o, shop.n_examples), *back = NULL;
    struct lm_inputs in;
    struct tape tape;
    lm_inputs_init(&in);
    struct pair_text *pairs = pairs_of_shop();
    lm_inputs_add_pair(&in, m, pairs);
    lm_inputs_add_pair(&in, m, pairs + 20);
    struct encoder_batch batch = lm_inputs_batch(&in);
    tape_init(&tape, &m->params, NULL);
    struct tensor *hidden = encoder_forward(&m->encoder, &tape, &batch, 0);
    const float *logits = lm_head_forward(m, &tape, hidden, &batch, 0)->value;
    double worst = 0;
    for (size_t s = 0; s < 2; s++) {
        size_t cut[3] = {in.offsets[s], in.offsets[s], in.offsets[s + 1]};
        while (in.types[cut[1]] == 0)
            cut[1]++;
        worst = fmax(worst, head_error(m, hidden, cut, logits + s * m->n_classes));
    }
    ok(worst < 1e-5, "the segments head computes what it says (off by %.1e)", worst);
    ok(cross_encoder_save(m, at(folder, "head"), NULL) == MEDLEY_OK &&
           cross_encoder_load(at(folder, "head"), &back, NULL) == MEDLEY_OK,
       "it is saved and loaded");
    float *a = predict(m, 30), *b = predict(back, 30);
    ok(same(a, b, 30 * m->n_classes), "and predicts the same bits");
    char *config = NULL;
    size_t n;
    file_read(at(folder, "head/config.json"), 1 << 20, &config, &n, NULL);
    ok(config && !strstr(config, "ForSequenceClassification"),
       "nobody takes the folder for a classifier of the first token");
    mem_free(config);
    mem_free(a);
    mem_free(b);
    mem_free(pairs);
    tape_deinit(&tape);
    lm_inputs_deinit(&in);
    cross_encoder_free(m);
    cross_encoder_free(back);
}

static void test_early_stopping(void)
{
    struct lm_options o = tiny;
    o.epochs = 30;
    o.patience = 1;
    o.learning_rate = 1e-2; /* over-fits soon */
    struct cross_encoder *m = new_model(&o);
    const char *log = at(folder, "patience.jsonl");
    ok(cross_encoder_train(m, &shop, rows, shop.n_examples, NULL, log, NULL) == MEDLEY_OK,
       "trained with patience");
    char *text = NULL;
    size_t n, lines = 0, held_out = 0;
    file_read(log, 1 << 20, &text, &n, NULL);
    for (char *line = text; line && *line; line = strchr(line, '\n') + 1, lines++)
        held_out += strstr(line, "held_out_loss") != NULL;
    ok(lines > 1 && lines < 30 && held_out >= lines, "and stopped after %zu epochs", lines);
    mem_free(text);
    cross_encoder_free(m);
}

static void test_frozen(void)
{
    struct lm_options o = tiny;
    o.layers = 2;
    o.freeze_layers = 1;
    struct cross_encoder *m = new_model(&o), *start = new_model(&o);
    size_t moved = 0, stayed = 0, wrong = 0;
    cross_encoder_train(m, &shop, rows, 64, NULL, NULL, NULL);
    for (size_t i = 0; i < m->params.count; i++) {
        const struct param *p = &m->params.items[i];
        bool changed = !same(m->params.values + p->offset, start->params.values + p->offset,
                             p->rows * p->cols);
        bool frozen = strstr(p->name, "embeddings") || strstr(p->name, "layer.0.");
        wrong += changed == frozen;
        moved += changed;
        stayed += !changed;
    }
    ok(wrong == 0 && moved > 10 && stayed > 10,
       "frozen embeddings and layers stay (%zu parameters), all others learn (%zu)", stayed,
       moved);
    cross_encoder_free(m);
    cross_encoder_free(start);
}

/* ---- what a result depends on ---- */

static void test_neighbours(const struct cross_encoder *m)
{
    size_t k = shop.n_classes, differ = 0, n = shop.n_examples;
    struct pair_text *pairs = pairs_of_shop();
    float *all = predict(m, n), one[MAX_CLASSES];
    for (size_t i = 0; i < n; i += 7) {
        if (cross_encoder_predict(m, pairs + i, 1, NULL, one, NULL))
            abort();
        differ += !same(one, all + i * k, k);
    }
    ok(differ == 0, "each pair alone has the bits it has among %zu (%zu differ)", n, differ);
    for (unsigned threads = 1; threads <= 5; threads += 2) {
        pool_set_threads(threads);
        float *again = predict(m, n);
        ok(same(again, all, n * k), "%u threads give the same bits", threads);
        mem_free(again);
    }
    pool_set_threads(0);
    mem_free(all);
    mem_free(pairs);
}

/* The last layer leaves out what the head does not read; here it does not. */
static void test_shortcut(const struct cross_encoder *m)
{
    size_t k = shop.n_classes, n = shop.n_examples;
    struct pair_text *pairs = pairs_of_shop();
    float *got = predict(m, n);
    struct lm_inputs in;
    struct tape tapes[2], *t;
    lm_inputs_init(&in);
    tape_init(&tapes[0], &m->params, NULL);
    tape_init(&tapes[1], &m->params, NULL);
    for (size_t i = 0; i < n; i++)
        lm_inputs_add_pair(&in, m, pairs + i);
    struct encoder_batch batch = lm_inputs_batch(&in);
    struct tensor *hidden = encoder_infer(&m->encoder, tapes, &batch, &t);
    struct tensor *logits = lm_head_forward(m, t, hidden, &batch, 0);
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        float p[MAX_CLASSES];
        softmax_rows(logits->value + i * k, 1, k, p);
        for (size_t c = 0; c < k; c++)
            worst = fmax(worst, fabs((double)p[c] - got[i * k + c]));
    }
    ok(worst < 1e-5, "the first tokens' last layer gives the same: %.1e", worst);
    tape_deinit(&tapes[0]);
    tape_deinit(&tapes[1]);
    lm_inputs_deinit(&in);
    mem_free(got);
    mem_free(pairs);
}

/* The largest difference between two sets of probabilities. */
static double apart(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)a[i] - b[i]));
    return worst;
}

/* Packed weights change nothing in float32 and little in the others. */
static void test_precisions(struct cross_encoder *m)
{
    static const double allowed[PRECISION_COUNT] = {0, 0.02, 0.04};
    size_t n = shop.n_examples * shop.n_classes, bytes = cross_encoder_memory(m);
    lm_unseal(m);
    float *unpacked = predict(m, shop.n_examples);
    ok(cross_encoder_memory(m) < bytes, "packed weights are counted");
    for (int p = PRECISION_COUNT - 1; p >= 0; p--) {
        ok(cross_encoder_set_precision(m, (enum precision)p, NULL) == MEDLEY_OK, "%s is set",
           precision_names[p]);
        float *got = predict(m, shop.n_examples);
        double worst = apart(got, unpacked, n);
        ok(worst <= allowed[p] && (p == PRECISION_FLOAT32) == (worst == 0),
           "%s: probabilities differ by %.1e", precision_names[p], worst);
        if (p != PRECISION_FLOAT32)
            test_neighbours(m);
        struct cross_encoder *back = NULL;
        ok(cross_encoder_save(m, at(folder, "precise"), NULL) == MEDLEY_OK &&
               cross_encoder_load(at(folder, "precise"), &back, NULL) == MEDLEY_OK,
           "saved and loaded");
        float *again = predict(back, shop.n_examples);
        ok(back->precision == (enum precision)p && same(got, again, n),
           "the folder says in which precision it predicts");
        cross_encoder_free(back);
        mem_free(again);
        mem_free(got);
    }
    mem_free(unpacked);
}

/* Training with a number of threads. */
static void test_threads(const struct cross_encoder *m)
{
    for (unsigned threads = 1; threads <= 4; threads += 3) {
        pool_set_threads(threads);
        struct cross_encoder *again = trained(&tiny, shop.n_examples);
        ok(same_params(m, again), "%u threads train the same bits", threads);
        cross_encoder_free(again);
    }
    pool_set_threads(0);
    struct lm_options o = tiny;
    o.seed++;
    struct cross_encoder *other = trained(&o, shop.n_examples);
    ok(!same_params(m, other), "another seed trains others");
    cross_encoder_free(other);
}

static void test_embed(const struct cross_encoder *m)
{
    enum { N = 40 };
    struct str texts[N], locales[N];
    size_t width = cross_encoder_width(m), differ = 0;
    float *all = mem_alloc(N, width * sizeof *all), *one = mem_alloc(1, width * sizeof *one);
    double worst = 0;
    for (size_t i = 0; i < N; i++) {
        texts[i] = column_at(&shop.title, i);
        locales[i] = str_of("us");
    }
    texts[3] = str_of("");
    ok(cross_encoder_embed(m, locales, texts, N, NULL, all, NULL) == MEDLEY_OK,
       "texts embedded");
    for (size_t i = 0; i < N; i++) {
        double norm = 0;
        for (size_t j = 0; j < width; j++)
            norm += (double)all[i * width + j] * (double)all[i * width + j];
        worst = fmax(worst, fabs(norm - 1));
        cross_encoder_embed(m, locales + i, texts + i, 1, NULL, one, NULL);
        differ += !same(one, all + i * width, width);
    }
    ok(worst < 1e-5 && differ == 0, "each has length 1 and the same bits alone");
    mem_free(all);
    mem_free(one);
}

/* ---- files ---- */

static void test_files(const struct cross_encoder *m)
{
    struct cross_encoder *back = NULL;
    medley_error err;
    size_t n = 50 * shop.n_classes;
    ok(cross_encoder_save(m, at(folder, "saved/deep"), &err) == MEDLEY_OK, "saved");
    ok(cross_encoder_load(at(folder, "saved/deep"), &back, &err) == MEDLEY_OK, "loaded");
    float *a = predict(m, 50), *b = predict(back, 50);
    ok(same(a, b, n), "predictions are the same bits");
    ok(cross_encoder_classes(back) == shop.n_classes && cross_encoder_width(back) == 32 &&
           cross_encoder_memory(back) > 4 * 32 * 700,
       "and so are classes and sizes");
    ok(cross_encoder_save(back, at(folder, "again"), &err) == MEDLEY_OK, "saved again");
    static const char *const files[] = {"config.json", "medley.json", "model.safetensors",
                                        "tokenizer.json", "vocab.txt"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct hash128 x = {0, 0}, y = {0, 0};
        char first[64], second[64];
        snprintf(first, sizeof first, "saved/deep/%s", files[i]);
        snprintf(second, sizeof second, "again/%s", files[i]);
        bool read = hash_file(at(folder, first), &x, &err) == MEDLEY_OK &&
                    hash_file(at(folder, second), &y, &err) == MEDLEY_OK;
        ok(read && x.low == y.low && x.high == y.high, "%s is the same", files[i]);
    }
    mem_free(a);
    mem_free(b);
    cross_encoder_free(back);
}

/* A saved model as a pretrained one, of which the first layer is kept. */
static void test_pretrained(void)
{
    struct lm_options o = tiny;
    o.layers = 3;
    struct cross_encoder *deep = new_model(&o), *cut = NULL;
    medley_error err;
    cross_encoder_save(deep, at(folder, "deep"), NULL);
    const char *path = at(folder, "deep");
    o = (struct lm_options){.pretrained = path, .layers = 1, .max_tokens = 40, .seed = 9};
    ok(cross_encoder_new(&o, &shop, &cut, &err) == MEDLEY_OK,
       "a saved model serves as pretrained");
    size_t compared = 0, differ = 0;
    for (size_t i = 0; i < cut->params.count; i++) {
        const struct param *p = &cut->params.items[i];
        param_id id = params_find(&deep->params, p->name);
        compared++;
        differ += id == PARAM_NONE || !same(cut->params.values + p->offset,
                                            params_value(&deep->params, id), p->rows * p->cols);
    }
    ok(compared == 25 && differ == 0, "its first layer is kept as it was (%zu parameters)",
       compared);
    o.layers = 4;
    struct cross_encoder *none = NULL;
    ok(cross_encoder_new(&o, &shop, &none, &err) == MEDLEY_EINVAL && !none, "%s", err.message);
    o.layers = 1;
    o.max_tokens = 129;
    ok(cross_encoder_new(&o, &shop, &none, &err) == MEDLEY_EINVAL && !none, "%s", err.message);
    cross_encoder_free(deep);
    cross_encoder_free(cut);
}

/* One byte changed, or the end missing, in each file of a saved model: an error or a model,
 * never a crash. */
static void test_damage(const struct cross_encoder *m)
{
    static const char *const files[] = {"config.json", "medley.json", "tokenizer.json",
                                        "model.safetensors"};
    size_t refused = 0, tried = 0;
    for (size_t f = 0; f < sizeof files / sizeof *files; f++)
        for (size_t trial = 0; trial < 12; trial++) {
            char name[64], *bytes = NULL;
            size_t n;
            snprintf(name, sizeof name, "damaged/%s", files[f]);
            cross_encoder_save(m, at(folder, "damaged"), NULL);
            file_read(at(folder, name), 1 << 26, &bytes, &n, NULL);
            size_t where = (size_t)(mix64(5, f, trial) % (n < 2000 ? n : 2000));
            if (trial % 3 == 0)
                n = where;
            else
                bytes[where] ^= (char)(1 << trial % 8);
            put_bytes(folder, name, bytes, n);
            struct cross_encoder *back = NULL;
            medley_error err;
            medley_status st = cross_encoder_load(at(folder, "damaged"), &back, &err);
            tried++;
            refused += st != MEDLEY_OK;
            if ((st == MEDLEY_OK) != (back != NULL))
                abort();
            cross_encoder_free(back);
            mem_free(bytes);
        }
    ok(refused >= 20, "%zu of %zu damaged models are refused", refused, tried);
    struct cross_encoder *back = NULL;
    medley_error err;
    ok(cross_encoder_load(at(folder, "nothing"), &back, &err) == MEDLEY_ENOTFOUND && !back,
       "%s", err.message);
}

/* ---- interruption ---- */

/* Interrupted again and again, in a new process each time as far as the model is concerned. */
static void test_resume(unsigned patience)
{
    struct lm_options o = tiny;
    o.epochs = 3;
    o.patience = patience;
    o.freeze_embeddings = patience > 0;
    struct cross_encoder *whole = trained(&o, shop.n_examples), *m = NULL;
    const char *checkpoint = at(folder, "checkpoint");
    struct stop stop = {16 * 5};
    struct progress_sink sink = {.step = interrupt_at, .context = &stop};
    medley_status st;
    medley_error err;
    int stops = 0;
    progress_install(&sink);
    do {
        cross_encoder_free(m);
        interrupt_clear();
        m = new_model(&o);
        st = cross_encoder_train(m, &shop, rows, shop.n_examples, checkpoint, NULL, &err);
        stops += st == MEDLEY_EINTERRUPTED;
        if (st == MEDLEY_EINTERRUPTED && !file_exists(checkpoint))
            abort();
    } while (st == MEDLEY_EINTERRUPTED && stops < 100);
    progress_install(NULL);
    interrupt_clear();
    ok(st == MEDLEY_OK && stops > 3, "finished after %d interruptions, patience %u", stops,
       patience);
    ok(same_params(m, whole), "in the same bits as an uninterrupted run");
    ok(!file_exists(checkpoint), "the checkpoint is gone");
    cross_encoder_free(m);
    cross_encoder_free(whole);
}

/* A checkpoint of other rows, or one that is damaged, is left alone. */
static void test_foreign_checkpoint(void)
{
    const char *checkpoint = at(folder, "foreign");
    struct cross_encoder *whole = trained(&tiny, 100), *m = new_model(&tiny);
    struct stop stop = {16};
    struct progress_sink sink = {.step = interrupt_at, .context = &stop};
    progress_install(&sink);
    ok(cross_encoder_train(m, &shop, rows, 200, checkpoint, NULL, NULL) == MEDLEY_EINTERRUPTED,
       "interrupted");
    progress_install(NULL);
    interrupt_clear();
    char *bytes = NULL;
    size_t n;
    file_read(checkpoint, 1 << 26, &bytes, &n, NULL);
    for (int damaged = 0; damaged <= 1; damaged++) {
        cross_encoder_free(m);
        m = new_model(&tiny);
        put_bytes(folder, "foreign", bytes, damaged ? n / 2 : n);
        ok(cross_encoder_train(m, &shop, rows, 100, checkpoint, NULL, NULL) == MEDLEY_OK &&
               same_params(m, whole),
           "a %s checkpoint changes nothing", damaged ? "damaged" : "foreign");
    }
    mem_free(bytes);
    cross_encoder_free(m);
    cross_encoder_free(whole);
}

/* ---- families ---- */

#define GOLDEN "../shared/data/golden/lm/"

static void copy_file(const char *from, const char *to, const char *name)
{
    char *data = NULL;
    size_t n = 0;
    medley_error err;
    if (file_read(from, (size_t)1 << 26, &data, &n, &err)) {
        printf("Bail out! %s\n", err.message);
        exit(1);
    }
    put_bytes(to, name, data, n);
    mem_free(data);
}

/* A checkpoint of each family, with a tokenizer that frames pairs its own way, learns, saves,
 * loads and predicts the same. */
static void test_families(void)
{
    static const char *const names[] = {"roberta",    "mpnet",   "deberta-v3",
                                        "modernbert", "electra", "bigbird-full"};
    if (!file_exists(GOLDEN "bert/config.json")) {
        skip("no golden checkpoints here");
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char from[256], here[512], saved[512];
        struct cross_encoder *m = NULL, *again = NULL;
        medley_error err = {0};
        snprintf(here, sizeof here, "%s/family-%s", folder, names[i]);
        snprintf(saved, sizeof saved, "%s/saved-%s", folder, names[i]);
        make_folders(here, &err);
        snprintf(from, sizeof from, GOLDEN "%s/config.json", names[i]);
        copy_file(from, here, "config.json");
        snprintf(from, sizeof from, GOLDEN "%s/model.safetensors", names[i]);
        copy_file(from, here, "model.safetensors");
        copy_file("tests/data/tokenizers/bpe-suffix.json", here, "tokenizer.json");
        struct lm_options o = {.pretrained = here,
                               .max_tokens = 40,
                               .epochs = 1,
                               .seed = 3,
                               .learning_rate = 1e-3};
        medley_status st = cross_encoder_new(&o, &shop, &m, &err);
        if (!ok(st == MEDLEY_OK, "%s: a pretrained folder loads%s%s", names[i], st ? ": " : "",
                st ? err.message : ""))
            continue;
        float *before = predict(m, 40);
        st = cross_encoder_train(m, &shop, rows, 120, NULL, NULL, &err);
        float *after = predict(m, 40);
        ok(st == MEDLEY_OK && !same(before, after, 40), "%s: learns", names[i]);
        st = cross_encoder_save(m, saved, &err);
        if (!st)
            st = cross_encoder_load(saved, &again, &err);
        if (ok(st == MEDLEY_OK, "%s: saves and loads%s%s", names[i], st ? ": " : "",
               st ? err.message : "")) {
            float *loaded = predict(again, 40);
            ok(same(after, loaded, 40), "%s: and predicts the same", names[i]);
            mem_free(loaded);
        }
        mem_free(before);
        mem_free(after);
        cross_encoder_free(m);
        cross_encoder_free(again);
    }
}

/* ---- texts ---- */

static const struct lm_inputs *encode(const struct cross_encoder *m, const struct pair_text *p)
{
    static struct lm_inputs in;
    lm_inputs_deinit(&in);
    lm_inputs_init(&in);
    lm_inputs_add_pair(&in, m, p);
    return &in;
}

static size_t count_id(const struct lm_inputs *in, int32_t id)
{
    size_t n = 0;
    for (size_t i = 0; i < in->n_tokens; i++)
        n += in->ids[i] == id;
    return n;
}

static size_t count_type(const struct lm_inputs *in, int32_t type)
{
    size_t n = 0;
    for (size_t i = 0; i < in->n_tokens; i++)
        n += in->types[i] == type;
    return n;
}

static void test_inputs(const struct cross_encoder *m)
{
    struct tokenizer_specials s = tokenizer_specials(m->tokenizer);
    struct pair_text p = {.locale = str_of("us")};
    const struct lm_inputs *in = encode(m, &p);
    ok(in->n == 1 && in->n_tokens == 3 && in->ids[0] == s.cls && in->ids[1] == s.sep &&
           in->ids[2] == s.sep && in->types[2] == 1 && in->positions[2] == 2,
       "a pair of empty texts is [CLS] [SEP] [SEP]");
    p.product.title = str_of("red lamp");
    p.product.color = str_of("red");
    in = encode(m, &p);
    ok(count_id(in, m->marker[FIELD_TITLE]) == 1 && count_id(in, m->marker[FIELD_COLOR]) == 1 &&
           count_id(in, m->marker[FIELD_BRAND]) == 0 && m->marker[FIELD_TITLE] > 0,
       "fields that are there have their markers");
    static char many[400 * 6 + 1];
    for (int i = 0; i < 400; i++)
        memcpy(many + 6 * i, "a b c ", 6);
    p.product.title = str_of(many);
    p.query = str_of("red lamp");
    size_t title_only = 0;
    in = encode(m, &p);
    title_only = count_type(in, 1);
    ok(in->n_tokens == m->options.max_tokens && count_id(in, m->marker[FIELD_COLOR]) == 1,
       "a long title is cut, the rest is kept");
    p.query = str_of(many);
    in = encode(m, &p);
    ok(in->n_tokens == m->options.max_tokens && count_type(in, 1) < title_only &&
           count_type(in, 1) > m->options.max_tokens / 2 - 3,
       "a long query gets no more than half");
    p.product = (struct product_text){.title = str_of("lamp")};
    in = encode(m, &p);
    ok(in->n_tokens == m->options.max_tokens && count_type(in, 1) < 10,
       "unless the product leaves it more");
    lm_inputs_deinit((struct lm_inputs *)(uintptr_t)in);
}

static void test_odd_texts(const struct cross_encoder *m)
{
    enum { LONG = 100000, N = 6 };
    char *text = mem_alloc(LONG + 1, 1);
    for (size_t i = 0; i < LONG; i++)
        text[i] = "abcde fg<b>\xe3\x81\x82 "[i % 14];
    text[LONG] = 0;
    struct str big = {text, LONG}, locale = str_of("jp");
    struct str bytes = {"\xff\xfe\0\x01 lamp", 9};
    struct pair_text p[N] = {
        {.query = str_of(""), .locale = str_of("")},
        {.query = big, .locale = locale, .product = {.title = big, .brand = big, .color = big}},
        {.query = str_of("lamp"), .locale = locale, .product = {.title = big}},
        {.query = big, .locale = str_of("us"), .product = {.title = str_of("")}},
        {.query = bytes, .locale = str_of("es"), .product = {.title = bytes}},
        {.query = str_of("[SEP] [CLS] [TITLE]"), .locale = str_of("us")},
    };
    float out[N * MAX_CLASSES];
    size_t k = shop.n_classes;
    bool good = cross_encoder_predict(m, p, N, NULL, out, NULL) == MEDLEY_OK;
    for (size_t i = 0; good && i < N; i++) {
        double sum = 0;
        for (size_t c = 0; c < k; c++)
            sum += (double)out[i * k + c];
        good = fabs(sum - 1) < 1e-5;
    }
    ok(good, "empty, huge and broken texts have probabilities that sum to 1");
    ok(cross_encoder_predict(m, p, 0, NULL, NULL, NULL) == MEDLEY_OK, "so has nothing at all");
    mem_free(text);
}

/* Bullets and descriptions are cut to keywords, also after loading. */
static void test_keywords(void)
{
    struct lm_options o = tiny;
    o.fields = " query, title,description ,bullets";
    o.keyword_words = 6;
    struct cross_encoder *m = new_model(&o), *back = NULL;
    medley_error err;
    ok(cross_encoder_save(m, at(folder, "keywords"), &err) == MEDLEY_OK &&
           cross_encoder_load(at(folder, "keywords"), &back, &err) == MEDLEY_OK,
       "a model with keywords is saved and loaded");
    float *a = predict(m, 40), *b = predict(back, 40);
    ok(same(a, b, 40 * shop.n_classes), "and predicts the same bits");
    mem_free(a);
    mem_free(b);
    cross_encoder_free(m);
    cross_encoder_free(back);
}

static void test_refusals(void)
{
    static const char *const fields[] = {"title", "query", "query,titel", "query,title,title",
                                         ""};
    struct cross_encoder *m = NULL;
    medley_error err;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        struct lm_options o = tiny;
        o.fields = fields[i];
        ok(cross_encoder_new(&o, &shop, &m, &err) == MEDLEY_EINVAL && !m, "fields '%s': %s",
           fields[i], err.message);
    }
    struct lm_options o = tiny;
    o.head = "mean";
    ok(cross_encoder_new(&o, &shop, &m, &err) == MEDLEY_EINVAL && !m, "%s", err.message);
    o = tiny;
    o.precision = "int4";
    ok(cross_encoder_new(&o, &shop, &m, &err) == MEDLEY_EINVAL && !m, "%s", err.message);
    o = tiny;
    o.heads = 5;
    ok(cross_encoder_new(&o, &shop, &m, &err) == MEDLEY_EINVAL && !m, "%s", err.message);
    o = (struct lm_options){.pretrained = "/nowhere"};
    ok(cross_encoder_new(&o, &shop, &m, &err) == MEDLEY_ENOTFOUND && !m, "%s", err.message);
    m = new_model(&tiny);
    ok(cross_encoder_train(m, &shop, rows, 0, NULL, NULL, &err) == MEDLEY_EINVAL, "%s",
       err.message);
    cross_encoder_free(m);
}

/* ---- memory ---- */

/* Fails the n-th allocation for growing n: each time an error and no leak (address sanitizer).
 */
static void test_memory(const struct cross_encoder *m)
{
    size_t failures = 0, k = shop.n_classes;
    struct pair_text *pairs = pairs_of_shop();
    float *p = mem_alloc(30, k * sizeof *p);
    medley_error err;
    medley_status st = MEDLEY_ENOMEM;
    pool_set_threads(1);
    for (size_t n = 0; st && n < 2000; n++) {
        mem_fail_after(n);
        st = cross_encoder_predict(m, pairs, 30, NULL, p, &err);
        mem_fail_after(SIZE_MAX);
        failures += st == MEDLEY_ENOMEM;
    }
    ok(st == MEDLEY_OK && failures > 10, "predicting survives %zu failing allocations",
       failures);
    struct lm_options o = tiny;
    o.epochs = 1;
    struct cross_encoder *t = new_model(&o);
    st = MEDLEY_ENOMEM;
    failures = 0;
    for (size_t n = 0; st && n < 5000; n += 1 + n / 8) {
        mem_fail_after(n);
        st = cross_encoder_train(t, &shop, rows, 16, at(folder, "oom"), NULL, &err);
        mem_fail_after(SIZE_MAX);
        failures += st == MEDLEY_ENOMEM;
    }
    ok(st == MEDLEY_OK && failures > 10, "so does training (%zu)", failures);
    st = MEDLEY_ENOMEM;
    failures = 0;
    for (size_t n = 0; st && n < 5000; n += 1 + n / 8) {
        struct cross_encoder *back = NULL;
        mem_fail_after(n);
        st = cross_encoder_load(at(folder, "keywords"), &back, &err);
        mem_fail_after(SIZE_MAX);
        failures += st == MEDLEY_ENOMEM;
        cross_encoder_free(back);
    }
    ok(st == MEDLEY_OK && failures > 5, "and loading (%zu)", failures);
    pool_set_threads(0);
    cross_encoder_free(t);
    mem_free(p);
    mem_free(pairs);
}

int main(void)
{
    char own[64];
    snprintf(own, sizeof own, "%s", tap_folder());
    folder = own;
    make_shop();
    test_refusals();
    test_learning();
    test_head();
    test_early_stopping();
    test_frozen();
    struct cross_encoder *m = trained(&tiny, shop.n_examples);
    test_neighbours(m);
    test_precisions(m);
    test_shortcut(m);
    test_threads(m);
    test_embed(m);
    test_files(m);
    test_pretrained();
    test_families();
    test_damage(m);
    test_resume(0);
    test_resume(2);
    test_foreign_checkpoint();
    test_inputs(m);
    test_odd_texts(m);
    test_keywords();
    test_memory(m);
    cross_encoder_free(m);
    mem_free(rows);
    dataset_close(&shop);
    return tap_done();
}
