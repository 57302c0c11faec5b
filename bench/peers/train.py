"""Training: time to the best test log-loss that any peer reaches, and peak memory.

Peers run at the settings of the comparison; Medley runs at settings of its own, which tune.py chose
on validation rows (no test row is looked at), and at identical settings (rows same_settings_*). Processes take turns, A B C A B C. A time
includes binning; memory is the peak above what was resident before the call, the table included
there for all.
"""
import os

import common
from common import median, say, spread

PEERS = {  # name: (package, function in worker.py, settings of its own)
    "lightgbm": ("lightgbm", "lightgbm", {}),
    "lightgbm_quantised": ("lightgbm", "lightgbm", {"use_quantized_grad": True}),
    "lightgbm_row_wise": ("lightgbm", "lightgbm", {"force_row_wise": True}),
    "lightgbm_col_wise": ("lightgbm", "lightgbm", {"force_col_wise": True}),
    "lightgbm_quantised_row_wise": ("lightgbm", "lightgbm",
                                    {"use_quantized_grad": True, "force_row_wise": True}),
    "xgboost": ("xgboost", "xgboost", {}),
    "sklearn": ("scikit-learn", "sklearn", {}),
}
USUAL = dict(rounds=200, leaves=31, rate=0.05)
REFERENCE = dict(rounds=1500, leaves=25, rate=0.005)

# Chosen by tune.py: shallow trees, fewer rows and half of the features each, a stronger penalty.
OWN = dict(rounds=100, leaves=8, rate=0.12, min_data=50, **{"lambda": 5}, gradient_fraction=0.3,
           feature_fraction=0.5)
OWN_1M = dict(OWN, rounds=200, leaves=12, rate=0.1, gradient_fraction=0.2)
# The reference settings end lower than the usual ones: more and smaller steps.
OWN_REFERENCE = dict(OWN, rounds=500, leaves=6, rate=0.05, feature_fraction=0.25)

CASES = {  # name: rows, models, settings of the peers, settings of Medley's own, repeats
    "100k_24": (100_000, 6, USUAL, OWN, 3),
    "1m_24": (1_000_000, 6, USUAL, OWN_1M, 2),
    "1m_96": (1_000_000, 24, USUAL, OWN_1M, 1),
    "reference_100k_24": (100_000, 6, REFERENCE, OWN_REFERENCE, 2),
    "reference_1m_24": (1_000_000, 6, REFERENCE, OWN_1M, 1),
}
QUICK = ("100k_24",)
TEST_ROWS = 200_000
THREADS = int(os.environ.get("THREADS", 2))  # 1: where neighbours make barriers collapse


def paths(rows, models):
    train, test = common.table(rows, models), common.table(TEST_ROWS, models, common.TEST_FIRST)
    return dict(x=train / "X.npy", y=train / "y.npy", tx=test / "X.npy", ty=test / "y.npy")


def contenders(settings, own, where):
    """name -> a function that measures once."""
    runs = {"medley": lambda: common.medley("train", THREADS, **where, **own),
            "medley_same": lambda: common.medley("train", THREADS, **where, **settings)}
    for name, (package, function, extra) in PEERS.items():
        if common.version(package):
            runs[name] = lambda f=function, e=extra: common.peer(
                "train", THREADS, peer=f, extra=e, **where, **settings)
    return runs


def measure(runs, repeats):
    results = {name: [] for name in runs}
    for _ in range(repeats):
        for name, once in runs.items():
            figures = once()
            if figures:
                results[name].append(figures)
                say(f"    {name:28} {figures['wall']:8.2f} s  log-loss {figures['log_loss']:.5f}")
    return {name: r for name, r in results.items() if r}


def report(case, results):
    of = {name: {key: [r[key] for r in runs] for key in runs[0]} for name, runs in results.items()}
    for name, f in of.items():
        say(f"  {name:28} wall s {spread(f['wall'])}  cpu s {spread(f['cpu'])}  extra MB "
            f"{median(f['extra_mb']):.0f}  log-loss {median(f['log_loss']):.5f}")
    peers = {name: f for name, f in of.items() if name in PEERS}
    if not peers or "medley" not in of:
        return
    best = min(median(f["log_loss"]) for f in peers.values())
    reached = median(of["medley"]["log_loss"]) <= best
    say(f"  best log-loss among peers {best:.5f}; Medley at its own settings "
        f"{median(of['medley']['log_loss']):.5f}: {'reached' if reached else 'NOT reached, ratio 0'}")
    compare(case, "medley", "train", "wall", of, peers, reached)
    compare(case, "medley", "cpu", "cpu", of, peers, reached)
    compare(case, "medley", "memory", "extra_mb", of, peers, True)
    if "medley_same" in of:
        compare(case, "medley_same", "same_settings", "wall", of, peers, True)
        compare(case, "medley_same", "same_settings_memory", "extra_mb", of, peers, True)


def compare(case, us, kind, key, of, peers, counts):
    """A row against the best of the peers, and for times one against each. The least of the
    repeats counts: on a busy machine barriers collapse, and the median would blame the peer."""
    ours = min(of[us][key])
    least = {name: min(f[key]) for name, f in peers.items()}
    best = min(least, key=least.get)
    named = [(f"{kind}_{case}", best)]
    if kind == "train":
        named += [(f"{kind}_{case}_vs_{name}", name) for name in least]
    for label, name in named:
        common.row(label, ours, least[name], common.version(PEERS[name][0]),
                   least[name] / max(ours, 1e-9) if counts else 0)


def run(sizes):
    for case in sizes:
        rows, models, settings, own, repeats = CASES[case]
        repeats = int(os.environ.get("REPEATS", repeats))
        say(f"\n# train {case}: {rows} x {4 * models}, {THREADS} threads, {repeats} repeats; peers "
            f"{settings}; Medley {own}")
        report(case, measure(contenders(settings, own, paths(rows, models)), repeats))
