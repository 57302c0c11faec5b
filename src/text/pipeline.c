/* pipeline.c: encoding through normaliser, pre-tokenizer and model, as Hugging Face's
 * tokenizers do: tokens known by text are cut out first, some before and some after
 * normalisation; the rest is cut into words, and each word's ids come from the model, or from a
 * cache of words seen before. */
#include "text/pipeline.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    CACHED_BYTES = 40, /* longer words are not kept */
    CACHED_IDS = 12,
    CACHE_SLOTS = 1 << 14,
};

struct cached_word {
    uint64_t hash;
    uint8_t n_bytes, n_ids, ends[CACHED_IDS]; /* n_bytes 0: empty */
    char bytes[CACHED_BYTES];
    int32_t ids[CACHED_IDS];
};

struct token_scratch {
    uint64_t serial; /* of the tokenizer that the cache is of */
    struct piece source, normalized, spare;
    struct cutting cutting;
    struct word_ids word;
    struct cached_word *cache; /* [CACHE_SLOTS] */
};

void token_scratch_free(struct token_scratch *s)
{
    if (!s)
        return;
    piece_deinit(&s->source);
    piece_deinit(&s->normalized);
    piece_deinit(&s->spare);
    cutting_deinit(&s->cutting);
    word_ids_deinit(&s->word);
    mem_free(s->cache);
    mem_free(s);
}

static struct token_scratch *scratch_of(const struct pipeline *p, struct tokens *out)
{
    if (!out->scratch && !(out->scratch = mem_zalloc(1, sizeof *out->scratch)))
        return NULL;
    struct token_scratch *s = out->scratch;
    if (!s->cache && !(s->cache = mem_zalloc(CACHE_SLOTS, sizeof *s->cache)))
        return NULL;
    if (s->serial != p->serial)
        memset(s->cache, 0, CACHE_SLOTS * sizeof *s->cache);
    s->serial = p->serial;
    return s;
}

/* ---- words ---- */

static uint64_t hash_of(const char *s, size_t n)
{
    uint64_t h = n * UINT64_C(0x9E3779B97F4A7C15);
    for (; n >= 8; s += 8, n -= 8) {
        uint64_t part;
        memcpy(&part, s, 8);
        h = (h ^ part) * UINT64_C(0x9FB21C651E98DF25);
        h ^= h >> 32;
    }
    uint64_t rest = 0;
    memcpy(&rest, s, n);
    h = (h ^ rest) * UINT64_C(0x9FB21C651E98DF25);
    return h ^ h >> 29;
}

static void push_tokens(const struct piece *p, size_t begin, const int32_t *ids,
                        const uint32_t *ends, size_t n, struct tokens *out)
{
    size_t from = begin;
    for (size_t i = 0; i < n; i++) {
        size_t to = begin + ends[i];
        tokens_push(out, ids[i], p->spans[from].from, p->spans[to - 1].to);
        from = to;
    }
}

static void keep_word(struct cached_word *slot, uint64_t hash, const char *s, size_t n,
                      const struct word_ids *w)
{
    if (w->n > CACHED_IDS)
        return;
    slot->hash = hash;
    slot->n_bytes = (uint8_t)n;
    slot->n_ids = (uint8_t)w->n;
    memcpy(slot->bytes, s, n);
    for (size_t i = 0; i < w->n; i++) {
        slot->ids[i] = w->ids[i];
        slot->ends[i] = (uint8_t)w->ends[i];
    }
}

static void encode_word(const struct pipeline *p, struct token_scratch *s,
                        const struct piece *piece, struct word word, struct tokens *out)
{
    const char *text = piece->s + word.begin;
    size_t n = word.end - word.begin;
    struct cached_word *slot = NULL;
    uint64_t hash = 0;
    if (n <= CACHED_BYTES) {
        hash = hash_of(text, n);
        slot = &s->cache[hash % CACHE_SLOTS];
        if (slot->hash == hash && slot->n_bytes == n && memcmp(slot->bytes, text, n) == 0) {
            uint32_t ends[CACHED_IDS];
            for (size_t i = 0; i < slot->n_ids; i++)
                ends[i] = slot->ends[i];
            push_tokens(piece, word.begin, slot->ids, ends, slot->n_ids, out);
            return;
        }
    }
    s->word.n = 0;
    p->model->kind->word(p->model, text, n, &s->word);
    push_tokens(piece, word.begin, s->word.ids, s->word.ends, s->word.n, out);
    if (slot && !s->word.failed)
        keep_word(slot, hash, text, n, &s->word);
}

