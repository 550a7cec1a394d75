"""Draws from the posterior of a spectrum made of modes: what a run leaves open about S(0).

The floor and the oscillations are those of a fit, and their parameters vary; relaxations come and go
(`fluxan.kernels.walk`). A relaxation's variance is log-normal about that of the fit's floor and relaxations, so that a
resonance, however strong, does not set the scale of what relaxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.greenkubo.modes import (
    CORNER_WIDTH,
    FLOOR,
    FLOOR_WIDTH,
    LEAST_QUALITY,
    OSCILLATION,
    RELAXATION,
    SLOWEST_OSCILLATION,
    WALL_WIDTH,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.greenkubo.modes import Band, Fit
    from fluxan.kernels.walk import Prior, Walk

#: Sweeps of a stretch, and how many at the beginning do not count. Neighbouring draws are alike, so that the others are
#: worth some fifty: S(0) is known to a seventh of its standard deviation or so. Two slow motions that are well measured
#: mix slower: where the halves of a walk lie further apart than this share of its width, stretches are added.
_SWEEPS: Final = 2500
_FORGOTTEN: Final = 300
_MOST_STRETCHES: Final = 4
_APART: Final = 0.5
_SEED: Final = 2026
#: Log odds of 0, 1, 2, ... relaxations. These, the width of their variances and the odds against slow ones were set
#: on series of benchmarks/zero_frequency.py, other seeds than the benchmark's.
_ODDS: Final = np.array([0.0, 0.0, -1.0, -0.5, -1.5, -2.5, -3.5, -4.5, -5.5])
_VARIANCE: Final = -1.2
_VARIANCE_WIDTH: Final = 1.6
#: Corner of the slowest relaxation in multiples of the lowest frequency (a run must see 16 τ of it), and below which a
#: relaxation is so badly resolved (126 τ) that an accident of the lowest frequencies looks like it once in many runs.
_SLOWEST: Final = 2.5
_RESOLVED: Final = 20.0
_SLOW_ODDS: Final = -6.0
_HIGHEST_CORNER: Final = 1.2


@dataclass(frozen=True)
class Draws:
    """Draws along a walk: (n,) S(0) and (n,) number of relaxations."""

    zero: NDArray[np.float64]
    relaxations: NDArray[np.int64]


def draw(found: Fit, band: Band) -> Draws:
    """Walk from the modes of a fit; the same spectrum gives the same draws."""
    from fluxan.kernels.walk import wander

    fixed = np.concatenate([found.modes(FLOOR), found.modes(OSCILLATION)])
    relaxations = found.modes(RELAXATION)[: _ODDS.size - 1]
    walk, count, rng = walk_of(fixed, relaxations, band, _ODDS), len(relaxations), np.random.default_rng(_SEED)
    log_zero, numbers = np.empty((_MOST_STRETCHES, _SWEEPS)), np.empty((_MOST_STRETCHES, _SWEEPS), dtype=np.int64)
    for stretch in range(_MOST_STRETCHES):
        wander(walk, len(fixed), count, rng, log_zero[stretch], numbers[stretch])
        count = int(numbers[stretch, -1])
        so_far = log_zero[: stretch + 1].ravel()[_FORGOTTEN:]
        if _settled(so_far):
            break
    return Draws(np.exp(so_far), numbers[: stretch + 1].ravel()[_FORGOTTEN:])


def _settled(draws: NDArray[np.float64]) -> bool:
    """Whether the two halves of a walk agree."""
    middle = draws.size // 2
    return bool(abs(draws[:middle].mean() - draws[middle:].mean()) < _APART * draws.std())


def walk_of(
    fixed: NDArray[np.float64], relaxations: NDArray[np.float64], band: Band, odds: NDArray[np.float64]
) -> Walk:
    """Begin a walk at the floor and oscillations (m, 3) and relaxations (k, 3); `odds` says how many there may be."""
    from fluxan.kernels.walk import Walk

    bins, slots = band.angle.size, len(fixed) + odds.size - 1
    modes = np.zeros((slots + 2, 3))
    modes[: len(fixed) + len(relaxations)] = np.concatenate([fixed, relaxations])
    kinds = np.full(slots, RELAXATION)
    kinds[: len(fixed)] = OSCILLATION
    kinds[0] = FLOOR
    return Walk(
        kinds=kinds,
        modes=modes,
        spectra=np.empty((slots + 4, bins)),
        data=np.stack([*band.half, np.log(band.angle), band.density, band.shape]),
        # A step of the centre goes by the width of the resonance.
        reach=2 * np.exp(-0.5 * modes[:, 1] - modes[:, 2]),
        odds=odds,
        likelihood=np.empty(1),
        shortest=_shortest_steps(band),
        prior=_prior(fixed[0, 0], relaxations, band),
    )


def _shortest_steps(band: Band) -> NDArray[np.float64]:
    """What all bins tell of one factor, and those below a corner in the middle, by kind."""
    steps = np.empty(3)
    steps[[FLOOR, OSCILLATION]] = -0.5 * np.log(band.shape.sum() + 1)
    steps[RELAXATION] = -0.5 * np.log(band.shape[np.log(band.angle) <= band.middle].sum() + 1)
    return steps


def _prior(level: float, relaxations: NDArray[np.float64], band: Band) -> Prior:
    from fluxan.kernels.walk import Prior

    height, sharpness = np.exp(relaxations[:, :2].T)
    variance = np.exp(level) * band.angle[-1] / np.pi + float((height / np.sqrt(1 + sharpness)).sum())
    lowest = band.lowest + np.log(_SLOWEST)
    return Prior(
        level=band.level,
        level_width=FLOOR_WIDTH,
        variance=float(np.log(variance)) + _VARIANCE,
        variance_width=_VARIANCE_WIDTH,
        lowest=lowest,
        highest=max(min(_HIGHEST_CORNER, float(np.log(band.angle[-1]))), lowest + 1.0),
        wall=WALL_WIDTH,
        resolved=band.lowest + np.log(_RESOLVED),
        slow_odds=_SLOW_ODDS,
        middle=band.middle,
        middle_width=CORNER_WIDTH,
        slowest=band.lowest + np.log(SLOWEST_OSCILLATION),
        least_quality=np.log(LEAST_QUALITY),
    )
