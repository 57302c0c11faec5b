/* model_plugin.c: a shared library as a base model; see medley/plugin.h, the contract, which
 * this file enforces as far as one can within a process. The saved form is plugin.json (the
 * library's path and hash, settings) beside what the plugin itself left in its folder.
 * Proof: tests/test_plugin.c. */
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "ensemble/answers.h"
#include "ensemble/base_model.h"
#include "medley/plugin.h"

#include <dirent.h>
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { BATCH = 256, MOST_SETTINGS = 64, GUARD = 64 };

/* What the plugin may not write to, put behind its buffer. */
#define GUARD_VALUE -12345.5f

struct plugin {
    char library[1024], hash[33];
    char folder[1024];                     /* where its own files lie */
    char *settings[2 * MOST_SETTINGS + 1]; /* key, value, ..., NULL; owned */
    void *code;                            /* dlopen */
    medley_plugin *handle;
    int (*open)(const medley_plugin_setup *, medley_plugin **, char *, size_t);
    int (*predict)(const medley_plugin *, const medley_plugin_pair *, size_t, float *, char *,
                   size_t);
    void (*close)(medley_plugin *);
};

static void plugin_free(void *model)
{
    struct plugin *p = model;
    if (!p)
        return;
    if (p->handle)
        p->close(p->handle);
    if (p->code)
        dlclose(p->code);
    for (size_t i = 0; p->settings[i]; i++)
        mem_free(p->settings[i]);
    mem_free(p);
}

static medley_status find(struct plugin *p, const char *name, void *out, medley_error *err)
{
    void *symbol = dlsym(p->code, name);
    if (!symbol)
        return fail(err, MEDLEY_EFORMAT,
                    "'%s' has no function '%s': it is no plugin of interface version %d "
                    "(include/medley/plugin.h)",
                    p->library, name, MEDLEY_PLUGIN_VERSION);
    memcpy(out, &symbol, sizeof symbol); /* ISO C knows no cast to a function */
    return MEDLEY_OK;
}

#define NAME_OF_(x) #x
#define NAME_OF(x) NAME_OF_(x)

static medley_status open_library(struct plugin *p, medley_error *err)
{
    struct hash128 hash = {0, 0};
    medley_status st = hash_file(p->library, &hash, err);
    if (st)
        return st;
    hash_text(hash, p->hash);
    /* A name without a slash would be searched for in the system's folders. */
    p->code = dlopen(p->library, RTLD_NOW | RTLD_LOCAL);
    if (!p->code)
        return fail(err, MEDLEY_EFORMAT, "cannot load plugin '%s': %s", p->library, dlerror());
    if ((st = find(p, NAME_OF(medley_plugin_open), &p->open, err)) ||
        (st = find(p, NAME_OF(medley_plugin_predict), &p->predict, err)))
        return st;
    return find(p, NAME_OF(medley_plugin_close), &p->close, err);
}

static medley_status add_setting(struct plugin *p, const char *key, const char *value,
                                 medley_error *err)
{
    size_t n = 0;
    while (p->settings[n])
        n++;
    if (n == 2 * MOST_SETTINGS)
        return fail(err, MEDLEY_EINVAL, "a plugin has more than %d settings", MOST_SETTINGS);
    char *k = mem_strdup(key), *v = mem_strdup(value);
    if (!k || !v) {
        mem_free(k), mem_free(v);
        return fail_memory(err, "a plugin's settings");
    }
    p->settings[n] = k;
    p->settings[n + 1] = v;
    return MEDLEY_OK;
}

