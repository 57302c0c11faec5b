/* precompute_bundle.c: medley precompute: the embeddings of the current bundle made anew, in
 * place; or, when the data has changed since, in a new bundle with the same models.
 *
 * A server that runs meanwhile keeps what it has mapped, and takes the new files when it opens
 * its bundle anew (SIGHUP, POST /v1/bundles:activate). A run that is killed leaves the old
 * files: each is renamed into place when it is whole, and a new bundle is named when all of it
 * is. */
#include "ensemble/precompute.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/progress.h"
#include "ensemble/bundle_files.h"
#include "ensemble/crossfit.h"
#include "ensemble/stages.h"
#include "ensemble/text_relations.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A graph model of the bundle, as its manifest tells. */
struct graph_model {
    const char *name, *features; /* features: an id such as "hashed" */
    struct model_config config;  /* relations alone */
    const char **relations;      /* owned */
    bool wanted;
    struct precompute_done done;
};

struct refresh {
    struct workspace *w;
    const struct precompute_options *options;
    struct path current, folder; /* bundle/current; where the new embeddings go */
    char before[64], after[64];  /* ids */
    json *manifest;
    struct graph_model models[MEDLEY_MAX_MODELS];
    size_t n;
    bool data_changed;
    struct hash128 bundle; /* the id of `folder` */
};

/* ---- what the bundle is ---- */

static struct path below(const char *folder, const char *format, const char *name)
{
    struct path p;
    char tail[256];
    int m = snprintf(tail, sizeof tail, format, name);
    int n = snprintf(p.s, sizeof p.s, "%s/%s", folder, tail);
    if (m < 0 || (size_t)m >= sizeof tail || n < 0 || (size_t)n >= sizeof p.s)
        p.s[0] = '\0';
    return p;
}

static bool plain(const char *name)
{
    return name && name[0] && name[0] != '.' && !strchr(name, '/') && strlen(name) < 128;
}

static medley_status read_model(struct refresh *r, const json *entry, medley_error *err)
{
    const char *kind = "";
    json_as_text(json_get(entry, "kind"), &kind);
    if (strcmp(kind, model_kind_names[KIND_GNN]) != 0)
        return MEDLEY_OK;
    struct graph_model *m = &r->models[r->n++];
    const json *list = json_get(entry, "relations");
    json_as_text(json_get(entry, "name"), &m->name);
    json_as_text(json_get(entry, "features"), &m->features);
    m->config.kind = KIND_GNN;
    if (!plain(m->name) || !plain(m->features))
        return fail(err, MEDLEY_EFORMAT,
                    "%s/bundle.json: a graph model needs name and features", r->current.s);
    if (!list || json_kind_of(list) == JSON_NULL)
        return MEDLEY_OK;
    if (!(m->relations = mem_zalloc(json_count(list) + 1, sizeof *m->relations)))
        return fail_memory(err, "relations");
    size_t n = 0;
    for (const json *item = json_first(list); item; item = json_next(item))
        if (!json_as_text(item, &m->relations[n++]))
            return fail(err, MEDLEY_EFORMAT, "%s/bundle.json: relations must be texts",
                        r->current.s);
    m->config.relations = m->relations;
    return MEDLEY_OK;
}

static medley_status read_bundle(struct refresh *r, medley_error *err)
{
    ssize_t n = readlink(r->current.s, r->before, sizeof r->before - 1);
    if (n <= 0 || !folder_exists(r->current.s))
        return fail(err, MEDLEY_ENOTFOUND, "no bundle at '%s' (run 'medley select -C %s')",
                    r->current.s, r->w->root);
    r->before[n] = '\0';
    medley_status st = json_load(below(r->current.s, "%s", "bundle.json").s, &r->manifest, err);
    const json *models = st ? NULL : json_get(r->manifest, "models");
    if (!st && json_count(models) > MEDLEY_MAX_MODELS)
        st = fail(err, MEDLEY_EFORMAT, "%s/bundle.json: too many models", r->current.s);
    for (const json *m = st ? NULL : json_first(models); m && !st; m = json_next(m))
        st = read_model(r, m, err);
    if (!st && r->n == 0)
        st = fail(err, MEDLEY_EINVAL, "bundle %s has no graph model: nothing to precompute",
                  r->before);
    return st;
}

static bool reads(const struct graph_model *m, const struct relations *all, const char *name)
{
    if (!m->relations)
        return relations_find(all, name) != NULL;
    for (const char **r = m->relations; *r; r++)
        if (strcmp(*r, name) == 0)
            return true;
    return false;
}

