"""Inference and training of language models beside ONNX Runtime and torch, in one run, taken in turn.

  lm.py [quick | full | NAME ...]      NAME selects rows by a part of their name

Encoders of MiniLM-L6 and BERT-base shape with the same random weights everywhere, on the token ids of
real pairs: the title alone, and title + bullets + description cut at 256. One thread is timed in CPU
seconds, two in seconds, the best of several rounds. CSV rows on stdout: pairs a second, or milliseconds
(latency, step); ratio > 1: Medley is better. Talk on stderr.

ONNX Runtime: the fused graph of lm_models.py, all graph optimisations; int8 by quantize_dynamic with a
scale per column. `sorted`: batches of 32 of nearly equal length, `arrival`: as they come; both padded to
the longest of the batch. Needs ../shared/data (DATA) for the pairs and the tokenizer.
"""
import csv
import json
import os
import pathlib
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np

import lm_models
import tokenize_speed
from common import BUILD, WORK, header, machine, row, say, version

DATA = pathlib.Path(os.environ.get("DATA", "../shared/data"))
TOKENIZER = DATA / "golden/tokenizers/bert-base-uncased"
FOLDER = WORK / "lm"
BATCH, CUT = 32, 256
PRECISIONS = {"fp32": "float32", "int8": "int8", "bf16": "bfloat16"}
# Pairs by encoder and text, rounds.
SIZES = {"quick": ({"minilm": dict(title=512, full=128, equal=32),
                    "base": dict(title=256, full=64, equal=32)}, 3),
         "full": ({"minilm": dict(title=2048, full=512, equal=64),
                   "base": dict(title=512, full=256, equal=32)}, 5)}


def real_pairs(full, n):
    """Token ids and types of n real pairs, in the order of a seed."""
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(TOKENIZER / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(CUT)
    csv.field_size_limit(1 << 24)
    with open(DATA / "esci/products.csv", encoding="utf-8", newline="") as f:
        products = {(p["product_id"], p["product_locale"]): p for p in csv.DictReader(f)}
    with open(DATA / "esci/examples.csv", encoding="utf-8", newline="") as f:
        examples = [e for e in csv.DictReader(f) if (e["product_id"], e["product_locale"]) in products]
    out = []
    for i in np.random.default_rng(1).permutation(len(examples))[:n]:
        e = examples[i]
        p = products[e["product_id"], e["product_locale"]]
        parts = ["product_title"] + ["product_bullet_point", "product_description"] * full
        encoded = tokenizer.encode(e["query"], " ".join(p[part] or "" for part in parts))
        out.append((encoded.ids, encoded.type_ids))
    return out


def equal_pairs(length, n):
    random = np.random.default_rng(length)
    return [(random.integers(1000, 29000, length).tolist(), [0] * 12 + [1] * (length - 12))
            for _ in range(n)]


def batches(pairs, in_order):
    """Padded feeds of at most BATCH pairs."""
    order = range(len(pairs)) if in_order else sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]))
    out = []
    for begin in range(0, len(pairs), BATCH):
        part = [pairs[i] for i in list(order)[begin:begin + BATCH]]
        longest = max(len(ids) for ids, _ in part)
        pad = lambda rows: np.array([r + [0] * (longest - len(r)) for r in rows], np.int32)
        out.append(dict(ids=pad([ids for ids, _ in part]), types=pad([types for _, types in part]),
                        mask=pad([[1] * len(ids) for ids, _ in part])))
    return out


