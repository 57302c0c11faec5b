"""A workspace from Python, to a bundle that answers; what goes wrong comes as an exception."""
import numpy as np
import pytest

import medley
from conftest import CONFIG

def test_stages(workspace):
    assert "up to date" in workspace.status()
    ranking = workspace.rank()
    assert "small" in str(ranking) and "sage" in str(ranking)


def test_bundle(workspace):
    bundle = workspace.bundle()
    assert bundle.classes == ["E", "S", "C", "I"] and set(bundle.models) <= {"small", "sage"}
    answers = bundle.classify("red shoes", [{"id": "x", "title": "Red shoes for men"}, "nowhere"],
                              explain=True)
    for a in answers:
        assert abs(sum(a["probabilities"].values()) - 1) < 1e-5
        for k, name in enumerate(bundle.classes):
            total = bundle.base[k] + sum(c[name] for c in a["contributions"].values())
            assert abs(total - a["margins"][name]) < 1e-4
    assert answers[0]["known_product"] and not answers[1]["known_product"]
    one = bundle.classify("red shoes", ["x"], models=bundle.models[:1])
    assert one[0]["models_used"] in ([], bundle.models[:1])
    assert np.argmax(list(answers[0]["probabilities"].values())) == \
        bundle.classes.index(answers[0]["label"])


def test_predictions(workspace):
    """What is given counts as said, whoever is asked for the rest."""
    bundle = workspace.bundle()
    name, shoes = bundle.models[0], [{"title": "Red shoes"}, {"title": "Blue lamp"}]
    sure = np.array([[0.97, 0.01, 0.01, 0.01], [np.nan] * 4])
    alone = bundle.classify("red shoes", shoes, models=[], predictions={name: sure})
    assert alone[0]["models_used"] == [name] and alone[1]["models_used"] == []
    assert bundle.classify("red shoes", shoes, predictions={name: sure})[1]["models_used"]
    with pytest.raises(medley.MedleyError, match="product 0: the probabilities sum to 2"):
        bundle.classify("red shoes", shoes, predictions={name: np.full((2, 4), 0.5)})
    with pytest.raises(ValueError, match="expected \\(2, 4\\)"):
        bundle.classify("red shoes", shoes, predictions={name: [[1, 0, 0, 0]]})
    with pytest.raises(ValueError, match="no model 'gcn'"):
        bundle.classify("red shoes", shoes, predictions={"gcn": sure})


def test_cascade(workspace):
    config = CONFIG + "decide: {cascade: true, calibrate: true, save: models, cascade_loss: 0.1}\n"
    w = medley.Workspace.create(workspace.folder.parent / "cascade",
                                workspace.folder.parent / "shop", config)
    w.run()
    bundle = w.bundle()
    assert set(bundle.cascade) == {"small", "sage"} and workspace.bundle().cascade == []
    assert bundle.calibration in ("none", "temperature", "isotonic")
    for a in bundle.classify("red shoes", [{"title": f"Red shoe {i}"} for i in range(5)],
                             explain=True):
        assert len(a["models_used"]) == a["cascade_stage"]
        for k, name in enumerate(bundle.classes):
            total = a["base"][k] + sum(c[name] for c in a["contributions"].values())
            assert abs(total - a["margins"][name]) < 1e-4
    whole = bundle.classify("red shoes", ["x"], models=bundle.models)
    assert "cascade_stage" not in whole[0]


def test_refusals(workspace, tmp_path):
    bundle = workspace.bundle()
    with pytest.raises(ValueError, match="no model 'gcn'"):
        bundle.classify("shoes", ["x"], models=["gcn"])
    with pytest.raises(ValueError, match="unknown field 'name'"):
        bundle.classify("shoes", [{"name": "Shoes"}])
    with pytest.raises(ValueError):
        bundle.classify("", ["x"])
    with pytest.raises(FileNotFoundError, match="no medley.yaml"):
        medley.Workspace(tmp_path)
    with pytest.raises(medley.MedleyError):
        medley.Bundle(tmp_path)
    with pytest.raises(medley.MedleyError, match="medley.yaml:1: unknown key .nonsense."):
        medley.Workspace.create(tmp_path / "w", tmp_path, "nonsense: 1\n").run()
    with pytest.raises(FileExistsError):
        medley.Workspace.create(tmp_path / "w", tmp_path, "nonsense: 1\n")


def test_version():
    assert medley.__version__ == medley._native.lib.medley_version().decode()
