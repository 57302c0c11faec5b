/* frame.c: the special tokens round one text or two: post_processor of tokenizer.json. */
#include "text/tokenizer_ops.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

enum { MOST_SLOTS = 64 };

const struct tokenizer_slot *tokenizer_frame(const struct tokenizer *t, bool pair, size_t *n)
{
    *n = t->n_slots[pair];
    return t->frames[pair];
}

static medley_status add_slot(struct tokenizer *t, bool pair, int32_t id, int64_t type,
                              const char *name, medley_error *err)
{
    if (t->n_slots[pair] == MOST_SLOTS || type < 0 || type > 255)
        return fail(err, MEDLEY_EFORMAT,
                    "%s: post_processor: more than %d parts, or a type_id out of range", name,
                    MOST_SLOTS);
    if (!t->frames[pair] && !(t->frames[pair] = mem_alloc(MOST_SLOTS, sizeof **t->frames)))
        return fail_memory(err, "special tokens");
    t->frames[pair][t->n_slots[pair]++] = (struct tokenizer_slot){id, (int32_t)type};
    return MEDLEY_OK;
}

medley_status tokenizer_set_frame(struct tokenizer *t, bool pair, const char *const *names,
                                  const int32_t *types, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    t->n_slots[pair] = 0;
    for (size_t i = 0; names[i] && !st; i++) {
        int32_t id = strcmp(names[i], "A") == 0   ? TOKENIZER_A
                     : strcmp(names[i], "B") == 0 ? TOKENIZER_B
                                                  : vocab_find(&t->vocab, str_of(names[i]));
        if (id == -1 && strcmp(names[i], "A") != 0)
            return fail(err, MEDLEY_EFORMAT, "the vocabulary has no token '%s'", names[i]);
        st = add_slot(t, pair, id, types[i], "vocabulary", err);
    }
    return st;
}

/* ---- TemplateProcessing ---- */

static medley_status template_special(struct tokenizer *t, bool pair, const json *part,
                                      const json *specials, const char *name, medley_error *err)
{
    const char *id = "";
    int64_t type = 0;
    json_as_text(json_get(part, "id"), &id);
    json_as_i64(json_get(part, "type_id"), &type);
    const json *ids = json_get(json_get(specials, id), "ids");
    if (!json_first(ids))
        return fail(err, MEDLEY_EFORMAT, "%s: post_processor: special token '%s' has no ids",
                    name, id);
    for (const json *i = json_first(ids); i; i = json_next(i)) {
        int64_t number = -1;
        if (!json_as_i64(i, &number) || number < 0 || (uint64_t)number >= t->vocab.size)
            return fail(err, MEDLEY_EFORMAT, "%s: post_processor: an id of '%s' is not a token",
                        name, id);
        medley_status st = add_slot(t, pair, (int32_t)number, type, name, err);
        if (st)
            return st;
    }
    return MEDLEY_OK;
}

static medley_status read_template(struct tokenizer *t, bool pair, const json *spec,
                                   const char *name, medley_error *err)
{
    const json *parts = json_get(spec, pair ? "pair" : "single");
    const json *specials = json_get(spec, "special_tokens");
    medley_status st = MEDLEY_OK;
    for (const json *part = json_first(parts); part && !st; part = json_next(part)) {
        const json *text = json_get(part, "Sequence");
        const char *which = "";
        int64_t type = 0;
        json_as_text(json_get(text, "id"), &which);
        json_as_i64(json_get(text, "type_id"), &type);
        if (strcmp(which, "A") == 0)
            st = add_slot(t, pair, TOKENIZER_A, type, name, err);
        else if (strcmp(which, "B") == 0)
            st = add_slot(t, pair, TOKENIZER_B, type, name, err);
        else
            st = template_special(t, pair, json_get(part, "SpecialToken"), specials, name, err);
    }
    return st;
}

/* ---- BertProcessing, RobertaProcessing ---- */

/* [text, id] of key. */
static bool named_token(const struct tokenizer *t, const json *spec, const char *key,
                        int32_t *out)
{
    int64_t id = -1;
    if (!json_as_i64(json_next(json_first(json_get(spec, key))), &id) || id < 0 ||
        (uint64_t)id >= t->vocab.size)
        return false;
    *out = (int32_t)id;
    return true;
}

static medley_status read_cls_sep(struct tokenizer *t, const json *spec, bool roberta,
                                  const char *name, medley_error *err)
{
    int32_t cls, sep;
    if (!named_token(t, spec, "cls", &cls) || !named_token(t, spec, "sep", &sep))
        return fail(err, MEDLEY_EFORMAT, "%s: post_processor: expected cls and sep with ids",
                    name);
    int32_t one[] = {cls, TOKENIZER_A, sep};
    int32_t two[] = {cls, TOKENIZER_A, sep, sep, TOKENIZER_B, sep};
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < 3 && !st; i++)
        st = add_slot(t, false, one[i], 0, name, err);
    for (size_t i = 0; i < 6 && !st; i++)
        if (roberta || i != 3)
            st = add_slot(t, true, two[i], !roberta && i > 3, name, err);
    return st;
}

