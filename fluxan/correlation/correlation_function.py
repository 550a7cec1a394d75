"""Results of a correlator: correlation functions, and covariances of block means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Correlation:
    """Correlation functions C_ab(τ) = ⟨a(0) b(τ)⟩.

    For positive τ, b is the later one: if b follows a with a delay d, C_ab has its peak at τ = d.
    For stationary series C_ab(-τ) = C_ba(τ).

    Attributes
    ----------
    lags : (n_lags,) int
        Lags, in samples.
    time_step : float
        Sampling interval, ps.
    values : (n_lags, n_channels, n_channels) float64
        ``values[k, a, b]`` = C_ab(lags[k]), in squared units of the samples; NaN for pairs not computed.
    errors : (n_lags, n_channels, n_channels) float64
        One standard error, from the scatter of blocks of the series; infinite for series of fewer than four blocks.
        Blocks must be longer than the correlation time, and the series many times as long as that.
    counts : (n_lags,) int
        Number of products in each mean; for multi-tau, of products of block means.
    widths : (n_lags,) int
        Samples per block mean: 1, and for multi-tau 2^level. A multi-tau value is C averaged with triangular
        weights of this half width.
    """

    lags: np.ndarray
    time_step: float
    values: np.ndarray
    errors: np.ndarray
    counts: np.ndarray
    widths: np.ndarray

    @property
    def times(self) -> np.ndarray:
        """Lags in ps, (n_lags,)."""
        return self.lags * self.time_step


@dataclass(frozen=True)
class LevelCovariances:
    """Covariances of means over blocks of `width` samples, at lags of 0, 1, 2, … blocks.

    Attributes
    ----------
    width : int
        Samples per block mean, 2^level.
    n_blocks : int
        Number of block means.
    time_step : float
        Time between block means, ps.
    values : (n_lags, n_channels, n_channels) float64
        ``values[k, a, b]`` = ⟨a(0) b(k)⟩; NaN for pairs not computed.
    counts : (n_lags,) int
        Products in each mean.
    """

    width: int
    n_blocks: int
    time_step: float
    values: np.ndarray
    counts: np.ndarray
