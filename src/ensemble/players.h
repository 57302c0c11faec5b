/* players.h: who gets a value when the ensemble is ranked: base models, families of them, graph
 * relations, or single probabilities. Every column of the ensemble's table (design.h) belongs
 * to one player, or to the context, which is none's. */
#ifndef ENSEMBLE_PLAYERS_H
#define ENSEMBLE_PLAYERS_H

#include "ensemble/stack.h"
#include "medley/coalition.h"

enum players_by { PLAYERS_MODEL, PLAYERS_FAMILY, PLAYERS_RELATION, PLAYERS_PROBABILITY };
extern const char *const players_names[]; /* "model", ..., NULL: by enum players_by */

struct player {
    char name[160];   /* "minilm", "lm", "relation listing", "minilm.E" */
    const char *kind; /* of its models: lm, gnn, table; "mixed" */
    uint32_t models;  /* those it takes part in, as a mask of config.models */
};

struct players {
    size_t n;
    enum players_by by;
    struct player *items; /* [n] */
    uint32_t *of_feature; /* [F] of the table of all models: player, or MEDLEY_NO_PLAYER */
    size_t n_features;
};

/* EINVAL when there are more than MEDLEY_COALITION_PLAYERS. */
medley_status players_open(const struct stack *s, enum players_by by, struct players *out,
                           medley_error *err);
void players_close(struct players *p);

#endif
