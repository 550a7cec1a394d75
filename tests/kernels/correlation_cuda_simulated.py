"""CUDA correlator kernels against the CPU's under Numba's simulator; test_correlation.py runs this file."""

from __future__ import annotations

import numpy as np
import pytest
from fluxan.kernels import correlation_cpu as cpu
from fluxan.kernels import correlation_cuda as cuda
from fluxan.kernels import spectra as cpu_spectra
from numba import cuda as device

from fluxan.correlation.layout import tiled, wanted_pairs
from tests.kernels.levels import empty_levels

CLOSE = {"rtol": 1e-12, "atol": 1e-12}
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(cuda, "THREADS", 2)  # the simulator runs one Python thread per CUDA thread


@pytest.mark.parametrize("count", [1, 4, 13])
def test_lagged_products(count):
    rows, plan = RNG.standard_normal((5, 30)), tiled(wanted_pairs([(0, 1), (1, 0), (4, 4)], 5))
    mine, theirs = device.to_device(np.full((8, 3), np.nan)), np.empty((8, 3))
    cuda.lagged_products(device.to_device(rows), 9, count, plan, mine)
    cpu.lagged_products(rows, 9, count, plan, theirs)
    np.testing.assert_allclose(mine.copy_to_host(), theirs, **CLOSE)


def test_row_sums_and_pair_means():
    rows = RNG.standard_normal((3, 20))
    sums, means = device.to_device(np.full(3, np.nan)), device.to_device(np.full((3, 6), np.nan))
    cuda.row_sums(device.to_device(rows), 5, 11, sums)
    cuda.pair_means(device.to_device(rows), 3, 6, means)
    np.testing.assert_allclose(sums.copy_to_host(), rows[:, 5:16].sum(axis=1), **CLOSE)
    np.testing.assert_allclose(means.copy_to_host(), rows[:, 3:15].reshape(3, 6, 2).mean(axis=2), **CLOSE)


def test_cross_spectra():
    spectra = RNG.standard_normal((4, 3, 4, 9))
    first, second, rows = np.array([0, 2, 1]), np.array([1, 2, 0]), np.array([2, 0, 1])
    mine, theirs = [device.to_device(np.ones((3, 9))) for _ in range(2)], np.ones((2, 3, 9))
    sent = [device.to_device(array) for array in (*spectra, first, second, rows)]
    cuda.cross_spectra(*sent, *mine)
    cpu_spectra.cross_spectra(*spectra, first, second, rows, *theirs)
    np.testing.assert_allclose([array.copy_to_host() for array in mine], theirs, **CLOSE)


@pytest.mark.parametrize(("n", "start", "cuts"), [(75, 0, [75]), (75, 5, [30, 45]), (3, 1, [1, 1, 1])])
def test_multitau(n, start, cuts):
    samples, plan = RNG.standard_normal((n, 2)) + 3, tiled(wanted_pairs([(0, 1), (1, 1)], 2))
    settings = {"n_levels": 3, "n_channels": 2, "n_lags": 8, "n_pairs": 2, "chunk": 16, "n_blocks": 4, "start": start}
    theirs, mine = empty_levels(**settings), cuda.to_device(empty_levels(**settings))
    cpu.multitau_extend(samples, plan, theirs)
    cpu.multitau_finish(plan, theirs)
    for part in np.split(samples, np.cumsum(cuts)[:-1]):
        cuda.multitau_extend(device.to_device(np.ascontiguousarray(part)), plan, mine)
    cuda.multitau_finish(plan, mine)
    mine = cuda.to_host(mine)
    for name in ("head", "products", "sums", "counts", "seen", "reference", "block", "block_chunks"):
        np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), **CLOSE, err_msg=name)
    assert mine.seen[0] == n


def test_any_split_gives_the_same_bits():
    samples, plan = RNG.standard_normal((75, 2)) + 3, tiled(wanted_pairs([(0, 1), (1, 1)], 2))
    settings = {"n_levels": 3, "n_channels": 2, "n_lags": 8, "n_pairs": 2, "chunk": 16, "n_blocks": 4, "start": 0}
    states = []
    for cuts in ([], [1, 17, 40, 70]):
        levels = cuda.to_device(empty_levels(**settings))
        for part in np.split(samples, cuts):
            cuda.multitau_extend(device.to_device(np.ascontiguousarray(part)), plan, levels)
        cuda.multitau_finish(plan, levels)
        states.append(cuda.to_host(levels))
    for name in ("head", "products", "sums", "counts", "seen", "reference", "block", "block_chunks"):
        np.testing.assert_array_equal(*(getattr(state, name) for state in states), err_msg=name)
