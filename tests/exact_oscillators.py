"""Damped oscillators sampled exactly: their damping is known."""

from __future__ import annotations

import numpy as np
from scipy.linalg import expm

from fluxan.active.oscillator_fit import hann


def langevin(omega, gamma, shape, rng, *, time_step):
    """Velocities (n_samples, n) of unit variance of oscillators x'' + 2Γx' + ω₀²x = noise, exactly sampled."""
    propagator = expm(np.array([[0, 1], [-(omega**2), -2 * gamma]]) * time_step)
    stationary = np.diag([omega**-2.0, 1.0])
    values, vectors = np.linalg.eigh(stationary - propagator @ stationary @ propagator.T)
    kick = vectors * np.sqrt(np.maximum(values, 0))
    state = np.sqrt(stationary) @ rng.normal(size=(2, shape[1]))
    out = np.empty(shape)
    for k in range(shape[0]):
        out[k] = state[1]
        state = propagator @ state + kick @ rng.normal(size=(2, shape[1]))
    return out


def periodograms(velocities, n_averages, *, time_step):
    """Mean periodograms, (n_ordinates, n), of groups of n_averages columns."""
    power = np.abs(np.fft.rfft(hann(len(velocities))[:, None] * velocities, axis=0)) ** 2 * time_step / len(velocities)
    return power.reshape(len(power), -1, n_averages).mean(axis=2)
