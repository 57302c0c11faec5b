/* resume.c: training checkpoints; see resume.h. */
#include "nn/resume.h"

#include "base/error.h"
#include "base/progress.h"

#include <math.h>
#include <string.h>

#define NAME_STATE "training.state"
#define NAME_VALUES "training.values"
#define NAME_BEST "training.best"
#define KEY_IDENTITY "identity"
enum { STATE_COUNT = 5 };

medley_status resume_write(const struct resume *r, const struct train_position *at,
                           const char *path, medley_error *err)
{
    char identity[33];
    const double state[STATE_COUNT] = {(double)at->epoch, (double)at->step, at->loss_sum,
                                       at->best_loss, (double)at->stale};
    uint64_t total = r->params->total, n = STATE_COUNT;
    struct st_writer *w = st_writer_new();
    if (!w)
        return fail_memory(err, "a checkpoint");
    hash_text(r->identity, identity);
    st_writer_metadata(w, KEY_IDENTITY, identity);
    st_writer_add(w, NAME_STATE, ST_F64, 1, &n, state);
    st_writer_add(w, NAME_VALUES, ST_F32, 1, &total, r->params->values);
    if (r->best)
        st_writer_add(w, NAME_BEST, ST_F32, 1, &total, r->best);
    adamw_write(r->adamw, w);
    medley_status st = st_writer_commit(w, path, err);
    st_writer_free(w);
    return st;
}

static bool count_of(double v, uint64_t limit, uint64_t *out)
{
    if (!(v >= 0 && v <= (double)limit) || v != floor(v))
        return false;
    *out = (uint64_t)v;
    return true;
}

static bool take_over(const struct resume *r, const struct st_file *f,
                      struct train_position *at)
{
    const struct st_entry *values, *state, *best = NULL;
    uint64_t total = r->params->total, n = STATE_COUNT;
    struct train_position p = {0};
    char identity[33];
    double s[STATE_COUNT];
    hash_text(r->identity, identity);
    const char *theirs = st_metadata(f, KEY_IDENTITY);
    if (!theirs || strcmp(theirs, identity) != 0 ||
        st_require(f, NAME_STATE, ST_F64, 1, &n, &state, NULL) ||
        st_require(f, NAME_VALUES, ST_F32, 1, &total, &values, NULL) ||
        (r->best && st_require(f, NAME_BEST, ST_F32, 1, &total, &best, NULL)))
        return false;
    memcpy(s, state->data, sizeof s);
    p.loss_sum = s[2];
    p.best_loss = s[3];
    if (!count_of(s[0], r->epochs, &p.epoch) || !count_of(s[1], r->steps, &p.step) ||
        !count_of(s[4], r->epochs, &p.stale) || adamw_read(r->adamw, f, NULL))
        return false;
    memcpy(r->params->values, values->data, total * sizeof(float));
    if (r->best)
        memcpy(r->best, best->data, total * sizeof(float));
    *at = p;
    return true;
}

void resume_read(const struct resume *r, const char *path, struct train_position *at)
{
    struct st_file *f = NULL;
    if (!path || !file_exists(path) || st_open(path, &f, NULL))
        return;
    if (take_over(r, f, at))
        progress_note("%s: resuming at epoch %llu, step %llu", path,
                      (unsigned long long)at->epoch + 1, (unsigned long long)at->step);
    else
        progress_note("%s: a checkpoint of another training, left alone", path);
    st_close(f);
}
