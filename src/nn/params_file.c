/* params_file.c: parameters from and to safetensors. */
#include "nn/params.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/str.h"

#include <math.h>
#include <string.h>

int param_shape(const struct param *item, uint64_t shape[3])
{
    shape[0] = item->dims == 1 ? item->rows * item->cols : item->rows;
    shape[1] = item->cols / item->taps;
    shape[2] = item->taps;
    return item->dims;
}

bool param_fits(const struct param *item, const struct st_entry *e)
{
    uint64_t shape[3];
    int dims = param_shape(item, shape);
    return e->dims == dims && memcmp(e->shape, shape, (size_t)dims * sizeof *shape) == 0;
}

static medley_status check_finite(const float *v, size_t n, const char *name, medley_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return fail(err, MEDLEY_EFORMAT, "tensor '%s': value %zu is not a finite number",
                        name, i);
    return MEDLEY_OK;
}

static medley_status load_one(const struct param *item, const struct st_entry *e, float *out,
                              medley_error *err)
{
    if (!param_fits(item, e)) {
        return fail(
            err, MEDLEY_EFORMAT,
            "tensor '%s': expected %d dimension(s) [%zu x %zu], the file has %d with %zu "
            "elements",
            e->name, item->dims, item->rows, item->cols, e->dims, e->count);
    }
    if (!st_to_float(e, out))
        return fail(err, MEDLEY_EFORMAT,
                    "tensor '%s': expected floating point, the file has %s", e->name,
                    st_type_name(e->type));
    return check_finite(out, e->count, e->name, err);
}

medley_status params_load(struct params *p, const struct st_file *f, const char *prefix,
                          bool *loaded, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    struct strbuf name;
    sb_init(&name);
    /* Into a copy, so that a bad tensor leaves the parameters as they were. */
    float *values = mem_alloc64(p->total, sizeof *values);
    bool *found = mem_zalloc(p->count, sizeof *found);
    if (!values || !found || !p->values) {
        st = fail_memory(err, "parameters");
        goto done;
    }
    memcpy(values, p->values, p->total * sizeof *values);
    for (size_t i = 0; i < p->count && st == MEDLEY_OK; i++) {
        sb_clear(&name);
        sb_addf(&name, "%s%s", prefix, p->items[i].name);
        if (name.failed) {
            st = fail_memory(err, "parameter name");
            break;
        }
        const struct st_entry *e = st_find(f, name.s);
        found[i] = e != NULL;
        if (e)
            st = load_one(&p->items[i], e, values + p->items[i].offset, err);
    }
    if (st != MEDLEY_OK)
        goto done;
    memcpy(p->values, values, p->total * sizeof *values);
    if (loaded)
        memcpy(loaded, found, p->count * sizeof *found);
done:
    mem_free(values);
    mem_free(found);
    sb_deinit(&name);
    return st;
}

void params_write(const struct params *p, const float *values, struct st_writer *w)
{
    if (!values)
        values = p->values;
    for (size_t i = 0; i < p->count; i++) {
        const struct param *item = &p->items[i];
        uint64_t shape[3];
        int dims = param_shape(item, shape);
        st_writer_add(w, item->name, ST_F32, dims, shape, values + item->offset);
    }
}
