"""One network of two graph layers in torch, in a process of its own: gnn_worker.py GRAPH WHO LAYER JOB
REPEATS THREADS, WHO `pyg` (PyTorch Geometric, edge lists), `torch` (sparse CSR products; gcn and sage)
or `index_add` (rows gathered and added up by torch alone). Prints one line of JSON as bench_gnn does."""
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


class IndexAdd(nn.Module):
    """Every edge's row taken, weighed and added to its target's."""

    def __init__(self, layer, offsets, source):
        super().__init__()
        self.name, degree = layer, offsets[1:] - offsets[:-1]
        self.n = n = len(degree)
        target = torch.repeat_interleave(torch.arange(n), degree)
        if layer != "sage":
            target, source = (torch.cat([x, torch.arange(n)]) for x in (target, source))
        root = (1 + degree.float()).rsqrt()
        self.scale = 1 / degree.clamp(min=1).float()[:, None]
        self.factor = (root[target] * root[source])[:, None]
        self.target, self.source = target, source
        self.one, self.two = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.own = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=layer == "gatv2") for _ in range(2))
        self.att = nn.ParameterList(torch.randn(HEADS, WIDTH // HEADS) * 0.1 for _ in range(2))

    def attend(self, left, right, att):
        near = left[self.source].view(-1, HEADS, WIDTH // HEADS)
        own = right[self.target].view(-1, HEADS, WIDTH // HEADS)
        score = (nn.functional.leaky_relu(near + own, 0.2) * att).sum(-1)
        at = self.target[:, None].expand_as(score)
        top = torch.full((self.n, HEADS), -1e30).scatter_reduce(0, at, score.detach(), "amax")
        score = (score - top[self.target]).exp()
        total = torch.zeros(self.n, HEADS).index_add(0, self.target, score)
        alpha = score / total[self.target]
        return self.sum((near * alpha[:, :, None]).flatten(1))

    def sum(self, rows):
        return torch.zeros(self.n, WIDTH).index_add(0, self.target, rows)

    def layer(self, x, i):
        linear, own = (self.one, self.two)[i], self.own[i]
        if self.name == "gatv2":
            return self.attend(linear(x), own(x), self.att[i])
        if self.name == "sage":
            return linear(self.sum(x[self.source]) * self.scale) + own(x)
        return self.sum(linear(x)[self.source] * self.factor)

    def forward(self, x):
        return self.layer(torch.relu(self.layer(x, 0)), 1)


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
    before, seconds, cpu, check = status_mb("VmRSS"), [], [], 0
    net = {"torch": Sparse, "pyg": Geometric, "index_add": IndexAdd}[who](layer, offsets, source)
    adam = torch.optim.AdamW(net.parameters(), 1e-3)
    for i in range(int(repeats) + 1):
        start, cpu_start = time.perf_counter(), time.process_time()
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
            cpu.append(time.process_time() - cpu_start)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "check": check, "extra_mb": status_mb("VmHWM") - before}))


main()
