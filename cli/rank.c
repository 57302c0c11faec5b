/* rank.c: medley rank: three rankings of models, families, relations or probabilities. */
#include "cli/common.h"
#include "cli/show.h"
#include "ensemble/decide.h"
#include "ensemble/stages.h"

#include <stdio.h>
#include <string.h>

enum { KEY_PLAYERS = 2100, KEY_SEEDS, KEY_FORCE };

struct arguments {
    struct common_options common;
    struct rank_options rank;
    bool force;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    int by = 0;
    switch (key) {
    case KEY_PLAYERS:
        while (players_names[by] && strcmp(players_names[by], arg) != 0)
            by++;
        if (!players_names[by])
            argp_error(state,
                       "--players: '%s' is not one of model, family, relation, probability",
                       arg);
        a->rank.players = (enum players_by)by;
        return 0;
    case KEY_SEEDS:
        a->rank.seeds = (unsigned)cli_count("--seeds", arg, 1, 20);
        return 0;
    case KEY_FORCE:
        a->force = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument '%s'", arg);
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->common;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"players", KEY_PLAYERS, "model|family|relation|probability", 0,
     "who plays [model]; families are lm, gnn, table", 0},
    {"seeds", KEY_SEEDS, "N", 0, "refit with so many seeds, for stability [3]", 0},
    {"force", KEY_FORCE, NULL, 0, "run even when nothing has changed", 0},
    {0}};

static const struct argp_child children[] = {{&common_json_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .children = children,
    .doc =
        "Say what each base model is worth, by three rankings.\vContribution: exact Shapley "
        "values of the ensemble's scores. Shapley of the metric: the ensemble is refitted on "
        "every subset of the players and measured out of fold. Leave one out: what is lost "
        "without it. Intervals (95%) are by bootstrap over queries.\nExamples:\n  medley rank "
        "-C shop\n  medley rank -C shop --players family --json",
};

static medley_status rank_anew(struct workspace *w, void *context, medley_error *err)
{
    return decide_rank(w, context, err);
}

int verb_rank(int argc, char **argv)
{
    struct arguments a = {.force = false};
    cli_parse(&argp, argc, argv, &a);
    struct workspace w;
    medley_error err;
    char file[80] = "ensemble/ranking.json";
    if (!common_open(&a.common, &w))
        return 1;
    bool stage = a.rank.players == PLAYERS_MODEL && !a.rank.seeds;
    if (a.rank.players != PLAYERS_MODEL)
        snprintf(file, sizeof file, "ensemble/ranking-%s.json", players_names[a.rank.players]);
    medley_status st = stage ? stages_run_group(&w, STAGE_RANK, NULL, a.force, &err)
                             : stages_call(&w, STAGE_RANK, rank_anew, &a.rank, &err);
    int status = st ? cli_fail(&err) : common_show(&w, file, a.common.json, show_ranking);
    workspace_close(&w);
    return status;
}
