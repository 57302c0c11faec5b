"""What the comparisons share: tables, processes, rows of CSV, talk."""
import importlib.metadata
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("MEDLEY_BUILD", "build/release"))
WORK = pathlib.Path(os.environ.get("BENCH_WORK", "build/bench"))
CLASSES = 4
TEST_FIRST = 1 << 40  # rows of the endless table far from any training row


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def version(package):
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return None


def table(rows, models, first=0):
    """The folder of a table, generated when first asked for."""
    folder = WORK / f"table-{rows}-{models}-{first}"
    if not (folder / "y.npy").exists():
        subprocess.run([BUILD / "bench/stack_table", "--rows", str(rows), "--models", str(models),
                        "--first", str(first), "-o", folder], check=True)
    return folder


def run(command, threads):
    """One measurement in a process of its own; the JSON it prints, or None when it failed."""
    names = ("MEDLEY_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    env = dict(os.environ, **{name: str(threads) for name in names})
    done = subprocess.run([str(c) for c in command], env=env, text=True, capture_output=True)
    if done.returncode != 0:
        say(f"    failed: {' '.join(str(c) for c in command)[:200]}\n    {done.stderr[-400:]}")
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def medley(job, threads, **arguments):
    return run([BUILD / "bench/medley_worker", job, *(f"{k}={v}" for k, v in arguments.items())],
               threads)


def peer(job, threads, python=None, **arguments):
    request = dict(job=job, threads=threads, classes=CLASSES, **arguments)
    return run([python or sys.executable, HERE / "worker.py", json.dumps(request, default=str)], threads)


def median(values):
    return statistics.median(values)


def spread(values):
    return f"{median(values):.4g} [{min(values):.4g}, {max(values):.4g}]"


def header():
    print("name,medley,peer,peer_version,ratio", flush=True)


def row(name, ours, theirs, who, ratio):
    print(f"{name},{ours:.6g},{theirs:.6g},{who},{ratio:.3f}", flush=True)


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((x.split(":")[1].strip() for x in f if x.startswith("model name")), "?")
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], text=True,
                            capture_output=True).stdout.strip()
    say(f"# {model}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {sys.version.split()[0]}, Medley at {commit or '?'}")
