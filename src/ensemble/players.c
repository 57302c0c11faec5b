/* players.c: see players.h. */
#include "ensemble/players.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

const char *const players_names[] = {"model", "family", "relation", "probability", NULL};

void players_close(struct players *p)
{
    mem_free(p->items);
    mem_free(p->of_feature);
    memset(p, 0, sizeof *p);
}

/* What the model of a row of config.models, and for probabilities one of its classes, is called
 * as a player. Those of one name are one player. */
static void player_name(const struct stack *s, enum players_by by, size_t m, size_t class,
                        char *out, size_t size)
{
    const struct model_config *c = &s->w->config.models[m];
    size_t at = 0;
    switch (by) {
    case PLAYERS_MODEL:
        snprintf(out, size, "%s", c->name);
        return;
    case PLAYERS_FAMILY:
        snprintf(out, size, "%s", c->kind_name);
        return;
    case PLAYERS_PROBABILITY:
        snprintf(out, size, "%s.%s", c->name, s->w->data.class_names[class]);
        return;
    case PLAYERS_RELATION:
        break;
    }
    if (c->kind != KIND_GNN) { /* reads no graph: its family stands for it */
        snprintf(out, size, "no relation (%s)", c->kind_name);
        return;
    }
    at = (size_t)snprintf(out, size, c->relations ? "relation" : "all relations");
    for (size_t i = 0; c->relations && c->relations[i] && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s", i ? "+" : " ", c->relations[i]);
}

static size_t find_or_add(struct players *p, const char *name)
{
    size_t i = 0;
    while (i < p->n && strcmp(p->items[i].name, name) != 0)
        i++;
    if (i == p->n)
        snprintf(p->items[p->n++].name, sizeof p->items->name, "%s", name);
    return i;
}

static void claim(const struct stack *s, struct players *p, size_t feature, size_t per_model)
{
    struct player *mine;
    size_t m = feature / per_model, i;
    char name[sizeof mine->name];
    player_name(s, p->by, m, feature % per_model % s->n_classes, name, sizeof name);
    mine = &p->items[i = find_or_add(p, name)];
    const char *kind = s->w->config.models[m].kind_name;
    mine->kind = !mine->kind || strcmp(mine->kind, kind) == 0 ? kind : "mixed";
    mine->models |= UINT32_C(1) << m;
    p->of_feature[feature] = (uint32_t)i;
}

medley_status players_open(const struct stack *s, enum players_by by, struct players *out,
                           medley_error *err)
{
    struct design_shape shape = stack_shape(s, stack_all(s));
    size_t per_model = design_model_columns(&shape);
    struct players p = {.by = by, .n_features = design_columns(&shape)};
    p.items = mem_zalloc(s->n_models * s->n_classes, sizeof *p.items);
    p.of_feature = mem_alloc(p.n_features, sizeof *p.of_feature);
    if (!p.items || !p.of_feature) {
        players_close(&p);
        return fail_memory(err, "players");
    }
    for (size_t f = 0; f < p.n_features; f++) {
        if (f < s->n_models * per_model)
            claim(s, &p, f, per_model);
        else
            p.of_feature[f] = MEDLEY_NO_PLAYER;
    }
    if (p.n > MEDLEY_COALITION_PLAYERS) {
        medley_status st =
            fail(err, MEDLEY_EINVAL, "%zu players (at most %d): rank fewer models or classes",
                 p.n, MEDLEY_COALITION_PLAYERS);
        players_close(&p);
        return st;
    }
    *out = p;
    return MEDLEY_OK;
}
