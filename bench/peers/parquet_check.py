"""Parquet beside other implementations: what pyarrow, DuckDB and fastparquet write, Medley reads with the same values (all
encodings, codecs and versions of pages they have); what Medley writes, pyarrow, DuckDB and pandas read. TAP on
stdout; the exit status is the verdict.

  make parquet-check    needs pyarrow, numpy; duckdb, fastparquet and pandas where they are there
"""
import datetime
import decimal
import itertools
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from common import BUILD

try:
    import duckdb
except ImportError:
    duckdb = None
try:
    import fastparquet
except ImportError:
    fastparquet = None
try:
    import pandas
except ImportError:
    pandas = None

ROWS = 700
WORDS = ["usb cable", "Kabel ä", "充電器", "", "tab\tnew\nline\\x", "🎧" * 5, "long " * 200]
DELTA = {"i8": "DELTA_BINARY_PACKED", "i32": "DELTA_BINARY_PACKED", "i64": "DELTA_BINARY_PACKED",
         "u64": "DELTA_BINARY_PACKED", "steady": "DELTA_BINARY_PACKED", "us": "DELTA_BINARY_PACKED",
         "word": "DELTA_LENGTH_BYTE_ARRAY", "id": "DELTA_BYTE_ARRAY", "fixed": "DELTA_BYTE_ARRAY",
         "flag": "RLE", "f32": "BYTE_STREAM_SPLIT", "f64": "BYTE_STREAM_SPLIT"}
SPLIT = {name: "BYTE_STREAM_SPLIT" for name in ("i32", "i64", "u64", "f32", "f64", "fixed", "half")}
tests = failures = 0


def check(good, name, why=""):
    global tests, failures
    tests += 1
    failures += not good
    print(f"{'' if good else 'not '}ok {tests} - {name}", flush=True)
    if not good and why:
        print("# " + str(why)[:400].replace("\n", "\n# "), flush=True)


# ---- tables ----

