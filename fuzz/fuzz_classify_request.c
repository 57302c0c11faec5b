/* fuzz_classify_request.c: any bytes as the body of POST /v1/classify: refused with a message,
 * or within the promised limits; then also through the cache's keys. */
#include "serve/classify_request.h"
#include "cache/label_key.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(const struct classify_request *r)
{
    if (r->query.n == 0 || r->query.n > CLASSIFY_MAX_TEXT || r->locale.n == 0 ||
        r->locale.n > CLASSIFY_MAX_LOCALE || r->n_products == 0 ||
        r->n_products > CLASSIFY_MAX_PRODUCTS)
        abort();
    for (size_t i = 0; i < r->n_products; i++) {
        const medley_product *p = &r->products[i];
        if ((!p->id.n && !p->has_text) || (p->has_text && !p->title.n) ||
            p->id.n > CLASSIFY_MAX_ID || p->description.n > CLASSIFY_MAX_TEXT)
            abort();
    }
}

static void check_predictions(const struct classify_request *r)
{
    const struct predictions *p = &r->predictions;
    if (!r->said_ends)
        return;
    for (size_t i = 0; i < p->n_items; i++) {
        const struct prediction *item = &p->items[i];
        float sum = 0;
        if (item->name >= p->n_names || item->n == 0 || item->n > MEDLEY_MAX_CLASSES)
            abort();
        for (size_t k = 0; k < item->n; k++)
            sum += p->values[item->values + k];
        if (!(sum > 0.99f && sum < 1.01f))
            abort();
    }
    if (r->cache != CACHE_OFF || r->said_ends[r->n_products - 1] != p->n_items)
        abort();
}

static void make_keys(const struct classify_request *r)
{
    struct strbuf folded, key;
    sb_init(&folded);
    sb_init(&key);
    if (label_key_fold((struct str){r->query.s, r->query.n}, &folded, NULL) != MEDLEY_OK)
        abort(); /* what was parsed is UTF-8 */
    label_key_shared(&key, "bundle", 0, STR("us"), sb_str(&folded));
    for (size_t i = 0; i < r->n_products; i++)
        label_key_own(&key, &r->products[i], i);
    sb_deinit(&folded);
    sb_deinit(&key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct classify_request r = {0};
    medley_error err = {0};
    if (classify_request_parse((const char *)data, n, &r, &err) == MEDLEY_OK) {
        check(&r);
        check_predictions(&r);
        make_keys(&r);
        classify_request_deinit(&r);
    } else if (err.message[0] == 0) {
        abort();
    }
    if (products_request_parse((const char *)data, n, &r, &err) == MEDLEY_OK) {
        for (size_t i = 0; i < r.n_products; i++)
            if (!r.products[i].has_text || r.products[i].id.n == 0)
                abort();
        classify_request_deinit(&r);
    }
    return 0;
}
