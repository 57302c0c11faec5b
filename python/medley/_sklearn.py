"""scikit-learn where it is installed; otherwise just enough to train and predict without it."""
from __future__ import annotations

from typing import Any, Optional

import numpy as np

from ._native import floats

__all__ = ["ClassifierBase", "check_is_fitted", "class_weights", "validated"]
NO_LABELS = object()  # rows to predict; None is a mistake that scikit-learn words

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted

    try:
        from sklearn.utils.validation import validate_data
    except ImportError:  # before 1.6

        def validate_data(estimator: Any, *data: Any, ensure_all_finite: Any, **how: Any) -> Any:
            return estimator._validate_data(*data, force_all_finite=ensure_all_finite, **how)

    class ClassifierBase(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        def __sklearn_tags__(self) -> Any:
            tags = super().__sklearn_tags__()
            tags.input_tags.allow_nan = True
            return tags

        def _more_tags(self) -> Any:  # the same before 1.6
            return {"allow_nan": True}

    def validated(estimator: Any, x: Any, y: Any = NO_LABELS, weight: Any = None) -> Any:
        how = dict(dtype=np.float32, order="C", ensure_all_finite="allow-nan")
        if y is NO_LABELS:
            return validate_data(estimator, x, reset=False, **how)
        x, y = validate_data(estimator, x, y, **how)
        check_classification_targets(y)
        if weight is not None:
            weight = np.ascontiguousarray(_check_sample_weight(weight, x, dtype=np.float32))
            if (weight < 0).any():
                raise ValueError("Negative values in data passed to `sample_weight`")
        return x, y, weight

except ImportError:

    class ClassifierBase:  # type: ignore[no-redef]
        pass

    def check_is_fitted(estimator: Any, attribute: str) -> None:
        if not hasattr(estimator, attribute):
            raise ValueError(f"this {type(estimator).__name__} is not fitted yet")

    def validated(estimator: Any, x: Any, y: Any = NO_LABELS, weight: Any = None) -> Any:
        names = getattr(x, "columns", None)
        x = floats(x)
        if y is NO_LABELS:
            if x.shape[1] != estimator.n_features_in_:
                raise ValueError(f"X has {x.shape[1]} features, but "
                                 f"{estimator.n_features_in_} were trained on")
            return x
        estimator.n_features_in_ = x.shape[1]
        if names is not None:
            estimator.feature_names_in_ = np.asarray(names, dtype=object)
        y = np.asarray(y)
        if y.shape != (len(x),):
            raise ValueError(f"y: expected {len(x)} labels, found shape {y.shape}")
        if weight is not None:
            weight = np.ascontiguousarray(weight, np.float32)
            if weight.shape != y.shape or not (weight >= 0).all():
                raise ValueError("sample_weight: expected one number of at least 0 a row")
        return x, y, weight


def class_weights(how: Any, classes: np.ndarray, counts: np.ndarray) -> Optional[np.ndarray]:
    """Weights [K]: ``None``, ``"balanced"`` (n / (K n_k)) or ``{class: weight}``."""
    if how is None:
        return None
    if isinstance(how, str):
        if how != "balanced":
            raise ValueError(f"class_weight '{how}': expected None, 'balanced' or a dict")
        balanced: np.ndarray = counts.sum() / (len(classes) * np.maximum(counts, 1e-300))
        return balanced
    unknown = [k for k in how if k not in set(classes.tolist())]
    if unknown:
        raise ValueError(f"class_weight: no class {unknown[0]!r} in y")
    return np.array([how.get(k, 1.0) for k in classes.tolist()], np.float64)