def table(seed, nulls):
    rng = np.random.default_rng(seed)

    def column(values, kind):
        return pa.array([None if rng.random() < nulls else v for v in values], kind)

    def whole(low, high):
        return [int(x) for x in rng.integers(low, high, ROWS, dtype=np.int64)]

    day = datetime.date(1900, 1, 1)
    return pa.table({
        "i8": column(whole(-128, 128), pa.int8()),
        "u16": column(whole(0, 1 << 16), pa.uint16()),
        "i32": column(whole(-2**31, 2**31), pa.int32()),
        "i64": column([int(x) >> int(s) for x, s in zip(whole(-2**63, 2**63 - 1), whole(0, 63))], pa.int64()),
        "u32": column(whole(0, 2**32), pa.uint32()),
        "u64": column([2 * x + 1 for x in whole(0, 2**63 - 1)], pa.uint64()),
        "steady": column([10**12 + 3 * i for i in range(ROWS)], pa.int64()),
        "half": column([np.float16(x) for x in rng.normal(size=ROWS)], pa.float16()),
        "f32": column([float(np.float32(x)) for x in rng.normal(size=ROWS)], pa.float32()),
        "f64": column([float("nan") if i % 50 == 0 else float(x) for i, x in enumerate(rng.normal(size=ROWS))],
                      pa.float64()),
        "flag": column([bool(x) for x in rng.integers(0, 2, ROWS)], pa.bool_()),
        "word": column([WORDS[x] for x in rng.integers(0, len(WORDS), ROWS)], pa.string()),
        "large": column([WORDS[x] for x in rng.integers(0, len(WORDS), ROWS)], pa.large_string()),
        "id": column([f"B0{i // 3:05d}{i}" for i in range(ROWS)], pa.string()),
        "fixed": column([b"%05d" % x for x in rng.integers(0, 99999, ROWS)], pa.binary(5)),
        "brand": pa.array([WORDS[x] for x in rng.integers(0, 4, ROWS)], pa.string()).dictionary_encode(),
        "day": column([day + datetime.timedelta(x) for x in whole(0, 60000)], pa.date32()),
        "ms": column(whole(-10**12, 2 * 10**12), pa.timestamp("ms", tz="UTC")),
        "us": column(whole(-10**15, 2 * 10**15), pa.timestamp("us")),
        "noon": column(whole(0, 86400 * 10**6), pa.time64("us")),
        "price": column([decimal.Decimal(x).scaleb(-3) for x in whole(-10**9, 10**9)], pa.decimal128(12, 3)),
        "vast": column([decimal.Decimal(x).scaleb(-5) * 10**15 for x in whole(-10**17, 10**17)],
                       pa.decimal128(38, 5)),
        "vaster": column([decimal.Decimal(x).scaleb(-60, decimal.Context(99)) * 10**50 for x in whole(-10**17, 10**17)],
                         pa.decimal256(76, 60)),
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
        utc = "Z" if value.tzinfo else ""
        return value.replace(tzinfo=None).isoformat() + utc
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def same(mine, value):
    if isinstance(value, float) or isinstance(value, np.floating):
        got = float(mine)
        return (math.isnan(got) and math.isnan(value)) or float(value) == got or \
            np.float32(got) == np.float32(value)
    if isinstance(value, (datetime.datetime, datetime.time)) and "." in mine:
        mine = mine.rstrip("Z")
        digits = mine.split(".")[1]
        wanted = text(value).rstrip("Z").split(".")
        return mine.split(".")[0] == wanted[0] and digits.ljust(9, "0") == wanted[1].ljust(9, "0")
    return mine == text(value)


def differences(path, expected):
    """Cells that Medley reads otherwise than `expected`; a text says why none was read."""
    done = subprocess.run([BUILD / "bench/bench_parquet", path, "--dump"], capture_output=True)
    if done.returncode:
        return done.stderr.decode()
    lines = done.stdout.decode("utf-8").split("\n")[:-1]
    if len(lines) != expected.num_rows:
        return f"{len(lines)} rows instead of {expected.num_rows}"
    wrong = []
    columns = [c.to_pylist() for c in expected.columns]
    for i, line in enumerate(lines):
        for name, mine, column in zip(expected.column_names, line.split("\t"), columns):
            if not same(mine, column[i]):
                wrong.append((i, name, mine, column[i]))
    return wrong[:3] or None


# ---- reading ----

def read_pyarrow(folder):
    path = folder / "x.parquet"
    versions = itertools.product(("1.0", "2.4", "2.6"), ("1.0", "2.0"), ("none", "snappy", "gzip", "zstd"))
    for (version, page, codec), nulls in itertools.product(versions, (0, 0.2)):
        wrong = []
        for name, options in {
            "dictionary": {},
            "plain": {"use_dictionary": False},
            "delta": {"use_dictionary": False, "column_encoding": DELTA},
            "split": {"use_dictionary": False, "column_encoding": SPLIT},
            "small": {"data_page_size": 300, "row_group_size": 150, "dictionary_pagesize_limit": 400,
                      "write_page_checksum": True, "write_page_index": True},
            "int96": {"use_deprecated_int96_timestamps": True},
        }.items():
            source = table(zlib.crc32(f"{page} {codec}".encode()) % 1000, nulls)
            try:
                pq.write_table(source, path, version=version, data_page_version=page, compression=codec,
                               **options)
            except (pa.ArrowException, OSError) as e:
                print(f"# pyarrow writes no {name} in {version}: {e}")
                continue
            if (bad := differences(path, pq.read_table(path))):
                wrong.append((name, bad))
        check(not wrong, f"pyarrow {version}, pages {page}, {codec}, {nulls:.0%} nulls", wrong)
    for page, codec in itertools.product(("1.0", "2.0"), ("none", "snappy", "gzip", "zstd")):
        pq.write_table(table(1, 1), path, data_page_version=page, compression=codec)
        check(not (bad := differences(path, pq.read_table(path))), f"nulls alone, pages {page}, {codec}", bad)
    pq.write_table(table(1, 0).slice(0, 0), path)
    check(not (bad := differences(path, pq.read_table(path))), "no rows", bad)


def read_duckdb(folder):
    if not duckdb:
        return check(True, "no duckdb here # skip")
    path = folder / "duck.parquet"
    for codec, version, size in itertools.product(("snappy", "zstd", "gzip", "uncompressed"), ("V1", "V2"),
                                                  (2048, 122880)):
        source = table(3, 0.1).drop_columns(["half", "fixed", "vaster"])
        duckdb.execute(f"copy source to '{path}' (format parquet, compression {codec}, "
                       f"parquet_version {version}, row_group_size {size})")
        # pyarrow 26 refuses the DELTA blocks of DuckDB's V2: DuckDB's own reading counts.
        expected = duckdb.sql(f"select * from '{path}'").to_arrow_table()
        check(not (bad := differences(path, expected)), f"DuckDB {version}, {codec}, groups of {size}", bad)
    duckdb.execute(f"copy (select range as id, 'label ' || range % 5 as label, range * 0.5 as p "
                   f"from range(300000)) to '{path}' (format parquet)")
    check(not (bad := differences(path, pq.read_table(path))), "DuckDB, 300,000 rows", bad)


def read_fastparquet(folder):
    """One file, and a folder of parts beside a `_metadata`; both as pyarrow reads them."""
    if not fastparquet or not pandas:
        return check(True, "no fastparquet here # skip")
    wide = table(4, 0.2).select(["i32", "i64", "u32", "f32", "f64", "flag", "word", "id", "brand", "us"])
    frame = wide.to_pandas(types_mapper={pa.int32(): pandas.Int32Dtype(), pa.int64(): pandas.Int64Dtype(),
                                         pa.uint32(): pandas.UInt32Dtype()}.get)
    frame["us"] = frame["us"].astype("datetime64[ns]")
    for codec, scheme in itertools.product((None, "SNAPPY", "GZIP", "ZSTD"), ("simple", "hive")):
        path = folder / f"fastparquet-{codec}-{scheme}.parquet"
        fastparquet.write(str(path), frame, compression=codec, file_scheme=scheme, row_group_offsets=ROWS // 3)
        for part in sorted(path.glob("*.parquet")) if scheme == "hive" else [path]:
            why = differences(part, pq.ParquetFile(part).read())
            check(why is None, f"fastparquet, {codec}, {scheme}: {part.name}", why)


def refused(folder):
    path = folder / "nested.parquet"
    nested = {"list": pa.array([["a"], []]), "struct": pa.array([{"a": 1}, None]),
              "map": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int32()))}
    for name, column in nested.items():
        pq.write_table(pa.table({"id": ["a", "b"], name: column}), path)
        why = differences(path, pa.table({"id": ["a", "b"]}))
        check(isinstance(why, str) and f"column '{name}." in why and "nested" in why, f"a {name} is refused by name",
              why)
    for codec in ("lz4", "brotli"):
        pq.write_table(pa.table({"id": ["a", "b"] * 50}), path, compression=codec)
        why = differences(path, pa.table({"id": ["a", "b"] * 50}))
        check(isinstance(why, str) and "column 'id' is compressed with" in why, f"{codec} is refused by name", why)


# ---- writing ----

def written_sources():
    for seed, nulls in ((1, 0), (2, 0.3), (3, 1)):
        wide = table(seed, nulls)
        yield f"{nulls:.0%} nulls", wide.select(["i32", "i64", "steady", "f32", "f64", "word", "id", "none"])
    n = 300000
    rng = np.random.default_rng(5)
    yield "300,000 predictions", pa.table({
        "example_id": [str(i) for i in range(n)], "label": pa.array(np.array(list("ESCI"))[rng.integers(0, 4, n)]),
        "p_E": pa.array(rng.random(n), pa.float32()),
        "p_none": pa.array(rng.random(n), pa.float32(), mask=rng.random(n) < 0.3),
        "stage": pa.array(rng.integers(1, 4, n), pa.int32())})
    long = ["é" * 40 + str(i) for i in range(200)] + ["\U0010ffff" * 30]
    yield "long texts", pa.table({"t": long, "low": ["z" * 200] * len(long)})


def statistics(name, path, source):
    meta = pq.ParquetFile(path).metadata
    good = meta.created_by.startswith("medley version ") and meta.num_rows == source.num_rows
    at = 0
    for g in range(meta.num_row_groups):
        group = meta.row_group(g)
        part = source.slice(at, group.num_rows)
        at += group.num_rows
        for i in range(group.num_columns):
            values = part.column(i).combine_chunks()
            if pa.types.is_floating(values.type):
                values = values.filter(pc.invert(pc.is_nan(values)))
            column = group.column(i)
            s = column.statistics
            good &= s.null_count == part.column(i).null_count
            if s.has_min_max:
                ends = pc.min_max(values).as_py()
                exact = not pa.types.is_string(values.type) or len(ends["max"].encode()) <= 64
                # Arrow compares texts as bytes, as the format asks.
                good &= s.min <= ends["min"] and s.max >= ends["max"]
                good &= not exact or s.max == ends["max"]
            else:
                good &= part.column(i).null_count == len(part) or name.startswith("long texts") or \
                    pa.types.is_floating(values.type) and len(values) == 0
    check(good and at == source.num_rows, f"{name}: counts, minima and maxima hold", meta)


def write(folder):
    path, copy = folder / "x.parquet", folder / "copy.parquet"
    for (name, source), codec, rows in itertools.product(written_sources(), ("zstd", "snappy", "plain"), (0, 1000)):
        if codec != "zstd" and rows:
            continue
        pq.write_table(source, path)
        done = subprocess.run([BUILD / "bench/parquet_copy", path, copy, codec, str(rows)], capture_output=True,
                              text=True)
        if done.returncode:
            check(False, name, done.stderr)
            continue
        name = f"{name}, {codec}" + (f", groups of {rows}" if rows else "")
        back = pq.ParquetFile(copy, page_checksum_verification=True).read()
        check(back.cast(source.schema).combine_chunks() == source.combine_chunks() or
              pa.Table.to_pylist(back).__repr__() == pa.Table.to_pylist(source).__repr__(), f"pyarrow: {name}")
        statistics(name, copy, source)
        if duckdb:
            rows_of = duckdb.sql(f"select * from '{copy}'").fetchall()
            check(repr(rows_of) == repr([tuple(r.values()) for r in source.to_pylist()]), f"DuckDB: {name}")
            first = source.column_names[0]
            for value in source.column(0).drop_null().slice(0, 3).to_pylist():  # statistics skip groups
                n = duckdb.execute(f"select count(*) from '{copy}' where \"{first}\" = ?", [value]).fetchall()[0][0]
                wanted = pc.sum(pc.equal(source.column(0), value)).as_py()
                if n != wanted:
                    check(False, f"DuckDB finds {value!r}", (n, wanted))
        if pandas:
            frame = pandas.read_parquet(copy)
            check(pa.Table.from_pandas(frame, source.schema, preserve_index=False).to_pylist().__repr__() ==
                  pandas_like(source).__repr__(), f"pandas: {name}")


def pandas_like(source):
    """What a round trip through pandas leaves of a table: NaN and null are one there."""
    return pa.Table.from_pandas(source.to_pandas(), source.schema, preserve_index=False).to_pylist()


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        read_pyarrow(folder)
        read_duckdb(folder)
        read_fastparquet(folder)
        refused(folder)
        write(folder)
    print(f"1..{tests}")
    print(json.dumps({"failed": failures}), file=sys.stderr)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
