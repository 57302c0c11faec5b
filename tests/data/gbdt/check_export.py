#!/usr/bin/env python3
"""Asks LightGBM and XGBoost what they make of models that Medley trained and converted.

    check_export.py PROGRAM        (the medley program; packages: numpy, lightgbm, xgboost)

Run by hand, since the build needs no Python. Prints the largest differences of margins and
contributions as parts of the largest value; exits with 1 when a margin is more than 1e-6 off or
a contribution more than 1e-5.
"""
import subprocess
import sys
import tempfile

import numpy as np

PROGRAM = sys.argv[1]


def medley(*words):
    subprocess.run([PROGRAM, "gbdt", *words], check=True, stderr=subprocess.DEVNULL)


def shape(values, n, k):  # [n, K, F + 1] to [n, F * K], as Medley has it
    return values.reshape(n, k, -1)[:, :, :-1].transpose(0, 2, 1).reshape(n, -1)


def lightgbm(path, x, k):
    import lightgbm as lgb

    b = lgb.Booster(model_file=path)
    return (f"LightGBM {lgb.__version__}", b.predict(x, raw_score=True),
            shape(b.predict(x, pred_contrib=True), len(x), k))


def xgboost(path, x, k):
    import xgboost as xgb

    b, d = xgb.Booster(model_file=path), xgb.DMatrix(x)
    return (f"XGBoost {xgb.__version__}", b.predict(d, output_margin=True),
            shape(b.predict(d, pred_contribs=True), len(x), k))


def table(n=4000, models=6, k=4, seed=1):
    """Stacked probabilities; one row in ten lacks a model."""
    r = np.random.default_rng(seed)
    y = r.choice(k, n, p=[0.65, 0.22, 0.03, 0.10])
    z = r.normal(size=(n, models, k)) + 1.2 * (np.arange(k) == y[:, None])[:, None, :]
    p = np.exp(z)
    p /= p.sum(2, keepdims=True)
    p[r.random((n, models)) < 0.1] = np.nan
    return p.reshape(n, -1).astype("f4"), y


def main():
    worst = [0.0, 0.0]
    x, y = table()
    with tempfile.TemporaryDirectory() as d:
        np.save(f"{d}/x.npy", x)
        np.save(f"{d}/y.npy", y)
        for kind in ([], ["--vector"], ["--mask-rate", "0.2"]):
            medley("train", "-f", f"{d}/x.npy", "-y", f"{d}/y.npy", "-o", f"{d}/m.txt",
                   "--rounds", "100", *kind)
            medley("predict", "-m", f"{d}/m.txt", "-f", f"{d}/x.npy", "--margins", "-o",
                   f"{d}/p.npy")
            medley("explain", "-m", f"{d}/m.txt", "-f", f"{d}/x.npy", "-o", f"{d}/s.npy")
            p, s = np.load(f"{d}/p.npy"), np.load(f"{d}/s.npy")
            for to, peer in (("lightgbm", lightgbm), ("xgboost-json", xgboost),
                             ("xgboost-ubj", xgboost)):
                path = f"{d}/model.{'ubj' if to.endswith('ubj') else 'json'}"
                medley("convert", f"{d}/m.txt", path, "--to", to)
                try:
                    name, q, t = peer(path, x, p.shape[1])
                except ImportError as e:
                    print(e)
                    continue
                far = [abs(q - p).max() / abs(p).max(), abs(t - s).max() / abs(s).max()]
                worst = np.maximum(worst, far)
                print(f"{name}, {to}, {' '.join(kind) or 'per class'}: margins {far[0]:.1e}, "
                      f"contributions {far[1]:.1e}")
    return int(worst[0] > 1e-6 or worst[1] > 1e-5)


if __name__ == "__main__":
    sys.exit(main())
