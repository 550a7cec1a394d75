"""Zero-frequency estimates of one flux by several methods, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import DependencyError, InputError
from fluxan.greenkubo.estimators.estimate import Estimate
from fluxan.greenkubo.estimators.methods import estimate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fluxan.greenkubo.estimators.ordinates import Ordinates
    from fluxan.greenkubo.estimators.periodogram import Spectrum

#: Bins in which the spectrum is compared with its value at f = 0: ratio of upper to lower end, and degrees of freedom.
_BIN_RATIO: Final = 1.5
_MIN_DOF: Final = 48.0
#: Range of S(f)/S(0) that counts as flat; a relaxation has 1/2 at its corner.
_MIN_RATIO: Final = 0.5
_MAX_RATIO: Final = 1.7


@dataclass(frozen=True)
class ZeroFrequencyEstimates:
    """Estimates of S(0) of one flux.

    Attributes
    ----------
    by_method : dict of str to Estimate
        Estimate of "default", of the requested method, and of those to compare with.
    failed : dict of str to str
        Reason why a method to compare with gave no estimate, by method.
    band : float
        Frequency up to which S(f) stays near S(0), THz.
    """

    by_method: dict[str, Estimate]
    failed: dict[str, str]
    band: float

    @classmethod
    def of(cls, ordinates: Ordinates, method: str, compare: tuple[str, ...] = ()) -> ZeroFrequencyEstimates:
        """Run the default method, `method`, and those of `compare`, which may fail.

        Raises
        ------
        InputError, DependencyError
            The default method or `method` gives no estimate.
        """
        by_method: dict[str, Estimate] = {}
        failed: dict[str, str] = {}
        for name in dict.fromkeys(("default", method, *compare)):
            try:
                by_method[name] = estimate(ordinates, name)
            except (InputError, DependencyError) as error:
                if name in {"default", method}:
                    raise
                failed[name] = str(error)
        return cls(by_method, failed, flat_band(ordinates.spectrum, by_method["default"].value))


def flat_band(spectrum: Spectrum, zero_frequency: float) -> float:
    """Frequency (THz) up to which a spectrum stays near `zero_frequency`; a relaxation does so up to its corner.

    Bins have enough degrees of freedom not to leave the range by chance.
    """
    pooled = spectrum.pooled(ratio=_BIN_RATIO, singles=0)
    wide = pooled.dof >= _MIN_DOF
    f, ratio = pooled.frequencies[wide], pooled.density[wide] / zero_frequency
    outside = np.flatnonzero((ratio < _MIN_RATIO) | (ratio > _MAX_RATIO))
    if outside.size == 0:
        return float(spectrum.frequencies[-1])
    return float(f[outside[0] - 1]) if outside[0] else float(f[0] / _BIN_RATIO)


def mean_over_axes(
    axes: Iterable[ZeroFrequencyEstimates | None], pooled: ZeroFrequencyEstimates
) -> dict[str, Estimate]:
    """Mean of the estimates along x, y and z by method, for the methods of `pooled` that all axes have.

    An axis without flux is None and counts as zero.
    """
    flowing = [axis.by_method for axis in axes if axis is not None]
    common = [name for name in pooled.by_method if all(name in estimates for estimates in flowing)]
    return {
        name: Estimate(
            sum(e[name].value for e in flowing) / 3,
            float(np.linalg.norm([e[name].error for e in flowing])) / 3,
            pooled.by_method[name].method,
            pooled.by_method[name].details,
        )
        for name in common
    }
