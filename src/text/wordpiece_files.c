/* wordpiece_files.c: WordPiece tokenizers as files: tokenizer.json (also the old form without
 * model.type) and vocab.txt with tokenizer_config.json. */
#include "text/wordpiece.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

#include <string.h>

#define VOCAB_LIMIT ((size_t)256 << 20) /* bytes of vocab.txt */

/* ---- reading tokenizer.json ---- */

static bool get_bool(const json *object, const char *key, bool otherwise)
{
    bool b = otherwise;
    json_as_bool(json_get(object, key), &b);
    return b;
}

static medley_status read_normalizer(const json *root, const char *name, struct bert_options *o,
                                     medley_error *err)
{
    const json *n = json_get(root, "normalizer");
    const char *type = "(none)";
    *o = (struct bert_options){0};
    if (!n || json_kind_of(n) == JSON_NULL)
        return MEDLEY_OK;
    json_as_text(json_get(n, "type"), &type);
    if (strcmp(type, "BertNormalizer") != 0)
        return fail(err, MEDLEY_EUNSUPPORTED,
                    "%s: normalizer '%s' is not supported with WordPiece (BertNormalizer is)",
                    name, type);
    o->clean_text = get_bool(n, "clean_text", true);
    o->cjk_chars = get_bool(n, "handle_chinese_chars", true);
    o->lowercase = get_bool(n, "lowercase", true);
    o->strip_accents = get_bool(n, "strip_accents", o->lowercase); /* null follows lowercase */
    return MEDLEY_OK;
}

static medley_status check_pre_tokenizer(const json *root, const char *name, medley_error *err)
{
    const char *type = "(none)";
    json_as_text(json_get(json_get(root, "pre_tokenizer"), "type"), &type);
    if (strcmp(type, "BertPreTokenizer") != 0)
        return fail(
            err, MEDLEY_EUNSUPPORTED,
            "%s: pre_tokenizer '%s' is not supported with WordPiece (BertPreTokenizer is)",
            name, type);
    return MEDLEY_OK;
}

static medley_status read_vocab(const json *model, const char *name, struct token_list *tokens,
                                medley_error *err)
{
    const json *vocab = json_get(model, "vocab");
    if (!vocab || json_kind_of(vocab) != JSON_OBJECT)
        return fail(err, MEDLEY_EFORMAT, "%s: model.vocab is not an object", name);
    size_t limit = 4 * json_count(vocab) + 65536; /* ids may have gaps, but not at will */
    for (const json *item = json_first(vocab); item; item = json_next(item)) {
        int64_t id = -1;
        const char *text = json_key(item);
        if (!json_as_i64(item, &id))
            return fail(err, MEDLEY_EFORMAT,
                        "%s: model.vocab: id of '%s' is not a whole number", name, text);
        medley_status st = token_list_put(tokens, id, str_of(text), limit, err);
        if (st != MEDLEY_OK)
            return fail_within(err, st, "%s: model.vocab", name);
    }
    return MEDLEY_OK;
}

static medley_status read_model(const json *model, const char *name,
                                struct wordpiece_options *o, medley_error *err)
{
    int64_t max_chars = 100;
    const json *given = json_get(model, "max_input_chars_per_word");
    if (given && (!json_as_i64(given, &max_chars) || max_chars < 1 || max_chars > 1 << 20))
        return fail(err, MEDLEY_EFORMAT, "%s: model.max_input_chars_per_word is not a count",
                    name);
    o->max_chars = (unsigned)max_chars;
    o->unknown = "[UNK]";
    o->prefix = "##";
    json_as_text(json_get(model, "unk_token"), &o->unknown);
    json_as_text(json_get(model, "continuing_subword_prefix"), &o->prefix);
    return MEDLEY_OK;
}

medley_status wordpiece_load_json(const json *root, const char *name, struct tokenizer **out,
                                  medley_error *err)
{
    struct token_list tokens = {0};
    struct wordpiece_options o = {0};
    struct wordpiece *w = NULL;
    const json *model = json_get(root, "model");
    medley_status st = read_normalizer(root, name, &o.bert, err);
    if (st == MEDLEY_OK)
        st = check_pre_tokenizer(root, name, err);
    if (st == MEDLEY_OK)
        st = read_model(model, name, &o, err);
    if (st == MEDLEY_OK)
        st = read_vocab(model, name, &tokens, err);
    if (st == MEDLEY_OK)
        st = added_tokens_list(root, name, &tokens, err);
    if (st == MEDLEY_OK)
        st = wordpiece_new(&tokens, &o, name, &w, err);
    if (st == MEDLEY_OK)
        st = added_tokens_add(root, &w->base, err);
    token_list_deinit(&tokens);
    if (st == MEDLEY_OK) {
        tokenizer_finish(&w->base);
        st = tokenizer_read_frames(&w->base, json_get(root, "post_processor"), name, err);
    }
    if (st == MEDLEY_OK)
        *out = &w->base;
    else
        tokenizer_free(w ? &w->base : NULL);
    return st;
}

