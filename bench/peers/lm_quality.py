"""Fine-tuning language models on the public ESCI extract: quality on the test split.

The same recipe in Medley and in Hugging Face Transformers (identical token ids, head, batch size,
rate, schedule, decay, warm-up, dropout, clipping), three seeds each; and Medley's other language models
beside them. A table in Markdown on stdout, talk on stderr. Results are kept in WORK/lm-quality: a run
that was cut short goes on, one of other settings begins anew.

  lm_quality.py [MODEL ...]          "hf" is the peer; default: all. SEEDS=3 in the environment

Needs ../shared/data/esci (or DATA) and a pretrained MiniLM (MINILM, build/minilm).
"""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np

from common import BUILD, WORK, machine, say, version

DATA = pathlib.Path(os.environ.get("DATA", "../shared/data")).resolve() / "esci"
MINILM = pathlib.Path(os.environ.get("MINILM", "build/minilm")).resolve()
FOLDER = WORK / "lm-quality"
SEEDS = tuple(range(1, 1 + int(os.environ.get("SEEDS", "3"))))
RESAMPLES = 1000

# Chosen before any look at the test split: what the literature gives for encoders of this size.
RECIPE = dict(epochs=2, batch=32, learning_rate=5e-5, weight_decay=0.01, warmup=0.1, clip=1.0,
              dropout=0.1)
COMMON = "fields: query,title,brand,color\n    max_tokens: 96\n    lanes: 1\n"
OWN = ("layers: 3\n    hidden: 128\n    vocabulary: 8192\n    head: segments\n"
       "    fields: query,title,brand,color\n    max_tokens: 64\n    lanes: 1\n    epochs: 2\n")
PRETRAIN = "    pretrain: {epochs: 3, seed: 1}\n"
# The teacher is the demo's MiniLM; its probabilities of training pairs are out-of-fold.
TEACHER = (f"pretrained: {MINILM}\n    layers: 4\n    head: segments\n"
           "    fields: query,title,brand,color\n    max_tokens: 48\n    epochs: 2\n    batch: 16\n"
           "    learning_rate: 1e-4\n    freeze_layers: 1\n")
DISTILL = "    distill: {teacher: teacher, weight: 0.7, temperature: 2}\n"
MODELS = {
    "minilm": (f"pretrained: {MINILM}\n    head: cls\n    {COMMON}"
               + "".join(f"    {k}: {v}\n" for k, v in RECIPE.items())),
    "teacher": TEACHER,
    "scratch": OWN + "    learning_rate: 2e-4\n",
    "own": OWN + "    learning_rate: 2e-4\n" + PRETRAIN,
    "own-distilled": OWN + "    learning_rate: 2e-4\n" + PRETRAIN + DISTILL,
    "scratch-distilled": OWN + "    learning_rate: 2e-4\n" + DISTILL,
}
TITLES = {
    "prior": "label shares of the training split",
    "hf": "MiniLM-L6, pretrained: Hugging Face Transformers",
    "minilm": "MiniLM-L6, pretrained: Medley, the same recipe",
    "teacher": "MiniLM, four layers, segments head (the demo's)",
    "scratch": "three layers of 128, from scratch",
    "own": "the same, pre-trained on the shop's texts",
    "own-distilled": "the same, pre-trained and distilled from the demo's MiniLM",
    "scratch-distilled": "the same, from scratch and distilled",
}


