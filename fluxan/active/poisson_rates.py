"""Rates of rare events from counts: exact intervals of one rate and of the ratio of two.

The interval of a count is that of F. Garwood, Biometrika 28, 437 (1936), from quantiles of χ². Given the sum of two
counts, the first is binomial, so that the exact interval of C. J. Clopper, E. S. Pearson, Biometrika 26, 404 (1934)
gives that of the ratio of the rates (J. Przyborowski, H. Wilenski, Biometrika 31, 313 (1940)). Both contain the true
value at least as often as stated, also for counts of zero. Both hold for events that are independent of each other;
returns soon after a hop are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fluxan.errors import InputError


@dataclass(frozen=True, slots=True)
class PoissonRate:
    """A rate with its interval.

    Attributes
    ----------
    count : int
        Number of events.
    exposure : float
        What it was counted in, such as ps or atoms × ps.
    rate : float
        ``count / exposure``.
    lower, upper : float
        Ends of the Garwood interval of the rate.
    confidence : float
        Probability with which the interval contains the rate, at least.
    """

    count: int
    exposure: float
    rate: float
    lower: float
    upper: float
    confidence: float


@dataclass(frozen=True, slots=True)
class RateRatio:
    """Ratio of two rates with its interval.

    Attributes
    ----------
    ratio : float
        Of the second rate to the first; infinite for no event in the first, NaN for none in either.
    lower, upper : float
        Ends of the exact conditional interval; 0 and infinity where nothing is known.
    confidence : float
        Probability with which the interval contains the ratio, at least.
    """

    ratio: float
    lower: float
    upper: float
    confidence: float


def poisson_rate(count: int, exposure: float, *, confidence: float = 0.95) -> PoissonRate:
    """Rate of a Poisson process with the interval of Garwood.

    Parameters
    ----------
    count : int
        Number of events, zero included.
    exposure : float
        Time, or atoms × time, in which they were counted.
    confidence : float
        Between 0 and 1; tails are equal.

    Raises
    ------
    InputError
        The count is negative or not whole, the exposure is not positive, or the confidence is not between 0 and 1.
    """
    from scipy.special import gammaincinv

    _check(count, exposure, confidence)
    tail = (1 - confidence) / 2
    lower = float(gammaincinv(count, tail)) if count else 0.0
    upper = float(gammaincinv(count + 1, 1 - tail))
    return PoissonRate(int(count), exposure, count / exposure, lower / exposure, upper / exposure, confidence)


def rate_ratio(
    first: tuple[int, float] | PoissonRate, second: tuple[int, float] | PoissonRate, *, confidence: float = 0.95
) -> RateRatio:
    """Ratio of the second rate to the first with its exact conditional interval.

    Parameters
    ----------
    first, second : PoissonRate or tuple of int and float
        Rates, or counts with their exposures.
    confidence : float
        Between 0 and 1; tails are equal.

    Raises
    ------
    InputError
        As for `poisson_rate`.
    """
    from scipy.special import betaincinv

    (n_1, t_1), (n_2, t_2) = (_pair(first), _pair(second))
    _check(n_1, t_1, confidence)
    _check(n_2, t_2, confidence)
    tail = (1 - confidence) / 2
    lower = float(betaincinv(n_2, n_1 + 1, tail)) if n_2 else 0.0
    upper = float(betaincinv(n_2 + 1, n_1, 1 - tail)) if n_1 else 1.0
    point = n_2 / (n_1 + n_2) if n_1 + n_2 else math.nan
    ratio, least, most = (_odds(p) * t_1 / t_2 for p in (point, lower, upper))
    return RateRatio(ratio, least, most, confidence)


def _pair(rate: tuple[int, float] | PoissonRate) -> tuple[int, float]:
    return (rate.count, rate.exposure) if isinstance(rate, PoissonRate) else rate


def _odds(probability: float) -> float:
    return math.inf if probability == 1 else probability / (1 - probability)


def _check(count: int, exposure: float, confidence: float) -> None:
    if not (count >= 0 and count == int(count)):
        raise InputError(f"the number of events is {count}; it must be whole and not negative")
    if not (exposure > 0 and math.isfinite(exposure)):
        raise InputError(f"events were counted in {exposure} ps (or atoms × ps); it must be positive")
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}; it must be between 0 and 1")
