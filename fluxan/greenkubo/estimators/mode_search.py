"""Search for the modes that describe a periodogram.

A periodogram is described by a white floor and 0, 1, 2, ... modes (`modes`). The search adds modes one at a time, each
where it gains most by a score test, and keeps the number with the largest evidence. The band at first extends to
Nyquist and is narrowed until the modes describe it, so that resonances too many to be resolved are cut off and do not
bias S(0). Bins above the cut count as one free parameter each, so that cuts are compared by the same score.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.greenkubo.estimators.modes import FLOOR, OSCILLATION, RELAXATION, Band, Fit, fit, spectrum_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.greenkubo.estimators.periodogram import Spectrum


@dataclass(frozen=True)
class ModeSearchSettings:
    """Bands, candidates and margins of the search. Angular frequencies are per sample, evidences natural logarithms.

    Attributes
    ----------
    min_bins : int
        Number of bins of the narrowest band.
    cut_ratio : float
        Ratio of the top of one band to the next.
    max_modes : int
        Largest number of modes besides the white floor.
    max_deviance : float
        A band counts as described when the deviance of its bins, on average one each, exceeds its expectation by at
        most this many standard deviations.
    oscillation_margin : float
        Log evidence by which the score test of an oscillation must exceed that of a relaxation to be tried as well.
    max_loss : float
        Log evidence that one more mode may lose before the search ends: the next one may gain it.
    lowest_corner, corner_ratio : float
        Ratio of the first candidate relaxation's corner to the lowest frequency, and of each corner to the one before.
    lowest_centre, centre_ratio : float
        Likewise for the centres of candidate oscillations.
    qualities : tuple of float
        ω₀τ of candidate oscillations.
    """

    min_bins: int = 12
    cut_ratio: float = 1.7
    max_modes: int = 5
    max_deviance: float = 2.5
    oscillation_margin: float = 3.0
    max_loss: float = 10.0
    lowest_corner: float = 1.5
    corner_ratio: float = 1.6
    lowest_centre: float = 40.0
    centre_ratio: float = 1.15
    qualities: tuple[float, ...] = (1.3, 4, 14)


SEARCH: Final = ModeSearchSettings()


@dataclass(frozen=True)
class Model:
    """Modes on a band.

    Attributes
    ----------
    band : Band
        The bins that are described.
    fit : Fit
        The modes.
    score : float
        Log evidence relative to a model in which every bin is free, by which bands are compared.
    deviance : float
        Deviance of the bins.
    gain : float
        Log evidence over that of a floor alone.
    """

    band: Band
    fit: Fit
    score: float
    deviance: float
    gain: float = 0.0


def best_modes(pooled: Spectrum) -> Model:
    """Model of largest score, on bands from the widest down to the first that its modes describe."""
    models: list[Model] = []
    bins = pooled.frequencies.size
    while bins >= SEARCH.min_bins:
        models.append(_grow(Band.of(pooled.below(pooled.frequencies[bins - 1])), pooled.frequencies.size - bins))
        if models[-1].deviance < bins + SEARCH.max_deviance * np.sqrt(2 * bins):
            break
        bins = min(bins - 1, int(np.searchsorted(pooled.frequencies, pooled.frequencies[bins - 1] / SEARCH.cut_ratio)))
    return max(models, key=lambda model: model.score)


def _grow(band: Band, free_bins: int) -> Model:
    """Fit a floor, then add modes until the evidence falls by more than `max_loss`; return the best model."""
    candidates = _Candidates(band)
    current = fit((FLOOR,), np.log([np.average(band.density, weights=band.shape)]), band)
    floor = best = _scored(band, current, free_bins)
    for _ in range(SEARCH.max_modes):
        tried = [_scored(band, fit(kinds, start, band), free_bins) for kinds, start in candidates.additions(current)]
        last = max(tried, key=lambda model: model.score)
        current = last.fit
        best = max(best, last, key=lambda model: model.score)
        if last.score < best.score - SEARCH.max_loss:
            break
    return replace(best, gain=best.score - floor.score)


def _scored(band: Band, modes: Fit, free_bins: int) -> Model:
    score = modes.log_evidence - band.saturated - free_bins
    return Model(band, modes, score, 2 * (band.saturated - modes.log_likelihood))


class _Candidates:
    """Modes of unit amplitude on a grid of corners and resonances, from which the next mode is chosen."""

    def __init__(self, band: Band) -> None:
        self._band = band
        lowest, highest = band.lowest, np.log(band.angle[-1])
        corners = np.arange(
            lowest + np.log(SEARCH.lowest_corner), max(highest, lowest + 1), np.log(SEARCH.corner_ratio)
        )
        centres = np.arange(
            lowest + np.log(SEARCH.lowest_centre),
            min(highest + np.log(SEARCH.corner_ratio), np.log(np.pi)),
            np.log(SEARCH.centre_ratio),
        )
        slow = np.stack([np.zeros_like(corners), np.log(4) - 2 * corners], axis=1)
        resonant = np.concatenate(
            [
                np.stack([np.zeros_like(centres), np.log(4) + 2 * np.log(q) - 2 * centres, centres], axis=1)
                for q in SEARCH.qualities
            ]
        )
        self._modes = [((RELAXATION,), p) for p in slow] + [((OSCILLATION,), p) for p in resonant]
        self._shapes = np.stack([spectrum_of(kind, p, band.half)[0] for kind, p in self._modes])
        self._n_relaxations = len(slow)

    def additions(self, current: Fit) -> list[tuple[tuple[int, ...], NDArray[np.float64]]]:
        """Add the relaxation whose score test gains most, or the oscillation where that gains clearly more.

        Returns kinds and parameters of one or two models to fit. The score test is that of an infinitesimal amplitude,
        with the parameters of the other modes optimised along with it.
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
            if gain[resonance] > gain[chosen[0]] + SEARCH.oscillation_margin:
                chosen.append(resonance)
        return [self._joined(current, index, amplitude[index]) for index in chosen]

    def _joined(self, current: Fit, index: int, amplitude: float) -> tuple[tuple[int, ...], NDArray[np.float64]]:
        kind, mode = self._modes[index]
        added = np.concatenate([[np.log(amplitude)], mode[1:]])
        return current.kinds + kind, np.concatenate([current.parameters, added])


def slowest_of(model: Model) -> float:
    """Decay time of the slowest mode, in samples; zero where there is none."""
    sharpness = model.fit.modes(RELAXATION, OSCILLATION)[:, 1]
    return float(0.5 * np.exp(0.5 * sharpness.max())) if sharpness.size else 0.0
