"""One language model alone: query and product in, class probabilities out."""
from __future__ import annotations

import ctypes as c
import os
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from . import _native as native
from ._native import Path
from .bundle import product_of, text_of

Product = Union[str, Mapping[str, Any]]
Pair = Tuple[str, Product]
BATCH = 8192


def _pair(pair: Any, i: int, locale: str) -> native.Pair:
    try:
        query, product = pair
    except (TypeError, ValueError):
        raise ValueError(f"pair {i}: expected (query, text or fields of a product)") from None
    if not isinstance(query, str):
        raise TypeError(f"pair {i}: the query is no text but {type(query).__name__}")
    if isinstance(product, str):
        product = {"title": product}
    return native.Pair(text_of(query), text_of(locale), product_of(product))


class CrossEncoder:
    """A cross-encoder that Medley trained: ``workspace/models/NAME``, or ``models/NAME`` in a bundle.
    Or a classifier of Hugging Face's (a folder that ``save_pretrained`` wrote: a
    ``...ForSequenceClassification`` of a family that Medley knows), read as sentence-transformers
    reads it. Threads may share it; pickled, it is opened again by its path.

    Parameters
    ----------
    path : the folder. Raises ``MedleyError`` naming the file that is missing or wrong.

    Attributes
    ----------
    classes : names of the K classes, in the order of the probabilities. num_labels : K; 1: a score.
    max_length : tokens of a pair that are read; of longer ones the longest fields are cut first.
    """

    def __init__(self, path: Path):
        pointer = c.c_void_p()
        native.call_long(native.lib.medley_cross_encoder_open, os.fsencode(path), c.byref(pointer))
        lib = native.lib
        self._handle = native.Handle(pointer, lib.medley_cross_encoder_close)
        self.path = os.fspath(path)
        self.classes: List[str] = [lib.medley_cross_encoder_class(pointer, k).decode()
                                   for k in range(lib.medley_cross_encoder_classes(pointer))]
        self.num_labels: int = len(self.classes)
        self.max_length: int = lib.medley_cross_encoder_tokens(pointer)

    def __reduce__(self) -> Any:
        return CrossEncoder, (os.path.abspath(self.path),)

    def predict(self, pairs: Union[Sequence[Pair], Pair], *,
                locale: Union[str, Sequence[str]] = "us", batch_size: int = BATCH) -> np.ndarray:
        """Class probabilities, float32 ``[n, K]``; of one pair that stands alone ``[K]``. Of a model
        with one label, the sigmoid of its logit, ``[n]``; of one pair a number.

        ``pairs`` are n times ``(query, product)``; a product is its title, or a dict of the fields
        that the model reads, out of title, description, bullets, brand, color, category (of Hugging
        Face's models: the title). ``locale``
        is one for all or one a pair. A pair's row does not depend on the others, nor on
        ``batch_size``, the pairs that are handed over at a time. Raises ``ValueError`` or
        ``TypeError`` naming the pair; Ctrl-C stops it.
        """
        alone = len(pairs) == 2 and isinstance(pairs[0], str)
        items: Sequence[Any] = [pairs] if alone else pairs
        n = len(items)
        locales = [locale] * n if isinstance(locale, str) else list(locale)
        if len(locales) != n:
            raise ValueError(f"locale: {len(locales)} for {n} pairs")
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size}: expected 1 or more")
        out = np.empty((n, self.num_labels), np.float32)
        for begin in range(0, n, batch_size):
            end = min(n, begin + batch_size)
            batch = (native.Pair * (end - begin))(
                *(_pair(items[i], i, locales[i]) for i in range(begin, end)))
            native.call_long(native.lib.medley_cross_encoder_predict, self._handle.pointer, batch,
                             end - begin, native.address(out[begin:end]))
        if self.num_labels == 1:
            out = out[:, 0]
        return out[0] if alone else out

    def rank(self, query: str, products: Sequence[Product], *, top_k: Optional[int] = None,
             gains: Optional[Sequence[float]] = None, locale: str = "us") -> List[Dict[str, Any]]:
        """The products from best to worst, ``[{"corpus_id": index, "score": expected gain}]``, the
        first ``top_k`` of them. ``gains[K]`` is what a product of each class is worth (a bundle's
        ``gains``, say); without, the first class counts 1 and the others nothing. Equal scores keep
        their order."""
        worth = np.zeros(self.num_labels) if gains is None else np.asarray(gains, np.float64)
        if worth.shape != (self.num_labels,):
            raise ValueError(f"gains: expected {self.num_labels} numbers, found shape {worth.shape}")
        if gains is None:
            worth[0] = 1
        p = self.predict([(query, p) for p in products], locale=locale)
        scores = p.reshape(len(products), self.num_labels) @ worth
        return [{"corpus_id": int(i), "score": float(scores[i])}
                for i in np.argsort(-scores, kind="stable")[:top_k]]
