"""Correlation functions and spectra from their definitions: slow, in float64, no block, no transform."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter


def correlation(x: np.ndarray, max_lag: int) -> np.ndarray:
    """C_ab(k) = Σ_t x_a(t) x_b(t + k) / (n - k), (lags with data, n_channels, n_channels)."""
    n = len(x)
    return np.array([[[np.dot(x[: n - k, a], x[k:, b]) / (n - k) for b in _channels(x)] for a in _channels(x)]
                     for k in range(min(max_lag + 1, n))])  # fmt: skip


def block_means(x: np.ndarray, level: int) -> np.ndarray:
    """Means over whole blocks of 2^level samples from the start of the series."""
    width = 2**level
    whole = len(x) // width
    return x[: whole * width].reshape(whole, width, -1).mean(axis=1)


def periodogram(x: np.ndarray, time_step: float) -> np.ndarray:
    """S_ab(f) = conj(A_a) A_b Δt / n with A = Σ_t x(t) exp(-2πi f t), f = 0 … n // 2 over n Δt."""
    n = len(x)
    phases = np.exp(-2j * np.pi * np.outer(np.arange(n // 2 + 1), np.arange(n)) / n)
    amplitudes = phases @ x
    return np.einsum("fa,fb->fab", amplitudes.conj(), amplitudes) * time_step / n


def autoregressive(n: int, n_channels: int, *, decay: float, seed: int) -> np.ndarray:
    """AR(1) series of unit variance with C(k) = decay^k, started in equilibrium."""
    noise = np.random.default_rng(seed).standard_normal((n, n_channels))
    noise[1:] *= np.sqrt(1 - decay**2)
    return lfilter([1.0], [1.0, -decay], noise, axis=0)


def _channels(x: np.ndarray) -> range:
    return range(x.shape[1])
