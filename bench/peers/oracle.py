"""Shapley values per player by definition: the value of every coalition by walking every tree,
features outside it averaged over the training cover (Lundberg et al. 2018), then the sum over
coalitions. Slow; from the model LightGBM itself dumps, sharing nothing with Medley."""
import math

import numpy as np


def _value(node, x, present):
    """The expected value of a tree for a row when only `present` features are known."""
    if "leaf_value" in node:
        return node["leaf_value"]
    left, right, f = node["left_child"], node["right_child"], node["split_feature"]
    if present[f]:
        v = x[f]
        missing = math.isnan(v)
        if missing and node["missing_type"] == "None":
            v, missing = 0.0, False
        goes_left = node["default_left"] if missing else v <= node["threshold"]
        return _value(left if goes_left else right, x, present)
    a, b = _cover(left), _cover(right)
    return (a * _value(left, x, present) + b * _value(right, x, present)) / (a + b)


def _cover(node):
    return node["leaf_count"] if "leaf_value" in node else node["internal_count"]


def player_values(path, rows, players):
    """[n, players, K]; players own equal runs of features."""
    import lightgbm
    model = lightgbm.Booster(model_file=path).dump_model()
    trees, k = model["tree_info"], model["num_tree_per_iteration"]
    features = rows.shape[1]
    owner = np.arange(features) // (features // players)
    out = np.zeros((len(rows), players, k))
    for i, x in enumerate(rows.astype(np.float64)):
        game = np.zeros((1 << players, k))
        for coalition in range(1 << players):
            present = [bool(coalition >> owner[f] & 1) for f in range(features)]
            for t, tree in enumerate(trees):
                game[coalition, t % k] += _value(tree["tree_structure"], x, present)
        for p in range(players):
            for coalition in range(1 << players):
                if not coalition >> p & 1:
                    s = bin(coalition).count("1")
                    weight = (math.factorial(s) * math.factorial(players - s - 1) /
                              math.factorial(players))
                    out[i, p] += weight * (game[coalition | 1 << p] - game[coalition])
    return out
