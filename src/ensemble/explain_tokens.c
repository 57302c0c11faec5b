/* explain_tokens.c: the words that moved the language model that mattered most; see explain.h
 * and lm/attribute.h. Pieces of one word are told together: their shares add up. */
#include "ensemble/explain_private.h"

#include "base/error.h"
#include "lm/attribute.h"

#include <math.h>

/* The model of kind lm that contributed most, by the sum of what it did to all classes. */
static size_t top_model(const struct explaining *x)
{
    const medley_bundle *b = x->b;
    size_t k = b->shape.n_classes, top = SIZE_MAX;
    double most = -1;
    for (size_t m = 0; m < b->n_models; m++) {
        double size = 0;
        for (size_t c = 0; c < k; c++)
            size += fabs((double)x->contributions[m * k + c]);
        if (b->models[m].config.kind == KIND_LM && x->result.models_used >> m & 1 &&
            size > most)
            most = size, top = m;
    }
    return top;
}

/* Does token i go on with the word of the one before it? */
static bool goes_on(const struct lm_attribution *a, size_t i)
{
    const struct lm_token *t = &a->tokens[i];
    return i > 0 && t->part != PART_FRAME && t[-1].part == t->part &&
           !token_begins_word(a->marks, t->text);
}

static medley_status write_words(struct json_writer *w, const struct explaining *x,
                                 const struct lm_attribution *a, medley_error *err)
{
    static const char *const parts[] = {"frame", "query", "product"};
    struct strbuf word;
    sb_init(&word);
    jw_key(w, "words"), jw_array(w);
    for (size_t i = 0; i < a->n_tokens;) {
        double values[MEDLEY_MAX_CLASSES] = {0};
        size_t first = i;
        sb_clear(&word);
        do {
            token_spell(a->marks, a->tokens[i].text, &word);
            for (size_t c = 0; c < a->n_classes; c++)
                values[c] += a->values[i * a->n_classes + c];
            i++;
        } while (i < a->n_tokens && goes_on(a, i));
        jw_object(w);
        jw_key(w, "text"), jw_text(w, sb_str(&word));
        jw_key(w, "part"), jw_textz(w, parts[a->tokens[first].part]);
        jw_key(w, "pieces"), jw_i64(w, (int64_t)(i - first));
        jw_key(w, "values"), explain_classes(w, x->b, values);
        jw_object_end(w);
    }
    jw_array_end(w);
    bool failed = word.failed;
    sb_deinit(&word);
    return failed ? fail_memory(err, "words") : MEDLEY_OK;
}

medley_status explain_tokens(struct json_writer *w, const struct explaining *x,
                             medley_error *err)
{
    size_t m = x->ask->tokens ? top_model(x) : SIZE_MAX;
    struct lm_attribution a = {.n_tokens = 0};
    jw_key(w, "tokens");
    if (m == SIZE_MAX) {
        jw_null(w);
        return MEDLEY_OK;
    }
    medley_status st = cross_encoder_attribute(x->b->models[m].model, &x->pair, &a, err);
    if (st == MEDLEY_EUNSUPPORTED) { /* a vocabulary without a token to mask with */
        jw_null(w);
        return MEDLEY_OK;
    }
    if (st)
        return st;
    jw_object(w);
    jw_key(w, "model"), jw_textz(w, x->b->models[m].config.name);
    jw_key(w, "output"), explain_classes(w, x->b, a.output);
    jw_key(w, "masked"), explain_classes(w, x->b, a.masked);
    jw_key(w, "gap"), jw_double(w, a.gap);
    jw_key(w, "steps"), jw_i64(w, a.steps);
    st = write_words(w, x, &a, err);
    jw_object_end(w);
    lm_attribution_free(&a);
    return st;
}
