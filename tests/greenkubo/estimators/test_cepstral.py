"""Cepstral analysis against its own formulas, and its value and error on series whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import polygamma

from fluxan.errors import InputError
from fluxan.greenkubo.estimators.cepstral import _fitted, cepstral
from tests.exact_series import SERIES, Series


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


def test_every_order_is_a_least_squares_fit_of_cosines() -> None:
    rng = np.random.default_rng(4)
    u, log_density, weight = np.sort(rng.random(30)), rng.standard_normal(30), rng.uniform(1, 5, 30)
    criterion, log_zero, variance = _fitted(u, log_density, weight, cost=7.0)
    assert criterion.size == 28
    for order in (1, 2, 5, 11):
        basis = np.cos(np.pi * np.outer(u, np.arange(order)))
        normal = basis.T @ (weight[:, None] ** 2 * basis)
        best = np.linalg.solve(normal, basis.T @ (weight**2 * log_density))
        left = np.sum(weight**2 * (log_density - basis @ best) ** 2)
        assert criterion[order - 1] == pytest.approx(left + 2 * order + 7)
        assert log_zero[order - 1] == pytest.approx(best.sum())
        assert variance[order - 1] == pytest.approx(np.linalg.inv(normal).sum())


def test_linear_frequency_gives_the_papers_variance() -> None:
    """Of equal ordinates with the cosines orthogonal on them, (4P − 2)/(2N) times the variance of one."""
    n, single = 400, 0.4
    u = (np.arange(n) + 0.5) / n
    variance = _fitted(u, np.zeros(n), np.full(n, single**-0.5), cost=0.0)[2]
    np.testing.assert_allclose(variance[:40], single * (4 * np.arange(1, 41) - 2) / (2 * n), rtol=1e-10)


@pytest.mark.parametrize("cutoff", [0.5, None])
@pytest.mark.parametrize("dof", [2, 6, 10])
def test_smooth_spectrum_is_unbiased_and_covered(dof: int, cutoff: float | None) -> None:
    series = Series(((1, 2),))
    drawn = [cepstral(*_drawn(series, 2000, 50 + k, dof / 2), dof=dof, cutoff=cutoff) for k in range(60)]
    z = np.array([(e.value / 2 - series.integral) / (e.error / 2) for e in drawn])
    assert abs(z.mean()) < 0.3 + 4 / np.sqrt(60)
    assert np.count_nonzero(np.abs(z) < 2) >= 48


# Resonances; a weak slow mode, more than half of S(0) and next to nothing of the variance; a resonance below the corner
# of the mode. With Nyquist as the cutoff, no more than a tenth of the errors cover.
@pytest.mark.parametrize("name", ["A", "C", "slow oscillator"])
def test_error_covers_where_that_of_a_fixed_cutoff_fails(name: str) -> None:
    series = SERIES[name]
    drawn = [cepstral(*_drawn(series, 50_000, 300 + k), dof=6) for k in range(50)]
    value, error = np.array([(e.value / 2, e.error / 2) for e in drawn]).T
    off = value - series.integral
    assert abs(off.mean()) < (0.3 + 3 / np.sqrt(50)) * value.std()
    assert 24 <= np.count_nonzero(np.abs(off) < error) <= 46
    assert np.count_nonzero(np.abs(off) < 2 * error) >= 42
    assert np.sqrt(np.mean(error**2)) < 2 * np.sqrt(np.mean(off**2))


def test_white_noise_is_read_up_to_nyquist() -> None:
    drawn = [cepstral(*_drawn(SERIES["white"], 50_000, 700 + k), dof=6) for k in range(20)]
    assert np.median([e.details["cutoff"] for e in drawn]) == 0.5
    assert np.median([e.details["warp"] for e in drawn]) > 0.5
    assert np.sqrt(np.mean([(e.value - 1) ** 2 for e in drawn])) < 0.025
    assert np.median([e.error for e in drawn]) < 0.015


def test_resonances_are_cut_off() -> None:
    """Of five, at 0.03 to 0.11 per sample, above a mode whose corner is at 0.0016."""
    series = SERIES["resonances"]
    cutoffs = [cepstral(*_drawn(series, 50_000, 90 + k), dof=6).details["cutoff"] for k in range(5)]
    assert 0.005 < np.median(cutoffs) < 0.1
    assert max(cutoffs) < 0.2


def test_correction_doubles_the_order() -> None:
    f, density = _drawn(Series(((1, 6),)), 1000, 3)
    papers, doubled = (cepstral(f, density, dof=6, cutoff=0.5, correction=c) for c in (1, 2))
    assert doubled.details["order"] == 2 * papers.details["order"]
    assert doubled.error / doubled.value > 1.3 * papers.error / papers.value
    papers, doubled = (cepstral(f, density, dof=6, correction=c) for c in (1, 2))
    assert doubled.details["order"] == 2 * papers.details["order"]
    assert doubled.error / doubled.value > papers.error / papers.value


def test_units_do_not_matter() -> None:
    f, density = _drawn(SERIES["B"], 2000, 6)
    one = cepstral(f, density, dof=6)
    other = cepstral(f * 500, density * 1e-7, dof=6, time_step=0.002)
    assert other.value == pytest.approx(1e-7 * one.value, rel=1e-9)
    assert other.error == pytest.approx(1e-7 * one.error, rel=1e-9)
    assert other.details["cutoff"] == pytest.approx(500 * one.details["cutoff"])


@pytest.mark.parametrize("dof", [2, 6, 4000])
def test_the_shortest_spectrum_has_a_finite_error(dof: int) -> None:
    f, density = _drawn(Series(((1, 3),)), 32, 8, dof / 2)
    estimate = cepstral(f, density, dof=dof)
    assert 0 < estimate.error < 4 * estimate.value


def test_bad_input_is_refused() -> None:
    f = np.arange(1, 101) / 200
    with pytest.raises(InputError, match="run longer"):
        cepstral(f[:20], np.ones(20), dof=6)
    with pytest.raises(InputError, match="equally spaced"):
        cepstral(f[::2] ** 1.1, np.ones(50), dof=6)
    with pytest.raises(InputError, match=r"cutoff of 0\.1 leaves 20"):
        cepstral(f, np.ones(100), dof=6, cutoff=0.1)
