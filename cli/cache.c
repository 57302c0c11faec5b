/* cache.c: `medley cache`: what a server keeps on disk, seen and cleared from outside. */
#include "cli/cli.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/yaml.h"
#include "cache/disk.h"
#include "ensemble/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct arguments {
    const char *workspace, *folder;
    bool json;
};

enum { KEY_FOLDER = 3100, KEY_JSON };

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    switch (key) {
    case 'C':
        a->workspace = arg;
        return 0;
    case KEY_FOLDER:
        a->folder = arg;
        return 0;
    case KEY_JSON:
        a->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument '%s'", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

#define WHERE                                                                             \
    {"workspace", 'C', "FOLDER", 0, "whose medley.yaml names the cache's folder [.]", 0}, \
    {                                                                                     \
        "cache-dir", KEY_FOLDER, "FOLDER", 0, "the cache's folder [serve.cache_dir]", 0   \
    }

static const struct argp_option stats_options[] = {
    WHERE,
    {"json", KEY_JSON, NULL, 0, "as JSON", 0},
    {0},
};
static const struct argp_option clear_options[] = {WHERE, {0}};

static const struct argp stats_argp = {
    .options = stats_options,
    .parser = parse,
    .doc = "Tells what is in the label cache on disk, also while a server uses it.",
};
static const struct argp clear_argp = {
    .options = clear_options,
    .parser = parse,
    .doc = "Removes all labels from the cache on disk, while no server uses it. Which products "
           "were invalidated stays known.",
};

/* The caller frees *out. */
static medley_status find_folder(const struct arguments *a, char **out, medley_error *err)
{
    struct config config = {0};
    if (a->folder) {
        *out = mem_strdup(a->folder);
        return *out ? MEDLEY_OK : fail_memory(err, "a path");
    }
    char *path = path_join(a->workspace, "medley.yaml");
    medley_status st = path ? config_load(path, &config, err) : fail_memory(err, "a path");
    if (!st && !config.serve.cache_dir)
        st = fail(err, MEDLEY_EINVAL, "%s: no serve.cache_dir; say --cache-dir FOLDER", path);
    else if (!st && !(*out = path_join(a->workspace, config.serve.cache_dir)))
        st = fail_memory(err, "a path");
    if (config.document)
        config_free(&config);
    mem_free(path);
    return st;
}

static void print_stats(const struct tier_stats *s, bool as_json)
{
    if (!as_json) {
        printf("%" PRIu64 " labels, %.1f of %.1f MB\n", s->entries, (double)s->bytes / 1e6,
               (double)s->max_bytes / 1e6);
        return;
    }
    printf("{\"entries\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"max_bytes\":%" PRIu64 "}\n",
           s->entries, s->bytes, s->max_bytes);
}

static int cache_stats(int argc, char **argv)
{
    struct arguments a = {.workspace = "."};
    struct tier_stats stats;
    char *folder = NULL;
    medley_error err;
    cli_parse(&stats_argp, argc, argv, &a);
    medley_status st = find_folder(&a, &folder, &err);
    if (!st)
        st = disk_inspect(folder, &stats, &err);
    if (!st)
        print_stats(&stats, a.json);
    mem_free(folder);
    return st ? cli_fail(&err) : 0;
}

static medley_status clear(const char *folder, uint64_t *removed, medley_error *err)
{
    struct tier_stats before, after;
    struct disk *disk = NULL;
    medley_status st = disk_inspect(folder, &before, err);
    if (st)
        return st;
    struct epochs *epochs = epochs_new();
    if (!epochs)
        return fail_memory(err, "epochs");
    struct disk_options o = {
        .folder = folder, .bytes = (size_t)before.max_bytes, .n_classes = 1};
    st = disk_open(&o, epochs, &disk, err);
    if (!st) {
        disk_clear(disk);
        disk_stats(disk, &after);
        if (after.entries)
            st = fail(err, MEDLEY_EIO, "'%s' could not be cleared", folder);
        *removed = before.entries;
    }
    disk_close(disk);
    epochs_free(epochs);
    return st;
}

static int cache_clear(int argc, char **argv)
{
    struct arguments a = {.workspace = "."};
    char *folder = NULL;
    uint64_t removed = 0;
    medley_error err;
    cli_parse(&clear_argp, argc, argv, &a);
    medley_status st = find_folder(&a, &folder, &err);
    if (!st)
        st = clear(folder, &removed, &err);
    mem_free(folder);
    if (st)
        return cli_fail(&err);
    fprintf(stderr, "%" PRIu64 " labels removed\n", removed);
    return 0;
}

int verb_cache(int argc, char **argv)
{
    static const struct verb list[] = {
        {"stats", "how many labels are on disk", cache_stats},
        {"clear", "remove them", cache_clear},
        {NULL, NULL, NULL},
    };
    return cli_sub_verbs("cache", "The label cache that `medley serve --cache-dir` keeps.",
                         list, argc, argv);
}
