"""Graph layers over a whole graph beside PyTorch Geometric and torch: `make bench-gnn`.

A power-law bipartite graph of 200,000 nodes and 2,000,000 directed edges, 128 features, two layers of
width 128. Processes of Medley and of the peers take turns; the quickest round of each counts, so that a
busy machine disturbs both alike. Rows `epoch_*` are seconds on the clock; `cpu_*`, of one thread, are CPU
seconds, which other work on the machine changes less; `memory_*` the peak above what was resident.
THREADS="1 2", ROUNDS=2, LAYERS="gcn sage gatv2", PEERS="pyg torch index_add", JOBS="forward train" and
GROWTH="100000 1000000 10000000" (edges; "" for none) in the environment.
"""
import os
import sys

import common
from common import BUILD, HERE, WORK, row, say

NODES, EDGES = 200_000, 2_000_000
GROWTH = [int(e) for e in os.environ.get("GROWTH", "100000 1000000 10000000").split()]
THREADS = [int(t) for t in os.environ.get("THREADS", "1 2").split()]
ROUNDS = int(os.environ.get("ROUNDS", "2"))
LAYERS = os.environ.get("LAYERS", "gcn sage gatv2").split()
PEERS = os.environ.get("PEERS", "pyg torch index_add").split()
JOBS = os.environ.get("JOBS", "forward train").split()
REPEATS = 3
# The ways in which a peer can be asked; the quickest in the first round is measured on.
FORMS = {"pyg": ["pyg", "pyg_csr"], "torch": ["torch", "torch_turned"], "index_add": ["index_add"]}


def graph(nodes, edges):
    path = WORK / f"graph-{nodes}-{edges}.bin"
    if not path.exists():
        WORK.mkdir(parents=True, exist_ok=True)
        common.subprocess.run([BUILD / "bench/bench_gnn", "graph", path, str(nodes), str(edges)],
                              check=True)
    return path


def ours(path, layer, job, threads, repeats=REPEATS):
    return common.run([BUILD / "bench/bench_gnn", "layer", path, layer, job, repeats], threads)


def theirs(path, who, layer, job, threads):
    # An epoch of edge lists takes as long as three to ten of sparse products.
    repeats = REPEATS if who in FORMS["torch"] else 1
    return common.run([sys.executable, "-W", "ignore", HERE / "gnn_worker.py", path, who, layer, job,
                       repeats, threads], threads)


def best(results):
    """The quickest epoch and the least memory of what ran at all."""
    results = [r for r in results if r]
    if not results:
        return None
    return [min(min(r[what]) for r in results) for what in ("seconds", "cpu")] + [
        min(r["extra_mb"] for r in results)]


def forms(who, layer):
    """Attention has no sparse product."""
    return [f for f in FORMS[who] if layer != "gatv2" or f in ("pyg", "index_add")]


def compare(path, layer, job, threads):
    """Medley and the peers take turns; a peer's least memory is that of any of its forms."""
    peers = {who: forms(who, layer) for who in PEERS if forms(who, layer)}
    runs = {who: [] for who in ["medley", *peers]}
    for _ in range(ROUNDS if layer != "gatv2" else 1):
        runs["medley"].append(ours(path, layer, job, threads))
        for who, ways in peers.items():
            here = {way: theirs(path, way, layer, job, threads) for way in ways}
            runs[who] += here.values()
            ran = [way for way in ways if here[way]]
            peers[who] = ran and [min(ran, key=lambda way: min(here[way]["cpu"]))]
    mine = best(runs["medley"])
    for who in peers:
        peer = best(runs[who])
        if not mine or not peer:
            say(f"    {layer} {job} on {threads}: no figures of {who}")
            continue
        version = common.version("torch-geometric" if who == "pyg" else "torch")
        name = f"{layer}_{job}_{threads}t_{who}"
        row(f"epoch_{name}_s", mine[0], peer[0], version, peer[0] / mine[0])
        if threads == 1:  # peers whose threads spin at barriers: CPU time says nothing of two
            row(f"cpu_{name}_s", mine[1], peer[1], version, peer[1] / mine[1])
        row(f"memory_{name}_mb", mine[2], peer[2], version, peer[2] / mine[2])


def bandwidth(path, threads):
    """Medley's sparse product beside what this machine's memory gives. The bound that applies is
    `random`: the same rows in the same order, read and added up, nothing else."""
    r = common.run([BUILD / "bench/bench_gnn", "gather", path, 7], threads)
    if not r:
        return
    for bound in ("random", "stream"):
        row(f"bandwidth_{bound}_{threads}t_gb_s", r["product"], r[bound], f"{bound} row reads",
            r["product"] / r[bound])


def growth(threads):
    """Seconds a million edges, the peer column being those of the smallest graph."""
    for layer in LAYERS:
        base = None
        for edges in GROWTH:
            r = ours(graph(edges // 10, edges), layer, "train", threads, 2)
            if not r:
                continue
            each = min(r["seconds" if threads > 1 else "cpu"]) / edges * 1e6
            base = base or each
            row(f"epoch_growth_{layer}_{edges}_s_per_million", each, base, "100k edges", base / each)


def main():
    common.machine()
    common.header()
    path = graph(NODES, EDGES)
    for threads in THREADS:
        bandwidth(path, threads)
        for layer in LAYERS:
            for job in JOBS:
                compare(path, layer, job, threads)
    growth(max(THREADS))
    lookup = BUILD / "bench/bench_lookup"  # rows lookup_*, where that program has been built
    if lookup.exists():
        sys.stdout.flush()
        common.subprocess.run([lookup], check=False)


main()
