/* features.c: node features from text; see features.h. */
#include "ensemble/features.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "base/rng.h"
#include "text/clean.h"

#include <math.h>
#include <string.h>

enum { HASHED_WIDTH = 256 };

medley_status feature_encoder_open(const char *spec, const struct dataset *d,
                                   struct feature_encoder *out, medley_error *err)
{
    struct feature_encoder e = {NULL, HASHED_WIDTH};
    if (strcmp(spec, "hashed") != 0) {
        struct lm_options options = {.pretrained = spec};
        medley_status st = cross_encoder_new(&options, d, &e.encoder, err);
        if (st)
            return st;
        e.width = cross_encoder_width(e.encoder);
    }
    *out = e;
    return MEDLEY_OK;
}

void feature_encoder_close(struct feature_encoder *e)
{
    cross_encoder_free(e->encoder);
    e->encoder = NULL;
}

/* Signed feature hashing (Weinberger et al. 2009): each word adds +-1 in one of width places.
 */
static void add_word(void *context, struct str word)
{
    float *row = context;
    struct hash128 h = hash_bytes(word.s, word.n, (struct hash128){0, 0});
    row[h.low % HASHED_WIDTH] += h.high & 1 ? 1.0f : -1.0f;
}

static void hash_row(struct str locale, struct str text, float *row)
{
    memset(row, 0, HASHED_WIDTH * sizeof *row);
    text_words(locale, text, add_word, row);
    double sum = 0;
    for (size_t i = 0; i < HASHED_WIDTH; i++)
        sum += (double)row[i] * row[i];
    float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
    for (size_t i = 0; i < HASHED_WIDTH; i++)
        row[i] *= scale;
}

struct hashing {
    const struct str *locales, *texts;
    float *out;
};

static void hash_rows(void *context, size_t begin, size_t end, unsigned worker)
{
    struct hashing *h = context;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        hash_row(h->locales[i], h->texts[i], h->out + i * HASHED_WIDTH);
}

medley_status feature_encoder_run(const struct feature_encoder *e, const struct str *locales,
                                  const struct str *texts, size_t n, const char *task,
                                  float *out, medley_error *err)
{
    if (e->encoder)
        return cross_encoder_embed(e->encoder, locales, texts, n, task, out, err);
    parallel_for(n, 64, hash_rows, &(struct hashing){locales, texts, out});
    return MEDLEY_OK;
}

void product_feature_text(const struct product_text *p, struct strbuf *out)
{
    bool has_brand = p->brand.n && p->title.n >= p->brand.n &&
                     memmem(p->title.s, p->title.n, p->brand.s, p->brand.n);
    if (p->brand.n && !has_brand) {
        sb_add(out, p->brand.s, p->brand.n);
        sb_addc(out, ' ');
    }
    sb_add(out, p->title.s, p->title.n);
}

/* Texts of all nodes: queries borrowed from the dataset, products built into `arena_text`. */
static medley_status node_texts(const struct dataset *d, struct str *locales, struct str *texts,
                                struct strbuf *built, medley_error *err)
{
    size_t *offset = mem_alloc(d->n_products + 1, sizeof *offset);
    if (!offset)
        return fail_memory(err, "product texts");
    for (size_t q = 0; q < d->n_queries; q++) {
        locales[q] = str_of(d->locale_names[d->query_locale[q]]);
        texts[q] = column_at(&d->query_text, q);
    }
    for (uint32_t p = 0; p < d->n_products; p++) {
        struct product_text text = dataset_product(d, p);
        offset[p] = built->n;
        product_feature_text(&text, built);
        locales[d->n_queries + p] = str_of(d->locale_names[d->product_locale[p]]);
    }
    offset[d->n_products] = built->n;
    for (size_t p = 0; p < d->n_products && !built->failed; p++)
        texts[d->n_queries + p] = (struct str){built->s + offset[p], offset[p + 1] - offset[p]};
    mem_free(offset);
    return built->failed ? fail_memory(err, "product texts") : MEDLEY_OK;
}

medley_status features_write(const struct feature_encoder *e, const struct dataset *d,
                             const char *path, medley_error *err)
{
    size_t n = d->n_queries + d->n_products;
    struct strbuf built;
    sb_init(&built);
    struct str *locales = mem_alloc(n, sizeof *locales), *texts = mem_alloc(n, sizeof *texts);
    float *rows = mem_alloc(n, e->width * sizeof *rows);
    medley_status st = locales && texts && rows ? node_texts(d, locales, texts, &built, err)
                                                : fail_memory(err, "node features");
    if (!st)
        st = feature_encoder_run(e, locales, texts, n, "text features", rows, err);
    if (!st)
        st = npy_write(path, NPY_F32, n, e->width, rows, err);
    sb_deinit(&built);
    mem_free(locales);
    mem_free(texts);
    mem_free(rows);
    return st;
}
