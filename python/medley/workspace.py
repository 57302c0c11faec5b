"""A workspace, driven through the program: what the shell does, from Python."""
from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
from typing import Any, Dict, Optional, Union

from ._native import HERE, MedleyError
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


class Workspace:
    """A folder with a ``medley.yaml``. Stages that are up to date do not run again."""

    def __init__(self, folder: Union[str, os.PathLike]):
        self.folder = pathlib.Path(folder)
        if not (self.folder / "medley.yaml").exists():
            raise FileNotFoundError(f"'{folder}' is no workspace: it has no medley.yaml "
                                    "(Workspace.create makes one)")

    @classmethod
    def create(cls, folder: Union[str, os.PathLike], data: Union[str, os.PathLike],
               config: Optional[str] = None) -> "Workspace":
        """A new workspace over the files in ``data`` (``medley init``), or with ``config`` as its
        medley.yaml. What exists already is not overwritten."""
        if config is None:
            run("init", folder, "--data", data)
        else:
            pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
            with open(pathlib.Path(folder) / "medley.yaml", "x", encoding="utf-8") as f:
                f.write(config)
        return cls(folder)

    def _json(self, verb: str, *arguments: Any) -> Any:
        return json.loads(run(verb, "-C", self.folder, *arguments, "--json"))

    def run(self, quiet: bool = True) -> None:
        """Every stage that is out of date, in order."""
        run("run", "-C", self.folder, quiet=quiet)

    def status(self) -> str:
        """What is stale, and why, as text."""
        return run("status", "-C", self.folder)

    def import_data(self) -> None:
        run("import", "-C", self.folder)

    def train(self, *models: str) -> None:
        run("train", "-C", self.folder, *models)

    def stack(self) -> None:
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
