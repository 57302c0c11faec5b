"""Exact Shapley values of tree ensembles, per feature or per player, and of models by refits."""
from __future__ import annotations

import ctypes as c
from typing import Any, Dict, Optional

import numpy as np

from . import _native as native
from .gbdt import Model, Players, player_indices, table

METRICS = ("accuracy", "macro_f1", "log_loss")


class TreeExplainer:
    """Exact path-dependent (or, with ``background``, interventional) TreeSHAP values.

    Parameters
    ----------
    model : a fitted ``GBDTClassifier``, a LightGBM or XGBoost model, a ``Model``, or the path of a
        model file.
    players : as ``GBDTClassifier``'s; the values then belong to players, which are present or absent
        with all of their features: not sums of the features' values.
    background : ``[m, F]``; absent features then take the values of a background row, averaged over
        all of them, instead of their training average along the tree's paths.
    """

    def __init__(self, model: Any, players: Optional[Players] = None,
                 background: Optional[Any] = None):
        self._made_of = (model if isinstance(model, Model) else Model.of(model), players, background)
        self.model: Model = self._made_of[0]
        owners = None
        names = self.model.feature_names
        self.names = names or [f"feature {i}" for i in range(self.model.n_features)]
        if players is not None:
            owners, self.names = player_indices(players, self.model.n_features, names)
        rows = None if background is None else self.model._rows(background)
        options = native.ExplainerOptions(native.address(owners), len(self.names), 0,
                                          native.address(rows), 0 if rows is None else len(rows))
        pointer = c.c_void_p()
        native.call_long(native.lib.medley_explainer_make, self.model._handle.pointer,
                         c.byref(options), c.byref(pointer))
        self._handle = native.Handle(pointer, native.lib.medley_explainer_free)
        base = np.empty(self.model.n_outputs, np.float64)
        native.lib.medley_explainer_base(pointer, native.address(base))
        self.expected_value = base if len(base) > 1 else float(base[0])

    def __reduce__(self) -> Any:
        return TreeExplainer, self._made_of

    def _run(self, function: Any, x: Any, *shape: int) -> np.ndarray:
        x = self.model._rows(x)
        out = np.empty((len(x), *shape, self.model.n_outputs), np.float32)
        native.call_long(function, self._handle.pointer, native.address(x), len(x),
                         native.address(out))
        return out

    def shap_values(self, X: Any) -> np.ndarray:
        """float32 ``[n, P, K]`` (``[n, P]`` of models with one output) of ``X[n, F]``, as the ``shap``
        package has them: ``expected_value`` plus the sum over P is the margin. P is F without players.
        Raises ``ValueError`` for another F; Ctrl-C stops it."""
        values = self._run(native.lib.medley_explainer_values, X, len(self.names))
        return values if self.model.n_outputs > 1 else values[..., 0]

    def shap_interaction_values(self, X: Any) -> np.ndarray:
        """float32 ``[n, P, P, K]`` (``[n, P, P]`` of models with one output): symmetric; the sum over
        one P is ``shap_values``."""
        p = len(self.names)
        values = self._run(native.lib.medley_explainer_interactions, X, p, p)
        return values if self.model.n_outputs > 1 else values[..., 0]

    def __call__(self, X: Any) -> Any:
        """A ``shap.Explanation``, which the plots of the ``shap`` package take. Of players it has no
        ``data``: what ``scatter`` shows on its x-axis is a feature's value."""
        import shap
        x = self.model._rows(X)
        values = self.shap_values(x)
        shown = x if len(self.names) == x.shape[1] else None
        base = np.broadcast_to(np.asarray(self.expected_value), (len(x), *values.shape[2:]))
        return shap.Explanation(values, base_values=np.array(base), data=shown,
                                feature_names=self.names)

    def players(self, players: Players) -> "TreeExplainer":
        """The same model with its features grouped otherwise."""
        return TreeExplainer(self.model, players)


def coalition_values(X: Any, y: Any, X_held_out: Any, y_held_out: Any, players: Players, *,
                     metric: str = "macro_f1", feature_names: Any = None, exact_players: int = 12,
                     refits: int = 1000, random_state: int = 0, **trees: Any) -> Dict[str, Any]:
    """What each player is worth to trees refitted without it: Shapley values of a metric on held-out
    rows. Labels are 0 to K-1. ``trees`` are options of ``GBDTClassifier``.

    ``X[n, F]``, ``y[n]`` and the held-out ones are as for ``GBDTClassifier.fit``; ``metric`` is
    accuracy, macro_f1 or log_loss (players that help have negative values of it). Up to ``exact_players``
    players every coalition is refitted, with more ``refits`` of them are drawn. Raises ``ValueError``
    for rows, labels and features that do not fit together; Ctrl-C stops it.

    Returns ``{"values": {player: value}, "errors": {player: standard error}, "exact": bool,
    "refits": int}``; values add up to the metric with all players less that with none.
    """
    from .gbdt import GBDTClassifier
    if metric not in METRICS:
        raise ValueError(f"metric '{metric}': expected one of {', '.join(METRICS)}")
    if feature_names is None:
        feature_names = getattr(X, "columns", None)
    fit, held = native.floats(X), native.floats(X_held_out, "X_held_out")
    owners, names = player_indices(players, fit.shape[1],
                                   None if feature_names is None else list(feature_names))
    k = int(max(np.max(y), np.max(y_held_out))) + 1
    labels, held_labels = (np.ascontiguousarray(v, np.uint8) for v in (y, y_held_out))
    if held.shape[1] != fit.shape[1] or len(labels) != len(fit) or len(held_labels) != len(held):
        raise ValueError("rows, labels and features do not fit together")
    trees.setdefault("feature_fraction", 1.0)
    estimator = GBDTClassifier(random_state=random_state, **trees)
    estimator.classes_, estimator.n_features_in_ = np.arange(k), fit.shape[1]
    estimator._counts = np.bincount(labels, minlength=k)
    keep: "list[np.ndarray]" = []
    options = native.CoalitionOptions(exact_players=exact_players, refits=refits, seed=random_state)
    pointer = c.c_void_p()
    native.call_long(native.lib.medley_coalition_play, c.byref(table(fit, labels, None, k)),
                     c.byref(table(held, held_labels, None, k)), native.address(owners),
                     len(names), c.byref(estimator._options(keep)), c.byref(options),
                     c.byref(pointer))
    game = native.Handle(pointer, native.lib.medley_coalition_free)
    values, errors = np.empty(len(names)), np.empty(len(names))
    native.lib.medley_coalition_values(game.pointer, METRICS.index(metric), native.address(values),
                                       native.address(errors))
    return {"values": dict(zip(names, values.tolist())),
            "errors": dict(zip(names, errors.tolist())),
            "exact": native.lib.medley_coalition_exact(game.pointer),
            "refits": native.lib.medley_coalition_refits(game.pointer)}
