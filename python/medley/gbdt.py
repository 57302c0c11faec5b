"""Gradient-boosted trees with scikit-learn's interface."""
from __future__ import annotations

import ctypes as c
import os
from typing import Any, Dict, Optional, Sequence, Union, cast

import numpy as np

from . import _native as native
from ._native import Path
from ._sklearn import ClassifierBase, check_is_fitted, class_weights, validated

Players = Union[Sequence[int], Sequence[str], Dict[str, Sequence[str]]]
FORMATS = ("medley", "lightgbm", "xgboost-json", "xgboost-ubj")
LINKS = ("softmax", "sigmoid", "identity", "exp")
NEVER_MASKED = 0xFFFFFFFF


def player_indices(players: Players, n_features: int,
                   feature_names: Optional[Sequence[str]]) -> "tuple[np.ndarray, list[str]]":
    """Which player each feature belongs to, as ``(indices[F], names[P])``.

    ``players`` is one name or number per feature, or ``{player: [feature names]}``, in which every
    feature must stand once.
    """
    if isinstance(players, dict):
        if feature_names is None:
            raise ValueError("players: {player: [feature names]} needs feature names")
        owner: Dict[str, str] = {}
        for player, features in players.items():
            for feature in features:
                if feature in owner or feature not in set(feature_names):
                    raise ValueError(f"players: feature '{feature}' of '{player}' "
                                     + ("has two owners" if feature in owner else "is unknown"))
                owner[feature] = player
        missing = [f for f in feature_names if f not in owner]
        if missing:
            raise ValueError(f"players: nobody owns feature '{missing[0]}'")
        players = [owner[f] for f in feature_names]
    if len(players) != n_features:
        raise ValueError(f"players: {len(players)} entries for {n_features} features")
    names = list(dict.fromkeys(str(p) for p in players))
    place = {name: i for i, name in enumerate(names)}
    return np.array([place[str(p)] for p in players], dtype=np.uint32), names


class Model:
    """A trained tree ensemble: from ``GBDTClassifier``, or read from a file of Medley, LightGBM or
    XGBoost. Immutable; threads may share it."""

    def __init__(self, handle: native.Handle):
        self._handle = handle

    @classmethod
    def load(cls, path: Path) -> "Model":
        """Reads a model file in any of the formats; which one is found out. Raises ``MedleyError``
        naming the line or field that is refused."""
        pointer = c.c_void_p()
        native.call(native.lib.medley_gbdt_load, os.fsencode(path), c.byref(pointer))
        return cls(native.Handle(pointer, native.lib.medley_gbdt_free))

    @classmethod
    def of(cls, model: Any) -> "Model":
        """This, a fitted ``GBDTClassifier``, a LightGBM ``Booster``, an XGBoost ``Booster``, their
        scikit-learn wrappers, or the path of a model file."""
        import tempfile
        if isinstance(model, Model):
            return model
        if isinstance(model, (str, os.PathLike)):
            return cls.load(model)
        if isinstance(getattr(model, "model_", None), Model):
            return cast(Model, model.model_)
        booster = model
        for attribute in ("booster_", "get_booster"):
            found = getattr(model, attribute, None)
            if found is not None:
                booster = found() if callable(found) else found
        if not hasattr(booster, "save_model"):
            raise TypeError(f"{type(model).__name__} is no tree ensemble that Medley reads")
        ending = ".json" if type(booster).__module__.startswith("xgboost") else ".txt"
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model" + ending)
            booster.save_model(path)
            return cls.load(path)

    @property
    def n_features(self) -> int:
        """F, the number of columns of what is predicted."""
        return int(native.lib.medley_gbdt_features(self._handle.pointer))

    @property
    def n_outputs(self) -> int:
        """K, the number of margins of a row."""
        return int(native.lib.medley_gbdt_classes(self._handle.pointer))

    @property
    def n_rounds(self) -> int:
        """Rounds of boosting, each a tree for every output."""
        return int(native.lib.medley_gbdt_rounds(self._handle.pointer))

    @property
    def link(self) -> str:
        """What makes predictions of margins: softmax, sigmoid, identity or exp."""
        return LINKS[native.lib.medley_gbdt_link(self._handle.pointer)]

    @property
    def feature_names(self) -> Optional["list[str]"]:
        """Names of the F features; None where the model has none."""
        names = [native.lib.medley_gbdt_feature_name(self._handle.pointer, i)
                 for i in range(self.n_features)]
        return [n.decode() for n in names] if names and names[0] is not None else None

    def _rows(self, x: Any) -> np.ndarray:
        rows = native.floats(x)
        if rows.shape[1] != self.n_features:
            raise ValueError(f"X has {rows.shape[1]} features, the model {self.n_features}")
        return rows

    def _predict(self, function: Any, x: Any) -> np.ndarray:
        x = self._rows(x)
        out: np.ndarray = np.empty((len(x), self.n_outputs), np.float32)
        native.call_long(function, self._handle.pointer, native.address(x), len(x),
                         native.address(out))
        return out

    def margins(self, x: Any) -> np.ndarray:
        """float32 ``[n, K]`` of ``x[n, F]``: sums of leaf values and base, before the link. Raises
        ``ValueError`` for another F."""
        return self._predict(native.lib.medley_gbdt_margins, x)

    def predict(self, x: Any) -> np.ndarray:
        """float32 ``[n, K]`` of ``x[n, F]``: probabilities, or what the model's link makes of its
        margins. Raises ``ValueError`` for another F."""
        return self._predict(native.lib.medley_gbdt_predict, x)

    def save(self, path: Path, format: str = "medley") -> None:
        """Writes the model as ``medley``, ``lightgbm``, ``xgboost-json`` or ``xgboost-ubj``. The file
        is replaced at once, when it is complete."""
        if format not in FORMATS:
            raise ValueError(f"format '{format}': expected one of {', '.join(FORMATS)}")
        native.call(native.lib.medley_gbdt_save_as, self._handle.pointer, os.fsencode(path),
                    FORMATS.index(format))

    def __getstate__(self) -> bytes:
        import tempfile
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model")
            self.save(path)
            with open(path, "rb") as f:
                return f.read()

    def __setstate__(self, state: bytes) -> None:
        import tempfile
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model")
            with open(path, "wb") as f:
                f.write(state)
            self._handle = Model.load(path)._handle


