"""Time and peak memory of one call, measured as bench/medley_worker.c does it."""
import contextlib
import time


def _status_mb(field):
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    return float("nan")


@contextlib.contextmanager
def metered():
    """Fills the dictionary it yields; extra_mb is the peak above what was resident before."""
    figures = {}
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")  # the peak begins anew here
    before = _status_mb("VmRSS")
    cpu, wall = time.process_time(), time.perf_counter()
    yield figures
    figures["wall"] = time.perf_counter() - wall
    figures["cpu"] = time.process_time() - cpu
    figures["peak_mb"] = _status_mb("VmHWM")
    figures["extra_mb"] = figures["peak_mb"] - before


def repeated(call, times):
    """The first call is not timed: tables are built and pages come in."""
    runs = []
    for i in range(times + 1):
        with metered() as figures:
            result = call()
        if i:
            runs.append(figures)
    return result, runs
