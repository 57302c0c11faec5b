/* test_lm_public.c: medley/cross_encoder.h gives what the model itself gives, and names what is
 * wrong with a folder or with text. */
#include "tests/lm_shop.h"

#include "base/file.h"
#include "medley/cross_encoder.h"
#include "medley/run.h"

static medley_text text_of(struct str s)
{
    return (medley_text){s.s, s.n};
}

static medley_pair *public_pairs(void)
{
    medley_pair *pairs = mem_zalloc(shop.n_examples, sizeof *pairs);
    struct pair_text *texts = pairs_of_shop();
    for (size_t i = 0; i < shop.n_examples; i++) {
        const struct product_text *t = &texts[i].product;
        pairs[i].query = text_of(texts[i].query);
        pairs[i].locale = text_of(texts[i].locale);
        pairs[i].product.title = text_of(t->title);
        pairs[i].product.description = text_of(t->description);
        pairs[i].product.bullets = text_of(t->bullets);
        pairs[i].product.brand = text_of(t->brand);
        pairs[i].product.color = text_of(t->color);
        pairs[i].product.category = text_of(t->category);
    }
    mem_free(texts);
    return pairs;
}

static void test_same(const struct cross_encoder *m, const medley_cross_encoder *open)
{
    size_t n = shop.n_examples, k = medley_cross_encoder_classes(open);
    medley_pair *pairs = public_pairs();
    float *p = mem_alloc(n, k * sizeof *p), *expected = predict(m, n), *one = mem_alloc(1, 64);
    medley_error err;
    ok(k == shop.n_classes && medley_cross_encoder_tokens(open) == 40, "K classes, 40 tokens");
    is_text(medley_cross_encoder_class(open, 0), "E", "classes have names");
    ok(!medley_cross_encoder_class(open, k), "and no more than there are");
    ok(medley_cross_encoder_predict(open, pairs, n, p, &err) == MEDLEY_OK &&
           same(p, expected, n * k),
       "%zu pairs: the bits that the model gives", n);
    ok(medley_cross_encoder_predict(open, pairs + 3, 1, one, &err) == MEDLEY_OK &&
           same(one, expected + 3 * k, k),
       "a pair alone: the same bits");
    ok(medley_cross_encoder_predict(open, NULL, 0, NULL, &err) == MEDLEY_OK, "no pairs");
    ok(medley_cross_encoder_predict(open, &(medley_pair){.query = {NULL, 0}}, 1, one, &err) ==
               MEDLEY_OK &&
           fabsf(one[0] + one[1] + one[2] + one[3] - 1) < 1e-5f,
       "empty texts");
    mem_free(p);
    mem_free(expected);
    mem_free(one);
    mem_free(pairs);
}

static void test_refused(const medley_cross_encoder *open)
{
    medley_error err;
    float p[2 * MEDLEY_MAX_CLASSES];
    medley_pair pairs[2] = {{.query = {"ok", 2}}, {.query = {"ok", 2}}};
    pairs[1].product.brand = (medley_text){"ab\xff", 3};
    ok(medley_cross_encoder_predict(open, pairs, 2, p, &err) == MEDLEY_EINVAL, "not UTF-8");
    is_text(err.message, "brand of pair 1 is not UTF-8 (byte 2)", "named");
    pairs[1].product.brand.n = 2;
    medley_interrupt(true);
    ok(medley_cross_encoder_predict(open, pairs, 2, p, &err) == MEDLEY_EINTERRUPTED,
       "interrupted");
    medley_interrupt(false);
    ok(medley_cross_encoder_predict(open, pairs, 2, p, &err) == MEDLEY_OK, "and goes on");
    for (size_t i = 0; i < 3; i++) {
        mem_fail_after(i);
        medley_status st = medley_cross_encoder_predict(open, pairs, 2, p, &err);
        mem_fail_after(SIZE_MAX);
        ok(st == MEDLEY_ENOMEM || (i > 0 && st == MEDLEY_OK), "allocation %zu fails", i);
    }
}

static void test_folders(void)
{
    medley_cross_encoder *open = NULL;
    medley_error err;
    ok(medley_cross_encoder_open(at(folder, "nowhere"), &open, &err) == MEDLEY_ENOTFOUND &&
           !open && strstr(err.message, "nowhere"),
       "a folder that is not there: %s", err.message);
    ok(medley_cross_encoder_open(at(folder, "shop"), &open, &err) == MEDLEY_ENOTFOUND && !open,
       "one that holds no model: %s", err.message);
    char path[256];
    snprintf(path, sizeof path, "%s/shop/config.json", folder);
    ok(file_write(path, "{}", 2, &err) == MEDLEY_OK &&
           medley_cross_encoder_open(at(folder, "shop"), &open, &err) == MEDLEY_EUNSUPPORTED &&
           strstr(err.message, "only classifiers"),
       "a checkpoint that is no classifier: %s", err.message);
    medley_cross_encoder_close(NULL);
}

/* ---- a classifier of others ---- */

/* Saved by us, but with nothing of ours in its folder. */
static const char *stripped(const struct cross_encoder *m, const char *name)
{
    static char path[256];
    medley_error err;
    snprintf(path, sizeof path, "%s/%s/medley.json", folder, name);
    if (cross_encoder_save(m, at(folder, name), &err) || remove(path)) {
        printf("Bail out! %s\n", err.message);
        exit(1);
    }
    return at(folder, name);
}

