"""The default estimator against series with exact integrals, and against what it must not depend on."""

from __future__ import annotations

import numpy as np
import pytest

from fluxan.errors import InputError
from fluxan.greenkubo.estimators.mixture import _summary, mixture
from fluxan.greenkubo.estimators.modes import FLOOR, OSCILLATION, RELAXATION, Band, fit, half_angle, spectrum_of
from fluxan.greenkubo.estimators.periodogram import Spectrum
from tests.exact_series import SERIES, Series, periodogram

REALISATIONS = 20


def _drawn(series: Series, length: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A pooled periodogram without its series: gamma variables about the exact spectrum."""
    f = np.arange(1, length // 2) / length
    density = series.spectrum(f) * np.random.default_rng(seed).gamma(3, size=f.size) / 3
    pooled = Spectrum.of(f, density, dof=6.0).pooled(ratio=1.04, singles=20)
    return pooled.frequencies, pooled.density, pooled.dof


@pytest.mark.parametrize("name", ["A", "B", "C", "F", "gap"])
def test_error_is_near_the_bound_and_covered(name: str) -> None:
    """Fixed seeds; the limits leave room for what 20 draws scatter (the full table is made by benchmarks/)."""
    series = SERIES[name]
    estimates = [
        mixture(f, s, dof=dof) for f, s, dof in (_drawn(series, 100_000, 100 + k) for k in range(REALISATIONS))
    ]
    off = np.array([e.value / 2 / series.integral - 1 for e in estimates])
    error = np.array([e.error / 2 / series.integral for e in estimates])
    # Of normal errors at 1.3 times the bound the median is 0.88 times it.
    assert np.median(np.abs(off)) < 1.5 * series.bound(100_000)
    assert abs(off.mean()) < off.std() * (0.3 + 4 / np.sqrt(REALISATIONS))
    assert np.count_nonzero(np.abs(off) < 2 * error) >= 15
    assert np.count_nonzero(np.abs(off) < error) >= 7


def test_white_noise_has_no_modes() -> None:
    f, s, dof = _drawn(SERIES["white"], 100_000, 4)
    estimate = mixture(f, s, dof=dof)
    assert estimate.value == pytest.approx(1.0, abs=5 * SERIES["white"].bound(100_000))
    assert estimate.details["modes"] < 0.2


def test_from_samples_whole_periodogram() -> None:
    series = SERIES["B"]
    f, s, dof = periodogram(series.sample(100_000, rng=np.random.default_rng(11)))
    estimate = mixture(f, s, dof=dof)
    assert abs(estimate.value / 2 - series.integral) < 4 * estimate.error / 2
    assert 0.7 < estimate.error / 2 / (series.bound(100_000) * series.integral) < 2


def test_the_estimate_scales_with_the_units() -> None:
    f, s, dof = _drawn(SERIES["F"], 100_000, 8)
    plain = mixture(f, s, dof=dof)
    scaled = mixture(f * 250.0, s * 1e-9, dof=dof, time_step=0.004)
    assert scaled.value == pytest.approx(1e-9 * plain.value, rel=1e-12)
    assert scaled.error == pytest.approx(1e-9 * plain.error, rel=1e-12)
    assert scaled.details["slowest"] == pytest.approx(0.004 * plain.details["slowest"], rel=1e-12)


def test_longer_runs_give_smaller_errors() -> None:
    errors = [
        mixture(f, s, dof=dof).error
        for f, s, dof in (_drawn(SERIES["A"], length, 21) for length in (30_000, 300_000, 3_000_000))
    ]
    # √10 each time, give or take what the errors of errors are.
    assert errors[0] > 1.4 * errors[1] > 1.4**2 * errors[2]
    assert errors[0] > 5 * errors[2]


def test_resonances_beyond_the_modes_are_cut_off() -> None:
    """Forty sharp lines, far more than modes: only the band below them is used, and the limit is right."""
    lines = tuple((1.0, 300.0, 1 / f) for f in np.linspace(0.1, 0.45, 40))
    series = Series(((0.2, 60),), lines)
    f, s, dof = _drawn(series, 300_000, 6)
    estimate = mixture(f, s, dof=dof)
    assert estimate.details["cut"] < 0.11
    assert abs(estimate.value / 2 - series.integral) < 4 * estimate.error / 2
    assert estimate.error < 0.2 * estimate.value


@pytest.mark.parametrize("quality", [15, 94])
def test_a_line_sharper_than_bins_does_not_change_s_of_zero(quality: float) -> None:
    """An optical phonon over a flat spectrum: its tail is a part of S(0), its smeared peak is not."""
    period = 2 / 0.6
    series = Series(((1.0, 0),), ((20.0, quality * period / np.pi, period),))
    off = []
    for seed in range(12):
        f = np.arange(1, 50_000) / 100_000
        density = series.spectrum(f) * np.random.default_rng([seed, 5]).gamma(3, size=f.size) / 3
        estimate = mixture(f, density, dof=6.0)
        off.append((estimate.value / 2 - series.integral) / (estimate.error / 2))
    assert abs(np.mean(off)) < 1
    assert np.count_nonzero(np.abs(off) < 2) >= 9


def test_error_stays_positive_with_a_few_outlying_draws() -> None:
    value, error = _summary(np.concatenate([np.linspace(0.9, 1.1, 2150), np.full(45, 1e6)]), np.full(2195, 1 / 2195))
    assert 0.9 < value < 1.2
    assert 0.01 < error < 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frequencies": np.arange(0, 30) / 100}, "above zero"),
        ({"frequencies": np.arange(1, 31)[::-1] / 100}, "increase"),
        ({"frequencies": np.arange(1, 31) / 10}, "Nyquist"),
        ({"density": np.full(30, np.nan)}, "finite"),
        ({"density": np.ones(29)}, "density"),
        ({"dof": 0.0}, "dof"),
        ({"time_step": -1.0}, "time step"),
        ({"time_step": "a"}, "must be numbers"),
        ({"density": ["a"] * 30}, "must be numbers"),
        ({"dof": 1e300}, "check dof"),
        ({"frequencies": np.arange(1, 31) * 1e-200}, "unit of frequencies"),
    ],
)
def test_bad_spectra_are_refused(change: dict[str, object], message: str) -> None:
    arguments = {"frequencies": np.arange(1, 31) / 100, "density": np.ones(30), "dof": 6.0, "time_step": 1.0} | change
    with pytest.raises(InputError, match=message):
        mixture(**arguments)


def test_too_few_frequencies_are_refused() -> None:
    with pytest.raises(InputError, match="run longer"):
        mixture(np.arange(1, 8) / 100, np.ones(7), dof=6.0)


def test_pooling_keeps_the_mean_and_the_degrees_of_freedom() -> None:
    rng = np.random.default_rng(2)
    spectrum = Spectrum.of(np.arange(1, 1001) / 2500, rng.gamma(3, size=1000), dof=6.0)
    pooled = spectrum.pooled(ratio=1.1, singles=5)
    assert pooled.dof.sum() == pytest.approx(6000)
    assert pooled.density @ pooled.dof == pytest.approx(6 * spectrum.density.sum())
    np.testing.assert_array_equal(pooled.frequencies[:5], spectrum.frequencies[:5])
    assert pooled.frequencies.size < 80


def test_bins_are_split_on_lines_and_nowhere_else() -> None:
    rng = np.random.default_rng(3)
    f = np.arange(1, 20_001) / 40_001
    flat = rng.gamma(3, size=f.size) / 3
    line = 1 + 100 / (1 + ((f - 0.2) / 0.001) ** 2)
    bins = [Spectrum.of(f, s, dof=6.0).pooled(ratio=1.06, singles=12, max_change=1.15) for s in (flat, flat * line)]
    plain = Spectrum.of(f, flat, dof=6.0).pooled(ratio=1.06, singles=12)
    assert bins[0].frequencies.size == plain.frequencies.size
    assert bins[1].frequencies.size > plain.frequencies.size + 10
    extra = np.setdiff1d(bins[1].frequencies, plain.frequencies)
    assert np.all(np.abs(extra - 0.2) < 0.04)
    assert bins[1].dof.sum() == pytest.approx(6 * f.size)


def test_modes_are_the_exact_spectra_of_the_series() -> None:
    """One mode of each kind against its closed form, and its derivatives against differences."""
    v, tau, period = 0.7, 12.0, 31.0
    p = np.exp(-1 / tau)
    log_a, log_b = np.log(v * (1 - p * p) / (1 - p) ** 2), np.log(4 * p / (1 - p) ** 2)
    kinds = (FLOOR, RELAXATION, OSCILLATION)
    parameters = np.array([np.log(0.3), log_a, log_b, log_a, log_b, np.log(2 * np.pi / period)])
    f = np.linspace(0.001, 0.499, 40)
    exact = Series(((0.3, 0), (v, tau)), ((v, tau, period),)).spectrum(f)
    density, derivatives = spectrum_of(kinds, parameters, half_angle(2 * np.pi * f))
    np.testing.assert_allclose(density, exact, rtol=1e-12)
    for i in range(6):
        step = 1e-6 * np.eye(6)[i]
        up, down = (spectrum_of(kinds, parameters + sign * step, half_angle(2 * np.pi * f))[0] for sign in (1, -1))
        np.testing.assert_allclose(derivatives[i], (up - down) / 2e-6, rtol=1e-6, atol=1e-7)


def test_a_fit_of_the_exact_spectrum_returns_its_mode() -> None:
    series = SERIES["one mode"]
    f = np.arange(1, 50_000) / 100_000
    pooled = Spectrum.of(f, series.spectrum(f), dof=6.0).pooled(ratio=1.02, singles=20)
    found = fit((FLOOR, RELAXATION), np.array([-8.0, 3.0, 5.0]), Band.of(pooled))
    # The prior's pull is small beside the error. S(0) is the floor's height and the relaxation's.
    height = np.exp(found.parameters[:2])
    gradient = np.append(height / height.sum(), 0.0)
    bound = series.bound(100_000)
    assert height.sum() / 2 == pytest.approx(series.integral, rel=0.2 * bound)
    assert np.sqrt(gradient @ np.linalg.solve(found.precision, gradient)) == pytest.approx(bound, rel=0.1)


@pytest.mark.parametrize("seed", range(6))
def test_any_positive_spectrum_gives_a_finite_answer(seed: int) -> None:
    """Spectra unlike any sum of modes: scattered over decades, steep, narrow-banded, in extreme units."""
    rng = np.random.default_rng(seed)
    f = np.sort(rng.uniform(1e-4, 0.5, 60)) if seed % 2 else np.linspace(0.3, 0.31, 40)
    density = 10.0 ** rng.uniform(-40, -30, f.size) if seed % 3 else 1e30 * f ** -rng.uniform(2, 5)
    estimate = mixture(f, density, dof=6.0)
    assert np.isfinite(estimate.value)
    assert 0 < estimate.error < np.inf
