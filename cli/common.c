/* common.c: see common.h. */
#include "cli/common.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"

#include <stdio.h>

enum { KEY_THREADS = 1000, KEY_JSON };

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct common_options *o = state->input;
    switch (key) {
    case 'C':
        o->workspace = arg;
        return 0;
    case KEY_THREADS:
        pool_set_threads((unsigned)cli_count("--threads", arg, 1, 1024));
        return 0;
    case KEY_JSON:
        o->json = true;
        return 0;
    case ARGP_KEY_INIT:
        if (!o->workspace)
            o->workspace = ".";
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

#define SHARED_OPTIONS                                                   \
    {"workspace", 'C', "DIR", 0, "the workspace [.]", 10},               \
    {                                                                    \
        "threads", KEY_THREADS, "N", 0, "threads to use [all cores]", 10 \
    }

static const struct argp_option options[] = {SHARED_OPTIONS, {0}};
static const struct argp_option json_options[] = {
    SHARED_OPTIONS, {"json", KEY_JSON, NULL, 0, "print JSON to stdout", 10}, {0}};

const struct argp common_argp = {.options = options, .parser = parse};
const struct argp common_json_argp = {.options = json_options, .parser = parse};

bool common_open(const struct common_options *o, struct workspace *w)
{
    medley_error err;
    if (workspace_open(o->workspace, w, &err) == MEDLEY_OK)
        return true;
    cli_fail(&err);
    return false;
}

int common_print_file(const struct workspace *w, const char *file)
{
    medley_error err;
    char *text;
    size_t n;
    if (file_read(workspace_path(w, "%s", file).s, (size_t)1 << 28, &text, &n, &err))
        return cli_fail(&err);
    bool good = fwrite(text, 1, n, stdout) == n && fflush(stdout) == 0;
    mem_free(text);
    return good ? 0 : 1;
}

json *common_load(const struct workspace *w, const char *file)
{
    medley_error err;
    json *root = NULL;
    if (json_load(workspace_path(w, "%s", file).s, &root, &err))
        cli_fail(&err);
    return root;
}

int common_show(const struct workspace *w, const char *file, bool as_json,
                void (*show)(const struct workspace *w, const json *result))
{
    if (as_json)
        return common_print_file(w, file);
    json *result = common_load(w, file);
    if (!result)
        return 1;
    show(w, result);
    json_free(result);
    return 0;
}

const char *common_player(const medley_bundle *b, size_t m)
{
    return m < medley_bundle_models(b) ? medley_bundle_model(b, m) : "context";
}