def workspace():
    """medley.yaml with every model, imported once."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = (f"data:\n  examples: {DATA}/examples.csv\n  products: {DATA}/products.csv\n"
            f"  metadata: {DATA}/product_metadata.csv\nmodels:\n")
    for name, settings in MODELS.items():
        text += f"  - name: {name}\n    kind: lm\n    {settings}"
    (FOLDER / "medley.yaml").write_text(text)
    if not (FOLDER / "data/dataset.safetensors").exists():
        subprocess.run([BUILD / "medley", "import", "-C", FOLDER], check=True,
                       stdout=subprocess.DEVNULL)


def run_path(name, settings, seed):
    key = hashlib.sha256(settings.encode()).hexdigest()[:8]
    return FOLDER / f"{name}-{key}-seed{seed}.npy"


def result(name, settings, seed, make):
    """Probabilities of the test split: made by `make(path)` unless there already."""
    path = run_path(name, settings, seed)
    if not path.exists():
        start = time.process_time() + sum(os.times()[2:4])
        make(path)
        say(f"    {name} seed {seed}: "
            f"{time.process_time() + sum(os.times()[2:4]) - start:.0f} CPU seconds")
    return np.load(path)


def prepare(name):
    """What a model needs of others: a teacher's out-of-fold probabilities; a pre-training that
    another model has made already is copied."""
    if "distill:" in MODELS[name]:
        subprocess.run([BUILD / "medley", "train", "-C", FOLDER, "teacher"], check=True,
                       stdout=subprocess.DEVNULL)
    source, target = (FOLDER / "models" / n / "prepared" for n in ("own", name))
    if "pretrain:" in MODELS[name] and source.exists() and not target.exists():
        shutil.copytree(source, target)


def ours(name, seed):
    def make(path):
        prepare(name)
        subprocess.run([BUILD / "bench/lm_quality", "train", FOLDER, name, str(seed),
                        path.with_suffix("")],
                       check=True, env=dict(os.environ, MEDLEY_THREADS="1"))
    return result(name, MODELS[name], seed, make)


class Inputs:
    """What Medley's minilm reads, by bench/lm_quality."""

    def __init__(self):
        folder = FOLDER / "inputs"
        subprocess.run([BUILD / "bench/lm_quality", "inputs", FOLDER, "minilm", folder], check=True)
        for name in ("ids", "types", "offsets", "labels", "queries", "split"):
            setattr(self, name, np.load(folder / f"{name}.npy"))
        self.lengths = np.diff(self.offsets)
        self.train, self.test = np.flatnonzero(self.split == 0), np.flatnonzero(self.split == 1)

    def batch(self, rows):
        import torch
        width = self.lengths[rows].max()
        ids, types, mask = (np.zeros((len(rows), width), np.int64) for _ in range(3))
        for i, row in enumerate(rows):
            a, n = self.offsets[row], self.lengths[row]
            ids[i, :n], types[i, :n], mask[i, :n] = self.ids[a:a + n], self.types[a:a + n], 1
        return dict(input_ids=torch.from_numpy(ids), token_type_ids=torch.from_numpy(types),
                    attention_mask=torch.from_numpy(mask))


def epoch_order(inputs, rng):
    """Batches of similar length in random order, cut as Medley cuts them (src/lm/lm_train.c)."""
    rows, size = rng.permutation(inputs.train), RECIPE["batch"]
    bucket = size * 16
    parts = [rows[i:i + bucket] for i in range(0, len(rows), bucket)]
    rows = np.concatenate([p[np.argsort(inputs.lengths[p], kind="stable")] for p in parts])
    batches = [rows[i:i + size] for i in range(0, len(rows), size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def decayed(model):
    """Weight decay on matrices, none on biases and norms, as Transformers' Trainer does."""
    weights = {n for n, _ in model.named_parameters() if not n.endswith("bias") and "LayerNorm" not in n}
    return [{"params": [p for n, p in model.named_parameters() if n in weights],
             "weight_decay": RECIPE["weight_decay"]},
            {"params": [p for n, p in model.named_parameters() if n not in weights],
             "weight_decay": 0.0}]


def train_peer(inputs, seed, path):
    import torch
    import transformers
    torch.set_num_threads(1)
    transformers.set_seed(seed)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        MINILM, num_labels=int(inputs.labels.max()) + 1, hidden_dropout_prob=RECIPE["dropout"],
        attention_probs_dropout_prob=RECIPE["dropout"])
    steps = RECIPE["epochs"] * -(-len(inputs.train) // RECIPE["batch"])
    optimizer = torch.optim.AdamW(decayed(model), lr=RECIPE["learning_rate"], eps=1e-8)
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, round(RECIPE["warmup"] * steps), steps)
    rng = np.random.default_rng(seed)
    model.train()
    for _ in range(RECIPE["epochs"]):
        for rows in epoch_order(inputs, rng):
            labels = torch.from_numpy(inputs.labels[rows].astype(np.int64))
            loss = model(**inputs.batch(rows), labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), RECIPE["clip"])
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    model.eval()
    order = inputs.test[np.argsort(inputs.lengths[inputs.test], kind="stable")]
    out = np.zeros((len(inputs.labels), int(inputs.labels.max()) + 1), np.float32)
    with torch.no_grad():
        for i in range(0, len(order), 64):
            rows = order[i:i + 64]
            out[rows] = torch.softmax(model(**inputs.batch(rows)).logits, 1).numpy()
    np.save(path, out[inputs.test])