static medley_status open_handle(struct plugin *p, const struct dataset *d,
                                 const medley_plugin_pair *pairs, const uint8_t *labels,
                                 size_t n, uint64_t seed, medley_error *err)
{
    char message[512] = "";
    medley_plugin_setup setup = {.folder = p->folder,
                                 .settings = (const char *const *)p->settings,
                                 .classes = (const char *const *)d->class_names,
                                 .n_classes = d->n_classes,
                                 .seed = seed,
                                 .pairs = n ? pairs : NULL,
                                 .labels = n ? labels : NULL,
                                 .n_pairs = n};
    int bad = p->open(&setup, &p->handle, message, sizeof message);
    message[sizeof message - 1] = 0;
    if (bad || !p->handle) {
        p->handle = NULL;
        return fail(err, MEDLEY_EINVAL, "plugin '%s' cannot %s: %s", p->library,
                    n ? "be trained" : "be opened", *message ? message : "it does not say why");
    }
    return MEDLEY_OK;
}

static medley_plugin_text text_of(struct str s)
{
    return (medley_plugin_text){s.s ? s.s : "", s.n};
}

static medley_plugin_pair pair_of(const struct pair_text *t)
{
    const struct product_text *p = &t->product;
    return (medley_plugin_pair){text_of(t->query),       text_of(t->locale),  text_of(p->title),
                                text_of(p->description), text_of(p->bullets), text_of(p->brand),
                                text_of(p->color),       text_of(p->category)};
}

/* ---- training ---- */

static medley_status train(struct plugin *p, const struct model_context *c,
                           const uint32_t *rows, size_t n, medley_error *err)
{
    const struct dataset *d = c->data;
    medley_plugin_pair *pairs = mem_alloc(n, sizeof *pairs);
    uint8_t *labels = mem_alloc(n, 1);
    medley_status st = pairs && labels ? MEDLEY_OK : fail_memory(err, "a plugin's pairs");
    for (size_t i = 0; i < n && !st; i++) {
        struct pair_text t =
            dataset_pair(d, d->example_query[rows[i]], d->example_product[rows[i]]);
        pairs[i] = pair_of(&t);
        labels[i] = d->example_label[rows[i]];
    }
    if (!st)
        st = open_handle(p, d, pairs, labels, n, c->config->lm.seed, err);
    if (!st)
        p->close(p->handle);
    p->handle = NULL;
    mem_free(pairs);
    mem_free(labels);
    return st;
}

/* `checkpoint` is the plugin's folder: what a killed run left there is not trusted. What was
 * trained is opened anew at once, so that a plugin that keeps nothing is found out here. */
static medley_status plugin_fit(const struct model_context *c, const uint32_t *rows, size_t n,
                                const char *checkpoint, const char *log_path, void **model,
                                medley_error *err)
{
    const struct plugin_options *o = &c->config->plugin;
    struct plugin *p = mem_zalloc(1, sizeof *p);
    (void)log_path;
    if (!p)
        return fail_memory(err, "a plugin");
    char *real = realpath(o->library, NULL);
    snprintf(p->library, sizeof p->library, "%s", real ? real : o->library);
    free(real);
    snprintf(p->folder, sizeof p->folder, "%s", checkpoint);
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; o->settings && i < o->settings->count && !st; i++)
        st = add_setting(p, o->settings->keys[i], o->settings->items[i]->text, err);
    if (!st)
        st = remove_tree(p->folder, err);
    if (!st)
        st = make_folders(p->folder, err);
    if (!st)
        st = open_library(p, err);
    if (!st && !o->foreign)
        st = train(p, c, rows, n, err);
    if (!st)
        st = open_handle(p, c->data, NULL, NULL, 0, c->config->lm.seed, err);
    if (st)
        plugin_free(p);
    else
        *model = p;
    return st;
}

/* ---- saving and loading ---- */

static bool ours(const char *name)
{
    const char *dot = strrchr(name, '.');
    return name[0] == '.' || strcmp(name, "plugin.json") == 0 ||
           strcmp(name, "cost.json") == 0 || (dot && strcmp(dot, ".jsonl") == 0);
}