/* ---- reading vocab.txt ---- */

/* One token a line, its id the line number; the end of line may be CR LF. */
static medley_status split_lines(const char *data, size_t n, const char *path,
                                 struct token_list *tokens, medley_error *err)
{
    size_t limit = n + 1;
    for (size_t i = 0; i < n;) {
        const char *newline = memchr(data + i, '\n', n - i);
        size_t end = newline ? (size_t)(newline - data) : n;
        size_t length = end - i;
        if (length > 0 && data[end - 1] == '\r')
            length--;
        struct str text = {data + i, length};
        if (!utf8_valid(text, NULL))
            return fail(err, MEDLEY_EFORMAT, "%s:%zu: token is not UTF-8", path, tokens->n + 1);
        medley_status st = token_list_put(tokens, (int64_t)tokens->n, text, limit, err);
        if (st != MEDLEY_OK)
            return fail_within(err, st, "%s", path);
        i = end + 1;
    }
    return MEDLEY_OK;
}

static medley_status load_config(const char *vocab_path, json **out, medley_error *err)
{
    const char *slash = strrchr(vocab_path, '/');
    char *folder = mem_strndup(vocab_path, slash ? (size_t)(slash - vocab_path) + 1 : 0);
    char *path = folder ? path_join(slash ? folder : ".", "tokenizer_config.json") : NULL;
    medley_status st = MEDLEY_OK;
    *out = NULL;
    if (!path)
        st = fail_memory(err, "path");
    else if (file_exists(path))
        st = json_load(path, out, err);
    mem_free(path);
    mem_free(folder);
    return st;
}

/* A special token in tokenizer_config.json is a text or {"content": text, ...}. */
static medley_status add_config_token(const json *value, struct tokenizer *t, medley_error *err)
{
    const char *text = NULL;
    if (!json_as_text(value, &text) && !json_as_text(json_get(value, "content"), &text))
        return MEDLEY_OK;
    if (vocab_find(&t->vocab, str_of(text)) < 0)
        return MEDLEY_OK; /* the configuration names tokens that this vocabulary lacks */
    return tokenizer_add(t, str_of(text), true, err);
}

static medley_status add_specials(const json *config, struct tokenizer *t, medley_error *err)
{
    static const char *const keys[] = {"pad_token", "unk_token", "cls_token", "sep_token",
                                       "mask_token"};
    static const char *const usual[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < 5 && st == MEDLEY_OK; i++) {
        const json *named = json_get(config, keys[i]);
        if (named)
            st = add_config_token(named, t, err);
        else if (vocab_find(&t->vocab, str_of(usual[i])) >= 0)
            st = tokenizer_add(t, str_of(usual[i]), true, err);
    }
    const json *extra = json_first(json_get(config, "additional_special_tokens"));
    for (; extra && st == MEDLEY_OK; extra = json_next(extra))
        st = add_config_token(extra, t, err);
    const json *listed = json_first(json_get(config, "added_tokens_decoder"));
    for (; listed && st == MEDLEY_OK; listed = json_next(listed))
        if (!get_bool(listed, "normalized", false))
            st = add_config_token(listed, t, err);
    return st;
}

medley_status wordpiece_load_vocab(const char *path, struct tokenizer **out, medley_error *err)
{
    char *data = NULL;
    size_t n = 0;
    json *config = NULL;
    struct token_list tokens = {0};
    struct wordpiece *w = NULL;
    struct wordpiece_options o = {.unknown = "[UNK]", .prefix = "##", .max_chars = 100};
    medley_status st = file_read(path, VOCAB_LIMIT, &data, &n, err);
    if (st == MEDLEY_OK)
        st = load_config(path, &config, err);
    if (st != MEDLEY_OK)
        goto done;
    o.bert.clean_text = true;
    o.bert.cjk_chars = get_bool(config, "tokenize_chinese_chars", true);
    o.bert.lowercase = get_bool(config, "do_lower_case", true);
    o.bert.strip_accents = get_bool(config, "strip_accents", o.bert.lowercase);
    json_as_text(json_get(config, "unk_token"), &o.unknown);
    json_as_text(json_get(json_get(config, "unk_token"), "content"), &o.unknown);
    st = split_lines(data, n, path, &tokens, err);
    if (st == MEDLEY_OK)
        st = wordpiece_new(&tokens, &o, path, &w, err);
    if (st == MEDLEY_OK)
        st = add_specials(config, &w->base, err);
done:
    mem_free(data);
    json_free(config);
    token_list_deinit(&tokens);
    if (st == MEDLEY_OK) {
        tokenizer_finish(&w->base);
        st = tokenizer_bert_frames(&w->base, err);
    }
    if (st == MEDLEY_OK)
        *out = &w->base;
    else
        tokenizer_free(w ? &w->base : NULL);
    return st;
}

/* ---- writing ---- */

static void key_text(struct json_writer *w, const char *key, const char *text)
{
    jw_key(w, key);
    jw_textz(w, text);
}

