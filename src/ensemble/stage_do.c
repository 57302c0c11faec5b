/* stage_do.c: what each stage does; which ones run, and when, is stages.c. */
#include "ensemble/stages.h"

#include "base/memory.h"
#include "ensemble/bundle_write.h"
#include "ensemble/crossfit.h"
#include "ensemble/decide.h"
#include "ensemble/text_relations.h"
#include "report/report.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static medley_status run_import(struct workspace *w, medley_error *err)
{
    struct import_options options = w->config.data;
    const char **paths[] = {&options.examples, &options.products, &options.metadata,
                            &options.lists, &options.events, &options.esci};
    enum { PATHS = sizeof paths / sizeof *paths };
    struct path resolved[PATHS + CONFIG_RELATIONS];
    struct import_relation relations[CONFIG_RELATIONS];
    for (size_t i = 0; i < PATHS; i++) {
        if (!*paths[i])
            continue;
        resolved[i] = workspace_path(w, "%s", *paths[i]);
        *paths[i] = resolved[i].s;
    }
    for (size_t i = 0; i < options.n_relations; i++) {
        resolved[PATHS + i] = workspace_path(w, "%s", options.relations[i].file);
        relations[i] =
            (struct import_relation){options.relations[i].name, resolved[PATHS + i].s};
    }
    options.relations = relations;
    workspace_close_data(w);
    return dataset_import(&options, workspace_path(w, "data").s, err);
}

static medley_status run_features(struct workspace *w, const struct stage *s, medley_error *err)
{
    struct feature_encoder e;
    const char *spec = w->config.models[s->model].features;
    medley_status st = make_folders(workspace_path(w, "features").s, err);
    if (!st)
        st = workspace_features(w, spec, &e, err);
    if (st)
        return st;
    st = features_write(&e, &w->data, features_path(w, spec).s, err);
    feature_encoder_close(&e);
    return st;
}

static medley_status run_neighbours(struct workspace *w, const struct stage *s,
                                    medley_error *err)
{
    struct path features = features_path(w, w->config.models[s->model].features);
    struct npy file;
    medley_status st = npy_open(features.s, &file, err);
    if (st)
        return st;
    st = text_relations_write(&w->data, file.data, file.cols, text_relations_path(features.s).s,
                              err);
    npy_close(&file);
    return st;
}

/* The bundle's name is where bundle/current points; empty when there is none. */
static void current_bundle(const struct workspace *w, char *out, size_t size)
{
    ssize_t n = readlink(workspace_path(w, "bundle/current").s, out, size - 1);
    out[n < 0 ? 0 : n] = '\0';
}

static medley_status run_report(struct workspace *w, medley_error *err)
{
    struct path evaluation = workspace_path(w, "ensemble/evaluation.json");
    struct path ranking = workspace_path(w, "ensemble/ranking.json");
    struct path selection = workspace_path(w, "ensemble/selection.json");
    struct path cascade = workspace_path(w, "ensemble/cascade.json");
    struct path calibration = workspace_path(w, "ensemble/calibration.json");
    struct path hardest = workspace_path(w, "ensemble/hardest.json");
    struct path summary = workspace_path(w, "data/summary.json");
    char bundle[64], created[32];
    time_t now = time(NULL);
    struct tm utc;
    current_bundle(w, bundle, sizeof bundle);
    strftime(created, sizeof created, "%Y-%m-%d %H:%M UTC", gmtime_r(&now, &utc));
    struct report_input in = {.evaluation = evaluation.s,
                              .ranking = ranking.s,
                              .selection = selection.s,
                              .cascade = cascade.s,
                              .calibration = calibration.s,
                              .hardest = hardest.s,
                              .summary = summary.s,
                              .bundle = bundle[0] ? bundle : NULL,
                              .created = created};
    medley_status st = decide_hardest(w, err);
    if (!st)
        st = make_folders(workspace_path(w, "report").s, err);
    return st ? st : report_write(&in, workspace_path(w, "report/index.html").s, err);
}

static medley_status run_tune(struct workspace *w, medley_error *err)
{
    struct cascade_options options = {
        .loss = w->config.decide.cascade_loss,
        .save = strcmp(w->config.decide.save, "models") == 0 ? SAVE_MODELS : SAVE_TIME};
    uint32_t mask = 0;
    unsigned rounds = 0;
    medley_status st = decide_cascade(w, &options, 0, err);
    if (!st)
        st = decide_calibrate(w, err);
    if (!st)
        st = selection_load(w, &mask, &rounds, err);
    return st ? st : bundle_write_tuned(w, mask, err);
}

medley_status stage_do(struct workspace *w, const struct stage *s, medley_error *err)
{
    if (s->group == STAGE_IMPORT)
        return run_import(w, err);
    medley_status st = workspace_open_data(w, err);
    if (st)
        return st;
    switch (s->group) {
    case STAGE_FEATURES:
        return run_features(w, s, err);
    case STAGE_NEIGHBOURS:
        return run_neighbours(w, s, err);
    case STAGE_TRAIN:
        return crossfit_model(w, s->model, s->key, err);
    case STAGE_STACK:
        return decide_stack(w, err);
    case STAGE_RANK:
        return decide_rank(w, &(struct rank_options){0}, err);
    case STAGE_SELECT:
        return decide_select(w, err);
    case STAGE_EVALUATE:
        return decide_evaluate(w, NULL, 0, err);
    case STAGE_TUNE:
        return run_tune(w, err);
    default:
        return run_report(w, err);
    }
}
