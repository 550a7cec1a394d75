"""Posterior of S(0) of a spectrum made of modes, sampled by reversible-jump Markov chain Monte Carlo (RJMCMC).

The floor and the oscillations are those of a fit, and their parameters vary; the number of relaxations is free
(`fluxan.kernels.statistics_rjmcmc`; P. J. Green, Biometrika 82, 711 (1995)). A relaxation's variance is log-normal
about that of the fit's floor and relaxations, so that a resonance, however strong, does not set the scale of the
relaxations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.greenkubo.estimators.modes import FLOOR, OSCILLATION, PRIOR, RELAXATION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.greenkubo.estimators.modes import Band, Fit
    from fluxan.kernels.statistics_mode_state import ChainState, ModePrior


@dataclass(frozen=True)
class SamplerSettings:
    """Length of the chain, and the prior of relaxations.

    The prior (log odds, variances, odds against slow relaxations) was set on the series of benchmarks/zero_frequency.py
    with other seeds than the benchmark's.

    Attributes
    ----------
    sweeps : int
        Sweeps per batch. Successive draws are correlated: a batch is worth some fifty independent ones, so that
        the mean of S(0) is known to about a seventh of its standard deviation.
    burn_in : int
        Sweeps at the beginning that are discarded.
    max_batches : int
        Largest number of batches. The chain mixes slowly where two slow motions are well measured.
    max_half_distance : float
        Distance between the means of the chain's halves, over its standard deviation, beyond which a batch is added.
    seed : int
        Seed of the random numbers: the same spectrum gives the same draws.
    log_odds : tuple of float
        Log prior odds of 0, 1, 2, ... relaxations.
    log_variance : float
        Centre of the prior of a relaxation's log variance, about that of the fit's floor and relaxations.
    log_variance_width : float
        Its standard deviation.
    lowest_corner : float
        Ratio of the slowest relaxation's corner to the lowest frequency: a run must last 16 of its decay times.
    resolved_corner : float
        Ratio of corner to lowest frequency below which a relaxation is so badly resolved (126 decay times) that chance
        in the lowest frequencies can look like one.
    unresolved_log_odds : float
        Log odds against such a relaxation.
    highest_corner : float
        Log of the highest corner, radians per sample.
    """

    sweeps: int = 2500
    burn_in: int = 300
    max_batches: int = 4
    max_half_distance: float = 0.5
    seed: int = 2026
    log_odds: tuple[float, ...] = (0.0, 0.0, -1.0, -0.5, -1.5, -2.5, -3.5, -4.5, -5.5)
    log_variance: float = -1.2
    log_variance_width: float = 1.6
    lowest_corner: float = 2.5
    resolved_corner: float = 20.0
    unresolved_log_odds: float = -6.0
    highest_corner: float = 1.2


SAMPLER: Final = SamplerSettings()


@dataclass(frozen=True)
class Draws:
    """Draws along a chain, after burn-in.

    Attributes
    ----------
    zero : (n,) float64
        S(0).
    relaxations : (n,) int64
        Number of relaxations.
    """

    zero: NDArray[np.float64]
    relaxations: NDArray[np.int64]


def sample_modes(best: Fit, band: Band, settings: SamplerSettings = SAMPLER) -> Draws:
    """Sample the posterior, beginning at the modes of a fit; the same spectrum gives the same draws."""
    from fluxan.kernels.statistics_rjmcmc import sample_posterior

    odds = np.array(settings.log_odds)
    fixed = np.concatenate([best.modes(FLOOR), best.modes(OSCILLATION)])
    relaxations = best.modes(RELAXATION)[: odds.size - 1]
    state, count = initial_state(fixed, relaxations, band, odds, settings), len(relaxations)
    rng, shape = np.random.default_rng(settings.seed), (settings.max_batches, settings.sweeps)
    log_zero, numbers = np.empty(shape), np.empty(shape, dtype=np.int64)
    for batch in range(settings.max_batches):
        sample_posterior(state, len(fixed), count, rng, log_zero[batch], numbers[batch])
        count = int(numbers[batch, -1])
        so_far = log_zero[: batch + 1].ravel()[settings.burn_in :]
        if _halves_agree(so_far, settings):
            break
    return Draws(np.exp(so_far), numbers[: batch + 1].ravel()[settings.burn_in :])


def _halves_agree(draws: NDArray[np.float64], settings: SamplerSettings) -> bool:
    """Whether the two halves of a chain have the same mean."""
    middle = draws.size // 2
    return bool(abs(draws[:middle].mean() - draws[middle:].mean()) < settings.max_half_distance * draws.std())


def initial_state(
    fixed: NDArray[np.float64],
    relaxations: NDArray[np.float64],
    band: Band,
    odds: NDArray[np.float64],
    settings: SamplerSettings = SAMPLER,
) -> ChainState:
    """State of a chain that begins at given modes.

    Parameters
    ----------
    fixed : (m, 3) float64
        The floor and the oscillations, as `Fit.modes` gives them.
    relaxations : (k, 3) float64
        Relaxations.
    band : Band
        The spectrum.
    odds : (max_relaxations + 1,) float64
        Log prior odds of each number of relaxations.
    settings : SamplerSettings
        Prior of relaxations.
    """
    from fluxan.kernels.statistics_mode_state import ChainState

    bins, slots = band.angle.size, len(fixed) + odds.size - 1
    modes = np.zeros((slots + 2, 3))
    modes[: len(fixed) + len(relaxations)] = np.concatenate([fixed, relaxations])
    kinds = np.full(slots, RELAXATION)
    kinds[: len(fixed)] = OSCILLATION
    kinds[0] = FLOOR
    return ChainState(
        kinds=kinds,
        modes=modes,
        spectra=np.empty((slots + 4, bins)),
        data=np.stack([*band.half, np.log(band.angle), band.density, band.shape]),
        # The step of the centre is proportional to the width of the resonance.
        reach=2 * np.exp(-0.5 * modes[:, 1] - modes[:, 2]),
        odds=odds,
        likelihood=np.empty(1),
        shortest=_shortest_steps(band),
        prior=_prior(fixed[0, 0], relaxations, band, settings),
    )


def _shortest_steps(band: Band) -> NDArray[np.float64]:
    """Log of the error of one parameter that all bins determine, and for a relaxation the bins below the middle."""
    steps = np.empty(3)
    steps[[FLOOR, OSCILLATION]] = -0.5 * np.log(band.shape.sum() + 1)
    steps[RELAXATION] = -0.5 * np.log(band.shape[np.log(band.angle) <= band.middle].sum() + 1)
    return steps


def _prior(level: float, relaxations: NDArray[np.float64], band: Band, settings: SamplerSettings) -> ModePrior:
    """Prior of a chain; `level` is the log height of the fit's floor."""
    from fluxan.kernels.statistics_mode_state import ModePrior

    height, sharpness = np.exp(relaxations[:, :2].T)
    variance = np.exp(level) * band.angle[-1] / np.pi + float((height / np.sqrt(1 + sharpness)).sum())
    lowest = band.lowest + np.log(settings.lowest_corner)
    return ModePrior(
        level=band.level,
        level_width=PRIOR.floor_width,
        variance=float(np.log(variance)) + settings.log_variance,
        variance_width=settings.log_variance_width,
        lowest=lowest,
        highest=max(min(settings.highest_corner, float(np.log(band.angle[-1]))), lowest + 1.0),
        wall=PRIOR.wall_width,
        resolved=band.lowest + np.log(settings.resolved_corner),
        slow_odds=settings.unresolved_log_odds,
        middle=band.middle,
        middle_width=PRIOR.corner_width,
        slowest=band.lowest + np.log(PRIOR.slowest_oscillation),
        least_quality=np.log(PRIOR.min_quality),
    )
