/* tokenizer.c: the door to every kind of tokenizer: finding the kind, added (special) tokens,
 * saving. A new kind is one file with its tokenizer_ops and one line in the table below. */
#include "text/wordpiece.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

/* ---- tokens ---- */

void tokens_deinit(struct tokens *t)
{
    mem_free(t->ids);
    mem_free(t->begin);
    mem_free(t->end);
    token_scratch_free(t->scratch);
    memset(t, 0, sizeof *t);
}

static bool tokens_grow(struct tokens *t)
{
    size_t ids = t->capacity, begin = t->capacity, end = t->capacity, need = t->n + 1;
    if (!mem_reserve(&t->ids, &ids, need, sizeof t->ids[0]) ||
        !mem_reserve(&t->begin, &begin, need, sizeof t->begin[0]) ||
        !mem_reserve(&t->end, &end, need, sizeof t->end[0])) {
        t->failed = true;
        return false;
    }
    t->capacity = ids < begin ? ids : begin;
    t->capacity = end < t->capacity ? end : t->capacity;
    return true;
}

bool tokens_push(struct tokens *t, int32_t id, uint32_t begin, uint32_t end)
{
    if (t->n == t->capacity && !tokens_grow(t))
        return false;
    t->ids[t->n] = id;
    t->begin[t->n] = begin;
    t->end[t->n++] = end;
    return true;
}

/* ---- collecting a vocabulary ---- */

medley_status token_list_put(struct token_list *l, int64_t id, struct str text, size_t limit,
                             medley_error *err)
{
    if (id < 0 || (uint64_t)id >= limit)
        return fail(err, MEDLEY_EFORMAT, "id %lld of '%.*s' is out of range", (long long)id,
                    (int)(text.n < 80 ? text.n : 80), text.s);
    size_t at = (size_t)id;
    if (!mem_reserve(&l->texts, &l->capacity, at + 1, sizeof l->texts[0]))
        return fail_memory(err, "vocabulary");
    while (l->n <= at)
        l->texts[l->n++] = (struct str){NULL, 0};
    if (l->texts[at].n > 0 && !str_eq(l->texts[at], text))
        return fail(err, MEDLEY_EFORMAT, "two tokens have id %zu", at);
    l->texts[at] = text;
    return MEDLEY_OK;
}

void token_list_deinit(struct token_list *l)
{
    mem_free(l->texts);
    memset(l, 0, sizeof *l);
}

/* ---- added tokens ---- */

medley_status added_tokens_list(const json *root, const char *name, struct token_list *l,
                                medley_error *err)
{
    const json *added = json_get(root, "added_tokens");
    size_t limit = 4 * (l->n + json_count(added)) + 65536;
    for (const json *item = json_first(added); item; item = json_next(item)) {
        const char *text = NULL;
        int64_t id = -1;
        if (!json_as_text(json_get(item, "content"), &text) || !*text ||
            !json_as_i64(json_get(item, "id"), &id))
            return fail(err, MEDLEY_EFORMAT, "%s: added_tokens: an entry lacks id or content",
                        name);
        medley_status st = token_list_put(l, id, str_of(text), limit, err);
        if (st != MEDLEY_OK)
            return fail_within(err, st, "%s: added_tokens", name);
    }
    return MEDLEY_OK;
}

medley_status added_tokens_add(const json *root, struct tokenizer *t, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    const json *item = json_first(json_get(root, "added_tokens"));
    for (; item && st == MEDLEY_OK; item = json_next(item)) {
        const char *text = NULL;
        bool special = false;
        json_as_text(json_get(item, "content"), &text);
        json_as_bool(json_get(item, "special"), &special);
        st = tokenizer_add(t, str_of(text), special, err);
    }
    return st;
}

medley_status tokenizer_add(struct tokenizer *t, struct str text, bool special,
                            medley_error *err)
{
    int32_t id = vocab_find(&t->vocab, text);
    if (id < 0)
        return fail(err, MEDLEY_EFORMAT, "added token '%.*s' is not in the vocabulary",
                    (int)(text.n < 80 ? text.n : 80), text.s);
    for (size_t i = 0; i < t->n_added; i++)
        if (t->added[i].id == id) {
            t->added[i].special |= special;
            return MEDLEY_OK;
        }
    struct added_token *grown = mem_resize(t->added, t->n_added + 1, sizeof *grown);
    if (!grown)
        return fail_memory(err, "added tokens");
    t->added = grown;
    grown[t->n_added++] =
        (struct added_token){.text = vocab_text(&t->vocab, id), .id = id, .special = special};
    return MEDLEY_OK;
}

