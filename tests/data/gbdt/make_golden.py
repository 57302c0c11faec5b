#!/usr/bin/env python3
"""Makes the golden models of tests/test_gbdt_golden.c with whatever versions are installed.

    make_golden.py FOLDER [NAME ...]

Each model NAME gets a row table NAME.npy [rows, F + K + K + (F + 1) K], float64: features (among
them missing ones and thresholds of the model), margins, predictions, contributions by feature and
output, expected margin. Contributions are NaN where the library gives none. The files here were
made with LightGBM 4.7.0 and 3.3.5 (lightgbm_v3) and XGBoost 3.2.0, 2.1.4 (xgboost_21_*) and 1.7.6
(xgboost_17_*), numpy's generator 20260101.
"""
import sys

import numpy as np

N, F, ROUNDS = 1500, 4, 4


def table(seed=20260101):
    r = np.random.default_rng(seed)
    x = r.normal(size=(N, F)).astype("f4")
    x[:, 3] = np.round(x[:, 3] * 2)  # repeated values, zeros among them
    x[r.random((N, F)) < 0.15] = np.nan
    z = np.nan_to_num(x)
    score = z[:, 0] + z[:, 1] * z[:, 3] + np.isnan(x[:, 2])
    return x, score, np.digitize(score, [-1, 1]), z


def probes(x, splits):
    """40 plain rows, 30 with thresholds, the ends and the missing."""
    rows = x[:78].copy()
    for i, (feature, threshold) in enumerate(splits[:30]):
        if abs(threshold) < 3e38:
            rows[40 + i, feature] = np.float32(threshold)
    rows[70] = np.nan
    rows[71] = 0
    rows[72:74] = [[3e38], [-3e38]]
    rows[74:78] = np.where(np.eye(F) > 0, np.nan, x[74:78])
    return rows


def save(folder, name, rows, margins, predictions, contributions):
    n = len(rows)
    k = margins.reshape(n, -1).shape[1]
    if contributions is None:
        contributions = np.full((n, k, F + 1), np.nan)
    c = contributions.reshape(n, k, F + 1)
    parts = [rows, margins, predictions, c[:, :, :F].transpose(0, 2, 1), c[:, :, F]]
    np.save(f"{folder}/{name}.npy", np.hstack([p.reshape(n, -1) for p in parts]).astype("f8"))


def lightgbm_models(folder, wanted):
    import lightgbm as lgb

    x, score, three, z = table()
    forest = dict(boosting="rf", bagging_freq=1, bagging_fraction=0.6)
    v4 = {
        "lightgbm_multiclass": (dict(objective="multiclass", num_class=3), three, x),
        "lightgbm_ova": (dict(objective="multiclassova", num_class=3, sigmoid=2.0), three, x),
        "lightgbm_binary": (dict(objective="binary"), score > 0, x),
        "lightgbm_regression": (dict(objective="regression"), score, z),  # missing type none
        "lightgbm_no_missing": (dict(objective="regression", use_missing=False), score, x),
        "lightgbm_poisson": (dict(objective="poisson"), np.round(abs(score)), x),
        "lightgbm_forest": (dict(objective="multiclass", num_class=3, **forest), three, x),
        "lightgbm_zero_missing": (dict(objective="binary", zero_as_missing=True), score > 0, x),
    }
    v3 = {"lightgbm_v3": (dict(objective="multiclass", num_class=3), three, x)}
    for name, (options, y, data) in (v3 if lgb.__version__ < "4" else v4).items():
        if wanted and name not in wanted:
            continue
        options = dict(num_leaves=6, learning_rate=0.3, verbose=-1, deterministic=True,
                       num_threads=1, **options)
        b = lgb.train(options, lgb.Dataset(data, y), ROUNDS)
        b.save_model(f"{folder}/{name}.txt")
        splits = b.trees_to_dataframe()[["split_feature", "threshold"]].dropna().values
        rows = probes(x, [(int(f[7:]), t) for f, t in splits])
        mean = ROUNDS if "forest" in name else 1  # LightGBM's margins of a forest are sums
        save(folder, name, rows, b.predict(rows, raw_score=True) / mean, b.predict(rows),
             b.predict(rows, pred_contrib=True) / mean)


def xgboost_models(folder, wanted):
    import xgboost as xgb

    x, score, three, z = table()
    multi = dict(objective="multi:softprob", num_class=3)
    vector = dict(multi_strategy="multi_output_tree", **multi)
    two = np.stack([score, z[:, 1]], 1)
    models = {
        "3": {
            "xgboost_multi": (multi, three, "json"),
            "xgboost_multi_ubj": (multi, three, "ubj"),
            "xgboost_vector": (vector, three, "json"),
            "xgboost_vector_ubj": (vector, three, "ubj"),
            "xgboost_binary": (dict(objective="binary:logistic"), score > 0, "ubj"),
            "xgboost_regression": (dict(objective="reg:squarederror"), score, "json"),
            "xgboost_poisson": (dict(objective="count:poisson"), np.round(abs(score)), "json"),
            "xgboost_dart": (dict(booster="dart", rate_drop=0.5, seed=3, **multi), three, "json"),
            "xgboost_forest": (dict(num_parallel_tree=2, subsample=0.5, **multi), three, "ubj"),
            "xgboost_targets": (dict(objective="reg:squarederror"), two, "json"),
        },
        "2": {
            "xgboost_21_vector": (vector, three, "json"),
            "xgboost_21_binary": (dict(objective="binary:logistic"), score > 0, "ubj"),
        },
        "1": {
            "xgboost_17_binary": (dict(objective="binary:logistic", base_score=0.3), score > 0,
                                  "json"),
            "xgboost_17_multi": (multi, three, "ubj"),
        },
    }
    for name, (options, y, kind) in models[xgb.__version__[0]].items():
        if wanted and name not in wanted:
            continue
        options = dict(dict(max_depth=3, eta=0.4, nthread=1, tree_method="hist"), **options)
        b = xgb.train(options, xgb.DMatrix(x, y), ROUNDS)
        b.save_model(f"{folder}/{name}.{kind}")
        splits = []
        if "vector" not in name:
            t = b.trees_to_dataframe()
            splits = t[t.Feature != "Leaf"][["Feature", "Split"]].values
            splits = [(int(f[1:]), s) for f, s in splits]
        rows = probes(x, splits)
        d = xgb.DMatrix(rows)
        try:
            contributions = b.predict(d, pred_contribs=True)
        except xgb.core.XGBoostError:  # trees of several outputs
            contributions = None
        if "vector" in name and xgb.__version__[0] != "3":
            contributions = None
        save(folder, name, rows, b.predict(d, output_margin=True), b.predict(d), contributions)


if __name__ == "__main__":
    for make in (lightgbm_models, xgboost_models):
        try:
            make(sys.argv[1], sys.argv[2:])
        except ImportError as e:
            print(e)
