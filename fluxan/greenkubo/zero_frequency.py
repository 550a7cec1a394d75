"""Default estimator of the zero-frequency limit of a spectral density: modes, averaged over their number and the band.

A periodogram is described by a white floor and 0, 1, 2, ... modes (``modes.py``). Modes are added one at a time, each
where the likelihood's gradient asks for it most, and every number of modes is weighted with its evidence. The band
starts at Nyquist and shrinks until the best number of modes describes it: resonances too many to be resolved are cut
off, never smeared into the limit. Bins above a cut count as free, each for one parameter, so that cuts compare by the
same score. What comes out is the posterior of log S(0), from profiles of each model's posterior (L. Tierney,
J. B. Kadane, J. Am. Stat. Assoc. 81, 82 (1986)), skewed where the data leave it skewed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.interpolate import CubicSpline

from fluxan.errors import ShortRunError
from fluxan.greenkubo.estimate import Estimate, Spectrum
from fluxan.greenkubo.modes import FLOOR, OSCILLATION, RELAXATION, Band, Fit, Pull, fit, spectrum_of, starts

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_LOG_2: Final = np.log(2.0)
_BIN_RATIO: Final = 1.06
_SINGLES: Final = 12
_FEWEST_BINS: Final = 12
_CUT_RATIO: Final = 1.7
_MOST_MODES: Final = 5
# A band is described when the deviance of its bins, on average one each, is no more than this many of its standard
# deviations too large.
_GOOD_DEVIANCE: Final = 2.5
# Log evidence by which an oscillation must surpass a relaxation to be tried in its place, and below which a model
# adds nothing to an average.
_OSCILLATION_MARGIN: Final = 3.0
_NEGLIGIBLE: Final = 5.0
# Log odds, a priori, of a second and of a third relaxation, and of each one slower than the run resolves well, whose
# corner is not this many times the lowest frequency. Evidence alone merges close relaxations, which makes S(0) too low
# and its error too small, and takes an accident of the lowest frequencies for a slow mode once in a hundred runs.
_SEVERAL_ODDS: Final = 2.5
_SLOW_ODDS: Final = -6.0
_WELL_RESOLVED: Final = 20.0
# Power of the nuisance parameters' determinant: it leaves a trace of Jeffreys' prior. This and the odds were set on
# the series of benchmarks/zero_frequency.py.
_NUISANCE: Final = 0.95
# Weight of the upper side in the error: estimates that are too low have errors that are too small, so what the error
# must cover lies above.
_UPPER: Final = 0.6
# Points of a profile, in standard deviations of log S(0).
_PROFILE: Final = np.array([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.5])


def zero_frequency(frequencies: ArrayLike, density: ArrayLike, *, dof: ArrayLike, time_step: float = 1.0) -> Estimate:
    """Estimate S(0) of a spectral density from its periodogram, with an error that covers; nothing to tune.

    Parameters
    ----------
    frequencies
        (n,) above zero, increasing, up to Nyquist; any set: all of a run's, pooled bins, or those of several
        resolutions side by side. Their lowest should be 1/(length of the run): slower motion is not looked for.
    density
        (n,) two-sided spectral density at these frequencies, averaged over components or segments.
    dof
        (n,) or one number: degrees of freedom of each value, 2 per complex ordinate averaged
        (6 for three components).
    time_step
        Sampling interval, in the inverse unit of ``frequencies``.

    Returns
    -------
    Estimate
        S(0) and its standard error; a Green–Kubo integral is half of each. ``details`` holds ``modes`` (mean number),
        ``cut`` (highest frequency of the heaviest band), ``slowest`` (decay time of its slowest mode),
        ``deviance`` and ``bins``.

    Raises
    ------
    InputError
        For arrays that are no spectrum.
    ShortRunError
        For fewer than 12 frequencies.
    """
    pooled = Spectrum.of(frequencies, density, dof=dof, time_step=time_step).pooled(ratio=_BIN_RATIO, singles=_SINGLES)
    if pooled.frequencies.size < _FEWEST_BINS:
        raise ShortRunError(
            f"the zero-frequency limit needs a spectrum of {_FEWEST_BINS} frequencies or more, "
            f"got {np.size(frequencies)}; run longer, about 20 correlation times at least"
        )
    models = _models(pooled)
    scores = np.array([model.score for model in models])
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    value, error = _summary(*_mixture(models, weights))
    return Estimate(value, error, "modes", _details(models, weights, pooled))


@dataclass(frozen=True)
class _Model:
    """One number of modes on one band, with its score: log evidence against free bins everywhere."""

    band: Band
    fit: Fit
    score: float
    deviance: float


def _models(pooled: Spectrum) -> list[_Model]:
    """Models worth averaging: bands from the widest down to the first that is well described."""
    bins = pooled.frequencies.size
    models: list[_Model] = []
    while bins >= _FEWEST_BINS:
        band = Band.of(pooled.below(pooled.frequencies[bins - 1]))
        models += _grow(band, pooled.frequencies.size - bins)
        best = max((model for model in models if model.band.angle.size == bins), key=lambda model: model.score)
        if best.deviance < bins + _GOOD_DEVIANCE * np.sqrt(2 * bins):
            break
        bins = min(bins - 1, int(np.searchsorted(pooled.frequencies, pooled.frequencies[bins - 1] / _CUT_RATIO)))
    top = max(model.score for model in models)
    return [model for model in models if model.score > top - _NEGLIGIBLE]


def _grow(band: Band, free_bins: int) -> list[_Model]:
    """Fit a floor, then add modes while the evidence does not fall far."""
    candidates = _Candidates(band)
    current = fit((FLOOR,), np.array([[np.log(np.average(band.density, weights=band.shape))]]), band)
    models = [_scored(band, current, free_bins)]
    for _ in range(_MOST_MODES):
        tried = [_scored(band, fit(kinds, start, band), free_bins) for kinds, start in candidates.additions(current)]
        models += tried
        best = max(tried, key=lambda model: model.score)
        current = best.fit
        if best.score < max(model.score for model in models) - 2 * _NEGLIGIBLE:
            break
    return models


def _scored(band: Band, found: Fit, free_bins: int) -> _Model:
    score = float(found.log_evidence[0]) + _prior_odds(band, found) - band.saturated - free_bins
    return _Model(band, found, score, 2 * (band.saturated - float(found.log_likelihood[0])))


def _prior_odds(band: Band, found: Fit) -> float:
    pairs = zip(found.kinds, starts(found.kinds), strict=True)
    corners = np.array([_LOG_2 - 0.5 * found.parameters[0, start + 1] for kind, start in pairs if kind == RELAXATION])
    slow = np.count_nonzero(corners < band.lowest + np.log(_WELL_RESOLVED))
    return _SEVERAL_ODDS * np.clip(corners.size - slow - 1, 0, 2) + _SLOW_ODDS * slow


class _Candidates:
    """Modes of unit amplitude on a grid of corners and resonances, from which the next mode is chosen."""

    def __init__(self, band: Band) -> None:
        self._band = band
        lowest, highest = band.lowest, np.log(band.angle[-1])
        corners = np.arange(lowest + np.log(1.5), max(highest, lowest + 1), np.log(1.6))
        centres = np.arange(lowest + np.log(40), min(highest + np.log(1.6), np.log(np.pi)), np.log(1.15))
        slow = np.stack([np.zeros_like(corners), np.log(4) - 2 * corners], axis=1)
        resonant = np.concatenate(
            [
                np.stack([np.zeros_like(centres), np.log(4) + 2 * np.log(q) - 2 * centres, centres], axis=1)
                for q in (1.3, 4, 14)
            ]
        )
        self._modes = [((RELAXATION,), p) for p in slow] + [((OSCILLATION,), p) for p in resonant]
        self._shapes = np.concatenate(
            [
                spectrum_of((RELAXATION,), slow, band.angle)[0],
                spectrum_of((OSCILLATION,), resonant, band.angle)[0],
            ]
        )
        self._n_relaxations = len(slow)

    def additions(self, current: Fit) -> list[tuple[tuple[int, ...], NDArray[np.float64]]]:
        """Add the relaxation whose score test gains most, and the oscillation where it gains clearly more.

        The score test is that of an infinitesimal amplitude, the parameters already there giving way.
        """
        band = self._band
        density, derivatives = spectrum_of(current.kinds, current.parameters, band.angle)
        weight = band.shape / density[0]
        slope = self._shapes @ (weight * (band.density / density[0] - 1))
        cross = (derivatives[0] / density * weight) @ self._shapes.T
        naive = self._shapes**2 @ (weight / density[0])
        information = np.maximum(naive - (cross * np.linalg.solve(current.precision[0], cross)).sum(0), 1e-12 * naive)
        gain = np.where(slope > 0, 0.5 * slope**2 / information, 0.0)
        amplitude = np.clip(slope / information, 1e-3 * density.min(), band.density.max())
        chosen = [int(np.argmax(gain[: self._n_relaxations]))]
        if self._n_relaxations < gain.size:
            resonance = self._n_relaxations + int(np.argmax(gain[self._n_relaxations :]))
            if gain[resonance] > gain[chosen[0]] + _OSCILLATION_MARGIN:
                chosen.append(resonance)
        return [self._joined(current, index, amplitude[index]) for index in chosen]

    def _joined(self, current: Fit, index: int, amplitude: float) -> tuple[tuple[int, ...], NDArray[np.float64]]:
        kind, mode = self._modes[index]
        added = np.concatenate([[np.log(amplitude)], mode[1:]])
        return current.kinds + kind, np.concatenate([current.parameters[0], added])[None]


@dataclass(frozen=True)
class _Posterior:
    """Log density of log S(0) under one model, at a few points: a cubic between them, straight tails beyond."""

    points: NDArray[np.float64]
    log_density: NDArray[np.float64]
    sd: float

    def mass(self, grid: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability on an equidistant grid."""
        x = self.points
        curve = CubicSpline(x, self.log_density)
        left, right = max(float(curve(x[0], 1)), 1 / self.sd), min(float(curve(x[-1], 1)), -1 / self.sd)
        values = curve(np.clip(grid, x[0], x[-1]))
        values += left * np.minimum(grid - x[0], 0) + right * np.maximum(grid - x[-1], 0)
        mass = np.exp(values - values.max())
        return mass / mass.sum()


