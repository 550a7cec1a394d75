"""The posterior of S(0) under a non-parametric prior: log S is a Gaussian process in a warped frequency.

The ordinates are gamma distributed about S (Whittle's likelihood). The prior of log S is a stationary process with
Matérn's covariance of order 5/2 in u(f) = asinh(f/f₀) + c·f/f_top: linear below f₀, logarithmic above as suits
relaxations, and, with c > 0, linear again near the top of the band, where phonon bands have widths of their own. It is
expanded in cosines of u, which makes log S even about f = 0 (reduced rank: A. Solin, S. Särkkä, Stat. Comput. 30, 419
(2020)), and fitted by Laplace's approximation.

Length scale, amplitude, f₀, c and the top of the band are averaged over, weighted by evidence. Bins above the top count
as free parameters (`Spectrum.cost_of_free_bins`), as for the other members, so that evidences are comparable.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import gamma
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fluxan.greenkubo.estimators.periodogram import Spectrum


@dataclass(frozen=True)
class GaussianProcessSettings:
    """Hyper-parameters that are averaged over, and their costs.

    Attributes
    ----------
    lengths : tuple of float
        Length scales over the range of u, from one that follows a Lorentzian on a decade to one that is a constant.
    amplitudes : tuple of float
        Standard deviations of log S about its mean.
    coarse : tuple of (float, float)
        Length and amplitude with which all bands and warps are screened.
    mean_width : float
        Standard deviation of the mean of log S.
    linear : tuple of float
        Values of c.
    largest_warp, warp_ratio, smallest_warp : float
        Range of f₀: from `largest_warp` times the highest frequency, where u is practically linear, down by factors of
        `warp_ratio` to `smallest_warp` times the lowest. With a smaller f₀, S(0) depends on the lowest few ordinates
        alone.
    warp_cost : float
        Log evidence that an e-fold of f₀ must gain; without this cost, errors of smooth spectra were twice their
        scatter.
    band_ratio, min_bins : float, int
        Ratio of the highest frequency of one band to that of the next, and number of bins of the narrowest band.
    margin : float
        Range of u beyond the top of the band, as a fraction of the band, so that the slope at the top is not forced to
        zero.
    smallest_term, max_terms : float, int
        Fraction of the largest prior standard deviation below which a cosine is left out, and largest number of
        cosines.
    max_evidence_gap : float
        Bands and warps whose log evidence with `coarse` is lower than the best by more than this are dropped (a weight
        of 5·10⁻⁵): a third to a tenth of the fits remains.
    """

    lengths: tuple[float, ...] = (0.1, 0.17, 0.3, 0.5, 0.9, 1.6)
    amplitudes: tuple[float, ...] = (0.3, 1.0, 2.5)
    coarse: tuple[tuple[float, float], ...] = ((0.17, 1.0), (0.5, 1.0))
    mean_width: float = 4.0
    linear: tuple[float, ...] = (0.0, 6.0)
    largest_warp: float = 4.0
    warp_ratio: float = 4.0
    smallest_warp: float = 5.0
    warp_cost: float = 0.4
    band_ratio: float = 1.7
    min_bins: int = 20
    margin: float = 1.15
    smallest_term: float = 3e-3
    max_terms: int = 48
    max_evidence_gap: float = 10.0


GAUSSIAN_PROCESS: Final = GaussianProcessSettings()
#: Order of Matérn's covariance.
_MATERN_ORDER: Final = 2.5


@dataclass(frozen=True)
class Posterior:
    """log S(0) as a mixture of normal distributions, one for each set of hyper-parameters.

    Attributes
    ----------
    weight : (n,) float64
        Weights, which add up to one.
    mean, variance : (n,) float64
        Mean and variance of log S(0).
    log_evidence : float
        Log evidence of the best set, relative to a model in which every bin is free.
    curve : (n_bins,) float64
        log S of the best set at the bins of its band.
    """

    weight: NDArray[np.float64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    log_evidence: float
    curve: NDArray[np.float64]


@dataclass(frozen=True)
class _Filter:
    """One band and warp: the phase π·u (n,) of its bins, scaled to the band, and the log evidence that it costs."""

    phase: NDArray[np.float64]
    cost: float


def gaussian_process(spectrum: Spectrum, settings: GaussianProcessSettings = GAUSSIAN_PROCESS) -> Posterior | None:
    """Posterior of log S(0) from a pooled spectrum.

    Parameters
    ----------
    spectrum : Spectrum
        Bins whose geometric mean is near one, since the prior of the mean of log S is centred at zero.
    settings : GaussianProcessSettings
        Hyper-parameters and their costs.

    Returns
    -------
    Posterior or None
        None for fewer than `settings.min_bins` bins, or where their degrees of freedom exceed double precision.
    """
    # 1. Screen all bands and warps with a few hyper-parameters.
    log_density, shape = np.log(spectrum.density), spectrum.dof / 2
    coarse = _scales(settings.coarse, settings)
    fine = _scales(tuple((length, s) for length in settings.lengths for s in settings.amplitudes), settings)
    filters = list(_filters(spectrum, settings))
    if not filters:
        return None
    best = np.array([_fitted(f, log_density, shape, coarse)[0][:, 0].max() for f in filters])
    kept = [f for f, value in zip(filters, best, strict=True) if value > max(best) - settings.max_evidence_gap]
    # 2. Fit the promising ones with all hyper-parameters, and weight them by their evidence.
    fits = [_fitted(f, log_density, shape, fine) for f in kept]
    if not fits:
        return None
    evidence, mean, variance = np.concatenate([rows for rows, _ in fits]).T
    weight = np.exp(evidence - evidence.max())
    weight /= weight.sum()
    heaviest = int(np.argmax(weight))
    band, which = divmod(heaviest, len(fine[1]))
    return Posterior(weight, mean, variance, float(evidence[heaviest]), fits[band][1][which])


def _filters(spectrum: Spectrum, settings: GaussianProcessSettings) -> Iterator[_Filter]:
    """Every band and warp."""
    f = spectrum.frequencies
    size = f.size
    while size >= settings.min_bins:
        top, widest = float(f[size - 1]), settings.largest_warp * float(f[-1])
        warp = widest
        while warp > settings.smallest_warp * f[0]:
            # Between these f₀ and the largest one, u is practically linear; with c > 0 it is so from f₀ = top/8 on.
            if warp == widest or warp < 2 * top:
                cost = spectrum.cost_of_free_bins(size) + settings.warp_cost * np.log(widest / max(warp, f[0]))
                for linear in settings.linear:
                    if linear == 0 or warp < top / 8:
                        u = np.arcsinh(f[:size] / warp) + linear * f[:size] / top
                        yield _Filter(np.pi * u / (settings.margin * u[-1]), float(cost))
            warp /= settings.warp_ratio
        size = min(size - 1, int(np.searchsorted(f, f[size - 1] / settings.band_ratio)))


def _fitted(
    band: _Filter,
    log_density: NDArray[np.float64],
    shape: NDArray[np.float64],
    scales: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log evidence, mean and variance of log S(0), (n_sets, 3), and log S (n_sets, n_bins) of each set."""
    from fluxan.kernels.statistics_log_spectrum import fit_log_spectra

    n, n_sets = band.phase.size, len(scales[1])
    results, curves = np.empty((n_sets, 3)), np.empty((n_sets, n))
    fit_log_spectra(band.phase, log_density[:n], shape[:n], *scales, results, curves)
    # Degrees of freedom beyond 10¹² or so leave no normal matrix in double precision.
    results[~np.isfinite(results).all(axis=1)] = (-np.inf, 0.0, 1.0)
    results[:, 0] -= band.cost
    return results, curves


@cache
def _scales(
    pairs: tuple[tuple[float, float], ...], settings: GaussianProcessSettings
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Prior standard deviations of cosines, (n_sets, n_terms), and their numbers, for pairs of length and amplitude.

    The variance of a cosine is twice the spectral density of Matérn's covariance at its wave number, since the process
    is even; that of the constant also has the variance of the mean.
    """
    nu = _MATERN_ORDER
    wave = np.pi * np.arange(settings.max_terms)
    rows = []
    for length, amplitude in pairs:
        decay = 2 * nu / length**2
        density = 2 * np.sqrt(np.pi) * gamma(nu + 0.5) / gamma(nu) * decay**nu / (decay + wave**2) ** (nu + 0.5)
        variance = 2 * amplitude**2 * density
        variance[0] = variance[0] / 2 + settings.mean_width**2
        rows.append(np.sqrt(variance))
    scales = np.array(rows)
    sizes = np.count_nonzero(scales[:, 1:] > settings.smallest_term * scales[:, 1:2], axis=1) + 1
    return np.ascontiguousarray(scales[:, : sizes.max()]), sizes