/* Bytes begin..end of a normalised piece, in which no known token is left. */
static void encode_range(const struct pipeline *p, struct token_scratch *s,
                         const struct piece *piece, size_t begin, size_t end,
                         struct tokens *out)
{
    struct cutting *c = &s->cutting;
    piece_clear(&c->piece);
    piece_add_range(&c->piece, piece, begin, end);
    pre_tokenizer_apply(p->pre_tokenizer, c);
    for (size_t i = 0; i < c->words.n; i++)
        encode_word(p, s, &c->piece, c->words.items[i], out);
}

/* ---- known tokens ---- */

static const struct known_token *known_at(const struct known_tokens *k, const struct piece *p,
                                          size_t at)
{
    if (!k->starts[(unsigned char)p->s[at]])
        return NULL;
    for (size_t i = 0; i < k->n; i++) {
        const struct strbuf *text = &k->items[i].text;
        if (text->n <= p->n - at && memcmp(text->s, p->s + at, text->n) == 0)
            return &k->items[i];
    }
    return NULL;
}

static bool class_before(const struct piece *p, size_t at, unsigned set)
{
    if (at == 0)
        return false;
    size_t i = char_before(p->s, at);
    return char_classes(char_at(p->s, &i)) & set;
}

static bool class_after(const struct piece *p, size_t at, unsigned set)
{
    return at < p->n && char_classes(char_at(p->s, &at)) & set;
}

typedef void range_encoder(const struct pipeline *p, struct token_scratch *s,
                           const struct piece *piece, size_t begin, size_t end,
                           struct tokens *out);

/* Known tokens become themselves, what is between them goes through `encode`. */
static void cut_known(const struct pipeline *p, const struct known_tokens *k,
                      struct token_scratch *s, const struct piece *piece, range_encoder *encode,
                      struct tokens *out)
{
    size_t done = 0;
    for (size_t at = 0; at < piece->n && k->n;) {
        const struct known_token *x = known_at(k, piece, at);
        if (!x) {
            at++;
            continue;
        }
        size_t begin = at, end = at + x->text.n;
        at = end;
        if (x->single_word &&
            (class_before(piece, begin, CHAR_WORD) || class_after(piece, end, CHAR_WORD)))
            continue;
        while (x->left_space && begin > done && class_before(piece, begin, CHAR_SPACE))
            begin = char_before(piece->s, begin);
        while (x->right_space && class_after(piece, end, CHAR_SPACE))
            char_at(piece->s, &end);
        if (begin < done)
            begin = done;
        if (begin > done)
            encode(p, s, piece, done, begin, out);
        if (end > begin)
            tokens_push(out, x->id, piece->spans[begin].from, piece->spans[end - 1].to);
        done = end;
        at = at > end ? at : end;
    }
    if (piece->n > done)
        encode(p, s, piece, done, piece->n, out);
}

static void normalize_range(const struct pipeline *p, struct token_scratch *s,
                            const struct piece *source, size_t begin, size_t end,
                            struct tokens *out)
{
    piece_clear(&s->normalized);
    piece_add_range(&s->normalized, source, begin, end);
    normalizer_apply(p->normalizer, &s->normalized, &s->spare);
    cut_known(p, &p->normalized, s, &s->normalized, encode_range, out);
}

/* ---- offsets without white space ---- */

static bool is_known(const struct known_tokens *k, int32_t id)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->items[i].id == id)
            return true;
    return false;
}

/* Bytes of white space at the start and at the end: of source, which a known token took along,
 * or as many spaces as other tokens write at their ends. */
