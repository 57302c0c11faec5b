"""What stands for your own models in ensemble_in_20_lines.ipynb: four small ones over words, and the
tables of what they say, as yours would be written. numpy and medley are all it needs.

A table has a row a judged pair: example_id, p_E, p_S, p_C, p_I. For pairs of the training split the
predictions are out of fold (the model that says them has not seen their query); for the others they
come from a model of all training pairs. `medley run` refuses tables for which that is not so.
"""
import collections
import csv
import math
import os
import pathlib
import re
import subprocess
import tempfile

import numpy as np

import medley
from medley.workspace import program

CLASSES = "ESCI"
FOLDS = 5


def shop():
    """A folder with examples.csv and products.csv: MEDLEY_DATA, the ESCI extract where it lies beside
    the repository, else a small synthetic shop."""
    beside = pathlib.Path(__file__).resolve().parents[2].parent / "shared" / "data" / "esci"
    for place in (os.environ.get("MEDLEY_DATA"), beside):
        if place and (pathlib.Path(place) / "examples.csv").exists():
            return pathlib.Path(place)
    made = pathlib.Path(tempfile.mkdtemp(prefix="medley-shop-"))
    subprocess.run([program(), "synth", "--products", "600", "--queries", "200", "-o", made],
                   check=True, capture_output=True)
    return made


def rows(data, name):
    with open(pathlib.Path(data) / name, encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f))


def words(text):
    return re.findall(r"\w+", text.lower())


def trigrams(text):
    text = f" {text.lower()} "
    return collections.Counter(text[i:i + 3] for i in range(len(text) - 2))


def overlap(queries, products):
    """Query words in the title, and how long both are."""
    def of(query, product):
        q, title = words(query), set(words(product["product_title"]))
        return [sum(w in title for w in q) / max(len(q), 1), len(q), len(title)]
    return [of(q, p) for q, p in zip(queries, products)]


def characters(queries, products):
    """Cosine of character trigrams, which needs no spaces between words."""
    def of(query, product):
        a, b = trigrams(query), trigrams(product["product_title"])
        dot = sum(n * b[t] for t, n in a.items())
        norm = sum(n * n for n in a.values()) * sum(n * n for n in b.values())
        return [dot / math.sqrt(norm), sum(t in b for t in a) / len(a)]
    return [of(q, p) for q, p in zip(queries, products)]


def bm25(queries, products):
    """BM25 of the query over title, bullets and description."""
    texts = [collections.Counter(words(" ".join((
        p["product_title"], p["product_bullet_point"], p["product_description"])))) for p in products]
    found = collections.Counter(w for t in texts for w in t)
    lengths = np.array([sum(t.values()) for t in texts])
    norm = 1.2 * (0.25 + 0.75 * lengths / lengths.mean())

    def of(i, query):
        score = [math.log(1 + len(texts) / (found[w] + 0.5)) * texts[i][w] * 2.2 /
                 (texts[i][w] + norm[i]) for w in words(query)]
        return [sum(score), min(score, default=0), len(score)]
    return [of(i, q) for i, q in enumerate(queries)]


def coin(queries, products):
    """Knows nothing: a model that the ensemble should find out."""
    return np.random.default_rng(1).normal(size=(len(queries), 1))


MODELS = (overlap, characters, bm25, coin)


def out_of_fold(x, y, fold):
    """Probabilities [n, K]: of each fold by trees that have not seen it; fold -1 is the test split,
    which no tree sees."""
    p = np.empty((len(y), len(CLASSES)), np.float32)
    for held in sorted(set(fold)):
        trees = medley.GBDTClassifier(60, num_leaves=7, random_state=1)
        seen = (fold != held) & (fold >= 0)
        trees.fit(x[seen], y[seen])
        p[np.ix_(fold == held, trees.classes_)] = trees.predict_proba(x[fold == held])
    return p


def predict(data, folder):
    """Writes folder/NAME.csv for every model; returns {name: path}."""
    examples = rows(data, "examples.csv")
    by_id = {(p["product_id"], p["product_locale"]): p for p in rows(data, "products.csv")}
    products = [by_id[e["product_id"], e["product_locale"]] for e in examples]
    queries = [e["query"] for e in examples]
    y = np.array([CLASSES.index(e["esci_label"]) for e in examples])
    number = {q: i for i, q in enumerate(sorted({e["query_id"] for e in examples}))}
    fold = np.array([-1 if e["split"] == "test" else number[e["query_id"]] % FOLDS for e in examples])
    tables, folder = {}, pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for model in MODELS:
        x = np.asarray(model(queries, products), np.float32)
        tables[model.__name__] = folder / f"{model.__name__}.csv"
        with open(tables[model.__name__], "w", newline="") as f:
            out = csv.writer(f)
            out.writerow(["example_id", *(f"p_{c}" for c in CLASSES)])
            for e, p in zip(examples, out_of_fold(x, y, fold)):
                out.writerow([e["example_id"], *(f"{v:.6f}" for v in p)])
    return tables


def candidates(data):
    """A query of the test split, and the ids of the products that were judged for it."""
    pairs = [e for e in rows(data, "examples.csv") if e["split"] == "test" and e["product_locale"] == "us"]
    query, _ = collections.Counter(e["query"] for e in pairs).most_common(1)[0]
    return query, [e["product_id"] for e in pairs if e["query"] == query]
