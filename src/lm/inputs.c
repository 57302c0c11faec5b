/* inputs.c: query and product text to token ids; see cross_encoder_model.h. */
#include "lm/cross_encoder_model.h"

#include "base/error.h"
#include "base/memory.h"
#include "text/clean.h"

#include <string.h>

const char *const lm_field_names[FIELD_COUNT] = {
    "query", "title", "brand", "color", "bullets", "description", "category",
};
const char *const lm_field_markers[FIELD_COUNT + 1] = {
    "[QUERY]",   "[TITLE]",       "[BRAND]",    "[COLOR]",
    "[BULLETS]", "[DESCRIPTION]", "[CATEGORY]", NULL,
};

medley_status lm_fields_parse(struct cross_encoder *m, const char *fields, medley_error *err)
{
    struct str rest = str_of(fields);
    m->n_fields = 0;
    bool seen[FIELD_COUNT] = {false};
    while (rest.n) {
        const char *comma = memchr(rest.s, ',', rest.n);
        struct str name = {rest.s, comma ? (size_t)(comma - rest.s) : rest.n};
        rest.s += name.n + (comma != NULL);
        rest.n -= name.n + (comma != NULL);
        name = str_trim(name);
        int f = 0;
        while (f < FIELD_COUNT && !str_is(name, lm_field_names[f]))
            f++;
        if (f == FIELD_COUNT || seen[f])
            return fail(
                err, MEDLEY_EINVAL,
                "fields: '%.*s' is unknown or repeated (there are query, title, brand, color, "
                "bullets, description, category)",
                (int)name.n, name.s);
        seen[f] = true;
        if (f != FIELD_QUERY)
            m->fields[m->n_fields++] = (enum lm_field)f;
    }
    return seen[FIELD_QUERY] && m->n_fields
               ? MEDLEY_OK
               : fail(err, MEDLEY_EINVAL,
                      "fields: expected query and at least one product field");
}

void lm_fields_write(const struct cross_encoder *m, struct strbuf *out)
{
    sb_addz(out, lm_field_names[FIELD_QUERY]);
    for (size_t i = 0; i < m->n_fields; i++)
        sb_addf(out, ",%s", lm_field_names[m->fields[i]]);
}

/* Markers of our own vocabularies, else BERT's unused slots, which fine-tuning gives a meaning.
 */
void lm_fields_find_markers(struct cross_encoder *m)
{
    for (int f = 0; f < FIELD_COUNT; f++) {
        m->marker[f] = -1;
        if (m->plain)
            continue;
        char unused[24];
        snprintf(unused, sizeof unused, "[unused%d]", f);
        m->marker[f] = tokenizer_id(m->tokenizer, str_of(lm_field_markers[f]));
        if (m->marker[f] < 0)
            m->marker[f] = tokenizer_id(m->tokenizer, str_of(unused));
    }
}

bool lm_fields_need_keywords(const struct cross_encoder *m)
{
    for (size_t i = 0; i < m->n_fields; i++)
        if (m->fields[i] == FIELD_BULLETS || m->fields[i] == FIELD_DESCRIPTION)
            return true;
    return false;
}

void lm_inputs_init(struct lm_inputs *in)
{
    memset(in, 0, sizeof *in);
    sb_init(&in->text);
}

void lm_inputs_deinit(struct lm_inputs *in)
{
    for (int f = 0; f < FIELD_COUNT; f++)
        tokens_deinit(&in->tokens[f]);
    sb_deinit(&in->text);
    mem_free(in->ids);
    mem_free(in->types);
    mem_free(in->positions);
    mem_free(in->offsets);
    memset(in, 0, sizeof *in);
}

void lm_inputs_clear(struct lm_inputs *in)
{
    in->n = in->n_tokens = 0;
}

/* Room for `tokens` more tokens and one more sequence. */
static bool reserve(struct lm_inputs *in, size_t tokens)
{
    size_t need = in->n_tokens + tokens, a = in->token_capacity, b = a, c = a;
    if (!mem_reserve(&in->ids, &a, need, sizeof *in->ids) ||
        !mem_reserve(&in->types, &b, need, sizeof *in->types) ||
        !mem_reserve(&in->positions, &c, need, sizeof *in->positions) ||
        !mem_reserve(&in->offsets, &in->offset_capacity, in->n + 2, sizeof *in->offsets)) {
        in->failed = true;
        return false;
    }
    in->token_capacity = a < b ? (a < c ? a : c) : (b < c ? b : c);
    in->offsets[0] = 0;
    return true;
}

