/* model_remote.c: an inference server as a base model: it was fitted elsewhere, so that its
 * predictions are treated like a table's (see guard.h), and asked for over HTTP. The saved form
 * is remote.json: where it is and how it is asked, never the token. What it said in training is
 * kept in .answers-SETTINGS beside it, so that a run that was cut short, or has more pairs than
 * the one before, asks for the new ones alone. Proof: tests/test_remote.c. */
#include "base/error.h"
#include "base/json.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "ensemble/answers.h"
#include "ensemble/base_model.h"
#include "remote/client.h"

#include <math.h>
#include <string.h>

enum { MOST_HEADERS = 32, MOST_LOCALES = 64 };

struct remote {
    json *root; /* owns most text below */
    struct client_options options;
    struct strbuf url;
    const char *headers[MOST_HEADERS]; /* owned lines */
    const char *locales[MOST_LOCALES + 1];
    struct hash128 settings; /* of what changes its answers */
    struct client *client;
};

static void remote_free(void *model)
{
    struct remote *r = model;
    if (!r)
        return;
    client_close(r->client);
    for (size_t i = 0; i < r->options.n_headers; i++)
        mem_free((char *)(uintptr_t)r->headers[i]);
    sb_deinit(&r->url);
    json_free(r->root);
    mem_free(r);
}

/* ---- remote.json ---- */

static void write_mapping(struct json_writer *j, const char *key, const struct yaml_node *node)
{
    jw_key(j, key), jw_object(j);
    for (size_t i = 0; node && i < node->count; i++)
        jw_key(j, node->keys[i]), jw_textz(j, node->items[i]->text);
    jw_object_end(j);
}

static void write_list(struct json_writer *j, const char *key, const char *const *list)
{
    jw_key(j, key);
    if (!list) {
        jw_null(j);
        return;
    }
    jw_array(j);
    for (; *list; list++)
        jw_textz(j, *list);
    jw_array_end(j);
}

static medley_status write_settings(const struct model_config *m, const char *folder,
                                    medley_error *err)
{
    const struct remote_options *o = &m->remote;
    struct strbuf text;
    struct json_writer j;
    char path[1100];
    sb_init(&text);
    jw_init(&j, &text, true);
    jw_object(&j);
    jw_key(&j, "format"), jw_i64(&j, 1);
    jw_key(&j, "url"), jw_textz(&j, o->url);
    jw_key(&j, "model"), jw_textz(&j, o->model ? o->model : m->name);
    jw_key(&j, "version"), jw_textz(&j, o->version);
    write_mapping(&j, "inputs", o->inputs);
    jw_key(&j, "output"), jw_textz(&j, o->output);
    write_list(&j, "classes", o->classes);
    write_list(&j, "locales", o->locales);
    jw_key(&j, "logits"), jw_bool(&j, o->logits);
    jw_key(&j, "column"), jw_bool(&j, o->column);
    jw_key(&j, "batch"), jw_i64(&j, o->batch);
    jw_key(&j, "timeout_ms"), jw_double(&j, o->timeout_ms);
    jw_key(&j, "deadline_ms"), jw_double(&j, o->deadline_ms);
    jw_key(&j, "retries"), jw_i64(&j, o->retries);
    jw_key(&j, "backoff_ms"), jw_double(&j, o->backoff_ms);
    jw_key(&j, "breaker_failures"), jw_i64(&j, o->breaker_failures);
    jw_key(&j, "breaker_open_ms"), jw_double(&j, o->breaker_open_ms);
    jw_key(&j, "token_env"), jw_textz(&j, o->token_env);
    write_mapping(&j, "headers", o->headers);
    jw_object_end(&j);
    sb_addc(&text, '\n');
    snprintf(path, sizeof path, "%s/remote.json", folder);
    medley_status st = make_folders(folder, err);
    if (!st)
        st = text.failed ? fail_memory(err, path) : file_write(path, text.s, text.n, err);
    sb_deinit(&text);
    return st;
}

static bool read_number(const json *root, const char *key, double min, double max, double *out)
{
    return json_as_double(json_get(root, key), out) && *out >= min && *out <= max;
}

