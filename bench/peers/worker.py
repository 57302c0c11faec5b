"""One measurement of a peer in a process of its own; prints one line of JSON.

    worker.py '{"job": "train", "peer": "lightgbm", "x": ..., ...}'

Tables lie in memory before the clock starts; construction of the peer's own data set (binning) is
inside, as it is for Medley. Settings a peer does not know by that name are left at its defaults.
"""
import json
import sys

import numpy as np

from meter import metered, repeated


def load(path):
    return np.ascontiguousarray(np.load(path))


def log_loss(p, y):
    return float(-np.log(np.maximum(p[np.arange(len(y)), y].astype(np.float64), 1e-15)).mean())


# ---- training: each returns a function table -> probabilities, and one that saves the model ----

def train_lightgbm(job, x, y, figures):
    import lightgbm
    params = dict(objective="multiclass", num_class=job["classes"], num_leaves=job["leaves"],
                  learning_rate=job["rate"], num_threads=job["threads"], max_bin=255,
                  min_data_in_leaf=20, seed=1, verbose=-1, **job.get("extra", {}))
    with metered() as m:
        data = lightgbm.Dataset(x, y, params=params)
        model = lightgbm.train(params, data, job["rounds"])
    figures.update(m)
    return model.predict, model.save_model


def train_xgboost(job, x, y, figures):
    import xgboost
    params = dict(objective="multi:softprob", num_class=job["classes"], tree_method="hist",
                  grow_policy="lossguide", max_depth=0, max_leaves=job["leaves"], max_bin=256,
                  learning_rate=job["rate"], nthread=job["threads"], seed=1, verbosity=0,
                  **job.get("extra", {}))
    with metered() as m:
        data = xgboost.QuantileDMatrix(x, y, max_bin=256, nthread=job["threads"])
        model = xgboost.train(params, data, job["rounds"])
    figures.update(m)
    return model.inplace_predict, model.save_model


def train_sklearn(job, x, y, figures):
    from sklearn.ensemble import HistGradientBoostingClassifier
    model = HistGradientBoostingClassifier(max_iter=job["rounds"], learning_rate=job["rate"],
                                           max_leaf_nodes=job["leaves"], early_stopping=False,
                                           random_state=1)
    with metered() as m:
        model.fit(x, y)
    figures.update(m)
    return model.predict_proba, None


def train(job):
    x, y, tx, ty = (load(job[k]) for k in ("x", "y", "tx", "ty"))
    figures = {}
    predict, save = globals()["train_" + job["peer"]](job, x, y, figures)
    if job.get("save"):
        save(job["save"])
    figures["log_loss"] = log_loss(np.asarray(predict(tx)), ty)
    return figures


def refits(job):
    """Trains and measures on some of the columns, once for each list of columns."""
    x, y, tx, ty = (load(job[k]) for k in ("x", "y", "tx", "ty"))
    runs = []
    for columns in job["columns"]:
        with metered() as m:
            predict, _ = globals()["train_" + job["peer"]](job, x[:, columns], y, {})
            loss = log_loss(np.asarray(predict(tx[:, columns])), ty)
        runs.append(dict(m, log_loss=loss))
    return {"runs": runs}


# ---- prediction and contributions on a saved model; output is margins ----

def save_output(job, values):
    if job.get("save"):
        np.save(job["save"], np.asarray(values, np.float32).reshape(len(values), -1))


def lightgbm_calls(job, x):
    import lightgbm
    model = lightgbm.Booster(model_file=job["model"])
    threads = dict(num_threads=job["threads"])
    yield "predict", lambda: model.predict(x, raw_score=True, **threads)
    yield "contributions", lambda: model.predict(x, pred_contrib=True, **threads)


def xgboost_calls(job, x):
    import xgboost
    model = xgboost.Booster(model_file=job["model"])
    model.set_param({"nthread": job["threads"]})
    matrix = lambda: xgboost.DMatrix(x, nthread=job["threads"])
    yield "predict", lambda: model.inplace_predict(x, predict_type="margin")
    yield "predict_matrix", lambda: model.predict(matrix(), output_margin=True)
    yield "contributions", lambda: model.predict(matrix(), pred_contribs=True)


def shap_calls(job, x):
    """For LightGBM's models shap itself calls LightGBM's contributions."""
    import lightgbm
    import shap
    explainer = shap.TreeExplainer(lightgbm.Booster(model_file=job["model"]))
    yield "contributions", lambda: explainer.shap_values(x, check_additivity=False)


def fasttreeshap_calls(job, x):
    """It takes a booster for a regression: only the classifier says that there are classes."""
    import fasttreeshap
    import lightgbm
    model = lightgbm.LGBMClassifier(objective="multiclass")
    model._Booster = lightgbm.Booster(model_file=job["model"])
    model._n_classes, model.fitted_ = job["classes"], True
    explainer = fasttreeshap.TreeExplainer(model, algorithm="v2", n_jobs=job["threads"])
    yield "contributions", lambda: explainer.shap_values(x, check_additivity=False)


def call(job):
    x = load(job["x"])[:job["rows"]]
    calls = dict(globals()[job["peer"] + "_calls"](job, x))
    result, runs = repeated(calls[job["job"]], job["times"])
    if job["job"] == "contributions":
        result = per_class(job, np.asarray(result), x.shape[1])
    save_output(job, result)
    return {"runs": runs}


def per_class(job, values, features):
    """[n, features (+ base), K], whatever order the peer has."""
    n, k = job["rows"], job["classes"]
    if job["peer"] == "lightgbm":
        values = values.reshape(n, k, features + 1).transpose(0, 2, 1)
    elif job["peer"] == "xgboost":
        values = values.transpose(0, 2, 1)
    elif values.shape[0] == k:  # older shap: a list by class
        values = values.transpose(1, 2, 0)
    return values[:, :features, :]


if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    jobs = {"train": train, "refits": refits}
    print(json.dumps(jobs.get(request["job"], call)(request)))
