/* explain_tokens.c: the words that moved the language model that mattered most; see explain.h
 * and lm/attribute.h. Pieces of one word are told together: their shares add up. */
#include "ensemble/explain_private.h"

#include "base/error.h"
#include "lm/attribute.h"

#include <math.h>
#include <string.h>

#define WORD_MARK "\xe2\x96\x81" /* U+2581, before a word in SentencePiece's vocabularies */
#define BYTE_MARK "\xc4\xa0"     /* U+0120, a space in byte-level vocabularies */

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

static bool starts(struct str s, const char *with)
{
    size_t n = strlen(with);
    return s.n >= n && memcmp(s.s, with, n) == 0;
}

/* Vocabularies mark either what goes on ("##ing") or what begins a word. */
static bool marks_beginnings(const struct lm_attribution *a)
{
    for (size_t i = 0; i < a->n_tokens; i++)
        if (starts(a->tokens[i].text, WORD_MARK) || starts(a->tokens[i].text, BYTE_MARK))
            return true;
    return false;
}

/* Does token i go on with the word of the one before it? */
static bool goes_on(const struct lm_attribution *a, size_t i, bool beginnings)
{
    const struct lm_token *t = &a->tokens[i];
    if (i == 0 || t->part == PART_FRAME || t[-1].part != t->part)
        return false;
    return beginnings ? !starts(t->text, WORD_MARK) && !starts(t->text, BYTE_MARK)
                      : starts(t->text, "##");
}

static struct str bare(struct str s)
{
    static const char *const marks[] = {"##", WORD_MARK, BYTE_MARK};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        size_t n = strlen(marks[i]);
        if (starts(s, marks[i]) && s.n > n)
            return (struct str){s.s + n, s.n - n};
    }
    return s;
}

static medley_status write_words(struct json_writer *w, const struct explaining *x,
                                 const struct lm_attribution *a, medley_error *err)
{
    static const char *const parts[] = {"frame", "query", "product"};
    struct strbuf word;
    bool beginnings = marks_beginnings(a);
    sb_init(&word);
    jw_key(w, "words"), jw_array(w);
    for (size_t i = 0; i < a->n_tokens;) {
        double values[MEDLEY_MAX_CLASSES] = {0};
        size_t first = i;
        sb_clear(&word);
        do {
            struct str piece = bare(a->tokens[i].text);
            sb_add(&word, piece.s, piece.n);
            for (size_t c = 0; c < a->n_classes; c++)
                values[c] += a->values[i * a->n_classes + c];
            i++;
        } while (i < a->n_tokens && goes_on(a, i, beginnings));
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
