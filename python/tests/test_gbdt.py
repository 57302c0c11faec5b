"""GBDTClassifier: scikit-learn's own checks, missing values, players, files, interruption, processes."""
import multiprocessing
import pickle
import signal
import threading
import time

import numpy as np
import pytest

import medley
from helpers import blobs, frame, small


def test_scikit_learn_checks():
    pytest.importorskip("sklearn", minversion="1.6")
    from sklearn.utils import estimator_checks as checks
    known = {"check_sample_weight_equivalence_on_dense_data":
             "bins, leaves and covers count rows, not weights, as in LightGBM"}
    done = checks.check_estimator(medley.GBDTClassifier(n_estimators=20, min_data_in_leaf=2),
                                  expected_failed_checks=known)
    assert sum(r["status"] == "passed" for r in done) > 50


def test_as_part_of_scikit_learn():
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV
    x, y = blobs()
    search = GridSearchCV(small(), {"num_leaves": [4, 15]}, cv=3).fit(x, y)
    assert search.best_score_ > 0.7 and clone(search.best_estimator_).get_params()["num_leaves"] in (4, 15)
    with pytest.raises(ValueError, match="Negative values"):
        small().fit(x, y, sample_weight=-np.ones(len(y)))


def test_learns_and_keeps_labels():
    x, y = blobs()
    names = np.array(["substitute", "exact", "irrelevant"])[y]
    model = small().fit(x[:400], names[:400])
    assert list(model.classes_) == ["exact", "irrelevant", "substitute"]
    assert (model.predict(x[400:]) == names[400:]).mean() > 0.7
    p = model.predict_proba(x)
    assert p.dtype == np.float32 and np.allclose(p.sum(1), 1, atol=1e-5)
    margins = model.decision_function(x)
    soft = np.exp(margins - margins.max(1, keepdims=True))
    assert np.allclose(soft / soft.sum(1, keepdims=True), p, atol=1e-5)


def test_any_number_of_threads_gives_the_same_bits():
    x, y = blobs()
    before = medley.threads()
    out = []
    for n in (1, 2):
        medley.set_threads(n)
        out.append(small(random_state=3).fit(x, y).predict_proba(x))
    medley.set_threads(before)
    assert np.array_equal(*out)


def test_early_stopping():
    x, y = blobs()
    model = medley.GBDTClassifier(500, learning_rate=0.3, early_stopping=5)
    model.fit(x[:400], y[:400], eval_set=(x[400:], y[400:]))
    assert 1 <= model.n_estimators_ < 500
    with pytest.raises(ValueError, match="eval_set"):
        model.fit(x, y)
    with pytest.raises(ValueError, match="other features"):
        model.fit(x, y, eval_set=(x[:, :2], y))


def test_refusals():
    x, y = blobs()
    with pytest.raises(ValueError, match="infinit"):
        small().fit(np.where(np.isnan(x), np.inf, x), y)
    with pytest.raises(ValueError, match="1 class"):
        small().fit(x, np.zeros(len(x)))
    with pytest.raises(ValueError, match="17 classes"):
        small().fit(x, np.arange(len(x)) % 17)
    with pytest.raises(ValueError, match="num_leaves"):
        small(num_leaves=1).fit(x, y)
    with pytest.raises(ValueError, match="nobody owns feature 'b'"):
        small(players={"lm": ["a"]}).fit(frame(x[:, :2]), y)
    with pytest.raises(ValueError, match="4 entries for 6 features"):
        small(players=[0, 0, 1, 1]).fit(x, y)


def test_feature_names():
    x, y = blobs()
    model = small().fit(frame(x), y)
    assert model.model_.feature_names == list("abcdef")
    assert list(model.feature_names_in_) == list("abcdef")


def test_masked_players_can_be_missing():
    x, y = blobs(2000)
    x = np.hstack([x, x])
    players = ["first"] * 6 + ["twin"] * 6
    gone = x.copy()
    gone[:, :6] = np.nan
    score = [(small(players=players, mask_rate=rate).fit(x, y).predict(gone) == y).mean()
             for rate in (0.0, 0.3)]
    assert score[1] > score[0] + 0.05


@pytest.mark.parametrize("kind", ["medley", "lightgbm", "xgboost-json", "xgboost-ubj"])
def test_files(tmp_path, kind):
    x, y = blobs()
    model = small().fit(x, y)
    model.model_.save(tmp_path / "model", format=kind)
    back = medley.Model.load(tmp_path / "model")
    assert np.allclose(back.margins(x), model.decision_function(x), atol=1e-5)
    (tmp_path / "model").write_bytes((tmp_path / "model").read_bytes()[:200])
    with pytest.raises(medley.MedleyError) as problem:
        medley.Model.load(tmp_path / "model")
    assert problem.value.code == "EFORMAT" and "model" in str(problem.value)


def test_pickle():
    x, y = blobs()
    model = small().fit(x, y)
    back = pickle.loads(pickle.dumps(model))
    assert np.array_equal(back.predict_proba(x), model.predict_proba(x))


def test_no_copy_of_float32():
    x, y = blobs(200_000, 40)
    model = small().fit(x, y)
    assert medley._native.floats(x) is x
    assert model.predict_proba(x).shape == (200_000, 3)


def test_gil_is_released():
    x, y = blobs(60_000, 20)
    ticks = []
    worker = threading.Thread(target=lambda: medley.GBDTClassifier(300).fit(x, y))
    worker.start()
    while worker.is_alive():
        ticks.append(time.monotonic())
        time.sleep(0.005)
    assert len(ticks) > 10 and max(np.diff(ticks)) < 1


def test_interruption():
    x, y = blobs(50_000, 40)
    threading.Timer(0.5, lambda: signal.raise_signal(signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        medley.GBDTClassifier(100_000).fit(x, y)
    assert time.monotonic() - start < 10
    assert small().fit(x[:500], y[:500]).n_estimators_ == 30  # and goes on


class Alarm(Exception):
    pass


def test_interruption_at_any_moment():
    """Also while a call begins or ends: its arrays must outlive it, whatever a handler raises."""
    def ring(*_):
        raise Alarm

    x, y = blobs(4000, 30)
    model, stopped, before = small().fit(x, y), 0, signal.signal(signal.SIGALRM, ring)
    rng = np.random.default_rng(1)
    try:
        for _ in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 3e-3))
                for _ in range(50):
                    model.predict_proba(x.copy())
            except Alarm:
                stopped += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert stopped > 100
    assert np.array_equal(model.predict_proba(x), small().fit(x, y).predict_proba(x))


def _in_child(seed):
    x, y = blobs(seed=seed)
    return small().fit(x, y).predict_proba(x)[:5]


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_processes(how):
    here = _in_child(1)  # the parent has threads by now
    with multiprocessing.get_context(how).Pool(2) as pool:
        for got in pool.map(_in_child, [1, 1]):
            assert np.array_equal(got, here)
