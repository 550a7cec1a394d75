"""State, prior and likelihood of a spectrum made of modes, for the sampler of its posterior.

Parameters are logarithms, see `fluxan.greenkubo.estimators.modes`. Each mode has room for three (height A, sharpness b,
centre ω₀), of which its kind uses one to three. The floor and the oscillations are in the first slots, relaxations in
those after them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .correlation_cpu import reordered
from .jit import serial
from .statistics_mode_fit import FLOOR, OSCILLATION, RELAXATION

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOG_4 = math.log(4.0)
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


class ModePrior(NamedTuple):
    """Prior of the parameters; all values but widths are logarithms.

    Attributes
    ----------
    level, level_width : float
        Mean and width of the normal prior of the floor's height.
    variance, variance_width : float
        Mean and width of the normal prior of a mode's variance.
    lowest, highest, wall : float
        Range of the uniform prior of a relaxation's corner frequency, and width of the half-Gaussian tails beyond it.
    resolved, slow_odds : float
        Corner frequency below which a relaxation is badly resolved, and what its log prior is then changed by.
    middle, middle_width : float
        Mean and width of the normal prior of an oscillation's corner and centre.
    slowest, least_quality : float
        Lower bounds, with the same half-Gaussian tails, of an oscillation's centre and of its centre over its corner.
    """

    level: float
    level_width: float
    variance: float
    variance_width: float
    lowest: float
    highest: float
    wall: float
    resolved: float
    slow_odds: float
    middle: float
    middle_width: float
    slowest: float
    least_quality: float


class ChainState(NamedTuple):
    """State of a Markov chain and its data, in few arrays, since each array argument costs compilation time.

    Attributes
    ----------
    kinds : (slots,) int64
        Kinds of the modes.
    modes : (slots + 2, 3) float64
        Parameters; those of proposals are in the last two rows.
    spectra : (slots + 4, n) float64
        Densities of the modes and of two proposals, and their sums in rows TOTAL and TRIAL.
    data : (5, n) float64
        Sine and cosine of half the angle, log of the angle, the pooled periodogram and its gamma shapes.
    reach : (slots,) float64
        Step length of an oscillation's centre.
    odds : (relaxations + 1,) float64
        Log odds of each number of relaxations.
    likelihood : (1,) float64
        Log likelihood of the total.
    shortest : (3,) float64
        Log of the shortest step of each kind: step lengths are e^u with u uniform between this value and 0, since well
        and badly determined modes need steps of different lengths.
    prior : ModePrior
        Prior of the parameters.
    """

    kinds: NDArray[np.int64]
    modes: NDArray[np.float64]
    spectra: NDArray[np.float64]
    data: NDArray[np.float64]
    reach: NDArray[np.float64]
    odds: NDArray[np.float64]
    likelihood: NDArray[np.float64]
    shortest: NDArray[np.float64]
    prior: ModePrior


# Rows of spectra (FIRST is that of the first of two proposals), and of data.
FIRST, TOTAL, TRIAL = -4, -2, -1
SINE, COSINE, LOG_ANGLE, DENSITY, SHAPE = 0, 1, 2, 3, 4


@serial
def copy_into(source, out):
    """Copy (n,) values; a loop, since array expressions take Numba seconds each to compile."""
    for k in range(out.size):
        out[k] = source[k]


@serial
def add_into(sign, source, out):
    """Add (n,) values times a sign."""
    for k in range(out.size):
        out[k] += sign * source[k]


@serial
def log_normal(offset, width):
    """Log density of a normal distribution, without its normalisation."""
    return -0.5 * (offset / width) ** 2


@serial
def log_prior(kind, mode, prior):
    """Log prior density of a mode; that of a relaxation is normalised, apart from its tails and `slow_odds`."""
    if kind == FLOOR:
        return log_normal(mode[0] - prior.level, prior.level_width)
    corner = 0.5 * (LOG_4 - mode[1])
    value = log_normal(mode[0] - 0.5 * mode[1] - prior.variance, prior.variance_width)
    if kind == RELAXATION:
        value += log_normal(min(corner - prior.lowest, 0.0) + max(corner - prior.highest, 0.0), prior.wall)
        value += prior.slow_odds if corner < prior.resolved else 0.0
        # Density with respect to log sharpness: half that of the log corner, which changes half as fast.
        return value - math.log(2.0 * (prior.highest - prior.lowest) * prior.variance_width) - HALF_LOG_2PI
    value += log_normal(corner - prior.middle, prior.middle_width) + log_normal(
        mode[2] - prior.middle, prior.middle_width
    )
    value += log_normal(min(mode[2] - corner - prior.least_quality, 0.0), prior.wall)
    return value + log_normal(min(mode[2] - prior.slowest, 0.0), prior.wall)


@serial
def mode_density(kind, mode, data, out):
    """Spectral density (n,) of a mode."""
    height, sharpness = math.exp(mode[0]), math.exp(mode[1])
    sine, cosine = data[SINE], data[COSINE]
    if kind == FLOOR:
        for k in range(out.size):
            out[k] = height
    elif kind == RELAXATION:
        for k in range(out.size):
            out[k] = height / (1.0 + sharpness * sine[k] * sine[k])
    else:
        c, s = math.cos(0.5 * math.exp(mode[2])), math.sin(0.5 * math.exp(mode[2]))
        for k in range(out.size):
            a, b = sine[k] * c - cosine[k] * s, sine[k] * c + cosine[k] * s
            out[k] = 0.5 * height * (1.0 / (1.0 + sharpness * a * a) + 1.0 / (1.0 + sharpness * b * b))


@serial
def log_zero_frequency(state, n_modes):
    """Log of the spectral density at zero frequency."""
    total = 0.0
    for slot in range(n_modes):
        mode = state.modes[slot]
        sine = math.sin(0.5 * math.exp(mode[2])) if state.kinds[slot] == OSCILLATION else 0.0
        total += math.exp(mode[0]) / (1.0 + math.exp(mode[1]) * sine * sine)
    return math.log(total)


@reordered
def log_likelihood(total, density, shape):
    """Log likelihood of gamma-distributed ordinates with the mean `total` (n,), without its normalisation."""
    value = 0.0
    for k in range(total.size):
        value -= shape[k] * (math.log(total[k]) + density[k] / total[k])
    return value


@serial
def bin_above(log_angle, corner):
    """Index of the first bin above a corner, or the last one."""
    low, high = 0, log_angle.size - 1
    while low < high:
        middle = (low + high) // 2
        if log_angle[middle] < corner:
            low = middle + 1
        else:
            high = middle
    return low


@serial
def recompute_total(state, n_modes):
    """Sum the total again, to remove the round-off of many updates."""
    for k in range(state.spectra.shape[1]):
        state.spectra[TOTAL, k] = 0.0
    for slot in range(n_modes):
        mode_density(state.kinds[slot], state.modes[slot], state.data, state.spectra[slot])
        add_into(1.0, state.spectra[slot], state.spectra[TOTAL])
    state.likelihood[0] = log_likelihood(state.spectra[TOTAL], state.data[DENSITY], state.data[SHAPE])
