/* encoder_params.c: parameters from a checkpoint, in one file or in shards. */
#include "lm/encoder.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/str.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

enum { MAX_SHARDS = 1000 };

/* The files of a checkpoint. */
struct checkpoint {
    struct st_file **files;
    char **paths;
    size_t n, capacity[2];
};

static void checkpoint_close(struct checkpoint *c)
{
    for (size_t i = 0; i < c->n; i++) {
        st_close(c->files[i]);
        mem_free(c->paths[i]);
    }
    mem_free(c->files);
    mem_free(c->paths);
    *c = (struct checkpoint){0};
}

/* Opens folder/name unless it is open. */
static medley_status checkpoint_add(struct checkpoint *c, const char *folder, const char *name,
                                    medley_error *err)
{
    char *path = path_join(folder, name);
    struct st_file *file = NULL;
    if (!path)
        return fail_memory(err, "a path");
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->paths[i], path) == 0) {
            mem_free(path);
            return MEDLEY_OK;
        }
    medley_status st = c->n < MAX_SHARDS ? st_open(path, &file, err)
                                         : fail(err, MEDLEY_EFORMAT, "%s: more than %d shards",
                                                folder, MAX_SHARDS);
    if (!st && (!mem_reserve(&c->files, &c->capacity[0], c->n + 1, sizeof *c->files) ||
                !mem_reserve(&c->paths, &c->capacity[1], c->n + 1, sizeof *c->paths)))
        st = fail_memory(err, "a checkpoint");
    if (st) {
        st_close(file);
        mem_free(path);
        return st;
    }
    c->files[c->n] = file;
    c->paths[c->n++] = path;
    return MEDLEY_OK;
}

/* Every file that the index names; a name with a '/' could lead out of the folder. */
static medley_status open_shards(struct checkpoint *c, const char *folder, const char *index,
                                 medley_error *err)
{
    json *root = NULL;
    medley_status st = json_load(index, &root, err);
    const json *map = st ? NULL : json_get(root, "weight_map");
    if (!st && !json_first(map))
        st = fail(err, MEDLEY_EFORMAT, "%s: expected an object weight_map", index);
    for (const json *i = json_first(map); i && !st; i = json_next(i)) {
        const char *name = NULL;
        if (!json_as_text(i, &name) || strchr(name, '/'))
            st = fail(err, MEDLEY_EFORMAT, "%s: weight_map: expected names of files", index);
        else if ((st = checkpoint_add(c, folder, name, err)))
            fail_within(err, st, "%s: shard of tensor '%s'", index, json_key(i));
    }
    json_free(root);
    return st;
}

static medley_status checkpoint_open(const char *folder, struct checkpoint *c,
                                     medley_error *err)
{
    *c = (struct checkpoint){0};
    char *index = path_join(folder, "model.safetensors.index.json");
    char *whole = path_join(folder, "model.safetensors");
    medley_status st = index && whole ? MEDLEY_OK : fail_memory(err, "a path");
    if (!st && access(whole, F_OK) != 0 && access(index, F_OK) == 0)
        st = open_shards(c, folder, index, err);
    else if (!st)
        st = checkpoint_add(c, folder, "model.safetensors", err);
    mem_free(index);
    mem_free(whole);
    if (st)
        checkpoint_close(c);
    return st;
}

static const struct st_entry *find_name(const struct checkpoint *c, const char *name,
                                        size_t *file)
{
    const struct st_entry *entry = NULL;
    for (*file = 0; *file < c->n; ++*file)
        if ((entry = st_find(c->files[*file], name)))
            break;
    return entry;
}

/* Norms were called gamma and beta in the first checkpoints. */
static const struct st_entry *find_old_name(const struct checkpoint *c, const char *name,
                                            size_t *file)
{
    static const char *const renamed[][2] = {{"LayerNorm.weight", "LayerNorm.gamma"},
                                             {"LayerNorm.bias", "LayerNorm.beta"}};
    char old[256];
    for (int i = 0; i < 2; i++) {
        size_t n = strlen(name), tail = strlen(renamed[i][0]);
        if (n >= tail && n < sizeof old - 8 && strcmp(name + n - tail, renamed[i][0]) == 0) {
            snprintf(old, sizeof old, "%.*s%s", (int)(n - tail), name, renamed[i][1]);
            return find_name(c, old, file);
        }
    }
    return NULL;
}

