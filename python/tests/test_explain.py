"""TreeExplainer against shap and brute force; coalition values; models of LightGBM and XGBoost."""
import itertools
import math
import pickle

import numpy as np
import pytest

import medley
from helpers import blobs, frame, small


def test_values_sum_to_margins():
    x, y = blobs()
    model = small().fit(x, y)
    explainer = medley.TreeExplainer(model)
    values = explainer.shap_values(x)
    assert values.shape == (len(x), 6, 3) and values.dtype == np.float32
    assert np.allclose(values.sum(1) + explainer.expected_value, model.decision_function(x),
                       atol=1e-4)


def test_players_are_a_game_of_their_own():
    """Two players of three features each: the Shapley value of a two-player game by hand, with
    coalition values from the interventional game over a background of one row."""
    x, y = blobs()
    model = small().fit(x, y)
    row, ground = x[:1], x[1:2]
    explainer = medley.TreeExplainer(model, players=list("aaabbb"), background=ground)
    first, second = ground.copy(), ground.copy()
    first[:, :3], second[:, 3:] = row[:, :3], row[:, 3:]
    v = {name: model.decision_function(z)[0]
         for name, z in (("", ground), ("a", first), ("b", second), ("ab", row))}
    a = 0.5 * (v["a"] - v[""]) + 0.5 * (v["ab"] - v["b"])
    assert explainer.names == ["a", "b"]
    assert np.allclose(explainer.shap_values(row)[0, 0], a, atol=1e-4)


def test_interactions_sum_to_values():
    x, y = blobs()
    explainer = medley.TreeExplainer(small().fit(x, y), players=list("aabbcc"))
    pairs = explainer.shap_interaction_values(x[:20])
    assert pairs.shape == (20, 3, 3, 3)
    assert np.allclose(pairs.sum(2), explainer.shap_values(x[:20]), atol=1e-4)
    assert np.allclose(pairs, pairs.transpose(0, 2, 1, 3), atol=1e-5)


def test_lightgbm():
    lightgbm = pytest.importorskip("lightgbm")
    x, y = blobs()
    model = lightgbm.LGBMClassifier(n_estimators=20, min_child_samples=5, verbose=-1).fit(x, y)
    explainer = medley.TreeExplainer(model)
    theirs = model.booster_.predict(x, pred_contrib=True).reshape(len(x), 3, 7)
    assert np.allclose(explainer.shap_values(x), theirs[:, :, :6].transpose(0, 2, 1), atol=1e-4)


def test_xgboost():
    xgboost = pytest.importorskip("xgboost")
    x, y = blobs()
    model = xgboost.XGBClassifier(n_estimators=20).fit(x, y)
    theirs = model.get_booster().predict(xgboost.DMatrix(x), pred_contribs=True)
    assert np.allclose(medley.TreeExplainer(model).shap_values(x),
                       theirs[:, :, :6].transpose(0, 2, 1), atol=1e-4)
    binary = xgboost.XGBClassifier(n_estimators=20).fit(x, y == 1)
    values = medley.TreeExplainer(binary).shap_values(x)
    theirs = binary.get_booster().predict(xgboost.DMatrix(x), pred_contribs=True)
    assert values.shape == (len(x), 6) and np.allclose(values, theirs[:, :6], atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_plots_of_shap():
    shap = pytest.importorskip("shap")
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot
    x, y = blobs()
    x = np.nan_to_num(x)
    features = medley.TreeExplainer(small().fit(frame(x), y))
    players = features.players({"first": list("abc"), "second": list("def")})
    assert features(x[:50]).feature_names == list("abcdef")
    for explainer, names in ((features, ("beeswarm", "bar", "heatmap", "violin", "scatter")),
                             (players, ("beeswarm", "bar", "heatmap", "violin"))):
        explanation = explainer(x[:50])
        one = explanation[:, :, 0]
        for name in names:
            getattr(shap.plots, name)(one[:, 0] if name == "scatter" else one, show=False)
        shap.plots.waterfall(explanation[0, :, 1], show=False)
        shap.plots.force(one[0], matplotlib=True, show=False)
        shap.summary_plot(explainer.shap_values(x[:50])[:, :, 0], explanation.data,
                          feature_names=explanation.feature_names, show=False)
        pyplot.close("all")


def test_pickle():
    x, y = blobs()
    explainer = medley.TreeExplainer(small().fit(x, y), players=list("aabbcc"), background=x[:3])
    back = pickle.loads(pickle.dumps(explainer))
    assert back.names == ["a", "b", "c"]
    assert np.array_equal(back.shap_values(x[:20]), explainer.shap_values(x[:20]))


def test_other_things_are_refused():
    with pytest.raises(TypeError, match="no tree ensemble"):
        medley.TreeExplainer(object())
    x, y = blobs()
    with pytest.raises(ValueError, match="6"):
        medley.TreeExplainer(small().fit(x, y)).shap_values(x[:, :3])


def test_coalitions_by_refitting():
    """Three players, brute force over all orders of what each subset's refit is worth."""
    x, y = blobs(1500)
    players, options = list("aabbcc"), dict(n_estimators=20, min_data_in_leaf=5)
    fit, held = slice(0, 1000), slice(1000, None)
    game = medley.coalition_values(x[fit], y[fit], x[held], y[held], players, metric="accuracy",
                                   **options)
    assert game["exact"] and game["refits"] >= 7 and set(game["values"]) == {"a", "b", "c"}

    def worth(coalition):
        if not coalition:
            return (y[held] == np.bincount(y[fit]).argmax()).mean()
        use = [p in coalition for p in players]
        model = medley.GBDTClassifier(feature_fraction=1.0, **options)
        return (model.fit(x[fit][:, use], y[fit]).predict(x[held][:, use]) == y[held]).mean()

    for player in "abc":
        others = [p for p in "abc" if p != player]
        value = 0.0
        for n in range(3):
            for s in itertools.combinations(others, n):
                weight = math.factorial(n) * math.factorial(2 - n) / 6
                value += weight * (worth({*s, player}) - worth(set(s)))
        assert abs(value - game["values"][player]) < 1e-9
