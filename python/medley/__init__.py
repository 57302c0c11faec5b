"""Medley: interpretable ensembles for product search.

Trees (``GBDTClassifier``), exact Shapley values per feature and per model (``TreeExplainer``,
``coalition_values``), ensembles of language and graph models (``Workspace``), what they answer
(``Bundle``), a server of it (``serve``), one language model alone (``CrossEncoder``). The library is
C; arrays go in and out without a copy where they are C-contiguous float32.
"""
from ._native import InvalidArgument, MedleyError, lib as _lib
from ._version import VERSION as __version__
from .bundle import Bundle
from .cross_encoder import CrossEncoder
from .explain import TreeExplainer, coalition_values
from .gbdt import GBDTClassifier, Model
from .server import Server, serve
from .workspace import Workspace


def set_threads(n: int) -> None:
    """Threads that work on one call; 0 for all cores. Not while a call runs."""
    _lib.medley_set_threads(n)


def threads() -> int:
    """Threads that work on one call: what was set, ``MEDLEY_THREADS``, or all usable cores."""
    return int(_lib.medley_threads())


__all__ = ["Bundle", "CrossEncoder", "GBDTClassifier", "InvalidArgument", "MedleyError", "Model",
           "Server", "TreeExplainer", "Workspace", "coalition_values", "serve", "set_threads",
           "threads", "__version__"]
