"""Fit of a spectrum made of modes: Fisher scoring to the maximum of the posterior.

The formulas are those of `fluxan.greenkubo.estimators.modes`.

With a few hundred bins and a dozen parameters these loops are seven times as fast as NumPy.
"""

from __future__ import annotations

import math

import numpy as np

from .jit import reordered, serial

# Kinds of modes.
FLOOR = 0
RELAXATION = 1
OSCILLATION = 2


@serial
def mode_spectrum(kinds, parameters, half, density, derivatives):
    """Spectral density of modes and its derivatives with respect to their parameters.

    Parameters
    ----------
    kinds : (n_modes,) int64
        FLOOR, RELAXATION or OSCILLATION.
    parameters : (n_parameters,) float64
        Logarithms of A, b and ω₀, mode by mode: height A; sharpness b, unless the mode is a floor; centre ω₀, if it is
        an oscillation.
    half : (2, n) float64
        Sine and cosine of half the angle 2πf·(time step) of each bin.
    density : (n,) float64, output
        In the unit of the heights.
    derivatives : (n_parameters, n) float64, output
        Derivatives with respect to these logarithms, in the unit of the heights.
    """
    for k in range(density.size):  # a loop, since array expressions take Numba a second each to compile
        density[k] = 0.0
    at = 0
    for kind in kinds:
        amplitude = math.exp(parameters[at])
        if kind == FLOOR:
            for k in range(density.size):
                derivatives[at, k] = amplitude
                density[k] += amplitude
            at += 1
            continue
        sharpness = math.exp(parameters[at + 1])
        if kind == RELAXATION:
            _relaxation(amplitude, sharpness, half[0], density, derivatives[at], derivatives[at + 1])
            at += 2
        else:
            centre = math.exp(parameters[at + 2])
            _oscillation(amplitude, sharpness, centre, half, density, derivatives[at : at + 3])
            at += 3


@serial
def _relaxation(amplitude, sharpness, sine, density, by_amplitude, by_sharpness):
    """Add a/(1 + s·sin²) to the density, and set its derivatives."""
    for k in range(density.size):
        x = sharpness * sine[k] * sine[k]
        left = 1.0 / (1.0 + x)
        value = amplitude * left
        density[k] += value
        by_amplitude[k] = value
        by_sharpness[k] = -value * x * left


@serial
def _oscillation(amplitude, sharpness, centre, half, density, derivatives):
    """Add a line at ±centre to the density, and set its derivatives."""
    c, s = math.cos(0.5 * centre), math.sin(0.5 * centre)
    sine, cosine = half[0], half[1]
    by_amplitude, by_sharpness, by_centre = derivatives[0], derivatives[1], derivatives[2]
    scale = 0.5 * amplitude * sharpness * centre
    for k in range(density.size):
        a, b = sine[k] * c - cosine[k] * s, sine[k] * c + cosine[k] * s
        x, y = sharpness * a * a, sharpness * b * b
        left, right = 1.0 / (1.0 + x), 1.0 / (1.0 + y)
        value = 0.5 * amplitude * (left + right)
        density[k] += value
        by_amplitude[k] = value
        left *= left
        right *= right
        by_sharpness[k] = -0.5 * amplitude * (x * left + y * right)
        by_centre[k] = scale * (a * (cosine[k] * c + sine[k] * s) * left - b * (cosine[k] * c - sine[k] * s) * right)


@reordered
def _dot(a, b):
    total = 0.0
    for k in range(a.size):
        total += a[k] * b[k]
    return total


@serial
def _prior(parameters, terms, slope, precision):
    """Add the prior's Gaussian terms and one-sided terms (walls) to slope and precision; returns their log density."""
    rows, centres, widths, sides = terms
    size = parameters.size
    value = 0.0
    for t in range(centres.size):
        off = -centres[t]
        for p in range(size):
            off += rows[t, p] * parameters[p]
        off /= widths[t]
        if sides[t] != 0 and off * sides[t] <= 0.0:
            continue
        value -= 0.5 * off * off
        for p in range(size):
            if rows[t, p] == 0.0:
                continue
            slope[p] -= off * rows[t, p] / widths[t]
            for q in range(p + 1):
                precision[p, q] += rows[t, p] * rows[t, q] / widths[t] ** 2
    return value


