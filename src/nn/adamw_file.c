/* adamw_file.c: the optimiser's state in a checkpoint: three tensors in the layout of the
 * parameters. */
#include "nn/adamw.h"

#include "base/error.h"

#include <math.h>
#include <string.h>

#define NAME_M "adamw.m"
#define NAME_V "adamw.v"
#define NAME_STEP "adamw.step"

void adamw_write(const struct adamw *a, struct st_writer *w)
{
    uint64_t total = a->span.end - a->span.begin, one = 1;
    st_writer_add(w, NAME_M, ST_F32, 1, &total, a->m);
    st_writer_add(w, NAME_V, ST_F32, 1, &total, a->v);
    st_writer_add(w, NAME_STEP, ST_U64, 1, &one, &a->step);
}

static medley_status check_moments(const struct st_entry *e, bool squares, medley_error *err)
{
    for (size_t i = 0; i < e->count; i++) {
        float x;
        memcpy(&x, (const char *)e->data + i * sizeof x, sizeof x);
        if (!isfinite(x) || (squares && x < 0))
            return fail(err, MEDLEY_EFORMAT, "tensor '%s': value %zu is not a possible moment",
                        e->name, i);
    }
    return MEDLEY_OK;
}

medley_status adamw_read(struct adamw *a, const struct st_file *f,
                         medley_error *err)
{

    uint64_t total = a->span.end - a->span.begin, one = 1;
    const struct st_entry *m = NULL, *v = NULL, *step = NULL;
    medley_status st = st_require(f, NAME_M, ST_F32, 1, &total, &m, err);
    if (st == MEDLEY_OK)
        st = st_require(f, NAME_V, ST_F32, 1, &total, &v, err);
    if (st == MEDLEY_OK)
        st = st_require(f, NAME_STEP, ST_U64, 1, &one, &step, err);
    if (st == MEDLEY_OK)
        st = check_moments(m, false, err);
    if (st == MEDLEY_OK)
        st = check_moments(v, true, err);
    if (st != MEDLEY_OK)
        return st;
    memcpy(a->m, m->data, m->bytes);
    memcpy(a->v, v->data, v->bytes);
    memcpy(&a->step, step->data, sizeof a->step);
    return MEDLEY_OK;
}
