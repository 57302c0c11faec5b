/* shadow_changes.h: what would change if the bundle in the shadow took over: how labels move,
 * and the last pairs whose label differs. Counted for one shadow at a time: another starts
 * anew. */
#ifndef SERVE_SHADOW_CHANGES_H
#define SERVE_SHADOW_CHANGES_H

#include "medley/bundle.h"

#include <pthread.h>

#define SHADOW_CHANGES 32      /* pairs that are kept */
#define SHADOW_CHANGE_TEXT 257 /* bytes of a text, with its end; longer ones are cut */

struct classification;

struct shadow_change {
    char query[SHADOW_CHANGE_TEXT], locale[64], product[SHADOW_CHANGE_TEXT];
    uint8_t active, shadow; /* labels */
    float active_probability, shadow_probability, distance;
};

struct shadow_changes {
    pthread_mutex_t lock;
    char id[64];                                             /* of the shadow; "": none yet */
    uint64_t labels[MEDLEY_MAX_CLASSES][MEDLEY_MAX_CLASSES]; /* pairs by active, by shadow */
    double distance; /* sum over pairs of the total variation distance */
    size_t n;        /* different ones so far; number i is last[i % SHADOW_CHANGES] */
    struct shadow_change last[SHADOW_CHANGES];
};

void shadow_changes_init(struct shadow_changes *c);
void shadow_changes_deinit(struct shadow_changes *c);
/* What the shadow `id` answers beside c's results. Any thread. */
void shadow_changes_add(struct shadow_changes *s, const char *id,
                        const struct classification *c, const medley_result *answers,
                        size_t n_classes);

#endif
