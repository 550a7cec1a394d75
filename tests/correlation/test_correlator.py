"""Correlators against their definition, other programs and closed forms."""

from __future__ import annotations

import multipletau
import numpy as np
import pytest
import tidynamics

from fluxan.correlation import Correlator
from tests import oracles_correlation as oracle

SCHEMES = pytest.mark.parametrize("scheme", ["linear", "multitau"])


def correlated(n, n_channels, seed=0, offset=0.7):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, n_channels))
    return x + 0.5 * np.roll(x, 3, axis=0) + 0.3 * np.roll(x, (5, 1), axis=(0, 1)) + offset


def fed(x, scheme="linear", **settings):
    correlator = Correlator(x.shape[1], scheme=scheme, **settings)
    correlator.update(x)
    return correlator


@SCHEMES
@pytest.mark.parametrize("n_channels", [1, 3, 5, 9])
@pytest.mark.parametrize("n", [1, 2, 31, 1500, 9000])
def test_equals_direct_sums(scheme, n_channels, n):
    x = correlated(n, n_channels)
    # As long as level 0 of multi-tau, so that both schemes mean the same.
    result = fed(x, scheme, max_lag=31).correlation()
    expected = oracle.correlation(x, 31)
    np.testing.assert_array_equal(result.lags, np.arange(min(32, n)))
    np.testing.assert_array_equal(result.counts, n - result.lags)
    np.testing.assert_allclose(result.values, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize(("max_lag", "segment"), [(1, None), (700, None), (1999, None), (300, 301), (300, 2222)])
def test_linear_lags_and_segments_of_any_length(max_lag, segment):
    x = correlated(5001, 2)
    result = fed(x, max_lag=max_lag, segment=segment).correlation()
    expected = oracle.correlation(x, max_lag)
    np.testing.assert_allclose(result.values, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_multitau_levels_are_covariances_of_block_means():
    x = correlated(20011, 2)
    correlator = fed(x, "multitau", max_lag=2000, points_per_level=16)
    result = correlator.correlation()
    levels = correlator.level_covariances()
    assert [level.width for level in levels] == [2**k for k in range(9)]
    for k, level in enumerate(levels):
        means = oracle.block_means(x, k)
        expected = oracle.correlation(means, 15)
        assert level.n_blocks == len(means)
        np.testing.assert_array_equal(level.counts, len(means) - np.arange(16))
        np.testing.assert_allclose(level.values, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
        chosen = result.widths == 2**k
        shown = np.arange(8 if k else 0, 16)
        shown = shown[shown * 2**k <= 2000]
        np.testing.assert_array_equal(result.lags[chosen], shown * 2**k)
        np.testing.assert_array_equal(result.values[chosen], level.values[shown])


@SCHEMES
def test_positive_lag_means_that_the_second_channel_is_later(scheme):
    rng = np.random.default_rng(1)
    signal = rng.standard_normal(6000)
    delay = 7
    x = np.stack([signal[delay:], signal[:-delay]], axis=1)  # channel 1 shows what channel 0 showed 7 samples ago
    values = fed(x, scheme, max_lag=20).correlation().values
    assert values[:, 0, 1].argmax() == delay
    assert values[delay, 0, 1] == pytest.approx(1, abs=0.1)
    assert np.abs(values[:, 1, 0]).max() < 0.1


@SCHEMES
@pytest.mark.parametrize("pairs", ["auto", "same-xyz", [(0, 1), (5, 2), (3, 3), (1, 0)]])
def test_fewer_pairs_are_the_same_numbers(scheme, pairs):
    x = correlated(3000, 6)
    every, some = (fed(x, scheme, max_lag=200, pairs=p).correlation() for p in ("all", pairs))
    wanted = {"auto": np.eye(6, dtype=bool), "same-xyz": np.tile(np.eye(3, dtype=bool), (2, 2))}
    if isinstance(pairs, str):
        mask = wanted[pairs]
    else:
        mask = np.zeros((6, 6), dtype=bool)
        mask[tuple(np.transpose(pairs))] = True
    assert np.isnan(some.values[:, ~mask]).all()
    np.testing.assert_allclose(some.values[:, mask], every.values[:, mask], rtol=0, atol=1e-13)
    np.testing.assert_allclose(some.errors[:, mask], every.errors[:, mask], rtol=1e-9)


def test_equals_multipletau():
    x = correlated(40001, 1)
    theirs, counts = multipletau.autocorrelate(x[:, 0], m=16, normalize=False, ret_sum=True)
    mine = fed(x, "multitau", max_lag=3000, points_per_level=16).correlation()
    lags, here, there = np.intersect1d(mine.lags, theirs[:, 0].astype(int), return_indices=True)
    # At 16 block means their level goes one lag further, where ours takes the first of the next level.
    same = mine.counts[here] == counts[there]
    np.testing.assert_array_equal(lags[~same], 16 * 2 ** np.arange(8))
    sums = mine.values[here][same, 0, 0] * mine.counts[here][same]
    assert len(sums) == len(mine.lags) - 8
    np.testing.assert_allclose(sums, theirs[there][same, 1], rtol=1e-12)


def test_equals_tidynamics():
    x = correlated(4000, 3)
    values = fed(x, max_lag=500, pairs="auto").correlation().values
    np.testing.assert_allclose(np.einsum("kaa->k", values), tidynamics.acf(x)[:501], rtol=1e-11)


@SCHEMES
def test_autoregressive_series_within_its_errors(scheme):
    decay = 0.9
    x = oracle.autoregressive(150000, 6, decay=decay, seed=3)
    result = fed(x, scheme, max_lag=150, pairs="auto").correlation(remove_mean=True)
    width = result.widths
    # C of block means: the closed form averaged over a triangle.
    inner = 1 / width * (1 + decay) / (1 - decay) - 2 * decay * (1 - decay**width) / (width * (1 - decay)) ** 2
    outer = decay ** (result.lags - width + 1.0) * ((1 - decay**width) / (width * (1 - decay))) ** 2
    expected = np.where(result.lags == 0, inner, outer)
    score = (np.einsum("kaa->ka", result.values) - expected[:, None]) / np.einsum("kaa->ka", result.errors)
    assert np.sqrt(np.mean(score**2)) == pytest.approx(1, abs=0.35)
    assert np.abs(score).max() < 5


@SCHEMES
def test_errors_are_the_scatter_of_repetitions(scheme):
    series = [oracle.autoregressive(160000, 9, decay=0.8, seed=seed) for seed in range(10)]
    results = [fed(x, scheme, max_lag=30, pairs="auto").correlation() for x in series]
    values = np.concatenate([np.einsum("kaa->ak", result.values) for result in results])
    errors = np.concatenate([np.einsum("kaa->ak", result.errors) for result in results])
    ratio = np.sqrt(np.mean(errors**2, axis=0)) / values.std(axis=0)
    assert np.abs(ratio - 1).max() < 0.3  # 90 repetitions tell a standard deviation to 7 %


def test_too_few_blocks_have_no_error():
    result = fed(correlated(1500, 1), max_lag=10).correlation()
    assert np.isposinf(result.errors).all()


@SCHEMES
def test_a_large_offset_costs_no_digits(scheme):
    # Multiples of 2^-16 stay exact when 2^24 is added: what differs is the correlator's own rounding.
    x = np.round(correlated(30000, 2, offset=0.0) * 2**16) / 2**16
    plain, lifted = (fed(y, scheme, max_lag=200).correlation(remove_mean=True) for y in (x, x + 2.0**24))
    np.testing.assert_allclose(lifted.values, plain.values, rtol=0, atol=1e-13)
    np.testing.assert_allclose(lifted.errors, plain.errors, rtol=1e-6)
    assert fed(x + 2.0**24, scheme, max_lag=9).mean() == pytest.approx(x.mean(axis=0) + 2.0**24, rel=1e-15)


@SCHEMES
def test_mean_removed_is_the_series_without_its_mean(scheme):
    x = correlated(9000, 2, offset=3)
    mine = fed(x, scheme, max_lag=31).correlation(remove_mean=True)
    np.testing.assert_allclose(mine.values, oracle.correlation(x - x.mean(axis=0), 31), rtol=0, atol=1e-12)


def test_time_step_scales_lags():
    result = fed(correlated(100, 1), max_lag=4, time_step=0.5).correlation()
    np.testing.assert_array_equal(result.times, [0, 0.5, 1, 1.5, 2])


@pytest.mark.parametrize("dtype", ["float32", "int64", ">f8"])
def test_other_number_types(dtype):
    x = np.round(correlated(2000, 3) * 10).astype(dtype)
    expected = fed(x.astype(float), max_lag=5).correlation().values
    np.testing.assert_array_equal(fed(x, max_lag=5).correlation().values, expected)
    one = Correlator(3, max_lag=5)
    for sample in x:
        one.update(sample)
    np.testing.assert_array_equal(one.correlation().values, expected)
