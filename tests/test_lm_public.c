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
           strstr(err.message, "not fine-tuned"),
       "a checkpoint of somebody else's: %s", err.message);
    medley_cross_encoder_close(NULL);
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
    medley_cross_encoder_close(open);
    cross_encoder_free(m);
    mem_free(rows);
    dataset_close(&shop);
    return tap_done();
}
