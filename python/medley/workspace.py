"""A workspace, driven through the program: what the shell does, from Python."""
from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
from typing import Any, Dict, Mapping, Optional, cast

import numpy as np

from ._native import HERE, MedleyError, Path
from .bundle import Bundle
from .cross_encoder import CrossEncoder


def program() -> str:
    """The ``medley`` program: MEDLEY_PROGRAM, the one in this package, or that of the PATH."""
    for place in (os.environ.get("MEDLEY_PROGRAM"), HERE / "bin" / "medley"):
        if place and os.access(place, os.X_OK):
            return str(place)
    found = shutil.which("medley")
    if not found:
        raise FileNotFoundError("there is no medley program in this package or on the PATH")
    return found


def run(*arguments: Any, quiet: bool = True) -> str:
    """Runs the program and returns what it prints. A failure raises ``MedleyError`` with its message.
    Ctrl-C stops it as it does in a shell: finished stages stay."""
    process = subprocess.Popen([program(), *map(str, arguments)], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE if quiet else None, text=True)
    try:
        out, talk = process.communicate()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
    if process.returncode:
        lines = [x for x in (talk or "").splitlines() if x.startswith("medley: ")]
        raise MedleyError("EFAILED", lines[-1][8:] if lines else f"medley {arguments[0]} failed")
    return out


def _table(folder: pathlib.Path, name: str, given: Any) -> pathlib.Path:
    """The path of the predictions; what is no file yet becomes one in the workspace."""
    if isinstance(given, (str, os.PathLike)):
        path = pathlib.Path(given).absolute()
        if not path.exists():
            raise FileNotFoundError(f"predictions of '{name}': there is no '{path}'")
        return path
    path = (folder / f"{name}.csv").absolute()
    if hasattr(given, "to_csv"):
        given.to_csv(path, index=False)
        return path
    rows = np.ascontiguousarray(given, np.float32)
    if rows.ndim != 2:
        raise ValueError(f"predictions of '{name}': expected [examples, classes], found "
                         f"{rows.ndim} dimensions")
    np.save(path.with_suffix(".npy"), rows)
    return path.with_suffix(".npy")


def _with_models(config: str, folder: pathlib.Path, predictions: Mapping[str, Any]) -> str:
    """medley.yaml as ``medley init`` writes it, with tables in the place of its models."""
    if not predictions:
        raise ValueError("predictions: no model")
    # JSON texts are YAML's, too.
    models = "".join(f"  - {{name: {json.dumps(name)}, kind: table, predictions: "
                     f"{json.dumps(str(_table(folder, name, given)))}}}\n"
                     for name, given in predictions.items())
    config, n = re.subn(r"(?m)^models:\n(?: +.*\n)+", lambda _: "models:\n" + models, config)
    if n != 1:
        raise MedleyError("EFAILED", "medley init wrote no models: into medley.yaml")
    return config


class Workspace:
    """A folder with a ``medley.yaml``. Stages that are up to date do not run again."""

    def __init__(self, folder: Path):
        self.folder = pathlib.Path(folder)
        if not (self.folder / "medley.yaml").exists():
            raise FileNotFoundError(f"'{folder}' is no workspace: it has no medley.yaml "
                                    "(Workspace.create makes one)")

    @classmethod
    def create(cls, folder: Path, data: Path,
               config: Optional[str] = None, *,
               predictions: Optional[Mapping[str, Any]] = None) -> "Workspace":
        """A new workspace over the files in ``data`` (``medley init``). What exists already is not
        overwritten (``FileExistsError``).

        ``config`` is its medley.yaml instead. ``predictions`` are base models that you have already,
        instead of those that ``medley init`` writes: a model's name to out-of-fold probabilities, as
        the path of a table (.csv, .tsv, .jsonl, .parquet with example_id and p_CLASS columns, or
        .npy), a DataFrame with those columns, or an array ``[examples, K]`` in the examples' order.
        """
        folder = pathlib.Path(folder)
        settings = folder / "medley.yaml"
        if config is not None and predictions is not None:
            raise ValueError("create: config or predictions, not both")
        if settings.exists():
            raise FileExistsError(f"'{settings}' exists already")
        if config is None:
            run("init", folder, "--data", data)
            config = settings.read_text(encoding="utf-8")
            if predictions is not None:
                config = _with_models(config, folder, predictions)
        folder.mkdir(parents=True, exist_ok=True)
        settings.write_text(config, encoding="utf-8")
        return cls(folder)

    def _json(self, verb: str, *arguments: Any) -> Dict[str, Any]:
        return cast(Dict[str, Any], json.loads(run(verb, "-C", self.folder, *arguments, "--json")))

    def run(self, quiet: bool = True) -> None:
        """Every stage that is out of date, in order."""
        run("run", "-C", self.folder, quiet=quiet)

    def status(self) -> str:
        """What is stale, and why, as text."""
        return run("status", "-C", self.folder)

    def import_data(self) -> None:
        """``medley import``: the files into columns, with a word on odd rows. Raises ``MedleyError``
        naming file and line, as all of these do for what goes wrong."""
        run("import", "-C", self.folder)

    def train(self, *models: str) -> None:
        """``medley train``: these base models, or all, across folds and then on everything."""
        run("train", "-C", self.folder, *models)

    def stack(self) -> None:
        """``medley stack``: the trees over the base models' out-of-fold predictions."""
        run("stack", "-C", self.folder)

    def rank(self) -> Dict[str, Any]:
        """The rankings of ``medley rank --json`` (docs/schemas.md)."""
        return self._json("rank")

    def select(self) -> Dict[str, Any]:
        """``medley select --json``."""
        return self._json("select")

    def evaluate(self) -> Dict[str, Any]:
        """``medley evaluate --json``."""
        return self._json("evaluate")

    def model(self, name: str) -> CrossEncoder:
        """The trained language model ``name``, alone."""
        return CrossEncoder(self.folder / "models" / name)

    def bundle(self) -> Bundle:
        """The current bundle, loaded."""
        return Bundle(self.folder / "bundle" / "current")