class Medley:
    """A worker process: one model, one set of inputs, one precision."""

    def __init__(self, model, pairs, precision, threads):
        self.out = FOLDER / "out.bin"
        offsets = np.cumsum([0] + [len(ids) for ids, _ in pairs])
        flat = [x for ids, _ in pairs for x in ids] + [x for _, types in pairs for x in types]
        path = FOLDER / "inputs.bin"
        np.array([len(pairs), *offsets, *flat], np.int32).tofile(path)
        self.process = subprocess.Popen(
            [BUILD / "bench/lm_worker", model, path, PRECISIONS[precision], self.out], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=dict(os.environ, MEDLEY_THREADS=str(threads)))
        self.wall = threads > 1

    def run(self, job="all"):
        self.process.stdin.write(job + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["seconds" if self.wall else "cpu"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        return np.fromfile(self.out, np.float32).reshape(-1, lm_models.CLASSES)


def timed(run, threads):
    clock = time.perf_counter if threads > 1 else time.process_time
    start = clock()
    run()
    return clock() - start


class Runtime:
    def __init__(self, file, threads):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(file), options,
                                                    providers=["CPUExecutionProvider"])
        self.threads = threads

    def answers(self, feeds):
        return [self.session.run(None, feed)[0] for feed in feeds]

    def run(self, feeds):
        return timed(lambda: self.answers(feeds), self.threads)


class Torch:
    """Transformers in eager mode."""

    def __init__(self, model, threads):
        import torch
        import transformers
        torch.set_num_threads(threads)
        self.torch, self.threads = torch, threads
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self.model = transformers.BertForSequenceClassification.from_pretrained(model).eval()

    def arguments(self, feed):
        cast = lambda x: self.torch.from_numpy(x.astype(np.int64))
        return dict(input_ids=cast(feed["ids"]), token_type_ids=cast(feed["types"]),
                    attention_mask=cast(feed["mask"]))

    def run(self, feeds):
        with self.torch.inference_mode():
            return timed(lambda: [self.model(**self.arguments(f)) for f in feeds], self.threads)

    def train(self, feeds):
        torch = self.torch
        self.model.train()
        optimiser = torch.optim.AdamW(self.model.parameters(), lr=3e-5, weight_decay=0.01)

        def steps():
            for f in feeds:
                labels = torch.arange(len(f["ids"])) % lm_models.CLASSES
                loss = self.model(**self.arguments(f), labels=labels).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                optimiser.step()
                optimiser.zero_grad()

        best = min(timed(steps, self.threads) for _ in range(2))
        self.model.eval()
        return best


class Bench:
    def __init__(self, names):
        size = "full" if names == ["full"] else "quick"
        self.wanted = [] if names in (["quick"], ["full"]) else names
        self.counts, self.rounds = SIZES[size]

    def wants(self, name):
        return not self.wanted or any(part in name for part in self.wanted)

    def take_turns(self, ours, peers, job="all"):
        """Best seconds of Medley and of each peer: peers[name] = a function."""
        ours.run(job)
        best, least = [], {}
        for turn in range(self.rounds):
            best.append(ours.run(job))
            for name, run in peers.items():
                if turn == 0 or name != "arrival":  # far from close, and slow
                    least[name] = min(run(), least.get(name, np.inf))
        return min(best), least

    def throughput(self, encoder, model, files, threads):
        texts = {"title": lambda n: real_pairs(False, n), "full": lambda n: real_pairs(True, n)}
        for text, make in texts.items():
            names = [f"real_{p}_{encoder}_{text}_{threads}t" for p in PRECISIONS]
            if not any(self.wants(n) for n in names):
                continue
            pairs = make(self.counts[encoder][text])
            lengths = [len(ids) for ids, _ in pairs]
            say(f"# {text}: {len(pairs)} pairs, tokens mean {np.mean(lengths):.1f}, median "
                f"{np.median(lengths):.0f}, 95% {np.percentile(lengths, 95):.0f}")
            for precision, name in zip(PRECISIONS, names):
                if self.wants(name):
                    self.real(name, encoder, model, files, pairs, precision, threads)
        for length in (64, 128):
            for precision in ("fp32", "int8"):
                name = f"equal_{precision}_{encoder}_{length}_{threads}t"
                if self.wants(name):
                    self.compare(name, model, equal_pairs(length, self.counts[encoder]["equal"]),
                                 precision, threads, files)

    def compare(self, name, model, pairs, precision, threads, files):
        """Pairs a second in batches that need no padding, or hardly any."""
        runtime = Runtime(files[precision], threads)
        feeds = batches(pairs, False)
        worker = Medley(model, pairs, precision, threads)
        ours, least = self.take_turns(worker, {"ort": lambda: runtime.run(feeds)})
        worker.close()
        row(name, len(pairs) / ours, len(pairs) / least["ort"], version("onnxruntime"), least["ort"] / ours)

    def real(self, name, encoder, model, files, pairs, precision, threads):
        near, arrival = batches(pairs, False), batches(pairs, True)
        peers = {}
        if precision in files:
            runtime = Runtime(files[precision], threads)
            peers["sorted"] = lambda: runtime.run(near)
            peers["arrival"] = lambda: runtime.run(arrival)
        if precision == "fp32":
            torch = Torch(model, threads)
            peers["torch"] = lambda: torch.run(near)
        if precision == "bf16":  # no peer has it on a CPU: against ONNX Runtime's float32
            runtime = Runtime(files["fp32"], threads)
            peers["sorted"] = lambda: runtime.run(near)
        worker = Medley(model, pairs, precision, threads)
        ours, least = self.take_turns(worker, peers)
        answers = worker.close()
        for peer, seconds in least.items():
            who = version("torch" if peer == "torch" else "onnxruntime")
            row(f"{name}_{peer}", len(pairs) / ours, len(pairs) / seconds, who, seconds / ours)
        if precision == "fp32":
            order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]))
            logits = np.concatenate(runtime.answers(near))
            theirs = np.exp(logits - logits.max(1, keepdims=True))
            theirs /= theirs.sum(1, keepdims=True)
            say(f"#   {name}: largest difference of probabilities from ONNX Runtime's "
                f"{np.abs(theirs - answers[order]).max():.1e}")

    def latency(self, encoder, model, files, threads):
        for precision in ("fp32", "int8"):
            name = f"latency_{precision}_{encoder}_64_{threads}t"
            if not self.wants(name):
                continue
            pairs = equal_pairs(64, 24 if encoder == "minilm" else 8)
            feeds = [batches([p], True)[0] for p in pairs]
            runtime = Runtime(files[precision], threads)
            worker = Medley(model, pairs, precision, threads)
            ours, least = self.take_turns(worker, {"ort": lambda: runtime.run(feeds)}, "each")
            worker.close()
            scale = 1e3 / len(pairs)
            row(name, ours * scale, least["ort"] * scale, version("onnxruntime"), least["ort"] / ours)

    def train(self, encoder, model, threads):
        """A step of 32 pairs, titles, batches of nearly equal length, mean milliseconds."""
        name = f"train_{encoder}_title_{threads}t"
        if not self.wants(name):
            return
        pairs = real_pairs(False, 8 * BATCH if encoder == "minilm" else 2 * BATCH)
        feeds, torch = batches(pairs, False), Torch(model, threads)
        worker = Medley(model, pairs, "fp32", threads)
        ours = min(worker.run("train") for _ in range(3))
        worker.close()
        theirs = torch.train(feeds)
        scale = 1e3 / len(feeds)
        row(name, ours * scale, theirs * scale, version("torch"), theirs / ours)


def main(names):
    if not (DATA / "esci/products.csv").exists() or not TOKENIZER.exists():
        sys.exit(f"{DATA}/esci or {TOKENIZER} is missing")
    bench = Bench(names or ["quick"])
    machine()
    header()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for encoder in lm_models.SHAPES:
        model = lm_models.folder(FOLDER / encoder, encoder, TOKENIZER)
        files = lm_models.onnx_files(model, encoder)
        for threads in (1, 2):
            bench.throughput(encoder, model, files, threads)
            bench.latency(encoder, model, files, threads)
            bench.train(encoder, model, threads)
    if bench.wants("tokenize_"):
        tokenize_speed.rows()


if __name__ == "__main__":
    main(sys.argv[1:])
