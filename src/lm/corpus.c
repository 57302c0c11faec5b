/* corpus.c: see corpus.h. */
#include "lm/corpus.h"

#include "base/error.h"
#include "base/memory.h"
#include "text/clean.h"

#include <string.h>

#define ALL_LOCALES SIZE_MAX

struct corpus {
    const struct dataset *d;
    const bool *known; /* [n_queries] */
    size_t locale;     /* ALL_LOCALES, or whose texts alone are wanted */
    size_t query, product;
    int field;
    struct strbuf cleaned;
};

bool *corpus_training_queries(const struct dataset *d)
{
    bool *known = mem_zalloc(d->n_queries, sizeof *known);
    for (size_t i = 0; known && i < d->n_examples; i++)
        known[d->example_query[i]] |= d->example_split[i] == SPLIT_TRAIN;
    return known;
}

static bool wanted(const struct corpus *c, size_t locale)
{
    return c->locale == ALL_LOCALES || c->locale == locale;
}

static bool next_raw(struct corpus *c, size_t *locale, struct str *text)
{
    const struct dataset *d = c->d;
    while (c->query < d->n_queries &&
           (!c->known[c->query] || !wanted(c, d->query_locale[c->query])))
        c->query++;
    if (c->query < d->n_queries) {
        *locale = d->query_locale[c->query];
        *text = column_at(&d->query_text, c->query++);
        return true;
    }
    while (c->product < d->n_products && !wanted(c, d->product_locale[c->product]))
        c->product++;
    if (c->product >= d->n_products)
        return false;
    struct product_text p = dataset_product(d, (uint32_t)c->product);
    const struct str fields[] = {p.title, p.brand, p.color, p.bullets, p.description};
    *locale = d->product_locale[c->product];
    *text = fields[c->field++];
    if (c->field == sizeof fields / sizeof *fields) {
        c->field = 0;
        c->product++;
    }
    return true;
}

static bool next_text(void *context, struct str *text)
{
    struct corpus *c = context;
    size_t locale;
    struct str raw;
    if (!next_raw(c, &locale, &raw))
        return false;
    sb_clear(&c->cleaned);
    text_clean(str_of(c->d->locale_names[locale]), raw, &c->cleaned);
    *text = sb_str(&c->cleaned);
    return true;
}

static medley_status find_locale(const struct dataset *d, const char *name, size_t *out,
                                 medley_error *err)
{
    struct strbuf known;
    *out = ALL_LOCALES;
    for (size_t i = 0; name && i < d->n_locales; i++)
        if (strcmp(d->locale_names[i], name) == 0)
            *out = i;
    if (!name || *out != ALL_LOCALES)
        return MEDLEY_OK;
    sb_init(&known);
    for (size_t i = 0; i < d->n_locales; i++)
        sb_addf(&known, "%s%s", i ? ", " : "", d->locale_names[i]);
    medley_status st = fail(err, MEDLEY_ENOTFOUND, "no text is of locale '%s'; there are: %.*s",
                            name, (int)known.n, known.s);
    sb_deinit(&known);
    return st;
}

medley_status corpus_train_tokenizer(const struct dataset *d, const char *locale,
                                     const struct tokenizer_training *options,
                                     struct tokenizer **out, medley_error *err)
{
    struct corpus c = {.d = d};
    medley_status st = find_locale(d, locale, &c.locale, err);
    if (st)
        return st;
    bool *known = corpus_training_queries(d);
    if (!known)
        return fail_memory(err, "queries");
    c.known = known;
    sb_init(&c.cleaned);
    st = tokenizer_train(options, next_text, &c, out, err);
    if (!st && c.cleaned.failed) {
        st = fail_memory(err, "texts for the vocabulary");
        tokenizer_free(*out);
        *out = NULL;
    }
    sb_deinit(&c.cleaned);
    mem_free(known);
    return st;
}
