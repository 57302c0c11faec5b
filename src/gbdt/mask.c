/* mask.c: makes whole players (base models) missing in random training rows, so that the trees
 * learn to answer without them.
 *
 * Which rows lose which players is drawn anew every PERIOD rounds. Trees were fitted to the
 * margins of rows as they were then seen, so after a draw the margins are computed again from
 * all trees so far; that is why not every round draws. Proof: tests/test_gbdt.c. */
#include "gbdt/boost.h"

#include "base/pool.h"
#include "base/rng.h"

#define PERIOD 40 /* rounds; recomputing then costs about as much as growing at 200 rounds */
#define NEVER UINT32_MAX

enum { STREAM_MASK = 3 };

static uint32_t player_of(const struct boost *b, size_t feature)
{
    const uint32_t *players = b->options.player_of_feature;
    if (!players)
        return (uint32_t)feature;
    return players[b->features ? b->features[feature] : feature];
}

medley_status mask_init(struct boost *b, medley_error *err)
{
    b->unmasked = b->train.table;
    b->unmasked_owned = b->train.owned;
    b->train.owned = false;
    medley_status st = binned_copy(&b->unmasked, b->bins.n_features, &b->train.table, err);
    if (st == MEDLEY_OK)
        b->train.owned = true;
    return st;
}

struct mask_job {
    struct boost *b;
    size_t draw;
};

static void mask_rows(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct mask_job *job = context;
    struct boost *b = job->b;
    const struct binned *from = &b->unmasked;
    struct binned *to = &b->train.table;
    uint64_t limit = (uint64_t)(b->options.mask_rate * 0x1p53);
    uint64_t seed = mix64(b->options.seed, STREAM_MASK, job->draw);
    for (size_t f = 0; f < b->bins.n_features; f++) {
        uint32_t player = player_of(b, f);
        for (size_t i = begin; i < end; i++) {
            bool lost = player != NEVER && mix64(seed, i, player) >> 11 < limit;
            to->columns[f * to->pitch + i] = lost ? 0 : from->columns[f * from->pitch + i];
        }
    }
}

void mask_round(struct boost *b, size_t round)
{
    if (round % PERIOD != 0)
        return;
    struct mask_job job = {b, round / PERIOD};
    sweep_settle(b); /* the last trees were grown from rows as they were */
    parallel_for(b->train.n, 1024, mask_rows, &job);
    sweep_rescore(b);
}
