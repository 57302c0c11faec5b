/* refits_file.c: see refits_file.h. The file is a few lines of text, then the three arrays of
 * struct refits as they lie in memory (little-endian). */
#include "ensemble/refits_file.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

struct hash128 refits_key(const struct stack *s, const struct players *p,
                          const struct slices *slices, const struct refit_options *options,
                          const struct refits *r)
{
    const struct ensemble_config *c = &s->w->config.ensemble;
    size_t k = s->n_classes;
    double settings[] = {
        c->num_leaves,         c->min_data_in_leaf,  c->learning_rate, c->lambda_l2,
        c->feature_fraction,   c->mask_rate,         c->plain,         options->rounds,
        (double)options->seed, (double)r->resamples, (double)k,        (double)s->n_models};
    struct hash128 h = hash_bytes(settings, sizeof settings, (struct hash128){2, 0});
    h = hash_bytes(s->class_weights, k * sizeof *s->class_weights, h);
    h = hash_bytes(s->label, s->n, h);
    h = hash_bytes(s->fold, s->n, h);
    h = hash_bytes(s->query, s->n * sizeof *s->query, h);
    for (size_t m = 0; m < s->n_models; m++)
        h = hash_bytes(s->probabilities[m], s->n * k * sizeof(float), h);
    if (s->context)
        h = hash_bytes(s->context, s->n * CONTEXT_FEATURES * sizeof(float), h);
    h = hash_bytes(p->of_feature, p->n_features * sizeof *p->of_feature, h);
    h = hash_bytes(slices->cell, s->n * sizeof *slices->cell, h);
    h = hash_bytes(slices->holds, slices->n * slices->n_cells, h);
    return hash_bytes(r->plan.coalitions, r->plan.n_coalitions * sizeof *r->plan.coalitions, h);
}

struct part {
    void *data;
    size_t n;
};

static size_t file_parts(const struct refits *r, struct part out[3])
{
    size_t width = r->n_slices * r->n_values, n = r->plan.n_coalitions;
    out[0] = (struct part){r->worth, n * width * sizeof *r->worth};
    out[1] = (struct part){r->by_fold, n * r->n_folds * FOLD_VALUES * sizeof *r->by_fold};
    out[2] = (struct part){r->resampled, n * r->resamples * width * sizeof *r->resampled};
    return out[0].n + out[1].n + out[2].n;
}

enum { HEADER = 49 };

static void header(struct hash128 key, char out[HEADER + 1])
{
    char hex[33];
    hash_text(key, hex);
    snprintf(out, HEADER + 1, "medley refits 1\n%s\n", hex);
}

static struct path file_path(const struct workspace *w, enum players_by by)
{
    return workspace_path(w, "ensemble/refits-%s.bin", players_names[by]);
}

bool refits_read(const struct workspace *w, enum players_by by, struct hash128 key,
                 struct refits *r)
{
    struct mapping map;
    struct part parts[3];
    char expected[HEADER + 1];
    struct path path = file_path(w, by);
    if (!file_exists(path.s) || mapping_open(path.s, &map, NULL) != MEDLEY_OK)
        return false;
    header(key, expected);
    size_t all = file_parts(r, parts) + sizeof key, at = HEADER;
    bool good = map.n == HEADER + all && memcmp(map.data, expected, HEADER) == 0;
    if (good) { /* a checksum: the file may have been cut or changed since */
        struct hash128 sum =
            hash_bytes(map.data + HEADER, all - sizeof sum, (struct hash128){0, 0});
        good = memcmp(map.data + map.n - sizeof sum, &sum, sizeof sum) == 0;
    }
    for (size_t i = 0; i < 3 && good; at += parts[i++].n)
        memcpy(parts[i].data, map.data + at, parts[i].n);
    mapping_close(&map);
    return good;
}

medley_status refits_write(const struct workspace *w, enum players_by by, struct hash128 key,
                           const struct refits *r, medley_error *err)
{
    struct part parts[3];
    char top[HEADER + 1];
    size_t all = file_parts(r, parts), at = 0;
    char *bytes = mem_alloc(all, 1);
    if (!bytes)
        return fail_memory(err, "coalitions' values");
    for (size_t i = 0; i < 3; at += parts[i++].n)
        memcpy(bytes + at, parts[i].data, parts[i].n);
    struct hash128 sum = hash_bytes(bytes, all, (struct hash128){0, 0});
    struct outfile o;
    header(key, top);
    medley_status st = make_folders(workspace_path(w, "ensemble").s, err);
    if (!st)
        st = outfile_open(&o, file_path(w, by).s, err);
    if (!st) {
        fwrite(top, 1, HEADER, o.f);
        fwrite(bytes, 1, all, o.f);
        fwrite(&sum, sizeof sum, 1, o.f);
        st = outfile_commit(&o, err);
        outfile_abort(&o);
    }
    mem_free(bytes);
    return st;
}
