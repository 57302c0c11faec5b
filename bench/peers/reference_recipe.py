"""The reference recipe of the published system, on predictions that Medley's base models made: trees fitted on
what the models say of their own training pairs, LightGBM at the published settings with balanced classes, models
ranked by their features' mean absolute SHAP values, added up. Called by reproduce.py."""
import lightgbm
import numpy as np

REFERENCE = dict(n_estimators=1500, num_leaves=25, learning_rate=0.005)


class Recipe:
    """Fitted on x [n, M, K] and y [n]; models is a list of indices into M."""

    def __init__(self, x, y, models, balanced=True):
        self.models = list(models)
        self.n_classes = x.shape[2]
        weight = "balanced" if balanced else None
        self.trees = lightgbm.LGBMClassifier(**REFERENCE, class_weight=weight, verbose=-1, random_state=1)
        self.trees.fit(self._features(x), y)

    def _features(self, x):
        return x[:, self.models].reshape(len(x), -1)

    def probabilities(self, x):
        return self.trees.predict_proba(self._features(x))

    def worth(self, x, explain):
        """[len(models)]: mean over rows and classes of |SHAP value|, summed over a model's features. `explain` gives
        the values, [n, features, classes], of a LightGBM booster on rows."""
        values = explain(self.trees.booster_, self._features(x))
        each = np.abs(values).mean(axis=(0, 2))
        return each.reshape(len(self.models), self.n_classes).sum(axis=1)


def same_settings_without(what, in_sample, out_of_fold, y, models):
    """The recipe with one of its choices undone: what each is to blame for."""
    if what == "in-sample":
        return Recipe(out_of_fold, y, models)
    if what == "balanced":
        return Recipe(in_sample, y, models, balanced=False)
    return Recipe(out_of_fold, y, models, balanced=False)
