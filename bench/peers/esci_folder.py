"""A folder of the official size and shape of the Shopping Queries Dataset, of invented texts: 2,621,288 examples, 1,814,924
products, 130,652 queries in three locales, as pandas writes them (snappy, one long row group). For measuring
`medley import --esci`; needs pyarrow and numpy, and 2 GB of disk.

  esci_folder.py OUT [SHARE]        SHARE of the size, 1 unless given
"""
import pathlib
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

EXAMPLES, PRODUCTS, QUERIES = 2_621_288, 1_814_924, 130_652
SMALL = 0.427  # of the examples: 1,118,011
SOURCES = ["other", "behavioral", "negations", "parse_pattern"]
SYLLABLES = ["ka", "lo", "mi", "ter", "san", "vel", "dor", "un", "pre", "sti", "om", "ble", "ra", "ni", "gu"]
LOCALES = np.array(["us", "jp", "es"], dtype=object)


def words(rng, n):
    return ["".join(SYLLABLES[s] for s in rng.integers(0, len(SYLLABLES), rng.integers(2, 5))) for _ in range(n)]


def texts(rng, vocabulary, n, low, high):
    """n texts of so many words each, cut from one long run of words."""
    run = np.array(vocabulary, dtype=object)[rng.zipf(1.3, 200_000) % len(vocabulary)]
    starts = rng.integers(0, len(run) - high, n)
    lengths = rng.integers(low, high, n)
    return [" ".join(run[s:s + k]) for s, k in zip(starts, lengths)]


def products(path, rng, vocabulary, count):
    schema = pa.schema([(name, pa.string()) for name in (
        "product_id", "product_title", "product_description", "product_bullet_point", "product_brand",
        "product_color", "product_locale")])
    brands = words(rng, 20000)
    with pq.ParquetWriter(path, schema, compression="snappy") as out:
        parts = []
        for first in range(0, count, 100_000):
            n = min(100_000, count - first)
            some = lambda low, high, share: pa.array(texts(rng, vocabulary, n, low, high),
                                                     mask=rng.random(n) > share)
            parts.append(pa.table({
                "product_id": [f"B{i:09d}" for i in range(first, first + n)],
                "product_title": some(5, 28, 1), "product_description": some(20, 200, 0.52),
                "product_bullet_point": some(30, 190, 0.85),
                "product_brand": pa.array(np.array(brands, dtype=object)[rng.zipf(1.2, n) % len(brands)]),
                "product_color": some(1, 3, 0.65),
                "product_locale": LOCALES[np.arange(first, first + n) % 10 % 7 % 3],
            }, schema))
            if len(parts) == 10 or first + n == count:
                out.write_table(pa.concat_tables(parts), row_group_size=1 << 20)
                parts = []


def examples(folder, rng, vocabulary, count, n_products, n_queries):
    query = np.sort(rng.integers(0, n_queries, count))
    locale = (np.arange(n_queries) % 10 % 7 % 3)[query]
    shown = rng.permutation(n_products)[np.arange(count) % n_products]
    locale = (shown % 10 % 7 % 3)  # a pair has the locale of its product
    text = [f"{t} {i}" for i, t in enumerate(texts(rng, vocabulary, n_queries, 1, 6))]
    small = (rng.random(n_queries) < SMALL)[query]
    test = (rng.random(n_queries) < 0.25)[query]
    table = pa.table({
        "example_id": np.arange(count), "query": np.array(text, dtype=object)[query],
        "query_id": query * 3 + locale, "product_id": [f"B{i:09d}" for i in shown],
        "product_locale": LOCALES[locale], "esci_label": np.array(list("ESCI"), dtype=object)[
            np.searchsorted([0.65, 0.87, 0.9], rng.random(count))],
        "small_version": small.astype(np.int64), "large_version": np.ones(count, np.int64),
        "split": np.array(["train", "test"], dtype=object)[test.astype(int)]})
    pq.write_table(table, folder / "shopping_queries_dataset_examples.parquet", compression="snappy",
                   row_group_size=1 << 20)
    with open(folder / "shopping_queries_dataset_sources.csv", "w") as f:
        f.write("query_id,source\n")
        for q in range(n_queries):
            for l in range(3):
                f.write(f"{q * 3 + l},{SOURCES[q % 4]}\n")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder, share = pathlib.Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    vocabulary = words(rng, 60000)
    sizes = [max(10, int(n * share)) for n in (EXAMPLES, PRODUCTS, QUERIES)]
    examples(folder, rng, vocabulary, *sizes)
    products(folder / "shopping_queries_dataset_products.parquet", rng, vocabulary, sizes[1])
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size / 1e6:10.1f} MB  {path}")


if __name__ == "__main__":
    main()
