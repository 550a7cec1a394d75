"""Exponents of power laws with their intervals of confidence, and whether a prediction is seen in them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from fluxan.errors import InputError

#: An exponent counts as seen if its interval contains the prediction and is no wider than this.
WIDEST = 0.5


class PowerLaw(NamedTuple):
    """``y = prefactor · x^exponent``.

    Attributes
    ----------
    exponent : float
        Slope in the log-log plot.
    lower, upper : float
        Its interval.
    prefactor : float
        In the unit of y.
    n_points : int
        Points that were fitted.
    confidence : float
        Of the interval.
    """

    exponent: float
    lower: float
    upper: float
    prefactor: float
    n_points: int
    confidence: float

    def verdict(self, predicted: float) -> str:
        """Whether a predicted exponent is "seen", "not seen", or the interval "too uncertain" to say."""
        if not self.lower <= predicted <= self.upper:
            return "not seen"
        return "seen" if self.upper - self.lower <= WIDEST else "too uncertain"


def fit_power_law(x: np.ndarray, y: np.ndarray, confidence: float = 0.95) -> PowerLaw:
    """Fit log y by log x with least squares; the interval is Student's, from the scatter around the line.

    Parameters
    ----------
    x, y : (n,) array_like
        Positive numbers, three or more.
    confidence : float
        Of the interval.

    Raises
    ------
    InputError
        Fewer than three points, equal x, or a number that is not positive.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 3:
        raise InputError(f"a power law of {x.shape} and {y.shape} numbers cannot be fitted; give three points or more")
    if not (np.isfinite(x).all() and np.isfinite(y).all() and x.min() > 0 and y.min() > 0):
        raise InputError("a power law needs positive numbers")
    if x.max() == x.min():
        raise InputError("a power law cannot be fitted to points of one abscissa")
    log_x, log_y = np.log(x), np.log(y)
    centred = log_x - log_x.mean()
    exponent = float(centred @ log_y / (centred @ centred))
    residuals = log_y - log_y.mean() - exponent * centred
    scatter = np.sqrt((residuals**2).sum() / (len(x) - 2) / (centred @ centred))
    half = float(student.ppf(0.5 + confidence / 2, len(x) - 2) * scatter)
    prefactor = float(np.exp(log_y.mean() - exponent * log_x.mean()))
    return PowerLaw(exponent, exponent - half, exponent + half, prefactor, len(x), confidence)
