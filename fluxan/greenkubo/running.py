"""The running Green–Kubo integral cut at the correlation's first dip, as most of the literature has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError
from fluxan.greenkubo.estimate import Estimate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def running_integral(correlation: ArrayLike, *, length: int, components: int = 3, time_step: float = 1.0) -> Estimate:
    """Integrate C(t) by the trapezoidal rule up to its first value at or below zero.

    Kept for comparison: the cutoff is biased (it stops early where noise dips first, and integrates noise where
    correlations are long), and the error covers the noise alone.

    Parameters
    ----------
    correlation
        (n,) autocovariance at lags 0, 1, ... n−1, averaged over components.
    length
        Number of samples it was averaged over.
    components
        Number of independent components averaged.
    time_step
        Sampling interval.

    Returns
    -------
    Estimate
        Twice the integral, so that it compares with S(0); the error is the large-lag one of a cut integral,
        S(0)·√(2(2M+1)/(components·length)) for M lags (M. S. Bartlett, J. R. Stat. Soc. Suppl. 8, 27 (1946)).
        ``details`` has ``cutoff``, the time of the dip.

    Raises
    ------
    InputError
        If there are fewer than two lags, values are not finite, C(0) is not positive, or C(t) never dips to zero.
    """
    c = np.asarray(correlation, dtype=np.float64)
    if c.ndim != 1 or c.size < 2 or not np.isfinite(c).all():
        raise InputError(
            f"the running integral needs a finite correlation (n,) of two lags or more, got shape {c.shape}"
        )
    if c[0] <= 0:
        raise InputError(f"the running integral needs a positive variance C(0), got {c[0]:g}")
    dips = np.flatnonzero(c <= 0)
    if dips.size == 0:
        raise InputError(
            f"the correlation stays positive over its {c.size} lags, so its first dip is unknown; use a longer max_lag"
        )
    lags = int(dips[0])
    value = time_step * (c[0] + 2 * c[1:lags].sum() + c[lags])
    error = abs(value) * np.sqrt(2 * (2 * lags + 1) / (components * length))
    return Estimate(float(value), float(error), "running", {"cutoff": lags * time_step})