static medley_status read_frames(struct tokenizer *t, const json *spec, const char *name,
                                 int depth, medley_error *err)
{
    const char *type = "(none)";
    if (!spec || json_kind_of(spec) == JSON_NULL)
        return MEDLEY_OK;
    json_as_text(json_get(spec, "type"), &type);
    medley_status st = MEDLEY_OK;
    if (strcmp(type, "TemplateProcessing") == 0) {
        st = read_template(t, false, spec, name, err);
        return st ? st : read_template(t, true, spec, name, err);
    }
    if (strcmp(type, "BertProcessing") == 0)
        return read_cls_sep(t, spec, false, name, err);
    if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "ByteLevel") == 0) {
        t->trims = t->prefixed = true;
        json_as_bool(json_get(spec, "trim_offsets"), &t->trims);
        json_as_bool(json_get(spec, "add_prefix_space"), &t->prefixed);
        return type[0] == 'R' ? read_cls_sep(t, spec, true, name, err) : MEDLEY_OK;
    }
    if (strcmp(type, "Sequence") != 0 || depth)
        return fail(err, MEDLEY_EUNSUPPORTED, "%s: post_processor '%s' is not supported", name,
                    type);
    const json *part = json_first(json_get(spec, "processors"));
    for (; part && !st; part = json_next(part))
        st = read_frames(t, part, name, depth + 1, err);
    return st;
}

medley_status tokenizer_read_frames(struct tokenizer *t, const json *post_processor,
                                    const char *name, medley_error *err)
{
    t->n_slots[0] = t->n_slots[1] = 0;
    medley_status st = read_frames(t, post_processor, name, 0, err);
    if (!st && !t->n_slots[0])
        st = add_slot(t, false, TOKENIZER_A, 0, name, err);
    if (!st && !t->n_slots[1]) {
        st = add_slot(t, true, TOKENIZER_A, 0, name, err);
        if (!st)
            st = add_slot(t, true, TOKENIZER_B, 1, name, err);
    }
    return st;
}

medley_status tokenizer_bert_frames(struct tokenizer *t, medley_error *err)
{
    struct tokenizer_specials s = t->specials;
    if (s.cls < 0 || s.sep < 0)
        return tokenizer_read_frames(t, NULL, "vocabulary", err);
    int32_t one[] = {s.cls, TOKENIZER_A, s.sep};
    int32_t two[] = {s.cls, TOKENIZER_A, s.sep, TOKENIZER_B, s.sep};
    medley_status st = MEDLEY_OK;
    t->n_slots[0] = t->n_slots[1] = 0;
    for (size_t i = 0; i < 3 && !st; i++)
        st = add_slot(t, false, one[i], 0, "vocabulary", err);
    for (size_t i = 0; i < 5 && !st; i++)
        st = add_slot(t, true, two[i], i > 2, "vocabulary", err);
    return st;
}

/* ---- joining ---- */

/* How much of each text stays, the longer one cut first. */
static void cut_longest(size_t *a, size_t *b, size_t room)
{
    if (*a + *b <= room)
        return;
    size_t shorter = *a < *b ? *a : *b, longer;
    if (shorter > room)
        longer = shorter;
    else
        longer = room - shorter > shorter ? room - shorter : shorter;
    if (shorter + longer > room) {
        shorter = room / 2;
        longer = shorter + room % 2;
    }
    bool a_longer = *a > *b;
    *a = a_longer ? longer : shorter;
    *b = a_longer ? shorter : longer;
}

void tokenizer_join(const struct tokenizer *t, const struct tokens *a, const struct tokens *b,
                    size_t max_tokens, struct tokens *out, int32_t *types)
{
    size_t n, room, of_a = a->n, of_b = b ? b->n : 0, specials = 0;
    const struct tokenizer_slot *slots = tokenizer_frame(t, b != NULL, &n);
    for (size_t i = 0; i < n; i++)
        specials += slots[i].id >= 0;
    room = max_tokens > specials ? max_tokens - specials : 0;
    if (max_tokens)
        cut_longest(&of_a, &of_b, room);
    if (max_tokens && !b)
        of_a = a->n < room ? a->n : room;
    for (size_t i = 0; i < n; i++) {
        const struct tokens *text = slots[i].id == TOKENIZER_A   ? a
                                    : slots[i].id == TOKENIZER_B ? b
                                                                 : NULL;
        size_t count = text == a ? of_a : of_b;
        for (size_t j = 0; j < (text ? count : 1); j++) {
            size_t at = out->n;
            bool pushed = text ? tokens_push(out, text->ids[j], text->begin[j], text->end[j])
                               : tokens_push(out, slots[i].id, 0, 0);
            if (pushed && types)
                types[at] = slots[i].type;
        }
    }
}
