/* workspace.c: opening and finding one's way in a workspace; see workspace.h. */
#include "ensemble/workspace.h"

#include "base/error.h"

#include <string.h>

static struct path join(const char *root, const char *format, va_list args)
{
    struct path p, tail;
    int n = vsnprintf(tail.s, sizeof tail.s, format, args);
    int m = tail.s[0] == '/' ? snprintf(p.s, sizeof p.s, "%s", tail.s)
                             : snprintf(p.s, sizeof p.s, "%s/%s", root, tail.s);
    if (n < 0 || m < 0 || (size_t)n >= sizeof tail.s || (size_t)m >= sizeof p.s)
        p.s[0] = '\0';
    return p;
}

struct path workspace_path(const struct workspace *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct path p = join(w->root, format, args);
    va_end(args);
    return p;
}

static medley_status resolve(struct workspace *w, const char **text, medley_error *err)
{
    if (!*text)
        return MEDLEY_OK;
    struct path p = workspace_path(w, "%s", *text);
    *text = arena_strndup(&w->arena, p.s, strlen(p.s));
    return *text ? MEDLEY_OK : fail_memory(err, "a path");
}

medley_status workspace_open(const char *root, struct workspace *out, medley_error *err)
{
    memset(out, 0, sizeof *out);
    if (strlen(root) >= sizeof out->root)
        return fail(err, MEDLEY_EINVAL, "the workspace path is longer than %zu bytes",
                    sizeof out->root - 1);
    memcpy(out->root, root, strlen(root) + 1);
    struct path p = workspace_path(out, "medley.yaml");
    if (!file_exists(p.s))
        return fail(
            err, MEDLEY_ENOTFOUND,
            "'%s' is no workspace: it has no medley.yaml (make one with 'medley init %s')",
            root, root);
    medley_status st = config_load(p.s, &out->config, err);
    if (st)
        return st;
    arena_init(&out->arena, 0);
    for (size_t i = 0; i < out->config.n_models && !st; i++) {
        st = resolve(out, &out->config.models[i].lm.pretrained, err);
        if (!st)
            st = resolve(out, &out->config.models[i].plugin.library, err);
    }
    if (st)
        workspace_close(out);
    return st;
}

void workspace_close(struct workspace *w)
{
    workspace_close_data(w);
    arena_deinit(&w->arena);
    config_free(&w->config);
}

medley_status workspace_open_data(struct workspace *w, medley_error *err)
{
    if (w->data_open)
        return MEDLEY_OK;
    struct path p = workspace_path(w, "data");
    struct path file = workspace_path(w, "data/dataset.safetensors");
    if (!file_exists(file.s))
        return fail(err, MEDLEY_ESTALE, "nothing is imported yet (run 'medley import -C %s')",
                    w->root);
    medley_status st = dataset_open(p.s, &w->data, err);
    if (st)
        return st;
    st = relations_open(p.s, &w->relations, err);
    if (st) {
        dataset_close(&w->data);
        return st;
    }
    w->data_open = true;
    return MEDLEY_OK;
}

void workspace_close_data(struct workspace *w)
{
    if (!w->data_open)
        return;
    relations_close(&w->relations);
    dataset_close(&w->data);
    w->data_open = false;
}
