"""Conductivity along x, y and z: whether the three are one and the same."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Standard deviations by which directions differ for sure, where errors are well known; else Student's quantile there.
SURELY: Final = 4.0
_BY_CHANCE: Final = 1e-4
#: And those where the spectra along the directions differ for sure.
LIKELY: Final = 3.0
#: Share of the larger by which they differ enough to matter.
_MATTERS: Final = 0.2
#: Ratio at which they differ where errors are not known, and where they are but do not tell.
_RATIO: Final = 3.0
_LARGE_RATIO: Final = 10.0
#: Share of the largest below which a direction carries nothing.
NOTHING: Final = 0.01


@dataclass(frozen=True)
class Directions:
    """Conductivities along x, y, z.

    Attributes
    ----------
    value
        (3,)
    error
        (3,) one standard deviation; NaN where it is not known.
    covariance
        (3, 3) of the three where it is known; else they count as independent.
    dof
        Degrees of freedom of the errors; None where these are well known.
    sigmas
        Standard deviations by which directions must differ where errors are well known.
    """

    value: NDArray[np.float64]
    error: NDArray[np.float64]
    covariance: NDArray[np.float64] | None = None
    dof: int | None = None
    sigmas: float = SURELY

    @property
    def isotropic(self) -> bool:
        """Whether the three may be one and the same."""
        return not any(self._differ(a, b) for a, b in combinations(range(3), 2))

    def mean(self, *axes: int) -> tuple[float, float]:
        """Mean over axes (all by default), and its error, NaN where it is not known.

        Directions that are copies of each other tell no more than one: their covariance counts where it is larger.
        """
        chosen = np.array(axes or (0, 1, 2))
        variance = float((self.error[chosen] ** 2).sum())
        if self.covariance is not None:
            variance = max(variance, float(self.covariance[np.ix_(chosen, chosen)].sum()))
        return float(self.value[chosen].mean()), float(np.sqrt(variance)) / len(chosen)

    @property
    def nothing(self) -> list[int]:
        """Axes along which next to nothing flows."""
        return np.flatnonzero(np.abs(self.value) <= NOTHING * np.abs(self.value).max()).tolist()

    @property
    def plane(self) -> tuple[int, int] | None:
        """Two axes that may be one and the same, which the third is not."""
        alike = [pair for pair in combinations(range(3), 2) if not self._differ(*pair)]
        return alike[0] if len(alike) == 1 and alike[0][0] not in self.nothing else None

    def _differ(self, a: int, b: int) -> bool:
        low, high = sorted((abs(self.value[a]), abs(self.value[b])))
        apart = abs(self.value[a] - self.value[b])
        errors = self.error[[a, b]]
        error = float(np.linalg.norm(np.nan_to_num(errors)))
        matters = high > _RATIO * low if np.isnan(errors).any() else apart > _MATTERS * high
        surely = apart > self._sigmas * error and matters
        return bool(surely or (high > _LARGE_RATIO * low and apart > LIKELY * error))

    @property
    def _sigmas(self) -> float:
        if self.dof is None:
            return self.sigmas
        from scipy.stats import t

        return float(t.isf(_BY_CHANCE / 2, self.dof))


def isotropy_probability(densities: NDArray[np.float64], dof: NDArray[np.float64]) -> float:
    """Probability of spectra along x, y and z as different as these, were they one.

    Parameters
    ----------
    densities
        (3, n) spectral densities, averages over ordinates.
    dof
        (n,) degrees of freedom of each; of 16 and more, so that their logarithms scatter by √(2/dof).
    """
    from scipy.stats import chi2

    if (densities <= 0).any():
        return 0.0
    logs = np.log(densities)
    squares = 0.5 * dof * (logs - logs.mean(axis=0)) ** 2
    return float(chi2.sf(squares.sum(), 2 * dof.size))
