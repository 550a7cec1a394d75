"""Sums over one or several finished series, which can be combined."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .moments import Blocks, Ends, Moments, seam_moments, single_moments

if TYPE_CHECKING:
    from .layout import CorrelatorLayout


@dataclass(frozen=True)
class Segments:
    """Sums of the cross-spectra of full, unpadded segments."""

    power: np.ndarray  # (n_spectral_pairs, segment // 2 + 1) complex, Σ conj(A_a) A_b
    sums: np.ndarray  # (n_channels,) Σ of the segments' samples
    n: int
    length: int

    def shifted(self, d: np.ndarray, layout: CorrelatorLayout) -> Segments:
        """Sums of x + d; a constant changes only the value at zero frequency."""
        a, b = layout.spectral_channels
        power = self.power.copy()
        power[:, 0] += self.length * (d[a] * self.sums[b] + self.sums[a] * d[b]) + self.n * self.length**2 * d[a] * d[b]
        return replace(self, power=power, sums=self.sums + self.n * self.length * d)

    def plus(self, other: Segments) -> Segments:
        """Sums over the segments of both."""
        return Segments(self.power + other.power, self.sums + other.sums, self.n + other.n, self.length)


@dataclass(frozen=True)
class Summary:
    """Sums over finished series.

    Attributes
    ----------
    layout : CorrelatorLayout
        Settings.
    reference : (n_channels,) float64
        Subtracted from all samples.
    levels : tuple of Moments
        Sums at every level.
    ends : tuple of Ends
        First and last samples at every level; empty for independent runs.
    start, stop : int
        Index of the first sample and one past the last, of a single series.
    n_samples : int
        Number of samples.
    segments : Segments or None
        Power spectra; None for the multi-tau scheme.
    """

    layout: CorrelatorLayout
    reference: np.ndarray
    levels: tuple[Moments, ...]
    ends: tuple[Ends, ...]
    start: int
    stop: int
    n_samples: int
    segments: Segments | None = None

    def offset(self, *, remove_mean: bool) -> np.ndarray:
        """Shift d, (n_channels,), after which x' + d is the sample itself or has a mean of zero."""
        return -self.levels[0].mean() if remove_mean else self.reference

    def about(self, reference: np.ndarray) -> Summary:
        """Sums about another reference."""
        d = self.reference - reference
        if not d.any():
            return self
        sizes = [self.partial_sizes(level) for level in range(len(self.ends))]
        return replace(
            self,
            reference=reference,
            levels=tuple(level.shifted(d, self.layout) for level in self.levels),
            ends=tuple(ends.shifted(d, *size) for ends, size in zip(self.ends, sizes, strict=True)),
            segments=self.segments.shifted(d, self.layout) if self.segments else None,
        )

    def partial_sizes(self, level: int) -> tuple[int, int]:
        """Number of samples before the first and after the last whole block of a level."""
        size = 1 << level
        if inside_one_block(self.start, self.stop, level):
            return self.stop - self.start, 0
        return -self.start % size, self.stop % size

    def pooled(self, other: Summary) -> Summary:
        """Sums over both, as independent runs."""
        if not (self.n_samples and other.n_samples):
            return replace(self if self.n_samples else other, ends=())
        other = other.about(self.reference)
        return replace(
            self,
            levels=tuple(mine.plus(theirs) for mine, theirs in zip(self.levels, other.levels, strict=True)),
            ends=(),
            n_samples=self.n_samples + other.n_samples,
            segments=self._segments_with(other),
        )

    def followed_by(self, other: Summary) -> Summary:
        """Sums over this series and its continuation `other`, products across the junction included."""
        if not (self.n_samples and other.n_samples):
            return self if self.n_samples else other
        other = other.about(self.reference)
        joined = [_join(self, other, level) for level in range(len(self.levels))]
        return replace(
            self,
            levels=tuple(moments for moments, _ in joined),
            ends=tuple(ends for _, ends in joined),
            stop=other.stop,
            n_samples=self.n_samples + other.n_samples,
            segments=self._segments_with(other),
        )

    def _segments_with(self, other: Summary) -> Segments | None:
        return self.segments.plus(other.segments) if self.segments and other.segments else None


