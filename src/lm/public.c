/* public.c: what medley/cross_encoder.h promises, over cross_encoder.h: texts from outside are
 * checked here, and nowhere below. */
#include "medley/cross_encoder.h"

#include "base/error.h"
#include "base/memory.h"
#include "lm/cross_encoder_model.h"

struct medley_cross_encoder {
    struct cross_encoder *model;
};

medley_status medley_cross_encoder_open(const char *folder, medley_cross_encoder **out,
                                        medley_error *err)
{
    medley_cross_encoder *m = mem_zalloc(1, sizeof *m);
    if (!m)
        return fail_memory(err, "a language model");
    medley_status st = cross_encoder_open(folder, &m->model, err);
    if (st)
        mem_free(m);
    else
        *out = m;
    return st;
}

void medley_cross_encoder_close(medley_cross_encoder *m)
{
    if (m)
        cross_encoder_free(m->model);
    mem_free(m);
}

size_t medley_cross_encoder_classes(const medley_cross_encoder *m)
{
    return m->model->n_classes;
}

const char *medley_cross_encoder_class(const medley_cross_encoder *m, size_t c)
{
    return c < m->model->n_classes ? m->model->class_names[c] : NULL;
}

size_t medley_cross_encoder_tokens(const medley_cross_encoder *m)
{
    return m->model->options.max_tokens;
}

static struct str text_of(medley_text t)
{
    return (struct str){t.s, t.n};
}

static struct pair_text borrow(const medley_pair *p)
{
    const medley_product *t = &p->product;
    return (struct pair_text){
        .query = text_of(p->query),
        .locale = text_of(p->locale),
        .product = {.title = text_of(t->title),
                    .description = text_of(t->description),
                    .bullets = text_of(t->bullets),
                    .brand = text_of(t->brand),
                    .color = text_of(t->color),
                    .category = text_of(t->category)},
    };
}

static medley_status check(const struct pair_text *p, size_t i, medley_error *err)
{
    const struct {
        const char *name;
        struct str text;
    } fields[] = {
        {"query", p->query},
        {"locale", p->locale},
        {"title", p->product.title},
        {"description", p->product.description},
        {"bullets", p->product.bullets},
        {"brand", p->product.brand},
        {"color", p->product.color},
        {"category", p->product.category},
    };
    size_t bad;
    for (size_t f = 0; f < sizeof fields / sizeof *fields; f++)
        if (!utf8_valid(fields[f].text, &bad))
            return fail(err, MEDLEY_EINVAL, "%s of pair %zu is not UTF-8 (byte %zu)",
                        fields[f].name, i, bad);
    return MEDLEY_OK;
}

medley_status medley_cross_encoder_predict(const medley_cross_encoder *m,
                                           const medley_pair *pairs, size_t n,
                                           float *probabilities, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    struct pair_text *texts = mem_alloc(n ? n : 1, sizeof *texts);
    if (!texts)
        return fail_memory(err, "pairs");
    for (size_t i = 0; i < n && !st; i++) {
        texts[i] = borrow(&pairs[i]);
        st = check(&texts[i], i, err);
    }
    if (!st)
        st = cross_encoder_predict(m->model, texts, n, NULL, probabilities, err);
    mem_free(texts);
    return st;
}
