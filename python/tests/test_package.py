"""What holds for all that the package offers: text for help(), types, errors that travel."""
import concurrent.futures
import inspect
import pickle

import pytest

import medley


def offered():
    """(name, function) of everything public."""
    for name in medley.__all__:
        thing = getattr(medley, name)
        if isinstance(thing, str):
            continue
        yield name, thing
        for key, member in vars(thing).items() if inspect.isclass(thing) else ():
            member = getattr(member, "__func__", getattr(member, "fget", member))
            if not key.startswith("_") and inspect.isfunction(member):
                yield f"{name}.{key}", member


def test_all_is_described_and_typed():
    for name, thing in offered():
        assert inspect.getdoc(thing), name
        if not inspect.isclass(thing):
            signature = inspect.signature(thing)
            assert signature.return_annotation is not signature.empty, name
            for p in signature.parameters.values():
                assert p.name in ("self", "cls") or p.annotation is not p.empty, f"{name}({p.name})"


def test_everything_is_offered():
    public = {n for n, v in vars(medley).items() if not n.startswith("_") and not inspect.ismodule(v)}
    assert public | {"__version__"} == set(medley.__all__)


def _fail(path):
    medley.Model.load(path)


def test_errors_come_back_from_processes(tmp_path):
    (tmp_path / "model").write_text("no model")
    with concurrent.futures.ProcessPoolExecutor(1) as pool, \
            pytest.raises(medley.MedleyError, match="model") as problem:
        pool.submit(_fail, tmp_path / "model").result()
    assert problem.value.code == "EFORMAT"
    back = pickle.loads(pickle.dumps(medley.InvalidArgument("EINVAL", "too many")))
    assert isinstance(back, ValueError) and (back.code, str(back)) == ("EINVAL", "too many")
