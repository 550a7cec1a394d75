"""Fits of damped oscillators that are sampled exactly, whose damping is known."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from fluxan.active.lifetimes import mode_lifetime
from fluxan.active.oscillator_fit import Periodogram, expected_periodogram, fit_oscillator, hann
from tests import exact_oscillators

TIME_STEP, N_SAMPLES = 0.02, 1000
DURATION = TIME_STEP * N_SAMPLES
OMEGA = 2 * np.pi * 4.3


langevin = partial(exact_oscillators.langevin, time_step=TIME_STEP)
periodograms = partial(exact_oscillators.periodograms, time_step=TIME_STEP)


def fits(gamma, n_fits, *, n_averages=6, omega=OMEGA, seed=0):
    velocities = langevin(omega, gamma, (N_SAMPLES, n_fits * n_averages), np.random.default_rng(seed))
    power = periodograms(velocities, n_averages)
    return [fit_oscillator(Periodogram(column, TIME_STEP, N_SAMPLES, n_averages)) for column in power.T]


@pytest.mark.parametrize("gamma", [1e-3, 0.05, 1.0, 8.0, OMEGA, 2 * OMEGA])
@pytest.mark.parametrize("omega", [OMEGA, 0.9 * np.pi / TIME_STEP])
def test_expectation_written_out(gamma, omega):
    """Against the sum over lags; the second frequency is so high that the tail is aliased."""
    lags = TIME_STEP * np.arange(N_SAMPLES)
    root = np.sqrt(complex(gamma**2 - omega**2 + 1e-9))
    rates = np.array([-gamma + root, -gamma - root])
    autocorrelation = ((rates[0] * np.exp(rates[0] * lags) - rates[1] * np.exp(rates[1] * lags)) / (2 * root)).real
    taper = hann(N_SAMPLES)
    overlaps = np.correlate(taper, taper, mode="full")[N_SAMPLES - 1 :] / N_SAMPLES
    weights, bins = overlaps * autocorrelation * TIME_STEP, np.arange(1, N_SAMPLES // 2)
    expected = 2 * np.cos(np.outer(2 * np.pi * bins / DURATION, lags)) @ weights - weights[0]
    found = expected_periodogram(bins, omega, gamma, time_step=TIME_STEP, n_samples=N_SAMPLES)[0]
    assert np.abs(found - expected).max() < 1e-6 * expected.max()


@pytest.mark.parametrize("gamma", [1e-3, 0.05, 1.0, OMEGA, 2 * OMEGA])
def test_slopes_of_the_expectation(gamma):
    sampling, bins = {"time_step": TIME_STEP, "n_samples": N_SAMPLES}, np.arange(1, N_SAMPLES // 2)
    for k, step in ((1, (1e-3, 0.0)), (2, (0.0, 1e-3 * gamma))):
        ends = [expected_periodogram(bins, OMEGA + s * step[0], gamma + s * step[1], **sampling)[0] for s in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * sum(step))
        found = expected_periodogram(bins, OMEGA, gamma, **sampling)[k]
        assert np.abs(found - slope).max() < 1e-3 * np.abs(slope).max()


@pytest.mark.parametrize("cycles", [1.0, 4.0, 30.0])
def test_errors_cover_the_exact_damping(cycles):
    """Γ T from below the resolution to well resolved: standardised deviations have unit variance."""
    gamma = cycles / DURATION
    found = fits(gamma, 25)
    deviations = np.array([np.log(fit.gamma / gamma) / fit.gamma_relative_error for fit in found])
    # 25 fits: the fractions have standard errors of 0.09 and 0.045.
    assert 0.42 < np.mean(np.abs(deviations) < 1) < 0.93
    assert np.mean(np.abs(deviations) < 1.96) > 0.83
    shifts = np.array([(fit.omega - OMEGA) / fit.omega_error for fit in found])
    assert np.mean(np.abs(shifts) < 1.96) > 0.85
    assert np.median([fit.p_value for fit in found]) > 0.1


def test_lower_bounds_hold():
    gamma = 10 / DURATION
    bounds = [mode_lifetime(fit, 4.3, 3, DURATION).lower_bound for fit in fits(gamma, 100, n_averages=3)]
    # 95 % are meant, with a standard error of 2 %; errors of Γ instead of its logarithm give 87 %.
    assert np.mean(np.array(bounds) < 0.5 / gamma) > 0.9


def test_bias_is_small_with_many_averages():
    (fit,) = fits(2.0, 1, n_averages=400)
    assert fit.gamma_relative_error < 0.015
    assert abs(np.log(fit.gamma / 2.0)) < 3 * fit.gamma_relative_error
    assert abs(fit.omega - OMEGA) < 3 * fit.omega_error


def test_undamped_lines_have_no_width_of_the_window():
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.25, 0.5):
        omega = 2 * np.pi * (86 + shift) / DURATION
        times = TIME_STEP * np.arange(N_SAMPLES)[:, None]
        velocities = rng.rayleigh(size=30) * np.cos(omega * times + rng.uniform(0, 2 * np.pi, 30))
        fit = fit_oscillator(Periodogram(periodograms(velocities, 30)[:, 0], TIME_STEP, N_SAMPLES, 30))
        assert fit.gamma * (1 + 1.645 * fit.gamma_relative_error) < 1 / DURATION


def test_two_peaks_are_not_one():
    rng = np.random.default_rng(5)
    pair = [langevin(OMEGA + shift, 0.7, (N_SAMPLES, 40), rng) for shift in (-1.2, 1.2)]
    fit = fit_oscillator(Periodogram(periodograms(pair[0] + pair[1], 40)[:, 0], TIME_STEP, N_SAMPLES, 40))
    assert fit.p_value < 1e-3
    assert fit.misfit > 0.1


def test_overdamped():
    (fit,) = fits(30.0, 1, omega=10.0, n_averages=100)
    assert fit.gamma > fit.omega


@pytest.mark.parametrize("power", [np.zeros(501), np.arange(501.0)])
def test_no_peak(power):
    assert fit_oscillator(Periodogram(power, TIME_STEP, N_SAMPLES, 10)) is None
