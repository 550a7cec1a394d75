"""CPU kernels against naive loops and closed forms."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fluxan.kernels import cpu

from tests import oracles
from tests.kernels.cases import make_case

DTYPES = pytest.mark.parametrize(
    ("real", "whole"), [("float64", "int64"), ("float32", "int64"), ("float64", "int32"), ("float32", "int32")]
)
# float32 input is converted before it is multiplied: the same tolerance for both.
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def flux_of(case, n_groups):
    flux = np.full((n_groups, n_groups, 3), np.nan)
    cpu.pair_flux(*case.edges, case.velocities, case.groups, flux)
    return flux


@DTYPES
@pytest.mark.parametrize("n_edges", [0, 1, 2, 777])
@pytest.mark.parametrize("n_groups", [1, 3, 12])
def test_pair_flux_equals_the_naive_loop(real, whole, n_edges, n_groups):
    case = make_case(n_edges, n_groups=n_groups, real=real, whole=whole)
    expected = oracles.pair_flux(*case.edges, case.velocities, case.groups, n_groups)
    np.testing.assert_allclose(flux_of(case, n_groups), expected, **CLOSE)


def test_pair_flux_of_one_edge_by_hand():
    flux = np.empty((2, 2, 3))
    one = np.array([[1.0, 2.0, 3.0]])
    g = np.array([[0.5, 0.0, -1.0]])
    velocities = np.array([[9.0, 9.0, 9.0], [4.0, 7.0, 1.0]])
    cpu.pair_flux(np.array([0]), np.array([1]), one, g, velocities, np.array([1, 0]), flux)
    # owner: group of receiver 0 = 1; carrier: group of sender 1 = 0; g·v = 1
    expected = np.zeros((2, 2, 3))
    expected[1, 0] = [-1.0, -2.0, -3.0]
    np.testing.assert_array_equal(flux, expected)


def test_pair_flux_over_chunk_borders(monkeypatch):
    case = make_case(1001)
    whole = flux_of(case, 3)
    monkeypatch.setattr(cpu, "EDGES_PER_CHUNK", 64)
    np.testing.assert_allclose(flux_of(case, 3), whole, rtol=1e-12)
    assert not np.array_equal(flux_of(case, 3), whole)  # the chunks did change


def test_pair_flux_with_a_thousand_groups():
    case = make_case(5000, n_atoms=1200, n_groups=1000)
    flux = flux_of(case, 1000)
    expected = oracles.pair_flux(*case.edges, case.velocities, case.groups, 1000)
    np.testing.assert_allclose(flux, expected, **CLOSE)


def test_partial_sums_of_many_groups_hold_no_more_than_the_input():
    partial, length = cpu._partial_sums(6_000_000, cpu.EDGES_PER_CHUNK, (400, 400, 3))
    assert partial.size <= 6_000_000 + 400 * 400 * 3
    assert length * len(partial) >= 6_000_000


@DTYPES
@pytest.mark.parametrize("n_edges", [0, 1, 777])
def test_atomic_virial_equals_the_naive_loop(real, whole, n_edges):
    case = make_case(n_edges, real=real, whole=whole)
    virial = np.full((20, 3, 3), np.nan)
    cpu.atomic_virial(*case.edges, virial)
    np.testing.assert_allclose(virial, oracles.atomic_virial(case.senders, case.r_ij, case.g_ij, 20), **CLOSE)


@DTYPES
@pytest.mark.parametrize("n_atoms", [1, 2, 501])
def test_virial_flux_equals_the_naive_loop(real, whole, n_atoms):
    case = make_case(10, n_atoms=n_atoms, real=real, whole=whole)
    virial = np.random.default_rng(3).normal(size=(n_atoms, 3, 3)).astype(real)
    flux = np.full((3, 3), np.nan)
    cpu.virial_flux(virial, case.velocities, case.groups, flux)
    np.testing.assert_allclose(flux, oracles.virial_flux(virial, case.velocities, case.groups, 3), **CLOSE)


@DTYPES
@pytest.mark.parametrize("n_atoms", [1, 2, 501])
def test_convection_equals_the_naive_loop(real, whole, n_atoms):
    case = make_case(10, n_atoms=n_atoms, real=real, whole=whole)
    got = np.full((3, 3, 3), np.nan)
    cpu.convection(case.velocities, case.masses, case.energies, case.groups, 1.7e-4, *got)
    expected = oracles.convection(case.velocities, case.masses, case.energies, case.groups, 1.7e-4, 3)
    np.testing.assert_allclose(got, expected, **CLOSE)


def test_virial_route_equals_the_edge_route():
    case = make_case(999)
    virial, flux = np.empty((20, 3, 3)), np.empty((3, 3))
    cpu.atomic_virial(*case.edges, virial)
    cpu.virial_flux(virial, case.velocities, case.groups, flux)
    np.testing.assert_allclose(flux, flux_of(case, 3).sum(axis=0), **CLOSE)


@pytest.mark.parametrize("whole", ["int32", "int64"])
@pytest.mark.parametrize("bad", [-1, 5, np.iinfo("int32").min, np.iinfo("int32").max])
def test_first_out_of_range_finds_the_first(whole, bad, monkeypatch):
    monkeypatch.setattr(cpu, "EDGES_PER_CHUNK", 16)
    indices = np.arange(100).astype(whole) % 5
    first = np.empty(1, dtype=np.int64)
    cpu.first_out_of_range(indices, 5, first)
    assert first[0] == 100
    indices[[37, 38, 90]] = bad
    cpu.first_out_of_range(indices, 5, first)
    assert first[0] == 37


THREADS_PROGRAM = """
import hashlib, numba, numpy as np
from fluxan.kernels import cpu
from tests.kernels.cases import make_case

