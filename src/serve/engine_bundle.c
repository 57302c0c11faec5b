/* engine_bundle.c: a bundle as the server's engine. */
#include "serve/engine.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

#include <ftw.h>
#include <sys/stat.h>

#define MAX_OPEN_FOLDERS 16
#define MAX_ABOUT (64u << 20) /* bytes of ranking.json, of selection.json */

static medley_status classify(void *context, medley_text query, medley_text locale,
                              const medley_product *products, size_t n,
                              const medley_classify_options *options, medley_result *results,
                              medley_error *err)
{
    return medley_bundle_classify(context, query, locale, products, n, options, results, err);
}

static medley_model_health health(void *context, size_t model)
{
    return medley_bundle_health(context, model);
}

/* nftw has no context argument. */
static _Thread_local uint64_t counted_bytes;

static int count_file(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)path, (void)where;
    if (kind == FTW_F && S_ISREG(info->st_mode))
        counted_bytes += (uint64_t)info->st_size;
    return 0;
}

/* 0 when the folder cannot be walked: this is for information only. The path may be the
 * symbolic link `current`, hence the "/." that makes nftw look behind it. */
static uint64_t folder_bytes(const char *folder)
{
    char *inside = path_join(folder, ".");
    counted_bytes = 0;
    if (!inside || nftw(inside, count_file, MAX_OPEN_FOLDERS, FTW_PHYS) != 0)
        counted_bytes = 0;
    mem_free(inside);
    return counted_bytes;
}

/* Adds a file of about/ as it is, once it is known to be JSON; null when it is not there. */
static medley_status add_about(const char *folder, const char *name, struct strbuf *out,
                               medley_error *err)
{
    char *path = path_join(folder, name), *text = NULL;
    json *root = NULL;
    size_t n = 0;
    medley_status st = path ? MEDLEY_OK : fail_memory(err, "the path of a bundle's file");
    if (!st && !file_exists(path)) {
        sb_addz(out, "null");
    } else if (!st) {
        st = file_read(path, MAX_ABOUT, &text, &n, err);
        if (!st)
            st = json_parse((struct str){text, n}, path, &root, err);
        if (!st)
            sb_add(out, text, n);
    }
    json_free(root);
    mem_free(text);
    mem_free(path);
    return st;
}

/* How the bundle was chosen, for the dashboard. Bundles of older programs do not tell. */
static medley_status read_about(const char *folder, const char *id, char **out,
                                medley_error *err)
{
    struct strbuf text;
    struct json_writer w;
    sb_init(&text);
    sb_addz(&text, "{\"bundle\":");
    jw_init(&w, &text, false);
    jw_textz(&w, id);
    sb_addz(&text, ",\"ranking\":");
    medley_status st = add_about(folder, "about/ranking.json", &text, err);
    sb_addz(&text, ",\"selection\":");
    if (!st)
        st = add_about(folder, "about/selection.json", &text, err);
    sb_addz(&text, "}\n");
    if (!st && text.failed)
        st = fail_memory(err, "how a bundle was chosen");
    if (!st)
        *out = sb_steal(&text);
    sb_deinit(&text);
    return st;
}

static void close_bundle(struct engine *e)
{
    mem_free((char *)e->about);
    medley_bundle_close(e->context);
}

medley_status engine_open_bundle(const char *folder, struct engine *out, medley_error *err)
{
    medley_bundle *b = NULL;
    char *about = NULL;
    medley_status st = medley_bundle_open(folder, &b, err);
    if (!st)
        st = read_about(folder, medley_bundle_id(b), &about, err);
    if (st) {
        medley_bundle_close(b);
        return st;
    }
    struct engine e = {.classify = classify,
                       .context = b,
                       .id = medley_bundle_id(b),
                       .n_classes = medley_bundle_classes(b),
                       .n_models = medley_bundle_models(b),
                       .about = about,
                       .file_bytes = folder_bytes(folder),
                       .health = health,
                       .close = close_bundle};
    if (e.n_classes < 2 || e.n_classes > MEDLEY_MAX_CLASSES || e.n_models > MEDLEY_MAX_MODELS) {
        medley_bundle_close(b);
        mem_free(about);
        return fail(err, MEDLEY_EFORMAT,
                    "%s: %zu classes and %zu models are not what can be served", folder,
                    e.n_classes, e.n_models);
    }
    for (size_t c = 0; c < e.n_classes; c++) {
        e.classes[c] = medley_bundle_class(b, c);
        e.gains[c] = medley_bundle_gain(b, c);
    }
    for (size_t m = 0; m < e.n_models; m++) {
        e.models[m] = medley_bundle_model(b, m);
        e.kinds[m] = medley_bundle_model_kind(b, m);
        e.stores[m] = medley_bundle_store(b, m);
    }
    medley_bundle_base(b, e.base);
    e.n_stages = medley_bundle_stages(b);
    for (size_t j = 0; j < e.n_stages; j++) {
        e.stages[j] = medley_bundle_stage_model(b, j);
        medley_bundle_stage_base(b, j + 1, e.stage_base[j]);
    }
    e.drift = bundle_drift(b);
    e.calibration = medley_bundle_calibration(b);
    *out = e;
    return MEDLEY_OK;
}

void engine_close(struct engine *e)
{
    if (e->close)
        e->close(e);
    *e = (struct engine){0};
}
