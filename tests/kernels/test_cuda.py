"""CUDA kernels without a GPU: run under Numba's simulator, and compiled to PTX."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.kernels.simulator import ROOT, assert_passes_under_the_simulator


def test_kernels_equal_naive_loops_under_the_simulator():
    assert_passes_under_the_simulator("cuda_simulated.py")


PTX_PROGRAM = """
import sys
from types import SimpleNamespace

from numba import cuda as device, float32, float64, int32, int64, types

major = int(sys.argv[1])
# Device functions ask which device they are compiled for; without a driver nobody would answer.
device.dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(major, 0))

from fluxan.kernels import cuda

def array(dtype, ndim):
    return types.Array(dtype, ndim, "C")

out = [array(float64, n) for n in range(4)]
for real, whole in ((float64, int64), (float32, int64), (float64, int32), (float32, int32)):
    edges = (array(whole, 1), array(whole, 1), array(real, 2), array(real, 2))
    atoms = (array(real, 2), array(whole, 1))
    kernels = {
        cuda._pair_flux: (*edges, *atoms, int64, int64, out[2]),
        cuda._pair_flux_scatter: (*edges, *atoms, int64, out[1]),
        cuda._atomic_virial: (*edges[1:], out[1]),
        cuda._virial_flux: (array(real, 3), *atoms, int64, out[2]),
        cuda._convection: (array(real, 2), array(real, 1), array(real, 1), array(whole, 1), float64, int64, out[2]),
        cuda._first_out_of_range: (array(whole, 1), int64, array(int64, 1)),
        cuda._add_blocks: (out[2], out[1]),
        cuda._split: (out[2], out[2], out[2], out[2]),
        cuda._clear: (out[1],),
    }
    for kernel, signature in kernels.items():
        ptx, _ = device.compile_ptx(kernel.py_func, signature, cc=(major, 0))
        scattered = "atom.global.add" in ptx or "red.global.add" in ptx or "atom.add" in ptx
        print(kernel.py_func.__name__, real, f"sm_{major}0" in ptx, ".entry" in ptx, ".f64" in ptx, scattered)
"""


@pytest.mark.parametrize("major", [7, 9])
def test_kernels_compile_to_ptx(major):
    command = [sys.executable, "-c", PTX_PROGRAM, str(major)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    rows = [line.split() for line in run.stdout.splitlines()]
    assert len(rows) == 36
    for name, _, target, entry, _, scattered in rows:
        assert (target, entry) == ("True", "True"), name
        assert scattered == str(name in {"_pair_flux_scatter", "_atomic_virial"}), name
