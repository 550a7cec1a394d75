"""The record that every estimator returns: a spectral density at zero frequency, and its error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """A spectral density at zero frequency with its error, in the unit of the input spectral density.

    Attributes
    ----------
    value : float
        S(0), the sum of the autocovariance over all lags, of both signs, times the time step. A Green–Kubo integral is
        half of it.
    error : float
        One standard deviation of `value`.
    method : str
        Name of the estimator.
    details : dict of str to Any
        Intermediate results of the estimator (cutoff, number of modes, ...), for reports.
    """

    value: float
    error: float
    method: str
    details: dict[str, Any] = field(default_factory=dict)

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate in other units: value and error times `factor`."""
        return Estimate(self.value * factor, self.error * abs(factor), self.method, self.details)


def symmetric_error(below: float, above: float, *, upper_weight: float) -> float:
    """One error for both sides of an interval of ±2σ: half the weighted mean of the distances to its ends.

    Parameters
    ----------
    below, above : float
        Distances from the value to the lower and to the upper end.
    upper_weight : float
        Weight of `above`, 0 to 1.
    """
    return 0.5 * (upper_weight * above + (1 - upper_weight) * below)
