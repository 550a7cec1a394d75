"""Sums of lagged products that can be shifted to another reference, pooled over runs, and joined to a continuation.

Sums are of x' = x - reference, with a reference near the mean, so that no digits are lost to a large offset. Since the
sums of both factors are kept as well as the sum of their products, the shift to another reference is exact:
Σ(a' + d_a)(b' + d_b) = Σa'b' + d_b Σa' + d_a Σb' + n d_a d_b.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .layout import N_BLOCKS

if TYPE_CHECKING:
    from .layout import CorrelatorLayout


@dataclass(frozen=True)
class Blocks:
    """Sums over consecutive blocks of the series, from whose scatter errors are estimated."""

    counts: np.ndarray  # (n_blocks,) samples
    sums: np.ndarray  # (n_blocks, n_channels)
    products: np.ndarray  # (n_blocks, n_lags, n_pairs)

    def shifted(self, d: np.ndarray, layout: CorrelatorLayout) -> Blocks:
        """Sums of x + d. Block edges are neglected: both factors of a product count as samples of its block."""
        a, b = layout.first, layout.second
        change = self.sums[:, a] * d[b] + d[a] * self.sums[:, b] + self.counts[:, None] * (d[a] * d[b])
        sums = self.sums + self.counts[:, None] * d
        return Blocks(self.counts, sums, self.products + change[:, None, :])

    def followed_by(self, other: Blocks) -> Blocks:
        """Blocks of both series; adjacent ones are merged while there are more than twice `N_BLOCKS`."""
        mine = (self.counts, self.sums, self.products)
        theirs = (other.counts, other.sums, other.products)
        arrays = [np.concatenate(both) for both in zip(mine, theirs, strict=True)]
        while len(arrays[0]) > 2 * N_BLOCKS:
            arrays = [np.add.reduceat(array, np.arange(0, len(array), 2)) for array in arrays]
        return Blocks(*arrays)


@dataclass(frozen=True)
class Moments:
    """Sums over all pairs of samples that are k = 0, 1, … apart at one level: a at the earlier, b at the later time."""

    counts: np.ndarray  # (n_lags,) pairs of samples
    products: np.ndarray  # (n_lags, n_pairs) Σ a b
    left: np.ndarray  # (n_lags, n_channels) Σ over the earlier samples
    right: np.ndarray  # (n_lags, n_channels) Σ over the later samples
    blocks: Blocks

    def shifted(self, d: np.ndarray, layout: CorrelatorLayout) -> Moments:
        """Sums of x + d."""
        n, a, b = self.counts[:, None], layout.first, layout.second
        products = self.products + self.left[:, a] * d[b] + d[a] * self.right[:, b] + n * (d[a] * d[b])
        return Moments(self.counts, products, self.left + n * d, self.right + n * d, self.blocks.shifted(d, layout))

    def plus(self, other: Moments) -> Moments:
        """Sums over the pairs of samples of both."""
        return Moments(
            self.counts + other.counts,
            self.products + other.products,
            self.left + other.left,
            self.right + other.right,
            self.blocks.followed_by(other.blocks),
        )

    def mean(self) -> np.ndarray:
        """Mean of each channel, (n_channels,)."""
        return self.left[0] / max(self.counts[0], 1)

    def covariances(self, d: np.ndarray, layout: CorrelatorLayout) -> np.ndarray:
        """⟨(a(0) + d_a)(b(k) + d_b)⟩, (lags with data, n_pairs)."""
        moved = self.shifted(d, layout)
        some = moved.counts > 0
        return moved.products[some] / moved.counts[some, None]

    def errors(self, d: np.ndarray, layout: CorrelatorLayout) -> np.ndarray:
        """Estimate the standard error of `covariances` from the scatter of blocks; infinite with fewer than four."""
        blocks = self.blocks.shifted(d, layout)
        some = self.counts > 0
        if len(blocks.counts) < 4:
            return np.full((int(some.sum()), len(layout.pairs)), np.inf)
        weights = blocks.counts / blocks.counts.sum()
        estimates = blocks.products[:, some] / blocks.counts[:, None, None]
        mean = np.tensordot(weights, estimates, axes=1)
        scatter = np.tensordot(weights**2, (estimates - mean) ** 2, axes=1)
        return np.sqrt(scatter / (1 - np.sum(weights**2)))


@dataclass(frozen=True)
class Ends:
    """First and last samples of a series at one level, for joining it to the parts before and after it."""

    head: np.ndarray  # (≤ n_lags - 1, n_channels) first samples
    tail: np.ndarray  # (≤ n_lags - 1, n_channels) last samples
    lead: np.ndarray  # (n_channels,) sum of the samples before the level's first whole block
    trail: np.ndarray  # (n_channels,) sum of the samples after its last whole block

    def shifted(self, d: np.ndarray, n_lead: int, n_trail: int) -> Ends:
        """Samples and sums of x + d; the sums are over `n_lead` and `n_trail` samples."""
        return Ends(self.head + d, self.tail + d, self.lead + n_lead * d, self.trail + n_trail * d)


def level_moments(products: np.ndarray, count: int, ends: Ends, blocks: Blocks) -> Moments:
    """Moments of a series without gaps.

    Parameters
    ----------
    products : (n_lags, n_pairs) float64
        Sums of products.
    count : int
        Number of samples.
    ends : Ends
        First and last samples.
    blocks : Blocks
        Sums over blocks.
    """
    # The earlier factors at lag k are all samples but the last k, the later ones all but the first k.
    n_lags = len(products)
    counts = np.maximum(count - np.arange(n_lags), 0)
    total = blocks.sums.sum(axis=0)
    some = (counts > 0)[:, None]
    left = np.where(some, total - _first_sums(ends.tail[::-1], n_lags), 0.0)
    right = np.where(some, total - _first_sums(ends.head, n_lags), 0.0)
    return Moments(counts, products * some, left, right, blocks)


def _first_sums(samples: np.ndarray, n_lags: int) -> np.ndarray:
    """Sums of the first 0, 1, … n_lags - 1 samples, (n_lags, n_channels); of all where there are fewer."""
    sums = np.zeros((n_lags, samples.shape[1]))
    n = min(len(samples), n_lags - 1)
    np.cumsum(samples[:n], axis=0, out=sums[1 : n + 1])
    sums[n + 1 :] = sums[n]
    return sums


def seam_moments(before: np.ndarray, after: np.ndarray, layout: CorrelatorLayout) -> Moments:
    """Moments of the pairs of samples across the junction of two contiguous parts (seam).

    Parameters
    ----------
    before, after : (≤ n_lags - 1, n_channels) float64
        Last samples before the junction and first ones after it.
    layout : CorrelatorLayout
        Settings.
    """
    from fluxan.kernels.correlation_cpu import lagged_products

    from .layout import tiled

    # Products: samples before and after the junction become separate channels of one series, zero elsewhere.
    n_lags, n_channels = layout.n_lags, layout.n_channels
    padded = -(-n_lags // 8) * 8
    rows = np.zeros((2 * n_channels, padded + len(before) + len(after)))
    rows[:n_channels, padded : padded + len(before)] = before.T
    rows[n_channels:, padded + len(before) :] = after.T
    plan = tiled(tuple((a, b + n_channels) for a, b in layout.pairs))
    products = np.zeros((padded, len(layout.pairs)))
    lagged_products(rows, padded + len(before), len(after), plan, products)
    # Counts of pairs, and sums of their earlier and later samples.
    counts = np.zeros(n_lags, dtype=np.int64)
    left, right = np.zeros((2, n_lags, n_channels))
    for lag in range(1, n_lags):
        low, high = max(lag - len(before), 0), min(lag, len(after))
        if high > low:
            counts[lag] = high - low
            right[lag] = after[low:high].sum(axis=0)
            stop = len(before) + high - lag
            left[lag] = before[stop - (high - low) : stop].sum(axis=0)
    none = Blocks(np.zeros(0, np.int64), np.zeros((0, n_channels)), np.zeros((0, n_lags, len(layout.pairs))))
    return Moments(counts, products[:n_lags], left, right, none)


def single_moments(sample: np.ndarray, layout: CorrelatorLayout) -> Moments:
    """Moments of a series of one sample, (n_channels,)."""
    products = np.zeros((layout.n_lags, len(layout.pairs)))
    products[0] = sample[layout.first] * sample[layout.second]
    blocks = Blocks(np.array([1]), sample[None], products[None])
    ends = Ends(sample[None], sample[None], np.zeros_like(sample), np.zeros_like(sample))
    return level_moments(products, 1, ends, blocks)
