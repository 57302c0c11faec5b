"""A bundle, loaded into this process: what the server answers, without the server."""
from __future__ import annotations

import ctypes as c
import os
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

import numpy as np

from . import _native as native
from ._native import Path

FIELDS = ("title", "description", "bullets", "brand", "color", "category")


def text_of(value: Optional[str]) -> native.Text:
    raw = (value or "").encode()
    return native.Text(raw, len(raw))


def product_of(product: Union[str, Mapping[str, Any]]) -> native.Product:
    if isinstance(product, str):
        product = {"id": product}
    unknown = set(product) - {"id", *FIELDS}
    if unknown:
        raise ValueError(f"product: unknown field '{sorted(unknown)[0]}' "
                         f"(expected id, {', '.join(FIELDS)})")
    out = native.Product(id=text_of(product.get("id")), has_text=any(f in product for f in FIELDS))
    for field in FIELDS:
        setattr(out, field, text_of(product.get(field)))
    return out


class Bundle:
    """The folder that ``medley run`` ends in (``workspace/bundle/current``). Threads may share it;
    pickled, it is opened again by its path.

    Attributes: ``id``, ``classes``, ``models``, ``gains`` (of classes, for ranking), ``cascade`` (its
    models in stages, or an empty list), ``calibration`` ("none", "temperature" or "isotonic"),
    ``folder``.
    """

    def __init__(self, folder: Path):
        self.folder = os.path.abspath(folder)
        pointer = c.c_void_p()
        native.call_long(native.lib.medley_bundle_open, os.fsencode(folder), c.byref(pointer))
        self._handle = native.Handle(pointer, native.lib.medley_bundle_close)
        lib = native.lib
        self.id = lib.medley_bundle_id(pointer).decode()
        self.classes = [lib.medley_bundle_class(pointer, k).decode()
                        for k in range(lib.medley_bundle_classes(pointer))]
        self.gains = np.array([lib.medley_bundle_gain(pointer, k)
                               for k in range(len(self.classes))])
        self.models = [lib.medley_bundle_model(pointer, m).decode()
                       for m in range(lib.medley_bundle_models(pointer))]
        base = np.empty(len(self.classes), np.float64)
        lib.medley_bundle_base(pointer, native.address(base))
        self.base = base
        self.cascade = [self.models[lib.medley_bundle_stage_model(pointer, j)]
                        for j in range(lib.medley_bundle_stages(pointer))]
        self.calibration = lib.medley_bundle_calibration(pointer).decode()

    def __reduce__(self) -> Any:
        return Bundle, (self.folder,)

    def classify(self, query: str, products: Sequence[Union[str, Mapping[str, Any]]], *,
                 locale: str = "us", models: Optional[Sequence[str]] = None,
                 explain: bool = False, deadline_ms: float = 0,
                 predictions: Optional[Mapping[str, Any]] = None) -> List[Dict[str, Any]]:
        """Judges one query's candidates, which are judged together: at most 1,000 products, each an
        id or ``{"id", "title", "description", "bullets", "brand", "color", "category"}`` (text wins
        over an id).

        Each answer has ``label``, ``probabilities`` (by class), ``margins``, ``known_product``,
        ``models_used``, ``models_failed`` (asked in vain), ``models_late`` (without an answer after
        ``deadline_ms``; 0 waits for all); with ``explain`` also ``contributions``: by model (and
        ``"context"``) and class, which add up, with ``base``, to the margins. Of a bundle with a
        cascade, and without ``models``, also ``cascade_stage``, the number of models that it took,
        and with ``explain`` a ``base`` of its own. Raises ``ValueError`` for an empty query, no
        products or an unknown field; Ctrl-C stops it.

        ``predictions`` are what models say already: a model's name to an array of shape [products,
        classes], with rows of NaN for products that it has not judged. Nobody asks the model for the
        others; ``models=[]`` asks no model at all.
        """
        names = set(models or ())
        if names - set(self.models):
            raise ValueError(f"no model '{sorted(names - set(self.models))[0]}' "
                             f"(there are {', '.join(self.models)})")
        mask = sum(1 << m for m, name in enumerate(self.models) if name in names)
        n, k, m = len(products), len(self.classes), len(self.models)
        items = (native.Product * n)(*(product_of(p) for p in products))
        results = (native.Result * n)()
        values = np.zeros((n, m + 1, k), np.float32) if explain else None
        given = None if predictions is None else self._given(predictions, n)
        options = native.ClassifyOptions(mask, native.address(values), deadline_ms=deadline_ms,
                                         given=native.address(given),
                                         only_given=given is not None and models is not None
                                         and not names)
        native.call_long(native.lib.medley_bundle_classify, self._handle.pointer, text_of(query),
                         text_of(locale), items, n, c.byref(options), results)
        return [self._answer(results[i], None if values is None else values[i])
                for i in range(n)]

    def _given(self, predictions: Mapping[str, Any], n: int) -> np.ndarray:
        k = len(self.classes)
        given = np.full((n, len(self.models), k), np.nan, np.float32)
        for name, rows in predictions.items():
            if name not in self.models:
                raise ValueError(f"predictions: no model '{name}' (there are {', '.join(self.models)})")
            rows = np.asarray(rows, np.float32)
            if rows.shape != (n, k):
                raise ValueError(f"predictions of '{name}': shape {rows.shape}, expected {(n, k)}")
            given[:, self.models.index(name)] = rows
        return given

    def _answer(self, r: native.Result, values: Optional[np.ndarray]) -> Dict[str, Any]:
        k = len(self.classes)
        answer: Dict[str, Any] = {
            "label": self.classes[r.label],
            "probabilities": dict(zip(self.classes, r.probabilities[:k])),
            "margins": dict(zip(self.classes, r.margins[:k])),
            "known_product": r.known_product,
            "models_used": [n for m, n in enumerate(self.models) if r.models_used >> m & 1],
            "models_late": [n for m, n in enumerate(self.models) if r.models_late >> m & 1],
            "models_failed": [n for m, n in enumerate(self.models) if r.models_failed >> m & 1],
        }
        if r.stages:
            answer["cascade_stage"] = r.stages
        if values is not None and r.stages:
            base = np.empty(k, np.float64)
            native.lib.medley_bundle_stage_base(self._handle.pointer, r.stages,
                                                native.address(base))
            answer["base"] = base
        if values is not None:
            answer["contributions"] = {
                name: dict(zip(self.classes, values[m].tolist()))
                for m, name in enumerate([*self.models, "context"])}
        return answer
