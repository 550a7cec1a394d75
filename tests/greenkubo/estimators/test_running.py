"""The running integral, averaged behind the decay of the correlation's envelope."""

from __future__ import annotations

import numpy as np
import pytest

import fluxan
from fluxan.errors import InputError
from fluxan.greenkubo.estimators.ordinates import autocovariance
from fluxan.greenkubo.estimators.running import decayed, running_integral
from tests.exact_series import SERIES, Series

#: Optical modes that dominate C(t) over a slow relaxation that carries most of the heat, as in glasses and crystals.
OPTICAL = {
    "one line": Series(((0.04, 40),), ((3.0, 30, 12),)),
    "two lines": Series(((0.05, 60),), ((2.0, 40, 30), (2.0, 25, 7))),
    "damped": Series(((0.05, 30),), ((5.0, 12, 20),)),
}


def test_integral_of_a_complete_decay():
    """C(t) = 1 − t/10 up to t = 10, then nothing: twice the integral is 10."""
    correlation = np.append(np.maximum(1 - np.arange(40) / 10, 0), -1e-12)
    estimate = running_integral(correlation, length=100_000)
    assert estimate.value == pytest.approx(10.0, rel=2e-3)
    assert estimate.details["cutoff"] in {18, 20}
    halved = running_integral(correlation, length=100_000, time_step=0.5)
    assert (halved.value, halved.details["cutoff"]) == (
        pytest.approx(0.5 * estimate.value),
        0.5 * estimate.details["cutoff"],
    )


@pytest.mark.parametrize("name", ["white", "one mode", "B"])
def test_error_is_the_scatter(name):
    found = []
    for seed in range(60):
        samples = SERIES[name].sample(20_000, rng=np.random.default_rng([8, seed]))
        found.append(running_integral(autocovariance(samples, 5000), length=20_000))
    values, errors = np.array([e.value for e in found]), np.array([e.error for e in found])
    assert np.std(values) == pytest.approx(errors.mean(), rel=0.35)


@pytest.mark.parametrize("name", OPTICAL)
def test_optical_modes_do_not_truncate_the_integral(name):
    """At the first zero of C(t) the integral is several times too large; behind the envelope's decay it is right."""
    series = OPTICAL[name]
    samples = series.sample(200_000, rng=np.random.default_rng(3))
    correlation = autocovariance(samples, 20_000)
    zero = int(np.flatnonzero(correlation <= 0)[0])
    assert correlation[0] + 2 * correlation[1:zero].sum() > 1.5 * series.integral * 2
    estimate = running_integral(correlation, length=len(samples))
    assert estimate.details["cutoff"] > 4 * zero
    assert estimate.value == pytest.approx(2 * series.integral, abs=3 * estimate.error)
    assert estimate.error < 0.3 * estimate.value


def test_what_does_not_decay_is_refused():
    swing = np.cos(np.arange(500))
    with pytest.raises(InputError, match=r"has not decayed into its noise within 500 lags: 0.71 of C"):
        running_integral(swing, length=10_000)
    flux = np.cos(0.3 * np.arange(1000)[:, None] + [0, 1, 2]) + 0.01 * np.random.default_rng(1).normal(size=(1000, 3))
    result = fluxan.green_kubo(flux, dt=1.0, volume=1.0, temperature=1.0, units="lj")
    assert "running" not in result.estimates
    assert any("running gave no estimate: the correlation has not decayed" in note for note in result.notes)


def test_decay_is_tested_over_a_range_as_long_as_the_lag():
    """A zero of an oscillation is no decay; what comes back is seen."""
    noise = np.full(100, 0.1)
    correlation = np.zeros(100)
    correlation[[0, 1, 4, 7]] = 1.0
    assert decayed(correlation, noise) == 8
    assert decayed(np.ones(100), noise) is None


@pytest.mark.parametrize(
    ("correlation", "message"),
    [([1.0], "two lags"), ([1.0, np.nan], "finite"), ([0.0, -1.0], "variance"), ([1.0, 0.5, 0.2], "longer max_lag")],
)
def test_bad_input_is_refused(correlation: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        running_integral(correlation, length=100)
