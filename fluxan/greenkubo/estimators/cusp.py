"""Spectra with a cusp at f = 0, as from long-time tails in liquids and polymers, or from very many relaxations.

S(f) = S(0)/(1 + (f/f_b)^γ) with γ ≤ 1.2 has a cusp that neither a sum of few relaxations nor a smooth log S has.
It is not a member of the default estimate, since it also fits runs that resolve a corner badly, and S(0) is then too
large by a factor of two; where it fits a spectrum better than all members do, the result warns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import logsumexp

if TYPE_CHECKING:
    from fluxan.greenkubo.estimators.periodogram import Spectrum


@dataclass(frozen=True)
class CuspSettings:
    """Grid of cusps, and their prior.

    Attributes
    ----------
    exponents : tuple of float
        Values of γ, from small ones, as of logarithmic decays, to a little above that of S(0) − S ∝ |f|.
    corners : int
        Number of corner frequencies f_b, evenly spaced in log f.
    above_top, above_lowest : float
        Ratio of the first corner to the highest frequency of the band, and of the last one to the lowest.
    level_width : float
        Prior standard deviation of log S(0), as for the Gaussian process, so that evidences compare.
    band_ratio, min_bins : float, int
        Ratio of the highest frequency of one band to that of the next, and number of bins of the narrowest band.
    min_fall : float
        Factor by which S must fall within the band: near its top many a spectrum looks like a cusp.
    """

    exponents: tuple[float, ...] = (0.4, 0.5, 0.6, 0.75, 0.9, 1.0, 1.2)
    corners: int = 24
    above_top: float = 3.0
    above_lowest: float = 3.0
    level_width: float = 4.0
    band_ratio: float = 1.7
    min_bins: int = 20
    min_fall: float = 3.0


CUSP: Final = CuspSettings()


@dataclass(frozen=True)
class Cusp:
    """A fitted cusp, averaged over the grid of exponents and corners.

    Attributes
    ----------
    log_evidence : float
        Log evidence relative to a model in which every bin is free.
    log_zero : float
        Mean of log S(0).
    exponent : float
        Mean of γ.
    """

    log_evidence: float
    log_zero: float
    exponent: float


def cusp(spectrum: Spectrum) -> Cusp | None:
    """Average over bands, corners and exponents; for each of them S(0) has a gamma posterior in closed form.

    Returns None where no band is wide enough to show a cusp.
    """
    exponents = np.array(CUSP.exponents)
    f, log_density, shape = spectrum.frequencies, np.log(spectrum.density), spectrum.dof / 2
    evidence, log_zero = [np.full((exponents.size, CUSP.corners), -np.inf)], [np.zeros((exponents.size, CUSP.corners))]
    size = f.size
    # Every band: evidence and S(0) of each corner and exponent.
    while size >= CUSP.min_bins:
        corners = np.geomspace(CUSP.above_top * f[size - 1], CUSP.above_lowest * f[0], CUSP.corners)
        fall = np.log1p((f[:size] / corners[:, None]) ** exponents[:, None, None])
        weights = shape[:size]
        total = weights.sum()
        level = np.log((weights * np.exp(log_density[:size] + fall)).sum(axis=-1) / total)
        likelihood = (weights * (log_density[:size] + fall)).sum(axis=-1) - total * level
        marginal = likelihood - 0.5 * np.log(total) - np.log(CUSP.level_width) - spectrum.cost_of_free_bins(size)
        evidence.append(np.where(fall[..., -1] > np.log(CUSP.min_fall), marginal, -np.inf))
        log_zero.append(level)
        size = min(size - 1, int(np.searchsorted(f, f[size - 1] / CUSP.band_ratio)))
    # Average over the grid with the evidence as weight.
    log_evidence = np.stack(evidence)
    if not np.isfinite(log_evidence).any():
        return None
    weight = np.exp(log_evidence - log_evidence.max())
    weight /= weight.sum()
    return Cusp(
        float(logsumexp(log_evidence) - np.log(exponents.size * CUSP.corners)),
        float((weight * np.stack(log_zero)).sum()),
        float((weight * exponents[:, None]).sum()),
    )
