#!/usr/bin/env python3
"""The published experiment's shape, and the reference recipe beside it: `make reproduce`.

    reproduce.py MEDLEY FOLDER shop|esci [SEED ...]

Three language models, three graph layers over each of six relations or their union, and one layer that tells
relations apart: 22 base models. For each seed (of folds, initial weights, order of batches) they are trained across
query-grouped folds, stacked, ranked and selected by Medley. The reference recipe (bench/peers/reference_recipe.py) gets the
predictions of the very same base models. Choices come from the training split; the test split is measured. Tables in
Markdown on stdout: means over seeds with their standard error, and the interval over queries of the first seed.

esci: DATA [../shared/data/esci] and MINILM [build/minilm]. A killed run goes on where it was.
"""
import csv
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "peers"))
import reference_recipe  # noqa: E402

LAYERS = ["gcn", "sage", "gatv2"]
WEIGHTS = "balanced^0.5"  # by cross-validation on the training splits: macro-F1 for little accuracy
SIZES = [1, 2, 4, 8]  # numbers of models to select
METRICS = ["accuracy", "macro_f1", "weighted_f1", "log_loss"]
METRIC_NAMES = ["accuracy", "macro-F1", "weighted-F1", "log-loss"]
BEHAVIOUR = ["impressions", "clicks", "adds", "purchases", "co-viewed"]
SHOP_LM = """
  - {name: fields, kind: lm, head: segments, layers: 2, hidden: 128, fields: "query,title,brand,color,category",
     max_tokens: 96, epochs: 8, learning_rate: 1e-3}
  - {name: titles, kind: lm, layers: 4, hidden: 192, fields: "query,title", max_tokens: 64, epochs: 3, learning_rate: 5e-4}
  - {name: short, kind: lm, head: segments, layers: 1, hidden: 64, fields: "query,title,brand", max_tokens: 32, epochs: 4,
     learning_rate: 1e-3}
"""
ESCI_LM = """
  - {{name: minilm, kind: lm, pretrained: "{0}", layers: 4, head: segments, fields: "query,title,brand,color",
     max_tokens: 48, epochs: 2, batch: 16, learning_rate: 1e-4, freeze_layers: 1}}
  - {{name: fast, kind: lm, pretrained: "{0}", layers: 2, head: segments, fields: "query,title", max_tokens: 36, epochs: 2,
     batch: 16, learning_rate: 1e-4, freeze_embeddings: true}}
  - {{name: local, kind: lm, head: segments, layers: 2, hidden: 128, vocabulary: 12000,
     fields: "query,title,brand,color,bullets", max_tokens: 96, epochs: 2, learning_rate: 1e-3}}
"""
ESCI_RELATIONS = {"listing": ["listing"], "co-listed": ["listing", "co-listed"], "brand": ["listing", "same-brand"],
                  "category": ["listing", "same-category"], "texts": ["listing", "text", "text-products"],
                  "all": ["listing", "co-listed", "same-brand", "same-category", "text", "text-products"]}


def graph_models(relations, features):
    wide = relations["all"]
    models = [(f"{layer}-{name}", layer, parts) for name, parts in relations.items() for layer in LAYERS]
    return "".join(f"  - {{name: {name}, kind: gnn, layer: {layer}, relations: [{', '.join(parts)}]{features}}}\n"
                   for name, layer, parts in [*models, ("rgcn-typed", "rgcn", wide)])


def run(medley, *arguments):
    """What the program prints; its own words when it fails."""
    done = subprocess.run([medley, *map(str, arguments)], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))}:\n{done.stderr[-2000:]}")
    return done.stdout


