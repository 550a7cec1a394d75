"""Reversible-jump Markov chain Monte Carlo (RJMCMC): the posterior of a spectrum whose number of relaxations is free.

Proposals are births, deaths, splits and merges of relaxations, and changes of their parameters (P. J. Green, Biometrika
82, 711 (1995)). Two relaxations of similar decay time are hardly distinguishable from one: the chain samples
both descriptions, whereas a search for the maximum ends at one of them.

A proposal is a tuple of four: the log ratio of priors and proposal densities; the two slots whose modes are removed (−1
for none; a single one comes first); and the number of new modes, which are in the last rows of `ChainState.modes`.
"""

from __future__ import annotations

import math

from .jit import serial
from .statistics_mode_fit import FLOOR, OSCILLATION, RELAXATION
from .statistics_mode_state import (
    DENSITY,
    FIRST,
    HALF_LOG_2PI,
    LOG_4,
    LOG_ANGLE,
    SHAPE,
    TOTAL,
    TRIAL,
    add_into,
    bin_above,
    copy_into,
    log_likelihood,
    log_normal,
    log_prior,
    log_zero_frequency,
    mode_density,
    recompute_total,
)

#: Standard deviation of the log height that a birth proposes, around the spectrum at the corner frequency.
BIRTH_HEIGHT_WIDTH = 1.5
#: Standard deviation of the difference in log sharpness between the parts of a split.
SPLIT_DISTANCE_WIDTH = 2.0
#: Step lengths of an oscillation over those of a relaxation: resonances are determined better by the data.
OSCILLATION_STEP = 0.3
#: Proposals per sweep that change the number of relaxations.
NUMBER_PROPOSALS_PER_SWEEP = 3
#: Sweeps after which the total is summed again, so that round-off does not accumulate.
SWEEPS_PER_RECOMPUTATION = 100
#: Upper bound of a proposal's gain in log likelihood (the chain starts at the maximum): a proposal that would need a
#: larger gain to be accepted is rejected before its likelihood is computed.
MAX_LOG_LIKELIHOOD_GAIN = 30.0
_LOG_PI = math.log(math.pi)
_NO_PROPOSAL = (-math.inf, -1, -1, 0)


@serial
def _accept_or_reject(state, end, proposal, rng):
    """Accept or reject a proposal; returns the number of slots that are in use afterwards."""
    log_ratio, first, second, n_new = proposal
    if log_ratio == -math.inf:
        return end
    threshold = math.log(rng.random()) - log_ratio
    if threshold > MAX_LOG_LIKELIHOOD_GAIN:
        return end
    # Spectrum with the proposal: remove the old modes from the total, and add the new ones.
    trial = state.spectra[TRIAL]
    copy_into(state.spectra[TOTAL], trial)
    if first >= 0:
        add_into(-1.0, state.spectra[first], trial)
    if second >= 0:
        add_into(-1.0, state.spectra[second], trial)
    for k in range(n_new):
        kind = RELAXATION if first < 0 else state.kinds[first]
        mode_density(kind, state.modes[k - 2], state.data, state.spectra[FIRST + k])
        add_into(1.0, state.spectra[FIRST + k], trial)
    # Metropolis-Hastings-Green criterion; NaN, from a total made negative by round-off, is rejected.
    likelihood = log_likelihood(trial, state.data[DENSITY], state.data[SHAPE])
    if not likelihood - state.likelihood[0] > threshold:
        return end
    copy_into(trial, state.spectra[TOTAL])
    state.likelihood[0] = likelihood
    return _replace_modes(state, end, first, second, n_new)


@serial
def _replace_modes(state, end, first, second, n_new):
    """Put new modes into the slots of removed ones, then at the end; move the last mode into a slot left empty."""
    for k, slot in enumerate((first, second)):
        if k < n_new:
            place = slot if slot >= 0 else end
            copy_into(state.modes[k - 2], state.modes[place])
            copy_into(state.spectra[FIRST + k], state.spectra[place])
            end += slot < 0
        elif slot >= 0:
            end -= 1
            copy_into(state.modes[end], state.modes[slot])
            copy_into(state.spectra[end], state.spectra[slot])
    return end


@serial
def _step_length(state, kind, rng):
    """Draw a signed step of a length that is log-uniformly distributed."""
    return rng.standard_normal() * math.exp(state.shortest[kind] * rng.random())