static bool read_numbers(const json *root, struct client_options *o)
{
    double batch = 0, retries = 0, failures = 0;
    bool good = read_number(root, "batch", 1, 1000, &batch) &&
                read_number(root, "retries", 0, 20, &retries) &&
                read_number(root, "breaker_failures", 1, 10000, &failures) &&
                read_number(root, "timeout_ms", 1, 3.6e6, &o->timeout_ms) &&
                read_number(root, "deadline_ms", 1, 3.6e6, &o->deadline_ms) &&
                read_number(root, "backoff_ms", 0, 6e4, &o->backoff_ms) &&
                read_number(root, "breaker_open_ms", 1, 3.6e6, &o->breaker_open_ms) &&
                json_as_bool(json_get(root, "logits"), &o->protocol.logits) &&
                json_as_bool(json_get(root, "column"), &o->protocol.column);
    o->batch = (size_t)batch;
    o->retries = (unsigned)retries;
    o->breaker_failures = (unsigned)failures;
    return good;
}

static medley_status read_inputs(const json *inputs, struct protocol *p, medley_error *err)
{
    for (const json *i = json_first(inputs); i; i = json_next(i)) {
        if (p->n_inputs == REMOTE_MAX_INPUTS || !json_as_text(i, &p->pattern[p->n_inputs]))
            return fail(err, MEDLEY_EFORMAT, "inputs: expected 1 to %d texts",
                        REMOTE_MAX_INPUTS);
        medley_status st = template_check(p->pattern[p->n_inputs], err);
        if (st)
            return st;
        p->tensor[p->n_inputs++] = json_key(i);
    }
    return p->n_inputs ? MEDLEY_OK : fail(err, MEDLEY_EFORMAT, "inputs: there is none");
}

/* class_at: which class of ours the server's c-th column is. */
static medley_status read_classes(const json *list, const struct dataset *d, struct protocol *p,
                                  medley_error *err)
{
    uint32_t taken = 0, c = 0;
    const char *name;
    p->n_classes = d->n_classes;
    for (uint32_t i = 0; i < d->n_classes; i++)
        p->class_at[i] = i;
    if (json_count(list) == 0)
        return MEDLEY_OK;
    if (json_count(list) != d->n_classes)
        return fail(err, MEDLEY_EFORMAT, "classes: %zu names for %zu labels", json_count(list),
                    d->n_classes);
    for (const json *v = json_first(list); v; v = json_next(v), c++) {
        uint32_t at = 0;
        while (json_as_text(v, &name) && at < d->n_classes &&
               strcmp(name, d->class_names[at]) != 0)
            at++;
        if (!json_as_text(v, &name) || at == d->n_classes || taken >> at & 1)
            return fail(err, MEDLEY_EFORMAT, "classes: name %u is no label, or comes twice", c);
        taken |= UINT32_C(1) << at;
        p->class_at[c] = at;
    }
    return MEDLEY_OK;
}

static medley_status read_headers(struct remote *r, const json *headers, medley_error *err)
{
    const char *value;
    for (const json *h = json_first(headers); h; h = json_next(h)) {
        struct strbuf line;
        if (r->options.n_headers == MOST_HEADERS || !json_as_text(h, &value))
            return fail(err, MEDLEY_EFORMAT, "headers: expected at most %d texts",
                        MOST_HEADERS);
        sb_init(&line);
        sb_addf(&line, "%s: %s", json_key(h), value);
        char *text = sb_steal(&line);
        if (!text)
            return fail_memory(err, "headers");
        if (text[strcspn(text, "\r\n")]) {
            mem_free(text);
            return fail(err, MEDLEY_EFORMAT, "headers: a line break in '%s'", json_key(h));
        }
        r->headers[r->options.n_headers++] = text;
    }
    return MEDLEY_OK;
}

static medley_status read_locales(struct remote *r, const json *list, medley_error *err)
{
    size_t n = 0;
    for (const json *v = json_first(list); v; v = json_next(v))
        if (n == MOST_LOCALES || !json_as_text(v, &r->locales[n++]))
            return fail(err, MEDLEY_EFORMAT, "locales: expected at most %d texts",
                        MOST_LOCALES);
    return MEDLEY_OK;
}

static medley_status read_place(struct remote *r, medley_error *err)
{
    const char *url = NULL, *model = NULL, *version = NULL;
    struct client_options *o = &r->options;
    json_as_text(json_get(r->root, "url"), &url);
    json_as_text(json_get(r->root, "model"), &model);
    json_as_text(json_get(r->root, "version"), &version);
    json_as_text(json_get(r->root, "token_env"), &o->token_env);
    if (!url || !model || !json_as_text(json_get(r->root, "output"), &o->protocol.output) ||
        !read_numbers(r->root, o))
        return fail(err, MEDLEY_EFORMAT, "expected url, model, output and the limits");
    size_t n = strlen(url);
    sb_addf(&r->url, "%.*s/v2/models/%s", (int)(n && url[n - 1] == '/' ? n - 1 : n), url,
            model);
    if (version)
        sb_addf(&r->url, "/versions/%s", version);
    sb_addz(&r->url, "/infer");
    o->url = r->url.s;
    o->headers = r->headers;
    return r->url.failed ? fail_memory(err, "a URL") : MEDLEY_OK;
}