/* [CLS] query [SEP] title [SEP] of texts as they are, each cut to its share. */
static bool add_by_hand(struct lm_inputs *in, const struct cross_encoder *m, const char *query,
                        const char *title, size_t query_most, size_t title_most)
{
    struct tokens a = {0}, b = {0};
    size_t n, at_token = 1;
    const struct tokenizer_slot *slots = tokenizer_frame(m->tokenizer, true, &n);
    tokenizer_encode(m->tokenizer, str_of(query), &a);
    tokenizer_encode(m->tokenizer, str_of(title), &b);
    a.n = a.n < query_most ? a.n : query_most;
    b.n = b.n < title_most ? b.n : title_most;
    lm_inputs_add_pair(in, m, &(struct pair_text){.locale = str_of("us")});
    bool framed =
        n == 5 && slots[0].id >= 0 && in->offsets[in->n] - in->offsets[in->n - 1] == 3;
    lm_inputs_insert(in, at_token, a.ids, a.n, 0);
    lm_inputs_insert(in, at_token + a.n + 1, b.ids, b.n, 1);
    tokens_deinit(&a);
    tokens_deinit(&b);
    return framed;
}

static medley_pair pair_of(const char *query, const char *title)
{
    return (medley_pair){.query = {query, strlen(query)},
                         .locale = {"us", 2},
                         .product = {.title = {title, strlen(title)}, .brand = {"Acme", 4}}};
}

static void test_plain(const struct cross_encoder *m)
{
#define WORDS "a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e" /* 31 */
    /* what cleaning would change: markup, an entity, a full-width letter */
    static const char odd[] = "usb <b>cable</b> &amp; \xef\xbd\x81";
    static const struct {
        const char *query, *title;
        size_t query_most, title_most; /* of 40 - 3 tokens, as Hugging Face's tokenizers cut */
    } pairs[] = {
        {"usb cable", "Red cable, 2 m", 37, 37},
        {odd, odd, 37, 37},
        {WORDS, WORDS, 18, 19},
        {WORDS " a", WORDS, 19, 18},
        {WORDS, WORDS " a", 18, 19},
        {WORDS WORDS, "", 37, 0},
        {"", WORDS WORDS, 0, 37},
        {"a b", WORDS WORDS, 2, 35},
        {WORDS WORDS, "a b c", 34, 3},
    };
    enum { N = sizeof pairs / sizeof *pairs };
    medley_cross_encoder *open = NULL;
    medley_error err;
    medley_pair asked[N];
    struct lm_inputs in;
    size_t k = shop.n_classes;
    float *p = mem_alloc(N, k * sizeof *p), *expected = mem_alloc(N, k * sizeof *p);
    if (medley_cross_encoder_open(stripped(m, "plain"), &open, &err)) {
        printf("Bail out! %s\n", err.message);
        exit(1);
    }
    size_t tokens = medley_cross_encoder_tokens(open);
    ok(medley_cross_encoder_classes(open) == k && tokens == m->encoder.config.positions,
       "labels and length are those of config.json: %zu tokens", tokens);
    is_text(medley_cross_encoder_class(open, 2), "C", "labels have names");
    medley_cross_encoder_close(open);

    char path[256];
    static const char settings[] = "{\"model_max_length\": 40}";
    snprintf(path, sizeof path, "%s/plain/tokenizer_config.json", folder);
    ok(file_write(path, settings, sizeof settings - 1, &err) == MEDLEY_OK, "a shorter length");
    lm_inputs_init(&in);
    bool good = medley_cross_encoder_open(at(folder, "plain"), &open, &err) == MEDLEY_OK &&
                medley_cross_encoder_tokens(open) == 40;
    ok(good, "model_max_length of tokenizer_config.json");
    for (size_t i = 0; i < N; i++) {
        asked[i] = pair_of(pairs[i].query, pairs[i].title);
        good = good && add_by_hand(&in, m, pairs[i].query, pairs[i].title, pairs[i].query_most,
                                   pairs[i].title_most);
    }
    good = good && medley_cross_encoder_predict(open, asked, N, p, &err) == MEDLEY_OK &&
           lm_predict_inputs(m, &in, expected, &err) == MEDLEY_OK;
    for (size_t i = 0; i < N; i++)
        ok(good && same(p + i * k, expected + i * k, k),
           "pair %zu is read as it is, and cut where it is too long", i);
    lm_inputs_deinit(&in);
    medley_cross_encoder_close(open);
    mem_free(p);
    mem_free(expected);
}

int main(void)
{
    char own[64];
    snprintf(own, sizeof own, "%s", tap_folder());
    folder = own;
    make_shop();
    struct cross_encoder *m = trained(&tiny, 200);
    medley_cross_encoder *open = NULL;
    medley_error err;
    if (cross_encoder_save(m, at(folder, "model"), &err) ||
        medley_cross_encoder_open(at(folder, "model"), &open, &err)) {
        printf("Bail out! %s\n", err.message);
        return 1;
    }
    test_same(m, open);
    test_refused(open);
    test_folders();
    test_plain(m);
    medley_cross_encoder_close(open);
    cross_encoder_free(m);
    mem_free(rows);
    dataset_close(&shop);
    return tap_done();
}
