"""A small shop, trained once, that several tests ask."""
import subprocess

import pytest

import medley
from medley.workspace import program

CONFIG = """\
data: {examples: ../shop/examples.csv, products: ../shop/products.csv, events: ../shop/events.jsonl}
models:
  - {name: small, kind: lm, layers: 1, hidden: 32, heads: 2, vocabulary: 400, max_tokens: 32, epochs: 1}
  - {name: sage, kind: gnn, layer: sage, hidden: 16, epochs: 2}
stacking: {folds: 2}
ensemble: {rounds: 20}
budget: {pin: [small, sage]}
"""


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("medley")
    subprocess.run([program(), "synth", "--products", "120", "--queries", "50", "-o",
                    folder / "shop"], check=True, capture_output=True)
    w = medley.Workspace.create(folder / "ws", folder / "shop", CONFIG)
    w.run()
    return w