/* --model and --relation. */
static medley_status choose_models(struct refresh *r, medley_error *err)
{
    const struct precompute_options *o = r->options;
    size_t named = 0, wanted = 0;
    for (size_t i = 0; i < r->n; i++) {
        struct graph_model *m = &r->models[i];
        bool by_name = !o->model || strcmp(o->model, m->name) == 0;
        m->wanted = by_name && (!o->relation || reads(m, &r->w->relations, o->relation));
        named += by_name;
        wanted += m->wanted;
    }
    if (!named)
        return fail(err, MEDLEY_ENOTFOUND, "--model: bundle %s has no graph model '%s'",
                    r->before, o->model);
    if (!wanted)
        return fail(err, MEDLEY_ENOTFOUND,
                    "--relation: no graph model of bundle %s%s reads '%s'", r->before,
                    o->model ? " of that name" : "", o->relation);
    return MEDLEY_OK;
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    struct hash128 h[2] = {{0, 0}, {0, 0}};
    if (stat(a, &x) != 0 || stat(b, &y) != 0)
        return false;
    if (x.st_dev == y.st_dev && x.st_ino == y.st_ino)
        return true; /* a bundle holds hard links */
    return x.st_size == y.st_size && !hash_file(a, &h[0], NULL) && !hash_file(b, &h[1], NULL) &&
           memcmp(&h[0], &h[1], sizeof h[0]) == 0;
}

static bool same_data(const struct refresh *r)
{
    static const char *const files[] = {"data/dataset.safetensors",
                                        "data/relations.safetensors"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct path ours = workspace_path(r->w, "%s", files[i]);
        if (!same_file(ours.s, below(r->current.s, "%s", files[i]).s))
            return false;
    }
    return true;
}

/* ---- a new bundle for new data ---- */

/* The workspace's rows of a kind of features; ENOTFOUND when medley.yaml has it no more. */
static medley_status workspace_rows(const struct refresh *r, const struct graph_model *m,
                                    struct path *out, medley_error *err)
{
    const struct config *c = &r->w->config;
    char wanted[200];
    snprintf(wanted, sizeof wanted, "/%s.npy", m->features);
    for (size_t i = 0; i < c->n_models; i++) {
        if (c->models[i].kind != KIND_GNN)
            continue;
        *out = features_path(r->w, c->models[i].features);
        size_t n = strlen(out->s), tail = strlen(wanted);
        if (n > tail && strcmp(out->s + n - tail, wanted) == 0)
            return MEDLEY_OK;
    }
    return fail(
        err, MEDLEY_ENOTFOUND,
        "model '%s' of bundle %s reads features '%s', which no model of medley.yaml has: "
        "they cannot be made for the new data",
        m->name, r->before, m->features);
}

/* Everything but what follows from the data is the old bundle's. */
static medley_status start_bundle(struct refresh *r, medley_error *err)
{
    static const char *const skip[] = {"data", "features", "embeddings", NULL}, *const none[] =
                                                                                    {NULL};
    struct path data = workspace_path(r->w, "data");
    r->folder = workspace_path(r->w, "bundle/.building");
    medley_status st = remove_tree(r->folder.s, err);
    if (!st)
        st = make_folders(r->folder.s, err);
    if (!st)
        st = bundle_link_tree(r->current.s, r->folder.s, skip, err);
    if (!st)
        st = bundle_link_tree(data.s, below(r->folder.s, "%s", "data").s, none, err);
    for (size_t i = 0; i < r->n && !st; i++) {
        struct path from, to = below(r->folder.s, "features/%s.npy", r->models[i].features);
        st = workspace_rows(r, &r->models[i], &from, err);
        if (!st && !file_exists(to.s))
            st = bundle_link(from.s, to.s, err);
        struct path near = text_relations_path(to.s);
        if (!st && names_text_relation(r->models[i].relations) && !folder_exists(near.s))
            st = bundle_link_tree(text_relations_path(from.s).s, near.s, none, err);
    }
    return st ? st : bundle_hash(r->folder.s, &r->bundle, err);
}

/* Nothing becomes current that a server would refuse. */
static medley_status publish(struct refresh *r, medley_error *err)
{
    medley_bundle *b = NULL;
    medley_status st = medley_bundle_open(r->folder.s, &b, err);
    medley_bundle_close(b);
    if (!st)
        st = bundle_publish(r->w, r->folder.s, r->bundle, err);
    if (!st)
        hash_text(r->bundle, r->after);
    return st;
}

/* ---- embeddings ---- */

static medley_status make_one(struct refresh *r, struct graph_model *m,
                              const struct link_store_plan *plan, medley_error *err)
{
    struct path trained = below(r->folder.s, "models/%s", m->name),
                features = below(r->folder.s, "features/%s.npy", m->features),
                before = below(r->current.s, "embeddings/%s.bin", m->name),
                to = below(r->folder.s, "embeddings/%s.bin", m->name);
    struct precompute_job job = {.w = r->w,
                                 .model = &m->config,
                                 .features = features.s,
                                 .folder = trained.s,
                                 .plan = plan,
                                 .before = before.s,
                                 .bundle = r->bundle,
                                 .half = r->options->half};
    medley_status st = precompute_write(&job, to.s, &m->done, err);
    if (!st)
        progress_note("%s: %zu queries, %zu products, %zu pairs in %.1f s", m->name,
                      m->done.size.queries, m->done.size.products, m->done.size.pairs,
                      m->done.seconds);
    return st;
}

/* Temporary files of runs that were killed. */
static void remove_leftovers(const char *folder)
{
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct path p = below(folder, "%s", e->d_name);
        if (strstr(e->d_name, ".bin.tmp."))
            unlink(p.s);
    }
    if (dir)
        closedir(dir);
}

