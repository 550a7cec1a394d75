"""Intervals of rates against scipy.stats, and how often they contain the true rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from fluxan.active.poisson_rates import poisson_rate, rate_ratio
from fluxan.errors import InputError


@pytest.mark.parametrize("count", [0, 1, 5, 200])
@pytest.mark.parametrize("confidence", [0.68, 0.95])
def test_one_rate(count, confidence):
    found, tail = poisson_rate(count, 4.0, confidence=confidence), (1 - confidence) / 2
    assert found.rate == count / 4
    assert found.upper == pytest.approx(stats.chi2.ppf(1 - tail, 2 * count + 2) / 8)
    assert found.lower == pytest.approx(stats.chi2.ppf(tail, 2 * count) / 8 if count else 0)
    # By definition: as few or as many events have the probability of a tail at the ends.
    assert stats.poisson.cdf(count, 4 * found.upper) == pytest.approx(tail)
    if count:
        assert stats.poisson.sf(count - 1, 4 * found.lower) == pytest.approx(tail)


@pytest.mark.parametrize("counts", [(3, 9), (0, 4), (4, 0), (50, 20)])
def test_ratio_of_two(counts):
    first, second = counts
    found = rate_ratio((first, 10.0), (second, 20.0))
    interval = stats.binomtest(second, first + second).proportion_ci(0.95, method="exact")
    assert found.lower == pytest.approx(interval.low / (1 - interval.low) / 2)
    expected = interval.high / (1 - interval.high) / 2 if interval.high < 1 else math.inf
    assert found.upper == pytest.approx(expected)
    assert found.ratio == pytest.approx(second / first / 2 if first else math.inf)
    assert rate_ratio(poisson_rate(first, 10.0), poisson_rate(second, 20.0)) == found


def test_no_event_at_all_says_nothing():
    found = rate_ratio((0, 1.0), (0, 1.0))
    assert math.isnan(found.ratio)
    assert (found.lower, found.upper) == (0.0, math.inf)


@pytest.mark.parametrize("means", [(0.5, 0.5), (3.0, 1.0), (20.0, 30.0)])
def test_coverage(means):
    counts = np.random.default_rng(0).poisson(means, size=(1000, 2))
    ratio, hits, single = means[1] / means[0], 0, 0
    for first, second in counts.tolist():
        found = rate_ratio((first, 1.0), (second, 1.0), confidence=0.9)
        hits += found.lower <= ratio <= found.upper
        one = poisson_rate(first, 1.0, confidence=0.9)
        single += one.lower <= means[0] <= one.upper
    assert hits >= 890
    assert single >= 890
    if means[0] >= 20:
        assert hits <= 960


def test_errors():
    with pytest.raises(InputError, match="number of events is -1"):
        poisson_rate(-1, 1.0)
    with pytest.raises(InputError, match=r"counted in 0\.0 ps"):
        rate_ratio((1, 1.0), (1, 0.0))
    with pytest.raises(InputError, match="confidence is 95"):
        poisson_rate(1, 1.0, confidence=95)
