"""The coalition game: every coalition of 6 base models refitted on 100k x 24 and measured on 50k
held-out rows, 200 rounds of 31 leaves, 2 threads; for the peer a loop over lists of columns.

The quick run trains the peer on one coalition of each size, and counts it as often as there are
coalitions of that size; the full run trains it on all 63.
"""
import itertools
import math

import common
import models
import train
from common import say

PLAYERS, HELD_OUT, VALID_FIRST = 6, 50_000, 1 << 41


def coalitions(size):
    """(players, how many coalitions it stands for)"""
    for k in range(1, PLAYERS + 1):
        every = list(itertools.combinations(range(PLAYERS), k))
        if size == "quick":
            yield every[len(every) // 2], math.comb(PLAYERS, k)
        else:
            yield from ((c, 1) for c in every)


def run(size):
    learn, held = common.table(models.ROWS, PLAYERS), common.table(HELD_OUT, PLAYERS, VALID_FIRST)
    where = dict(x=learn / "X.npy", y=learn / "y.npy", tx=held / "X.npy", ty=held / "y.npy")
    say(f"\n# coalition: 64 coalitions of 6 models, {models.ROWS} x 24, {train.USUAL}, "
        f"{train.THREADS} threads")
    ours = common.medley("coalition", train.THREADS, players=PLAYERS, **where, **train.USUAL)
    played = list(coalitions(size))
    columns = [[4 * p + c for p in players for c in range(4)] for players, _ in played]
    theirs = common.peer("refits", train.THREADS, peer="lightgbm", columns=columns, **where,
                         **train.USUAL)
    if not ours or not theirs:
        return
    wall = sum(r["wall"] * n for r, (_, n) in zip(theirs["runs"], played))
    cpu = sum(r["cpu"] * n for r, (_, n) in zip(theirs["runs"], played))
    say(f"    Medley {ours['wall']:.1f} s wall, {ours['cpu']:.1f} s CPU, {ours['extra_mb']:.0f} MB; "
        f"log-loss {ours['none']:.4f} -> {ours['all']:.4f}, values "
        f"{[round(v, 4) for v in ours['values']]}")
    say(f"    lightgbm {wall:.1f} s wall, {cpu:.1f} s CPU from {len(played)} of 63 refits; log-loss "
        f"with all {theirs['runs'][-1]['log_loss']:.4f}")
    common.row("coalition_64_refits", ours["wall"], wall, common.version("lightgbm"),
               wall / ours["wall"])
