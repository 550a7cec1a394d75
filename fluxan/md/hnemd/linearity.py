"""Choice of the driving force: the largest for which the mean flux is proportional to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.greenkubo.driven import DrivenConductivity

#: Largest relative error of κ by nonlinearity, together with its standard error, of a driving force that is chosen.
MAX_BIAS: Final = 0.1
#: Largest relative error of the κ of a driving force that is chosen: beyond it, little is known of its response.
MAX_ERROR: Final = 0.3
#: Standard errors within which κ must agree with that at all smaller driving forces.
_AGREEMENT: Final = 2.0
#: Fewest driving forces whose κ is known, for a choice among them.
MIN_LEVELS: Final = 3


@dataclass(frozen=True)
class Level:
    """One driving force that was tried.

    Attributes
    ----------
    strength : float
        Magnitude of the driving force, 1/Å.
    result : DrivenConductivity or None
        Conductivity; None where the run failed.
    failure : str
        Reason why the run failed, or why its result does not count; empty for a level that can be chosen.
    """

    strength: float
    result: DrivenConductivity | None
    failure: str = ""


@dataclass(frozen=True)
class Choice:
    """The driving force that was chosen.

    Attributes
    ----------
    level : Level
        The chosen level.
    bias, bias_error : float
        Relative error of κ by nonlinearity at this level, and its standard error: c F² of the fit.
    kappa, error : float
        κ at zero driving force by the fit, W/(m K), and its standard error.
    curvature, curvature_error : float
        Coefficient c of the fit, Å², and its standard error.
    """

    level: Level
    bias: float
    bias_error: float
    kappa: float
    error: float
    curvature: float
    curvature_error: float


def choose_level(levels: Sequence[Level]) -> Choice | None:
    """Choose the largest driving force of the linear regime; None where there is none yet.

    The mean flux is odd in the driving force, so that ``κ(F) = κ₀ (1 + c F²)`` to the first order beyond linear
    response. The fit to all levels, of which the largest measure c best, gives the bias c F² of each. A level can be
    chosen if this bias and its standard error add up to less than `MAX_BIAS`, if its κ agrees with the weighted mean of
    all smaller levels, which the fit does not ensure where the next order matters, and if its own error is below
    `MAX_ERROR`.

    Parameters
    ----------
    levels : sequence of Level
        Levels that were tried, in any order.
    """
    known = sorted((level for level in levels if level.result is not None), key=lambda level: level.strength)
    if len(known) < MIN_LEVELS:
        return None
    strengths, kappas, errors = np.array(
        [(level.strength, level.result.kappa, level.result.error) for level in known if level.result is not None]
    ).T
    # The largest levels may lie where higher orders matter: fit without them until the rest agree with the fit.
    for count in range(len(known), MIN_LEVELS - 1, -1):
        fit = _fit(strengths[:count], kappas[:count], errors[:count])
        if fit.deviation <= _AGREEMENT * max(count - 2, 1) ** 0.5:
            break
    for n in range(count - 1, 0, -1):
        precise = errors[n] <= MAX_ERROR * abs(fit.kappa)
        if known[n].failure or not precise or not _agrees(kappas[: n + 1], errors[: n + 1]):
            continue
        bias, bias_error = (float(c * strengths[n] ** 2) for c in (fit.curvature, fit.curvature_error))
        if abs(bias) + bias_error <= MAX_BIAS:
            return Choice(known[n], bias, bias_error, fit.kappa, fit.error, fit.curvature, fit.curvature_error)
    return None


@dataclass(frozen=True)
class _Fit:
    """κ₀, c, their standard errors, and the root of the sum of squared deviations in standard errors."""

    kappa: float
    error: float
    curvature: float
    curvature_error: float
    deviation: float


def _fit(strengths: np.ndarray, kappas: np.ndarray, errors: np.ndarray) -> _Fit:
    """Weighted least squares of κ = κ₀ + (κ₀ c) F²."""
    scale = strengths.max()
    design = np.stack([np.ones_like(strengths), (strengths / scale) ** 2], axis=1) / errors[:, None]
    covariance = np.linalg.inv(design.T @ design)
    zero, slope = covariance @ design.T @ (kappas / errors)
    rest = kappas / errors - design @ np.array([zero, slope])
    ratio = slope / zero
    # Error of a ratio of correlated estimates.
    gradient = np.array([-ratio / zero, 1 / zero])
    spread = float(np.sqrt(gradient @ covariance @ gradient))
    return _Fit(
        float(zero),
        float(covariance[0, 0] ** 0.5),
        float(ratio / scale**2),
        spread / scale**2,
        float(np.sqrt(rest @ rest)),
    )


def _agrees(kappas: np.ndarray, errors: np.ndarray) -> bool:
    """Whether the last value agrees with the weighted mean of those before it."""
    weights = errors[:-1] ** -2.0
    mean, error = weights @ kappas[:-1] / weights.sum(), weights.sum() ** -0.5
    return bool(abs(kappas[-1] - mean) <= _AGREEMENT * np.hypot(errors[-1], error))