static int longest_first(const void *left, const void *right)
{
    const struct added_token *a = left, *b = right;
    if (a->text.n != b->text.n)
        return a->text.n < b->text.n ? 1 : -1;
    return (a->id > b->id) - (a->id < b->id);
}

static int32_t first_known(const struct tokenizer *t, const char *bert, const char *roberta)
{
    int32_t id = vocab_find(&t->vocab, str_of(bert));
    return id >= 0 ? id : vocab_find(&t->vocab, str_of(roberta));
}

void tokenizer_finish(struct tokenizer *t)
{
    if (t->n_added > 0)
        qsort(t->added, t->n_added, sizeof t->added[0], longest_first);
    for (size_t i = 0; i < t->n_added; i++)
        t->added_starts[(unsigned char)t->added[i].text.s[0]] = true;
    t->specials.pad = first_known(t, "[PAD]", "<pad>");
    t->specials.cls = first_known(t, "[CLS]", "<s>");
    t->specials.sep = first_known(t, "[SEP]", "</s>");
    t->specials.mask = first_known(t, "[MASK]", "<mask>");
}

/* The added token at the start of text; NULL when there is none. */
static const struct added_token *added_at(const struct tokenizer *t, struct str text)
{
    for (size_t i = 0; i < t->n_added; i++) {
        struct str a = t->added[i].text;
        if (a.n <= text.n && memcmp(a.s, text.s, a.n) == 0)
            return &t->added[i];
    }
    return NULL;
}

void tokenizer_encode(const struct tokenizer *t, struct str text, struct tokens *out)
{
    if (text.n >= UINT32_MAX) { /* offsets are 32 bits wide */
        out->failed = true;
        return;
    }
    size_t start = 0, i = 0;
    while (i < text.n) {
        const struct added_token *a = NULL;
        if (t->added_starts[(unsigned char)text.s[i]])
            a = added_at(t, (struct str){text.s + i, text.n - i});
        if (!a) {
            i++;
            continue;
        }
        if (i > start)
            t->ops->encode(t, (struct str){text.s + start, i - start}, (uint32_t)start, out);
        tokens_push(out, a->id, (uint32_t)i, (uint32_t)(i + a->text.n));
        i += a->text.n;
        start = i;
    }
    if (text.n > start)
        t->ops->encode(t, (struct str){text.s + start, text.n - start}, (uint32_t)start, out);
}

/* ---- access ---- */

void tokenizer_free(struct tokenizer *t)
{
    if (t)
        t->ops->free(t);
}

void tokenizer_deinit(struct tokenizer *t)
{
    vocab_deinit(&t->vocab);
    mem_free(t->added);
    mem_free(t->frames[0]);
    mem_free(t->frames[1]);
}

size_t tokenizer_size(const struct tokenizer *t)
{
    return t->vocab.size;
}

struct tokenizer_specials tokenizer_specials(const struct tokenizer *t)
{
    return t->specials;
}

struct str tokenizer_token(const struct tokenizer *t, int32_t id)
{
    return vocab_text(&t->vocab, id);
}

int32_t tokenizer_id(const struct tokenizer *t, struct str token)
{
    return vocab_find(&t->vocab, token);
}

/* ---- loading ---- */

static bool is_type(const json *root, const char *part, const char *type)
{
    const char *text;
    return json_as_text(json_get(json_get(root, part), "type"), &text) &&
           strcmp(text, type) == 0;
}

/* What BERT's fast path does: its own normaliser and pre-tokenizer, and added tokens that are
 * found in the raw text as they stand. */
static bool is_plain_bert(const json *root)
{
    const json *model = json_get(root, "model"), *normalizer = json_get(root, "normalizer");
    int64_t max_chars = 100;
    json_as_i64(json_get(model, "max_input_chars_per_word"), &max_chars);
    bool old = !json_get(model, "type") && json_get(model, "continuing_subword_prefix") &&
               !json_get(model, "merges");
    bool plain = (old || is_type(root, "model", "WordPiece")) &&
                 (!normalizer || json_kind_of(normalizer) == JSON_NULL ||
                  is_type(root, "normalizer", "BertNormalizer")) &&
                 is_type(root, "pre_tokenizer", "BertPreTokenizer") &&
                 max_chars <= BERT_WORD_CHARS;
    const json *item = json_first(json_get(root, "added_tokens"));
    for (; item && plain; item = json_next(item)) {
        static const char *const ways[] = {"single_word", "lstrip", "rstrip", "normalized"};
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            bool on = false;
            json_as_bool(json_get(item, ways[i]), &on);
            plain = plain && !on;
        }
    }
    return plain;
}

