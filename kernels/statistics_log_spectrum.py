"""Laplace approximation of a log spectrum with a Gaussian-process prior.

The formulas are those of `fluxan.greenkubo.estimators.gaussian_process`.

The matrices have a dozen rows: a fit takes 20 to 60 µs with compiled loops and the Cholesky decomposition below, and
three times as long with NumPy.
"""

from __future__ import annotations

import math

import numpy as np

from .jit import serial

#: Newton iterations at most.
MOST_ITERATIONS = 25
#: Increase of the log posterior per iteration below which Newton's method ends.
TOLERANCE = 1e-3
#: Exponents are limited to this value, so that the likelihood stays finite after too long a first step.
LARGEST_EXPONENT = 50.0
#: Lower bound of I/S (ordinate over curve) in Newton's matrix, to which ordinates far below the curve would hardly
#: contribute otherwise.
LEAST_WEIGHT = 0.5


@serial
def fit_log_spectra(phase, log_density, shape, scales, sizes, results, curves):
    """Fit log S(f) = Σ_k s_k a_k cos(k·phase), a_k ~ N(0, 1), to gamma-distributed ordinates, for several sets of s.

    Parameters
    ----------
    phase : (n,) float64
        Warped frequency times π; zero at f = 0, so that log S(0) = Σ_k s_k a_k.
    log_density, shape : (n,) float64
        Logarithm of the ordinates, and their gamma shapes.
    scales : (n_sets, n_terms) float64
        Standard deviations s_k of a set's coefficients.
    sizes : (n_sets,) int64
        Number of coefficients of each set.
    results : (n_sets, 3) float64, output
        Log evidence, relative to the log likelihood of the curve through all ordinates; mean and variance of log S(0).
    curves : (n_sets, n) float64, output
        log S at the frequencies.
    """
    cosines = _cosines(phase, scales.shape[1])
    residual = np.empty(phase.size)
    for which in range(sizes.size):
        size = sizes[which]
        scale = scales[which, :size]
        design = np.empty((phase.size, size))
        for i in range(phase.size):
            for k in range(size):
                design[i, k] = cosines[i, k] * scale[k]
        # Maximum of the posterior.
        coefficients = np.zeros(size)
        log_posterior = _maximum(design, log_density, shape, coefficients, residual)
        # Laplace approximation: a normal distribution with the curvature at the maximum gives the evidence.
        matrix = np.empty((size, size))
        _normal_matrix(design, shape, residual, 0.0, matrix)
        results[which, 0] = log_posterior - _cholesky(matrix)
        for i in range(phase.size):
            curves[which, i] = 0.0
            for k in range(size):
                curves[which, i] += design[i, k] * coefficients[k]
        # Mean and variance of log S(0): at f = 0 every cosine is one.
        solved = scale.copy()
        _forward(matrix, solved)
        results[which, 1] = 0.0
        results[which, 2] = 0.0
        for k in range(size):
            results[which, 1] += scale[k] * coefficients[k]
            results[which, 2] += solved[k] * solved[k]


@serial
def _cosines(phase, n_terms):
    """Return cos(k·phase), (n, n_terms), by Chebyshev's recurrence."""
    values = np.empty((phase.size, n_terms))
    for i in range(phase.size):
        cosine = math.cos(phase[i])
        values[i, 0] = 1.0
        if n_terms > 1:
            values[i, 1] = cosine
        for k in range(2, n_terms):
            values[i, k] = 2.0 * cosine * values[i, k - 1] - values[i, k - 2]
    return values


@serial
def _maximum(design, log_density, shape, coefficients, residual):
    """Maximise the log posterior by Newton's method with step halving; the first step is a least-squares fit.

    Returns the maximum; `coefficients` are overwritten with its location, `residual` with I/S there.
    """
    n, size = design.shape
    step = np.empty(size)
    trial = np.empty(size)
    slope = np.empty(n)
    best = -np.inf
    for i in range(n):
        residual[i] = 1.0
        slope[i] = shape[i] * log_density[i]
    for _ in range(MOST_ITERATIONS):
        _newton_step(design, shape, residual, slope, coefficients, step)
        # Halve the step until the posterior does not decrease.
        length = 1.0
        while True:
            for k in range(size):
                trial[k] = coefficients[k] + length * step[k]
            log_posterior = _log_posterior(design, log_density, shape, trial, residual)
            if log_posterior >= best - 1e-9 or length < 1e-3:
                break
            length *= 0.5
        gain = log_posterior - best
        best = log_posterior
        for k in range(size):
            coefficients[k] = trial[k]
        if gain < TOLERANCE:
            break
        for i in range(n):
            slope[i] = shape[i] * (residual[i] - 1.0)
    return best


@serial
def _newton_step(design, shape, residual, slope, coefficients, step):
    """Newton step of the coefficients; `slope` is the derivative of the log likelihood, with respect to log S."""
    n, size = design.shape
    matrix = np.empty((size, size))
    _normal_matrix(design, shape, residual, LEAST_WEIGHT, matrix)
    for k in range(size):
        step[k] = -coefficients[k]
    for i in range(n):
        for k in range(size):
            step[k] += design[i, k] * slope[i]
    _cholesky(matrix)
    _forward(matrix, step)
    _backward(matrix, step)


@serial
def _log_posterior(design, log_density, shape, coefficients, residual):
    """Log likelihood relative to that of the curve through all ordinates, plus log prior; `residual` becomes I/S."""
    total = 0.0
    for i in range(design.shape[0]):
        curve = 0.0
        for k in range(design.shape[1]):
            curve += design[i, k] * coefficients[k]
        excess = log_density[i] - curve
        residual[i] = math.exp(min(excess, LARGEST_EXPONENT))
        total += shape[i] * (excess + 1.0 - residual[i])
    for k in range(coefficients.size):
        total -= 0.5 * coefficients[k] * coefficients[k]
    return total


@serial
def _normal_matrix(design, shape, residual, least, matrix):
    """Lower triangle of 1 + Σ_i shape_i·(I/S)_i design_i designᵀ_i, each I/S at least `least`."""
    n, size = design.shape
    for k in range(size):
        for m in range(k + 1):
            matrix[k, m] = 0.0
        matrix[k, k] = 1.0
    for i in range(n):
        weight = shape[i] * max(residual[i], least)
        for k in range(size):
            weighted = weight * design[i, k]
            for m in range(k + 1):
                matrix[k, m] += weighted * design[i, m]


@serial
def _cholesky(matrix):
    """Decompose the lower triangle in place; returns half the log determinant."""
    half_log_det = 0.0
    for k in range(matrix.shape[0]):
        for m in range(k + 1):
            value = matrix[k, m]
            for j in range(m):
                value -= matrix[k, j] * matrix[m, j]
            if k == m:
                matrix[k, k] = math.sqrt(value)
                half_log_det += math.log(matrix[k, k])
            else:
                matrix[k, m] = value / matrix[m, m]
    return half_log_det


@serial
def _forward(triangle, vector):
    """Solve L x = b in place."""
    for k in range(vector.size):
        for j in range(k):
            vector[k] -= triangle[k, j] * vector[j]
        vector[k] /= triangle[k, k]


@serial
def _backward(triangle, vector):
    """Solve Lᵀ x = b in place."""
    for k in range(vector.size - 1, -1, -1):
        for j in range(k + 1, vector.size):
            vector[k] -= triangle[j, k] * vector[j]
        vector[k] /= triangle[k, k]
