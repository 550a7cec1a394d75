"""The record between a flux and its conductivity: everything that is estimated of the flux."""

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

#: Probability, were the three spectra along x, y and z one, below which the axes are estimated one by one: estimates
#: along each cost three times as much.
MAX_ISOTROPY_PROBABILITY: Final = 0.05


@dataclass(frozen=True)
class Choices:
    """What a user asks for.

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
    """Limits of what a correlator keeps of a flux.

    Attributes
    ----------
    longest_lag : float
        Of any blocking level, ps.
    max_lag : int
        Setting of the correlator, samples.
    slowest : float
        Decay time of the slowest motion that its spectrum shows, ps.
    cross_products : bool
        Whether products of unlike components (x with y) are there.
    """

    longest_lag: float
    max_lag: int
    slowest: float
    cross_products: bool


@dataclass(frozen=True)
class FluxAnalysis:
    """Everything that was estimated of a flux.

    Attributes
    ----------
    ordinates : Ordinates
        Input of the estimators.
    estimates : ZeroFrequencyEstimates
        Of the total flux; at zero mass flux for several components.
    single : ZeroFrequencyEstimates
        Without regard to mass flux; `estimates` itself for a single component.
    fractions : Partition
        Division of the total among its parts, as fractions of it.
    components : str
        "single" or "multi".
    isotropy : float or None
        Probability of spectra along x, y and z as different as these, were they one; None where they are not known.
    axes : list or None
        Estimates along x, y and z, None along an axis without flux; None where they were not looked at.
    diffusion : float or None
        See `fluxan.greenkubo.multicomponent.diffusion`.
    reach : CorrelatorReach or None
        For a correlator.
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
        raise InputError("the total flux does not fluctuate at all; is it a flux of a system that moves?")
