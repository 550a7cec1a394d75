"""Correlator kernels against their definition; CUDA under the simulator and as PTX."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from fluxan.kernels import correlation_cpu as kernels
from fluxan.kernels import spectra

from fluxan.correlation.layout import tiled, wanted_pairs
from tests.kernels.levels import empty_levels
from tests.kernels.simulator import ROOT, assert_passes_under_the_simulator

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("n_channels", [1, 3, 4, 9])
@pytest.mark.parametrize("pairs", ["all", "auto", [(0, 0)]])
@pytest.mark.parametrize("count", [1, 7, 1000])
def test_lagged_products(n_channels, pairs, count):
    rows, chosen = RNG.standard_normal((n_channels, 40 + count)), wanted_pairs(pairs, n_channels)
    out = np.full((16, len(chosen)), np.nan)
    kernels.lagged_products(rows, 31, count, tiled(chosen), out)
    expected = [
        [np.dot(rows[a, 31 - k : 31 - k + count], rows[b, 31 : 31 + count]) for a, b in chosen] for k in range(16)
    ]
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-14 * count)


def test_the_order_of_a_sum_moves_it_by_round_off_only():
    rows = RNG.standard_normal((4, 1024 + 8))
    out = np.empty((8, 16))
    kernels.lagged_products(rows, 8, 1024, tiled(wanted_pairs("all", 4)), out)
    exact = sum(Fraction(x) * Fraction(y) for x, y in zip(rows[1, 5:-3], rows[2, 8:], strict=True))
    size = np.sum(np.abs(rows[1, 5:-3] * rows[2, 8:]))
    assert abs(out[3, 6] - float(exact)) < 1e-14 * size


def test_every_wanted_pair_is_in_one_tile_or_in_the_rest():
    for pairs in ("all", "auto", "same-xyz", [(0, 5), (3, 1)]):
        plan = tiled(wanted_pairs(pairs, 15))
        tiles = [q for tile in plan.tile_pairs for q in tile]
        assert sorted([*tiles, *plan.rest]) == list(range(len(plan.first)))
        for channels, numbers in zip(plan.tile_channels, plan.tile_pairs, strict=True):
            np.testing.assert_array_equal(plan.first[numbers], np.repeat(channels[:4], 4))
            np.testing.assert_array_equal(plan.second[numbers], np.tile(channels[4:], 4))
    assert len(tiled(wanted_pairs("all", 12)).rest) == 0


def test_compensated_sums_do_not_drift():
    total, carry = np.zeros((1, 1)), np.zeros((1, 1))
    for _ in range(100000):
        kernels._add_compensated(np.array([[0.1]]), total, carry)
    assert abs(total[0, 0] - float(100000 * Fraction(0.1))) <= np.spacing(1e4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nonfinite_row(value):
    samples = np.full((50, 3), 1e308)
    assert kernels.nonfinite_row(samples) == -1
    samples[33, 1] = value
    assert kernels.nonfinite_row(samples) == 33


def test_cross_spectra_and_split_spectra():
    segments = RNG.standard_normal((2, 10))
    padded = np.fft.rfft(segments, 20)
    before = np.fft.rfft(RNG.standard_normal(10), 20)
    previous = before.copy()
    joined, own = np.empty((2, 2, 11)), np.empty((2, 2, 11))
    spectra.split_spectra(padded.view(float), previous.view(float), *joined, *own)
    order = np.r_[0:11:2, 1:11:2]
    np.testing.assert_array_equal(own[0] + 1j * own[1], padded[:, order])
    np.testing.assert_allclose((own[0] + 1j * own[1])[:, :6], np.fft.rfft(segments), atol=1e-13)
    sign = (-1.0) ** np.arange(11)
    expected = padded + sign * np.stack([before, padded[0]])
    np.testing.assert_array_equal(joined[0] + 1j * joined[1], expected[:, order])
    np.testing.assert_array_equal(previous, padded[1])
    out, pair = np.ones((2, 1, 11)), np.zeros(1, dtype=np.int64)
    spectra.cross_spectra(*joined[:, None], *own[:, None], pair, pair, pair, *out)
    product = (expected.conj() * padded).sum(axis=0)[order]
    np.testing.assert_allclose(out[0, 0] + 1j * out[1, 0], 1 + 1j + product, rtol=1e-13)


@pytest.mark.parametrize("start", [0, 1, 5, 185])
@pytest.mark.parametrize("n", [1, 17, 200, 1001])
def test_multitau_with_chunks_that_hardly_hold_the_lags(n, start):
    samples, plan = RNG.standard_normal((n, 1)), tiled(wanted_pairs("all", 1))
    levels = empty_levels(n_levels=6, n_channels=1, n_lags=8, n_pairs=1, chunk=8, n_blocks=4, start=start)
    kernels.multitau_extend(samples, plan, levels)
    kernels.multitau_finish(plan, levels)
    samples = samples[:, 0] - levels.reference
    for level in range(6):
        first, last = -(-start >> level), (start + n) >> level
        count = max(0, last - first)
        at = (first << level) - start
        means = samples[at : at + (count << level)].reshape(count, 1 << level).mean(axis=1)
        expected = [np.dot(means[: count - k], means[k:]) if k < count else 0.0 for k in range(8)]
        assert levels.seen[level] == count
        np.testing.assert_allclose(levels.products[level].sum(axis=0)[:, 0], expected, rtol=0, atol=1e-11)


def test_cuda_kernels_equal_those_of_the_cpu_under_the_simulator():
    assert_passes_under_the_simulator("correlation_cuda_simulated.py")


PTX_PROGRAM = """
import sys
from types import SimpleNamespace

from numba import boolean, cuda as device, float64, int64, types

major = int(sys.argv[1])
# Device functions ask which device they are compiled for; without a driver nobody would answer.
device.dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(major, 0))

from fluxan.kernels import correlation_cuda as cuda

x1, x2, x3 = (types.Array(float64, n, "C") for n in (1, 2, 3))
i1 = types.Array(int64, 1, "C")
kernels = {
    cuda._lagged_products: (x2, int64, int64, i1, i1, x2),
    cuda._row_sums: (x2, int64, int64, x1),
    cuda._pair_means: (x2, int64, int64, types.Array(float64, 2, "A")),
    cuda._cross_spectra: (x3, x3, x3, x3, i1, i1, i1, x2, x2),
    cuda._transpose_into: (x2, int64, x2),
    cuda._subtract_mean: (x2, int64, int64, x1, boolean),
    cuda._accumulate: (x2, x1, x2, x2, x1),
    cuda._keep_head: (x2, int64, int64, int64, x2),
    cuda._move_to_front: (x2, int64, int64),
    cuda._merge_blocks: (x2,),
    cuda._clear: (x2,),
}
for kernel, signature in kernels.items():
    ptx, _ = device.compile_ptx(kernel.py_func, signature, cc=(major, 0))
    print(kernel.py_func.__name__, f"sm_{major}0" in ptx, ".entry" in ptx, "atom." in ptx or "red.global" in ptx)
"""


@pytest.mark.parametrize("major", [7, 9])
def test_cuda_kernels_compile_to_ptx(major):
    command = [sys.executable, "-c", PTX_PROGRAM, str(major)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    rows = [line.split() for line in run.stdout.splitlines()]
    assert len(rows) == 11
    assert {tuple(row[1:]) for row in rows} == {("True", "True", "False")}
