"""Everything that is estimated from a flux, in one record, from which its conductivity is assembled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fluxan.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fluxan.greenkubo.estimators.ordinates import Ordinates
    from fluxan.greenkubo.partition import Partition
    from fluxan.greenkubo.zero_frequency import ZeroFrequencyEstimates

#: Probability, if the three spectra along x, y and z were the same, below which each axis is estimated separately,
#: which costs three times as much.
MAX_ISOTROPY_PROBABILITY: Final = 0.05


@dataclass(frozen=True)
class Choices:
    """Settings of an analysis that a user chooses.

    Attributes
    ----------
    method : str
        Estimator of the result.
    compare : tuple of str
        Further estimators.
    components : str
        "auto", "single" or "multi".
    """

    method: str
    compare: tuple[str, ...]
    components: str


@dataclass(frozen=True)
class CorrelatorReach:
    """Limits of the information that a correlator keeps on a flux.

    Attributes
    ----------
    longest_lag : float
        Longest lag of any blocking level, ps.
    max_lag : int
        The correlator's setting of the same name, samples.
    slowest : float
        Decay time of the slowest motion that its spectrum shows, ps.
    cross_products : bool
        Whether products of unlike components (x with y) are kept.
    """

    longest_lag: float
    max_lag: int
    slowest: float
    cross_products: bool


@dataclass(frozen=True)
class FluxAnalysis:
    """Everything that was estimated from a flux.

    Attributes
    ----------
    ordinates : Ordinates
        Input of the estimators.
    estimates : ZeroFrequencyEstimates
        Estimates of the total flux; at zero mass flux where `components` is "multi".
    single : ZeroFrequencyEstimates
        Estimates without regard to mass flux; the same as `estimates` where `components` is "single".
    fractions : Partition
        Division of the total among its parts, as fractions of it.
    components : str
        "single" or "multi".
    isotropy : float or None
        Probability of spectra along x, y and z as different as these, if they were the same; None where not known.
    axes : list or None
        Estimates along x, y and z, None along an axis without flux; None where they were not estimated.
    diffusion : float or None
        Ratio of powers that is large where species diffuse, see `fluxan.greenkubo.multicomponent.diffusion`.
    reach : CorrelatorReach or None
        Limits of a correlator's state; None for a flux whose samples are known.
    """

    ordinates: Ordinates
    estimates: ZeroFrequencyEstimates
    single: ZeroFrequencyEstimates
    fractions: Partition
    components: str = "single"
    isotropy: float | None = None
    axes: list[ZeroFrequencyEstimates | None] | None = None
    diffusion: float | None = None
    reach: CorrelatorReach | None = None


def require_fluctuations(power: NDArray[np.float64]) -> None:
    """Refuse a total flux that is zero.

    Raises
    ------
    InputError
        A value of `power` is not positive.
    """
    if not (power > 0).all():
        raise InputError("the total flux does not fluctuate at all; do the atoms move?")