static void hash_settings(struct remote *r)
{
    const struct protocol *p = &r->options.protocol;
    struct hash128 h = hash_bytes(r->url.s, r->url.n + 1, (struct hash128){1, 0});
    h = hash_bytes(p->output, strlen(p->output) + 1, h);
    h = hash_bytes(p->class_at, p->n_classes * sizeof *p->class_at, h);
    h = hash_bytes(&p->logits, sizeof p->logits, h);
    for (size_t i = 0; i < p->n_inputs; i++) {
        h = hash_bytes(p->tensor[i], strlen(p->tensor[i]) + 1, h);
        h = hash_bytes(p->pattern[i], strlen(p->pattern[i]) + 1, h);
    }
    r->settings = h;
}

static medley_status remote_load(const struct model_context *c, const char *folder,
                                 void **model, medley_error *err)
{
    struct remote *r = mem_zalloc(1, sizeof *r);
    char path[1100];
    int64_t format = 0;
    if (!r)
        return fail_memory(err, "a remote model");
    sb_init(&r->url);
    snprintf(path, sizeof path, "%s/remote.json", folder);
    medley_status st = json_load(path, &r->root, err);
    if (st)
        goto done;
    if (!json_as_i64(json_get(r->root, "format"), &format) || format != 1)
        st = fail(err, MEDLEY_EFORMAT, "expected format 1");
    if (!st && !(st = read_place(r, err)) &&
        !(st = read_inputs(json_get(r->root, "inputs"), &r->options.protocol, err)) &&
        !(st =
              read_classes(json_get(r->root, "classes"), c->data, &r->options.protocol, err)) &&
        !(st = read_headers(r, json_get(r->root, "headers"), err)))
        st = read_locales(r, json_get(r->root, "locales"), err);
    if (st) {
        fail_within(err, st, "%s", path);
        goto done;
    }
    hash_settings(r);
    r->options.seed = r->settings.low;
    st = client_open(&r->options, &r->client, err);
done:
    if (st)
        remote_free(r);
    else
        *model = r;
    return st;
}

/* ---- what it said before ---- */

/* An append-only file of records {key, K floats, check}; what does not check (a run that was
 * killed) ends it. */
struct answers {
    FILE *f;
    struct map *known; /* key -> row */
    float *rows;       /* [map_count * k] */
    size_t capacity, k, record;
};

static void answers_close(struct answers *a)
{
    if (a->f)
        fclose(a->f);
    map_free(a->known);
    mem_free(a->rows);
}

static medley_status answers_learn(struct answers *a, const struct hash128 *key, const float *p,
                                   medley_error *err)
{
    bool added;
    uint32_t id = map_add(a->known, (struct str){(const char *)key, sizeof *key}, &added);
    if (id == MAP_NONE ||
        !mem_reserve(&a->rows, &a->capacity, ((size_t)id + 1) * a->k, sizeof *a->rows))
        return fail_memory(err, "a remote model's answers");
    memcpy(a->rows + id * a->k, p, a->k * sizeof *p);
    return MEDLEY_OK;
}

static medley_status answers_keep(struct answers *a, const struct hash128 *key, const float *p,
                                  medley_error *err)
{
    struct hash128 check = hash_bytes(p, a->k * sizeof *p, *key);
    if (fwrite(key, sizeof *key, 1, a->f) != 1 || fwrite(p, sizeof *p, a->k, a->f) != a->k ||
        fwrite(&check.low, sizeof check.low, 1, a->f) != 1)
        return fail(err, MEDLEY_EIO, "cannot keep a remote model's answers");
    return answers_learn(a, key, p, err);
}

