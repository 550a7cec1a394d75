"""Nothing is lost: kills at random moments, resumed to the same bits; memory that does not grow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import fluxan
from fluxan.series import flux_writer
from fluxan.series.schema import VARIABLES
from tests.regression.killing import run_md, train
from tests.systems import argon_krypton

ROOT = Path(__file__).parents[2]


def run(*arguments):
    """Standard output of a Python module run from the root."""
    command = [sys.executable, "-m", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def trajectory(tmp_path):
    path = tmp_path / "traj.nc"
    text = fluxan.load_model("shipped:ar-kr").describe()
    fluxan.convert(argon_krypton(200), path, double=True, model_text=text)
    return path


def test_a_job_killed_twenty_times_is_bitwise_equal(trajectory, tmp_path, monkeypatch):
    monkeypatch.setattr(flux_writer, "CHUNK_FRAMES", 2)
    kills = run("tests.regression.killing", "decompose", trajectory, tmp_path / "killed.nc", 20)
    assert int(kills) == 20
    fluxan.decompose(trajectory, output=tmp_path / "whole.nc", progress=False).close()
    with fluxan.open_flux(tmp_path / "killed.nc") as a, fluxan.open_flux(tmp_path / "whole.nc") as b:
        assert a.sizes["time"] == 200
        for name in VARIABLES:
            assert np.array_equal(a[name].values, b[name].values, equal_nan=True), name


def test_writer_survives_four_hundred_kills(tmp_path):
    assert int(run("tests.regression.killing", "writer", tmp_path / "flux.nc", 400)) == 400


@pytest.mark.parametrize(("ensemble", "kills"), [("nve", 10), ("nvt", 10), ("hnemd", 20)])
def test_a_run_killed_many_times_is_bitwise_equal(ensemble, kills, tmp_path):
    assert int(run("tests.regression.killing", "md", ensemble, tmp_path / "killed.nc", kills)) == kills
    run_md(ensemble, tmp_path / "whole.nc")
    with fluxan.open_flux(tmp_path / "killed.nc") as a, fluxan.open_flux(tmp_path / "whole.nc") as b:
        assert a.sizes["time"] == 200
        for name in VARIABLES:
            assert np.array_equal(a[name].values, b[name].values, equal_nan=True), name
    for kind in ("correlation", *(["spectrum"] if ensemble == "hnemd" else [])):
        saved = [(tmp_path / f"{name}.{kind}.nc").read_bytes() for name in ("killed", "whole")]
        assert saved[0] == saved[1], kind


MEMORY = """
import re, sys
import fluxan
from tests.systems import argon_krypton
frames = argon_krypton(int(sys.argv[1]), n_cells=4)
fluxan.convert(frames, sys.argv[2], model_text=fluxan.load_model("shipped:ar-kr").describe())
fluxan.decompose(sys.argv[2], output=sys.argv[2] + ".flux", progress=False).close()
# Not ru_maxrss: a process begins with that of its parent.
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def test_memory_does_not_grow_with_the_trajectory(tmp_path):
    script = tmp_path / "memory.py"
    script.write_text(MEMORY)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    peak = {}
    for n_frames in (400, 8000):
        command = [sys.executable, script, str(n_frames), tmp_path / f"{n_frames}.nc"]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        peak[n_frames] = int(done.stdout)
    assert peak[8000] < 1.05 * peak[400], peak


STREAM = """
import re, sys
import fluxan
from fluxan.flux.evaluate import FluxEvaluator
from fluxan.md.recording import Recording
from fluxan.neighbors import build_graph
from tests.systems import argon_krypton
frame = next(iter(argon_krypton(1)))
evaluator = FluxEvaluator(fluxan.load_model("shipped:ar-kr"), frame.numbers)
flux = evaluator.flux(frame, build_graph(frame, evaluator.model.cutoff))
correlator = fluxan.Correlator(12, max_lag=1000, scheme="multitau")
recording = Recording(evaluator, name="run", time_step=0.01, correlator=correlator, output=sys.argv[2] or None)
for k in range(int(sys.argv[1])):
    object.__setattr__(frame, "time", 0.01 * k)  # a record is not to be changed; to make a million takes a minute
    recording.add(frame, flux)
recording.close()
assert correlator.n_samples == int(sys.argv[1])
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


@pytest.mark.parametrize(("name", "short", "long"), [("", 20_000, 1_000_000), ("flux.nc", 4_000, 30_000)])
def test_memory_does_not_grow_with_the_fluxes_streamed(tmp_path, name, short, long):
    script = tmp_path / "stream.py"
    script.write_text(STREAM)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    peak = {}
    for n in (short, long):
        command = [sys.executable, script, str(n), name and tmp_path / f"{n}.nc"]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        peak[n] = int(done.stdout)
    assert peak[long] < 1.02 * peak[short] + 2048, peak


def test_a_fit_killed_twenty_times_is_bytewise_equal(tmp_path):
    assert int(run("tests.regression.killing", "train", tmp_path / "killed", 20)) == 20
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(tmp_path / "whole")
    torch.set_num_threads(threads)
    for name in ("model.safetensors", "history.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
