/* cross_encoder.c: making, loading and saving a cross-encoder. A saved folder is what Hugging
 * Face expects (config.json, model.safetensors, tokenizer files) plus medley.json and
 * keywords.txt. */
#include "lm/workspace.h"

#include "base/error.h"
#include "base/memory.h"
#include "lm/corpus.h"

#include <string.h>

#define KEYWORDS_FILE "keywords.txt"

void cross_encoder_free(struct cross_encoder *m)
{
    if (!m)
        return;
    for (size_t c = 0; c < m->n_classes; c++)
        mem_free(m->class_names[c]);
    encoder_deinit(&m->encoder);
    packs_free(m->packs);
    lm_workspaces_free(m->workspaces);
    params_deinit(&m->params);
    tokenizer_free(m->tokenizer);
    keywords_free(m->keywords);
    mem_free(m->logit_map);
    mem_free(m);
}

medley_status lm_take_classes(struct cross_encoder *m, const char *const *names, size_t n,
                              medley_error *err)
{
    for (; m->n_classes < n; m->n_classes++)
        if (!(m->class_names[m->n_classes] = mem_strdup(names[m->n_classes])))
            return fail_memory(err, "class names");
    return MEDLEY_OK;
}

static medley_status train_vocabulary(struct cross_encoder *m, const struct dataset *d,
                                      medley_error *err)
{
    struct tokenizer_training options = {
        .vocabulary = m->options.vocabulary,
        .keep_accents = true,
        .extra_specials = lm_field_markers,
    };
    return corpus_train_tokenizer(d, NULL, &options, &m->tokenizer, err);
}

static medley_status build_keywords(struct cross_encoder *m, const struct dataset *d,
                                    medley_error *err)
{
    struct strbuf text;
    if (!(m->keywords = keywords_new()))
        return fail_memory(err, "keywords");
    sb_init(&text);
    medley_status st = MEDLEY_OK;
    for (uint32_t p = 0; p < d->n_products && !st; p++) {
        struct product_text t = dataset_product(d, p);
        sb_clear(&text);
        sb_add(&text, t.bullets.s, t.bullets.n);
        sb_addc(&text, '\n');
        sb_add(&text, t.description.s, t.description.n);
        st = text.failed
                 ? fail_memory(err, "keywords")
                 : keywords_add(m->keywords, str_of(d->locale_names[d->product_locale[p]]),
                                sb_str(&text), err);
    }
    sb_deinit(&text);
    return st;
}

static medley_status configure(struct cross_encoder *m, const struct lm_options *options,
                               const struct dataset *d, medley_error *err)
{
    if (options->pretrained) {
        medley_status st =
            encoder_config_load(options->pretrained, options->layers, &m->encoder, err);
        return st ? st : tokenizer_load(options->pretrained, &m->tokenizer, err);
    }
    medley_status st = train_vocabulary(m, d, err);
    if (st)
        return st;
    const struct lm_options *o = &m->options;
    struct encoder_sizes sizes = {
        .family = options->family ? options->family : "bert",
        .vocabulary = (unsigned)tokenizer_size(m->tokenizer),
        .hidden = o->hidden,
        .layers = o->layers ? o->layers : 2,
        .heads = o->heads,
        .intermediate = o->intermediate,
        .max_tokens = o->max_tokens > 128 ? o->max_tokens : 128,
        .padding = tokenizer_specials(m->tokenizer).pad,
    };
    return encoder_config_new(&sizes, &m->encoder, err);
}

/* What must hold between tokenizer, encoder and options, however they came. */
static medley_status check(const struct cross_encoder *m, medley_error *err)
{
    const struct encoder_config *c = &m->encoder.config;
    size_t n, texts = 0;
    const struct tokenizer_slot *slots = tokenizer_frame(m->tokenizer, true, &n);
    for (size_t i = 0; i < n; i++)
        texts += slots[i].id == (texts ? TOKENIZER_B : TOKENIZER_A);
    if (tokenizer_size(m->tokenizer) > c->vocabulary)
        return fail(err, MEDLEY_EFORMAT,
                    "the tokenizer has %zu tokens, the model's embeddings %u rows",
                    tokenizer_size(m->tokenizer), c->vocabulary);
    if (texts != 2 || n < 3 || n > 8 || slots[0].id < 0)
        return fail(
            err, MEDLEY_EFORMAT,
            "the tokenizer does not say how two texts are put together ([CLS] a [SEP] b "
            "[SEP])");
    if (m->options.max_tokens < 8 || m->options.max_tokens > c->positions - c->first_position)
        return fail(err, MEDLEY_EINVAL,
                    "max_tokens %u is not from 8 to the model's %u positions",
                    m->options.max_tokens, c->positions - c->first_position);
    return MEDLEY_OK;
}