static medley_status copy_state(const struct plugin *p, const char *folder, medley_error *err)
{
    DIR *dir = opendir(p->folder);
    medley_status st =
        dir ? MEDLEY_OK : fail(err, MEDLEY_EIO, "cannot read folder '%s'", p->folder);
    for (struct dirent *e; dir && !st && (e = readdir(dir));) {
        char from[1400], to[1400];
        struct stat info;
        struct mapping m;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(from, sizeof from, "%s/%s", p->folder, e->d_name);
        snprintf(to, sizeof to, "%s/%s", folder, e->d_name);
        if (ours(e->d_name) || lstat(from, &info) != 0 || !S_ISREG(info.st_mode)) {
            st = fail(err, MEDLEY_EINVAL,
                      "plugin '%s' left '%s', which is no plain file, or a "
                      "name that Medley uses itself",
                      p->library, e->d_name);
            break;
        }
        st = mapping_open(from, &m, err);
        if (st)
            break;
        st = file_write(to, m.data, m.n, err);
        mapping_close(&m);
    }
    if (dir)
        closedir(dir);
    return st;
}

static medley_status plugin_save(const void *model, const char *folder, medley_error *err)
{
    const struct plugin *p = model;
    struct strbuf text;
    struct json_writer j;
    char path[1100];
    medley_status st = make_folders(folder, err);
    if (!st)
        st = copy_state(p, folder, err);
    if (st)
        return st;
    sb_init(&text);
    jw_init(&j, &text, true);
    jw_object(&j);
    jw_key(&j, "version"), jw_i64(&j, MEDLEY_PLUGIN_VERSION);
    jw_key(&j, "library"), jw_textz(&j, p->library);
    jw_key(&j, "hash"), jw_textz(&j, p->hash);
    jw_key(&j, "settings"), jw_object(&j);
    for (size_t i = 0; p->settings[i]; i += 2)
        jw_key(&j, p->settings[i]), jw_textz(&j, p->settings[i + 1]);
    jw_object_end(&j);
    jw_object_end(&j);
    sb_addc(&text, '\n');
    snprintf(path, sizeof path, "%s/plugin.json", folder);
    st = text.failed ? fail_memory(err, "plugin.json") : file_write(path, text.s, text.n, err);
    sb_deinit(&text);
    return st;
}

static medley_status read_saved(struct plugin *p, char hash[33], medley_error *err)
{
    char path[1100];
    json *root = NULL;
    int64_t version = 0;
    const char *library = NULL, *recorded = NULL;
    snprintf(path, sizeof path, "%s/plugin.json", p->folder);
    medley_status st = json_load(path, &root, err);
    if (st)
        return st;
    if (!json_as_i64(json_get(root, "version"), &version) || version != MEDLEY_PLUGIN_VERSION ||
        !json_as_text(json_get(root, "library"), &library) || !strchr(library, '/') ||
        strlen(library) >= sizeof p->library ||
        !json_as_text(json_get(root, "hash"), &recorded) || strlen(recorded) != 32)
        st = fail(err, MEDLEY_EFORMAT, "%s: expected version %d, library, hash and settings",
                  path, MEDLEY_PLUGIN_VERSION);
    if (!st) {
        snprintf(p->library, sizeof p->library, "%s", library);
        memcpy(hash, recorded, 33);
    }
    const json *s = json_first(json_get(root, "settings"));
    for (; s && !st; s = json_next(s)) {
        const char *value;
        st = json_as_text(s, &value)
                 ? add_setting(p, json_key(s), value, err)
                 : fail(err, MEDLEY_EFORMAT, "%s: settings must be texts", path);
    }
    json_free(root);
    return st;
}

/* The library is run only when it is the one that the model was trained with. */
static medley_status plugin_load(const struct model_context *c, const char *folder,
                                 void **model, medley_error *err)
{
    struct plugin *p = mem_zalloc(1, sizeof *p);
    char recorded[33], found[33];
    struct hash128 hash = {0, 0};
    if (!p)
        return fail_memory(err, "a plugin");
    snprintf(p->folder, sizeof p->folder, "%s", folder);
    medley_status st = read_saved(p, recorded, err);
    if (!st)
        st = hash_file(p->library, &hash, err);
    hash_text(hash, found);
    if (!st && strcmp(found, recorded) != 0)
        st =
            fail(err, MEDLEY_ESTALE,
                 "plugin '%s' has changed since model '%s' was made (hash %.8s, not %.8s): run "
                 "'medley run' for a bundle with the new one",
                 p->library, c->config->name, found, recorded);
    if (!st)
        st = open_library(p, err);
    if (!st)
        st = open_handle(p, c->data, NULL, NULL, 0, 0, err);
    if (st)
        plugin_free(p);
    else
        *model = p;
    return st;
}