static void measure_spaces(const struct pipeline *p, int32_t id, struct str source,
                           uint32_t *leading, uint32_t *trailing)
{
    static const char space[] = "\xc4\xa0"; /* U+0120 stands for a space */
    struct str token = vocab_text(&p->base.vocab, id);
    *leading = *trailing = 0;
    for (size_t i = 0; i + 2 <= token.n && memcmp(token.s + i, space, 2) == 0; i += 2)
        ++*leading;
    for (size_t i = token.n; i >= 2 && memcmp(token.s + i - 2, space, 2) == 0; i -= 2)
        ++*trailing;
    if (*leading || *trailing || (!is_known(&p->raw, id) && !is_known(&p->normalized, id)))
        return;
    struct str trimmed = str_trim(source);
    *leading = (uint32_t)(trimmed.s - source.s);
    *trailing = (uint32_t)(source.n - trimmed.n) - *leading;
}

/* As process_offsets of Hugging Face's tokenizers. */
static void trim_offsets(const struct pipeline *p, struct str segment, uint32_t offset,
                         size_t first, struct tokens *out)
{
    for (size_t i = first; i < out->n; i++) {
        uint32_t *begin = &out->begin[i], *end = &out->end[i], leading, trailing;
        struct str source = {segment.s + (*begin - offset), *end - *begin};
        measure_spaces(p, out->ids[i], source, &leading, &trailing);
        if (p->base.prefixed && (i == first || *begin == offset))
            leading = 0;
        *begin = *begin + leading < *end ? *begin + leading : *end;
        if (*end - offset >= trailing)
            *end = *end - trailing > *begin ? *end - trailing : *begin;
    }
}

static void pipeline_encode(const struct tokenizer *t, struct str segment, uint32_t offset,
                            struct tokens *out)
{
    const struct pipeline *p = (const struct pipeline *)t;
    struct token_scratch *s = scratch_of(p, out);
    size_t first = out->n;
    if (!s) {
        out->failed = true;
        return;
    }
    piece_clear(&s->source);
    piece_add_text(&s->source, segment, offset);
    cut_known(p, &p->raw, s, &s->source, normalize_range, out);
    if (s->source.failed || s->normalized.failed || s->spare.failed ||
        s->cutting.piece.failed || s->cutting.words.failed || s->word.failed) {
        out->failed = true;
        token_scratch_free(s); /* so that the next call starts afresh */
        out->scratch = NULL;
    }
    if (t->trims && !out->failed)
        trim_offsets(p, segment, offset, first, out);
}

/* ---- making one ---- */

struct pipeline *pipeline_new(void)
{
    static _Atomic uint64_t serials;
    struct pipeline *p = mem_zalloc(1, sizeof *p);
    if (p) {
        p->base.ops = &pipeline_ops;
        p->serial = atomic_fetch_add(&serials, 1) + 1;
    }
    return p;
}

static void free_known(struct known_tokens *k)
{
    for (size_t i = 0; i < k->n; i++)
        sb_deinit(&k->items[i].text);
    mem_free(k->items);
}

void pipeline_free(struct tokenizer *t)
{
    struct pipeline *p = (struct pipeline *)t;
    if (!p)
        return;
    for (size_t i = 0; i < p->n_files; i++) {
        mem_free(p->files[i].name);
        mem_free(p->files[i].data);
    }
    mem_free(p->files);
    free_known(&p->raw);
    free_known(&p->normalized);
    normalizer_free(p->normalizer);
    pre_tokenizer_free(p->pre_tokenizer);
    if (p->model)
        p->model->kind->free(p->model);
    tokenizer_deinit(&p->base);
    mem_free(p);
}

medley_status pipeline_keep(struct pipeline *p, const char *name, const char *data, size_t n,
                            medley_error *err)
{
    struct source_file f = {mem_strdup(name), mem_alloc(n ? n : 1, 1), n};
    if (!f.name || !f.data ||
        !mem_reserve(&p->files, &p->file_capacity, p->n_files + 1, sizeof *p->files)) {
        mem_free(f.name);
        mem_free(f.data);
        return fail_memory(err, "a tokenizer's files");
    }
    memcpy(f.data, data, n);
    p->files[p->n_files++] = f;
    return MEDLEY_OK;
}

