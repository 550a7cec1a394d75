"""The posterior of S(0) where relaxation times follow a power law between two ends, as those of phonons do.

S(f) = S(0) ∫ τˢ L(fτ) d ln τ / ∫ τˢ d ln τ, L(x) = 1/(1 + (2πx)²), τ from a shortest to a longest time. Phonons whose
decay times go as ω⁻², a Debye density of states and equal heat capacities have s = −½ (P. G. Klemens, Proc. R. Soc. A
208, 108 (1951)); their S(f) rises towards f = 0 as a cusp ∝ −√f does, down to the corner of the longest time. Neither a
few modes nor a log S that is smooth on one scale can predict where that rise ends.

S follows such a distribution only approximately, so that every bin also has a misfit of its own
(`RelaxationTimesSettings.misfit`). Exponent and both ends are averaged over on a grid, coarse first; for each point
S(0) has a gamma posterior in closed form. Bins above the band count as free, as for the other members of the default
estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import logsumexp

from fluxan.greenkubo.estimators.gaussian_process import Posterior

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fluxan.greenkubo.estimators.periodogram import Spectrum

    Grid = NDArray[np.float64]


@dataclass(frozen=True)
class RelaxationTimesSettings:
    """Grid of distributions that are averaged over, and their prior.

    Attributes
    ----------
    exponents : tuple of float
        Values of s, from that of a cusp to one at which the longest times dominate.
    longest : tuple of float
        Corner frequencies 1/(2πτ) of the longest time, over the lowest frequency. With ratios of 1.3 errors cover the
        scatter; with ratios of 1.6 those for exact spectra were too small.
    spans : tuple of float
        Ratios of the longest to the shortest time.
    step : float
        Step of ln τ in the sum that approximates the integral.
    misfit : float
        Standard deviation of log S of a bin about the distribution. Without it the many ordinates of high bins would
        determine S(0) of spectra that do not follow a power law.
    min_fall : float
        Factor by which S must fall within the band: near its top many a spectrum looks like a cusp.
    level_width : float
        Prior standard deviation of log S(0), as in `fluxan.greenkubo.estimators.gaussian_process`.
    band_ratio, min_bins : float, int
        Ratio of the highest frequency of one band to that of the next, and number of bins of the narrowest band.
    max_evidence_gap : float
        Coarse grid points whose log evidence is lower than the best by more than this are not refined.
    """

    exponents: tuple[float, ...] = tuple(np.linspace(-1.2, 1.2, 17))
    longest: tuple[float, ...] = tuple(np.geomspace(0.33, 300, 27))
    spans: tuple[float, ...] = tuple(np.geomspace(4, 4096, 11))
    step: float = 0.3
    misfit: float = 0.05
    min_fall: float = 3.0
    level_width: float = 4.0
    band_ratio: float = 1.7
    min_bins: int = 20
    max_evidence_gap: float = 30.0


RELAXATION_TIMES: Final = RelaxationTimesSettings()


def relaxation_times(spectrum: Spectrum, settings: RelaxationTimesSettings = RELAXATION_TIMES) -> Posterior | None:
    """Posterior of log S(0) from a pooled spectrum.

    Parameters
    ----------
    spectrum : Spectrum
        Bins whose geometric mean is near one, as for `fluxan.greenkubo.estimators.gaussian_process.gaussian_process`.
    settings : RelaxationTimesSettings
        The grid of distributions.

    Returns
    -------
    Posterior or None
        None where S does not fall by `min_fall` within any band.
    """
    # 1. Every other point of the grid.
    shape = tuple(len(axis) for axis in (settings.exponents, settings.longest, settings.spans))
    coarse = np.zeros(shape, dtype=bool)
    coarse[::2, ::2, ::2] = True
    fits = _Fits.of(spectrum, np.argwhere(coarse), settings)
    best = fits.evidence.max(axis=0, initial=-np.inf)
    if not np.isfinite(best).any():
        return None
    # 2. The fine grid around the coarse points of large evidence.
    kept = np.zeros(shape, dtype=bool)
    kept[tuple(np.argwhere(coarse)[best > best.max() - settings.max_evidence_gap].T)] = True
    for axis in range(3):
        kept |= np.roll(kept, 1, axis) | np.roll(kept, -1, axis)
    fits = _Fits.of(spectrum, np.argwhere(kept), settings)
    # 3. The average over all bands and grid points, and the curve of the best.
    weight = np.exp(fits.evidence - fits.evidence.max())
    band, which = np.unravel_index(np.argmax(weight), weight.shape)
    curve = fits.level[band, which] + fits.curves[which, : fits.sizes[band]]
    return Posterior(
        (weight / weight.sum()).ravel(),
        fits.level.ravel(),
        np.broadcast_to(fits.variance[:, None], weight.shape).ravel(),
        float(logsumexp(fits.evidence) - np.log(np.prod(shape))),
        curve,
    )


@dataclass(frozen=True)
class _Fits:
    """Distributions (n) fitted on bands (m).

    Attributes
    ----------
    evidence, level : (m, n) float64
        Log evidence, and log S(0).
    variance : (m,) float64
        Of log S(0).
    curves : (n, n_bins) float64
        Log of S over S(0).
    sizes : list of int, (m,)
        Bins of each band.
    """

    evidence: Grid
    level: Grid
    variance: Grid
    curves: Grid
    sizes: list[int]

    @classmethod
    def of(cls, spectrum: Spectrum, indices: NDArray[np.int64], settings: RelaxationTimesSettings) -> _Fits:
        curves = _log_curves(spectrum.frequencies, indices, settings)
        log_density = np.log(spectrum.density)
        excess = log_density - curves
        ratio = np.exp(excess)
        sizes = list(_sizes(spectrum.frequencies, settings))
        evidence, level, variance = [], [], []
        for size in sizes:
            counted = spectrum.dof[:size] / 2
            # A bin with a misfit is treated like an exact one with fewer degrees of freedom.
            weight = counted / (1 + counted * settings.misfit**2)
            total = weight.sum()
            zero = np.log(ratio[:, :size] @ weight / total)
            likelihood = excess[:, :size] @ weight - total * zero
            cost = 0.5 * np.log(total) + np.log(settings.level_width) + spectrum.cost_of_free_bins(size)
            cost += 0.5 * np.log1p(counted * settings.misfit**2).sum()
            falls = curves[:, size - 1] < -np.log(settings.min_fall)
            evidence.append(np.where(falls, likelihood - cost, -np.inf))
            level.append(zero)
            variance.append(1 / total)
        shape = (len(sizes), len(indices))
        return cls(np.reshape(evidence, shape), np.reshape(level, shape), np.array(variance), curves, sizes)


def _sizes(frequencies: Grid, settings: RelaxationTimesSettings) -> Iterator[int]:
    """Numbers of bins of the bands, from all bins down."""
    size = frequencies.size
    while size >= settings.min_bins:
        yield size
        size = min(size - 1, int(np.searchsorted(frequencies, frequencies[size - 1] / settings.band_ratio)))


def _log_curves(frequencies: Grid, indices: NDArray[np.int64], settings: RelaxationTimesSettings) -> Grid:
    """Log S/S(0), (n, n_bins), of distributions given by their indices (n, 3) on the grid."""
    axes = (settings.exponents, settings.longest, settings.spans)
    s, longest, span = (np.array(axis)[index] for axis, index in zip(axes, indices.T, strict=True))
    top = np.log(settings.longest[-1] / settings.longest[0] * settings.spans[-1])
    # Corners in ln f, from that of the longest time of all upwards; each relaxation has one of these.
    corner = np.arange(0, top + 2 * settings.step, settings.step)
    begin = np.log(longest / settings.longest[0])[:, None]
    # At both ends weights rise over one step, so that S changes smoothly as the ends move.
    inside = np.minimum(corner - begin, begin + np.log(span)[:, None] - corner) / settings.step + 1
    weight = np.exp(-s[:, None] * (corner - begin)) * np.clip(inside, 0, 1)
    weight /= weight.sum(axis=1, keepdims=True)
    lowest = settings.longest[0] * frequencies[0]
    lorentzians = 1 / (1 + (frequencies / (lowest * np.exp(corner))[:, None]) ** 2)
    return np.log(weight @ lorentzians)