@serial
def _draw_pair(first, count, rng):
    """Draw the slots of two different relaxations."""
    i = int(count * rng.random())
    j = (i + 1 + int((count - 1) * rng.random())) % count
    return first + i, first + j


@serial
def _propose_change(state, slot, rng):
    """Propose a change of a mode's height, corner, or both at constant variance or constant high-frequency tail."""
    kind, mode = state.kinds[slot], state.modes[-2]
    copy_into(state.modes[slot], mode)
    step = _step_length(state, kind, rng)
    if kind == FLOOR:
        mode[0] += step
    else:
        if kind == OSCILLATION:
            step *= OSCILLATION_STEP
        direction = int(4 * rng.random())
        if kind == OSCILLATION and direction == 3:
            mode[2] += step * state.reach[slot]
            if mode[2] > _LOG_PI:
                return _NO_PROPOSAL
        else:
            mode[0] += 0.0 if direction == 1 else step
            mode[1] += 0.0 if direction == 0 else step if direction == 3 else 2.0 * step
    log_ratio = log_prior(kind, mode, state.prior) - log_prior(kind, state.modes[slot], state.prior)
    return log_ratio, slot, -1, 1


@serial
def _propose_exchange(state, first, count, rng):
    """Propose changes of two relaxations at a constant sum of their heights, variances or high-frequency tails."""
    i, j = _draw_pair(first, count, rng)
    one, other = state.modes[-2], state.modes[-1]
    copy_into(state.modes[i], one)
    copy_into(state.modes[j], other)
    power = 0.5 * int(3 * rng.random())
    mine, theirs = math.exp(one[0] - power * one[1]), math.exp(other[0] - power * other[1])
    step = _step_length(state, RELAXATION, rng)
    rest = theirs - mine * (math.exp(step) - 1.0)
    if rest <= 0.0:
        return _NO_PROPOSAL
    one[0] += step
    other[0] += math.log(rest / theirs)
    # Jacobian: derivative of the other's new log amount by its old one.
    log_ratio = math.log(theirs / rest)
    for mode, slot in ((one, i), (other, j)):
        log_ratio += log_prior(RELAXATION, mode, state.prior) - log_prior(RELAXATION, state.modes[slot], state.prior)
    return log_ratio, i, j, 2


@serial
def _log_birth_density(state, mode, total):
    """Log density of a birth's proposal: a uniform corner, and a log-normal height around the spectrum there."""
    prior = state.prior
    corner = 0.5 * (LOG_4 - mode[1])
    span = prior.highest - prior.lowest + 2.0 * prior.wall
    if not prior.lowest - prior.wall <= corner <= prior.highest + prior.wall:
        return -math.inf
    level = math.log(total[bin_above(state.data[LOG_ANGLE], corner)])
    return (
        log_normal(mode[0] - level, BIRTH_HEIGHT_WIDTH)
        - math.log(BIRTH_HEIGHT_WIDTH)
        - HALF_LOG_2PI
        - math.log(2.0 * span)
    )


@serial
def _propose_birth(state, count, rng):
    """Propose a new relaxation: a uniform corner, and a log-normal height around the spectrum there."""
    prior, mode = state.prior, state.modes[-2]
    span = prior.highest - prior.lowest + 2.0 * prior.wall
    corner = prior.lowest - prior.wall + span * rng.random()
    mode[0] = (
        math.log(state.spectra[TOTAL][bin_above(state.data[LOG_ANGLE], corner)])
        + BIRTH_HEIGHT_WIDTH * rng.standard_normal()
    )
    mode[1], mode[2] = LOG_4 - 2.0 * corner, 0.0
    log_ratio = log_prior(RELAXATION, mode, prior) - _log_birth_density(state, mode, state.spectra[TOTAL])
    return log_ratio + state.odds[count + 1] - state.odds[count], -1, -1, 1


@serial
def _propose_death(state, first, count, rng):
    """Propose to remove a relaxation, the reverse of a birth."""
    slot = first + int(count * rng.random())
    without = state.spectra[TRIAL]
    copy_into(state.spectra[TOTAL], without)
    add_into(-1.0, state.spectra[slot], without)
    log_ratio = _log_birth_density(state, state.modes[slot], without)
    log_ratio += state.odds[count - 1] - state.odds[count] - log_prior(RELAXATION, state.modes[slot], state.prior)
    return log_ratio, slot, -1, 0


