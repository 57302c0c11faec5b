"""The shared library through ctypes: types, prototypes, errors, interruption."""
from __future__ import annotations

import _thread
import ctypes as c
import os
import pathlib
import threading
from typing import Any, Callable, Dict, Optional, Sequence, Tuple, Union

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
Path = Union[str, "os.PathLike[str]"]


class MedleyError(Exception):
    """What the library says went wrong; ``code`` is its status, such as ``"EFORMAT"``."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> Tuple[Any, ...]:  # pools of processes send exceptions by pickle
        return type(self), (self.code, str(self))


CODES = ("OK", "EINVAL", "EIO", "EFORMAT", "ENOMEM", "ENOTFOUND", "EUNSUPPORTED", "ESTALE",
         "EINSAMPLE", "EINTERRUPTED")


class InvalidArgument(MedleyError, ValueError):
    """``EINVAL``: also a ``ValueError``, as Python users expect."""


class Error(c.Structure):
    _fields_ = [("code", c.c_int), ("message", c.c_char * 1024)]


class Table(c.Structure):
    """medley_table of gbdt.h."""
    _fields_ = [("features", c.c_void_p), ("labels", c.c_void_p), ("weights", c.c_void_p),
                ("n", c.c_size_t), ("n_features", c.c_size_t), ("n_classes", c.c_size_t)]


class Options(c.Structure):
    """medley_gbdt_options of gbdt.h."""
    _fields_ = [("rounds", c.c_uint), ("num_leaves", c.c_uint), ("max_depth", c.c_uint),
                ("min_data_in_leaf", c.c_uint), ("max_bins", c.c_uint),
                ("learning_rate", c.c_double), ("lambda_l2", c.c_double),
                ("min_sum_hessian", c.c_double), ("min_gain", c.c_double),
                ("feature_fraction", c.c_double), ("row_fraction", c.c_double),
                ("gradient_fraction", c.c_double), ("early_stopping", c.c_uint),
                ("trees", c.c_int), ("class_weights", c.c_void_p),
                ("player_of_feature", c.c_void_p), ("mask_rate", c.c_double),
                ("seed", c.c_uint64), ("use_features", c.c_void_p), ("quiet", c.c_bool)]


class ExplainerOptions(c.Structure):
    """medley_explainer_options of shapley.h."""
    _fields_ = [("player_of_feature", c.c_void_p), ("n_players", c.c_size_t),
                ("table_bytes", c.c_size_t), ("background", c.c_void_p),
                ("n_background", c.c_size_t)]


PROGRESS = c.CFUNCTYPE(c.c_bool, c.c_void_p, c.c_size_t, c.c_size_t)


class CoalitionOptions(c.Structure):
    """medley_coalition_options of coalition.h."""
    _fields_ = [("exact_players", c.c_uint), ("refits", c.c_uint), ("seed", c.c_uint64),
                ("progress", PROGRESS), ("progress_context", c.c_void_p)]


class Text(c.Structure):
    """medley_text of bundle.h."""
    _fields_ = [("s", c.c_char_p), ("n", c.c_size_t)]


class Product(c.Structure):
    """medley_product of bundle.h."""
    _fields_ = [("id", Text), ("has_text", c.c_bool), ("title", Text), ("description", Text),
                ("bullets", Text), ("brand", Text), ("color", Text), ("category", Text)]


class Pair(c.Structure):
    """medley_pair of cross_encoder.h."""
    _fields_ = [("query", Text), ("locale", Text), ("product", Product)]


MAX_CLASSES = 16


class Result(c.Structure):
    """medley_result of bundle.h."""
    _fields_ = [("label", c.c_uint8), ("known_product", c.c_bool), ("stages", c.c_uint8),
                ("models_used", c.c_uint32), ("models_failed", c.c_uint32),
                ("models_late", c.c_uint32), ("models_stored", c.c_uint32),
                ("probabilities", c.c_float * MAX_CLASSES),
                ("margins", c.c_float * MAX_CLASSES)]


class ClassifyOptions(c.Structure):
    """medley_classify_options of bundle.h."""
    _fields_ = [("models", c.c_uint32), ("contributions", c.c_void_p),
                ("said", c.c_void_p), ("interactions", c.c_void_p), ("traceparent", c.c_char_p),
                ("deadline_ms", c.c_double), ("given", c.c_void_p), ("only_given", c.c_bool)]


def _open() -> c.CDLL:
    places = [os.environ.get("MEDLEY_LIBRARY"), HERE / "libmedley.so", "libmedley.so.0"]
    problems = []
    for place in places:
        if place:
            try:
                return c.CDLL(str(place))
            except OSError as problem:
                problems.append(str(problem))
    raise ImportError("cannot load libmedley.so: " + "; ".join(problems))


lib = _open()

_pointer, _size, _text, _double = c.c_void_p, c.c_size_t, c.c_char_p, c.c_double
_error = c.POINTER(Error)


def _declare(name: str, result: Any, *arguments: Any) -> None:
    function = getattr(lib, name)
    function.restype, function.argtypes = result, arguments


for _name, _result, _arguments in (
        ("medley_version", _text, ()),
        ("medley_interrupt", None, (c.c_bool,)),
        ("medley_set_threads", None, (c.c_uint,)),
        ("medley_threads", c.c_uint, ()),
        ("medley_gbdt_train", c.c_int, (c.POINTER(Table), c.POINTER(Table), c.POINTER(Options),
                                        c.POINTER(_pointer), _error)),
        ("medley_gbdt_free", None, (_pointer,)),
        ("medley_gbdt_features", _size, (_pointer,)),
        ("medley_gbdt_classes", _size, (_pointer,)),
        ("medley_gbdt_link", c.c_int, (_pointer,)),
        ("medley_gbdt_rounds", _size, (_pointer,)),
        ("medley_gbdt_set_feature_names", c.c_int, (_pointer, c.POINTER(_text), _error)),
        ("medley_gbdt_feature_name", _text, (_pointer, _size)),
        ("medley_gbdt_margins", c.c_int, (_pointer, _pointer, _size, _pointer, _error)),
        ("medley_gbdt_predict", c.c_int, (_pointer, _pointer, _size, _pointer, _error)),
        ("medley_gbdt_format_name", _text, (c.c_int,)),
        ("medley_gbdt_load", c.c_int, (_text, c.POINTER(_pointer), _error)),
        ("medley_gbdt_save_as", c.c_int, (_pointer, _text, c.c_int, _error)),
        ("medley_explainer_make", c.c_int, (_pointer, c.POINTER(ExplainerOptions),
                                            c.POINTER(_pointer), _error)),
        ("medley_explainer_free", None, (_pointer,)),
        ("medley_explainer_base", None, (_pointer, _pointer)),
        ("medley_explainer_values", c.c_int, (_pointer, _pointer, _size, _pointer, _error)),
        ("medley_explainer_interactions", c.c_int, (_pointer, _pointer, _size, _pointer, _error)),
        ("medley_coalition_play", c.c_int, (c.POINTER(Table), c.POINTER(Table), _pointer, _size,
                                            c.POINTER(Options), c.POINTER(CoalitionOptions),
                                            c.POINTER(_pointer), _error)),
        ("medley_coalition_free", None, (_pointer,)),
        ("medley_coalition_exact", c.c_bool, (_pointer,)),
        ("medley_coalition_refits", _size, (_pointer,)),
        ("medley_coalition_values", None, (_pointer, c.c_int, _pointer, _pointer)),
        ("medley_bundle_open", c.c_int, (_text, c.POINTER(_pointer), _error)),
        ("medley_bundle_close", None, (_pointer,)),
        ("medley_bundle_id", _text, (_pointer,)),
        ("medley_bundle_classes", _size, (_pointer,)),
        ("medley_bundle_class", _text, (_pointer, _size)),
        ("medley_bundle_gain", _double, (_pointer, _size)),
        ("medley_bundle_models", _size, (_pointer,)),
        ("medley_bundle_model", _text, (_pointer, _size)),
        ("medley_bundle_base", None, (_pointer, _pointer)),
        ("medley_bundle_stages", _size, (_pointer,)),
        ("medley_bundle_stage_model", _size, (_pointer, _size)),
        ("medley_bundle_stage_base", None, (_pointer, _size, _pointer)),
        ("medley_bundle_calibration", _text, (_pointer,)),
        ("medley_bundle_classify", c.c_int, (_pointer, Text, Text, c.POINTER(Product), _size,
                                             c.POINTER(ClassifyOptions), c.POINTER(Result),
                                             _error)),
        ("medley_cross_encoder_open", c.c_int, (_text, c.POINTER(_pointer), _error)),
        ("medley_cross_encoder_close", None, (_pointer,)),
        ("medley_cross_encoder_classes", _size, (_pointer,)),
        ("medley_cross_encoder_class", _text, (_pointer, _size)),
        ("medley_cross_encoder_tokens", _size, (_pointer,)),
        ("medley_cross_encoder_predict", c.c_int, (_pointer, c.POINTER(Pair), _size, _pointer,
                                                   _error))):
    _declare(_name, _result, *_arguments)


def _raise(error: Error) -> None:
    code = CODES[error.code] if 0 <= error.code < len(CODES) else str(error.code)
    message = error.message.decode("utf-8", "replace")
    if code == "EINTERRUPTED":
        raise KeyboardInterrupt(message)
    if code == "ENOMEM":
        raise MemoryError(message)
    raise (InvalidArgument if code == "EINVAL" else MedleyError)(code, message)


def call(function: Callable[..., int], *arguments: Any) -> None:
    """Calls ``function(*arguments, error)`` and raises what it reports. ctypes has released the GIL."""
    error = Error()
    if function(*arguments, c.byref(error)):
        _raise(error)


class _Worker:
    """One C call in a thread of its own, which uses memory of the caller's: until it has returned,
    or has not begun and never will, the caller must not go on. An exception may come between any two
    steps of the main thread, so that only single atomic steps are relied on, not Event or ``with``."""

    def __init__(self, function: Callable[..., int], arguments: Sequence[Any]):
        self.function, self.arguments = function, arguments
        self.error, self.code, self.finished = Error(), 0, False
        self.owner: Dict[str, str] = {}  # who was first: "call" begins it, "leave" forbids it
        self.running = _thread.allocate_lock()
        self.running.acquire()

    def run(self) -> None:
        if self.owner.setdefault("first", "call") == "call":
            self.code = self.function(*self.arguments, c.byref(self.error))
        self.finished = True
        self.running.release()

    def wait(self) -> None:
        while not self.finished:
            self.running.acquire(timeout=0.05)

    def leave(self) -> None:
        """After an exception in the main thread, wherever that was: stops the call and waits for its
        end. More of Ctrl-C changes nothing."""
        while True:
            try:
                lib.medley_interrupt(True)
                if self.owner.setdefault("first", "leave") == "call":
                    self.wait()
                lib.medley_interrupt(False)
                return
            except BaseException:
                pass


def call_long(function: Callable[..., int], *arguments: Any) -> None:
    """The same for what may take long: in the main thread, Ctrl-C (or whatever a signal's handler
    raises) stops it."""
    if threading.current_thread() is not threading.main_thread():
        call(function, *arguments)
        return
    worker = _Worker(function, arguments)
    try:
        _thread.start_new_thread(worker.run, ())  # Thread.start can itself be interrupted halfway
        worker.wait()
    except BaseException:
        worker.leave()
        raise
    if worker.code:
        _raise(worker.error)


class Handle:
    """Something of the library's, freed once with its last reference. Never copied by fork or
    pickle."""

    def __init__(self, pointer: c.c_void_p, free: Callable[[c.c_void_p], None]):
        self.pointer = pointer
        self._free = free

    def __del__(self) -> None:
        if self.pointer:
            self._free(self.pointer)
            self.pointer = c.c_void_p()


def address(array: Optional[np.ndarray]) -> Optional[int]:
    return None if array is None else array.ctypes.data


def floats(x: Any, name: str = "X") -> np.ndarray:
    """A C-contiguous float32 matrix; no copy where it is one already."""
    x = np.asarray(x)
    if x.ndim != 2:
        raise ValueError(f"{name}: expected 2 dimensions [rows, features], found {x.ndim}")
    return np.ascontiguousarray(x, dtype=np.float32)


def texts(names: Sequence[str]) -> Any:
    return (c.c_char_p * len(names))(*(str(n).encode() for n in names))
