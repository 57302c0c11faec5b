"""Tables that several tests train on."""
import numpy as np
import pytest

import medley


def blobs(n=600, f=6, k=3, seed=1):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    x = rng.normal(size=(n, f)).astype(np.float32)
    x[:, 0] += y
    x[:, 1] -= 2 * (y == 1)
    x[rng.random((n, f)) < 0.1] = np.nan
    return x, y


def small(**options):
    return medley.GBDTClassifier(n_estimators=30, min_data_in_leaf=5, **options)


def frame(x):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(x, columns=list("abcdef")[:x.shape[1]])