class Study:
    """One data set: its files, its models, its judged pairs."""

    def __init__(self, medley, folder, which):
        self.medley, self.which, self.folder = medley, which, folder
        if which == "shop":
            self.data = folder / "shop"
            if not (self.data / "examples.csv").exists():
                run(medley, "synth", "--products", 4000, "--queries", 600, "--seed", 1, "-o", self.data)
            relations = {name: [name] for name in BEHAVIOUR}
            self.models = SHOP_LM + graph_models({**relations, "all": BEHAVIOUR}, "")
        else:
            self.data = pathlib.Path(os.environ.get("DATA", "../shared/data/esci")).resolve()
            minilm = pathlib.Path(os.environ.get("MINILM") or "build/minilm").resolve()
            self.models = ESCI_LM.format(minilm) + graph_models(ESCI_RELATIONS, f', features: "{minilm}"')
        with open(self.data / "examples.csv", newline="", encoding="utf-8") as f:
            self.rows = list(csv.DictReader(f))
        self.test = np.array([r["split"] == "test" for r in self.rows])
        self.query = np.unique([r["query_id"] for r in self.rows], return_inverse=True)[1]
        self.locale = np.array([r["product_locale"] for r in self.rows])

    def workspace(self, seed):
        place = self.folder / f"{self.which}-{seed}"
        place.mkdir(parents=True, exist_ok=True)
        d = self.data
        files = f'examples: "{d}/examples.csv", products: "{d}/products.csv", metadata: "{d}/product_metadata.csv", ' \
                f'lists: "{d}/colistings.csv"'
        if self.which == "shop":
            files += f', events: "{d}/events.jsonl"'
        (place / "medley.yaml").write_text(
            f"data: {{{files}}}\nmodels:{self.models}stacking: {{folds: 3, seed: {seed}}}\n"
            "ensemble: {rounds: 400, learning_rate: 0.04, num_leaves: 6}\n"
            "serve: {precompute: {products: 0, queries: 0}}\n", encoding="utf-8")
        for verb in ("import", "train", "stack"):
            run(self.medley, verb, "-C", place)
        return place

    def predictions(self, place, names, *options):
        """The rows that a bundle of these models gives for all pairs."""
        out = place / "all-pairs.csv"
        if not out.exists():
            run(self.medley, "select", "-C", place, *[x for n in names for x in ("--pin", n)])
            run(self.medley, "predict", "-C", place, "--pairs", self.data / "examples.csv", *options, "-o", out)
        with open(out, newline="", encoding="utf-8") as f:
            table = list(csv.DictReader(f))
        assert [t["example_id"] for t in table] == [r["example_id"] for r in self.rows]
        return table

    def weighted(self, seed, names, classes):
        """[n, K] of Medley's ensemble of the same models, fitted with heavier rare classes."""
        place = self.folder / f"{self.which}-{seed}" / "weighted"
        place.mkdir(exist_ok=True)
        for part in ("data", "features", "models", "predictions", ".medley"):
            if not (place / part).exists():
                shutil.copytree(place.parent / part, place / part, copy_function=os.link)
        settings = (place.parent / "medley.yaml").read_text(encoding="utf-8")
        (place / "medley.yaml").write_text(settings.replace("ensemble: {", f"ensemble: {{class_weights: {WEIGHTS}, "),
                                           encoding="utf-8")
        run(self.medley, "stack", "-C", place)
        return np.array([[float(t[f"p_{c}"]) for c in classes] for t in self.predictions(place, names)])

    def predict(self, place, names, classes):
        """Ensemble [n, K] and base models [n, M, K] on all pairs, by a bundle of all models, each trained on the whole
        training split: in-sample there, as the reference recipe wants it."""
        table = self.predictions(place, names, "--each")
        ensemble = np.array([[float(t[f"p_{c}"]) for c in classes] for t in table])
        base = np.array([[[float(t[f"p_{m}_{c}"]) for c in classes] for m in names] for t in table])
        return ensemble, base


def metrics(p, y):
    label, n_classes = p.argmax(1), p.shape[1]
    f1, support = [], []
    for k in range(n_classes):
        hits = ((y == k) & (label == k)).sum()
        f1.append(2 * hits / max(1, (y == k).sum() + (label == k).sum()))
        support.append((y == k).mean())
    return {"accuracy": (label == y).mean(), "macro_f1": np.mean(f1), "weighted_f1": np.dot(f1, support),
            "log_loss": -np.log(np.maximum(p[np.arange(len(y)), y], 1e-15)).mean()}


def paired(a, b, y, query, draws=1000):
    """{metric: (difference, low, high)} of a less b; 95% by bootstrap over queries."""
    random = np.random.default_rng(1)
    groups = [np.flatnonzero(query == q) for q in np.unique(query)]
    point = {m: metrics(a, y)[m] - metrics(b, y)[m] for m in METRICS}
    seen = []
    for _ in range(draws):
        rows = np.concatenate([groups[i] for i in random.integers(len(groups), size=len(groups))])
        ma, mb = metrics(a[rows], y[rows]), metrics(b[rows], y[rows])
        seen.append([ma[m] - mb[m] for m in METRICS])
    low, high = np.percentile(seen, [2.5, 97.5], axis=0)
    return {m: (point[m], low[i], high[i]) for i, m in enumerate(METRICS)}


def feature_values(medley, place):
    """Exact Shapley values per feature of a LightGBM model, by `medley gbdt explain`: those of LightGBM's pred_contrib,
    many times as fast."""
    def explain(booster, rows):
        booster.save_model(place / "reference.txt")
        np.save(place / "reference-rows.npy", rows.astype(np.float32))
        run(medley, "gbdt", "explain", "-m", place / "reference.txt", "-f", place / "reference-rows.npy", "--by", "feature",
            "-o", place / "reference-values.npy")
        values = np.load(place / "reference-values.npy")
        return values.reshape(len(rows), rows.shape[1], -1)
    return explain


