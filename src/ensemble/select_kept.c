/* select_kept.c: what earlier searches of this workspace found, in ensemble/searched.bin, so
 * that another budget does not refit the same subsets again. The file is two lines of text,
 * then struct kept_subset as it lies in memory (little-endian), then a hash of these; one that
 * is damaged, or of other inputs, counts as none. */
#include "ensemble/select.h"

#include "base/error.h"
#include "base/memory.h"
#include "ensemble/refits_file.h"

#include <string.h>

enum { HEADER = 51 };

static struct path file_path(const struct selection *x)
{
    return workspace_path(x->w, "ensemble/searched.bin");
}

/* Of all that a subset's values depend on, but for the subset. */
static void header(const struct selection *x, char out[HEADER + 1])
{
    char hex[33];
    struct refits none = {0};
    struct refit_options o = {.rounds = x->rounds, .seed = x->w->config.stacking.seed};
    hash_text(refits_key(&x->s, &x->players, &x->slices, &o, &none), hex);
    snprintf(out, HEADER + 1, "medley searched 1\n%s\n", hex);
}

void select_kept_read(struct selection *x)
{
    struct mapping map;
    char expected[HEADER + 1];
    struct hash128 sum;
    struct path path = file_path(x);
    if (!file_exists(path.s) || mapping_open(path.s, &map, NULL) != MEDLEY_OK)
        return;
    header(x, expected);
    size_t bytes = map.n > HEADER + sizeof sum ? map.n - HEADER - sizeof sum : 0;
    bool good =
        bytes && bytes % sizeof *x->kept == 0 && memcmp(map.data, expected, HEADER) == 0;
    if (good) {
        sum = hash_bytes(map.data + HEADER, bytes, (struct hash128){0, 0});
        good = memcmp(map.data + HEADER + bytes, &sum, sizeof sum) == 0;
    }
    if (good &&
        mem_reserve(&x->kept, &x->kept_capacity, bytes / sizeof *x->kept, sizeof *x->kept)) {
        memcpy(x->kept, map.data + HEADER, bytes);
        x->n_kept = bytes / sizeof *x->kept;
    }
    mapping_close(&map);
}

const double *select_kept_find(const struct selection *x, uint32_t mask)
{
    for (size_t i = 0; i < x->n_kept; i++)
        if (x->kept[i].mask == mask)
            return x->kept[i].value;
    return NULL;
}

medley_status select_kept_add(struct selection *x, uint32_t mask,
                              const double value[FOLD_VALUES], medley_error *err)
{
    if (!mem_reserve(&x->kept, &x->kept_capacity, x->n_kept + 1, sizeof *x->kept))
        return fail_memory(err, "model subsets");
    struct kept_subset *k = &x->kept[x->n_kept++];
    *k = (struct kept_subset){.mask = mask};
    memcpy(k->value, value, sizeof k->value);
    return MEDLEY_OK;
}

medley_status select_kept_write(const struct selection *x, medley_error *err)
{
    char top[HEADER + 1];
    struct outfile o;
    size_t bytes = x->n_kept * sizeof *x->kept;
    header(x, top);
    struct hash128 sum = hash_bytes(x->kept, bytes, (struct hash128){0, 0});
    medley_status st = outfile_open(&o, file_path(x).s, err);
    if (st)
        return st;
    fwrite(top, 1, HEADER, o.f);
    fwrite(x->kept, 1, bytes, o.f);
    fwrite(&sum, sizeof sum, 1, o.f);
    st = outfile_commit(&o, err);
    outfile_abort(&o);
    return st;
}
