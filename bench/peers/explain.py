"""Exact path-dependent Shapley values, all features, all classes: rows per CPU second, one thread.

All sides explain the same rows with the same model file, except Medley's own ensemble, which is
compared at equal quality. Peers know no players: their time per row is that of their features, and
the sums of those are not a player's value. Values are compared: with LightGBM's per feature, with
a walk over all coalitions of players (oracle.py) per player.
"""
import pathlib
import sys

import numpy as np

import common
import models
import oracle
from common import median, say, spread

ROWS, PEER_ROWS, ORACLE_ROWS = 20_000, {"quick": 300, "full": 2000}, 4
TIMES, TURNS = 3, 3
FAST = pathlib.Path(sys.prefix + "-fasttreeshap") / "bin/python"
PEERS = {"lightgbm": "lightgbm", "shap": "lightgbm", "fasttreeshap": "lightgbm",
         "xgboost": "xgboost"}  # who: whose model


def rows_file():
    path = common.WORK / f"rows-{ROWS}.npy"
    if not path.exists():
        np.save(path, np.load(models.table(), mmap_mode="r")[:ROWS])
    return path


def version(who):
    if who != "fasttreeshap":
        return common.version(who)
    found = list(FAST.parent.parent.glob("lib/*/site-packages/fasttreeshap-*.dist-info"))
    return f"fasttreeshap {found[0].name.split('-')[1].removesuffix('.dist')}" if found else None


def rates(figures, n):
    return [n / r["cpu"] for r in figures["runs"]]


def ours(model, players):
    """Rows per CPU second, and the values [n, players, K]."""
    path = common.WORK / f"values-medley-{players}.npy"
    figures = common.medley("explain", 1, model=model, x=rows_file(), players=players, times=TIMES,
                            save=path)
    if not figures:
        return [], None
    say(f"    Medley, {players:2} players, {model.name}: {spread(rates(figures, ROWS))} rows/s; tables "
        f"{figures['build_mb']:.1f} MB in {figures['build_cpu']:.3f} CPU s")
    return rates(figures, ROWS), np.load(path).reshape(ROWS, players, common.CLASSES)


def theirs(who, n):
    path = common.WORK / f"values-{who}.npy"
    arguments = dict(peer=who, model=models.model(PEERS[who]), x=rows_file(), rows=n, times=TIMES,
                     save=path)
    figures = common.peer("contributions", 1, python=FAST if who == "fasttreeshap" else None,
                          **arguments)
    if not figures:
        return [], None
    return rates(figures, n), np.load(path).reshape(n, 24, common.CLASSES)


def compare(who, peer_values, values):
    """How far the values are apart, on rows without and with missing values."""
    x = np.load(rows_file())[:len(peer_values)]
    off = np.abs(values[:len(x)] - peer_values).max(axis=(1, 2))
    missing = np.isnan(x).any(axis=1)
    say(f"    {who}: values differ from Medley's by at most {off[~missing].max():.2g}, on rows with "
        f"missing values {off[missing].max():.2g}; the largest value is {np.abs(peer_values).max():.2g}")


def measure(size):
    """Processes take turns; rates and the values last seen."""
    speed, values = {}, {}
    peers = [who for who in PEERS if version(who)]
    for turn in range(TURNS):
        for name in models.FILES:
            for players in (24, 6):
                key = (name, players)
                rate, values[key] = ours(models.model(name), players)
                speed.setdefault(key, []).extend(rate)
        for who in peers:
            rate, values[who] = theirs(who, PEER_ROWS[size])
            speed.setdefault(who, []).extend(rate)
    for who in peers:
        if speed[who]:
            say(f"    {version(who)}: {spread(speed[who])} rows/s")
            if values[PEERS[who], 24] is not None:
                compare(who, values[who], values[PEERS[who], 24])
    return speed, values


def check_players(values):
    if values is None:
        return
    x = np.load(rows_file())[:ORACLE_ROWS]
    exact = oracle.player_values(models.model("lightgbm"), x, 6)
    off = np.abs(exact - values[:ORACLE_ROWS]).max()
    say(f"    per player, against all 64 coalitions walked one by one on {ORACLE_ROWS} rows: at most "
        f"{off:.2g} apart; the largest value is {np.abs(exact).max():.2g}")


def run(size):
    say("\n# explain: 800 trees of 31 leaves, 24 features in 6 players, 4 classes; rows per CPU "
        "second, one thread")
    speed, values = measure(size)
    check_players(values["lightgbm", 6])
    peers = {who: s for who, s in speed.items() if who in PEERS and s}
    best = max(peers, key=lambda who: median(peers[who]))
    own, loss = models.own()
    say(f"    Medley's own ensemble: log-loss {loss:.5f}")
    for kind, players in (("feature", 24), ("player", 6)):
        mine = {f"{kind}_on_{name}_model": speed[name, players] for name in models.FILES}
        mine[f"{kind}_own_ensemble"] = ours(own, players)[0]
        for name, s in mine.items():
            if s:
                common.row(name, median(s), median(peers[best]), version(best),
                           median(s) / median(peers[best]))
        for who, s in peers.items():
            if speed[PEERS[who], players]:
                rate = median(speed[PEERS[who], players])
                common.row(f"{kind}_vs_{who}", rate, median(s), version(who), rate / median(s))
