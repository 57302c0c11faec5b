"""medley.serve: starts, answers as the bundle does, ends; what goes wrong is said."""
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import pytest

import medley

PRODUCTS = [{"id": "x", "title": "Red shoes for men"}, "nowhere", {"title": "Mouse pad"}]


@pytest.fixture(scope="module")
def server(workspace):
    with medley.serve(workspace) as s:
        yield s


def _gone(process):
    return process.poll() is not None


def test_answers_as_the_bundle_does(workspace, server):
    bundle = workspace.bundle()
    assert server.url.startswith("http://127.0.0.1:") and server.bundle_id == bundle.id
    here = bundle.classify("red shoes", PRODUCTS, explain=True)
    there = server.classify("red shoes", PRODUCTS, explain=True)
    for a, b in zip(here, there):
        assert a["label"] == b["label"] and a["known_product"] == b["known_product"]
        for k, name in enumerate(bundle.classes):
            assert a["margins"][name] == pytest.approx(b["margins"][name], abs=1e-5)
            total = b["base"][name] + sum(c[name] for c in b["contributions"].values())
            assert abs(total - b["margins"][name]) < 1e-4
    ranked = server.rank("red shoes", PRODUCTS)
    assert sorted(r["position"] for r in ranked) == [0, 1, 2]
    gains = [r["expected_gain"] for r in ranked]
    assert gains == sorted(gains, reverse=True)


def test_other_keys_and_routes(server):
    only = server.classify("red shoes", PRODUCTS, models=["small"], cache="off")
    assert all(r["models_used"] == ["small"] for r in only[::2])
    given = np.array([0.7, 0.1, 0.1, 0.1])
    said = server.classify("red shoes", [{"id": "x", "predictions": {"sage": given}}])
    assert said[0]["models_given"] == ["sage"]
    assert server.request("/v1/bundle")["id"] == server.bundle_id
    assert "medley_" in server.request("/metrics")
    assert server.url in repr(server) and server.url in server._repr_html_()


def test_a_proxy_is_not_asked(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert len(server.classify("red shoes", PRODUCTS)) == 3


def test_refusals(server, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="query") as problem:
        server.classify("", PRODUCTS)
    assert problem.value.code == "HTTP 400"
    with pytest.raises(ValueError, match="nonsense"):
        server.classify("red shoes", PRODUCTS, nonsense=1)
    with pytest.raises(ValueError) as problem:
        server.request("/nowhere")
    assert problem.value.code == "HTTP 404"
    with pytest.raises(medley.MedleyError, match=f"cannot serve '{tmp_path}': .*bundle.json"):
        medley.serve(tmp_path)
    with pytest.raises(medley.MedleyError, match="cannot serve"):
        medley.serve(tmp_path, no_such_option=1)
    with pytest.raises(medley.MedleyError, match="in use"):
        medley.serve(medley.Bundle(server_folder(server)), port=int(server.url.rsplit(":")[-1]))
    monkeypatch.setenv("MEDLEY_PROGRAM", "/bin/cat")
    with pytest.raises(medley.MedleyError, match="cannot serve"):
        medley.serve(tmp_path)


def server_folder(server):
    arguments = server._process.args
    return next(a for a in arguments if a.startswith("--bundle=")).split("=", 1)[1]


def test_not_ready_in_time(tmp_path, monkeypatch):
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("MEDLEY_PROGRAM", str(slow))
    with pytest.raises(medley.MedleyError, match="not ready after 0.3 s"):
        medley.serve(tmp_path, timeout=0.3)


def test_interrupted_while_it_starts(tmp_path, monkeypatch):
    slow = tmp_path / "slow"
    slow.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("MEDLEY_PROGRAM", str(slow))
    threading.Timer(0.5, lambda: signal.raise_signal(signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        medley.serve(tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_close(workspace):
    server = medley.serve(workspace.folder, threads=1)
    process = server._process
    urllib.request.urlopen(server.url + "/healthz").close()
    server.close()
    server.close()
    assert process.returncode == 0 and "closed" in repr(server)
    with pytest.raises(medley.MedleyError, match="the server has ended"):
        server.classify("red shoes", PRODUCTS)


def test_forgotten_servers_end(workspace):
    server = medley.serve(workspace)
    process = server._process
    del server
    assert _gone(process)


def test_ends_with_python(workspace):
    """Also of a forked child, which must leave the server alone."""
    code = ("import medley, os, sys\n"
            f"s = medley.serve({str(workspace.folder)!r})\n"
            "if os.fork() == 0:\n    sys.exit(0)\n"
            "os.wait()\n"
            "assert s.request('/healthz') is not None\n"
            "print(s._process.pid)\n")
    pid = int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True,
                             text=True).stdout)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_token(workspace, tmp_path):
    (tmp_path / "token").write_text("a token of the tests\n".replace(" ", "-"))
    with medley.serve(workspace, token_file=tmp_path / "token", quiet=False) as server:
        assert len(server.classify("red shoes", PRODUCTS)) == 3
        until = time.monotonic() + 10  # the log comes beside the answer
        while not any("/v1/classify" in line for line in server.log):
            assert time.monotonic() < until
            time.sleep(0.01)
        server._token = None
        with pytest.raises(ValueError) as problem:
            server.classify("red shoes", PRODUCTS)
        assert problem.value.code == "HTTP 401"