medley_status pipeline_know(struct pipeline *p, int32_t id, bool normalized,
                            const struct known_token *how, struct str text, medley_error *err)
{
    struct known_tokens *k = normalized ? &p->normalized : &p->raw;
    struct piece piece = {0}, spare = {0};
    struct known_token x = *how;
    x.id = id;
    sb_init(&x.text);
    piece_add_text(&piece, text, 0);
    if (normalized)
        normalizer_apply(p->normalizer, &piece, &spare);
    sb_add(&x.text, piece.s, piece.n);
    bool failed = piece.failed || x.text.failed;
    piece_deinit(&piece);
    piece_deinit(&spare);
    if (!failed && x.text.n == 0) { /* normalised away: it can never be found */
        sb_deinit(&x.text);
        return MEDLEY_OK;
    }
    if (failed || !mem_reserve(&k->items, &k->capacity, k->n + 1, sizeof *k->items)) {
        sb_deinit(&x.text);
        return fail_memory(err, "added tokens");
    }
    k->starts[(unsigned char)x.text.s[0]] = true;
    k->items[k->n++] = x;
    return MEDLEY_OK;
}

static int longest_first(const void *left, const void *right)
{
    const struct known_token *a = left, *b = right;
    if (a->text.n != b->text.n)
        return a->text.n < b->text.n ? 1 : -1;
    return (a->id > b->id) - (a->id < b->id);
}

void pipeline_finish(struct pipeline *p)
{
    if (p->raw.n)
        qsort(p->raw.items, p->raw.n, sizeof *p->raw.items, longest_first);
    if (p->normalized.n)
        qsort(p->normalized.items, p->normalized.n, sizeof *p->normalized.items, longest_first);
    tokenizer_finish(&p->base);
}

/* ---- tokenizer.json ---- */

static medley_status vocab_object(const json *vocab, const char *name,
                                  struct token_list *tokens, medley_error *err)
{
    size_t limit = 4 * json_count(vocab) + 65536; /* ids may have gaps, but not at will */
    for (const json *item = json_first(vocab); item; item = json_next(item)) {
        int64_t id = -1;
        if (!json_as_i64(item, &id))
            return fail(err, MEDLEY_EFORMAT,
                        "%s: model.vocab: id of '%s' is not a whole number", name,
                        json_key(item));
        medley_status st = token_list_put(tokens, id, str_of(json_key(item)), limit, err);
        if (st)
            return fail_within(err, st, "%s: model.vocab", name);
    }
    return MEDLEY_OK;
}

/* [[text, score], ...] */
static medley_status vocab_array(const json *vocab, const char *name, struct token_list *tokens,
                                 medley_error *err)
{
    size_t limit = json_count(vocab), id = 0;
    for (const json *item = json_first(vocab); item; item = json_next(item), id++) {
        const char *text;
        if (!json_as_text(json_first(item), &text))
            return fail(err, MEDLEY_EFORMAT, "%s: model.vocab: entry %zu lacks a text", name,
                        id);
        medley_status st = token_list_put(tokens, (int64_t)id, str_of(text), limit, err);
        if (st)
            return fail_within(err, st, "%s: model.vocab", name);
    }
    return MEDLEY_OK;
}

static medley_status read_vocab(struct pipeline *p, const json *root, const char *name,
                                medley_error *err)
{
    const json *model = json_get(root, "model"), *vocab = json_get(model, "vocab");
    struct token_list tokens = {0};
    const char *prefix = "";
    json_as_text(json_get(model, "continuing_subword_prefix"), &prefix);
    medley_status st;
    if (vocab && json_kind_of(vocab) == JSON_ARRAY)
        st = vocab_array(vocab, name, &tokens, err);
    else if (vocab && json_kind_of(vocab) == JSON_OBJECT)
        st = vocab_object(vocab, name, &tokens, err);
    else
        st = fail(err, MEDLEY_EFORMAT, "%s: model.vocab is missing", name);
    if (!st)
        st = added_tokens_list(root, name, &tokens, err);
    if (!st)
        st = vocab_init(&p->base.vocab, tokens.texts, tokens.n, str_of(prefix), err);
    token_list_deinit(&tokens);
    return st;
}

