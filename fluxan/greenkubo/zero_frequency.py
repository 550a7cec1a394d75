"""Default estimator of the zero-frequency limit of a spectral density: the posterior of a sum of modes.

A periodogram is described by a white floor and 0, 1, 2, ... modes (``modes.py``). A search adds modes one at a time,
each where the likelihood's gradient asks for it most, and keeps the number of largest evidence. The band starts at
Nyquist and shrinks until that number describes it: resonances too many to be resolved are cut off, never smeared into
the limit. Bins above a cut count as free, each for one parameter, so that cuts compare by the same score. From there a
random walk draws from the posterior of S(0), with relaxations that come and go (``posterior.py``): where two numbers of
them, or two decay times, are as good as each other, the error says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import ShortRunError
from fluxan.greenkubo.estimate import Estimate, Spectrum, one_error
from fluxan.greenkubo.modes import FLOOR, OSCILLATION, RELAXATION, Band, Fit, fit, spectrum_of
from fluxan.greenkubo.posterior import draw

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fluxan.greenkubo.posterior import Draws

_BIN_RATIO: Final = 1.06
_SINGLES: Final = 12
# Factor by which the density may change within a bin; with wider ones the tails of sharp lines come out too high.
_LINES: Final = 1.15
_FEWEST_BINS: Final = 12
_CUT_RATIO: Final = 1.7
_MOST_MODES: Final = 5
# A band is described when the deviance of its bins, on average one each, is no more than this many of its standard
# deviations too large.
_GOOD_DEVIANCE: Final = 2.5
# Log evidence by which an oscillation must surpass a relaxation to be tried in its place, and by which one more
# mode may lose before the search ends.
_OSCILLATION_MARGIN: Final = 3.0
_MARGIN_OF_LOSS: Final = 10.0
# Log evidence over that of a floor alone at which a spectrum surely has modes.
_SURE: Final = 3.0
# Weight of the upper side in the error: estimates that are too low have errors that are too small, so what the error
# must cover lies above.
_UPPER: Final = 0.6


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
        ``cut`` (highest frequency of the band), ``slowest`` (decay time of the slowest mode of the best fit),
        ``deviance`` and ``bins``. The same spectrum gives the same numbers to nine digits.

    Raises
    ------
    InputError
        For arrays that are no spectrum.
    ShortRunError
        For fewer than 12 frequencies.
    """
    plain, unit = _pooled(Spectrum.of(frequencies, density, dof=dof, time_step=time_step))
    best = _best(plain)
    draws = draw(best.fit, best.band)
    return Estimate(*_summary(draws.zero), "modes", _details(best, draws, time_step)).scaled(unit)


def slowest_motion(spectrum: Spectrum) -> float:
    """Decay time of the slowest mode that a spectrum shows for sure, zero where it shows none; quicker than S(0)."""
    best = _best(_pooled(spectrum)[0])
    return _slowest(best) * spectrum.time_step if best.gain > _SURE else 0.0


def _pooled(spectrum: Spectrum) -> tuple[Spectrum, float]:
    """Bins of a spectrum without its units."""
    pooled = spectrum.pooled(ratio=_BIN_RATIO, singles=_SINGLES, lines=_LINES)
    if pooled.frequencies.size < _FEWEST_BINS:
        raise ShortRunError(
            f"the zero-frequency limit needs a spectrum of {_FEWEST_BINS} frequencies or more, "
            f"got {spectrum.frequencies.size}; run longer, about 20 correlation times at least"
        )
    return _without_units(pooled)


def _without_units(spectrum: Spectrum) -> tuple[Spectrum, float]:
    """Spectrum in cycles per sample over its geometric mean, and that mean; rounded to nine digits.

    Other units, or sums in another order, change last digits, and a random walk would come out differently by a tenth
    of its error.
    """
    level = float(np.log(spectrum.density).mean())
    density = np.exp(np.round(np.log(spectrum.density) - level, 9))
    frequencies = np.exp(np.round(np.log(spectrum.frequencies * spectrum.time_step), 9))
    return Spectrum(frequencies, density, spectrum.dof, 1.0), float(np.exp(level))