static void push(struct lm_inputs *in, int32_t id, int32_t type)
{
    in->ids[in->n_tokens] = id;
    in->types[in->n_tokens] = type;
    in->positions[in->n_tokens] = (int32_t)(in->n_tokens - in->offsets[in->n]);
    in->n_tokens++;
}

static void push_tokens(struct lm_inputs *in, const struct tokens *t, size_t n, int32_t type)
{
    for (size_t i = 0; i < n; i++)
        push(in, t->ids[i], type);
}

static void end_sequence(struct lm_inputs *in)
{
    in->offsets[++in->n] = (uint32_t)in->n_tokens;
}

static struct str field_text(const struct pair_text *p, enum lm_field f)
{
    switch (f) {
    case FIELD_QUERY:
        return p->query;
    case FIELD_TITLE:
        return p->product.title;
    case FIELD_BRAND:
        return p->product.brand;
    case FIELD_COLOR:
        return p->product.color;
    case FIELD_BULLETS:
        return p->product.bullets;
    case FIELD_DESCRIPTION:
        return p->product.description;
    default:
        return p->product.category;
    }
}

static void encode_field(struct lm_inputs *in, const struct cross_encoder *m,
                         const struct pair_text *pair, enum lm_field f)
{
    struct tokens *t = &in->tokens[f];
    struct str text = field_text(pair, f);
    t->n = 0;
    sb_clear(&in->text);
    if (m->plain) {
        tokenizer_encode(m->tokenizer, text, t);
        in->failed |= t->failed;
        return;
    }
    if (m->keywords && (f == FIELD_BULLETS || f == FIELD_DESCRIPTION)) /* cleans as it goes */
        keywords_extract(m->keywords, pair->locale, text, m->options.keyword_words, &in->text);
    else
        text_clean(pair->locale, text, &in->text);
    tokenizer_encode(m->tokenizer, sb_str(&in->text), t);
    in->failed |= t->failed || in->text.failed;
}

/* The largest cap with sum(min(length, cap)) <= room: what is longest is cut first. */
static size_t common_cap(const size_t *length, size_t n, size_t room)
{
    size_t low = 0, high = room;
    while (low < high) {
        size_t cap = (low + high + 1) / 2, sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += length[i] < cap ? length[i] : cap;
        if (sum <= room)
            low = cap;
        else
            high = cap - 1;
    }
    return low;
}

/* The product's fields, each cut to `cap` tokens; the first `marked` that are not empty and
 * have a marker get it. */
static void push_fields(struct lm_inputs *in, const struct cross_encoder *m,
                        const size_t *length, size_t cap, size_t marked)
{
    for (size_t i = 0; i < m->n_fields; i++) {
        enum lm_field f = m->fields[i];
        if (!length[i])
            continue;
        if (m->marker[f] >= 0 && marked) {
            push(in, m->marker[f], 1);
            marked--;
        }
        push_tokens(in, &in->tokens[f], length[i] < cap ? length[i] : cap, 1);
    }
}

static size_t special_tokens(const struct tokenizer_slot *slots, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += slots[i].id >= 0;
    return count;
}

void lm_inputs_add_pair(struct lm_inputs *in, const struct cross_encoder *m,
                        const struct pair_text *pair)
{
    size_t max = m->options.max_tokens, length[FIELD_COUNT], shown = 0, n;
    const struct tokenizer_slot *slots = tokenizer_frame(m->tokenizer, true, &n);
    if (!reserve(in, max))
        return;
    encode_field(in, m, pair, FIELD_QUERY);
    size_t room = max - special_tokens(slots, n);
    size_t query = in->tokens[FIELD_QUERY].n, product = 0;
    for (size_t i = 0; i < m->n_fields; i++) {
        enum lm_field f = m->fields[i];
        encode_field(in, m, pair, f);
        length[i] = in->tokens[f].n;
        product += length[i] ? length[i] + (m->marker[f] >= 0) : 0;
    }
    /* Half of the room is the query's own, and what the product leaves of the other half.
     * Hugging Face's tokenizers give an odd token to the longer text. */
    size_t half = room / 2 + (m->plain && query > product ? room % 2 : 0);
    size_t most = product < room - half ? room - product : half;
    query = query < most ? query : most;
    room -= query;
    for (size_t i = 0; i < m->n_fields; i++) {
        bool marked = length[i] && m->marker[m->fields[i]] >= 0 && room > 1;
        shown += marked;
        room -= marked;
    }
    size_t cap = common_cap(length, m->n_fields, room);
    int32_t segment = 0; /* the product's from its first token on, special ones included */
    for (size_t i = 0; i < n; i++) {
        if (slots[i].id == TOKENIZER_A) {
            push_tokens(in, &in->tokens[FIELD_QUERY], query, 0);
        } else if (slots[i].id == TOKENIZER_B) {
            push_fields(in, m, length, cap, shown);
            segment = 1;
        } else {
            push(in, slots[i].id, segment);
        }
    }
    end_sequence(in);
}

