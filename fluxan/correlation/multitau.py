"""State of a multi-tau correlator while samples are added.

Ramírez, Sukumaran, Vorselaars, Likhtman, J. Chem. Phys. 133, 154103 (2010), with averages over blocks of 2^l samples at
level l. Unlike there, every level keeps all its lags: a spectrum at zero frequency can then be estimated from the
covariances of block means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .layout import CHUNK, N_BLOCKS
from .moments import Blocks, Ends, level_moments
from .summary import Summary, inside_one_block

if TYPE_CHECKING:
    from fluxan.kernels.correlation_cpu import Levels

    from .layout import CorrelatorLayout


class MultitauStream:
    """Sums over one series without gaps, to which samples are added.

    Parameters
    ----------
    layout : CorrelatorLayout
        Settings.
    start : int
        Index of the first sample, where this series continues earlier ones.
    """

    def __init__(self, layout: CorrelatorLayout, start: int = 0) -> None:
        from fluxan.kernels.correlation_cpu import Levels

        levels, lags, channels, n_pairs = layout.n_levels, layout.n_lags, layout.n_channels, len(layout.pairs)
        self.layout = layout
        self.start = start
        self._levels = Levels(
            rows=np.zeros((levels, channels, lags + CHUNK + CHUNK // 2)),
            waiting=np.zeros(levels, dtype=np.int64),
            seen=np.zeros(levels, dtype=np.int64),
            unpaired=np.array([-(-start >> level) & 1 for level in range(levels)], dtype=np.int64),
            reference=np.zeros(channels),
            head=np.zeros((levels, lags, channels)),
            products=np.zeros((levels, N_BLOCKS, lags, n_pairs)),
            carry=np.zeros((levels, lags, n_pairs)),
            sums=np.zeros((levels, N_BLOCKS, channels)),
            counts=np.zeros((levels, N_BLOCKS), dtype=np.int64),
            block=np.zeros(levels, dtype=np.int64),
            chunks=np.zeros(levels, dtype=np.int64),
            block_chunks=np.ones(levels, dtype=np.int64),
        )

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return int(self._levels.seen[0] + self._levels.waiting[0])

    def extend(self, samples: np.ndarray) -> None:
        """Add samples, (n, n_channels) float64."""
        from fluxan.kernels.correlation_cpu import multitau_extend

        multitau_extend(samples, self.layout.plan, self._levels)

    def arrays(self) -> dict[str, np.ndarray]:
        """State as arrays by name, for a file."""
        return self._levels._asdict()

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Set the state to that of `arrays`."""
        for name, array in self._levels._asdict().items():
            array[...] = arrays[name]

    def summary(self) -> Summary:
        """Sums over all samples so far, computed on a copy of the state."""
        from fluxan.kernels.correlation_cpu import multitau_finish

        closed = type(self._levels)(*(array.copy() for array in self._levels))
        multitau_finish(self.layout.plan, closed)
        stop = self.start + self.n_samples
        ends = _ends(closed, self.start, stop)
        moments = []
        for level, its_ends in enumerate(ends):
            used = closed.counts[level] > 0
            blocks = Blocks(closed.counts[level][used], closed.sums[level][used], closed.products[level][used])
            products = closed.products[level].sum(axis=0)
            moments.append(level_moments(products, int(closed.seen[level]), its_ends, blocks))
        return Summary(self.layout, closed.reference, tuple(moments), tuple(ends), self.start, stop, self.n_samples)


def _ends(closed: Levels, start: int, stop: int) -> list[Ends]:
    """First and last block means of every level, and the sums of samples before and after its whole blocks."""
    n_lags = closed.head.shape[1]
    lead = trail = np.zeros(len(closed.reference))
    ends: list[Ends] = []
    for level, seen in enumerate(closed.seen):
        if level:
            size, finer = 1 << (level - 1), ends[-1]
            if inside_one_block(start, stop, level):
                lead, trail = lead + trail, np.zeros_like(trail)
            else:
                # A block of the finer level without a partner at this end is part of no whole block of this level.
                lead = lead + finer.head[0] * size if -(-start >> (level - 1)) & 1 else lead
                trail = trail + finer.tail[-1] * size if (stop >> (level - 1)) & 1 else trail
        n = min(int(seen), n_lags - 1)
        tail = np.ascontiguousarray(closed.rows[level, :, n_lags - n : n_lags].T)
        ends.append(Ends(closed.head[level, :n], tail, lead, trail))
    return ends
