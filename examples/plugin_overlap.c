/* plugin_overlap.c: the smallest useful base model as a shared library: the share of the
 * query's words that stand in the title decides. It learns nothing. plugin_bm25.c is one that
 * does.
 *
 *     cc -std=c11 -shared -fPIC plugin_overlap.c $(pkg-config --cflags medley) -o overlap.so
 *     medley model add name=overlap kind=plugin library=overlap.so -C shop */
#include "medley/plugin.h"

#include <stdio.h>
#include <string.h>

struct medley_plugin {
    size_t n_classes;
};
static struct medley_plugin with_classes[17]; /* by number of classes: nothing to free */

int medley_plugin_open(const medley_plugin_setup *setup, medley_plugin **out, char *message,
                       size_t size)
{
    if (setup->n_classes > 16)
        return snprintf(message, size, "%zu classes are too many", setup->n_classes), 1;
    *out = &with_classes[setup->n_classes];
    (*out)->n_classes = setup->n_classes;
    return 0;
}

static float overlap(medley_plugin_text query, medley_plugin_text title)
{
    size_t words = 0, found = 0;
    for (size_t i = 0, j; i < query.n; i = j + 1) {
        for (j = i; j < query.n && query.s[j] != ' ';)
            j++;
        words += j > i;
        for (size_t t = 0; j > i && t + (j - i) <= title.n; t++)
            if (memcmp(query.s + i, title.s + t, j - i) == 0) {
                found++;
                break;
            }
    }
    return words ? (float)found / (float)words : 0;
}

int medley_plugin_predict(const medley_plugin *p, const medley_plugin_pair *pairs, size_t n,
                          float *probabilities, char *message, size_t size)
{
    (void)message, (void)size;
    for (size_t i = 0; i < n; i++) { /* the first class is the best one */
        float best = 0.1f + 0.8f * overlap(pairs[i].query, pairs[i].title);
        for (size_t c = 0; c < p->n_classes; c++)
            probabilities[i * p->n_classes + c] =
                c == 0 ? best : (1 - best) / (float)(p->n_classes - 1);
    }
    return 0;
}

void medley_plugin_close(medley_plugin *p)
{
    (void)p;
}