/* `whole`: the checkpoint is one of ours, so its head must be there too. */
static medley_status allocate(struct cross_encoder *m, const char *checkpoint, bool whole,
                              medley_error *err)
{
    medley_status st = check(m, err);
    params_init(&m->params);
    if (!st)
        st = m->encoder.family->declare(&m->encoder, &m->params, m->n_classes, err);
    if (!st)
        st = lm_head_declare(m, err);
    if (!st && m->options.lora.rank)
        adapters_declare(&m->params, m->encoder.marks[0],
                         m->encoder.marks[m->encoder.config.layers], &m->options.lora);
    m->encoder.recompute = m->options.recompute;
    if (!st && checkpoint)
        st = encoder_check_params(&m->encoder, &m->params, checkpoint, whole, err);
    if (!st)
        st = params_allocate(&m->params, m->options.seed, err);
    if (!st && checkpoint)
        st = encoder_load_params(&m->encoder, &m->params, checkpoint, err);
    if (!st && (m->options.freeze_embeddings || m->options.freeze_layers))
        encoder_freeze(&m->encoder, &m->params, m->options.freeze_layers);
    if (!st && !(m->workspaces = lm_workspaces_new()))
        st = fail_memory(err, "a forward pass");
    if (!st)
        lm_fields_find_markers(m);
    return st;
}

medley_status cross_encoder_set_precision(struct cross_encoder *m, enum precision precision,
                                          medley_error *err)
{
    m->precision = precision;
    return lm_seal(m, err);
}

void lm_unseal(struct cross_encoder *m)
{
    packs_free(m->packs);
    m->packs = NULL;
}

medley_status lm_seal(struct cross_encoder *m, medley_error *err)
{
    lm_unseal(m);
    const struct encoder *e = &m->encoder;
    bool first = e->family->layer_first && m->head == HEAD_CLS;
    m->packs =
        packs_new(&m->params, m->precision, first ? e->exact_from : e->marks[e->config.layers]);
    return m->packs ? MEDLEY_OK : fail_memory(err, "weights for inference");
}

medley_status cross_encoder_new(const struct lm_options *options, const struct dataset *d,
                                struct cross_encoder **out, medley_error *err)
{
    struct cross_encoder *m = mem_zalloc(1, sizeof *m);
    if (!m)
        return fail_memory(err, "a language model");
    medley_status st = lm_options_take(m, options, d->n_classes, err);
    if (!st)
        st = lm_head_parse(options->head ? options->head : "cls", &m->head, err);
    if (!st)
        st = precision_parse(options->precision ? options->precision : "float32", &m->precision,
                             err);
    if (!st)
        st = lm_fields_parse(m, options->fields ? options->fields : "query,title,brand,color",
                             err);
    if (!st)
        st = lm_take_classes(m, (const char *const *)d->class_names, d->n_classes, err);
    if (!st)
        st = configure(m, options, d, err);
    if (!st && lm_fields_need_keywords(m))
        st = build_keywords(m, d, err);
    if (!st)
        st = allocate(m, options->pretrained, false, err);
    if (!st)
        st = lm_seal(m, err);
    if (st)
        cross_encoder_free(m);
    else
        *out = m;
    return st;
}

static medley_status in_folder(const char *folder, const char *name, char **path,
                               medley_error *err)
{
    *path = path_join(folder, name);
    return *path ? MEDLEY_OK : fail_memory(err, "a path");
}

static medley_status write_text(const char *folder, const char *name, const struct strbuf *text,
                                medley_error *err)
{
    char *path;
    medley_status st = in_folder(folder, name, &path, err);
    if (!st)
        st = text->failed ? fail_memory(err, name) : file_write(path, text->s, text->n, err);
    mem_free(path);
    return st;
}

