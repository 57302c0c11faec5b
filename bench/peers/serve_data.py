"""A workspace of table models for the server's benchmarks: judged pairs with simulated predictions of six models, so
that serving them costs no more than looking the predictions up and asking the trees."""
import csv
import subprocess

import numpy as np

CLASSES = "ESCI"
LISTS, PRODUCTS = 150, 100


def write_tables(folder, queries=LISTS, products=PRODUCTS, models=6, seed=1):
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    n = queries * products
    label = random.choice(4, size=n, p=[0.45, 0.25, 0.1, 0.2])
    test = np.repeat(random.random(queries) < 0.2, products)
    with open(folder / "examples.csv", "w", newline="") as f:
        out = csv.writer(f)
        out.writerow("example_id,query,query_id,product_id,product_locale,esci_label,split".split(","))
        for i in range(n):
            q = i // products
            out.writerow([i, f"thing number {q} in blue", q, f"B{i:08d}", "us", CLASSES[label[i]], "test" if test[i] else "train"])
    with open(folder / "products.csv", "w", newline="") as f:
        out = csv.writer(f)
        out.writerow("product_id,product_title,product_brand,product_color,product_locale".split(","))
        for i in range(n):
            out.writerow([f"B{i:08d}", f"A thing of kind {i % 997}, for number {i // products}", f"brand {i % 53}", "blue", "us"])
    for m in range(models):
        score = random.normal(0, 1, (n, 4))
        score[np.arange(n), label] += 0.8 + 0.2 * m
        p = np.exp(score - score.max(1, keepdims=True))
        np.save(folder / f"model{m}.npy", (p / p.sum(1, keepdims=True)).astype(np.float32))


def predictions(folder):
    """What the models of a workspace say of its examples, by name."""
    return {f.stem: np.load(f) for f in sorted((folder / "tables").glob("model*.npy"))}


def workspace(medley, folder, **sizes):
    """A folder whose bundle answers from tables."""
    if (folder / "bundle/current").exists():
        return folder
    write_tables(folder / "tables", **sizes)
    models = sizes.get("models", 6)
    (folder / "medley.yaml").write_text(
        f'data: {{examples: "{folder}/tables/examples.csv", products: "{folder}/tables/products.csv"}}\nmodels:\n'
        + "".join(f'  - {{name: model{m}, kind: table, predictions: "{folder}/tables/model{m}.npy", trust: true}}\n'
                  for m in range(models))
        + "ensemble: {rounds: 400, learning_rate: 0.04, num_leaves: 6, plain: true}\n")
    for verb in (["import"], ["train"], ["stack"], ["select", *[x for m in range(models) for x in ("--pin", f"model{m}")]]):
        subprocess.run([medley, *verb, "-C", folder], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder
