"""The sampler of modes: its stationary distribution against sums over grids."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fluxan.kernels.statistics_rjmcmc import sample_posterior

from fluxan.greenkubo.estimators.mode_sampler import SAMPLER, initial_state, sample_modes
from fluxan.greenkubo.estimators.modes import FLOOR, RELAXATION, Band, fit
from fluxan.greenkubo.estimators.periodogram import Spectrum
from tests.exact_series import SERIES

if TYPE_CHECKING:
    from fluxan.kernels.statistics_mode_state import ModePrior

LOG_4 = np.log(4.0)


def _band(bins: int, *, seed: int | None = None) -> Band:
    """Some bins of series "one mode", drawn at random or, without a seed, such that they tell nothing."""
    f = np.linspace(0.0005, 0.2, bins)
    exact = SERIES["one mode"].spectrum(f)
    if seed is None:
        return replace(Band.of(Spectrum.of(f, exact, dof=6.0)), shape=np.zeros(bins))
    return Band.of(Spectrum.of(f, exact * np.random.default_rng(seed).gamma(3, size=bins) / 3, dof=6.0))


def _sampled(band: Band, odds: np.ndarray, sweeps: int, seed: int, **prior: float) -> tuple[np.ndarray, ...]:
    state = initial_state(np.array([[band.level, 0.0, 0.0]]), np.zeros((0, 3)), band, odds)
    log_zero, numbers = np.empty(sweeps), np.empty(sweeps, dtype=np.int64)
    state = state._replace(prior=state.prior._replace(**prior))
    sample_posterior(state, 1, 0, np.random.default_rng(seed), log_zero, numbers)
    return log_zero, numbers, state.prior


def _corner_density(prior: ModePrior) -> tuple[np.ndarray, np.ndarray]:
    """Points and masses of the prior of a relaxation's corner, whose total is not 1: walls and odds change it."""
    corner = np.linspace(prior.lowest - 2, prior.highest + 2, 4001)
    off = np.minimum(corner - prior.lowest, 0) + np.maximum(corner - prior.highest, 0)
    density = np.exp(-0.5 * (off / prior.wall) ** 2 + np.where(corner < prior.resolved, prior.slow_odds, 0.0))
    return corner, density * (corner[1] - corner[0]) / (prior.highest - prior.lowest)


def test_without_data_the_number_of_relaxations_follows_its_prior() -> None:
    """Births, deaths, splits and merges balance: each number has the odds given, times its corners' mass."""
    odds = np.array([0.0, 0.5, 1.0, 0.7, 0.2])
    _, numbers, prior = _sampled(_band(8), odds, 60_000, 3, slow_odds=-1.0)
    mass = _corner_density(prior)[1].sum()
    expected = np.exp(odds) * mass ** np.arange(5)
    got = np.bincount(numbers, minlength=5) / numbers.size
    np.testing.assert_allclose(got, expected / expected.sum(), atol=0.02)


@pytest.mark.parametrize("odds", [[-1e3, -1e3, 0.0], [0.0, 0.5, 1.0, 0.7]])
def test_without_data_modes_follow_their_prior(odds: list[float]) -> None:
    """S(0) of the chain against sums of modes drawn at once: exchanges at a fixed number too."""
    log_zero, numbers, prior = _sampled(_band(8), np.array(odds), 60_000, 5, slow_odds=-1.0)
    rng, size = np.random.default_rng(6), 200_000
    corner, mass = _corner_density(prior)
    drawn = np.exp(rng.normal(prior.level, prior.level_width, size))
    count = rng.choice(numbers, size)
    for k in range(len(odds) - 1):
        variance = rng.normal(prior.variance, prior.variance_width, size)
        sharpness = LOG_4 - 2 * rng.choice(corner, size, p=mass / mass.sum())
        drawn += np.where(count > k, np.exp(variance + 0.5 * sharpness), 0.0)
    expected = np.log(drawn)
    assert log_zero.mean() == pytest.approx(expected.mean(), abs=0.05 * expected.std())
    assert log_zero.std() == pytest.approx(expected.std(), rel=0.05)


