"""Cepstral analysis against its own formulas and on series where it is right."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import polygamma

from fluxan.errors import InputError
from fluxan.greenkubo.cepstral import _cepstrum, cepstral
from fluxan.greenkubo.estimate import Spectrum
from tests.series import Series


def _drawn(series: Series, n: int, seed: int, shape: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    f = np.arange(1, n + 1) / (2 * n)
    return f, series.spectrum(f) * np.random.default_rng(seed).gamma(shape, size=n) / shape


def test_coefficients_are_those_of_the_definition() -> None:
    """C_n = 1/N Σ_k log S_k exp(2πikn/N) − bias·δ_n0, written out over all N frequencies of both signs."""
    f, density = _drawn(Series(((1, 4),)), 64, 1)
    estimate = cepstral(f, density, dof=6, cutoff=0.5, correction=1)
    order = estimate.details["order"]
    both = np.log(np.concatenate([density[:1], density, density[-2::-1]]))
    coefficients = np.fft.ifft(both).real
    log_zero = coefficients[0] + 2 * coefficients[1:order].sum() + np.log(3) - float(polygamma(0, 3))
    assert np.log(estimate.value) == pytest.approx(log_zero, rel=1e-12)
    assert estimate.error / estimate.value == pytest.approx(np.sqrt(float(polygamma(1, 3)) * (4 * order - 2) / 128))


@pytest.mark.parametrize("dof", [2, 6, 10])
def test_smooth_spectrum_is_unbiased_and_covered(dof: int) -> None:
    series = Series(((1, 2),))
    drawn = [cepstral(*_drawn(series, 2000, 50 + k, dof / 2), dof=dof, cutoff=0.5) for k in range(60)]
    z = np.array([(e.value / 2 - series.integral) / (e.error / 2) for e in drawn])
    assert abs(z.mean()) < 0.3 + 4 / np.sqrt(60)
    assert np.count_nonzero(np.abs(z) < 2) >= 48


def test_correction_doubles_the_order() -> None:
    f, density = _drawn(Series(((1, 6),)), 1000, 3)
    papers, doubled = (cepstral(f, density, dof=6, cutoff=0.5, correction=c) for c in (1, 2))
    assert doubled.details["order"] == 2 * papers.details["order"]
    assert doubled.error / doubled.value > 1.3 * papers.error / papers.value


def test_residual_is_the_misfit_of_the_lowest_frequencies() -> None:
    """All coefficients leave none; one coefficient, the mean, leaves the mean of what is above it."""
    f, density = _drawn(Series(((1, 6),)), 64, 9)
    spectrum = Spectrum.of(f, density, dof=6.0)
    cepstrum = _cepstrum(spectrum, 64)
    log_density = np.log(density) - (float(polygamma(0, 3)) - np.log(3))
    assert cepstrum.residual(log_density, 64) < 1e-10
    above = log_density - cepstrum.coefficients[0]
    expected = max(abs(above[:m].mean()) / np.sqrt(float(polygamma(1, 3)) / m) for m in (4, 8, 16, 32, 64))
    assert cepstrum.residual(log_density, 0) == pytest.approx(expected)


def test_a_peak_at_zero_lowers_the_cutoff_until_it_is_resolved() -> None:
    series = Series(((1, 2), (0.1, 300)))
    f, density = _drawn(series, 20_000, 12)
    chosen, whole = cepstral(f, density, dof=6), cepstral(f, density, dof=6, cutoff=0.5, correction=1)
    assert abs(chosen.value / 2 / series.integral - 1) < abs(whole.value / 2 / series.integral - 1)
    assert chosen.details["cutoff"] <= 0.5


def test_bad_input_is_refused() -> None:
    f = np.arange(1, 101) / 200
    with pytest.raises(InputError, match="run longer"):
        cepstral(f[:20], np.ones(20), dof=6)
    with pytest.raises(InputError, match="equally spaced"):
        cepstral(f[::2] ** 1.1, np.ones(50), dof=6)
    with pytest.raises(InputError, match=r"cutoff of 0\.1 leaves 20"):
        cepstral(f, np.ones(100), dof=6, cutoff=0.1)
