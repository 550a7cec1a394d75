"""The equilibrium form of the spectral heat current against modes whose response to a driving force is known."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from fluxan.correlation.virial_velocity import VirialVelocityCorrelator


def test_equilibrium_form_equals_that_of_driven_modes():
    """Two damped modes that carry heat in opposite directions.

    ȧ = (iω - γ) a + noise, ⟨|a|²⟩ = 1, J = Σ c |a|² with c = ±1. A force F lowers γ to γ - cF, so that under it
    K_F(t) = Σ c Re⟨a*(0) a(t)⟩ = Σ c γ/(γ - cF) exp(-(γ - cF)|t|) cos ωt, whose derivative at F = 0 is
    2 (1/γ + |t|) exp(-γ|t|) cos ωt. With ⟨|a|²⟩ = 2 k_B T, that of a mode of two degrees of freedom, 1/(k_B T) = 2.
    """
    n, dt, gamma, omega, n_window, n_lag = 400_000, 0.05, 1.0, 3.0, 120, 40
    rng = np.random.default_rng(0)
    decay = np.exp((1j * omega - gamma) * dt)
    noise = rng.normal(size=(n, 2, 2)) @ np.array([1, 1j]) * np.sqrt((1 - abs(decay) ** 2) / 2)
    modes = lfilter([1], [1, -decay], noise, axis=0)
    c = np.array([1.0, -1.0])
    flux = (np.abs(modes) ** 2) @ c
    sums = np.concatenate([[0.0], np.cumsum(flux)])
    x = dt * (sums[n_window + 1 :] - sums[: -n_window - 1] - 0.5 * (flux[n_window:] + flux[:-n_window]))
    v = np.zeros((n, 2, 3))
    v[..., 0], v[..., 1] = modes.real, modes.imag
    correlator = VirialVelocityCorrelator(np.zeros(2, dtype=int), max_lag=n_lag, time_step=dt)
    correlator.update(2 * x[:, None, None] * c[:, None] * v[n_window:], v[n_window:])
    correlation = correlator.correlation()
    even = 0.5 * (correlation.values + correlation.values[::-1])[:, 0]
    t = np.abs(correlation.times)
    wave = 2 * np.exp(-gamma * t) * np.cos(omega * t)
    np.testing.assert_allclose(even, (1 / gamma + t) * wave, atol=0.12)
    # Positive lags alone lack the change of the amplitude during the lag.
    positive = slice(n_lag, None)
    np.testing.assert_allclose(correlation.values[positive, 0], (wave / gamma)[positive], atol=0.12)
    assert np.abs(t * wave).max() > 0.6
