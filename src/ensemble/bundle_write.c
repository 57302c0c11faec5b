/* bundle_write.c: see bundle_write.h. The folder:
 *   bundle.json            classes, gains, models in order, their graph inputs
 *   ensemble.txt           the GBDT
 *   cascade/               the models in stages (cascade_file.h), if it answers so
 *   calibrator.json        what its probabilities are calibrated with, if they are
 *   data/                  dataset and relations: product texts, the graph
 *   models/NAME/           the final base models
 *   features/ID.npy        node features of graph models
 *   encoders/ID/           the sentence encoders that made them
 *   embeddings/NAME.bin    graph models' embeddings of frequent queries and products
 *   about/                 ranking.json and selection.json: how it was chosen, for who looks at
 * it Its name is the hash of all names and contents but the embeddings (precompute.h says why)
 * and about/, whose figures depend on the machine while the answers do not. */
#include "ensemble/bundle_write.h"
#include "ensemble/text_relations.h"

#include "base/error.h"
#include "base/json.h"
#include "ensemble/bundle_files.h"
#include "ensemble/drift.h"
#include "ensemble/crossfit.h"
#include "ensemble/precompute.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct bundling {
    const struct workspace *w;
    struct path folder; /* being built */
    struct hash128 hash;
    bool cascade, calibrate;
};

static struct path in_bundle(const struct bundling *b, const char *name)
{
    struct path p;
    if (snprintf(p.s, sizeof p.s, "%s/%s", b->folder.s, name) >= (int)sizeof p.s)
        p.s[0] = '\0';
    return p;
}

