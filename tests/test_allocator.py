"""The allocator keeps memory between frames: page faults and memory, counted in processes of their own."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fluxan import allocator

ROOT = Path(__file__).parents[1]

#: A model whose tensors, 48 MiB each, are larger than what glibc keeps by itself.
JOB = """
import json, resource, sys
import torch
import fluxan
from fluxan.flux.evaluate import FluxEvaluator
from fluxan.md.evaluation import Evaluation
from fluxan.potentials.base import Potential
from tests.systems import argon_krypton

class Wide(Potential):
    cutoff = 4.5

    def __init__(self):
        super().__init__()
        self.register_buffer("widths", torch.linspace(0.5, 1.5, 16384, dtype=torch.float64))

    def forward(self, graph):
        distances = graph.r_ij.norm(dim=1)
        bonds = torch.exp(-distances[:, None] * self.widths).mean(dim=1) * (self.cutoff - distances) ** 2
        return torch.zeros(graph.n_atoms, dtype=torch.float64).index_add(0, graph.receivers, bonds)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def status(name):
    return int(open("/proc/self/status").read().split(name + ":")[1].split()[0]) / 1024

torch.set_num_threads(1)
frames, model = list(argon_krypton(8)), Wide()
evaluation = Evaluation(FluxEvaluator(model, frames[0].numbers)) if sys.argv[1] == "forces" else None
jobs = {
    "decompose": lambda: fluxan.decompose(frames, model, progress=False),
    "heat_flux": lambda: [fluxan.heat_flux(frame, model) for frame in frames],
    "forces": lambda: [evaluation.at(frame, flux=True) for frame in frames],
}
jobs[sys.argv[1]]()
before = faults()
jobs[sys.argv[1]]()
print(json.dumps([faults() - before, status("VmRSS")]))
"""

NETWORK = """
import json
import numpy as np
import torch
from benchmarks.measure import peak_resident
from benchmarks.message_passing import ELEMENTS, crystal
from fluxan.flux.evaluate import FluxEvaluator
from fluxan.flux.adjoint import AdjointRoute
from fluxan.neighbors import build_graph
from fluxan.potentials.equivariant import EquivariantNetwork

torch.set_num_threads(1)
model, frame = EquivariantNetwork(ELEMENTS, n_neighbors=49.0).double(), crystal(4, ELEMENTS[:2])
FluxEvaluator(model, frame.numbers)
rng = np.random.default_rng(0)
peaks = []
for n_frames in (12, 24):
    for _ in range(n_frames):
        scale = 1 + 0.03 * np.clip(rng.normal(), -1.5, 1.5)
        scaled = frame.replace(positions=scale * frame.positions, cell=scale * frame.cell)
        AdjointRoute(model).atomic_virial(build_graph(scaled, model.cutoff))
    peaks.append(peak_resident())
print(json.dumps(peaks))
"""


def run(script, *arguments, **environment):
    """Numbers that a script prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("job", ["decompose", "heat_flux", "forces"])
def test_a_job_has_fewer_page_faults(job):
    faults, resident = run(JOB, job)
    faults_before, resident_before = run(JOB, job, FLUXAN_MALLOC="0")
    assert faults < faults_before / 4
    if job == "decompose":  # memory is given back when the job is done
        assert resident < 1.15 * resident_before


def test_peak_memory_is_bounded():
    """A network whose cell, and with it every tensor, changes its size from frame to frame.

    Without the thresholds the peak of one and the same job was 700 to 860 MiB on the machines that ran it, so the
    level is held loosely; what must not be is that it grows.
    """
    early, late = run(NETWORK)
    assert late < 1.1 * early
    _, untouched = run(NETWORK, FLUXAN_MALLOC="0")
    assert late < 1.3 * untouched


@pytest.mark.parametrize("value", ["0", "off", "No", " false "])
def test_a_variable_turns_it_off(monkeypatch, value):
    monkeypatch.setenv(allocator.SWITCH, value)
    assert allocator.keep_memory.__wrapped__() is False


class Refusing:
    """A C library that has these functions; its mallopt refuses thresholds above 32 MiB, as old glibc does."""

    def __init__(self, *names):
        self.calls = []
        for name in names:
            setattr(self, name, getattr(self, f"_{name}", lambda *_: 1))

    def _mallopt(self, parameter, value):
        self.calls.append((parameter, value))
        return int(value <= 1 << 25)


@pytest.mark.parametrize("names", [(), ("mallopt",), ("gnu_get_libc_version", "mallopt")])
def test_nothing_happens_off_glibc(monkeypatch, names):
    library = Refusing(*names)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    monkeypatch.setattr(allocator, "_glibc", allocator._glibc.__wrapped__)
    assert allocator.keep_memory.__wrapped__() is False
    with allocator.released_memory():
        pass
    assert library.calls == []


def test_old_glibc_maps_nothing_instead(monkeypatch):
    library = Refusing("gnu_get_libc_version", "mallopt", "malloc_trim")
    monkeypatch.setattr(allocator, "_glibc", lambda: library)
    assert allocator.keep_memory.__wrapped__() is True
    assert library.calls == [(-3, 1 << 28), (-4, 0), (-1, -1)]


def test_no_c_library_to_be_had(monkeypatch):
    def nowhere(_):
        raise TypeError

    monkeypatch.setattr(ctypes, "CDLL", nowhere)
    assert allocator._glibc.__wrapped__() is None
