"""The input of the estimators: the periodogram of a flux, and its autocovariance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.greenkubo.estimators.periodogram import Spectrum


@dataclass(frozen=True)
class Ordinates:
    """Input of the estimators, computed from a flux.

    Attributes
    ----------
    spectrum : Spectrum
        Input of the default estimator: its lowest frequency is that of the whole run.
    even : Spectrum or None
        Equally spaced frequencies, multiples of the first, as cepstral analysis and STACIE need them; None where there
        is no periodogram.
    correlation : (n,) float64
        Autocovariance at multiples of `lag`, averaged over components.
    lag : float
        Spacing of `correlation`, ps.
    length : int
        Number of samples, `lag` apart, that `correlation` is averaged over.
    offset : float
        Ratio of the flux's mean to that expected by chance, where the mean was subtracted; else zero.
    """

    spectrum: Spectrum
    even: Spectrum | None
    correlation: NDArray[np.float64]
    lag: float
    length: int
    offset: float = 0.0


def autocovariance(samples: NDArray[np.float64], n_lags: int) -> NDArray[np.float64]:
    """Autocovariance (n_lags,) of samples (n, 3), averaged over components; their mean is taken as zero."""
    n = len(samples)
    # Padding to n + n_lags keeps the end of the series from being correlated with its beginning.
    padded = 1 << (n + n_lags).bit_length()
    power = np.zeros(padded // 2 + 1)
    for column in samples.T:
        power += np.abs(np.fft.rfft(column, padded)) ** 2 / samples.shape[1]
    return np.fft.irfft(power, padded)[:n_lags] / np.arange(n, n - n_lags, -1)
