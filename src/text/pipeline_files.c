/* pipeline_files.c: tokenizers from the files that came before tokenizer.json, put together as
 * Hugging Face's converters do. */
#include "text/pipeline.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "text/spm_file.h"

#include <string.h>

#define FILE_LIMIT ((size_t)1 << 30)

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Known tokens of a family: found in the raw text unless said otherwise. */
struct usual {
    const char *text;
    bool normalized, left_space;
};

static medley_status know_usual(struct pipeline *p, const struct usual *tokens, size_t n,
                                medley_error *err)
{
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < n && !st; i++) {
        struct known_token how = {.left_space = tokens[i].left_space};
        int32_t id = vocab_find(&p->base.vocab, str_of(tokens[i].text));
        if (id >= 0)
            st = pipeline_know(p, id, tokens[i].normalized, &how, str_of(tokens[i].text), err);
    }
    return st;
}

/* <s> a </s>, <s> a </s> </s> b </s>; or [CLS] a [SEP], [CLS] a [SEP] b [SEP]; or plain a </s>.
 */
static medley_status usual_frames(struct pipeline *p, medley_error *err)
{
    static const char *const bert[] = {"[CLS]", "A", "[SEP]", "B", "[SEP]", NULL};
    static const char *const bert_one[] = {"[CLS]", "A", "[SEP]", NULL};
    static const char *const roberta[] = {"<s>", "A", "</s>", "</s>", "B", "</s>", NULL};
    static const char *const roberta_one[] = {"<s>", "A", "</s>", NULL};
    static const char *const t5[] = {"A", "</s>", "B", "</s>", NULL};
    static const char *const t5_one[] = {"A", "</s>", NULL};
    static const int32_t bert_types[] = {0, 0, 0, 1, 1}, zero[8] = {0};
    const struct vocab *v = &p->base.vocab;
    bool cls = vocab_find(v, STR("[CLS]")) >= 0 && vocab_find(v, STR("[SEP]")) >= 0;
    bool s = vocab_find(v, STR("<s>")) >= 0, end = vocab_find(v, STR("</s>")) >= 0;
    if (!cls && !end)
        return tokenizer_read_frames(&p->base, NULL, "vocabulary", err);
    medley_status st = tokenizer_set_frame(&p->base, false,
                                           cls ? bert_one
                                           : s ? roberta_one
                                               : t5_one,
                                           zero, err);
    return st ? st
              : tokenizer_set_frame(&p->base, true,
                                    cls ? bert
                                    : s ? roberta
                                        : t5,
                                    cls ? bert_types : zero, err);
}

static medley_status finish(struct pipeline *p, medley_status st, struct tokenizer **out,
                            medley_error *err)
{
    if (!st)
        st = usual_frames(p, err);
    if (st) {
        pipeline_free(&p->base);
        return st;
    }
    p->base.specials.unknown = p->model->unknown;
    pipeline_finish(p);
    *out = &p->base;
    return MEDLEY_OK;
}

/* ---- byte-level BPE ---- */

static medley_status bpe_vocab(struct pipeline *p, const char *path, medley_error *err)
{
    json *root = NULL;
    struct token_list tokens = {0};
    medley_status st = json_load(path, &root, err);
    if (!st && json_kind_of(root) != JSON_OBJECT)
        st = fail(err, MEDLEY_EFORMAT, "%s: expected an object of tokens and ids", path);
    size_t limit = 4 * json_count(root) + 65536;
    for (const json *item = st ? NULL : json_first(root); item && !st; item = json_next(item)) {
        int64_t id = -1;
        json_as_i64(item, &id);
        st = token_list_put(&tokens, id, str_of(json_key(item)), limit, err);
        if (st)
            st = fail_within(err, st, "%s", path);
    }
    if (!st)
        st = vocab_init(&p->base.vocab, tokens.texts, tokens.n, STR(""), err);
    token_list_deinit(&tokens);
    json_free(root);
    return st;
}

static medley_status keep_file(struct pipeline *p, const char *path, const char *name,
                               char **data, size_t *n, medley_error *err)
{
    medley_status st = file_read(path, FILE_LIMIT, data, n, err);
    return st ? st : pipeline_keep(p, name, *data, *n, err);
}

medley_status pipeline_load_bpe(const char *vocab, const char *merges, struct tokenizer **out,
                                medley_error *err)
{
    static const struct usual usual[] = {
        {"<s>", false, false},   {"<pad>", false, false}, {"</s>", false, false},
        {"<unk>", false, false}, {"<mask>", false, true}, {"<|endoftext|>", false, false},
    };
    struct pipeline *p = pipeline_new();
    char *data = NULL, *lines = NULL;
    size_t n = 0, n_lines = 0;
    if (!p)
        return fail_memory(err, "a tokenizer");
    medley_status st = keep_file(p, vocab, "vocab.json", &data, &n, err);
    if (!st)
        st = keep_file(p, merges, "merges.txt", &lines, &n_lines, err);
    if (!st)
        st = bpe_vocab(p, vocab, err);
    if (!st)
        st = bpe_new(&p->base.vocab, (struct str){lines, n_lines}, 1, merges, &p->model, err);
    if (!st && !(p->pre_tokenizer = pre_tokenizer_byte_level(false)))
        st = fail_memory(err, "a tokenizer");
    if (!st)
        st = know_usual(p, usual, sizeof usual / sizeof *usual, err);
    mem_free(data);
    mem_free(lines);
    return finish(p, st, out, err);
}

