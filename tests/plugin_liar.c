/* plugin_liar.c: a plugin that breaks the contract in the way that `how` names, in its settings
 * or, while it runs, in the environment variable LIAR; for test_plugin.c. */
#include "medley/plugin.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct medley_plugin {
    char how[32];
    size_t k;
};

int medley_plugin_open(const medley_plugin_setup *s, medley_plugin **out, char *message,
                       size_t size)
{
    const char *how = s->settings[0] ? s->settings[1] : "";
    char path[1200];
    if (strcmp(how, "forgets") == 0 && s->n_pairs == 0) {
        snprintf(message, size, "I forgot everything");
        return 1;
    }
    if (strcmp(how, "litters") == 0 && s->n_pairs) {
        snprintf(path, sizeof path, "%s/plugin.json", s->folder);
        FILE *f = fopen(path, "w");
        if (f)
            fclose(f);
    }
    if (strcmp(how, "nothing") == 0)
        return 0;
    if (strcmp(how, "mute") == 0) {
        memset(message, 'x', size); /* not terminated */
        return 7;
    }
    *out = calloc(1, sizeof **out);
    if (!*out)
        return 1;
    snprintf((*out)->how, sizeof(*out)->how, "%s", how);
    (*out)->k = s->n_classes;
    return 0;
}

int medley_plugin_predict(const medley_plugin *p, const medley_plugin_pair *pairs, size_t n,
                          float *out, char *message, size_t size)
{
    const char *how = getenv("LIAR") ? getenv("LIAR") : p->how;
    for (size_t i = 0; i < n * p->k; i++)
        out[i] = 1.0f / (float)p->k;
    if (strcmp(how, "nan") == 0)
        out[0] = NAN;
    if (strcmp(how, "infinite") == 0)
        out[0] = INFINITY;
    if (strcmp(how, "negative") == 0)
        out[0] = -0.2f, out[1] += 0.2f + 1.0f / (float)p->k;
    if (strcmp(how, "sum") == 0)
        out[0] += 0.01f;
    if (strcmp(how, "much") == 0)
        out[n * p->k] = 0.5f;
    if (strcmp(how, "fails") == 0) {
        snprintf(message, size, "no mood");
        return 1;
    }
    for (size_t i = 0; strcmp(how, "spanish") == 0 && i < n; i++)
        for (size_t c = 0; c < p->k && memcmp(pairs[i].locale.s, "es", 2) != 0; c++)
            out[i * p->k + c] = NAN;
    return 0;
}

void medley_plugin_close(medley_plugin *p)
{
    free(p);
}
