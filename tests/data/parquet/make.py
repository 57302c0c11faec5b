"""Small Parquet files, written by Arrow (pyarrow 26) and fastparquet (2026.9), and their values as text, for
tests/test_parquet.c. Needs pyarrow, fastparquet, pandas and numpy; the seed is fixed."""
import datetime
import decimal
import pathlib

import fastparquet
import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).resolve().parent
ROWS = 60
WORDS = ["usb cable", "Kabel ä", "充電器", "", "tab\tnew\nline\\x", "🎧" * 5, "long " * 20]
DELTA = {"i32": "DELTA_BINARY_PACKED", "i64": "DELTA_BINARY_PACKED", "when": "DELTA_BINARY_PACKED",
         "word": "DELTA_LENGTH_BYTE_ARRAY", "id": "DELTA_BYTE_ARRAY", "fixed": "DELTA_BYTE_ARRAY",
         "f32": "BYTE_STREAM_SPLIT", "f64": "BYTE_STREAM_SPLIT", "u32": "BYTE_STREAM_SPLIT",
         "flag": "RLE"}


def column(rng, nulls, values, kind):
    return pa.array([None if rng.random() < nulls else v for v in values], kind)


def table(seed, nulls):
    rng = np.random.default_rng(seed)
    c = lambda values, kind: column(rng, nulls, values, kind)
    whole = lambda low, high: [int(x) for x in rng.integers(low, high, ROWS)]
    return pa.table({
        "i32": c(whole(-2**31, 2**31), pa.int32()),
        "i64": c(whole(-2**62, 2**62), pa.int64()),
        "u32": c(whole(0, 2**32), pa.uint32()),
        "f32": c([float(np.float32(x)) for x in rng.normal(size=ROWS)], pa.float32()),
        "f64": c([float(x) for x in rng.normal(size=ROWS)], pa.float64()),
        "flag": c([bool(x) for x in rng.integers(0, 2, ROWS)], pa.bool_()),
        "word": c([WORDS[x] for x in rng.integers(0, len(WORDS), ROWS)], pa.string()),
        "id": c([f"B0{i // 3:05d}{i}" for i in range(ROWS)], pa.string()),
        "fixed": c([b"%05d" % x for x in rng.integers(0, 99999, ROWS)], pa.binary(5)),
        "day": c([datetime.date(1900, 1, 1) + datetime.timedelta(x) for x in whole(0, 60000)],
                 pa.date32()),
        "when": c(whole(-10**12, 2 * 10**12), pa.timestamp("ms", tz="UTC")),
        "price": c([decimal.Decimal(x).scaleb(-3) for x in whole(-10**9, 10**9)],
                   pa.decimal128(12, 3)),
        "none": pa.array([None] * ROWS, pa.string()),
    })


def text(value):
    if value is None:
        return "\\N"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("ascii")
    if isinstance(value, datetime.datetime):
        value = value.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
        return value.replace(".000Z", "Z")
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, float):
        return f"{value!r}"
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def write(name, t, **options):
    pq.write_table(t, HERE / f"{name}.parquet", **options)
    write_text(name)


def write_text(name):
    back = pq.read_table(HERE / f"{name}.parquet")
    rows = zip(*(c.to_pylist() for c in back.columns))
    lines = ["\t".join(back.column_names)] + ["\t".join(text(v) for v in row) for row in rows]
    (HERE / f"{name}.tsv").write_text("\n".join(lines) + "\n")


write("dictionary", table(1, 0.2), compression="snappy", row_group_size=25,
      write_page_checksum=True)
write("plain", table(2, 0), compression="gzip", use_dictionary=False, version="1.0")
write("delta", table(3, 0.1), compression="zstd", use_dictionary=False, column_encoding=DELTA,
      data_page_version="2.0", data_page_size=100)
write("empty", table(4, 0).slice(0, 0), compression="none")
ends = [decimal.Decimal(x) for x in ("9" * 76, "-" + "9" * 76, "0", "1", "-1", "10", "-256", "1" + "0" * 75)]
write("decimals", pa.table({"whole": pa.array(ends, pa.decimal256(76, 0)),
                            "parts": pa.array([x.scaleb(-76, decimal.Context(99)) for x in ends], pa.decimal256(76, 76)),
                            "narrow": pa.array([x.scaleb(-38, decimal.Context(99)) for x in ends[2:7]] + [None] * 3,
                                               pa.decimal128(38, 38))}))
frame = table(5, 0.2).select(["flag", "word", "id", "f32"]).to_pandas()
frame["i64"] = pandas.array([None if i % 7 == 3 else i - 20 for i in range(ROWS)], dtype="Int64")
fastparquet.write(str(HERE / "fastparquet.parquet"), frame, compression="SNAPPY", row_group_offsets=25)
write_text("fastparquet")
nested = pa.table({"id": ["a", "b"], "tags": [["x"], []], "size": [{"w": 1, "h": 2}, None]})
pq.write_table(nested, HERE / "nested.parquet")
pq.write_table(pa.table({"id": ["a", "b"] * 50}), HERE / "lz4.parquet", compression="lz4")