static medley_status answers_open(struct answers *a, const char *path, size_t k,
                                  medley_error *err)
{
    medley_status st = MEDLEY_OK;
    struct mapping m = {NULL, 0};
    size_t at = 0;
    a->k = k;
    a->record = sizeof(struct hash128) + k * sizeof(float) + sizeof(uint64_t);
    if (!(a->known = map_new(1024)))
        return fail_memory(err, "a remote model's answers");
    if (file_exists(path) && (st = mapping_open(path, &m, err)))
        return st;
    for (; !st && m.n - at >= a->record; at += a->record) {
        struct hash128 key;
        float p[MAX_CLASSES];
        uint64_t check;
        memcpy(&key, m.data + at, sizeof key);
        memcpy(p, m.data + at + sizeof key, k * sizeof *p);
        memcpy(&check, m.data + at + a->record - sizeof check, sizeof check);
        if (hash_bytes(p, k * sizeof *p, key).low != check)
            break;
        st = answers_learn(a, &key, p, err);
    }
    mapping_close(&m);
    if (st)
        return st;
    a->f = fopen(path, at ? "r+b" : "wb");
    if (!a->f || fseek(a->f, (long)at, SEEK_SET) != 0)
        return fail(err, MEDLEY_EIO, "cannot write '%s'", path);
    return MEDLEY_OK;
}

static struct hash128 key_of(const struct remote *r, const struct pair_text *t,
                             struct strbuf *room)
{
    const struct protocol *p = &r->options.protocol;
    sb_clear(room);
    for (size_t i = 0; i < p->n_inputs; i++) {
        template_fill(p->pattern[i], t, room);
        sb_addc(room, '\0');
    }
    return hash_bytes(room->s, room->n, r->settings);
}

/* ---- asking ---- */

static bool asked_for(const struct remote *r, struct str locale)
{
    for (size_t i = 0; r->locales[i]; i++)
        if (str_is(locale, r->locales[i]))
            return true;
    return !r->locales[0];
}

struct chunk {
    struct pair_text *texts;
    struct hash128 *keys;
    uint32_t *rows;
    float *p;
    size_t n, capacity;
};

static medley_status chunk_ask(struct remote *r, struct chunk *c, struct answers *a,
                               const char *name, float *out, medley_error *err)
{
    size_t k = a->k;
    medley_status st = client_ask(r->client, c->texts, c->n, NULL, true, c->p, err);
    if (!st)
        st = answers_check(name, c->p, c->n, k, err);
    for (size_t i = 0; i < c->n && !st; i++) {
        if (isnan(c->p[i * k])) /* JSON has no NaN; null is no number: this cannot be */
            st = fail(err, MEDLEY_EFORMAT, "'%s' gave no answer", name);
        else
            st = answers_keep(a, &c->keys[i], c->p + i * k, err);
        memcpy(out + (size_t)c->rows[i] * k, c->p + i * k, k * sizeof *out);
    }
    if (!st && fflush(a->f) != 0)
        st = fail(err, MEDLEY_EIO, "cannot keep a remote model's answers");
    c->n = 0;
    return st;
}

/* rows NULL: all of [0, n). out[row * k]. */
static medley_status ask_rows(struct remote *r, const struct model_context *c,
                              struct answers *a, float *out, medley_error *err)
{
    const struct dataset *d = c->data;
    size_t capacity = r->options.batch, k = d->n_classes, asked = 0;
    struct chunk chunk = {.texts = mem_alloc(capacity, sizeof *chunk.texts),
                          .keys = mem_alloc(capacity, sizeof *chunk.keys),
                          .rows = mem_alloc(capacity, sizeof *chunk.rows),
                          .p = mem_alloc(capacity, k * sizeof *chunk.p)};
    struct strbuf room;
    sb_init(&room);
    medley_status st = chunk.texts && chunk.keys && chunk.rows && chunk.p
                           ? MEDLEY_OK
                           : fail_memory(err, "pairs to ask for");
    for (size_t i = 0; i < d->n_examples && !st; i++) {
        struct pair_text t = dataset_pair(d, d->example_query[i], d->example_product[i]);
        if (interrupted())
            st = fail(err, MEDLEY_EINTERRUPTED, "interrupted");
        else if (asked_for(r, t.locale)) {
            struct hash128 key = key_of(r, &t, &room);
            uint32_t id = map_find(a->known, (struct str){(const char *)&key, sizeof key});
            if (id != MAP_NONE) {
                memcpy(out + i * k, a->rows + id * k, k * sizeof *out);
            } else {
                chunk.texts[chunk.n] = t;
                chunk.keys[chunk.n] = key;
                chunk.rows[chunk.n++] = (uint32_t)i;
                asked++;
            }
        }
        if (!st && chunk.n && (chunk.n == capacity || i + 1 == d->n_examples)) {
            st = chunk_ask(r, &chunk, a, c->config->name, out, err);
            progress_step(c->config->name, i + 1, d->n_examples, "pairs");
        }
    }
    if (!st && chunk.n) /* the last rows were of other locales */
        st = chunk_ask(r, &chunk, a, c->config->name, out, err);
    if (!st && room.failed)
        st = fail_memory(err, "texts to ask for");
    progress_end(c->config->name);
    progress_note("%s: asked for %zu pairs, %zu were known", c->config->name, asked,
                  map_count(a->known) - asked);
    sb_deinit(&room);
    mem_free(chunk.texts), mem_free(chunk.keys), mem_free(chunk.rows), mem_free(chunk.p);
    return st;
}

