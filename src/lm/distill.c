/* distill.c: see distill.h. */
#include "lm/distill.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

/* Probabilities to the power of 1/T, summing to 1; the label where they say nothing. */
static void soften(const float *p, size_t k, double temperature, uint8_t label, float *out)
{
    double sum = 0;
    for (size_t j = 0; j < k; j++)
        sum += pow((double)p[j], 1 / temperature);
    bool silent = !(sum > 0) || !isfinite(sum);
    for (size_t j = 0; j < k; j++)
        out[j] =
            silent ? (float)(j == label) : (float)(pow((double)p[j], 1 / temperature) / sum);
}

medley_status distill_init(struct distill *s, const struct lm_options *o,
                           const struct dataset *d, const uint32_t *rows, size_t n,
                           medley_error *err)
{
    const struct lm_distill_options *from = &o->distill;
    *s = (struct distill){.n_classes = d->n_classes};
    if (!from->teacher)
        return MEDLEY_OK;
    s->weight = from->weight ? (float)from->weight : 0.5f;
    s->temperature = from->temperature ? (float)from->temperature : 2;
    s->n_lanes = o->lanes;
    s->targets = mem_alloc(n, d->n_classes * sizeof *s->targets);
    s->lanes = mem_zalloc(o->lanes, sizeof *s->lanes);
    bool good = s->targets && s->lanes;
    for (unsigned l = 0; good && l < o->lanes; l++)
        good = (s->lanes[l] = mem_alloc(o->batch, d->n_classes * sizeof **s->lanes)) != NULL;
    if (!good)
        return fail_memory(err, "a teacher's probabilities");
    for (size_t i = 0; i < n; i++)
        soften(from->teacher + rows[i] * d->n_classes, d->n_classes, (double)s->temperature,
               d->example_label[rows[i]], s->targets + i * d->n_classes);
    return MEDLEY_OK;
}

void distill_deinit(struct distill *s)
{
    for (unsigned l = 0; s->lanes && l < s->n_lanes; l++)
        mem_free(s->lanes[l]);
    mem_free(s->lanes);
    mem_free(s->targets);
    *s = (struct distill){0};
}

void distill_take(struct distill *s, unsigned lane, size_t seat, size_t i)
{
    size_t k = s->n_classes;
    if (s->targets)
        memcpy(s->lanes[lane] + seat * k, s->targets + i * k, k * sizeof *s->targets);
}

struct tensor *distill_loss(const struct distill *s, struct tape *t, unsigned lane,
                            struct tensor *hard, struct tensor *logits)
{
    if (!s->targets)
        return hard;
    struct tensor *soft = op_soft_loss(t, logits, s->lanes[lane], s->temperature);
    return op_add(t, op_scale(t, hard, 1 - s->weight), op_scale(t, soft, s->weight));
}

struct hash128 distill_hash(const struct distill *s, size_t n, struct hash128 seed)
{
    if (!s->targets)
        return seed;
    const float numbers[] = {s->weight, s->temperature};
    return hash_bytes(s->targets, n * s->n_classes * sizeof *s->targets,
                      hash_bytes(numbers, sizeof numbers, seed));
}