static bool starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static const struct st_entry *find(const struct encoder *e, const struct checkpoint *c,
                                   const char *name, size_t *file)
{
    const char *bare =
        starts_with(name, e->family->prefix) ? name + strlen(e->family->prefix) : NULL;
    const struct st_entry *entry = find_name(c, name, file);
    if (!entry && bare)
        entry = find_name(c, bare, file);
    if (!entry)
        entry = find_old_name(c, name, file);
    if (!entry && bare)
        entry = find_old_name(c, bare, file);
    return entry;
}

static bool of_the_head(const struct encoder *e, const char *name)
{
    size_t n = starts_with(name, e->family->prefix) ? strlen(e->family->prefix) : 0;
    return n == 0 || starts_with(name + n, "pooler.");
}

/* What fits the classes of another task. */
static bool of_the_classes(const char *name)
{
    return starts_with(name, "classifier.") && !starts_with(name, "classifier.dense.");
}

/* *out is NULL where the parameter keeps its start: a head that is missing, or a classifier for
 * another number of classes. */
static medley_status find_entry(const struct encoder *e, const struct param *item, bool whole,
                                const struct checkpoint *c, const struct st_entry **out,
                                size_t *file, medley_error *err)
{
    const struct st_entry *entry = find(e, c, item->name, file);
    *out = NULL;
    if (!entry)
        return of_the_head(e, item->name) && !whole
                   ? MEDLEY_OK
                   : fail(err, MEDLEY_EFORMAT, "%s: tensor '%s' is missing", c->paths[0],
                          item->name);
    if (!param_fits(item, entry) && !whole && of_the_classes(item->name))
        return MEDLEY_OK;
    if (!param_fits(item, entry))
        return fail(err, MEDLEY_EFORMAT,
                    "%s: tensor '%s' has another shape than the expected %zu x "
                    "%zu",
                    c->paths[*file], item->name, item->rows, item->cols);
    *out = entry;
    return MEDLEY_OK;
}

medley_status encoder_check_params(const struct encoder *e, struct params *p,
                                   const char *folder, bool whole, medley_error *err)
{
    struct checkpoint c;
    medley_status st = checkpoint_open(folder, &c, err);
    for (param_id i = 0; i < p->count && !st; i++) {
        const struct st_entry *entry = NULL;
        size_t file;
        st = find_entry(e, &p->items[i], whole, &c, &entry, &file, err);
        if (!st && entry)
            p->items[i].init = INIT_ZERO;
    }
    checkpoint_close(&c);
    return st;
}

static medley_status load_one(const struct encoder *e, struct params *p, param_id id,
                              const struct checkpoint *c, medley_error *err)
{
    const struct param *item = &p->items[id];
    const struct st_entry *entry = NULL;
    size_t file;
    medley_status st = find_entry(e, item, false, c, &entry, &file, err);
    if (st || !entry)
        return st;
    const char *path = c->paths[file];
    float *values = params_value(p, id);
    if (!st_to_float(entry, values))
        return fail(err, MEDLEY_EFORMAT,
                    "%s: tensor '%s' is of type %s (expected floating point)", path, item->name,
                    st_type_name(entry->type));
    for (size_t i = 0; i < entry->count; i++)
        if (!isfinite(values[i]))
            return fail(err, MEDLEY_EFORMAT, "%s: tensor '%s' holds a value that is not finite",
                        path, item->name);
    return MEDLEY_OK;
}

medley_status encoder_load_params(const struct encoder *e, struct params *p, const char *folder,
                                  medley_error *err)
{
    struct checkpoint c;
    medley_status st = checkpoint_open(folder, &c, err);
    for (param_id i = 0; i < p->count && !st; i++)
        st = load_one(e, p, i, &c, err);
    checkpoint_close(&c);
    return st;
}
