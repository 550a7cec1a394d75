"""Conductivity along x, y and z, and whether the three agree within their errors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class IsotropyCriteria:
    """Criteria for a difference between two directions. Sigmas are standard deviations of the difference.

    Attributes
    ----------
    sigmas : float
        Difference that is beyond doubt where errors are well known.
    likely_sigmas : float
        Difference that is enough where the spectra along the two directions already differ beyond doubt.
    chance : float
        Significance level where errors have few degrees of freedom: Student's quantile at this level replaces
        `sigmas`.
    min_difference : float
        Difference that matters, as a fraction of the larger value.
    min_ratio : float
        Ratio at which two values whose errors are not known count as different.
    large_ratio : float
        Ratio of two values at which `likely_sigmas` are enough.
    zero : float
        Fraction of the largest value below which next to nothing flows along a direction.
    """

    sigmas: float = 4.0
    likely_sigmas: float = 3.0
    chance: float = 1e-4
    min_difference: float = 0.2
    min_ratio: float = 3.0
    large_ratio: float = 10.0
    zero: float = 0.01


ISOTROPY: Final = IsotropyCriteria()


@dataclass(frozen=True)
class Directions:
    """Conductivities along x, y and z.

    Attributes
    ----------
    value : (3,) float64
        Conductivities.
    error : (3,) float64
        One standard deviation; NaN where it is not known.
    covariance : (3, 3) float64 or None
        Covariance of the three; None where it is not known, and they count as independent.
    dof : int or None
        Degrees of freedom of the errors; None where the errors are well known.
    sigmas : float
        Standard deviations by which directions must differ where errors are well known.
    """

    value: NDArray[np.float64]
    error: NDArray[np.float64]
    covariance: NDArray[np.float64] | None = None
    dof: int | None = None
    sigmas: float = ISOTROPY.sigmas

    @property
    def isotropic(self) -> bool:
        """Whether the three agree within their errors."""
        return not any(self._differ(a, b) for a, b in combinations(range(3), 2))

    def mean(self, *axes: int) -> tuple[float, float]:
        """Mean over axes (all by default), and its error, NaN where it is not known.

        Copies of one direction have no smaller error than one alone: their covariance counts where it is larger.
        """
        chosen = np.array(axes or (0, 1, 2))
        variance = float((self.error[chosen] ** 2).sum())
        if self.covariance is not None:
            variance = max(variance, float(self.covariance[np.ix_(chosen, chosen)].sum()))
        return float(self.value[chosen].mean()), float(np.sqrt(variance)) / len(chosen)

    @property
    def nothing(self) -> list[int]:
        """Axes along which next to nothing flows."""
        return np.flatnonzero(np.abs(self.value) <= ISOTROPY.zero * np.abs(self.value).max()).tolist()

    @property
    def plane(self) -> tuple[int, int] | None:
        """Two axes that agree, and from which the third differs."""
        alike = [pair for pair in combinations(range(3), 2) if not self._differ(*pair)]
        return alike[0] if len(alike) == 1 and alike[0][0] not in self.nothing else None

    def _differ(self, a: int, b: int) -> bool:
        low, high = sorted((abs(self.value[a]), abs(self.value[b])))
        apart = abs(self.value[a] - self.value[b])
        errors = self.error[[a, b]]
        error = float(np.linalg.norm(np.nan_to_num(errors)))
        known = not np.isnan(errors).any()
        matters = apart > ISOTROPY.min_difference * high if known else high > ISOTROPY.min_ratio * low
        surely = apart > self._sigmas * error and matters
        return bool(surely or (high > ISOTROPY.large_ratio * low and apart > ISOTROPY.likely_sigmas * error))

    @property
    def _sigmas(self) -> float:
        if self.dof is None:
            return self.sigmas
        from scipy.stats import t

        return float(t.isf(ISOTROPY.chance / 2, self.dof))


def isotropy_probability(densities: NDArray[np.float64], dof: NDArray[np.float64]) -> float:
    """Probability of spectra along x, y and z as different as these, if they were the same.

    Parameters
    ----------
    densities : (3, n) float64
        Spectral densities, averages over ordinates.
    dof : (n,) float64
        Degrees of freedom of each, at least 16, so that the standard deviation of a logarithm is √(2/dof).
    """
    from scipy.stats import chi2

    if (densities <= 0).any():
        return 0.0
    logs = np.log(densities)
    squares = 0.5 * dof * (logs - logs.mean(axis=0)) ** 2
    return float(chi2.sf(squares.sum(), 2 * dof.size))
