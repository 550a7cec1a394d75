"""Mean, standard error and drift of quantities that are stationary in equilibrium: temperature and energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Blocks whose means are compared: enough for an error known to 20 %, few enough that blocks outlast correlations.
_BLOCKS: Final = 16


@dataclass(frozen=True)
class StationaryMean:
    """Mean of a quantity over a run, in the quantity's unit.

    Attributes
    ----------
    mean : float
        Mean over all values.
    error : float
        Standard error of the mean, from means of blocks about the line through them.
    drift : float
        Change over the whole run along that line.
    drift_error : float
        Standard error of the drift.
    deviation : float
        Standard deviation of the single values.
    """

    mean: float
    error: float
    drift: float
    drift_error: float
    deviation: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> StationaryMean:
        """Mean of at least 16 values (n,); values at the end that do not fill a block enter only the mean."""
        size = len(values) // _BLOCKS
        means = values[: size * _BLOCKS].reshape(_BLOCKS, size).mean(axis=1)
        times = (np.arange(_BLOCKS) + 0.5) / _BLOCKS - 0.5
        spread = float(times @ times)
        drift = float(times @ means) / spread
        scatter = means - means.mean() - drift * times
        block = np.sqrt(float(scatter @ scatter) / (_BLOCKS - 2))
        return cls(float(values.mean()), block / np.sqrt(_BLOCKS), drift, block / np.sqrt(spread), float(values.std()))

    def drifts(self, scale: float) -> bool:
        """Whether the drift is significant (4σ) and larger than `scale`."""
        return abs(self.drift) > max(4 * self.drift_error, scale)
