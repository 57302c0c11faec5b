/* bundle_part.c: some pairs of a request as a request of their own, since a model is asked only
 * for pairs that a cascade has not decided, and of which the caller has brought no prediction.
 * Proof: tests/test_bundle.c, tests/test_given.c. */
#include "ensemble/bundle_private.h"

#include "base/error.h"
#include "base/memory.h"
#include "ensemble/answers.h"

#include <math.h>
#include <string.h>

static medley_status copy_features(const struct request *r, const uint32_t *rows,
                                   struct request *part, medley_error *err)
{
    size_t n = part->model.n;
    for (size_t g = 0; g < r->b->n_graphs; g++) {
        size_t width = r->b->graphs[g].inputs.width;
        if (!r->new_rows[g])
            continue;
        if (!(part->new_rows[g] = mem_alloc(n + 1, width * sizeof(float))))
            return fail_memory(err, "feature rows");
        for (size_t i = 0; i <= n; i++) {
            size_t from = i < n ? rows[i] : r->model.n; /* the query is last */
            memcpy(part->new_rows[g] + i * width, r->new_rows[g] + from * width,
                   width * sizeof(float));
        }
    }
    return MEDLEY_OK;
}

medley_status request_part_open(const struct request *r, const uint32_t *rows, size_t n,
                                struct request *part, medley_error *err)
{
    *part = (struct request){.b = r->b,
                             .model = r->model,
                             .until = r->until,
                             .asked = r->asked,
                             .given = r->given,
                             .given_some = r->given_some,
                             .given_all = r->given_all};
    part->texts = mem_alloc(n, sizeof *part->texts);
    part->product = mem_alloc(n, sizeof *part->product);
    part->row = mem_alloc(n, sizeof *part->row);
    if (!part->texts || !part->product || !part->row)
        return fail_memory(err, "a part of a request");
    for (size_t i = 0; i < n; i++) {
        part->texts[i] = r->model.texts[rows[i]];
        part->product[i] = r->model.product[rows[i]];
        part->row[i] = r->row ? r->row[rows[i]] : rows[i];
    }
    part->model.n = n;
    part->model.texts = part->texts;
    part->model.product = part->product;
    return copy_features(r, rows, part, err);
}

medley_status request_part_merge(struct request *r, const struct request *part,
                                 const uint32_t *rows, size_t m, medley_error *err)
{
    size_t k = r->b->shape.n_classes, n = part->model.n;
    r->failed |= part->failed;
    r->late |= part->late;
    if (part->stored[m] && !r->stored[m] && !(r->stored[m] = mem_zalloc(r->model.n, 1)))
        return fail_memory(err, "a part of a request");
    for (size_t i = 0; i < n; i++) {
        memcpy(r->probabilities[m] + rows[i] * k, part->probabilities[m] + i * k,
               k * sizeof(float));
        if (part->stored[m])
            r->stored[m][rows[i]] = part->stored[m][i];
    }
    return MEDLEY_OK;
}

medley_status request_part_keep(struct request *r, const struct request *part,
                                const uint32_t *rows, medley_error *err)
{
    size_t n = part->model.n;
    for (size_t g = 0; g < r->b->n_graphs; g++) {
        size_t width = r->b->graphs[g].inputs.width;
        if (r->new_rows[g] || !part->new_rows[g])
            continue;
        if (!(r->new_rows[g] = mem_zalloc(r->model.n + 1, width * sizeof(float))))
            return fail_memory(err, "feature rows");
        for (size_t i = 0; i <= n; i++) {
            size_t to = i < n ? rows[i] : r->model.n;
            memcpy(r->new_rows[g] + to * width, part->new_rows[g] + i * width,
                   width * sizeof(float));
        }
    }
    return MEDLEY_OK;
}

/* ---- what the caller knows ----------------------------------------------------------------
 */

medley_status request_take_given(struct request *r, const float *given, medley_error *err)
{
    size_t k = r->b->shape.n_classes, n_models = r->b->n_models;
    char room[96];
    uint32_t some = 0, all = UINT32_MAX;
    for (size_t i = 0; i < r->model.n; i++) {
        uint32_t here = 0;
        for (size_t m = 0; m < n_models; m++, given += k) {
            const char *problem = answers_problem(given, k, room, sizeof room);
            if (problem)
                return fail(err, MEDLEY_EINVAL, "given of '%s' for product %zu: %s",
                            r->b->models[m].config.name, i, problem);
            here |= (uint32_t)!isnan(*given) << m;
        }
        some |= here;
        all &= here;
    }
    r->given = given - r->model.n * n_models * k;
    r->given_some = some;
    r->given_all = all;
    return MEDLEY_OK;
}

const float *request_given(const struct request *r, size_t i, size_t m)
{
    size_t k = r->b->shape.n_classes, row = r->row ? r->row[i] : i;
    if (!(r->given_some >> m & 1))
        return NULL;
    const float *given = r->given + (row * r->b->n_models + m) * k;
    return isnan(*given) ? NULL : given;
}

uint32_t request_given_mask(const struct request *r, size_t i)
{
    uint32_t mask = 0;
    for (size_t m = 0; r->given_some && m < r->b->n_models; m++)
        mask |= (uint32_t)(request_given(r, i, m) != NULL) << m;
    return mask;
}
