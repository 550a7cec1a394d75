"""Random walk through the posterior of a spectrum made of modes, whose number of relaxations is free.

A Metropolis walk with births, deaths, splits and merges of relaxations (P. J. Green, Biometrika 82, 711 (1995)). Two
relaxations of similar decay are nearly one: the walk merges and splits them, where a search for the maximum settles on
either. Parameters are logarithms, see `fluxan.greenkubo.modes`; a mode has three (height, sharpness, centre), of which
its kind may leave some unused. The floor and the oscillations stand in the first slots, relaxations in those behind.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .jit import reordered, serial
from .modes import FLOOR, OSCILLATION, RELAXATION

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LOG_4 = math.log(4.0)
_LOG_PI = math.log(math.pi)
_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
# Widths of proposals: of a newborn's height about the spectrum at its corner, of the distance between two halves.
_BIRTH_WIDTH = 1.5
_SPLIT_WIDTH = 2.0
_OSCILLATION_STEP = 0.3
# Changes of number that are tried per sweep; sweeps after which the total is added up anew.
_CHANGES = 3
_RENEWAL = 100
# Log of a ratio of priors and proposals that the likelihood will not mend: the walk begins at its maximum.
_HOPELESS = 30.0
_NO_MOVE = (-math.inf, -1, -1, 0)


class Prior(NamedTuple):
    """Prior of the walk: logarithms, but for widths.

    Attributes
    ----------
    level, level_width
        Height of the floor, normal.
    variance, variance_width
        Variance of a mode, normal.
    lowest, highest, wall
        Corner frequency of a relaxation, uniform between two walls of this softness.
    resolved, slow_odds
        Below this corner a relaxation has these odds against it.
    middle, middle_width
        Corner and centre of an oscillation, normal.
    slowest, least_quality
        Walls for the centre of an oscillation, and for its centre over its corner.
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


