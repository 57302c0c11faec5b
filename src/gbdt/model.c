/* model.c: the handle of a trained model: its parts, its names, its size.
 * Proof: tests/test_gbdt.c. */
#include "gbdt/forest.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

struct tree *tree_new(uint32_t n_leaves, uint32_t n_outputs, uint32_t first_class)
{
    size_t nodes = (n_leaves - 1) * sizeof(struct tree_node);
    size_t values = (size_t)n_leaves * n_outputs * sizeof(float);
    struct tree *t = mem_zalloc(1, sizeof *t + nodes + n_leaves * sizeof(double) + values);
    if (!t)
        return NULL;
    t->n_leaves = n_leaves;
    t->n_outputs = n_outputs;
    t->first_class = first_class;
    t->nodes = (struct tree_node *)(t + 1);
    t->counts = (double *)(t->nodes + (n_leaves - 1));
    t->values = (float *)(t->counts + n_leaves);
    return t;
}

void tree_free(struct tree *t)
{
    mem_free(t);
}

struct medley_gbdt *gbdt_new(size_t n_features, size_t n_classes, enum medley_trees kind)
{
    struct medley_gbdt *m = mem_zalloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->n_features = n_features;
    m->n_classes = n_classes;
    m->kind = kind;
    m->link_scale = 1;
    return m;
}

/* What was made ready for prediction no longer fits. */
static void drop_forest(struct medley_gbdt *model)
{
    forest_free(atomic_exchange(&model->forest, NULL));
}

bool gbdt_add_tree(struct medley_gbdt *model, struct tree *t)
{
    drop_forest(model);
    if (!mem_reserve(&model->trees, &model->trees_capacity, model->n_trees + 1,
                     sizeof *model->trees))
        return false;
    model->trees[model->n_trees++] = t;
    model->rounds = model->n_trees / gbdt_trees_per_round(model);
    return true;
}

size_t gbdt_most_leaves(const struct medley_gbdt *model)
{
    size_t most = 1;
    for (size_t t = 0; t < model->n_trees; t++)
        most = model->trees[t]->n_leaves > most ? model->trees[t]->n_leaves : most;
    return most;
}

void gbdt_truncate(struct medley_gbdt *model, size_t rounds)
{
    size_t keep = rounds * gbdt_trees_per_round(model);
    drop_forest(model);
    while (model->n_trees > keep)
        tree_free(model->trees[--model->n_trees]);
    model->rounds = rounds;
}

void gbdt_apply_link(const struct medley_gbdt *model, const double *margins, size_t n,
                     float *out)
{
    for (size_t i = 0; i < n; i++)
        switch (model->link) {
        case MEDLEY_LINK_SIGMOID:
            out[i] = (float)(1 / (1 + exp(-model->link_scale * margins[i])));
            break;
        case MEDLEY_LINK_EXP:
            out[i] = (float)exp(margins[i]);
            break;
        default:
            out[i] = (float)margins[i];
        }
}

static void names_free(char **names, size_t n)
{
    for (size_t i = 0; names && i < n; i++)
        mem_free(names[i]);
    mem_free(names);
}

void medley_gbdt_free(medley_gbdt *model)
{
    if (!model)
        return;
    gbdt_truncate(model, 0);
    mem_free(model->trees);
    names_free(model->names, model->n_features);
    mem_free(model);
}

size_t medley_gbdt_features(const medley_gbdt *model)
{
    return model->n_features;
}

size_t medley_gbdt_classes(const medley_gbdt *model)
{
    return model->n_classes;
}

enum medley_link medley_gbdt_link(const medley_gbdt *model)
{
    return model->link;
}

enum medley_cover medley_gbdt_cover(const medley_gbdt *model)
{
    return model->cover;
}

size_t medley_gbdt_rounds(const medley_gbdt *model)
{
    return model->rounds;
}

size_t medley_gbdt_memory(const medley_gbdt *model)
{
    const struct forest *ready = atomic_load(&((medley_gbdt *)model)->forest);
    size_t bytes = ready ? forest_memory(ready) : 0;
    bytes += sizeof *model + model->trees_capacity * sizeof *model->trees;
    for (size_t i = 0; i < model->n_trees; i++) {
        const struct tree *t = model->trees[i];
        bytes += sizeof *t + (t->n_leaves - 1) * sizeof *t->nodes +
                 t->n_leaves * (sizeof *t->counts + t->n_outputs * sizeof *t->values);
    }
    for (size_t i = 0; model->names && i < model->n_features; i++)
        bytes += sizeof *model->names + strlen(model->names[i]) + 1;
    return bytes;
}

medley_status medley_gbdt_set_feature_names(medley_gbdt *model, const char *const *names,
                                            medley_error *err)
{
    for (size_t i = 0; i < model->n_features; i++)
        if (!names[i] || !names[i][0] || strpbrk(names[i], "\r\n"))
            return fail(err, MEDLEY_EINVAL, "name of feature %zu is empty or has a line break",
                        i);
    char **copy = mem_zalloc(model->n_features, sizeof *copy);
    if (!copy)
        return fail_memory(err, "feature names");
    for (size_t i = 0; i < model->n_features; i++) {
        copy[i] = mem_strdup(names[i]);
        if (!copy[i]) {
            names_free(copy, i);
            return fail_memory(err, "feature names");
        }
    }
    names_free(model->names, model->n_features);
    model->names = copy;
    return MEDLEY_OK;
}

const char *medley_gbdt_feature_name(const medley_gbdt *model, size_t feature)
{
    return model->names && feature < model->n_features ? model->names[feature] : NULL;
}