/* ---- answers ---- */

/* What the library itself holds cannot be asked for: its file and its state stand for it. */
static size_t plugin_memory(const void *model)
{
    const struct plugin *p = model;
    struct stat info;
    size_t sum = stat(p->library, &info) == 0 ? (size_t)info.st_size : 0;
    DIR *dir = opendir(p->folder);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char path[1400];
        snprintf(path, sizeof path, "%s/%s", p->folder, e->d_name);
        if (!ours(e->d_name) && stat(path, &info) == 0 && S_ISREG(info.st_mode))
            sum += (size_t)info.st_size;
    }
    if (dir)
        closedir(dir);
    return sum;
}

/* n <= BATCH */
static medley_status ask(const struct plugin *p, const struct pair_text *texts, size_t n,
                         size_t k, float *probabilities, medley_error *err)
{
    char message[512] = "";
    medley_plugin_pair pairs[BATCH];
    float room[BATCH * MAX_CLASSES + GUARD];
    for (size_t i = 0; i < n; i++)
        pairs[i] = pair_of(&texts[i]);
    for (size_t i = 0; i < n * k + GUARD; i++) /* what it does not write is no answer */
        room[i] = i < n * k ? INFINITY : GUARD_VALUE;
    int bad = p->predict(p->handle, pairs, n, room, message, sizeof message);
    message[sizeof message - 1] = 0;
    if (bad)
        return fail(err, MEDLEY_EINVAL, "plugin '%s' failed: %s", p->library,
                    *message ? message : "it does not say why");
    for (size_t i = n * k; i < n * k + GUARD; i++)
        if (room[i] != GUARD_VALUE)
            return fail(err, MEDLEY_EFORMAT,
                        "plugin '%s' wrote more than %zu x %zu probabilities", p->library, n,
                        k);
    memcpy(probabilities, room, n * k * sizeof *room);
    return MEDLEY_OK;
}

static medley_status plugin_predict(const struct model_context *c, const void *model,
                                    const uint32_t *rows, size_t n, const char *task,
                                    float *probabilities, medley_error *err)
{
    const struct dataset *d = c->data;
    struct pair_text texts[BATCH];
    for (size_t i = 0; i < n; i += BATCH) {
        size_t m = n - i < BATCH ? n - i : BATCH;
        for (size_t j = 0; j < m; j++)
            texts[j] =
                dataset_pair(d, d->example_query[rows[i + j]], d->example_product[rows[i + j]]);
        medley_status st = interrupted() ? fail(err, MEDLEY_EINTERRUPTED, "interrupted")
                                         : ask(model, texts, m, d->n_classes,
                                               probabilities + i * d->n_classes, err);
        if (st)
            return st;
        if (task)
            progress_step(task, i + m, n, "pairs");
    }
    if (task)
        progress_end(task);
    return MEDLEY_OK;
}

static medley_status plugin_answer(const struct model_context *c, const void *model,
                                   const struct model_request *r, float *probabilities,
                                   medley_error *err)
{
    size_t k = c->data->n_classes;
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < r->n && !st; i += BATCH)
        st = ask(model, r->texts + i, r->n - i < BATCH ? r->n - i : BATCH, k,
                 probabilities + i * k, err);
    return st;
}

const struct base_model_ops plugin_kind = {
    .kind = "plugin",
    .outside = true,
    .fit = plugin_fit,
    .save = plugin_save,
    .load = plugin_load,
    .free = plugin_free,
    .memory = plugin_memory,
    .predict = plugin_predict,
    .answer = plugin_answer,
};
