#!/usr/bin/env python3
"""What graph models add to language models: `make bench-graph-quality`. Needs Python alone.

    graph_quality.py MEDLEY FOLDER shop|esci [SEED ...]

shop: a synthetic shop with behaviour. esci: the public extract in ../shared/data/esci (DATA), MiniLM in
build/minilm (MINILM). For each seed a workspace is trained (seeds change folds, initial weights and
the order of batches), then ensembles of text alone, of graphs alone, and of text with the graphs of one
relation are fitted on out-of-fold predictions and measured on the test split by `medley evaluate`.
Tables in Markdown on stdout: mean over seeds, and the interval over queries of the first.
"""
import json
import os
import pathlib
import subprocess
import sys

SETTINGS = "stacking: {{folds: 3, seed: {seed}}}\nensemble: {{rounds: 400, learning_rate: 0.04, num_leaves: 6}}\n" \
           "budget: {{top: 3}}\nserve: {{precompute: {{products: 0, queries: 0}}}}\n"
BEHAVIOUR = "[listing, impressions, clicks, adds, purchases, co-viewed, co-purchased, co-listed]"
SHOP = f"""
  - {{name: fields, kind: lm, head: segments, layers: 2, hidden: 128, fields: "query,title,brand,color,category",
     max_tokens: 96, epochs: 8, learning_rate: 1e-3}}
  - {{name: titles, kind: lm, layers: 4, hidden: 192, fields: "query,title", max_tokens: 64, epochs: 3,
     learning_rate: 5e-4}}
  - {{name: behaviour, kind: gnn, layer: rgcn, relations: {BEHAVIOUR}, hidden: 128, learning_rate: 2e-3, epochs: 20}}
  - {{name: clicks, kind: gnn, layer: sage, relations: [clicks, co-viewed]}}
  - {{name: listing, kind: gnn, layer: sage, relations: [listing]}}
"""
RELATIONS = {"listing": "listing", "co-listed": "listing, co-listed", "brand": "listing, same-brand",
             "category": "listing, same-category", "near-texts": "listing, text, text-products"}


def esci_models(minilm):
    text = f"""
  - {{name: minilm, kind: lm, pretrained: "{minilm}", layers: 4, head: segments, fields: "query,title,brand,color",
     max_tokens: 48, epochs: 2, batch: 16, learning_rate: 1e-4, freeze_layers: 1}}
"""
    for name, relations in RELATIONS.items():
        text += f'  - {{name: {name}, kind: gnn, layer: sage, relations: [{relations}], features: "{minilm}"}}\n'
    return text


def run(medley, *arguments):
    return subprocess.run([medley, *map(str, arguments)], check=True, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout


def workspace(medley, folder, data, models, seed, events):
    folder.mkdir(parents=True, exist_ok=True)
    files = f'examples: "{data}/examples.csv", products: "{data}/products.csv", ' \
            f'metadata: "{data}/product_metadata.csv", lists: "{data}/colistings.csv"'
    if events:
        files += f', events: "{data}/events.jsonl"'
    (folder / "medley.yaml").write_text(
        f"data: {{{files}}}\nmodels:{models}{SETTINGS.format(seed=seed)}", encoding="utf-8")
    for verb in ("import", "train", "stack", "select"):
        run(medley, verb, "-C", folder)


def number(x):
    return f"{x:+.3f}".replace("0.", ".")


def table(results, title, rows, classes):
    """rows: (what, pick(evaluation) -> {column: (value, low, high)})."""
    columns = ["accuracy", "macro_f1", "log_loss", *classes]
    print(f"\n| {title} | accuracy | macro-F1 | log-loss | " + " | ".join(f"F1 of {k}" for k in classes) + " |")
    print("| --- " * (len(columns) + 1) + "|")
    for what, pick in rows:
        picked = [pick(e) for e in results]
        cells = []
        for c in columns:
            value = sum(p[c][0] for p in picked) / len(picked)
            low, high = picked[0][c][1:]
            form = number if what.endswith("less") or " less " in what else lambda x: f"{x:.3f}".lstrip("0")
            cells.append(f"{form(value)} ({form(low)} to {form(high)})")
        print(f"| {what} | " + " | ".join(cells) + " |")


def of_name(name):
    def pick(e):
        m = next(x for x in e["models"] + e["ensembles"] if x["name"] == name)
        out = {c: (m[c], *m["ci95"][c]) for c in ("accuracy", "macro_f1", "log_loss")}
        for k, v in m["per_class"].items():
            out[k] = (v["f1"], *v["f1_ci95"])
        return out
    return pick


def of_pair(a, b):
    def flip(d, sign):
        ends = sorted((sign * d["low"], sign * d["high"]))
        return (sign * d["difference"], *ends)

    def pick(e):
        for p in e["paired"]:
            for sign in (1, -1):
                if (p["a"], p["b"]) == ((a, b) if sign > 0 else (b, a)):
                    out = {c: flip(p[c], sign) for c in ("accuracy", "macro_f1", "log_loss")}
                    out.update({k: flip(d, sign) for k, d in p["f1"].items()})
                    return out
        raise SystemExit(f"no comparison of {a} and {b}")
    return pick


def main(medley, folder, which, seeds):
    folder = pathlib.Path(folder).resolve()
    if which == "shop":
        data, models, texts = folder / "shop", SHOP, ["fields", "titles"]
        run(medley, "synth", "--products", 4000, "--queries", 600, "--seed", 1, "-o", data)
        asked = {"text": "lm", "graphs": "gnn"}
        alone = ["fields", "titles", "behaviour", "clicks", "listing"]
    else:
        data = pathlib.Path(os.environ.get("DATA", "../shared/data/esci")).resolve()
        models, texts = esci_models(pathlib.Path(os.environ.get("MINILM") or "build/minilm").resolve()), ["minilm"]
        asked = {"text": "lm", "graphs": "gnn", **{f"text+{r}": f"minilm,{r}" for r in RELATIONS}}
        alone = ["minilm", *RELATIONS]
    results = []
    for seed in seeds:
        place = folder / f"{which}-{seed}"
        workspace(medley, place, data, models, seed, which == "shop")
        options = [x for name, list_ in asked.items() for x in ("--ensemble", f"{name}={list_}")]
        results.append(json.loads(run(medley, "evaluate", "-C", place, *options, "--json")))
        print(f"# seed {seed} done", file=sys.stderr)
    classes = results[0]["labels"]
    print(f"{which}: {results[0]['n']} test pairs, seeds {' '.join(map(str, seeds))}; intervals over queries of the first")
    table(results, "alone", [(n, of_name(n)) for n in alone], classes)
    table(results, "ensembles", [(n, of_name(n)) for n in [*asked, "full"]], classes)
    pairs = [("full", "text"), ("full", "graphs"), ("graphs", "text")]
    pairs += [(f"text+{r}", "text") for r in RELATIONS] if which == "esci" else []
    table(results, "differences", [(f"{a} less {b}", of_pair(a, b)) for a, b in pairs], classes)


if len(sys.argv) < 4 or sys.argv[3] not in ("shop", "esci"):
    raise SystemExit(__doc__)
main(sys.argv[1], sys.argv[2], sys.argv[3], [int(s) for s in sys.argv[4:]] or [1, 2, 3])