static void key_bool(struct json_writer *w, const char *key, bool b)
{
    jw_key(w, key);
    jw_bool(w, b);
}

static void save_normalizer(const struct bert_options *o, struct json_writer *w)
{
    jw_key(w, "normalizer");
    jw_object(w);
    key_text(w, "type", "BertNormalizer");
    key_bool(w, "clean_text", o->clean_text);
    key_bool(w, "handle_chinese_chars", o->cjk_chars);
    key_bool(w, "strip_accents", o->strip_accents);
    key_bool(w, "lowercase", o->lowercase);
    jw_object_end(w);
    jw_key(w, "pre_tokenizer");
    jw_object(w);
    key_text(w, "type", "BertPreTokenizer");
    jw_object_end(w);
}

/* {"SpecialToken" or "Sequence": {"id": name, "type_id": type}} */
static void template_part(struct json_writer *w, const char *kind, struct str id, int type)
{
    jw_object(w);
    jw_key(w, kind);
    jw_object(w);
    jw_key(w, "id");
    jw_text(w, id);
    jw_key(w, "type_id");
    jw_i64(w, type);
    jw_object_end(w);
    jw_object_end(w);
}

static void template_token(struct json_writer *w, struct str token, int32_t id)
{
    char *key = mem_strndup(token.s, token.n);
    if (!key) {
        w->out->failed = true;
        return;
    }
    jw_key(w, key);
    mem_free(key);
    jw_object(w);
    jw_key(w, "id");
    jw_text(w, token);
    jw_key(w, "ids");
    jw_array(w);
    jw_i64(w, id);
    jw_array_end(w);
    jw_key(w, "tokens");
    jw_array(w);
    jw_text(w, token);
    jw_array_end(w);
    jw_object_end(w);
}

/* [CLS] a [SEP], and [CLS] a [SEP] b [SEP]. */
static void save_template(const struct tokenizer *t, struct json_writer *w)
{
    jw_key(w, "post_processor");
    struct tokenizer_specials s = t->specials;
    if (s.cls < 0 || s.sep < 0) {
        jw_null(w);
        return;
    }
    struct str cls = vocab_text(&t->vocab, s.cls), sep = vocab_text(&t->vocab, s.sep);
    jw_object(w);
    key_text(w, "type", "TemplateProcessing");
    for (int pair = 0; pair < 2; pair++) {
        jw_key(w, pair ? "pair" : "single");
        jw_array(w);
        template_part(w, "SpecialToken", cls, 0);
        template_part(w, "Sequence", STR("A"), 0);
        template_part(w, "SpecialToken", sep, 0);
        if (pair) {
            template_part(w, "Sequence", STR("B"), 1);
            template_part(w, "SpecialToken", sep, 1);
        }
        jw_array_end(w);
    }
    jw_key(w, "special_tokens");
    jw_object(w);
    template_token(w, cls, s.cls);
    template_token(w, sep, s.sep);
    jw_object_end(w);
    jw_object_end(w);
}

static void save_vocab(const struct vocab *v, struct json_writer *w)
{
    struct strbuf key; /* jw_key wants a terminated text */
    sb_init(&key);
    jw_key(w, "vocab");
    jw_object(w);
    for (size_t id = 0; id < v->size; id++) {
        struct str text = vocab_text(v, (int32_t)id);
        if (text.n == 0)
            continue;
        sb_clear(&key);
        sb_add(&key, text.s, text.n);
        if (key.failed)
            break;
        jw_key(w, key.s);
        jw_i64(w, (int64_t)id);
    }
    jw_object_end(w);
    w->out->failed |= key.failed;
    sb_deinit(&key);
}

void wordpiece_save(const struct tokenizer *t, struct json_writer *w)
{
    const struct wordpiece *p = (const struct wordpiece *)t;
    save_normalizer(&p->chars.options, w);
    save_template(t, w);
    jw_key(w, "decoder");
    jw_object(w);
    key_text(w, "type", "WordPiece");
    key_text(w, "prefix", p->prefix);
    key_bool(w, "cleanup", true);
    jw_object_end(w);
    jw_key(w, "model");
    jw_object(w);
    key_text(w, "type", "WordPiece");
    key_text(w, "unk_token", p->unknown);
    key_text(w, "continuing_subword_prefix", p->prefix);
    jw_key(w, "max_input_chars_per_word");
    jw_i64(w, p->max_chars);
    save_vocab(&t->vocab, w);
    jw_object_end(w);
}

void wordpiece_save_config(const struct tokenizer *t, struct json_writer *w)
{
    const struct wordpiece *p = (const struct wordpiece *)t;
    key_text(w, "tokenizer_class", "BertTokenizer");
    key_bool(w, "do_lower_case", p->chars.options.lowercase);
    key_bool(w, "strip_accents", p->chars.options.strip_accents);
    key_bool(w, "tokenize_chinese_chars", p->chars.options.cjk_chars);
}
