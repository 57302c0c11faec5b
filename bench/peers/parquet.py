"""Reading Parquet beside pyarrow, one thread: a file of a million judged pairs and one of 60,000
products, both drawn from the public extract. CSV on stdout: million rows a second.

  parquet.py            needs ../shared/data/esci (or DATA)
"""
import csv
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common import BUILD, WORK, header, machine, row, version

DATA = pathlib.Path(os.environ.get("DATA", "../shared/data")).resolve() / "esci"
ROUNDS = 7
NUMBERS = {"query_id", "small_version", "large_version"}


def columns(name):
    csv.field_size_limit(1 << 24)
    with open(DATA / name, newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    return {k: np.array([r[k] for r in rows], dtype=object) for k in rows[0]}


def drawn(source, picks, key, ids):
    """Rows of a table, drawn with repetition, with ids of their own."""
    table = columns(source)
    out = {k: v[picks % len(v)] for k, v in table.items()}
    out[key] = ids
    return pa.table({k: pa.array([int(x) for x in v] if k in NUMBERS else v.tolist())
                     for k, v in out.items()})


def files():
    folder = WORK / "parquet"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    if not (folder / "examples.parquet").exists():
        picks = np.sort(rng.integers(0, 1 << 30, 1_000_000))
        table = drawn("examples.csv", picks, "example_id", np.arange(len(picks)))
        pq.write_table(table, folder / "examples.parquet", compression="snappy")
    if not (folder / "products.parquet").exists():
        picks = rng.integers(0, 1 << 30, 60_000)
        ids = np.array([f"B{i:09d}" for i in range(len(picks))], dtype=object)
        table = drawn("products.csv", picks, "product_id", ids)
        pq.write_table(table, folder / "products.parquet", compression="snappy")
    return folder


def theirs(path):
    start = time.process_time()
    n = pq.ParquetFile(path).read(use_threads=False).num_rows
    return time.process_time() - start, n


def ours(path):
    answer = json.loads(subprocess.check_output([BUILD / "bench/bench_parquet", path]))
    return answer["seconds"], answer["rows"]


def main():
    if not (DATA / "examples.csv").exists():
        sys.exit(f"{DATA}/examples.csv is missing")
    machine()
    header()
    pa.set_cpu_count(1)
    folder = files()
    for name in ("examples", "products"):
        path = folder / f"{name}.parquet"
        pairs = [(ours(path), theirs(path)) for _ in range(ROUNDS)]
        mine, other = min(p[0] for p in pairs), min(p[1] for p in pairs)
        assert mine[1] == other[1]
        speeds = [n / seconds / 1e6 for seconds, n in (mine, other)]
        row(f"parquet_{name}", *speeds, version("pyarrow"), speeds[0] / speeds[1])


if __name__ == "__main__":
    main()
