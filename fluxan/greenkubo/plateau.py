"""Conductivity from a correlation function alone: the plateau of its running integral, by direction."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import InputError
from fluxan.greenkubo.diagnostics import MAX_UNDECAYED, direction_warnings, plateau_warnings, undecayed_fraction
from fluxan.greenkubo.directions import ISOTROPY, Directions
from fluxan.greenkubo.estimators.running import PLATEAU_START, decayed
from fluxan.greenkubo.thermodynamic_state import UNITS

if TYPE_CHECKING:
    from fluxan.series.readers.flux_correlation import FluxCorrelation

#: The last quarter of the lags stands for the noise of the correlation.
_TAIL: Final = 4
#: Fewest parts of one run whose scatter gives an error; two independent runs are enough.
_MIN_PARTS: Final = 4
#: Relative scatter that can be due to the number of printed digits.
_ROUND_OFF: Final = 1e-5


@dataclass(frozen=True)
class PlateauConductivity:
    """Mean of a running integral over its plateau.

    Attributes
    ----------
    directions : Directions
        κ along x, y, z with errors, NaN where they are not known.
    unit : str
        "W/(m K)", or "reduced".
    windows : (3, 2) float64
        First and last lag of the plateau for each direction, ps.
    n_parts : int
        Number of runs, or of parts of one, whose scatter gives the errors.
    notes, warnings : tuple of str
        Choices that were made, and evidence against the result.
    """

    directions: Directions
    unit: str
    windows: np.ndarray
    n_parts: int
    notes: tuple[str, ...] = field(default=())
    warnings: tuple[str, ...] = field(default=())


def plateau_conductivity(correlation: FluxCorrelation) -> PlateauConductivity:
    """Average the running integral, direction by direction, over its plateau.

    The correlation has decayed at the first lag t such that its root mean square from t to 2t is that of its last
    quarter, or that of the scatter of parts. The plateau lasts from 2t to 4t, or is the second half of the lags
    where the correlation has not decayed.

    Parameters
    ----------
    correlation : FluxCorrelation
        From a file of another code.

    Raises
    ------
    InputError
        There are fewer than eight lags, or volume or temperature are not known.
    """
    n = len(correlation.times)
    if n < 2 * _TAIL:
        raise InputError(f"the correlation has {n} lags; its integral needs {2 * _TAIL} at the very least")
    weights = correlation.weights[:, 0] / correlation.weights[:, 0].sum()
    mean, scatter = correlation.mean, _scatter(correlation.values, weights)
    # Along an axis without flux, such as the normal of a sheet, C(0) is noise of either sign.
    if mean[0].min() < -ISOTROPY.zero * mean[0].max() or mean[0].max() <= 0:
        raise InputError(
            f"the correlation begins with {', '.join(f'{c:.4g}' for c in mean[0])} along x, y, z: that of a flux that "
            "fluctuates begins above zero; are these the squares of its components?"
        )
    # The plateau of each direction, and the mean of the running integral over it, for all parts together and for each.
    windows = [_window(mean[:, axis], scatter[axis]) for axis in range(3)]
    whole, unit = _integral(correlation, mean[None])
    whole = whole.mean(axis=0)
    each = _integral(correlation, correlation.values)[0]
    value, *parts = (_over(curves, windows) for curves in (whole, *each))
    # Errors from the scatter of the parts, where they are not copies of one another.
    covariance = _covariance(np.array(parts), weights, correlation.parts)
    known = np.diag(covariance) > (_ROUND_OFF * np.abs(parts).max(axis=0)) ** 2
    error = np.where(known, np.sqrt(np.diag(covariance)), np.nan)
    directions = Directions(value, error, covariance, max(2 * len(parts) - 2, 1))
    times = np.array([[correlation.times[first], correlation.times[stop - 1]] for first, stop in windows])
    # An axis without flux has nothing to converge.
    flowing = np.flatnonzero(np.abs(directions.value) > ISOTROPY.zero * np.abs(directions.value).max())
    warnings = [
        plateau_warnings(mean[:, k], whole[:, k], slice(*windows[k]), tail=_TAIL, axis="xyz"[k]) for k in flowing
    ]
    return PlateauConductivity(
        directions,
        unit,
        times,
        len(parts),
        notes=correlation.notes,
        warnings=(*correlation.warnings, *chain(*warnings), *direction_warnings(directions, unit)),
    )


def _over(curves: np.ndarray, windows: list[tuple[int, int]]) -> np.ndarray:
    """Means (3,) of curves (n, 3) over their windows."""
    return np.array([curves[slice(*window), axis].mean() for axis, window in enumerate(windows)])


def _integral(correlation: FluxCorrelation, values: np.ndarray) -> tuple[np.ndarray, str]:
    """Running integrals (k, n, 3) of correlations (k, n, 3), or those that the file holds, and their unit."""
    factor, unit = UNITS[correlation.units]
    if correlation.conductivity is not None:
        return correlation.conductivity, unit
    for name in ("volume", "temperature"):
        if getattr(correlation, name) is None:
            raise InputError(f"a correlation function does not hold its {name}: give {name}=")
    volume, temperature = correlation.volume or 0.0, correlation.temperature or 0.0
    times = correlation.times
    # GPUMD's lags are the middles of intervals, LAMMPS' begin with zero.
    steps = 0.5 * np.diff(times)[:, None] * (values[:, 1:] + values[:, :-1])
    first = times[0] * values[:, :1]
    running = np.concatenate([first, first + np.cumsum(steps, axis=1)], axis=1)
    return running * factor / (volume * temperature**2), unit


def _scatter(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Noise (3,) of the mean correlation from the scatter of parts (n_parts, n, 3); infinite for too few."""
    n = len(values)
    if n < _MIN_PARTS:
        return np.full(3, np.inf)
    apart = values - np.tensordot(weights, values, axes=1)
    return np.sqrt(np.tensordot(weights**2, apart**2, axes=1).mean(axis=0) * n / (n - 1))


def _window(correlation: np.ndarray, scatter: float) -> tuple[int, int]:
    """Start and stop index of the plateau, half-open; the second half where C has not decayed before."""
    n, undecayed = len(correlation), undecayed_fraction(correlation, _TAIL)
    noise = min(undecayed * abs(correlation[0]), scatter)
    lag = decayed(correlation, np.full(n, noise)) if undecayed <= MAX_UNDECAYED else None
    first = min(PLATEAU_START * (lag or n), n // 2)
    return first, min(2 * first + 1, n)


def _covariance(parts: np.ndarray, weights: np.ndarray, kind: str) -> np.ndarray:
    """Covariance (3, 3) of the mean over parts (n, 3), from their scatter; zero for too few parts."""
    n = len(parts)
    if n < (2 if kind == "runs" else _MIN_PARTS):
        return np.zeros((3, 3))
    scatter = weights[:, None] * (parts - weights @ parts)
    return scatter.T @ scatter * n / (n - 1)