static medley_status remote_collect(const struct workspace *w, const struct model_context *c,
                                    const char *folder, float *probabilities, medley_error *err)
{
    void *model = NULL;
    struct answers a = {0};
    char path[1100], settings[33];
    (void)w;
    medley_status st = write_settings(c->config, folder, err);
    if (!st)
        st = remote_load(c, folder, &model, err);
    if (st)
        return st;
    hash_text(((struct remote *)model)->settings, settings);
    snprintf(path, sizeof path, "%s/.answers-%.16s", folder, settings);
    st = answers_open(&a, path, c->data->n_classes, err);
    if (!st)
        st = ask_rows(model, c, &a, probabilities, err);
    answers_close(&a);
    remote_free(model);
    return st;
}

static medley_status ask_list(const struct remote *r, const struct pair_text *texts, size_t n,
                              size_t k, const char *traceparent, bool patient,
                              float *probabilities, medley_error *err)
{
    struct pair_text *chosen = mem_alloc(n, sizeof *chosen);
    float *p = mem_alloc(n, k * sizeof *p);
    size_t m = 0;
    medley_status st = chosen && p ? MEDLEY_OK : fail_memory(err, "pairs to ask for");
    for (size_t i = 0; i < n && !st; i++)
        if (asked_for(r, texts[i].locale))
            chosen[m++] = texts[i];
    if (!st && m)
        st = client_ask(r->client, chosen, m, traceparent, patient, p, err);
    m = 0;
    for (size_t i = 0; i < n && !st; i++) {
        if (asked_for(r, texts[i].locale))
            memcpy(probabilities + i * k, p + m++ * k, k * sizeof *p);
        else
            answers_none(probabilities + i * k, 1, k);
    }
    mem_free(chosen);
    mem_free(p);
    return st;
}

static medley_status remote_predict(const struct model_context *c, const void *model,
                                    const uint32_t *rows, size_t n, const char *task,
                                    float *probabilities, medley_error *err)
{
    const struct dataset *d = c->data;
    struct pair_text *texts = mem_alloc(n, sizeof *texts);
    (void)task;
    if (!texts)
        return fail_memory(err, "pairs to predict");
    for (size_t i = 0; i < n; i++)
        texts[i] = dataset_pair(d, d->example_query[rows[i]], d->example_product[rows[i]]);
    medley_status st = ask_list(model, texts, n, d->n_classes, NULL, true, probabilities, err);
    mem_free(texts);
    return st;
}

static medley_status remote_answer(const struct model_context *c, const void *model,
                                   const struct model_request *r, float *probabilities,
                                   medley_error *err)
{
    return ask_list(model, r->texts, r->n, c->data->n_classes, r->traceparent, false,
                    probabilities, err);
}

static medley_status remote_save(const void *model, const char *folder, medley_error *err)
{
    (void)model, (void)folder, (void)err; /* collect wrote it */
    return MEDLEY_OK;
}

static size_t remote_memory(const void *model)
{
    (void)model; /* its memory is somebody else's */
    return sizeof(struct remote);
}

static void remote_health(const void *model, medley_model_health *out)
{
    const struct remote *r = model;
    struct client_counters n = client_counters(r->client);
    out->state = (unsigned)n.state;
    out->requests = n.requests;
    out->request_failures = n.failures;
    out->retries = n.retries;
    out->lists_refused = n.refused;
}

const struct base_model_ops remote_kind = {
    .kind = "remote",
    .outside = true,
    .collect = remote_collect,
    .save = remote_save,
    .load = remote_load,
    .free = remote_free,
    .memory = remote_memory,
    .predict = remote_predict,
    .answer = remote_answer,
    .health = remote_health,
};