static medley_status add_file(struct bundling *b, const char *from, const char *name,
                              medley_error *err)
{
    struct path to = in_bundle(b, name);
    if (!to.s[0])
        return fail(err, MEDLEY_EINVAL, "the path of '%s' is too long", name);
    return bundle_link(from, to.s, err);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Plain files only: logs, costs and work in progress stay behind. */
static int wanted(const struct dirent *e)
{
    const char *dot = strrchr(e->d_name, '.');
    return e->d_name[0] != '.' && strcmp(e->d_name, "cost.json") != 0 &&
           !(dot && strcmp(dot, ".jsonl") == 0);
}

static medley_status add_folder(struct bundling *b, const char *from, const char *name,
                                medley_error *err)
{
    struct dirent **entries = NULL;
    int n = scandir(from, &entries, wanted, by_name);
    if (n < 0)
        return fail(err, MEDLEY_EIO, "cannot read folder '%s': %s", from, strerror(errno));
    medley_status st = MEDLEY_OK;
    for (int i = 0; i < n; i++) {
        char source[1400], target[600];
        struct stat info;
        snprintf(source, sizeof source, "%s/%s", from, entries[i]->d_name);
        snprintf(target, sizeof target, "%s/%s", name, entries[i]->d_name);
        if (!st && stat(source, &info) == 0 && S_ISREG(info.st_mode))
            st = add_file(b, source, target, err);
        free(entries[i]);
    }
    free(entries);
    return st;
}

static void write_graph(struct json_writer *j, const struct model_config *m, const char *id)
{
    jw_key(j, "features"), jw_textz(j, id);
    jw_key(j, "relations");
    if (!m->relations) {
        jw_null(j);
        return;
    }
    jw_array(j);
    for (const char **r = m->relations; *r; r++)
        jw_textz(j, *r);
    jw_array_end(j);
}

/* "hashed" or "encoder-1a2b3c4d", from the path of the features. */
static void features_id(const struct workspace *w, const struct model_config *m, char id[64])
{
    struct path p = features_path(w, m->features);
    snprintf(id, 64, "%s", strrchr(p.s, '/') + 1);
    *strrchr(id, '.') = '\0';
}

static medley_status write_manifest(struct bundling *b, uint32_t mask, medley_error *err)
{
    const struct dataset *d = &b->w->data;
    struct strbuf text;
    struct json_writer j;
    sb_init(&text);
    jw_init(&j, &text, true);
    jw_object(&j);
    jw_key(&j, "format"), jw_i64(&j, 1);
    jw_key(&j, "labels"), jw_array(&j);
    for (size_t k = 0; k < d->n_classes; k++) {
        jw_object(&j);
        jw_key(&j, "name"), jw_textz(&j, d->class_names[k]);
        jw_key(&j, "gain"), jw_double(&j, d->class_gains[k]);
        jw_object_end(&j);
    }
    jw_array_end(&j);
    jw_key(&j, "plain"), jw_bool(&j, b->w->config.ensemble.plain);
    if (b->cascade)
        jw_key(&j, "cascade"), jw_bool(&j, true);
    if (b->calibrate)
        jw_key(&j, "calibrated"), jw_bool(&j, true);
    jw_key(&j, "models"), jw_array(&j);
    for (size_t i = 0; i < b->w->config.n_models; i++) {
        const struct model_config *m = &b->w->config.models[i];
        if (!(mask >> i & 1))
            continue;
        char id[64];
        features_id(b->w, m, id);
        jw_object(&j);
        jw_key(&j, "name"), jw_textz(&j, m->name);
        jw_key(&j, "kind"), jw_textz(&j, m->kind_name);
        if (m->kind == KIND_GNN)
            write_graph(&j, m, id);
        jw_object_end(&j);
    }
    jw_array_end(&j);
    jw_object_end(&j);
    sb_addc(&text, '\n');
    struct path p = workspace_path(b->w, "bundle/.manifest.json");
    medley_status st =
        text.failed ? fail_memory(err, "bundle.json") : file_write(p.s, text.s, text.n, err);
    if (!st)
        st = add_file(b, p.s, "bundle.json", err);
    unlink(p.s);
    sb_deinit(&text);
    return st;
}

static medley_status add_graph_inputs(struct bundling *b, const struct model_config *m,
                                      medley_error *err)
{
    char id[64], name[128];
    features_id(b->w, m, id);
    struct path features = features_path(b->w, m->features);
    medley_status st = MEDLEY_OK;
    snprintf(name, sizeof name, "features/%s.text", id);
    if (names_text_relation(m->relations) && !folder_exists(in_bundle(b, name).s))
        st = add_folder(b, text_relations_path(features.s).s, name, err);
    snprintf(name, sizeof name, "features/%s.npy", id);
    if (st || file_exists(in_bundle(b, name).s))
        return st; /* another model brought it */
    st = add_file(b, features.s, name, err);
    if (st || strcmp(m->features, "hashed") == 0)
        return st;
    snprintf(name, sizeof name, "encoders/%s", id);
    return add_folder(b, workspace_path(b->w, "%s", m->features).s, name, err);
}

/* Rows that the current bundle has are copied. */
static medley_status add_embeddings(struct bundling *b, const struct model_config *m,
                                    const struct link_store_plan *plan, medley_error *err)
{
    char name[128], folder[128];
    snprintf(name, sizeof name, "embeddings/%s.bin", m->name);
    snprintf(folder, sizeof folder, "models/%s", m->name);
    struct path path = in_bundle(b, name), trained = in_bundle(b, folder),
                features = features_path(b->w, m->features),
                before = workspace_path(b->w, "bundle/current/%s", name);
    struct precompute_job job = {.w = b->w,
                                 .model = m,
                                 .features = features.s,
                                 .folder = trained.s,
                                 .plan = plan,
                                 .before = before.s,
                                 .bundle = b->hash};
    medley_status st = make_folders(in_bundle(b, "embeddings").s, err);
    return st ? st : precompute_write(&job, path.s, NULL, err);
}

static medley_status add_all(struct bundling *b, uint32_t mask, medley_error *err)
{
    const struct workspace *w = b->w;
    medley_status st = write_manifest(b, mask, err);
    if (!st)
        st = add_file(b, workspace_path(w, "ensemble/selected.txt").s, "ensemble.txt", err);
    if (!st && b->cascade)
        st = add_folder(b, workspace_path(w, "ensemble/cascade").s, "cascade", err);
    if (!st && b->calibrate)
        st = add_file(b, workspace_path(w, "ensemble/calibrator.json").s, "calibrator.json",
                      err);
    if (!st)
        st = drift_write(w, mask, in_bundle(b, "drift.json").s, err);
    if (!st)
        st = add_folder(b, workspace_path(w, "data").s, "data", err);
    for (size_t i = 0; i < w->config.n_models && !st; i++) {
        const struct model_config *m = &w->config.models[i];
        char name[128];
        if (!(mask >> i & 1))
            continue;
        snprintf(name, sizeof name, "models/%s", m->name);
        st = add_folder(b, workspace_path(w, "models/%s", m->name).s, name, err);
        if (!st && m->kind == KIND_GNN)
            st = add_graph_inputs(b, m, err);
    }
    return st;
}

static medley_status add_all_embeddings(struct bundling *b, uint32_t mask, medley_error *err)
{
    const struct workspace *w = b->w;
    struct precompute ahead = {0};
    medley_status st =
        precompute_choose(&w->data, &w->relations, &w->config.serve.precompute, &ahead, err);
    for (size_t i = 0; i < w->config.n_models && !st && ahead.plan.n_queries; i++)
        if (mask >> i & 1 && w->config.models[i].kind == KIND_GNN)
            st = add_embeddings(b, &w->config.models[i], &ahead.plan, err);
    precompute_free(&ahead);
    return st;
}

static medley_status add_about(struct bundling *b, medley_error *err)
{
    static const char *const names[] = {"ranking.json", "selection.json"};
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < 2 && !st; i++) {
        struct path from = workspace_path(b->w, "ensemble/%s", names[i]);
        char name[64];
        snprintf(name, sizeof name, "about/%s", names[i]);
        if (file_exists(from.s))
            st = add_file(b, from.s, name, err);
    }
    return st;
}

static medley_status build(struct bundling *b, uint32_t mask, medley_error *err)
{
    b->folder = workspace_path(b->w, "bundle/.building");
    medley_status st = remove_tree(b->folder.s, err);
    if (!st)
        st = make_folders(b->folder.s, err);
    if (!st)
        st = add_all(b, mask, err);
    if (!st)
        st = bundle_hash(b->folder.s, &b->hash, err);
    if (!st)
        st = add_all_embeddings(b, mask, err);
    if (!st)
        st = add_about(b, err);
    return st ? st : bundle_publish(b->w, b->folder.s, b->hash, err);
}

medley_status bundle_write(const struct workspace *w, uint32_t mask, medley_error *err)
{
    return build(&(struct bundling){.w = w}, mask, err);
}

medley_status bundle_write_tuned(const struct workspace *w, uint32_t mask, medley_error *err)
{
    struct bundling b = {
        .w = w, .cascade = w->config.decide.cascade, .calibrate = w->config.decide.calibrate};
    bool has = folder_exists(workspace_path(w, "bundle/current/cascade").s) ||
               file_exists(workspace_path(w, "bundle/current/calibrator.json").s);
    return b.cascade || b.calibrate || has ? build(&b, mask, err) : MEDLEY_OK;
}