/* ---- SentencePiece ----
 * As the reference's converters: what the pieces lack becomes the unknown token, even where the
 * model has bytes to fall back to. */

/* XLM-R puts fairseq's special tokens before the pieces, of which it leaves out the first
 * three. */
enum { FAIRSEQ_SPECIALS = 4, FAIRSEQ_SKIPPED = 3 };

struct spm_vocab {
    struct str *texts; /* [n] */
    double *scores;    /* [n] */
    size_t n;
    int32_t unknown;
};

static void put(struct spm_vocab *v, struct str text, double score)
{
    v->texts[v->n] = text;
    v->scores[v->n++] = score;
}

static medley_status spm_vocab_of(const struct spm_file *f, bool fairseq, bool mask,
                                  struct spm_vocab *out, medley_error *err)
{
    static const char *const specials[] = {"<s>", "<pad>", "</s>", "<unk>"};
    size_t most = f->n + FAIRSEQ_SPECIALS + 1;
    struct spm_vocab v = {mem_zalloc(most, sizeof *v.texts), mem_zalloc(most, sizeof *v.scores),
                          0, -1};
    if (!v.texts || !v.scores) {
        mem_free(v.texts);
        mem_free(v.scores);
        return fail_memory(err, "a vocabulary");
    }
    for (int i = 0; fairseq && i < FAIRSEQ_SPECIALS; i++)
        put(&v, str_of(specials[i]), 0);
    for (size_t i = fairseq ? FAIRSEQ_SKIPPED : 0; i < f->n; i++) {
        if (!fairseq && f->pieces[i].type == SPM_UNKNOWN)
            v.unknown = (int32_t)v.n;
        put(&v, f->pieces[i].text, (double)f->pieces[i].score);
    }
    if (fairseq)
        v.unknown = FAIRSEQ_SPECIALS - 1;
    if (mask)
        put(&v, fairseq ? STR("<mask>") : STR("[MASK]"), 0);
    *out = v;
    return MEDLEY_OK;
}

static bool spm_has(const struct spm_file *f, const char *text)
{
    for (size_t i = 0; i < f->n; i++)
        if (str_is(f->pieces[i].text, text))
            return true;
    return false;
}

static medley_status build_spm(struct pipeline *p, const struct spm_file *f, const char *path,
                               medley_error *err)
{
    static const struct usual usual[] = {
        {"<s>", false, false},    {"<pad>", false, false}, {"</s>", false, false},
        {"<unk>", false, false},  {"<mask>", false, true}, {"[PAD]", false, false},
        {"[CLS]", false, false},  {"[SEP]", false, false}, {"[UNK]", true, false},
        {"[MASK]", false, false},
    };
    bool fairseq = strcmp(base_name(path), "sentencepiece.bpe.model") == 0;
    bool deberta = strcmp(base_name(path), "spm.model") == 0;
    bool mask = fairseq || (deberta && !spm_has(f, "[MASK]"));
    struct spm_vocab v = {0};
    if (f->model_type != 1)
        return fail(err, MEDLEY_EUNSUPPORTED,
                    "%s: a SentencePiece model of type %lld is not supported (Unigram is)",
                    path, (long long)f->model_type);
    medley_status st = spm_vocab_of(f, fairseq, mask, &v, err);
    if (!st)
        st = vocab_init(&p->base.vocab, v.texts, v.n, STR(""), err);
    if (!st)
        st = unigram_new(&p->base.vocab, v.scores, v.unknown, false, path, &p->model, err);
    mem_free(v.texts);
    mem_free(v.scores);
    if (!st)
        st = normalizer_sentencepiece(f->charsmap, f->squeeze, !fairseq, path, &p->normalizer,
                                      err);
    if (!st && !(p->pre_tokenizer = pre_tokenizer_metaspace()))
        st = fail_memory(err, "a tokenizer");
    return st ? st : know_usual(p, usual, sizeof usual / sizeof *usual, err);
}

medley_status pipeline_load_spm(const char *path, struct tokenizer **out, medley_error *err)
{
    struct pipeline *p = pipeline_new();
    struct spm_file f = {0};
    char *data = NULL;
    size_t n = 0;
    if (!p)
        return fail_memory(err, "a tokenizer");
    medley_status st = keep_file(p, path, base_name(path), &data, &n, err);
    if (!st)
        st = spm_parse((struct str){data, n}, path, &f, err);
    if (!st)
        st = build_spm(p, &f, path, err);
    spm_deinit(&f);
    mem_free(data);
    return finish(p, st, out, err);
}