static medley_status make_embeddings(struct refresh *r, medley_error *err)
{
    struct precompute ahead = {0};
    struct path folder = below(r->folder.s, "%s", "embeddings");
    medley_status st = make_folders(folder.s, err);
    if (!st)
        st = precompute_choose(&r->w->data, &r->w->relations, &r->options->how, &ahead, err);
    if (!st && ahead.plan.n_queries == 0)
        st = fail(err, MEDLEY_EINVAL, "%zu products and %zu queries to precompute: no pair",
                  ahead.plan.n_products, ahead.plan.n_queries);
    if (!st)
        remove_leftovers(folder.s);
    for (size_t i = 0; i < r->n && !st; i++)
        if (r->models[i].wanted)
            st = make_one(r, &r->models[i], &ahead.plan, err);
    precompute_free(&ahead);
    return st;
}

/* ---- what was done ---- */

static void write_tally(struct json_writer *j, const char *what,
                        const struct link_store_tally *t)
{
    jw_key(j, what), jw_object(j);
    jw_key(j, "stored"), jw_i64(j, (int64_t)(t->made + t->copied));
    jw_key(j, "recomputed"), jw_i64(j, (int64_t)t->made);
    jw_key(j, "skipped"), jw_i64(j, (int64_t)t->copied);
    jw_object_end(j);
}

static void write_model(struct json_writer *j, const struct graph_model *m)
{
    const struct precompute_done *d = &m->done;
    jw_object(j);
    jw_key(j, "name"), jw_textz(j, m->name);
    jw_key(j, "numbers"), jw_textz(j, d->size.half ? "float16" : "float32");
    write_tally(j, "queries", &d->work.queries);
    write_tally(j, "products", &d->work.products);
    write_tally(j, "pairs", &d->work.pairs);
    jw_key(j, "bytes"), jw_i64(j, (int64_t)d->size.bytes);
    jw_key(j, "made"), jw_i64(j, d->size.made);
    jw_key(j, "graph_cutoff"), jw_i64(j, d->size.cutoff);
    jw_key(j, "seconds"), jw_double(j, d->seconds);
    jw_key(j, "largest_difference"), jw_double(j, d->difference);
    jw_key(j, "pairs_compared"), jw_i64(j, (int64_t)d->compared);
    jw_object_end(j);
}

static medley_status write_result(const struct refresh *r, medley_error *err)
{
    struct strbuf text;
    struct json_writer j;
    sb_init(&text);
    jw_init(&j, &text, true);
    jw_object(&j);
    jw_key(&j, "bundle"), jw_textz(&j, r->after);
    jw_key(&j, "previous"), jw_textz(&j, r->before);
    jw_key(&j, "data_changed"), jw_bool(&j, r->data_changed);
    jw_key(&j, "models"), jw_array(&j);
    for (size_t i = 0; i < r->n; i++)
        if (r->models[i].wanted)
            write_model(&j, &r->models[i]);
    jw_array_end(&j);
    jw_object_end(&j);
    sb_addc(&text, '\n');
    struct path p = workspace_path(r->w, "ensemble/precompute.json");
    medley_status st = make_folders(workspace_path(r->w, "ensemble").s, err);
    if (!st)
        st = text.failed ? fail_memory(err, "precompute.json")
                         : file_write(p.s, text.s, text.n, err);
    sb_deinit(&text);
    return st;
}

static medley_status refresh(struct workspace *w, void *context, medley_error *err)
{
    struct refresh *r = context;
    (void)w;
    medley_status st = choose_models(r, err);
    if (st)
        return st;
    r->data_changed = !same_data(r);
    if (r->data_changed && (r->options->model || r->options->relation))
        return fail(err, MEDLEY_EINVAL,
                    "the data has changed since bundle %s was written: all of its graph models "
                    "need new embeddings (leave out --model and --relation)",
                    r->before);
    if (r->data_changed) {
        st = start_bundle(r, err);
    } else {
        r->folder = r->current;
        memcpy(r->after, r->before, sizeof r->after);
        st = bundle_hash(r->current.s, &r->bundle, err);
    }
    if (!st)
        st = make_embeddings(r, err);
    if (!st && r->data_changed)
        st = publish(r, err);
    return st ? st : write_result(r, err);
}

static bool has_features(const struct config *c)
{
    for (size_t i = 0; i < c->n_models; i++)
        if (c->models[i].kind == KIND_GNN)
            return true;
    return false;
}

medley_status precompute_refresh(struct workspace *w, const struct precompute_options *options,
                                 medley_error *err)
{
    struct refresh r = {
        .w = w, .options = options, .current = workspace_path(w, "bundle/current")};
    medley_status st = read_bundle(&r, err);
    if (!st && has_features(&w->config)) /* of the data as it is now */
        st = stages_run_group(w, STAGE_FEATURES, NULL, false, err);
    if (!st)
        st = stages_call(w, STAGE_FEATURES, refresh, &r, err);
    for (size_t i = 0; i < r.n; i++)
        mem_free(r.models[i].relations);
    json_free(r.manifest);
    return st;
}
