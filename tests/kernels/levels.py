"""Empty states of the multi-tau kernels with small chunks."""

from __future__ import annotations

import numpy as np
from fluxan.kernels.correlation_cpu import Levels


def empty_levels(*, n_levels, n_channels, n_lags, n_pairs, chunk, n_blocks, start=0):
    def zeros(*shape):
        return np.zeros(shape)

    def counters(*shape):
        return np.zeros(shape, dtype=np.int64)

    return Levels(
        rows=zeros(n_levels, n_channels, n_lags + chunk + chunk // 2),
        waiting=counters(n_levels),
        seen=counters(n_levels),
        unpaired=np.array([-(-start >> level) & 1 for level in range(n_levels)]),
        reference=zeros(n_channels),
        head=zeros(n_levels, n_lags, n_channels),
        products=zeros(n_levels, n_blocks, n_lags, n_pairs),
        carry=zeros(n_levels, n_lags, n_pairs),
        sums=zeros(n_levels, n_blocks, n_channels),
        counts=counters(n_levels, n_blocks),
        block=counters(n_levels),
        chunks=counters(n_levels),
        block_chunks=counters(n_levels) + 1,
    )