static medley_status save_settings(const struct cross_encoder *m, const char *folder,
                                   medley_error *err)
{
    struct strbuf text, fields;
    struct json_writer w;
    sb_init(&text);
    sb_init(&fields);
    lm_fields_write(m, &fields);
    jw_init(&w, &text, true);
    jw_object(&w);
    jw_key(&w, "format"), jw_i64(&w, 1);
    jw_key(&w, "fields"), jw_text(&w, sb_str(&fields));
    if (m->plain)
        jw_key(&w, "plain"), jw_bool(&w, true);
    jw_key(&w, "head"), jw_textz(&w, lm_head_names[m->head]);
    jw_key(&w, "precision"), jw_textz(&w, precision_names[m->precision]);
    jw_key(&w, "probabilities"), jw_textz(&w, m->recipe.sigmoid < 1 ? "softmax" : "sigmoid");
    jw_key(&w, "max_tokens"), jw_i64(&w, m->options.max_tokens);
    jw_key(&w, "keyword_words"), jw_i64(&w, m->options.keyword_words);
    jw_key(&w, "classes"), jw_array(&w);
    for (size_t c = 0; c < m->n_classes; c++)
        jw_textz(&w, m->class_names[c]);
    jw_array_end(&w);
    jw_object_end(&w);
    sb_addc(&text, '\n');
    text.failed |= fields.failed;
    medley_status st = write_text(folder, "medley.json", &text, err);
    sb_deinit(&fields);
    sb_deinit(&text);
    return st;
}

static medley_status save_params(const struct cross_encoder *m, const char *folder,
                                 medley_error *err)
{
    char *path;
    struct st_writer *w = NULL;
    medley_status st = in_folder(folder, "model.safetensors", &path, err);
    if (!st && !(w = st_writer_new()))
        st = fail_memory(err, "a checkpoint");
    if (!st) {
        st_writer_metadata(w, "format", "pt");
        params_write(&m->params, NULL, w);
        st = st_writer_commit(w, path, err);
    }
    st_writer_free(w);
    mem_free(path);
    return st;
}

medley_status cross_encoder_save(const struct cross_encoder *m, const char *folder,
                                 medley_error *err)
{
    struct strbuf config;
    char *keywords = NULL;
    medley_status st = make_folders(folder, err);
    if (!st)
        st = tokenizer_save(m->tokenizer, folder, err);
    if (!st && m->keywords) {
        st = in_folder(folder, KEYWORDS_FILE, &keywords, err);
        if (!st)
            st = keywords_save(m->keywords, keywords, err);
        mem_free(keywords);
    }
    sb_init(&config);
    encoder_config_write(&m->encoder, lm_head_architecture(m),
                         (const char *const *)m->class_names, m->n_classes, &config);
    if (!st)
        st = write_text(folder, "config.json", &config, err);
    sb_deinit(&config);
    if (!st)
        st = save_settings(m, folder, err);
    return st ? st
              : save_params(m, folder, err); /* the largest last: it completes the folder */
}

static medley_status load_settings(struct cross_encoder *m, const char *folder,
                                   medley_error *err)
{
    char *path;
    json *root = NULL;
    const char *fields = NULL, *head = NULL, *names[MAX_CLASSES];
    const char *how = "softmax";
    const char *precision = precision_names[PRECISION_FLOAT32]; /* older folders say nothing */
    int64_t max_tokens = 0, words = 0;
    size_t n = 0;
    medley_status st = in_folder(folder, "medley.json", &path, err);
    if (!st)
        st = json_load(path, &root, err);
    if (!st) {
        const json *classes = json_get(root, "classes");
        bool good = json_as_text(json_get(root, "fields"), &fields) &&
                    json_as_text(json_get(root, "head"), &head) &&
                    (!json_get(root, "probabilities") ||
                     json_as_text(json_get(root, "probabilities"), &how)) &&
                    (strcmp(how, "softmax") == 0 || strcmp(how, "sigmoid") == 0) &&
                    json_as_i64(json_get(root, "max_tokens"), &max_tokens) && max_tokens >= 8 &&
                    max_tokens <= 100000 &&
                    json_as_i64(json_get(root, "keyword_words"), &words) && words > 0 &&
                    words <= 100000 && json_count(classes) >= 2 &&
                    json_count(classes) <= MAX_CLASSES;
        json_as_text(json_get(root, "precision"), &precision);
        json_as_bool(json_get(root, "plain"), &m->plain);
        for (const json *c = json_first(classes); c && good; c = json_next(c))
            good = json_as_text(c, &names[n++]);
        if (!good)
            st = fail(err, MEDLEY_EFORMAT,
                      "%s: expected fields, head, probabilities (softmax or sigmoid), "
                      "max_tokens, keyword_words and 2 to 16 classes",
                      path);
    }
    if (!st) {
        m->recipe.sigmoid = strcmp(how, "sigmoid") == 0;
        m->options.max_tokens = (unsigned)max_tokens;
        m->options.keyword_words = (unsigned)words;
        st = lm_head_parse(head, &m->head, err);
        if (!st)
            st = precision_parse(precision, &m->precision, err);
        if (!st)
            st = lm_fields_parse(m, fields, err);
        if (st)
            st = fail_within(err, st, "%s", path);
    }
    if (!st)
        st = lm_take_classes(m, names, n, err);
    json_free(root);
    mem_free(path);
    return st;
}