@dataclass(frozen=True)
class _Model:
    """Modes on a band; `score` is their log evidence against free bins everywhere, `gain` that over a floor."""

    band: Band
    fit: Fit
    score: float
    deviance: float
    gain: float = 0.0


def _best(pooled: Spectrum) -> _Model:
    """Model of largest score, on bands from the widest down to the first that is well described."""
    models: list[_Model] = []
    bins = pooled.frequencies.size
    while bins >= _FEWEST_BINS:
        models.append(_grow(Band.of(pooled.below(pooled.frequencies[bins - 1])), pooled.frequencies.size - bins))
        if models[-1].deviance < bins + _GOOD_DEVIANCE * np.sqrt(2 * bins):
            break
        bins = min(bins - 1, int(np.searchsorted(pooled.frequencies, pooled.frequencies[bins - 1] / _CUT_RATIO)))
    return max(models, key=lambda model: model.score)


def _grow(band: Band, free_bins: int) -> _Model:
    """Fit a floor, then add modes while the evidence does not fall far; the best of all."""
    candidates = _Candidates(band)
    current = fit((FLOOR,), np.log([np.average(band.density, weights=band.shape)]), band)
    floor = best = _scored(band, current, free_bins)
    for _ in range(_MOST_MODES):
        tried = [_scored(band, fit(kinds, start, band), free_bins) for kinds, start in candidates.additions(current)]
        last = max(tried, key=lambda model: model.score)
        current = last.fit
        best = max(best, last, key=lambda model: model.score)
        if last.score < best.score - _MARGIN_OF_LOSS:
            break
    return replace(best, gain=best.score - floor.score)


def _scored(band: Band, found: Fit, free_bins: int) -> _Model:
    score = found.log_evidence - band.saturated - free_bins
    return _Model(band, found, score, 2 * (band.saturated - found.log_likelihood))


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
        self._shapes = np.stack([spectrum_of(kind, p, band.half)[0] for kind, p in self._modes])
        self._n_relaxations = len(slow)

    def additions(self, current: Fit) -> list[tuple[tuple[int, ...], NDArray[np.float64]]]:
        """Add the relaxation whose score test gains most, and the oscillation where it gains clearly more.

        The score test is that of an infinitesimal amplitude, the parameters already there giving way.
        """
        band = self._band
        density, derivatives = spectrum_of(current.kinds, current.parameters, band.half)
        weight = band.shape / density
        slope = self._shapes @ (weight * (band.density / density - 1))
        cross = (derivatives / density * weight) @ self._shapes.T
        naive = self._shapes**2 @ (weight / density)
        information = np.maximum(naive - (cross * np.linalg.solve(current.precision, cross)).sum(0), 1e-12 * naive)
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
        return current.kinds + kind, np.concatenate([current.parameters, added])


def _summary(zero: NDArray[np.float64]) -> tuple[float, float]:
    """Value, and as error half the way to the ends of the central interval of 95.4 %, upper and lower side weighed.

    A root mean square would follow the one draw in twenty that puts S(0) far off, half the interval of 68 % forget it.
    """
    low, middle, high = np.quantile(zero, [0.0228, 0.5, 0.9772])
    value = min(0.5 * float(zero.mean() + middle), float(high))  # a few draws far off may lift the mean above it
    return value, float(one_error(value - low, high - value, upper=_UPPER))


def _details(best: _Model, draws: Draws, time_step: float) -> dict[str, float]:
    return {
        "modes": float(draws.relaxations.mean() + len(best.fit.modes(OSCILLATION))),
        "cut": float(best.band.angle[-1] / (2 * np.pi * time_step)),
        "slowest": _slowest(best) * time_step,
        "deviance": best.deviance,
        "bins": float(best.band.angle.size),
    }


def _slowest(model: _Model) -> float:
    """Decay time of the slowest mode, in samples; zero where there is none."""
    sharpness = model.fit.modes(RELAXATION, OSCILLATION)[:, 1]
    return float(0.5 * np.exp(0.5 * sharpness.max())) if sharpness.size else 0.0
