"""What a correlator gives: correlation functions, and covariances of block means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Correlation:
    """Correlation functions C_ab(τ) = ⟨a(0) b(τ)⟩.

    A positive τ means that b is looked at later: if b follows a with a delay d, C_ab has its peak at τ = d.
    For stationary series C_ab(-τ) = C_ba(τ).

    Parameters
    ----------
    lags : (n_lags,) int, in samples
    time_step : ps
    values : (n_lags, n_channels, n_channels), ``values[k, a, b]`` = C_ab(lags[k]); NaN for pairs not asked for
    errors : same shape, one standard error from the scatter of blocks of the series; infinite where it is too short
        for four blocks. Blocks must be longer than the correlations, so the series must be many times as long.
    counts : (n_lags,) products in each mean; for multi-tau, products of block means
    widths : (n_lags,) samples in each block mean: 1, and for multi-tau 2^level. A multi-tau value is C averaged over a
        triangle of this half width.
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
    """Covariances of means over blocks of `width` samples, at lags 0, 1, 2, … blocks.

    Parameters
    ----------
    width : samples per block mean, 2^level
    n_blocks : block means of this level
    time_step : time between block means, ps
    values : (n_lags, n_channels, n_channels), ``values[k, a, b]`` = ⟨a(0) b(k)⟩; NaN for pairs that were not asked for
    counts : (n_lags,) products in each mean
    """

    width: int
    n_blocks: int
    time_step: float
    values: np.ndarray
    counts: np.ndarray