@serial
def _evaluate(kinds, parameters, data, terms, work, slope, precision):
    """Log likelihood and log prior; the slope of their sum, and the Fisher information plus the prior's precision.

    ``work`` is scratch memory (n_parameters + 2, n); of ``precision`` the lower triangle is set.
    """
    half, density, shape = data
    size = parameters.size
    model, weights, relative = work[0], work[1], work[2:]
    mode_spectrum(kinds, parameters, half, model, relative)
    # Log likelihood of gamma-distributed ordinates.
    likelihood = 0.0
    for k in range(model.size):
        ratio = density[k] / model[k]
        likelihood -= shape[k] * (math.log(model[k]) + ratio)
        weights[k] = shape[k] * (ratio - 1.0)
    # Slope: derivatives with respect to the parameters.
    for p in range(size):
        for k in range(model.size):
            relative[p, k] /= model[k]
        slope[p] = _dot(relative[p], weights)
    # Fisher information Σ_k shape_k ∂log S_k/∂p ∂log S_k/∂q.
    for k in range(model.size):
        weights[k] = shape[k]
    for p in range(size):
        row = model  # reused as scratch memory
        for k in range(row.size):
            row[k] = relative[p, k] * weights[k]
        for q in range(p + 1):
            precision[p, q] = _dot(row, relative[q])
    return likelihood, _prior(parameters, terms, slope, precision)


@serial
def cholesky_solve(matrix, right, damping, factor, out):
    """Solve (matrix + damping·diagonal) out = right from the lower triangle; False if it is not positive definite."""
    n = right.size
    # Cholesky decomposition, then forward and backward substitution.
    for p in range(n):
        for q in range(p + 1):
            total = matrix[p, q] * (1.0 + damping) if p == q else matrix[p, q]
            for k in range(q):
                total -= factor[p, k] * factor[q, k]
            if p == q:
                if not total > 0.0:
                    return False
                factor[p, p] = math.sqrt(total)
            else:
                factor[p, q] = total / factor[q, q]
    for p in range(n):
        total = right[p]
        for k in range(p):
            total -= factor[p, k] * out[k]
        out[p] = total / factor[p, p]
    for p in range(n - 1, -1, -1):
        total = out[p]
        for k in range(p + 1, n):
            total -= factor[k, p] * out[k]
        out[p] = total / factor[p, p]
    return True


@serial
def _accept_step(trial, new_slope, information, here, slope, precision):
    for p in range(here.size):
        here[p], slope[p] = trial[p], new_slope[p]
        for q in range(p + 1):
            precision[p, q] = information[p, q]


@serial
def fisher_scoring(kinds, data, terms, limits, here, precision):
    """Maximise the posterior by damped Fisher scoring (Levenberg-Marquardt).

    Parameters
    ----------
    kinds : (n_modes,) int64
        FLOOR, RELAXATION or OSCILLATION.
    data : tuple of half (2, n), density (n,), shape (n,) float64
        Sine and cosine of half the angle, the pooled periodogram and its gamma shapes.
    terms : tuple of rows (n_terms, P), centres, widths, sides (n_terms,) float64
        Gaussian terms of the prior; those with a side are one-sided (walls) and act on that side only.
    limits : tuple of float
        Largest step of a parameter, largest number of iterations, and gain in log posterior below which to stop.
    here : (P,) float64
        Starting point; overwritten with the location of the maximum.
    precision : (P, P) float64, output
        Fisher information plus the prior's precision.

    Returns
    -------
    tuple of float
        Log likelihood and log prior at the maximum.
    """
    size = here.size
    work, factor, information = np.empty((size + 2, data[1].size)), np.zeros((size, size)), np.zeros((size, size))
    slope, new_slope, step, trial = np.zeros(size), np.zeros(size), np.zeros(size), np.zeros(size)
    largest, iterations, tolerance = limits
    likelihood, prior = _evaluate(kinds, here, data, terms, work, slope, precision)
    damping = 1e-2
    for _ in range(int(iterations)):
        # Propose a damped step, each parameter's limited.
        gain = -1.0
        if cholesky_solve(precision, slope, damping, factor, step):
            for p in range(size):
                trial[p] = here[p] + min(max(step[p], -largest), largest)
            new_likelihood, new_prior = _evaluate(kinds, trial, data, terms, work, new_slope, information)
            gain = new_likelihood + new_prior - likelihood - prior
        # Accept it and damp less, or damp more.
        if gain > 0:
            likelihood, prior = new_likelihood, new_prior
            _accept_step(trial, new_slope, information, here, slope, precision)
            damping *= 0.2
            if gain < tolerance:
                break
        else:
            damping = 8 * damping + 1e-3
            if damping > 1e4:
                break
    for p in range(size):
        for q in range(p):
            precision[q, p] = precision[p, q]
    return likelihood, prior