def _profile(model: _Model) -> _Posterior:
    """Marginal posterior of log S(0): profile times the determinant of the nuisance parameters."""
    found = model.fit
    centre, variance = float(found.log_zero[0]), float(found.variance[0])
    sd = min(np.sqrt(variance), 1.0)
    direction = np.linalg.solve(found.precision[0], found.gradient[0]) / variance
    beginnings = found.parameters + _PROFILE[:, None] * sd * direction
    along = fit(found.kinds, beginnings, model.band, pull=Pull(centre + _PROFILE * sd, strength=30 / sd**2))
    nuisance = np.linalg.slogdet(along.precision)[1] + np.log(along.variance)
    kept = np.concatenate([[True], np.diff(along.log_zero) > 1e-3 * sd])
    if np.count_nonzero(kept) < _PROFILE.size // 2:
        return _Posterior(centre + _PROFILE * sd, -0.5 * _PROFILE**2, sd)
    log_density = along.log_posterior - 0.5 * _NUISANCE * nuisance
    return _Posterior(along.log_zero[kept], log_density[kept], sd)


def _mixture(models: list[_Model], weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """S(0) on a grid and its probability, over the models that weigh something."""
    posteriors = [(_profile(model), weight) for model, weight in zip(models, weights, strict=True) if weight > 0.01]
    low = min(posterior.points[0] - 2 * posterior.sd for posterior, _ in posteriors)
    high = max(posterior.points[-1] + 3 * posterior.sd for posterior, _ in posteriors)
    finest = min(posterior.sd for posterior, _ in posteriors)
    grid = np.linspace(low, high, int(np.clip(8 * (high - low) / finest, 200, 4000)))
    mass = sum((weight * posterior.mass(grid) for posterior, weight in posteriors), np.zeros_like(grid))
    return np.exp(grid), mass / mass.sum()


def _summary(value: NDArray[np.float64], mass: NDArray[np.float64]) -> tuple[float, float]:
    """Mean, and as error half the way to the ends of the central interval of 95.4 %, upper and lower side weighed.

    A root mean square would follow the one model in twenty that puts S(0) far off, half the interval of 68 % forget it.
    """
    low, high = np.interp([0.0228, 0.9772], np.cumsum(mass), value)
    mean = float(mass @ value)
    return mean, float(0.5 * (_UPPER * (high - mean) + (1 - _UPPER) * (mean - low)))


def _details(models: list[_Model], weights: NDArray[np.float64], pooled: Spectrum) -> dict[str, float]:
    heaviest = models[int(np.argmax(weights))]
    kinds, parameters = heaviest.fit.kinds, heaviest.fit.parameters[0]
    sharpness = [parameters[start + 1] for kind, start in zip(kinds, starts(kinds), strict=True) if kind != FLOOR]
    return {
        "modes": float(weights @ [len(model.fit.kinds) - 1 for model in models]),
        "cut": float(heaviest.band.angle[-1] / (2 * np.pi * pooled.time_step)),
        "slowest": float(0.5 * np.exp(0.5 * max(sharpness)) * pooled.time_step) if sharpness else 0.0,
        "deviance": heaviest.deviance,
        "bins": float(heaviest.band.angle.size),
    }