static medley_status know_added(struct pipeline *p, const json *root, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    const json *item = json_first(json_get(root, "added_tokens"));
    for (; item && !st; item = json_next(item)) {
        struct known_token how = {.id = -1};
        const char *text = "";
        bool normalized = false;
        int64_t id = -1;
        json_as_text(json_get(item, "content"), &text);
        json_as_i64(json_get(item, "id"), &id);
        json_as_bool(json_get(item, "normalized"), &normalized);
        json_as_bool(json_get(item, "single_word"), &how.single_word);
        json_as_bool(json_get(item, "lstrip"), &how.left_space);
        json_as_bool(json_get(item, "rstrip"), &how.right_space);
        st = pipeline_know(p, (int32_t)id, normalized, &how, str_of(text), err);
    }
    return st;
}

static const struct token_model_kind *model_kind(const json *model)
{
    static const struct token_model_kind *const kinds[] = {&unigram_kind, &bpe_kind,
                                                           &wordpiece_kind, &wordlevel_kind};
    const char *type;
    if (json_as_text(json_get(model, "type"), &type)) {
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            if (strcmp(kinds[i]->type, type) == 0)
                return kinds[i];
        return NULL;
    }
    /* Files from before model.type was written are told by what only one kind has. */
    if (json_get(model, "merges"))
        return &bpe_kind;
    if (json_get(model, "continuing_subword_prefix"))
        return &wordpiece_kind;
    return json_get(model, "unk_id") ? &unigram_kind : NULL;
}

medley_status pipeline_of_json(const json *root, const char *path, struct str source,
                               struct tokenizer **out, medley_error *err)
{
    const json *model = json_get(root, "model");
    const struct token_model_kind *kind = model_kind(model);
    const char *type = "(none)";
    json_as_text(json_get(model, "type"), &type);
    if (!model || json_kind_of(model) != JSON_OBJECT)
        return fail(err, MEDLEY_EFORMAT, "%s: no 'model': not a tokenizer.json", path);
    if (!kind)
        return fail(err, MEDLEY_EFORMAT, "%s: unknown model type '%s'", path, type);
    struct pipeline *p = pipeline_new();
    if (!p)
        return fail_memory(err, "a tokenizer");
    medley_status st = read_vocab(p, root, path, err);
    if (!st)
        st = normalizer_load(json_get(root, "normalizer"), path, &p->normalizer, err);
    if (!st)
        st = pre_tokenizer_load(json_get(root, "pre_tokenizer"), path, &p->pre_tokenizer, err);
    if (!st)
        st = kind->load(model, &p->base.vocab, path, &p->model, err);
    if (!st)
        st = know_added(p, root, err);
    if (!st)
        st = tokenizer_read_frames(&p->base, json_get(root, "post_processor"), path, err);
    if (!st)
        st = pipeline_keep(p, "tokenizer.json", source.s, source.n, err);
    if (st) {
        pipeline_free(&p->base);
        return st;
    }
    p->base.specials.unknown = p->model->unknown;
    pipeline_finish(p);
    *out = &p->base;
    return MEDLEY_OK;
}

medley_status pipeline_load_json(const json *root, const char *path, struct tokenizer **out,
                                 medley_error *err)
{
    char *data = NULL;
    size_t n = 0;
    medley_status st = file_read(path, (size_t)1 << 30, &data, &n, err);
    if (!st)
        st = pipeline_of_json(root, path, (struct str){data, n}, out, err);
    mem_free(data);
    return st;
}

static medley_status save_files(const struct tokenizer *t, const char *folder,
                                medley_error *err)
{
    const struct pipeline *p = (const struct pipeline *)t;
    medley_status st = make_folders(folder, err);
    for (size_t i = 0; i < p->n_files && !st; i++) {
        char *path = path_join(folder, p->files[i].name);
        st = path ? file_write(path, p->files[i].data, p->files[i].n, err)
                  : fail_memory(err, "a path");
        mem_free(path);
    }
    return st;
}

const struct tokenizer_ops pipeline_ops = {
    .type = "pipeline",
    .save_files = save_files,
    .encode = pipeline_encode,
    .free = pipeline_free,
};
