"""One network of two graph layers in torch, in a process of its own: gnn_worker.py GRAPH WHO LAYER JOB
REPEATS THREADS, WHO `pyg` (PyTorch Geometric, edge lists) or `torch` (sparse CSR
products; gcn and sage). Prints one line of JSON as bench_gnn does."""
import json
import sys
import time

import numpy as np
import torch
from torch import nn

WIDTH, HEADS, CLASSES = 128, 4, 4


def status_mb(field):
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith(field + ":"))


def read_graph(path):
    nodes, edges = np.fromfile(path, np.uint64, 2).astype(int)
    offsets = np.fromfile(path, np.uint32, nodes + 1, offset=16).astype(np.int64)
    source = np.fromfile(path, np.uint32, edges, offset=16 + 4 * (nodes + 1)).astype(np.int64)
    return torch.from_numpy(offsets), torch.from_numpy(source)


class Sparse(nn.Module):
    """GCN and SAGE as a product with a sparse matrix that is made once. The graph is symmetric,
    and so is GCN's matrix; torch transposes SAGE's for the way back."""

    def __init__(self, layer, offsets, source):
        super().__init__()
        degree = (offsets[1:] - offsets[:-1]).float()
        target = torch.repeat_interleave(torch.arange(len(degree)), degree.long())
        n = len(degree)
        self.sage = layer == "sage"
        if self.sage:
            value = (1 / degree)[target]
        else:
            target, source = (torch.cat([x, torch.arange(n)]) for x in (target, source))
            root = (1 + degree).rsqrt()
            value = root[target] * root[source]
        matrix = torch.sparse_coo_tensor(torch.stack([target, source]), value, (n, n))
        self.matrix = matrix.coalesce().to_sparse_csr()
        self.one, self.two = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.own = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2))

    def layer(self, x, linear, own):
        y = linear(self.matrix @ x)
        return y + own(x) if self.sage else y

    def forward(self, x):
        return self.layer(torch.relu(self.layer(x, self.one, self.own[0])), self.two, self.own[1])


class Geometric(nn.Module):
    def __init__(self, layer, offsets, source):
        super().__init__()
        from torch_geometric.nn import GATv2Conv, GCNConv, SAGEConv
        degree = offsets[1:] - offsets[:-1]
        target = torch.repeat_interleave(torch.arange(len(degree)), degree)
        self.edges = torch.stack([source, target])
        make = {"gcn": lambda: GCNConv(WIDTH, WIDTH, cached=True),
                "sage": lambda: SAGEConv(WIDTH, WIDTH),
                "gatv2": lambda: GATv2Conv(WIDTH, WIDTH // HEADS, heads=HEADS)}[layer]
        self.one, self.two = make(), make()

    def forward(self, x):
        return self.two(torch.relu(self.one(x, self.edges)), self.edges)


def main():
    path, who, layer, job, repeats, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.manual_seed(1)
    if who == "pyg":
        import torch_geometric  # noqa: F401  its own size is not the network's
    offsets, source = read_graph(path)
    n = len(offsets) - 1
    x, labels = torch.rand(n, WIDTH) - 0.5, torch.arange(n) % CLASSES
    before, seconds, check = status_mb("VmRSS"), [], 0
    net = (Sparse if who == "torch" else Geometric)(layer, offsets, source)
    adam = torch.optim.AdamW(net.parameters(), 1e-3)
    for i in range(int(repeats) + 1):
        start = time.perf_counter()
        if job == "train":
            loss = nn.functional.cross_entropy(net(x)[:, :CLASSES], labels)
            adam.zero_grad()
            loss.backward()
            adam.step()
            check = loss.item()
        else:
            with torch.inference_mode():
                check = net(x)[0, 0].item()
        if i:
            seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds, "check": check, "extra_mb": status_mb("VmHWM") - before}))


main()