medley_status cross_encoder_load(const char *folder, struct cross_encoder **out,
                                 medley_error *err)
{
    char *keywords = NULL;
    struct cross_encoder *m = mem_zalloc(1, sizeof *m);
    if (!m)
        return fail_memory(err, "a language model");
    medley_status st = lm_options_take(m, &(struct lm_options){0}, 0, err);
    if (!st)
        st = load_settings(m, folder, err);
    if (!st)
        st = encoder_config_load(folder, 0, &m->encoder, err);
    if (!st)
        st = tokenizer_load(folder, &m->tokenizer, err);
    if (!st && lm_fields_need_keywords(m)) {
        st = in_folder(folder, KEYWORDS_FILE, &keywords, err);
        if (!st)
            st = keywords_load(keywords, &m->keywords, err);
        mem_free(keywords);
    }
    if (!st)
        st = allocate(m, folder, true, err);
    if (!st)
        st = lm_seal(m, err);
    if (st)
        cross_encoder_free(m);
    else
        *out = m;
    return st;
}

/* ---- a classifier of others ---- */

/* The most tokens that tokenizer_config.json names, if it does. */
static medley_status cut_to_tokenizer(struct cross_encoder *m, const char *folder,
                                      medley_error *err)
{
    char *path;
    json *root = NULL;
    double most;
    medley_status st = in_folder(folder, "tokenizer_config.json", &path, err);
    if (!st && file_exists(path))
        st = json_load(path, &root, err);
    /* 1e30 and such stand for none */
    if (!st && json_as_double(json_get(root, "model_max_length"), &most) && most >= 1 &&
        most < m->options.max_tokens)
        m->options.max_tokens = (unsigned)most;
    json_free(root);
    mem_free(path);
    return st;
}

medley_status cross_encoder_load_plain(const char *folder, struct cross_encoder **out,
                                       medley_error *err)
{
    struct cross_encoder *m = mem_zalloc(1, sizeof *m);
    if (!m)
        return fail_memory(err, "a language model");
    medley_status st = lm_options_take(m, &(struct lm_options){0}, 0, err);
    m->plain = true;
    m->head = HEAD_CLS;
    m->fields[m->n_fields++] = FIELD_TITLE;
    if (!st)
        st = encoder_config_labels(folder, m->class_names, &m->n_classes, err);
    if (!st)
        st = encoder_config_load(folder, 0, &m->encoder, err);
    if (!st) {
        const struct encoder_config *c = &m->encoder.config;
        m->recipe.sigmoid = c->problem == PROBLEM_MULTI_LABEL;
        m->options.max_tokens = c->positions - c->first_position;
        st = cut_to_tokenizer(m, folder, err);
    }
    if (!st)
        st = tokenizer_load(folder, &m->tokenizer, err);
    if (!st)
        st = allocate(m, folder, true, err);
    if (!st)
        st = lm_seal(m, err);
    if (st)
        cross_encoder_free(m);
    else
        *out = m;
    return st;
}

static bool holds(const char *folder, const char *name)
{
    char *path = path_join(folder, name);
    bool there = path && file_exists(path);
    mem_free(path);
    return there;
}

medley_status cross_encoder_open(const char *folder, struct cross_encoder **out,
                                 medley_error *err)
{
    if (holds(folder, "medley.json"))
        return cross_encoder_load(folder, out, err);
    if (holds(folder, "config.json"))
        return cross_encoder_load_plain(folder, out, err);
    return fail(err, MEDLEY_ENOTFOUND,
                "'%s' holds no model: neither medley.json nor config.json", folder);
}

size_t cross_encoder_width(const struct cross_encoder *m)
{
    return m->encoder.config.hidden;
}

size_t cross_encoder_classes(const struct cross_encoder *m)
{
    return m->n_classes;
}

size_t cross_encoder_memory(const struct cross_encoder *m)
{
    return m->params.total * sizeof(float) + packs_bytes(m->packs) +
           tokenizer_size(m->tokenizer) * 32;
}