def metrics(p, y, k):
    """Accuracy, macro-F1 (0 where undefined), log-loss."""
    guess = p.argmax(1)
    hits = np.bincount(y[guess == y], minlength=k)
    f1 = 2 * hits / np.maximum(np.bincount(y, minlength=k) + np.bincount(guess, minlength=k), 1)
    loss = -np.log(np.clip(p[np.arange(len(y)), y], 1e-15, 1)).mean()
    return np.array([(guess == y).mean(), f1.mean(), loss])


def changed(name, settings):
    """Says what share of test pairs gets another label with weights of less precision."""
    for precision in ("bfloat16", "int8"):
        shares = []
        for seed in SEEDS:
            path = run_path(name, settings, seed)
            other = path.with_suffix(f".{precision}.npy")
            if other.exists():
                a, b = np.load(path), np.load(other)
                shares.append((a.argmax(1) != b.argmax(1)).mean())
        if shares:
            print(f"{TITLES[name]}: {precision} changes the label of {np.mean(shares):.2%} of the "
                  f"test pairs ({len(shares)} seeds, most {max(shares):.2%})")


def intervals(runs, y, queries, k):
    """95% by bootstrap over queries of the mean over seeds."""
    rng = np.random.default_rng(1)
    names, group = np.unique(queries, return_inverse=True)
    rows = [np.flatnonzero(group == g) for g in range(len(names))]
    values = []
    for _ in range(RESAMPLES):
        pick = np.concatenate([rows[g] for g in rng.integers(len(rows), size=len(rows))])
        values.append(np.mean([metrics(p[pick], y[pick], k) for p in runs], axis=0))
    return np.percentile(values, [2.5, 97.5], axis=0)


def table(results, y, queries, k):
    print("| model | seed | accuracy | macro-F1 | log-loss |\n| --- | --- | --- | --- | --- |")
    for name, runs in results.items():
        scores = np.array([metrics(p, y, k) for p in runs])
        if len(runs) > 1:
            for seed, s in zip(SEEDS, scores):
                print(f"| {TITLES[name]} | {seed} | " + " | ".join(f"{v:.4f}" for v in s) + " |")
        error = scores.std(0, ddof=1) / len(runs) ** 0.5 if len(runs) > 1 else np.zeros(3)
        low, high = intervals(runs, y, queries, k)
        cells = (f"{m:.4f} ± {e:.4f} ({a:.3f} to {b:.3f})"
                 for m, e, a, b in zip(scores.mean(0), error, low, high))
        print(f"| **{TITLES[name]}** | mean ± s.e. (95%) | " + " | ".join(cells) + " |", flush=True)


def main():
    chosen = sys.argv[1:] or ["hf", *MODELS]
    if not (DATA / "examples.csv").exists():
        sys.exit(f"{DATA}/examples.csv is missing")
    machine()
    workspace()
    inputs = Inputs()
    y, queries = inputs.labels[inputs.test].astype(int), inputs.queries[inputs.test]
    k = int(inputs.labels.max()) + 1
    share = np.bincount(inputs.labels[inputs.train], minlength=k) / len(inputs.train)
    results = {"prior": [np.tile(share, (len(y), 1))]}
    for name in chosen:
        if name == "hf":
            say(f"# {version('transformers')}, {version('torch')}")
            results[name] = [result("hf", repr(RECIPE), seed,
                                    lambda path, seed=seed: train_peer(inputs, seed, path))
                             for seed in SEEDS]
        else:
            results[name] = [ours(name, seed) for seed in SEEDS]
    table(results, y, queries, k)
    for name in results.keys() & MODELS.keys():
        changed(name, MODELS[name])


if __name__ == "__main__":
    main()
