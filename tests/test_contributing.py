"""CONTRIBUTING.md: its examples run, its files exist, its two paths through the modules are those that data take."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import fluxan
from fluxan.cli.app import app
from fluxan.greenkubo.estimators.estimate import Estimate
from fluxan.greenkubo.estimators.methods import ESTIMATORS
from fluxan.trajectory import ReaderOptions
from fluxan.trajectory.frame_record import FrameRecord
from fluxan.trajectory.trajectory_base import Trajectory
from tests.exact_series import SERIES
from tests.systems import argon_krypton

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SHIPPED = ROOT / "fluxan" / "data" / "arkr.nc"


def example(heading):
    """The code under a heading: ten lines at most, blank ones and those of docstrings apart."""
    code = re.search(rf"## {heading}\n.*?```python\n(.*?)```", TEXT, re.DOTALL)[1]
    lines = [line for line in re.sub(r'""".*?"""', "", code, flags=re.DOTALL).splitlines() if line.strip()]
    assert len(lines) <= 10
    return compile(code, heading, "exec")


def test_a_potential():
    names = {"fluxan": fluxan, "frame": next(iter(argon_krypton(1)))}
    exec(example("Add a potential"), names)
    flux = names["flux"]
    assert flux.self_check.startswith("local route passed")
    assert np.abs(flux.potential).max() > 0


def test_a_reader(tmp_path, monkeypatch):
    table = np.random.default_rng(0).normal(size=(3, 8, 6))
    np.savetxt(tmp_path / "atoms.txt", table.reshape(-1, 6))
    monkeypatch.chdir(tmp_path)
    names = {"np": np, "Trajectory": Trajectory, "FrameRecord": FrameRecord, "ReaderOptions": ReaderOptions}
    exec(example("Add a reader"), names)
    np.testing.assert_allclose([frame.velocities for frame in names["frames"]], table[:, :, 3:])


def test_an_estimator(monkeypatch):
    monkeypatch.setitem(ESTIMATORS, "lowest", None)
    samples = SERIES["white"].sample(20_000, rng=np.random.default_rng(1))
    settings = {"dt": 0.01, "volume": 1.0, "temperature": 1.0, "units": "lj"}

    class Fluxan:
        @staticmethod
        def green_kubo(flux, method):
            return fluxan.green_kubo(flux, method=method, compare=(), **settings)

    names = {"fluxan": Fluxan, "flux": samples, "ESTIMATORS": ESTIMATORS, "Estimate": Estimate}
    exec(example("Add an estimator"), names)
    assert names["kappa"].method == "lowest"
    expected = fluxan.green_kubo(samples, **settings).kappa
    assert names["kappa"].kappa == pytest.approx(expected, abs=4 * names["kappa"].error)


def test_a_command(monkeypatch):
    monkeypatch.setattr(app, "registered_commands", [*app.registered_commands])
    exec(example("Add a command"), {"typer": typer, "fluxan": fluxan, "app": app})
    result = CliRunner().invoke(app, ["atoms", str(SHIPPED)])
    assert result.output.strip() == str(next(iter(fluxan.open_trajectory(SHIPPED))).n_atoms)
    assert "Example: fluxan atoms run.nc" in CliRunner().invoke(app, ["atoms", "--help"]).output


def test_files_that_are_named_exist():
    names = set(re.findall(r"`((?:fluxan|kernels|tests|benchmarks)/[\w/.]*)`", TEXT))
    assert len(names) > 15
    assert [name for name in sorted(names) if not (ROOT / name).exists()] == []


def test_rooms_are_those_of_pyproject():
    import tomllib

    rooms = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["fluxan"]["rooms"]
    named = [name.removesuffix(".py") for name in re.findall(r"^\| `(?:fluxan/)?(\w+)/` ", TEXT, re.MULTILINE)]
    assert named == [room for room in rooms if (ROOT / "fluxan" / room).is_dir() or room == "kernels"]


def module_of(frame):
    path = Path(frame.f_code.co_filename)
    for root, parent in ((ROOT / "fluxan", ROOT / "fluxan"), (ROOT / "kernels", ROOT)):
        if path.is_relative_to(root):
            return ".".join(path.relative_to(parent).with_suffix("").parts)
    return None


@pytest.fixture(scope="module")
def stacks(tmp_path_factory):
    """By module, function and whether in the main thread: modules on the stack of its first call, outermost first."""
    output, found = tmp_path_factory.mktemp("flux") / "flux.nc", {}

    def note(frame, event, _):
        here = module_of(frame) if event == "call" else None
        key = (here, frame.f_code.co_name, threading.current_thread() is threading.main_thread())
        if here is None or key in found:
            return
        stack = []
        while frame is not None:
            module = module_of(frame)
            if module is not None and module != (stack[-1] if stack else None):
                stack.append(module)
            frame = frame.f_back
        found[key] = stack[::-1]

    fluxan.green_kubo(fluxan.decompose(SHIPPED, progress=False))  # so that everything is imported
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        fluxan.decompose(SHIPPED, output=output, progress=False)
        fluxan.green_kubo(output)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return found


def path(name):
    """A path that CONTRIBUTING.md gives; it enters no module twice."""
    modules = re.search(rf"^{name}: (.*)$", TEXT, re.MULTILINE)[1].split(" > ")
    assert len(set(modules)) == len(modules)
    return modules


def test_the_path_of_a_velocity(stacks):
    up = stacks["trajectory.amber", "_records", False][::-1]
    down = stacks["kernels.cpu", "pair_flux", True]
    assert path("velocity") == [*up, *down[down.index("jobs.job") :]]


def test_the_path_of_a_sample_of_the_flux(stacks):
    up = stacks["series.conversion", "read", True][::-1]
    down = stacks["greenkubo.estimators.mixture", "mixture", True]
    middle = "greenkubo.sampled"
    assert path("sample") == [*up[: up.index(middle)], *down[down.index(middle) :]]
