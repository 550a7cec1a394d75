"""CUDA kernels against naive loops under Numba's simulator; test_cuda.py runs this file in a process of its own."""

from __future__ import annotations

import numpy as np
import pytest
from fluxan.kernels import cuda
from numba import cuda as device

from fluxan.errors import InputError
from fluxan.flux.pair_flux import pair_flux
from tests import oracles
from tests.kernels.cases import make_case

DTYPES = pytest.mark.parametrize(
    ("real", "whole"), [("float64", "int64"), ("float32", "int64"), ("float64", "int32"), ("float32", "int32")]
)
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    # The simulator runs one Python thread per CUDA thread. 18 rows: two windows for three groups, the second not full.
    monkeypatch.setattr(cuda, "THREADS", 4)
    monkeypatch.setattr(cuda, "MAX_BLOCKS", 3)
    monkeypatch.setattr(cuda, "ROWS", 18)


def sent(*arrays):
    return [device.to_device(array) for array in arrays]


def unset(*shape):
    return device.to_device(np.full(shape, np.nan))


def flux_of(case, n_groups):
    flux = unset(n_groups, n_groups, 3)
    cuda.pair_flux(*sent(*case.edges, case.velocities, case.groups), flux)
    return flux.copy_to_host()


@DTYPES
@pytest.mark.parametrize("n_edges", [0, 1, 50])
def test_pair_flux(real, whole, n_edges):
    case = make_case(n_edges, real=real, whole=whole)
    np.testing.assert_allclose(
        flux_of(case, 3), oracles.pair_flux(*case.edges, case.velocities, case.groups, 3), **CLOSE
    )


@pytest.mark.parametrize("max_windows", [64, 1])  # 1: scatters with atomics, as for more than 32 groups
@pytest.mark.parametrize("n_groups", [1, 4])
def test_pair_flux_in_windows_and_scattered(n_groups, max_windows, monkeypatch):
    monkeypatch.setattr(cuda, "MAX_WINDOWS", max_windows)
    case = make_case(60, n_groups=n_groups)
    expected = oracles.pair_flux(*case.edges, case.velocities, case.groups, n_groups)
    np.testing.assert_allclose(flux_of(case, n_groups), expected, **CLOSE)


@DTYPES
@pytest.mark.parametrize("n_edges", [0, 30])
def test_atomic_virial(real, whole, n_edges):
    case = make_case(n_edges, real=real, whole=whole)
    virial = unset(20, 3, 3)
    cuda.atomic_virial(*sent(*case.edges), virial)
    expected = oracles.atomic_virial(case.senders, case.r_ij, case.g_ij, 20)
    np.testing.assert_allclose(virial.copy_to_host(), expected, **CLOSE)


@DTYPES
@pytest.mark.parametrize("n_atoms", [1, 30])
def test_virial_flux(real, whole, n_atoms):
    case = make_case(5, n_atoms=n_atoms, real=real, whole=whole)
    virial = np.random.default_rng(3).normal(size=(n_atoms, 3, 3)).astype(real)
    flux = unset(3, 3)
    cuda.virial_flux(*sent(virial, case.velocities, case.groups), flux)
    expected = oracles.virial_flux(virial, case.velocities, case.groups, 3)
    np.testing.assert_allclose(flux.copy_to_host(), expected, **CLOSE)


@DTYPES
@pytest.mark.parametrize("n_groups", [1, 3])
def test_convection(real, whole, n_groups):
    case = make_case(5, n_atoms=50, n_groups=n_groups, real=real, whole=whole)
    arrays = case.velocities, case.masses, case.energies, case.groups
    sums = [unset(n_groups, 3) for _ in range(3)]
    cuda.convection(*sent(*arrays), 1.7e-4, *sums)
    for got, expected in zip(sums, oracles.convection(*arrays, 1.7e-4, n_groups), strict=True):
        np.testing.assert_allclose(got.copy_to_host(), expected, **CLOSE)


def test_no_atoms_at_all():
    case = make_case(0, n_atoms=1)
    sums = [unset(2, 3) for _ in range(3)]
    none = [values[:0] for values in (case.velocities, case.masses, case.energies, case.groups)]
    cuda.convection(*sent(*none), 1.0, *sums)
    for values in sums:
        np.testing.assert_array_equal(values.copy_to_host(), 0)


@pytest.mark.parametrize("bad", [-1, 5])
def test_first_out_of_range(bad):
    indices = np.arange(40) % 5
    first = device.to_device(np.zeros(1, dtype=np.int64))
    cuda.first_out_of_range(*sent(indices), 5, first)
    assert first[0] == 40
    indices[[13, 14, 39]] = bad
    cuda.first_out_of_range(*sent(indices), 5, first)
    assert first[0] == 13


NAMES = ("receivers", "senders", "r_ij", "g_ij", "velocities", "groups")


def on_device(case, **changes):
    return {name: device.to_device(changes.get(name, getattr(case, name))) for name in NAMES}


def test_public_function_takes_device_arrays():
    case = make_case(30)
    expected = oracles.pair_flux(*case.edges, case.velocities, case.groups, 3)
    flux = pair_flux(**on_device(case), n_groups=3)
    assert isinstance(flux, np.ndarray)
    np.testing.assert_allclose(flux, expected, **CLOSE)


def test_public_function_names_what_is_wrong_on_the_device():
    case = make_case(30)
    senders = case.senders.copy()
    senders[4] = 20
    with pytest.raises(InputError, match=r"senders of edge 4 .* is 20, expected 0 to 19"):
        pair_flux(**on_device(case, senders=senders), n_groups=3)
    g_ij = case.g_ij.copy()
    g_ij[6, 1] = np.nan
    with pytest.raises(InputError, match="g_ij of edge 6"):
        pair_flux(**on_device(case, g_ij=g_ij), n_groups=3)
    with pytest.raises(InputError, match="r_ij has dtype int64 on the device"):
        pair_flux(**on_device(case, r_ij=np.ones((30, 3), dtype=np.int64)), n_groups=3)
    mixed = {**on_device(case), "g_ij": case.g_ij}
    with pytest.raises(InputError, match="g_ij is not on the CUDA device"):
        pair_flux(**mixed, n_groups=3)
