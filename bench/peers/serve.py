"""Serving beside constant bytes and beside a Python server: `make bench-serve`. One machine, loopback, the load
generator (bench/http_load.c) on the same cores; what is compared is measured in turn, ROUNDS times, and medians are
given. Rows: name,medley,peer,peer_version,ratio.

    SECONDS=3, ROUNDS=3, ONLY="cached pairs zipf popular swap python" in the environment; WORKSPACE=demo: a workspace whose
    bundle the Zipf stream asks (left out where there is none).

cached_*   all answers from memory, lists of 20, against the same libmicrohttpd with constant bytes of the same size
pairs_*    six tables of predictions, nothing remembered: pairs a second, against 300,000 (100,000 explained); _given: the
           predictions of the six models come with the request instead
zipf_*     queries by Zipf's law over 100,000 pairs of the workspace's bundle: requests a second by share of the pairs that
           the cache holds, against none; _95_of_100: the lists that 95% of them ask for are remembered
swap_*     p99 of that stream (40,000 entries; and nothing remembered) while a bundle is opened, warmed and swapped in again and again, against none: at
           least .5, that is, at most twice as long
python_*   requests a second, and p99, of aiohttp with LightGBM on the same ensemble"""
import csv
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import common
import serve_data

SECONDS = float(os.environ.get("SECONDS", "3"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
ONLY = os.environ.get("ONLY", "cached pairs zipf popular swap python").split()
BUILD, WORK = common.BUILD.resolve(), common.WORK.resolve()
WORKSPACE = pathlib.Path(os.environ.get("WORKSPACE", "demo"))
PORT = 18765
CONNECTIONS = 16
LISTS = 5000  # of the Zipf stream


class Server:
    def __init__(self, *command, port=PORT, stdin=None):
        self.process = subprocess.Popen([str(c) for c in command], stdin=stdin, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, start_new_session=True)
        self.port = port or int(self.process.stdout.readline())
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=1).read()
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"no server: {' '.join(map(str, command))}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()


def load(port, bodies, **options):
    settings = dict(connections=CONNECTIONS, seconds=SECONDS, warm=200, order="even")
    settings.update(options)
    command = [BUILD / "bench/http_load", "--port", port, "--bodies", bodies]
    for k, v in settings.items():
        command += ["--" + k.replace("_", "-"), v]
    done = subprocess.run([str(c) for c in command], text=True, capture_output=True)
    if done.returncode:
        raise SystemExit(f"http_load: {done.stderr or done.stdout}")
    return json.loads(done.stdout)


def lists(path, n_products, n_lists=serve_data.LISTS, **more):
    with open(path, "w") as f:
        for q in range(n_lists):
            ids = [f"B{q * serve_data.PRODUCTS + i:08d}" for i in range(n_products)]
            f.write(json.dumps({"query": f"thing number {q} in blue", "products": ids, **more}) + "\n")
    return path


def medley(workspace, *options):
    return Server(BUILD / "medley", "serve", "-C", workspace, "--port", PORT, "--quiet", "--threads", 2, *options)


def pairs_of(measure):
    """[(a, b)] of ROUNDS rounds, in turn."""
    return [measure() for _ in range(ROUNDS)]


def cached(workspace, folder):
    bodies = lists(folder / "cached.jsonl", 20)

    def measure():
        with medley(workspace) as s:
            ours = load(s.port, bodies, warm=20000, order="sequence")
        size = int(ours["answer_bytes"]) - 260  # the head is sent by libmicrohttpd either way
        with Server(BUILD / "bench/constant_server", size, 2, port=0, stdin=subprocess.PIPE) as s:
            return ours, load(s.port, bodies, warm=2000)
    seen = pairs_of(measure)
    a, b = (common.median([r[i]["per_s"] for r in seen]) for i in (0, 1))
    common.row("cached_vs_constant_per_s", a, b, "libmicrohttpd constant bytes", a / b)
    a, b = (common.median([r[i]["p99_us"] for r in seen]) for i in (0, 1))
    common.row("cached_vs_constant_p99_us", a, b, "libmicrohttpd constant bytes", a / b)


def given_lists(workspace, path, n_products):
    """As lists(), with what the six tables say of each product in the request."""
    said = serve_data.predictions(workspace)
    with open(path, "w") as f:
        for q in range(serve_data.LISTS):
            rows = range(q * serve_data.PRODUCTS, q * serve_data.PRODUCTS + n_products)
            products = [{"id": f"B{i:08d}", "predictions": {m: [round(float(x), 6) for x in p[i]] for m, p in said.items()}}
                        for i in rows]
            f.write(json.dumps({"query": f"thing number {q} in blue", "models": [], "products": products}) + "\n")
    return path


def pairs(workspace, folder):
    for n, options, bar in ((20, {}, 3e5), (100, {}, 3e5), (100, {"explain": True}, 1e5), (20, "given", 3e5),
                            (100, "given", 3e5)):
        given = options == "given"
        bodies = given_lists(workspace, folder / "pairs.jsonl", n) if given else \
            lists(folder / "pairs.jsonl", n, cache="off", **options)

        def measure():
            with medley(workspace) as s:
                return load(s.port, bodies)
        seen = pairs_of(measure)
        rate = common.median([r["per_s"] for r in seen]) * n
        kind = "_given" if given else "_explained" if options else ""
        common.row(f"pairs_{n}{kind}_per_s", rate, bar, "the bar", rate / bar)


def zipf_lists(folder):
    """LISTS lists of 20 pairs: real queries and products of the workspace, mixed."""
    data = WORKSPACE / "medley.yaml"
    found = next((line.split(":", 1)[1].strip(' "\n') for line in open(data) if "examples:" in line), None)
    with open(found, newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    draw = random.Random(1)
    queries = sorted({(r["query"], r["product_locale"]) for r in rows})
    products = {}
    for r in rows:
        products.setdefault(r["product_locale"], []).append(r["product_id"])
    bodies = folder / "zipf.jsonl"
    with open(bodies, "w") as f:
        for _ in range(LISTS):
            query, locale = draw.choice(queries)
            ids = draw.sample(products[locale], 20)
            f.write(json.dumps({"query": query, "locale": locale, "products": ids}) + "\n")
    return bodies


def zipf(folder):
    bodies = zipf_lists(folder)

    def measure(entries):
        with medley(WORKSPACE, "--cache-entries", entries) as s:
            # As many draws as it takes for the hit rate to settle: 95% of draws have been seen after 8,000.
            warm = min(8000, 50 + 3 * entries // 20)
            r = load(s.port, bodies, order="zipf", warm=warm, seconds=4 * SECONDS, connections=4, seed=7)
            text = urllib.request.urlopen(f"http://127.0.0.1:{s.port}/metrics").read().decode()
        def total(result):
            return sum(float(x.split()[-1]) for x in text.splitlines()
                       if x.startswith("medley_pairs_classified_total") and f'"{result}"' in x)
        hits, judged = total("cache"), total("bundle")
        return r, hits / max(1, hits + judged)
    none, _ = measure(0)
    for entries in (2000, 10000, 40000, 120000):
        r, share = measure(entries)
        common.say(f"# zipf: {entries} entries, {share:.1%} of all pairs since the start from the cache; p50 "
                   f"{r['p50_us']:.0f} us, p99 {r['p99_us']:.0f} us (without: {none['p50_us']:.0f}, {none['p99_us']:.0f})")
        common.row(f"zipf_{entries}_entries_per_s", r["per_s"], none["per_s"], "no cache", r["per_s"] / none["per_s"])


def popular(folder):
    """The lists that 95 of 100 requests ask for, remembered beforehand."""
    bodies = zipf_lists(folder)
    with medley(WORKSPACE, "--cache-entries", 0) as s:
        none = load(s.port, bodies, order="zipf", warm=50, seconds=4 * SECONDS, connections=4, seed=7)
    most = sum(1 / (i + 1) for i in range(LISTS))
    n, seen = 0, 0.0
    while seen < 0.95 * most:
        n += 1
        seen += 1 / n
    with medley(WORKSPACE, "--cache-entries", 120000) as s:
        load(s.port, bodies, order="sequence", warm=0, requests=n, seconds=1e6, connections=4)
        r = load(s.port, bodies, order="zipf", warm=0, seconds=4 * SECONDS, connections=4, seed=7)
    common.say(f"# zipf: the {n} most popular lists of {LISTS} remembered; p50 {r['p50_us']:.0f} us, p99 {r['p99_us']:.0f} us")
    common.row("zipf_95_of_100_per_s", r["per_s"], none["per_s"], "no cache", r["per_s"] / none["per_s"])


def swap(folder):
    bodies, token = zipf_lists(folder), folder / "admin.token"
    token.write_text("an-admin-token-of-the-benchmark\n")

    def activate(port, stop, swaps):
        while not stop.is_set():
            request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/bundles:activate", b'{"bundle": "current"}',
                                             {"Content-Type": "application/json", "Authorization": "Bearer " + token.read_text().strip()})
            urllib.request.urlopen(request, timeout=60).read()
            swaps.append(time.monotonic())

    def measure(entries, swapping):
        stop, swaps = threading.Event(), []
        with medley(WORKSPACE, "--cache-entries", entries, "--admin-token-file", token) as s:
            load(s.port, bodies, order="zipf", warm=1000 if entries else 50, seconds=0.1, connections=4, seed=7)
            swapper = threading.Thread(target=activate, args=(s.port, stop, swaps))
            if swapping:
                swapper.start()
            r = load(s.port, bodies, order="zipf", warm=0, seconds=4 * SECONDS, connections=4, seed=8)
            stop.set()
            if swapping:
                swapper.join()
        if r["failures"]:
            raise SystemExit(f"{r['failures']} requests failed during swaps")
        return r["p99_us"], len(swaps)
    for name, entries in (("remembered", 40000), ("judged", 0)):
        seen = pairs_of(lambda: (measure(entries, True), measure(entries, False)))
        a, b = (common.median([r[i][0] for r in seen]) for i in (0, 1))
        common.say(f"# swap, {name}: {common.median([r[0][1] for r in seen])} swaps in {4 * SECONDS:.0f} s, none of the requests failed")
        common.row(f"swap_{name}_p99_us", a, b, "no swap", b / a)


def python(workspace, folder):
    tables = workspace / "tables"
    model = folder / "lightgbm.txt"
    ensemble = workspace / "bundle/current/ensemble.txt"
    subprocess.run([BUILD / "medley", "gbdt", "convert", ensemble, model, "--to", "lightgbm"], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def server(remember):
        return Server(sys.executable, common.HERE / "serve_python.py", PORT + 1, model, tables, int(remember), port=PORT + 1)
    for name, options, remember in (("judged", {"cache": "off"}, False), ("remembered", {}, True)):
        bodies = lists(folder / "python.jsonl", 20, **options)

        def measure():
            with medley(workspace) as s:
                answer = ask(s.port, bodies)
                ours = load(s.port, bodies, warm=4000)
            with server(remember) as s:
                same(answer, ask(s.port, bodies))
                return ours, load(s.port, bodies, warm=2000)
        seen = pairs_of(measure)
        version = f"{common.version('aiohttp')} {common.version('lightgbm')}"
        a, b = (common.median([r[i]["per_s"] for r in seen]) for i in (0, 1))
        common.row(f"vs_python_{name}_per_s", a, b, version, a / b)
        a, b = (common.median([r[i]["p99_us"] for r in seen]) for i in (0, 1))
        common.row(f"vs_python_{name}_p99_us", a, b, version, b / a)


def ask(port, bodies):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/classify", open(bodies).readline().encode(),
                                     {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))["results"]


def same(ours, theirs):
    worst = max(abs(a["probabilities"][k] - b["probabilities"][k]) for a, b in zip(ours, theirs) for k in "ESCI")
    if worst > 1e-5:
        raise SystemExit(f"the two servers do not have the same ensemble: they differ by {worst}")


def main():
    common.machine()
    common.header()
    workspace = serve_data.workspace(BUILD / "medley", WORK / "serve-tables")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if "cached" in ONLY:
            cached(workspace, folder)
        if "pairs" in ONLY:
            pairs(workspace, folder)
        if "zipf" in ONLY and (WORKSPACE / "bundle/current").exists():
            zipf(folder)
        if "popular" in ONLY and (WORKSPACE / "bundle/current").exists():
            popular(folder)
        if "swap" in ONLY and (WORKSPACE / "bundle/current").exists():
            swap(folder)
        if "python" in ONLY:
            python(workspace, folder)


main()
