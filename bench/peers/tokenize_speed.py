"""Tokenizing product titles beside Hugging Face's tokenizers, one thread each, CPU seconds, the best of
several runs taken in turn. CSV rows on stdout, talk on stderr.

Needs ../shared/data (real vocabularies and titles); without it there is nothing to compare.
"""
import csv
import json
import os
import pathlib
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

BUILD = pathlib.Path(os.environ.get("MEDLEY_BUILD", "build/release"))
DATA = pathlib.Path(os.environ.get("DATA", "../shared/data"))
KINDS = {"wordpiece": "bert-base-uncased", "bpe": "roberta-base", "unigram": "deberta-v3",
         "unigram_small": "xlmr-like-4.50"}
ROUNDS = 5


def titles(path):
    with open(DATA / "esci/products.csv", encoding="utf-8", newline="") as f:
        lines = [row["product_title"].replace("\n", " ") for row in csv.DictReader(f)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    return lines


def rows():
    try:
        import tokenizers
    except ImportError:
        sys.exit("the package 'tokenizers' is missing")
    if not (DATA / "esci/products.csv").exists():
        sys.exit(f"{DATA}/esci/products.csv is missing")
    path = BUILD / "bench/titles.txt"
    lines = titles(path)
    for kind, folder in KINDS.items():
        file = DATA / "golden/tokenizers" / folder / "tokenizer.json"
        ours, theirs, counts = [], [], set()
        for _ in range(ROUNDS):
            done = subprocess.run([BUILD / "bench/bench_tokenize", file, path, "1"], check=True,
                                  capture_output=True, text=True)
            result = json.loads(done.stdout)
            ours.append(result["seconds"])
            tokenizer = tokenizers.Tokenizer.from_file(str(file))  # a cold cache
            start = time.process_time()
            encodings = tokenizer.encode_batch(lines, add_special_tokens=False)
            theirs.append(time.process_time() - start)
            counts.add((result["tokens"], sum(len(e.ids) for e in encodings)))
        a, b = min(ours), min(theirs)
        print(f"tokenize_{kind},{a:.5f},{b:.5f},tokenizers {tokenizers.__version__},{b / a:.2f}",
              flush=True)
        print(f"# {folder}: {len(lines)} titles, tokens ours and theirs {counts}, ours "
              f"{[round(x, 4) for x in ours]}, theirs {[round(x, 4) for x in theirs]}",
              file=sys.stderr)


if __name__ == "__main__":
    print("name,medley,peer,peer_version,ratio")
    rows()
