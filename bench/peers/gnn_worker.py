"""One network of two graph layers in torch, in a process of its own: gnn_worker.py GRAPH WHO LAYER JOB
REPEATS THREADS, WHO `pyg` (PyTorch Geometric, edge lists), `pyg_csr` (its layers over a sparse CSR
matrix), `torch` (sparse CSR products), `torch_turned` (the same, with the transposed matrix made once
for the way back), or `index_add` (rows gathered and added up by torch alone). Prints one line of JSON
as bench_gnn does."""
import json
import sys
import time
from functools import partial

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


class Product(torch.autograd.Function):
    """A sparse product whose way back is one, too, with a matrix that is there already."""

    @staticmethod
    def forward(ctx, matrix, turned, x):
        ctx.turned = turned
        return matrix @ x

    @staticmethod
    def backward(ctx, grad):
        return None, None, ctx.turned @ grad


def csr(target, source, value, n):
    matrix = torch.sparse_coo_tensor(torch.stack([target, source]), value, (n, n))
    return matrix.coalesce().to_sparse_csr()


def normalised(layer, offsets, source):
    """GCN's matrix; SAGE's, which divides by the degree itself, of ones."""
    n, degree = len(offsets) - 1, (offsets[1:] - offsets[:-1]).float()
    target, root = torch.repeat_interleave(torch.arange(n), degree.long()), (1 + degree).rsqrt()
    if layer != "gcn":
        return csr(target, source, torch.ones(len(source)), n)
    target, source = (torch.cat([x, torch.arange(n)]) for x in (target, source))
    return csr(target, source, root[target] * root[source], n)


class Sparse(nn.Module):
    """GCN and SAGE as a product with a sparse matrix that is made once. The graph is symmetric,
    and so is GCN's matrix; without `turned` torch transposes on the way back."""

    def __init__(self, layer, offsets, source, turned=False):
        super().__init__()
        degree = (offsets[1:] - offsets[:-1]).float()
        target = torch.repeat_interleave(torch.arange(len(degree)), degree.long())
        n = len(degree)
        self.sage = layer == "sage"
        self.turned = None
        if self.sage:
            self.matrix = csr(target, source, (1 / degree)[target], n)
        else:
            self.matrix = normalised(layer, offsets, source)
        if turned:
            self.turned = csr(target, source, (1 / degree)[source], n) if self.sage else self.matrix
        self.one, self.two = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.own = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2))

    def layer(self, x, linear, own):
        near = self.matrix @ x if self.turned is None else Product.apply(self.matrix, self.turned, x)
        y = linear(near)
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
    def __init__(self, layer, offsets, source, sparse=False):
        super().__init__()
        from torch_geometric.nn import GATv2Conv, GCNConv, SAGEConv
        degree = offsets[1:] - offsets[:-1]
        target = torch.repeat_interleave(torch.arange(len(degree)), degree)
        if sparse:
            self.edges = normalised(layer, offsets, source)
        else:
            self.edges = torch.stack([source, target])
        make = {"gcn": lambda: GCNConv(WIDTH, WIDTH, cached=not sparse, normalize=not sparse),
                "sage": lambda: SAGEConv(WIDTH, WIDTH),
                "gatv2": lambda: GATv2Conv(WIDTH, WIDTH // HEADS, heads=HEADS)}[layer]
        self.one, self.two = make(), make()

    def forward(self, x):
        return self.two(torch.relu(self.one(x, self.edges)), self.edges)


def main():
    path, who, layer, job, repeats, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.manual_seed(1)
    if who.startswith("pyg"):
        import torch_geometric  # noqa: F401  its own size is not the network's
    offsets, source = read_graph(path)
    n = len(offsets) - 1
    x, labels = torch.rand(n, WIDTH) - 0.5, torch.arange(n) % CLASSES
    before, seconds, cpu, check = status_mb("VmRSS"), [], [], 0
    make = {"torch": Sparse, "torch_turned": partial(Sparse, turned=True), "pyg": Geometric,
            "pyg_csr": partial(Geometric, sparse=True), "index_add": IndexAdd}[who]
    net = make(layer, offsets, source)
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
