"""Climb to the maximum of the posterior of a spectrum made of modes; see `fluxan.greenkubo.modes` for the formulas.

Bins are a few hundred and parameters a dozen: NumPy spends its time on calls (58 ms per estimate, these loops 8).
"""

from __future__ import annotations

import math

import numpy as np

from .correlation import reordered
from .jit import serial

FLOOR = 0
RELAXATION = 1
OSCILLATION = 2


@serial
def mode_spectrum(kinds, parameters, half, density, derivatives):
    """Spectral density (n,) of modes and its derivatives (n_parameters, n) by their parameters.

    Parameters
    ----------
    kinds : (n_modes,) int64
    parameters : (n_parameters,) float64
    half : (2, n) float64
        Sine and cosine of half the angle.
    density, derivatives : outputs
    """
    density[:] = 0.0
    at = 0
    for kind in kinds:
        amplitude = math.exp(parameters[at])
        if kind == FLOOR:
            derivatives[at] = amplitude
            density += amplitude
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
    for k in range(density.size):
        x = sharpness * sine[k] * sine[k]
        left = 1.0 / (1.0 + x)
        value = amplitude * left
        density[k] += value
        by_amplitude[k] = value
        by_sharpness[k] = -value * x * left


@serial
def _oscillation(amplitude, sharpness, centre, half, density, derivatives):
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


@serial
def zero_limit(kinds, parameters, gradient):
    """Log of the density at zero frequency; its derivatives go to ``gradient`` (n_parameters,)."""
    total = 0.0
    at = 0
    for kind in kinds:
        amplitude = math.exp(parameters[at])
        if kind == OSCILLATION:
            sharpness, centre = math.exp(parameters[at + 1]), math.exp(parameters[at + 2])
            a = math.sin(0.5 * centre)
            left = 1.0 / (1.0 + sharpness * a * a)
            gradient[at] = amplitude * left
            gradient[at + 1] = -amplitude * sharpness * a * a * left * left
            gradient[at + 2] = -amplitude * sharpness * a * math.cos(0.5 * centre) * centre * left * left
            total += amplitude * left
            at += 3
            continue
        gradient[at] = amplitude
        total += amplitude
        at += 1
        if kind == RELAXATION:
            gradient[at] = 0.0
            at += 1
    gradient[:at] /= total
    return math.log(total)


@reordered
def _dot(a, b):
    total = 0.0
    for k in range(a.size):
        total += a[k] * b[k]
    return total


@serial
def _prior(parameters, terms, slope, precision):
    """Add Gaussian terms and one-sided walls to slope and precision; gives their log density."""
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
    """Log likelihood and log prior at ``parameters``, their slope and Fisher information with the prior's precision.

    ``work`` is (n_parameters + 2, n); of ``precision`` the lower triangle is filled.
    """
    half, density, shape = data
    size = parameters.size
    model, weights, relative = work[0], work[1], work[2:]
    mode_spectrum(kinds, parameters, half, model, relative)
    likelihood = 0.0
    for k in range(model.size):
        ratio = density[k] / model[k]
        likelihood -= shape[k] * (math.log(model[k]) + ratio)
        weights[k] = shape[k] * (ratio - 1.0)
    for p in range(size):
        for k in range(model.size):
            relative[p, k] /= model[k]
        slope[p] = _dot(relative[p], weights)
    for k in range(model.size):
        weights[k] = shape[k]
    for p in range(size):
        row = model  # no longer needed
        for k in range(row.size):
            row[k] = relative[p, k] * weights[k]
        for q in range(p + 1):
            precision[p, q] = _dot(row, relative[q])
    return likelihood, _prior(parameters, terms, slope, precision)


@serial
def cholesky_solve(matrix, right, damping, factor, out):
    """Solve (matrix + damping·diagonal) out = right from the lower triangle; False where that is not definite."""
    n = right.size
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
def _pulled(slope, information, gradient, off, strength, pulled_slope, pulled_information):
    """Slope and information with those of a quadratic pull of log S(0)."""
    for p in range(slope.size):
        pulled_slope[p] = slope[p] + strength * off * gradient[p]
        for q in range(p + 1):
            pulled_information[p, q] = information[p, q] + strength * gradient[p] * gradient[q]


@serial
def climb(kinds, data, terms, target, strength, limits, parameters, values, gradients, precision):
    """Climb from each of B beginnings by damped Fisher scoring (Levenberg-Marquardt).

    Parameters
    ----------
    kinds : (n_modes,) int64
    data : half (2, n), density (n,), shape (n,) float64
        Sine and cosine of half the angle, the pooled periodogram and its gamma shapes.
    terms : rows (n_terms, P), centres, widths, sides (n_terms,) float64
        Gaussian terms of the prior; those with a side are walls, which act on that side only.
    target : (B,) float64
        Log S(0) is pulled there with ``strength``, which may be 0.
    limits : largest step, iterations, tolerance
    parameters : (B, P) float64
        The beginnings; overwritten with the maxima.
    values : (B, 3) float64
        Log posterior, log likelihood and log S(0) there.
    gradients : (B, P) float64
        Derivatives of log S(0).
    precision : (B, P, P) float64
        Fisher information plus the prior's precision, without the pull.
    """
    size = parameters.shape[1]
    work, factor, damped = np.empty((size + 2, data[1].size)), np.zeros((size, size)), np.zeros((size, size))
    slope, step, trial = np.zeros(size), np.zeros(size), np.zeros(size)
    new_slope, new_gradient, new_information = np.zeros(size), np.zeros(size), np.zeros((size, size))
    largest, iterations, tolerance = limits
    for b in range(len(parameters)):
        here, gradient, information = parameters[b], gradients[b], precision[b]
        likelihood, prior = _evaluate(kinds, here, data, terms, work, slope, information)
        zero = zero_limit(kinds, here, gradient)
        damping = 1e-2
        for _ in range(int(iterations)):
            off = target[b] - zero
            _pulled(slope, information, gradient, off, strength, new_slope, damped)
            gain = -1.0
            if cholesky_solve(damped, new_slope, damping, factor, step):
                for p in range(size):
                    trial[p] = here[p] + min(max(step[p], -largest), largest)
                new_likelihood, new_prior = _evaluate(kinds, trial, data, terms, work, new_slope, new_information)
                new_zero = zero_limit(kinds, trial, new_gradient)
                gain = new_likelihood + new_prior - likelihood - prior
                gain += 0.5 * strength * (off**2 - (target[b] - new_zero) ** 2)
            if gain > 0:
                likelihood, prior, zero = new_likelihood, new_prior, new_zero
                here[:], slope[:], gradient[:] = trial, new_slope, new_gradient
                information[:] = new_information
                damping *= 0.2
                if gain < tolerance:
                    break
            else:
                damping = 8 * damping + 1e-3
                if damping > 1e4:
                    break
        values[b, 0], values[b, 1], values[b, 2] = likelihood + prior, likelihood, zero
        for p in range(size):
            for q in range(p):
                information[q, p] = information[p, q]
