"""The notebook of examples/notebooks runs from top to bottom: by Jupyter's own client where it is
installed, else cell by cell in this process. Also: the workspace of predictions that it begins with."""
import contextlib
import io
import json
import pathlib

import numpy as np
import pytest

import medley

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "examples" / "notebooks"
NOTEBOOK = FOLDER / "ensemble_in_20_lines.ipynb"


def cells():
    return [("".join(c["source"]), c) for c in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
            if c["cell_type"] == "code"]


def by_jupyter(monkeypatch):
    import nbclient
    import nbformat
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3",
                                     resources={"metadata": {"path": str(FOLDER)}})
    client.execute()
    return ["".join(o["text"] for o in c.outputs if o.output_type == "stream" and o.name == "stdout")
            for c in notebook.cells if c.cell_type == "code"]


def by_hand(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.chdir(FOLDER)
    names, out = {"__name__": "__main__"}, []
    for source, _ in cells():
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(compile(source, NOTEBOOK.name, "exec"), names)
        out.append(said.getvalue())
    return out


def test_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    try:
        import ipykernel  # noqa: F401
        import nbclient  # noqa: F401
        table, ran, worth, chosen, served = by_jupyter(monkeypatch)
    except ImportError:
        table, ran, worth, chosen, served = by_hand(monkeypatch)
    assert table.startswith("example_id,p_E,p_S,p_C,p_I\n") and ran == ""
    assert {line.split()[0] for line in worth.splitlines()} == \
        {"overlap", "characters", "bm25", "coin"}
    assert chosen.startswith("selected: ") and "full macro-F1" in chosen
    assert 1 <= len(served.splitlines()) <= 5 and "'context'" in served


def test_is_as_short_as_it_says_and_shows_results():
    lines = [x for source, _ in cells() for x in source.splitlines() if x.strip()]
    assert len(lines) <= 20
    assert [c["execution_count"] for _, c in cells()] == [1, 2, 3, 4, 5]
    said = json.dumps([c["outputs"] for _, c in cells()])
    assert "selected: " in said and "error" not in said and "/tmp" not in said


@pytest.fixture(scope="module")
def data(workspace):
    return workspace.folder.parent / "shop"


def probabilities(data):
    """Rows of every example, right more often than not."""
    labels = [line.split(",")[-2] for line in
              (data / "examples.csv").read_text(encoding="utf-8").splitlines()[1:]]
    rng = np.random.default_rng(1)
    p = rng.random((len(labels), 4)) + 1.5 * (np.array(labels)[:, None] == list("ESCI")) * \
        (rng.random((len(labels), 1)) < 0.7)
    return p / p.sum(1, keepdims=True)


def test_predictions_of_all_kinds(data, tmp_path):
    p = probabilities(data)
    lines = ["example_id,p_E,p_S,p_C,p_I", *(f"{i}," + ",".join(map(str, r)) for i, r in enumerate(p))]
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
    given = {"array": p, "file": tmp_path / "mine.csv"}
    try:
        import pandas
        given["frame"] = pandas.read_csv(tmp_path / "mine.csv")
    except ImportError:
        pass
    shop = medley.Workspace.create(tmp_path / "ws", data, predictions=given)
    shop.run()
    alone = {m["name"]: m["macro_f1"] for m in shop.evaluate()["models"]}
    assert set(alone) == set(given)
    assert max(alone.values()) - min(alone.values()) < 1e-6 and min(alone.values()) > 0.4


def test_predictions_that_are_refused(data, tmp_path):
    with pytest.raises(FileNotFoundError, match="predictions of 'mine'"):
        medley.Workspace.create(tmp_path / "a", data, predictions={"mine": tmp_path / "none.csv"})
    with pytest.raises(ValueError, match="1 dimensions"):
        medley.Workspace.create(tmp_path / "b", data, predictions={"mine": np.zeros(3)})
    with pytest.raises(ValueError, match="no model"):
        medley.Workspace.create(tmp_path / "c", data, predictions={})
    with pytest.raises(ValueError, match="not both"):
        medley.Workspace.create(tmp_path / "d", data, "models: []\n", predictions={"mine": "x"})
    shop = medley.Workspace.create(tmp_path / "e", data, predictions={"mine": np.full((3, 4), 0.25)})
    with pytest.raises(medley.MedleyError, match="mine"):
        shop.run()