class Walk(NamedTuple):
    """State of the walk and what it needs; few arrays, since every one that a function takes costs time to compile.

    Attributes
    ----------
    kinds
        (slots,) kinds.
    modes
        (slots + 2, 3) parameters; proposals stand in the last two rows.
    spectra
        (slots + 4, n) densities of the modes, of two proposals, and the sums in rows TOTAL and TRIAL.
    data
        (5, n) sine and cosine of half the angle, log of the angle, the pooled periodogram and its gamma shapes.
    reach
        (slots,) length of a step of an oscillation's centre.
    odds
        (relaxations + 1,) log odds of each number of them.
    likelihood
        (1,) log likelihood of the total.
    shortest
        (3,) log of the shortest step of each kind: steps are e^u long, u uniform from there to 0, since no one length
        suits modes known well and badly.
    prior
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
    prior: Prior


# Rows of spectra (FIRST that of the first of two proposals) and of data.
FIRST, TOTAL, TRIAL = -4, -2, -1
SINE, COSINE, LOG_ANGLE, DENSITY, SHAPE = 0, 1, 2, 3, 4


@serial
def _copy(source, out):
    # Loops: array expressions take Numba seconds each to compile.
    for k in range(out.size):
        out[k] = source[k]


@serial
def _add(sign, source, out):
    for k in range(out.size):
        out[k] += sign * source[k]


@serial
def _normal(offset, width):
    return -0.5 * (offset / width) ** 2


@serial
def _log_prior(kind, mode, prior):
    """Log prior density of a mode; that of a relaxation is normalised, but for its walls and odds."""
    if kind == FLOOR:
        return _normal(mode[0] - prior.level, prior.level_width)
    corner = 0.5 * (_LOG_4 - mode[1])
    value = _normal(mode[0] - 0.5 * mode[1] - prior.variance, prior.variance_width)
    if kind == RELAXATION:
        value += _normal(min(corner - prior.lowest, 0.0) + max(corner - prior.highest, 0.0), prior.wall)
        value += prior.slow_odds if corner < prior.resolved else 0.0
        # Half the corner's density: sharpness moves twice as far.
        return value - math.log(2.0 * (prior.highest - prior.lowest) * prior.variance_width) - _HALF_LOG_2PI
    value += _normal(corner - prior.middle, prior.middle_width) + _normal(mode[2] - prior.middle, prior.middle_width)
    value += _normal(min(mode[2] - corner - prior.least_quality, 0.0), prior.wall)
    return value + _normal(min(mode[2] - prior.slowest, 0.0), prior.wall)


@serial
def _spread(kind, mode, data, out):
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
def _log_zero(walk, n_modes):
    """Log of the spectral density at zero frequency."""
    total = 0.0
    for slot in range(n_modes):
        mode = walk.modes[slot]
        sine = math.sin(0.5 * math.exp(mode[2])) if walk.kinds[slot] == OSCILLATION else 0.0
        total += math.exp(mode[0]) / (1.0 + math.exp(mode[1]) * sine * sine)
    return math.log(total)


@reordered
def _log_likelihood(total, density, shape):
    value = 0.0
    for k in range(total.size):
        value -= shape[k] * (math.log(total[k]) + density[k] / total[k])
    return value


@serial
def _decide(walk, end, move, rng):
    """Take a move or leave it; gives the number of slots in use behind it.

    A move is a log ratio of priors and proposals, two slots whose modes leave (−1 for none, the first one first), and
    the number of new modes, which stand in the last rows but those of the totals.
    """
    log_ratio, first, second, n_new = move
    if log_ratio == -math.inf:
        return end
    threshold = math.log(rng.random()) - log_ratio
    if threshold > _HOPELESS:
        return end
    trial = walk.spectra[TRIAL]
    _copy(walk.spectra[TOTAL], trial)
    if first >= 0:
        _add(-1.0, walk.spectra[first], trial)
    if second >= 0:
        _add(-1.0, walk.spectra[second], trial)
    for k in range(n_new):
        kind = RELAXATION if first < 0 else walk.kinds[first]
        _spread(kind, walk.modes[k - 2], walk.data, walk.spectra[FIRST + k])
        _add(1.0, walk.spectra[FIRST + k], trial)
    likelihood = _log_likelihood(trial, walk.data[DENSITY], walk.data[SHAPE])
    # Written so that NaN, of a total that rounding made negative, is refused.
    if not likelihood - walk.likelihood[0] > threshold:
        return end
    _copy(trial, walk.spectra[TOTAL])
    walk.likelihood[0] = likelihood
    return _apply(walk, end, first, second, n_new)


@serial
def _apply(walk, end, first, second, n_new):
    """Put new modes where others leave, then at the end; the last mode fills what stays empty."""
    for k, slot in enumerate((first, second)):
        if k < n_new:
            place = slot if slot >= 0 else end
            _copy(walk.modes[k - 2], walk.modes[place])
            _copy(walk.spectra[FIRST + k], walk.spectra[place])
            end += slot < 0
        elif slot >= 0:
            end -= 1
            _copy(walk.modes[end], walk.modes[slot])
            _copy(walk.spectra[end], walk.spectra[slot])
    return end


@serial
def _step(walk, kind, rng):
    return rng.standard_normal() * math.exp(walk.shortest[kind] * rng.random())


@serial
def _pair(first, count, rng):
    i = int(count * rng.random())
    j = (i + 1 + int((count - 1) * rng.random())) % count
    return first + i, first + j


@serial
def _vary(walk, slot, rng):
    """Change the height, the corner, or both so that the variance or the tail stays."""
    kind, mode = walk.kinds[slot], walk.modes[-2]
    _copy(walk.modes[slot], mode)
    step = _step(walk, kind, rng)
    if kind == FLOOR:
        mode[0] += step
    else:
        if kind == OSCILLATION:
            step *= _OSCILLATION_STEP
        direction = int(4 * rng.random())
        if kind == OSCILLATION and direction == 3:
            mode[2] += step * walk.reach[slot]
            if mode[2] > _LOG_PI:
                return _NO_MOVE
        else:
            mode[0] += 0.0 if direction == 1 else step
            mode[1] += 0.0 if direction == 0 else step if direction == 3 else 2.0 * step
    log_ratio = _log_prior(kind, mode, walk.prior) - _log_prior(kind, walk.modes[slot], walk.prior)
    return log_ratio, slot, -1, 1


@serial
def _exchange(walk, first, count, rng):
    """Let one relaxation give to another so that the sum of their heights, variances or tails stays."""
    i, j = _pair(first, count, rng)
    one, other = walk.modes[-2], walk.modes[-1]
    _copy(walk.modes[i], one)
    _copy(walk.modes[j], other)
    power = 0.5 * int(3 * rng.random())
    mine, theirs = math.exp(one[0] - power * one[1]), math.exp(other[0] - power * other[1])
    step = _step(walk, RELAXATION, rng)
    rest = theirs - mine * (math.exp(step) - 1.0)
    if rest <= 0.0:
        return _NO_MOVE
    one[0] += step
    other[0] += math.log(rest / theirs)
    # The other's logarithm moves theirs/rest times as far as its amount.
    log_ratio = math.log(theirs / rest)
    for mode, slot in ((one, i), (other, j)):
        log_ratio += _log_prior(RELAXATION, mode, walk.prior) - _log_prior(RELAXATION, walk.modes[slot], walk.prior)
    return log_ratio, i, j, 2


@serial
def _birth_density(walk, mode, total):
    """Log density of a birth: corner uniform over a little more than the prior's range, height about the total's."""
    prior = walk.prior
    corner = 0.5 * (_LOG_4 - mode[1])
    span = prior.highest - prior.lowest + 2.0 * prior.wall
    if not prior.lowest - prior.wall <= corner <= prior.highest + prior.wall:
        return -math.inf
    level = math.log(total[_bin(walk.data[LOG_ANGLE], corner)])
    return _normal(mode[0] - level, _BIRTH_WIDTH) - math.log(_BIRTH_WIDTH) - _HALF_LOG_2PI - math.log(2.0 * span)


@serial
def _bin(log_angle, corner):
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
def _birth(walk, count, rng):
    prior, mode = walk.prior, walk.modes[-2]
    span = prior.highest - prior.lowest + 2.0 * prior.wall
    corner = prior.lowest - prior.wall + span * rng.random()
    mode[0] = math.log(walk.spectra[TOTAL][_bin(walk.data[LOG_ANGLE], corner)]) + _BIRTH_WIDTH * rng.standard_normal()
    mode[1], mode[2] = _LOG_4 - 2.0 * corner, 0.0
    log_ratio = _log_prior(RELAXATION, mode, prior) - _birth_density(walk, mode, walk.spectra[TOTAL])
    return log_ratio + walk.odds[count + 1] - walk.odds[count], -1, -1, 1


@serial
def _death(walk, first, count, rng):
    slot = first + int(count * rng.random())
    without = walk.spectra[TRIAL]
    _copy(walk.spectra[TOTAL], without)
    _add(-1.0, walk.spectra[slot], without)
    log_ratio = _birth_density(walk, walk.modes[slot], without)
    log_ratio += walk.odds[count - 1] - walk.odds[count] - _log_prior(RELAXATION, walk.modes[slot], walk.prior)
    return log_ratio, slot, -1, 0


@serial
def _split_ratio(walk, whole, sharp, blunt):
    """Log ratio of a split's prior and proposal, but for the odds of the number.

    The whole has their heights' sum and their mean sharpness, weighed with the heights; the part of the height is
    proposed uniform, the distance half normal, whose factor of 2 cancels that of two halves being one pair.
    """
    prior = walk.prior
    part = 1.0 / (1.0 + math.exp(blunt[0] - sharp[0]))
    distance = sharp[1] - blunt[1]
    value = _log_prior(RELAXATION, sharp, prior) + _log_prior(RELAXATION, blunt, prior)
    value -= _log_prior(RELAXATION, whole, prior) + _normal(distance, _SPLIT_WIDTH)
    return value + math.log(_SPLIT_WIDTH) + _HALF_LOG_2PI - math.log(part * (1.0 - part))


@serial
def _split(walk, first, count, rng):
    slot = first + int(count * rng.random())
    whole, sharp, blunt = walk.modes[slot], walk.modes[-2], walk.modes[-1]
    part, distance = rng.random(), abs(rng.standard_normal()) * _SPLIT_WIDTH
    if part == 0.0:
        return _NO_MOVE
    sharp[0], sharp[1], sharp[2] = whole[0] + math.log(part), whole[1] + (1.0 - part) * distance, 0.0
    blunt[0], blunt[1], blunt[2] = whole[0] + math.log(1.0 - part), whole[1] - part * distance, 0.0
    log_ratio = _split_ratio(walk, whole, sharp, blunt) + walk.odds[count + 1] - walk.odds[count]
    return log_ratio, slot, -1, 2


@serial
def _merge(walk, first, count, rng):
    i, j = _pair(first, count, rng)
    if walk.modes[i, 1] < walk.modes[j, 1]:
        i, j = j, i
    sharp, blunt, whole = walk.modes[i], walk.modes[j], walk.modes[-2]
    part = 1.0 / (1.0 + math.exp(blunt[0] - sharp[0]))
    whole[0] = sharp[0] - math.log(part)
    whole[1], whole[2] = part * sharp[1] + (1.0 - part) * blunt[1], 0.0
    log_ratio = walk.odds[count - 1] - walk.odds[count] - _split_ratio(walk, whole, sharp, blunt)
    return log_ratio, i, j, 1


@serial
def _change_number(walk, first, count, rng):
    most = walk.kinds.size - first
    move = int(4 * rng.random())
    if move == 0 and count < most:
        return _birth(walk, count, rng)
    if move == 1 and count > 0:
        return _death(walk, first, count, rng)
    if move == 2 and 0 < count < most:
        return _split(walk, first, count, rng)
    if move == 3 and count > 1:
        return _merge(walk, first, count, rng)
    return _NO_MOVE


@serial
def _renew(walk, n_modes):
    """Add the total up anew, without the rounding that many changes leave."""
    for k in range(walk.spectra.shape[1]):
        walk.spectra[TOTAL, k] = 0.0
    for slot in range(n_modes):
        _spread(walk.kinds[slot], walk.modes[slot], walk.data, walk.spectra[slot])
        _add(1.0, walk.spectra[slot], walk.spectra[TOTAL])
    walk.likelihood[0] = _log_likelihood(walk.spectra[TOTAL], walk.data[DENSITY], walk.data[SHAPE])


@serial
def wander(walk, first, count, rng, log_zero, numbers):
    """Walk, and note log S(0) after every sweep.

    Parameters
    ----------
    walk : Walk
        Modes at the beginning; overwritten.
    first, count
        Slot of the first relaxation, and their number at the beginning.
    rng : numpy.random.Generator
    log_zero : (sweeps,) float64, output
    numbers : (sweeps,) int64, output
        Number of relaxations.
    """
    end = first + count
    for sweep in range(log_zero.size):
        if sweep % _RENEWAL == 0:
            _renew(walk, end)
        # Each mode, as many exchanges as there are neighbours, and changes of number; first those that keep it.
        n_varied = end
        n_kept = n_varied + max(end - first - 1, 0)
        for turn in range(n_kept + _CHANGES):
            if turn < n_varied:
                move = _vary(walk, turn, rng)
            elif turn < n_kept:
                move = _exchange(walk, first, end - first, rng)
            else:
                move = _change_number(walk, first, end - first, rng)
            end = _decide(walk, end, move, rng)
        log_zero[sweep] = _log_zero(walk, end)
        numbers[sweep] = end - first
