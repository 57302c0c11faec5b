"""Chooses Medley's own settings for a case of train.py: the fastest of a grid that reach, on
validation rows (neither training nor test rows), the best log-loss of the peers there.

    tune.py CASE [KEY=V,V,...]...       rate=0.1,0.15 rounds=60,80 leaves=31,63

Prints every try, fastest first, and how much better (+) than the peers' best it is.
"""
import itertools
import sys

import common
import train

PEERS = ("lightgbm", "xgboost", "sklearn")
VALID_FIRST, VALID_ROWS = 1 << 41, 200_000


def main(case, grid):
    rows, models, settings, own, _ = train.CASES[case]
    where = train.paths(rows, models)
    valid = common.table(VALID_ROWS, models, VALID_FIRST)
    where.update(tx=valid / "X.npy", ty=valid / "y.npy")
    losses = {}
    for name in PEERS:  # on one thread, which no busy neighbour can hold up; only losses count
        figures = common.peer("train", 1, peer=name, **where, **settings)
        if figures:
            losses[name] = figures["log_loss"]
    common.say(case, losses)
    target, tries = min(losses.values()), []
    for values in itertools.product(*grid.values()):
        tried = dict(own, **dict(zip(grid, values)))
        figures = common.medley("train", train.THREADS, **where, **tried)
        if figures:
            tries.append((figures["wall"], figures["cpu"], target - figures["log_loss"], tried))
    for wall, cpu, gain, tried in sorted(tries, key=lambda t: t[0]):
        print(f"{wall:7.3f} s {cpu:7.3f} cpu s  {gain:+.5f}  {tried}")


if __name__ == "__main__":
    main(sys.argv[1], {k: v.split(",") for k, v in (a.split("=") for a in sys.argv[2:])})