cpu.EDGES_PER_CHUNK = cpu.ATOMS_PER_CHUNK = 128
case = make_case(5000, n_atoms=400)
for threads in (1, 2, 3):
    numba.set_num_threads(threads)
    lines = []
    for repeat in range(2):
        flux, virial, by_carrier, sums = (np.empty(s) for s in ((3, 3, 3), (400, 3, 3), (3, 3), (3, 3, 3)))
        cpu.pair_flux(*case.edges, case.velocities, case.groups, flux)
        cpu.atomic_virial(*case.edges, virial)
        cpu.virial_flux(np.arange(3600.0).reshape(400, 3, 3) / 7, case.velocities, case.groups, by_carrier)
        cpu.convection(case.velocities, case.masses, case.energies, case.groups, 1.0, *sums)
        fixed = b"".join(a.tobytes() for a in (flux, by_carrier, sums))
        lines.append((hashlib.sha256(fixed).hexdigest(), hashlib.sha256(virial.tobytes()).hexdigest(), virial.sum()))
    assert lines[0] == lines[1], f"{threads} threads: two runs differ"
    print(*lines[0])
"""


def test_results_are_the_same_bits_for_any_number_of_threads():
    # In a process of its own: the number of threads a process may use is settled when Numba starts.
    environment = {**os.environ, "NUMBA_NUM_THREADS": "3", "PYTHONPATH": str(Path.cwd())}
    run = subprocess.run(
        [sys.executable, "-c", THREADS_PROGRAM], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    rows = [line.split() for line in run.stdout.splitlines()]
    assert len({row[0] for row in rows}) == 1
    # The virial adds one copy per thread: the same to round-off.
    np.testing.assert_allclose([float(row[2]) for row in rows], float(rows[0][2]), rtol=1e-12)


def test_shortest_edge():
    vectors = np.random.default_rng(0).normal(size=(1000, 3))
    squared = (vectors**2).sum(axis=1)
    edge, smallest = cpu.shortest_edge(vectors)
    assert edge == squared.argmin()
    assert smallest == pytest.approx(squared.min(), rel=1e-14)
    assert cpu.shortest_edge(np.empty((0, 3))) == (-1, np.inf)
