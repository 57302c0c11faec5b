"""CrossEncoder: rows of probabilities, whatever the batches, threads and processes; refusals."""
import json
import multiprocessing
import pickle
import shutil
import signal
import threading
import time

import numpy as np
import pytest

import medley

PAIRS = [("red shoes", "Red shoes for men"), ("usb cable", {"title": "Cable, 2 m", "brand": "Acme"}),
         ("靴", "赤い靴"), ("", "")]


@pytest.fixture(scope="module")
def model(workspace):
    return workspace.model("small")


def test_predict(model):
    p = model.predict(PAIRS)
    assert model.classes == ["E", "S", "C", "I"] and model.num_labels == 4
    assert model.max_length == 32
    assert p.shape == (4, 4) and p.dtype == np.float32 and p.flags.c_contiguous
    assert (p >= 0).all() and np.allclose(p.sum(1), 1, atol=1e-5)
    assert np.array_equal(model.predict(PAIRS[0]), p[0])
    assert np.array_equal(model.predict(PAIRS, batch_size=3), p)
    assert np.array_equal(model.predict(PAIRS[::-1]), p[::-1])
    assert model.predict([]).shape == (0, 4)
    assert np.array_equal(model.predict(PAIRS, locale=["us", "us", "jp", "us"])[:2], p[:2])


def test_as_the_bundle_says(workspace, model):
    """What the ensemble reads of this model: its folder in the bundle is the same model."""
    inside = medley.CrossEncoder(workspace.folder / "bundle" / "current" / "models" / "small")
    assert np.array_equal(inside.predict(PAIRS), model.predict(PAIRS))


def test_rank(model):
    titles = [f"Red shoe {i}" for i in range(9)] + ["Mouse pad"]
    p = model.predict([("red shoes", t) for t in titles])
    order = model.rank("red shoes", titles)
    assert [r["corpus_id"] for r in order] == np.argsort(-p[:, 0], kind="stable").tolist()
    gains = [1, 0.1, 0.01, 0]
    best = model.rank("red shoes", titles, top_k=3, gains=gains)
    assert len(best) == 3 and best[0]["score"] == pytest.approx((p @ gains).max(), abs=1e-6)
    with pytest.raises(ValueError, match="gains: expected 4 numbers"):
        model.rank("red shoes", titles, gains=[1, 0])


def plain(model, folder, labels):
    """The model as Hugging Face would have saved it, its head's first label alone or against nothing."""
    shutil.copytree(model.path, folder)
    (folder / "medley.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(i): name for i, name in enumerate(labels)}
    (folder / "config.json").write_text(json.dumps(config))
    file = (folder / "model.safetensors").read_bytes()
    n = int.from_bytes(file[:8], "little")
    tensors = {name: np.frombuffer(file[8 + n:], np.float32, int(np.prod(t["shape"])), t["data_offsets"][0]).reshape(t["shape"])
               for name, t in json.loads(file[8:8 + n]).items() if name != "__metadata__"}
    for name in ("classifier.weight", "classifier.bias"):
        first = tensors[name][:1]
        tensors[name] = np.concatenate([first, 0 * first])[:len(labels)]
    header, data = {}, b""
    for name, t in tensors.items():
        header[name] = {"dtype": "F32", "shape": t.shape, "data_offsets": [len(data), len(data) + t.nbytes]}
        data += t.tobytes()
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    return medley.CrossEncoder(folder)


def test_hugging_face(model, tmp_path):
    two, one = plain(model, tmp_path / "two", ["yes", "no"]), plain(model, tmp_path / "one", ["score"])
    assert two.classes == ["yes", "no"] and one.num_labels == 1
    p = one.predict(PAIRS)
    assert p.shape == (4,) and np.ndim(one.predict(PAIRS[0])) == 0
    assert np.allclose(p, two.predict(PAIRS)[:, 0], atol=1e-6)  # softmax over (z, 0) is the sigmoid of z
    assert p[0] != one.predict(("red shoes", "<b>Red shoes</b> for men"))  # markup is text to it
    order = one.rank("red shoes", ["Mouse pad", "Red shoes", "Shoes"], top_k=2)
    assert len(order) == 2 and order[0]["score"] >= order[1]["score"]
    assert one.max_length == 128


def test_refusals(model, tmp_path):
    with pytest.raises(medley.MedleyError, match="medley.json"):
        medley.CrossEncoder(tmp_path)
    with pytest.raises(ValueError, match="pair 1: expected"):
        model.predict([("a", "b"), ("a", "b", "c")])
    with pytest.raises(TypeError, match="pair 0: the query is no text but float"):
        model.predict([(1.5, "b")])
    with pytest.raises(ValueError, match="unknown field 'name'"):
        model.predict([("a", {"name": "b"})])
    with pytest.raises(ValueError, match="locale: 1 for 2 pairs"):
        model.predict(PAIRS[:2], locale=["us"])
    with pytest.raises(ValueError, match="batch_size 0"):
        model.predict(PAIRS, batch_size=0)


def test_threads_and_gil(model):
    many = PAIRS * 5000
    out, ticks = [], []
    workers = [threading.Thread(target=lambda: out.append(model.predict(many, batch_size=500)))
               for _ in range(2)]
    for w in workers:
        w.start()
    while any(w.is_alive() for w in workers):
        ticks.append(time.monotonic())
        time.sleep(0.002)
    assert np.array_equal(out[0], out[1]) and np.array_equal(out[0][:4], model.predict(PAIRS))
    assert len(ticks) > 5 and max(np.diff(ticks)) < 1


def test_interruption(model):
    pairs = [("red shoes", "Red shoes for men " * 10)] * 400_000
    threading.Timer(0.5, lambda: signal.raise_signal(signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        model.predict(pairs)
    assert time.monotonic() - start < 5
    assert model.predict(PAIRS).shape == (4, 4)  # and goes on


def _in_child(model):
    return model.predict(PAIRS)


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_processes(model, how):
    here = model.predict(PAIRS)
    with multiprocessing.get_context(how).Pool(2) as pool:
        for got in pool.map(_in_child, [model, model]):
            assert np.array_equal(got, here)


def test_pickle(model):
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(PAIRS), model.predict(PAIRS))
