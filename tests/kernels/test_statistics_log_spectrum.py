"""Fits of log spectra against quadrature, and against a Gaussian process with its whole covariance matrix."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fluxan.kernels.statistics_log_spectrum import fit_log_spectra

from fluxan.greenkubo.estimators.gaussian_process import GAUSSIAN_PROCESS, _scales


def _fit(
    phase: np.ndarray, density: np.ndarray, shape: np.ndarray, scales: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    results, curves = np.empty((1, 3)), np.empty((1, phase.size))
    size = np.array([scales.size])
    fit_log_spectra(phase, np.log(density), shape, scales[None], size, results, curves)
    return results[0], curves[0]


def test_constant_agrees_with_quadrature() -> None:
    """One coefficient: evidence, mean and variance by sums over a fine grid."""
    rng = np.random.default_rng(1)
    shape = np.full(12, 30.0)
    density = 3.0 * rng.gamma(shape) / shape
    (evidence, mean, variance), _ = _fit(np.linspace(0.1, 3, 12), density, shape, np.array([0.7]))
    level = np.linspace(-4, 4, 200_001)
    saturated = -(shape @ (np.log(density) + 1))
    log_likelihood = -shape.sum() * level - (shape @ density) * np.exp(-level) - saturated
    log_posterior = log_likelihood - 0.5 * (level / 0.7) ** 2 - np.log(0.7 * np.sqrt(2 * np.pi))
    weight = np.exp(log_posterior)
    step = level[1] - level[0]
    assert evidence == pytest.approx(np.log(weight.sum() * step), abs=5e-3)
    weight /= weight.sum()
    assert mean == pytest.approx(weight @ level, abs=3e-3)
    assert variance == pytest.approx(weight @ level**2 - (weight @ level) ** 2, rel=2e-2)


@pytest.mark.parametrize(("length", "amplitude"), [(0.3, 1.0), (0.5, 2.5), (0.17, 0.3)])
def test_many_terms_agree_with_the_whole_covariance(length: float, amplitude: float) -> None:
    """Of well-known ordinates the likelihood is normal in log S, and Gaussian-process regression has a closed form."""
    settings = replace(GAUSSIAN_PROCESS, smallest_term=0.0, max_terms=300)
    rng = np.random.default_rng(2)
    u = np.sort(rng.uniform(0.01, 0.85, 60))
    shape = np.full(60, 4e4)
    log_density = np.cos(3 * u) + rng.normal(size=60) / np.sqrt(shape)

    def covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Matérn 5/2 of the even part, with mirrors at both ends, and the variance of the mean."""
        total = np.full((a.size, b.size), GAUSSIAN_PROCESS.mean_width**2)
        for mirrored in (b, -b, 2 - b, b - 2, b + 2, -2 - b):
            d = np.sqrt(5) * np.abs(a[:, None] - mirrored) / length
            total += amplitude**2 * (1 + d + d**2 / 3) * np.exp(-d)
        return total

    scales, sizes = _scales(((length, amplitude),), settings)
    (_, mean, variance), curve = _fit(np.pi * u, np.exp(log_density), shape, scales[0, : sizes[0]])
    matrix = covariance(u, u) + np.diag(1 / shape)
    to_zero = covariance(np.zeros(1), u)[0]
    exact = to_zero @ np.linalg.solve(matrix, log_density)
    exact_variance = covariance(np.zeros(1), np.zeros(1))[0, 0] - to_zero @ np.linalg.solve(matrix, to_zero)
    assert mean == pytest.approx(exact, abs=0.1 * np.sqrt(exact_variance))
    assert variance == pytest.approx(exact_variance, rel=0.02)
    np.testing.assert_allclose(curve, covariance(u, u) @ np.linalg.solve(matrix, log_density), atol=1e-3)