static medley_status load_json(const char *path, struct tokenizer **out, medley_error *err)
{
    json *root = NULL;
    medley_status st = json_load(path, &root, err);
    if (st == MEDLEY_OK)
        st = is_plain_bert(root) ? wordpiece_load_json(root, path, out, err)
                                 : pipeline_load_json(root, path, out, err);
    json_free(root);
    return st;
}

static bool ends_with(const char *path, const char *ending)
{
    size_t n = strlen(path), m = strlen(ending);
    return n >= m && strcmp(path + n - m, ending) == 0;
}

/* Files that a folder may hold, the most telling first. */
enum { JSON_FILE, VOCAB_FILE, BPE_FILE, SPM_FILE };
static const struct {
    const char *name;
    int kind;
} known_files[] = {
    {"tokenizer.json", JSON_FILE}, {"vocab.txt", VOCAB_FILE},
    {"vocab.json", BPE_FILE},      {"sentencepiece.bpe.model", SPM_FILE},
    {"spm.model", SPM_FILE},       {"spiece.model", SPM_FILE},
};

/* vocab.json wants merges.txt beside it. */
static medley_status load_bpe(const char *vocab, struct tokenizer **out, medley_error *err)
{
    const char *slash = strrchr(vocab, '/');
    char *folder = mem_strndup(vocab, slash ? (size_t)(slash - vocab) : 0);
    char *merges = folder ? path_join(slash ? folder : ".", "merges.txt") : NULL;
    medley_status st =
        merges ? pipeline_load_bpe(vocab, merges, out, err) : fail_memory(err, "path");
    mem_free(merges);
    mem_free(folder);
    return st;
}

static medley_status load_file(const char *path, int kind, struct tokenizer **out,
                               medley_error *err)
{
    switch (kind) {
    case JSON_FILE:
        return load_json(path, out, err);
    case BPE_FILE:
        return load_bpe(path, out, err);
    case SPM_FILE:
        return pipeline_load_spm(path, out, err);
    default:
        return wordpiece_load_vocab(path, out, err);
    }
}

static medley_status load_folder(const char *folder, struct tokenizer **out, medley_error *err)
{
    for (size_t i = 0; i < sizeof known_files / sizeof *known_files; i++) {
        char *path = path_join(folder, known_files[i].name);
        if (!path)
            return fail_memory(err, "path");
        bool there = file_exists(path);
        medley_status st = there ? load_file(path, known_files[i].kind, out, err) : MEDLEY_OK;
        mem_free(path);
        if (there)
            return st;
    }
    return fail(
        err, MEDLEY_ENOTFOUND,
        "'%s' holds no tokenizer (tokenizer.json, vocab.txt, vocab.json with merges.txt, "
        "sentencepiece.bpe.model, spm.model or spiece.model)",
        folder);
}

medley_status tokenizer_load(const char *path, struct tokenizer **out, medley_error *err)
{
    if (folder_exists(path))
        return load_folder(path, out, err);
    if (ends_with(path, "vocab.json"))
        return load_bpe(path, out, err);
    if (ends_with(path, ".model"))
        return pipeline_load_spm(path, out, err);
    return ends_with(path, ".json") ? load_json(path, out, err)
                                    : wordpiece_load_vocab(path, out, err);
}

/* ---- training ---- */

static const char *const usual_specials[] = {"[PAD]", "[UNK]",  "[CLS]",
                                             "[SEP]", "[MASK]", NULL};

static medley_status put_specials(struct token_list *l, const char *const *texts,
                                  medley_error *err)
{
    for (size_t i = 0; texts && texts[i]; i++) {
        struct str text = str_of(texts[i]);
        for (size_t k = 0; k < l->n; k++)
            if (text.n == 0 || str_eq(l->texts[k], text))
                return fail(err, MEDLEY_EINVAL, "special token '%s' is empty or given twice",
                            texts[i]);
        medley_status st = token_list_put(l, (int64_t)l->n, text, l->n + 1, err);
        if (st != MEDLEY_OK)
            return st;
    }
    return MEDLEY_OK;
}

medley_status tokenizer_train(const struct tokenizer_training *options, text_source *next,
                              void *context, struct tokenizer **out, medley_error *err)
{
    struct token_list l = {0};
    size_t size = options->vocabulary ? options->vocabulary : 8192;
    medley_status st = put_specials(&l, usual_specials, err);
    if (st == MEDLEY_OK)
        st = put_specials(&l, options->extra_specials, err);
    if (st == MEDLEY_OK && (size <= l.n || size > INT32_MAX / 8))
        st = fail(err, MEDLEY_EINVAL,
                  "vocabulary of %zu is out of range (there are %zu specials)", size, l.n);
    if (st == MEDLEY_OK)
        st = (options->kind == TOKENIZER_UNIGRAM ? unigram_train : wordpiece_train)(
            options, &l, size - l.n, next, context, out, err);
    token_list_deinit(&l);
    return st;
}