def test_without_data_an_oscillation_follows_its_prior() -> None:
    band = _band(8)
    begin = np.array([[band.level, 0.0, 0.0], [band.variance, LOG_4 + 1.0 - 2 * band.middle, band.middle]])
    state = initial_state(begin, np.zeros((0, 3)), band, np.zeros(1))
    prior, rng = state.prior, np.random.default_rng(8)
    modes = np.empty((12_000, 3))
    for row in modes:
        sample_posterior(state, 2, 0, rng, np.empty(10), np.empty(10, dtype=np.int64))
        row[:] = state.modes[1]
    # Corner and centre on a grid; the variance does not depend on them.
    corner, centre = np.meshgrid(np.linspace(-12, 6, 901), np.linspace(-8, np.log(np.pi), 901), indexing="ij")
    log_mass = -0.5 * ((corner - prior.middle) ** 2 + (centre - prior.middle) ** 2) / prior.middle_width**2
    for wall in (centre - corner - prior.least_quality, centre - prior.slowest):
        log_mass -= 0.5 * (np.minimum(wall, 0) / prior.wall) ** 2
    mass = np.exp(log_mass)
    for got, axis in ((0.5 * (LOG_4 - modes[:, 1]), corner), (modes[:, 2], centre)):
        mean = (mass * axis).sum() / mass.sum()
        width = np.sqrt((mass * (axis - mean) ** 2).sum() / mass.sum())
        assert got.mean() == pytest.approx(mean, abs=0.15 * width)
        assert got.std() == pytest.approx(width, rel=0.15)
    variance = modes[:, 0] - 0.5 * modes[:, 1]
    assert variance.mean() == pytest.approx(prior.variance, abs=0.15 * prior.variance_width)
    assert variance.std() == pytest.approx(prior.variance_width, rel=0.15)


def test_posterior_of_one_relaxation_is_the_integral_over_its_parameters() -> None:
    band = _band(40, seed=5)
    log_zero, _, prior = _sampled(band, np.array([-1e3, 0.0]), 30_000, 4, slow_odds=-1.0)
    corner, mass = _corner_density(prior)
    corner, mass = corner[::20], mass[::20]
    height, floor = np.meshgrid(np.linspace(-2, 7, 120), band.level + np.linspace(-12, 3, 80), indexing="ij")
    weight, value = np.empty((corner.size, *height.shape)), np.exp(height) + np.exp(floor)
    for k, (c, m) in enumerate(zip(corner, mass, strict=True)):
        sharpness = np.exp(LOG_4 - 2 * c)
        shape = 1 / (1 + sharpness * np.sin(0.5 * band.angle) ** 2)
        model = np.exp(floor)[..., None] + np.exp(height)[..., None] * shape
        likelihood = -(band.shape * (np.log(model) + band.density / model)).sum(-1)
        variance = (height - 0.5 * np.log(sharpness) - prior.variance) / prior.variance_width
        level = (floor - prior.level) / prior.level_width
        weight[k] = np.log(m) + likelihood - 0.5 * (variance**2 + level**2)
    weight = np.exp(weight - weight.max()).sum(0)
    mean = (weight * np.log(value)).sum() / weight.sum()
    width = np.sqrt((weight * (np.log(value) - mean) ** 2).sum() / weight.sum())
    assert log_zero[500:].mean() == pytest.approx(mean, abs=0.06 * width)
    assert log_zero[500:].std() == pytest.approx(width, rel=0.06)


def test_chains_of_other_seeds_agree_within_a_fraction_of_the_error() -> None:
    """Draws are enough: what the seed changes, a sixth of the posterior's width, adds 1 % to the scatter of S(0)."""
    f = np.arange(1, 50_000) / 100_000
    density = SERIES["C"].spectrum(f) * np.random.default_rng(1).gamma(3, size=f.size) / 3
    band = Band.of(Spectrum.of(f, density, dof=6.0).pooled(ratio=1.06, singles=12))
    found = fit((FLOOR, RELAXATION, RELAXATION), np.array([-5.0, 2.3, 4.6, 4.5, 11.0]), band)
    means, widths = [], []
    for seed in range(12):
        log_zero = np.log(sample_modes(found, band, replace(SAMPLER, seed=seed)).zero)
        means.append(log_zero.mean())
        widths.append(log_zero.std())
    assert np.std(means) < 0.25 * np.mean(widths)