def inside_one_block(start: int, stop: int, level: int) -> bool:
    """Whether no border between blocks of 2^level samples lies in [start, stop]."""
    return -(-start >> level) > stop >> level


def _join(before: Summary, after: Summary, level: int) -> tuple[Moments, Ends]:
    """Join one level of two contiguous parts; a block that extends over both is completed and placed between theirs."""
    layout, size = before.layout, 1 << level
    mine, theirs = before.ends[level], after.ends[level]
    mine_inside = inside_one_block(before.start, before.stop, level)
    # Sum of the samples of the block that extends over both.
    cut = (mine.lead if mine_inside else mine.trail) + theirs.lead
    # One part, or both, may lie within that block and have no whole block.
    if inside_one_block(after.start, after.stop, level):
        if mine_inside:
            return before.levels[level], Ends(mine.head, mine.tail, cut, theirs.trail)
        return before.levels[level], Ends(mine.head, mine.tail, mine.lead, cut)
    if mine_inside:
        return after.levels[level], Ends(theirs.head, theirs.tail, cut, theirs.trail)
    # Both have whole blocks: append the block that extends over both, then the later part.
    moments, head, tail = before.levels[level], mine.head, mine.tail
    runs = [(after.levels[level], theirs.head, theirs.tail)]
    if before.stop % size:
        mean = cut / size
        runs.insert(0, (single_moments(mean, layout), mean[None], mean[None]))
    for more, its_head, its_tail in runs:
        moments = moments.plus(more).plus(seam_moments(tail, its_head, layout))
        head, tail = _first(head, its_head, layout), _first(its_tail[::-1], tail[::-1], layout)[::-1]
    return moments, Ends(head, tail, mine.lead, theirs.trail)


def _first(samples: np.ndarray, more: np.ndarray, layout: CorrelatorLayout) -> np.ndarray:
    return np.concatenate([samples, more])[: layout.n_lags - 1]


def summary_arrays(summary: Summary) -> dict[str, np.ndarray]:
    """All arrays of a summary by name, for a file."""
    arrays = {"reference": summary.reference}
    for level, moments in enumerate(summary.levels):
        parts: list[object] = [moments, moments.blocks, *summary.ends[level : level + 1]]
        for part in parts:
            for name, array in vars(part).items():
                if isinstance(array, np.ndarray):
                    arrays[f"{type(part).__name__.lower()}{level}_{name}"] = array
    if summary.segments:
        arrays |= {"power": summary.segments.power, "power_sums": summary.segments.sums}
        arrays["power_counts"] = np.array([summary.segments.n, summary.segments.length])
    return arrays


def summary_from_arrays(
    layout: CorrelatorLayout, arrays: dict[str, np.ndarray], extent: tuple[int, int, int]
) -> Summary:
    """Summary from the arrays of `summary_arrays`; `extent` is start, stop and n_samples."""

    def part(kind: type, level: int) -> dict[str, Any]:
        names = [field.name for field in fields(kind) if field.name != "blocks"]
        return {name: arrays[f"{kind.__name__.lower()}{level}_{name}"] for name in names}

    levels = tuple(
        Moments(**part(Moments, level), blocks=Blocks(**part(Blocks, level))) for level in range(layout.n_levels)
    )
    ends = tuple(Ends(**part(Ends, level)) for level in range(layout.n_levels) if f"ends{level}_head" in arrays)
    segments = None
    if "power" in arrays:
        n, length = map(int, arrays["power_counts"])
        segments = Segments(arrays["power"], arrays["power_sums"], n, length)
    start, stop, n_samples = extent
    return Summary(layout, arrays["reference"], levels, ends, start, stop, n_samples, segments)