@serial
def _log_split_ratio(state, whole, sharp, blunt):
    """Log ratio of a split's prior and proposal, without the odds of the number of relaxations.

    The whole has the sum of the heights and the mean log sharpness, weighted by the heights. The split proposes a
    uniform fraction of the height and a half-normal difference in log sharpness, whose factor of 2 cancels that of the
    two parts being interchangeable.
    """
    prior = state.prior
    part = 1.0 / (1.0 + math.exp(blunt[0] - sharp[0]))
    distance = sharp[1] - blunt[1]
    value = log_prior(RELAXATION, sharp, prior) + log_prior(RELAXATION, blunt, prior)
    value -= log_prior(RELAXATION, whole, prior) + log_normal(distance, SPLIT_DISTANCE_WIDTH)
    return value + math.log(SPLIT_DISTANCE_WIDTH) + HALF_LOG_2PI - math.log(part * (1.0 - part))


@serial
def _propose_split(state, first, count, rng):
    """Propose to replace a relaxation by two, of larger and of smaller sharpness."""
    slot = first + int(count * rng.random())
    whole, sharp, blunt = state.modes[slot], state.modes[-2], state.modes[-1]
    part, distance = rng.random(), abs(rng.standard_normal()) * SPLIT_DISTANCE_WIDTH
    if part == 0.0:
        return _NO_PROPOSAL
    sharp[0], sharp[1], sharp[2] = whole[0] + math.log(part), whole[1] + (1.0 - part) * distance, 0.0
    blunt[0], blunt[1], blunt[2] = whole[0] + math.log(1.0 - part), whole[1] - part * distance, 0.0
    log_ratio = _log_split_ratio(state, whole, sharp, blunt) + state.odds[count + 1] - state.odds[count]
    return log_ratio, slot, -1, 2


@serial
def _propose_merge(state, first, count, rng):
    """Propose to replace two relaxations by one, the reverse of a split."""
    i, j = _draw_pair(first, count, rng)
    if state.modes[i, 1] < state.modes[j, 1]:
        i, j = j, i
    sharp, blunt, whole = state.modes[i], state.modes[j], state.modes[-2]
    part = 1.0 / (1.0 + math.exp(blunt[0] - sharp[0]))
    whole[0] = sharp[0] - math.log(part)
    whole[1], whole[2] = part * sharp[1] + (1.0 - part) * blunt[1], 0.0
    log_ratio = state.odds[count - 1] - state.odds[count] - _log_split_ratio(state, whole, sharp, blunt)
    return log_ratio, i, j, 1


@serial
def _propose_number(state, first, count, rng):
    """Propose a birth, death, split or merge with equal probability; none where the number does not allow it."""
    most = state.kinds.size - first
    proposal = int(4 * rng.random())
    if proposal == 0 and count < most:
        return _propose_birth(state, count, rng)
    if proposal == 1 and count > 0:
        return _propose_death(state, first, count, rng)
    if proposal == 2 and 0 < count < most:
        return _propose_split(state, first, count, rng)
    if proposal == 3 and count > 1:
        return _propose_merge(state, first, count, rng)
    return _NO_PROPOSAL


@serial
def sample_posterior(state, first, count, rng, log_zero, numbers):
    """Run the chain, and record log S(0) after every sweep; the caller discards the burn-in.

    Parameters
    ----------
    state : ChainState
        Starting point; overwritten with the last state.
    first, count : int
        Slot of the first relaxation, and number of relaxations at the start.
    rng : numpy.random.Generator
        Random numbers.
    log_zero : (sweeps,) float64, output
        Log of the spectral density at zero frequency.
    numbers : (sweeps,) int64, output
        Number of relaxations.
    """
    end = first + count
    for sweep in range(log_zero.size):
        if sweep % SWEEPS_PER_RECOMPUTATION == 0:
            recompute_total(state, end)
        # A sweep: a change of each mode, exchanges (one fewer than relaxations), then changes of their number.
        n_varied = end
        n_kept = n_varied + max(end - first - 1, 0)
        for turn in range(n_kept + NUMBER_PROPOSALS_PER_SWEEP):
            if turn < n_varied:
                proposal = _propose_change(state, turn, rng)
            elif turn < n_kept:
                proposal = _propose_exchange(state, first, end - first, rng)
            else:
                proposal = _propose_number(state, first, end - first, rng)
            end = _accept_or_reject(state, end, proposal, rng)
        log_zero[sweep] = log_zero_frequency(state, end)
        numbers[sweep] = end - first