def kept(study, seed, name, measure):
    """Everything measured for a seed; in a file, so that it is done once."""
    file = study.folder / f"{study.which}-{seed}" / name
    if not file.exists():
        file.write_text(json.dumps(measure(), indent=1, default=float))
    return json.loads(file.read_text())


def one_seed(study, seed):
    place = study.workspace(seed)
    medley = study.medley
    ranking = json.loads(run(medley, "rank", "-C", place, "--seeds", 1, "--json"))
    run(medley, "select", "-C", place)
    evaluation = json.loads(run(medley, "evaluate", "-C", place, "--json"))
    names, classes = [m["name"] for m in evaluation["models"]], evaluation["labels"]
    ensemble, base = study.predict(place, names, classes)
    y = np.array([classes.index(r["esci_label"]) for r in study.rows])
    test, train, query = study.test, ~study.test, study.query
    out_of_fold = np.stack([np.load(place / "predictions" / m / "probabilities.npy") for m in names], axis=1)
    assert np.abs(out_of_fold[test] - base[test]).max() < 1e-4, "serving and evaluation differ on the test split"

    reference = reference_recipe.Recipe(base[train], y[train], range(len(names)))
    worth = reference.worth(base[train], feature_values(medley, place))
    order = list(np.argsort(-worth))
    said = {"reference recipe": reference.probabilities(base[test])}
    for what in ("in-sample", "balanced", "both"):
        undone = reference_recipe.same_settings_without(what, base[train], out_of_fold[train], y[train], range(len(names)))
        said[f"without {what}"] = undone.probabilities(base[test])
    said["Medley, all models"] = ensemble[test]
    sizes, asked = {}, {}
    for k in SIZES:
        chosen = json.loads(run(medley, "select", "-C", place, "--top", k, "--json"))["selected"]
        theirs = [names[i] for i in order[:k]]
        p = reference_recipe.Recipe(base[train], y[train], order[:k]).probabilities(base[test])
        sizes[k] = {"medley": chosen, "reference": theirs, "recipe": metrics(p, y[test])}
        asked[f"medley-{k}"], asked[f"reference-{k}"] = chosen, theirs
    run(medley, "select", "-C", place)
    options = [x for name, list_ in asked.items() for x in ("--ensemble", f"{name}={','.join(list_)}")]
    subsets = {e["name"]: {m: e[m] for m in METRICS}
               for e in json.loads(run(medley, "evaluate", "-C", place, *options, "--json"))["ensembles"]}
    for k in SIZES:
        sizes[k].update(ours=subsets[f"medley-{k}"], choice=subsets[f"reference-{k}"])
    locales = {}
    for locale in sorted(set(study.locale[test])):
        rows = study.locale[test] == locale
        parts = {**{n: base[test][:, i] for i, n in enumerate(names)}, **said}
        locales[locale] = {"n": int(rows.sum()), "of": {n: metrics(p[rows], y[test][rows]) for n, p in parts.items()}}
    np.savez(place / "said.npz", **said)
    return {
        "names": names, "classes": classes, "kinds": [m["kind"] for m in evaluation["models"]], "n": int(test.sum()), "sizes": sizes,
        "models": {n: metrics(base[test][:, i], y[test]) for i, n in enumerate(names)},
        "said": {n: metrics(p, y[test]) for n, p in said.items()}, "locales": locales,
        "intervals": {n: {m: [e["ci95"][m] for e in evaluation["models"] if e["name"] == n][0] for m in METRICS}
                      for n in names},
        "against": {n: paired(ensemble[test], p, y[test], query[test]) for n, p in said.items() if "Medley" not in n},
        "best_alone": paired(ensemble[test], base[test][:, int(np.argmax([metrics(base[test][:, i], y[test])["macro_f1"]
                                                                          for i in range(len(names))]))], y[test], query[test]),
        "worth": {n: float(worth[i]) for i, n in enumerate(names)},
        "game": {p["name"]: p["macro_f1"]["shapley"] for p in ranking["worth"]["players"]},
        "contribution": {m["name"]: m["mean_abs_contribution"] for m in ranking["models"]},
    }


def weighted_seed(study, seed, first):
    """Medley's ensemble with weighted classes, beside the reference recipe."""
    classes, test = first["classes"], study.test
    p = study.weighted(seed, first["names"], classes)[test]
    y = np.array([classes.index(r["esci_label"]) for r in study.rows])[test]
    said = np.load(study.folder / f"{study.which}-{seed}" / "said.npz")
    return {"said": metrics(p, y), "against": {n: paired(p, said[n], y, study.query[test]) for n in said.files},
            "locales": {l: metrics(p[study.locale[test] == l], y[study.locale[test] == l]) for l in first["locales"]}}


def short(x):
    return f"{x:.3f}".replace("0.", ".", 1) if abs(x) < 1 else f"{x:.3f}"