/* ---- saving ---- */

static const struct added_token *added_by_id(const struct tokenizer *t, int32_t id)
{
    for (size_t i = 0; i < t->n_added; i++)
        if (t->added[i].id == id)
            return &t->added[i];
    return NULL;
}

static void save_added(const struct tokenizer *t, struct json_writer *w)
{
    static const char *const off[] = {"single_word", "lstrip", "rstrip", "normalized"};
    jw_key(w, "added_tokens");
    jw_array(w);
    for (int32_t id = 0; t->n_added > 0 && (size_t)id < t->vocab.size; id++) {
        const struct added_token *a = added_by_id(t, id);
        if (!a)
            continue;
        jw_object(w);
        jw_key(w, "id");
        jw_i64(w, id);
        jw_key(w, "content");
        jw_text(w, a->text);
        for (size_t i = 0; i < 4; i++) {
            jw_key(w, off[i]);
            jw_bool(w, false);
        }
        jw_key(w, "special");
        jw_bool(w, a->special);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static void build_json(const struct tokenizer *t, struct strbuf *out)
{
    struct json_writer w;
    jw_init(&w, out, false);
    jw_object(&w);
    jw_key(&w, "version");
    jw_textz(&w, "1.0");
    jw_key(&w, "truncation");
    jw_null(&w);
    jw_key(&w, "padding");
    jw_null(&w);
    save_added(t, &w);
    t->ops->save(t, &w);
    jw_object_end(&w);
}

static void config_token(const struct tokenizer *t, struct json_writer *w, const char *key,
                         int32_t id)
{
    if (id < 0)
        return;
    jw_key(w, key);
    jw_text(w, vocab_text(&t->vocab, id));
}

static bool is_usual_special(struct tokenizer_specials s, int32_t id)
{
    return id == s.pad || id == s.unknown || id == s.cls || id == s.sep || id == s.mask;
}

static void build_config(const struct tokenizer *t, struct strbuf *out)
{
    struct json_writer w;
    struct tokenizer_specials s = t->specials;
    jw_init(&w, out, true);
    jw_object(&w);
    t->ops->save_config(t, &w);
    config_token(t, &w, "pad_token", s.pad);
    config_token(t, &w, "unk_token", s.unknown);
    config_token(t, &w, "cls_token", s.cls);
    config_token(t, &w, "sep_token", s.sep);
    config_token(t, &w, "mask_token", s.mask);
    jw_key(&w, "additional_special_tokens");
    jw_array(&w);
    for (int32_t id = 0; t->n_added > 0 && (size_t)id < t->vocab.size; id++) {
        const struct added_token *a = added_by_id(t, id);
        if (a && a->special && !is_usual_special(s, id))
            jw_text(&w, a->text);
    }
    jw_array_end(&w);
    jw_object_end(&w);
}

static void build_vocab(const struct tokenizer *t, struct strbuf *out)
{
    for (size_t id = 0; id < t->vocab.size; id++) {
        struct str text = vocab_text(&t->vocab, (int32_t)id);
        sb_add(out, text.s, text.n);
        sb_addc(out, '\n');
    }
}

static medley_status save_one(const struct tokenizer *t, const char *folder, const char *file,
                              void (*build)(const struct tokenizer *, struct strbuf *),
                              medley_error *err)
{
    struct strbuf text;
    sb_init(&text);
    build(t, &text);
    char *path = path_join(folder, file);
    medley_status st =
        !path || text.failed ? fail_memory(err, file) : file_write(path, text.s, text.n, err);
    mem_free(path);
    sb_deinit(&text);
    return st;
}

medley_status tokenizer_save(const struct tokenizer *t, const char *folder, medley_error *err)
{
    if (t->ops->save_files)
        return t->ops->save_files(t, folder, err);
    medley_status st = make_folders(folder, err);
    if (st == MEDLEY_OK)
        st = save_one(t, folder, "vocab.txt", build_vocab, err);
    if (st == MEDLEY_OK)
        st = save_one(t, folder, "tokenizer_config.json", build_config, err);
    if (st == MEDLEY_OK)
        st = save_one(t, folder, "tokenizer.json", build_json, err);
    return st;
}