void lm_inputs_add_text(struct lm_inputs *in, const struct cross_encoder *m, struct str locale,
                        struct str text, unsigned max_tokens)
{
    size_t n;
    const struct tokenizer_slot *slots = tokenizer_frame(m->tokenizer, false, &n);
    struct tokens *t = &in->tokens[FIELD_QUERY];
    if (!reserve(in, max_tokens))
        return;
    t->n = 0;
    sb_clear(&in->text);
    text_clean(locale, text, &in->text);
    tokenizer_encode(m->tokenizer, sb_str(&in->text), t);
    in->failed |= t->failed || in->text.failed;
    size_t room = max_tokens - special_tokens(slots, n);
    for (size_t i = 0; i < n; i++) {
        if (slots[i].id >= 0)
            push(in, slots[i].id, 0);
        else
            push_tokens(in, t, t->n < room ? t->n : room, 0);
    }
    end_sequence(in);
}

static void push_passage(struct lm_inputs *in, const struct cross_encoder *m, enum lm_field f,
                         size_t begin, size_t end)
{
    size_t n;
    const struct tokenizer_slot *slots = tokenizer_frame(m->tokenizer, true, &n);
    int32_t segment = 0;
    for (size_t i = 0; i < n; i++) {
        if (slots[i].id >= 0) {
            push(in, slots[i].id, segment);
        } else if (slots[i].id == TOKENIZER_B) {
            segment = 1;
            if (m->marker[f] >= 0)
                push(in, m->marker[f], segment);
            for (size_t j = begin; j < end; j++)
                push(in, in->tokens[f].ids[j], segment);
        }
    }
    end_sequence(in);
}

void lm_inputs_add_passages(struct lm_inputs *in, const struct cross_encoder *m,
                            const struct pair_text *pair, enum lm_field f)
{
    size_t n, max = m->options.max_tokens;
    const struct tokenizer_slot *slots = tokenizer_frame(m->tokenizer, true, &n);
    size_t room = max - special_tokens(slots, n) - (m->marker[f] >= 0);
    struct tokens *t = &in->tokens[f];
    t->n = 0;
    sb_clear(&in->text);
    text_clean(pair->locale, field_text(pair, f), &in->text);
    tokenizer_encode(m->tokenizer, sb_str(&in->text), t);
    in->failed |= t->failed || in->text.failed;
    for (size_t begin = 0; begin < t->n && reserve(in, max); begin += room)
        push_passage(in, m, f, begin, t->n - begin < room ? t->n : begin + room);
}

void lm_inputs_insert(struct lm_inputs *in, size_t at, const int32_t *ids, size_t n,
                      int32_t type)
{
    size_t begin = in->offsets[in->n - 1], length = in->n_tokens - begin, after = length - at;
    if (!reserve(in, n))
        return;
    int32_t *id = in->ids + begin, *types = in->types + begin;
    memmove(id + at + n, id + at, after * sizeof *id);
    memmove(types + at + n, types + at, after * sizeof *types);
    for (size_t i = 0; i < n; i++) {
        id[at + i] = ids[i];
        types[at + i] = type;
        in->positions[begin + length + i] = (int32_t)(length + i);
    }
    in->n_tokens += n;
    in->offsets[in->n] = (uint32_t)in->n_tokens;
}

void lm_inputs_copy(struct lm_inputs *in, const struct lm_inputs *from, size_t i)
{
    size_t begin = from->offsets[i], n = from->offsets[i + 1] - begin;
    if (!reserve(in, n))
        return;
    memcpy(in->ids + in->n_tokens, from->ids + begin, n * sizeof *in->ids);
    memcpy(in->types + in->n_tokens, from->types + begin, n * sizeof *in->types);
    for (size_t t = 0; t < n; t++)
        in->positions[in->n_tokens + t] = (int32_t)t;
    in->n_tokens += n;
    end_sequence(in);
}

struct encoder_batch lm_inputs_batch(const struct lm_inputs *in)
{
    return (struct encoder_batch){
        in->ids, in->types, in->positions, in->n_tokens, {in->offsets, in->n}, 0};
}
