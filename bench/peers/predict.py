"""Prediction: margins of whole tables on one and two threads, and of single rows with the model hot.

Both sides read the same model file. Tables are floats in memory; binning or conversion to whatever
a side needs is inside the time, loading the model is not.
"""
import importlib.util
import pathlib

import numpy as np

import common
import models
from common import median, say, spread

ROWS = {"quick": 100_000, "full": 200_000}
TIMES, TURNS = 3, 3
LIBRARIES = {"lightgbm": "lib/lib_lightgbm.so", "xgboost": "lib/libxgboost.so"}
DOORS = {"lightgbm": ("predict",), "xgboost": ("predict", "predict_matrix")}


def rows_file(n):
    path = common.WORK / f"rows-{n}.npy"
    if not path.exists():
        np.save(path, np.load(models.table(), mmap_mode="r")[:n])
    return path


def walls(figures):
    return [r["wall"] for r in figures["runs"]]


def batch(name, threads, n):
    model, x = models.model(name), rows_file(n)
    outputs = {who: common.WORK / f"margins-{who}.npy" for who in ("medley", "peer")}
    ours, theirs = [], {door: [] for door in DOORS[name]}
    for _ in range(TURNS):
        figures = common.medley("predict", threads, model=model, x=x, times=TIMES,
                                save=outputs["medley"])
        if not figures:
            return
        ours += walls(figures)
        for door in theirs:
            figures = common.peer(door, threads, peer=name, model=model, x=x, rows=n, times=TIMES,
                                  save=outputs["peer"])
            theirs[door] += walls(figures) if figures else []
    off = np.abs(np.load(outputs["medley"]) - np.load(outputs["peer"])).max()
    best = min((t for t in theirs.values() if t), key=median)
    who = common.version(name)
    say(f"  {name}, {threads} threads, {n} rows: Medley {spread([n / t for t in ours])} rows/s, "
        f"{who} {spread([n / t for t in best])} rows/s, margins differ by at most {off:.2g}")
    common.row(f"predict_{name}_{threads}threads", n / median(ours), n / median(best), who,
               median(best) / median(ours))


def single(name):
    origin = importlib.util.find_spec(name).origin
    library = pathlib.Path(origin).parent / LIBRARIES[name]
    figures = common.run([common.BUILD / "bench/single_row", name, library, models.model(name),
                          rows_file(10_000)], 1)
    if not figures:
        return
    ours, theirs = zip(*figures["runs"])
    who = common.version(name)
    say(f"  {name}, one row: Medley {spread(ours)} us, {who} {spread(theirs)} us, margins differ "
        f"by at most {figures['difference']:.2g}")
    common.row(f"predict_{name}_single_row_us", median(ours), median(theirs), who,
               median(theirs) / median(ours))


def run(size):
    say("\n# predict: 800 trees of 31 leaves, 24 features, 4 classes; rows/s, and us for a row")
    for name in models.FILES:
        for threads in (1, 2):
            batch(name, threads, ROWS[size])
        single(name)