def table(x: np.ndarray, y: np.ndarray, weight: Optional[np.ndarray],
          n_classes: int) -> native.Table:
    """Borrows the arrays: they must outlive the call."""
    return native.Table(native.address(x), native.address(y), native.address(weight), len(x),
                        x.shape[1], n_classes)


class GBDTClassifier(ClassifierBase):
    """Gradient-boosted decision trees with softmax loss.

    Missing values (NaN) are welcome; infinite ones are not. 2 to 16 classes. The same data, options
    and seed give the same model, bit for bit, whatever the number of threads.

    Parameters
    ----------
    n_estimators : rounds; each grows one tree a class.
    learning_rate : shrinkage of every tree.
    num_leaves : leaves of a tree, 2 to 255.
    max_depth : 0 for no limit.
    min_data_in_leaf, min_sum_hessian, min_gain, lambda_l2 : what a split must leave and gain.
    max_bins : bins of a feature, 2 to 255, missing apart.
    feature_fraction, row_fraction, gradient_fraction : shares drawn per tree or round; 0 for the
        library's defaults (gbdt.h).
    early_stopping : rounds without a better log-loss on ``eval_set``; 0 for none.
    players : who owns each feature, for ``mask_rate`` and as ``TreeExplainer``'s default: a name or
        number per feature, or ``{player: [feature names]}``.
    mask_rate : chance that a player is made missing in a row while training, so that the model can do
        without any of them.
    class_weight : ``None``, ``"balanced"`` or ``{class: weight}``.
    random_state : seed.

    Attributes
    ----------
    classes_ : the class labels, sorted. n_features_in_, feature_names_in_ : as scikit-learn has them.
    model_ : the trained ``Model``. n_estimators_ : rounds, after early stopping.
    """

    def __init__(self, n_estimators: int = 200, *, learning_rate: float = 0.05, num_leaves: int = 31,
                 max_depth: int = 0, min_data_in_leaf: int = 20, min_sum_hessian: float = 1e-3,
                 min_gain: float = 0.0, lambda_l2: float = 0.0, max_bins: int = 255,
                 feature_fraction: float = 0.0, row_fraction: float = 0.0,
                 gradient_fraction: float = 0.0, early_stopping: int = 0,
                 players: Optional[Players] = None, mask_rate: float = 0.0,
                 class_weight: Any = None, random_state: Any = None):
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.max_depth = max_depth
        self.min_data_in_leaf = min_data_in_leaf
        self.min_sum_hessian = min_sum_hessian
        self.min_gain = min_gain
        self.lambda_l2 = lambda_l2
        self.max_bins = max_bins
        self.feature_fraction = feature_fraction
        self.row_fraction = row_fraction
        self.gradient_fraction = gradient_fraction
        self.early_stopping = early_stopping
        self.players = players
        self.mask_rate = mask_rate
        self.class_weight = class_weight
        self.random_state = random_state

    def _seed(self) -> int:
        if self.random_state is None:
            return 0
        if isinstance(self.random_state, (int, np.integer)):
            return int(self.random_state) % 2**64
        return int(self.random_state.randint(2**31 - 1))

    def _options(self, keep: "list[np.ndarray]") -> native.Options:
        options = native.Options(
            rounds=self.n_estimators, num_leaves=self.num_leaves, max_depth=self.max_depth,
            min_data_in_leaf=self.min_data_in_leaf, max_bins=self.max_bins,
            learning_rate=self.learning_rate, lambda_l2=self.lambda_l2,
            min_sum_hessian=self.min_sum_hessian, min_gain=self.min_gain,
            feature_fraction=self.feature_fraction, row_fraction=self.row_fraction,
            gradient_fraction=self.gradient_fraction, early_stopping=self.early_stopping,
            mask_rate=self.mask_rate, seed=self._seed(), quiet=True)
        weights = class_weights(self.class_weight, self.classes_, self._counts)
        if weights is not None:
            keep.append(np.ascontiguousarray(weights, np.float64))
            options.class_weights = native.address(keep[-1])
        if self.players is not None:
            owners, self.player_names_ = player_indices(
                self.players, self.n_features_in_, getattr(self, "feature_names_in_", None))
            keep.append(owners)
            options.player_of_feature = native.address(owners)
        return options

    def _held_out(self, eval_set: Any, keep: "list[np.ndarray]") -> Optional[native.Table]:
        if eval_set is None:
            if self.early_stopping:
                raise ValueError("early_stopping needs eval_set=(X, y)")
            return None
        x, y = native.floats(eval_set[0], "eval_set"), np.asarray(eval_set[1])
        place = np.searchsorted(self.classes_, y)
        place[place == len(self.classes_)] = 0
        if x.shape[1] != self.n_features_in_ or len(x) != len(y) or \
                not np.array_equal(self.classes_[place], y):
            raise ValueError("eval_set: other features, lengths or classes than those trained on")
        keep += [x, place.astype(np.uint8)]
        return table(x, keep[-1], None, len(self.classes_))

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, eval_set: Any = None,
            ) -> "GBDTClassifier":
        """Trains on ``X[n, F]`` (NaN is missing) and ``y[n]``. ``sample_weight[n]`` is not negative; a
        row of weight 0 counts for nothing. ``eval_set=(X, y)`` is watched by ``early_stopping``.
        Raises ``ValueError`` for what cannot be trained on; Ctrl-C stops it."""
        X, y, weight = validated(self, X, y, sample_weight)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if not 2 <= len(self.classes_) <= native.MAX_CLASSES:
            raise ValueError(f"{len(self.classes_)} class{'es' * (len(self.classes_) != 1)}: "
                             f"expected 2 to {native.MAX_CLASSES}")
        labels = labels.astype(np.uint8)
        self._counts = np.bincount(labels, weights=weight, minlength=len(self.classes_))
        keep: "list[np.ndarray]" = []
        options, validation = self._options(keep), self._held_out(eval_set, keep)
        pointer = c.c_void_p()
        native.call_long(native.lib.medley_gbdt_train,
                         c.byref(table(X, labels, weight, len(self.classes_))),
                         c.byref(validation) if validation is not None else None,
                         c.byref(options), c.byref(pointer))
        self.model_ = Model(native.Handle(pointer, native.lib.medley_gbdt_free))
        names = getattr(self, "feature_names_in_", None)
        if names is not None:
            native.call(native.lib.medley_gbdt_set_feature_names, pointer, native.texts(names))
        self.n_estimators_ = self.model_.n_rounds
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Margins ``[n, K]`` of ``X[n, F]``; of two classes ``[n]``, that of the second less that of the
        first. This and the next two raise ``NotFittedError`` before ``fit``, ``ValueError`` for another F
        or other feature names."""
        check_is_fitted(self, "model_")
        margins = self.model_.margins(validated(self, X))
        return np.asarray(margins[:, 1] - margins[:, 0]) if len(self.classes_) == 2 else margins

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities, float32 ``[n, K]`` of ``X[n, F]``, in the order of ``classes_``."""
        check_is_fitted(self, "model_")
        return self.model_.predict(validated(self, X))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row of ``X[n, F]``: ``[n]``, of the labels' type."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])
