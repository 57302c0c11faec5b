/* forest_space.c: what a thread needs to take rows through a forest, kept from call to call.
 * Proof: tests/test_forest.c. */
#include "gbdt/forest.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

medley_status forest_space_new(const struct forest *f, const struct forest_impl *impl,
                               struct forest_space **out, medley_error *err)
{
    size_t bytes = 8 * impl->words, rows = 64 * impl->words, k = f->model->n_classes;
    struct forest_space *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return fail_memory(err, "a block of rows");
    s->gates = mem_alloc64(f->most_gates + 1, bytes);
    s->leaves = mem_alloc64(FOREST_GROUP, rows);
    s->sums = mem_alloc64(k, rows * sizeof *s->sums);
    s->margins = mem_alloc64(k, rows * sizeof *s->margins);
    medley_status st = MEDLEY_OK;
    if (!s->gates || !s->leaves || !s->sums || !s->margins)
        st = fail_memory(err, "a block of rows");
    if (st == MEDLEY_OK)
        st = conditions_space_init_more(f->conditions, impl->words, f->n_slots, &s->answers,
                                        err);
    if (st != MEDLEY_OK) {
        forest_space_free(s);
        return st;
    }
    memset(s->leaves, 0, FOREST_GROUP * rows);
    char *zeros = (char *)s->answers.masks + f->zeros * bytes;
    memset(zeros, 0, bytes);
    memset(zeros + bytes, 0xff, bytes);
    memset(s->gates, 0xff, bytes);
    *out = s;
    return MEDLEY_OK;
}

void forest_space_free(struct forest_space *s)
{
    if (!s)
        return;
    conditions_space_deinit(&s->answers);
    mem_free(s->gates);
    mem_free(s->leaves);
    mem_free(s->sums);
    mem_free(s->margins);
    mem_free(s);
}

struct forest_space *forest_space_take(struct forest *f, const struct forest_impl *impl)
{
    struct forest_space *s = NULL;
    for (size_t i = 0; i < FOREST_SPARES; i++)
        if ((s = atomic_exchange(&f->spares[i], NULL)))
            return s;
    return forest_space_new(f, impl, &s, NULL) == MEDLEY_OK ? s : NULL;
}

void forest_space_give(struct forest *f, struct forest_space *s)
{
    for (size_t i = 0; i < FOREST_SPARES; i++) {
        struct forest_space *none = NULL;
        if (atomic_compare_exchange_strong(&f->spares[i], &none, s))
            return;
    }
    forest_space_free(s);
}
