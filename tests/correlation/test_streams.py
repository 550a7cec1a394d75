"""Streams cut, saved, loaded and combined anywhere."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxan.correlation import Correlator
from fluxan.errors import InputError
from tests import oracles_correlation as oracle

SCHEMES = pytest.mark.parametrize("scheme", ["linear", "multitau"])
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
N = 40000
SERIES = np.random.default_rng(5).standard_normal((N, 2)).cumsum(axis=0) * 0.02 + 4
CUTS = st.lists(st.integers(0, N), max_size=8).map(sorted)


def fresh(scheme, **more):
    return Correlator(2, max_lag=400, scheme=scheme, **more)


def same_bits(first, second):
    one, two = first.correlation(), second.correlation()
    np.testing.assert_array_equal(one.values, two.values)
    np.testing.assert_array_equal(one.errors, two.errors)
    np.testing.assert_array_equal(first.mean(), second.mean())
    if first.layout.scheme == "linear":
        np.testing.assert_array_equal(first.spectrum().density, second.spectrum().density)


@pytest.fixture(scope="module")
def whole():
    correlators = {}
    for scheme in ("linear", "multitau"):
        correlators[scheme] = fresh(scheme)
        correlators[scheme].update(SERIES)
    return correlators


@SCHEMES
@QUICK
@given(cuts=CUTS)
def test_any_split_gives_the_same_bits(whole, scheme, cuts):
    correlator = fresh(scheme)
    for part in np.split(SERIES, cuts):
        correlator.update(part)
    same_bits(correlator, whole[scheme])


@SCHEMES
def test_single_samples_and_questions_in_between_give_the_same_bits(scheme, whole):
    correlator = fresh(scheme)
    for t in range(3000):
        correlator.update(SERIES[t])
        if t % 700 == 11:
            correlator.correlation()
    correlator.update(SERIES[3000:3100])
    for sample in SERIES[3100:3500]:
        correlator.update(list(sample))
    assert correlator.n_samples == 3500
    correlator.update(SERIES[3500:])
    same_bits(correlator, whole[scheme])


@SCHEMES
@QUICK
@given(cut=st.integers(0, N))
def test_save_and_load_anywhere_give_the_same_bits(tmp_path, whole, scheme, cut):
    correlator = fresh(scheme)
    correlator.update(SERIES[:cut])
    correlator.save(tmp_path / "state.nc")
    loaded = Correlator.load(tmp_path / "state.nc")
    assert loaded.n_samples == cut
    assert loaded.layout == correlator.layout
    loaded.update(SERIES[cut:])
    same_bits(loaded, whole[scheme])


def shards(scheme, cuts):
    borders = [0, *cuts, N]
    for start, stop in pairwise(borders):
        shard = fresh(scheme, start=start)
        shard.update(SERIES[start:stop])
        yield shard


def close(first, second):
    one, two = first.correlation(), second.correlation()
    np.testing.assert_array_equal(one.counts, two.counts)
    np.testing.assert_allclose(one.values, two.values, rtol=0, atol=1e-12 * np.abs(two.values).max())


@SCHEMES
@QUICK
@given(cuts=st.lists(st.integers(0, N) | st.integers(0, 70), min_size=6, max_size=6).map(sorted))
def test_seven_contiguous_shards_equal_the_whole(whole, scheme, cuts):
    first, *others = shards(scheme, cuts)
    for other in others:
        first.combine(other, contiguous=True)
    assert first.n_samples == N
    close(first, whole[scheme])


@SCHEMES
def test_shards_combine_as_a_tree_and_continue(scheme, whole, tmp_path):
    a, b, c, d, *rest = shards(scheme, [5, 777, 1030, 20001, 20002, 30000])
    c.combine(d, contiguous=True)
    a.combine(b, contiguous=True)
    a.save(tmp_path / "a.nc")
    a = Correlator.load(tmp_path / "a.nc")
    a.combine(c, contiguous=True)
    a.update(SERIES[20001:])
    assert len(rest) == 3
    close(a, whole[scheme])


@SCHEMES
def test_independent_runs_pool_their_products(scheme):
    borders = [0, 3, 500, 9000, 9001, 20000, 33333, N]
    parts = [SERIES[i:j] + k for k, (i, j) in enumerate(pairwise(borders))]
    correlators = [Correlator(2, max_lag=31, scheme=scheme) for _ in parts]
    for correlator, part in zip(correlators, parts, strict=True):
        correlator.update(part)
    pooled, *others = correlators
    for other in others:
        pooled.combine(other)
    counts = np.array([[max(0, len(part) - k) for k in range(32)] for part in parts])
    sums = np.zeros((32, 2, 2))
    for part, count in zip(parts, counts, strict=True):
        direct = oracle.correlation(part, 31)
        sums[: len(direct)] += direct * count[: len(direct), None, None]
    result = pooled.correlation()
    np.testing.assert_array_equal(result.counts, counts.sum(axis=0))
    np.testing.assert_allclose(result.values, sums / counts.sum(axis=0)[:, None, None], rtol=1e-12)
    assert pooled.n_samples == N
    np.testing.assert_allclose(pooled.mean(), np.concatenate(parts).mean(axis=0), rtol=1e-13)


@SCHEMES
def test_pooled_runs_can_be_saved_and_continued(tmp_path, scheme):
    one, two, both = fresh(scheme), fresh(scheme), fresh(scheme)
    one.update(SERIES[:9000])
    two.update(SERIES[20000:])
    one.combine(two)
    both.combine(two)
    one.save(tmp_path / "pooled.nc")
    one = Correlator.load(tmp_path / "pooled.nc")
    for correlator, part in ((one, SERIES[9000:15000]), (both, SERIES[:15000])):
        correlator.update(part)
    same_bits(one, both)


def test_segments_pool_over_shards(whole):
    first, second = shards("linear", [20480])
    first.combine(second, contiguous=True)
    mine, theirs = first.spectrum(remove_mean=True), whole["linear"].spectrum(remove_mean=True)
    assert mine.n_segments == 20480 // 1024 + (N - 20480) // 1024
    assert mine.n_segments == theirs.n_segments
    np.testing.assert_allclose(mine.density, theirs.density, rtol=0, atol=1e-9 * np.abs(theirs.density).max())


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"max_lag": 8}, "max_lag differs: 9 and 8"),
        ({"scheme": "multitau"}, "scheme differs: 'linear' and 'multitau'"),
        ({"pairs": "auto"}, "pairs differs"),
        ({"n_channels": 3}, "n_channels differs: 2 and 3"),
        ({"time_step": 2.0}, "time_step differs: 1.0 and 2.0"),
    ],
)
def test_only_equal_settings_combine(settings_, message):
    usual = {"n_channels": 2, "max_lag": 9, "scheme": "linear"}
    with pytest.raises(InputError, match=message):
        Correlator(**usual).combine(Correlator(**(usual | settings_)))


def test_shards_must_be_contiguous():
    first, second = fresh("linear"), fresh("linear", start=6)
    first.update(SERIES[:5])
    second.update(SERIES[6:9])
    with pytest.raises(InputError, match=r"begins at sample 6, this series stops at 5.*start=5"):
        first.combine(second, contiguous=True)
    first.combine(second)
    with pytest.raises(InputError, match="must not hold independent runs"):
        first.combine(second, contiguous=True)
    with pytest.raises(InputError, match="only correlators can be combined, got dict"):
        first.combine({})
