"""Spectra with a cusp at f = 0: the long-time tails of liquids and polymers, and sums of very many relaxations.

S(f) = S(0)/(1 + (f/f_b)^γ) with γ ≤ 1.2 falls from a cusp that no sum of few relaxations has, nor a smooth log S. It is
no member of the default estimate, since a run that sees a corner badly is described by a cusp as well, and S(0) is then
twice too large; where it describes a spectrum better than all members do, the result warns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import logsumexp

if TYPE_CHECKING:
    from fluxan.greenkubo.estimate import Spectrum

#: Exponents that are tried, from those of logarithms of time to a little beyond |f|.
_EXPONENTS: Final = np.array([0.4, 0.5, 0.6, 0.75, 0.9, 1.0, 1.2])
#: Corner frequencies f_b, evenly spaced in log f between these multiples of the band's ends.
_CORNERS: Final = 24
_ABOVE_TOP: Final = 3.0
_ABOVE_LOWEST: Final = 3.0
#: As in `fluxan.greenkubo.gaussian_process`, so that evidences compare: prior width of log S(0), bands.
_LEVEL_WIDTH: Final = 4.0
_BAND_RATIO: Final = 1.7
_FEWEST_BINS: Final = 20
#: Factor by which S must fall within the band: near its top many a spectrum looks like a cusp.
_FALL: Final = 3.0


@dataclass(frozen=True)
class Cusp:
    """Log evidence of a cusp, over that of free bins everywhere, and the mean of log S(0) and of the exponent γ."""

    log_evidence: float
    log_zero: float
    exponent: float


def cusp(spectrum: Spectrum) -> Cusp | None:
    """Average over bands, corners and exponents; for each of them log S(0) has a gamma posterior in closed form.

    None where no band is wide enough to show a cusp.
    """
    f, log_density, shape = spectrum.frequencies, np.log(spectrum.density), spectrum.dof / 2
    evidence, log_zero = [np.full((_EXPONENTS.size, _CORNERS), -np.inf)], [np.zeros((_EXPONENTS.size, _CORNERS))]
    size = f.size
    while size >= _FEWEST_BINS:
        corners = np.geomspace(_ABOVE_TOP * f[size - 1], _ABOVE_LOWEST * f[0], _CORNERS)
        fall = np.log1p((f[:size] / corners[:, None]) ** _EXPONENTS[:, None, None])
        weights = shape[:size]
        total = weights.sum()
        level = np.log((weights * np.exp(log_density[:size] + fall)).sum(axis=-1) / total)
        likelihood = (weights * (log_density[:size] + fall)).sum(axis=-1) - total * level
        found = likelihood - 0.5 * np.log(total) - np.log(_LEVEL_WIDTH) - spectrum.cost_of_free_bins(size)
        evidence.append(np.where(fall[..., -1] > np.log(_FALL), found, -np.inf))
        log_zero.append(level)
        size = min(size - 1, int(np.searchsorted(f, f[size - 1] / _BAND_RATIO)))
    found = np.stack(evidence)
    if not np.isfinite(found).any():
        return None
    weight = np.exp(found - found.max())
    weight /= weight.sum()
    return Cusp(
        float(logsumexp(found) - np.log(_EXPONENTS.size * _CORNERS)),
        float((weight * np.stack(log_zero)).sum()),
        float((weight * _EXPONENTS[:, None]).sum()),
    )