def over_seeds(values):
    mean = short(float(np.mean(values)))
    return mean if len(values) < 2 else f"{mean} ± {short(float(np.std(values, ddof=1) / len(values) ** .5))}"


def row(*cells):
    print("| " + " | ".join(str(c) for c in cells) + " |")


def head(*cells):
    print()
    row(*cells)
    row(*["---"] * len(cells))


def signed_number(x):
    return f"{x:+.3f}".replace("0.", ".", 1)


def signed(d):
    return f"{signed_number(d[0])} ({signed_number(d[1])} to {signed_number(d[2])})"


def less(what, against):
    """One row for each of those that `what` is compared with; against: of each seed."""
    head(what, *METRIC_NAMES, "better on seeds (macro-F1, log-loss)")
    for n, first in against[0].items():
        wins = [sum(a[n][m][0] * s > 0 for a in against) for m, s in (("macro_f1", 1), ("log_loss", -1))]
        row(n, *[signed([np.mean([a[n][m][0] for a in against]), *first[m][1:]]) for m in METRICS],
            f"{wins[0]}, {wins[1]} of {len(against)}")


def tables(which, results, seeds):
    first = results[0]
    print(f"\n**{which}**: {first['n']} test pairs, seeds {' '.join(map(str, seeds))}; ± standard error over seeds, "
          "(intervals over queries of the first seed)")
    head("test split", *METRIC_NAMES)
    for n in first["names"]:
        row(n, *[f"{over_seeds([r['models'][n][m] for r in results])} ({short(first['intervals'][n][m][0])} to "
                 f"{short(first['intervals'][n][m][1])})" for m in METRICS])
    for n in first["said"]:
        row(f"**{n}**", *[over_seeds([r["said"][n][m] for r in results]) for m in METRICS])
    row("**Medley, weighted classes**", *[over_seeds([r["weighted"]["said"][m] for r in results]) for m in METRICS])
    less("Medley, all models, less", [r["against"] for r in results])
    row("best model alone", *[signed([np.mean([r["best_alone"][m][0] for r in results]), *first["best_alone"][m][1:]])
                              for m in METRICS], "")
    less("Medley, weighted classes, less", [r["weighted"]["against"] for r in results])
    head("what each is worth", "Shapley of macro-F1, out of fold", "mean contribution", "reference: summed SHAP values")
    for n in sorted(first["names"], key=lambda n: -np.mean([r["game"][n]["value"] for r in results])):
        game = [r["game"][n] for r in results]
        row(n, f"{over_seeds([g['value'] for g in game])} ({signed_number(game[0]['low'])} to {signed_number(game[0]['high'])})",
            *[over_seeds([r[w][n] for r in results]) for w in ("contribution", "worth")])
    head("models kept", "Medley's choice, Medley's ensemble", "reference's choice, Medley's ensemble", "reference recipe",
         "what Medley keeps (first seed)", "what the reference keeps")
    for k in map(str, SIZES):
        cells = [", ".join(over_seeds([r["sizes"][k][who][m] for r in results]) for m in ("macro_f1", "log_loss"))
                 for who in ("ours", "choice", "recipe")]
        row(k, *cells, " ".join(first["sizes"][k]["medley"]), " ".join(first["sizes"][k]["reference"]))
    print("\nmacro-F1, log-loss on the test split.")
    head("macro-F1 by locale", *[f"{l} ({v['n']})" for l, v in first["locales"].items()])
    for n in [*first["names"], *first["said"]]:
        row(n, *[over_seeds([r["locales"][l]["of"][n]["macro_f1"] for r in results]) for l in first["locales"]])
    row("Medley, weighted classes", *[over_seeds([r["weighted"]["locales"][l]["macro_f1"] for r in results])
                                      for l in first["locales"]])


def main(medley, folder, which, seeds):
    study = Study(str(pathlib.Path(medley).resolve()), pathlib.Path(folder).resolve(), which)
    results = []
    for seed in seeds:
        (study.folder / f"{which}-{seed}").mkdir(parents=True, exist_ok=True)
        r = kept(study, seed, "reproduce.json", lambda: one_seed(study, seed))
        r["weighted"] = kept(study, seed, "weighted.json", lambda: weighted_seed(study, seed, r))
        results.append(r)
        print(f"# {which}: seed {seed} done", file=sys.stderr, flush=True)
        (study.folder / f"{which}.partial").write_text(f"{len(results)} seeds\n")
    tables(which, results, seeds)


if len(sys.argv) < 4 or sys.argv[3] not in ("shop", "esci"):
    raise SystemExit(__doc__)
main(sys.argv[1], sys.argv[2], sys.argv[3], [int(s) for s in sys.argv[4:]] or [1, 2, 3, 4, 5])
