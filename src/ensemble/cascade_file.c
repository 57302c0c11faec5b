/* cascade_file.c: see cascade_file.h. Proof: tests/test_bundle.c, fuzz/fuzz_bundle_files.c. */
#include "ensemble/cascade_file.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

static void write_stage(struct json_writer *w, const struct workspace *ws,
                        const struct cascade *c, size_t j)
{
    jw_object(w);
    jw_key(w, "model"), jw_textz(w, ws->config.models[c->order[j]].name);
    jw_key(w, "temperature"), jw_double(w, c->temperature[j]);
    jw_key(w, "thresholds"), jw_array(w);
    for (size_t i = 0; i < ws->data.n_classes; i++) {
        if (j + 1 < c->n_stages && c->threshold[j][i] > 1)
            jw_null(w); /* never */
        else
            jw_double(w, j + 1 < c->n_stages ? c->threshold[j][i] : 0);
    }
    jw_array_end(w);
    jw_object_end(w);
}

static void write_cascade(struct json_writer *w, const struct workspace *ws,
                          const struct cascade *c)
{
    size_t k = ws->data.n_classes, n = c->n_stages * c->n_stages * (k + 1) * k;
    jw_object(w);
    jw_key(w, "stages"), jw_array(w);
    for (size_t j = 0; j < c->n_stages; j++)
        write_stage(w, ws, c, j);
    jw_array_end(w);
    jw_key(w, "guess"), jw_array(w);
    for (size_t i = 0; i < n; i++)
        jw_double(w, c->guess[i]);
    jw_array_end(w);
    jw_object_end(w);
}

medley_status cascade_save(const struct workspace *w, const struct cascade *c,
                           const struct cascade_models *models, medley_error *err)
{
    struct path folder = workspace_path(w, "ensemble/cascade"),
                file = workspace_path(w, "ensemble/cascade/cascade.json");
    struct strbuf text;
    struct json_writer j;
    sb_init(&text);
    jw_init(&j, &text, false);
    write_cascade(&j, w, c);
    sb_addc(&text, '\n');
    medley_status st = remove_tree(folder.s, err);
    if (!st)
        st = make_folders(folder.s, err);
    for (size_t i = 0; i < c->n_stages && !st; i++)
        st = medley_gbdt_save(models->items[i],
                              workspace_path(w, "ensemble/cascade/stage-%zu.txt", i).s, err);
    if (!st) /* last: with it the cascade is whole */
        st = text.failed ? fail_memory(err, "cascade.json")
                         : file_write(file.s, text.s, text.n, err);
    sb_deinit(&text);
    return st;
}

/* ---- reading ---- */

static medley_status read_thresholds(const json *list, const char *name, size_t stage, size_t k,
                                     double *out, medley_error *err)
{
    size_t i = 0;
    bool good = json_kind_of(list) == JSON_ARRAY && json_count(list) == k;
    for (const json *v = good ? json_first(list) : NULL; v; v = json_next(v), i++) {
        out[i] = 2;
        if (json_kind_of(v) != JSON_NULL)
            good &= json_as_double(v, &out[i]) && out[i] >= 0 && out[i] <= 1;
    }
    return good ? MEDLEY_OK
                : fail(err, MEDLEY_EFORMAT,
                       "%s: stages[%zu].thresholds should be %zu margins or nulls", name, stage,
                       k);
}

static medley_status read_stage(const json *entry, const char *name, const char *const *names,
                                size_t n_models, size_t k, struct cascade *c, medley_error *err)
{
    size_t j = c->n_stages, m = 0;
    const char *model = NULL;
    uint32_t before = j ? c->prefix[j - 1] : 0;
    json_as_text(json_get(entry, "model"), &model);
    while (model && m < n_models && strcmp(model, names[m]) != 0)
        m++;
    if (!model || m == n_models || before >> m & 1)
        return fail(err, MEDLEY_EFORMAT,
                    "%s: stages[%zu].model is no model of the bundle, or comes twice", name, j);
    if (!json_as_double(json_get(entry, "temperature"), &c->temperature[j]) ||
        !(c->temperature[j] >= 1e-3 && c->temperature[j] <= 1e3))
        return fail(err, MEDLEY_EFORMAT,
                    "%s: stages[%zu].temperature should be from 0.001 to 1000", name, j);
    c->order[j] = m;
    c->prefix[j] = before | UINT32_C(1) << m;
    c->n_stages++;
    return read_thresholds(json_get(entry, "thresholds"), name, j, k, c->threshold[j], err);
}

static medley_status read_guess(const json *list, const char *name, size_t k, struct cascade *c,
                                medley_error *err)
{
    size_t n = c->n_stages * c->n_stages * (k + 1) * k, i = 0;
    if (json_kind_of(list) != JSON_ARRAY || json_count(list) != n)
        return fail(err, MEDLEY_EFORMAT, "%s: guess should be %zu numbers", name, n);
    if (!(c->guess = mem_alloc(n, sizeof *c->guess)))
        return fail_memory(err, "guesses");
    for (const json *v = json_first(list); v; v = json_next(v), i++)
        if (!json_as_double(v, &c->guess[i]))
            return fail(err, MEDLEY_EFORMAT, "%s: guess[%zu] is no number", name, i);
    return MEDLEY_OK;
}

medley_status cascade_read(const json *root, const char *name, const char *const *names,
                           size_t n_models, size_t n_classes, struct cascade *out,
                           medley_error *err)
{
    struct cascade *c = mem_zalloc(1, sizeof *c);
    const json *stages = json_get(root, "stages");
    medley_status st = MEDLEY_OK;
    if (!c)
        return fail_memory(err, "a cascade");
    if (json_kind_of(stages) != JSON_ARRAY || json_count(stages) != n_models)
        st = fail(err, MEDLEY_EFORMAT, "%s: expected %zu stages, one for each model", name,
                  n_models);
    for (const json *s = json_first(stages); s && !st; s = json_next(s))
        st = read_stage(s, name, names, n_models, n_classes, c, err);
    if (!st)
        st = read_guess(json_get(root, "guess"), name, n_classes, c, err);
    if (st)
        mem_free(c->guess);
    else
        *out = *c;
    mem_free(c);
    return st;
}
