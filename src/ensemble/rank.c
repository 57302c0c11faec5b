/* rank.c: what is each player of the ensemble worth? Plays the games of rank.h and writes down
 * the three rankings. */
#include "ensemble/rank.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"

#include <string.h>

enum { SEEDS = 3 };

/* Beyond, another game would take minutes and is not played for other seeds. */
enum { SEED_COALITIONS = 256 };

static medley_status open_rows(struct ranking *r, medley_error *err)
{
    r->split = "test";
    medley_status st = stack_open(r->w, SPLIT_TEST, &r->rows, err);
    if (st == MEDLEY_EINVAL) { /* no test split */
        r->split = "train";
        st = stack_open(r->w, SPLIT_TRAIN, &r->rows, err);
    }
    if (!st)
        st = slices_open(&r->rows, &r->row_slices, err);
    if (!st)
        st = stack_open(r->w, SPLIT_TRAIN, &r->train, err);
    if (!st)
        st = slices_open(&r->train, &r->slices, err);
    return st;
}

static void ranking_free(struct ranking *r)
{
    for (size_t v = 0; v < FOLD_VALUES; v++) {
        mem_free(r->shapley_by_seed[v]);
        mem_free(r->without_by_seed[v]);
    }
    mem_free(r->tree_by_seed);
    mem_free(r->values);
    mem_free(r->interactions);
    mem_free(r->strength);
    refits_close(&r->refits);
    players_close(&r->players);
    slices_close(&r->row_slices);
    slices_close(&r->slices);
    stack_close(&r->rows);
    stack_close(&r->train);
}

medley_status decide_rank(struct workspace *w, const struct rank_options *options,
                          medley_error *err)
{
    struct ranking r = {.w = w, .seeds = options->seeds ? options->seeds : SEEDS};
    struct refit_options game = {.seed = w->config.stacking.seed};
    medley_status st = open_rows(&r, err);
    if (!st)
        st = decide_rounds(w, &r.rounds, err);
    if (!st)
        st = players_open(&r.train, options->players, &r.players, err);
    if (!st)
        st = rank_tree(&r, err);
    game.rounds = r.rounds;
    if (!st)
        st = refits_play(&r.train, &r.players, &r.slices, &game, &r.refits, err);
    if (!st && r.refits.plan.n_coalitions > SEED_COALITIONS) {
        progress_note("%zu coalitions: stability over seeds is not measured",
                      r.refits.plan.n_coalitions);
        r.seeds = 1;
    }
    if (!st)
        st = rank_seeds(&r, err);
    if (!st)
        st = rank_write(&r, err);
    ranking_free(&r);
    return st;
}
