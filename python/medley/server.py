"""``medley serve`` beside a notebook: started, asked, closed."""
from __future__ import annotations

import collections
import json
import os
import pathlib
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
import weakref
from typing import Any, Deque, Dict, List, Mapping, Optional, Sequence, Union, cast

import numpy as np

from ._native import InvalidArgument, MedleyError, Path
from .bundle import Bundle
from .workspace import Workspace, program

Product = Union[str, Mapping[str, Any]]
LISTENING = re.compile(r"listening on (http://\S+) \(bundle ([0-9a-f]+)\)")
STOP_SECONDS = 10

# Neither a proxy of the environment nor a redirect has anything to do with a server of our own.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def _folder(bundle: Any) -> pathlib.Path:
    if isinstance(bundle, Bundle):
        return pathlib.Path(bundle.folder)
    folder = bundle.folder if isinstance(bundle, Workspace) else pathlib.Path(bundle)
    whole = (folder / "medley.yaml").exists() and not (folder / "bundle.json").exists()
    return folder / "bundle" / "current" if whole else folder


def _flags(options: Mapping[str, Any]) -> List[str]:
    names = {name: "--" + name.replace("_", "-") for name in options}
    return [names[n] if v is True else f"{names[n]}={v}"
            for n, v in options.items() if v is not None and v is not False]


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")


class Server:
    """A running server, from ``medley.serve``; a context manager, closed at the latest when Python
    ends. Threads may share it.

    Attributes
    ----------
    url : where it listens, ``"http://127.0.0.1:41233"``; in a browser, its dashboard.
    bundle_id : of the bundle that it began with.
    """

    def __init__(self, folder: pathlib.Path, options: Mapping[str, Any], timeout: float):
        self._lines: Deque[str] = collections.deque(maxlen=200)
        self._told = threading.Event()  # it listens, or has ended
        self.url, self.bundle_id = "", ""
        self._token: Optional[str] = None
        if options.get("token_file"):
            self._token = pathlib.Path(options["token_file"]).read_text().strip()
        # A session of its own: Ctrl-C in a shell or a notebook is not meant for the server.
        self._process = subprocess.Popen(
            [program(), "serve", f"--bundle={folder}", *_flags(options)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        self._end = weakref.finalize(self, _stop, self._process, os.getpid())
        self._reader = threading.Thread(target=_read, daemon=True, args=(
            self._process.stderr, self._lines, self._told))
        self._reader.start()
        try:
            in_time = self._wait(timeout)
        except BaseException:  # Ctrl-C
            self.close()
            raise
        found = [m for m in map(LISTENING.search, list(self._lines)) if m]
        if not found:
            self.close()
            why = self._last() if in_time else f"not ready after {timeout:g} s"
            raise MedleyError("EFAILED", f"cannot serve '{folder}': {why}")
        self.url, self.bundle_id = found[0].groups()

    def _wait(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not self._told.wait(0.05):  # in short steps: Ctrl-C may arrive in another thread
            if time.monotonic() > until:
                return False
        return True

    def _last(self) -> str:
        said = [line for line in self._lines if line.startswith("medley: ")]
        return said[-1][8:] if said else "\n".join(self._lines) or "the program said nothing"

    def request(self, path: str, body: Optional[Mapping[str, Any]] = None) -> Any:
        """``GET path``, or ``POST path`` with ``body`` as JSON (arrays become lists): the answer,
        parsed where it is JSON, else text. Raises ``InvalidArgument``, a ``ValueError``, for what
        the server calls a bad request (4xx), ``MedleyError`` for other failures, both with its
        message."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body, default=_plain, allow_nan=False).encode()
        try:
            with _open(urllib.request.Request(self.url + path, data, headers)) as answer:
                kind, text = answer.headers.get_content_type(), answer.read().decode()
        except urllib.error.HTTPError as problem:
            with problem:
                text = problem.read().decode("utf-8", "replace")
            try:
                text = json.loads(text)["error"]
            except (ValueError, KeyError, TypeError):
                pass
            bad = 400 <= problem.code < 500
            raise (InvalidArgument if bad else MedleyError)(f"HTTP {problem.code}", text) from None
        except OSError as problem:
            ended = self._process.poll() is not None
            raise MedleyError("EIO", f"{self.url}: " + (
                f"the server has ended: {self._last()}" if ended else str(problem))) from None
        return json.loads(text) if kind == "application/json" else text

    def classify(self, query: str, products: Sequence[Product], *, locale: str = "us",
                 explain: bool = False, **more: Any) -> List[Dict[str, Any]]:
        """``POST /v1/classify``: an answer for each of at most 1,000 products, as
        ``Bundle.classify`` gives them (docs/serving.md has every key). ``more`` are other keys of a
        request: ``models``, ``deadline_ms``, ``cache``, ``max_age_s``. A product is an id, or a dict
        of id, text fields, ``predictions``. With ``explain`` each answer has ``contributions`` and
        ``base``, which add up to its margins."""
        answer = self.request("/v1/classify", {
            "query": query, "locale": locale, "products": list(products),
            **({"explain": True} if explain else {}), **more})
        if "base" in answer:
            for result in answer["results"]:
                result.setdefault("base", answer["base"])
        return cast(List[Dict[str, Any]], answer["results"])

    def rank(self, query: str, products: Sequence[Product], *, locale: str = "us",
             **more: Any) -> List[Dict[str, Any]]:
        """``POST /v1/rank``: the same, best first; ``position`` is the product's place in the request."""
        answer = self.request("/v1/rank", {"query": query, "locale": locale,
                                           "products": list(products), **more})
        return cast(List[Dict[str, Any]], answer["results"])

    @property
    def log(self) -> List[str]:
        """The last lines that the server wrote: with ``quiet=False`` one of JSON per request."""
        return list(self._lines)

    def close(self) -> None:
        """Lets the server finish what it has begun and ends it. Twice does no harm."""
        self._end()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<medley.Server {self.url}{'' if self._end.alive else ', closed'}>"

    def _repr_html_(self) -> str:
        return f'<a href="{self.url}" target="_blank">{self.url}</a>' + (
            "" if self._end.alive else " (closed)")


def _read(pipe: Any, lines: Deque[str], told: threading.Event) -> None:
    with pipe:
        for line in pipe:
            lines.append(line.decode("utf-8", "replace").rstrip())
            if LISTENING.search(lines[-1]):
                told.set()
    told.set()


def _stop(process: "subprocess.Popen[bytes]", owner: int) -> None:
    if os.getpid() != owner:  # a forked child: the server is its parent's
        return
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def serve(bundle: Union[Path, Workspace, Bundle], port: int = 0, *,
          host: str = "127.0.0.1", timeout: float = 120, quiet: bool = True,
          **options: Any) -> Server:
    """Serves a bundle over HTTP in a process of its own, until ``close()``.

    Parameters
    ----------
    bundle : a bundle's folder, a ``Bundle``, a ``Workspace`` or its folder (its current bundle).
    port : 0 for any free one. host : the address to listen at.
    timeout : seconds until it must be ready.
    quiet : no line of log per request.
    options : any other of ``medley serve --help``: ``threads=4``, ``deadline=50``,
        ``token_file="token"`` (which requests from here then carry).

    Raises ``MedleyError`` with what the program said when it does not come up, and
    ``FileNotFoundError`` when there is no program.
    """
    return Server(_folder(bundle), {"port": port, "host": host, "quiet": quiet, **options}, timeout)
