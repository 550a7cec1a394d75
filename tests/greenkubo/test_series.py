"""The test series themselves: their spectra, integrals, bounds and samples agree with one another."""

from __future__ import annotations

import numpy as np
import pytest

from tests.exact_series import SERIES, Series, periodogram


@pytest.mark.parametrize("name", SERIES)
def test_spectrum_is_the_cosine_sum_of_the_covariance(name: str) -> None:
    series = SERIES[name]
    lags = np.arange(-40_000, 40_001)
    frequencies = np.array([0.0, 0.003, 0.04, 0.31])
    summed = np.cos(2 * np.pi * frequencies[:, None] * lags) @ series.covariance(lags)
    np.testing.assert_allclose(series.spectrum(frequencies), summed, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "integral", "bound"),
    [("A", 80.5325, 0.094), ("B", 17.7834, 0.039), ("C", 50.0, 0.158), ("F", 43.2098, 0.052)],
)
def test_integral_and_bound_are_those_known(name: str, integral: float, bound: float) -> None:
    assert SERIES[name].integral == pytest.approx(integral, rel=4e-4)
    assert SERIES[name].bound(100_000) == pytest.approx(bound, rel=1e-2)


def test_bound_of_white_noise_is_that_of_a_gamma_mean() -> None:
    assert Series(((2.0, 0),)).bound(10_002) == pytest.approx(1 / np.sqrt(3 * 5000), rel=1e-6)


@pytest.mark.parametrize("name", ["A", "slow oscillator"])
def test_samples_have_the_covariance(name: str) -> None:
    series = SERIES[name]
    samples = series.sample(4000, components=400, rng=np.random.default_rng(3))
    lags = np.array([0, 1, 7, 25, 200])
    measured = [np.mean(samples[: 4000 - lag] * samples[lag:]) for lag in lags]
    # Five standard errors of the variance: 400 components, each of some 4000/(2·200) independent stretches.
    np.testing.assert_allclose(measured, series.covariance(lags), atol=5 * series.covariance(np.array([0]))[0] / 60)


def test_periodogram_of_white_noise_is_its_variance() -> None:
    samples = Series(((2.0, 0),)).sample(20_001, rng=np.random.default_rng(5))
    frequencies, density, dof = periodogram(samples)
    assert dof == 6
    assert frequencies[0] == pytest.approx(1 / 20_001)
    assert density.mean() == pytest.approx(2.0, rel=5 / np.sqrt(30_000))
