"""Sums of lagged products over chunks of samples, and the multi-tau correlator, on one CPU thread.

Samples x_c(t) of channel c are in rows, contiguous in time, so that loops over time are vectorised. All functions run
on one thread and read their input in a fixed order: the same samples give bit for bit the same results.

Multi-tau (Ramírez, Sukumaran, Vorselaars, Likhtman, J. Chem. Phys. 133, 154103 (2010)) keeps a hierarchy of levels, of
which level l holds means of 2^l samples:

1. `multitau_extend` appends samples to level 0;
2. when a level holds a whole chunk of new samples, `_accumulate` adds their lagged products to the current block;
3. `_promote` appends means of pairs of its samples to the next level;
4. `_advance` keeps the last samples as history for the next chunk, and `_cascade` goes on with the next level;
5. when a block is full, `_next_block` begins another; when all are full, adjacent blocks are merged in pairs.

The sums are kept in blocks of consecutive samples, since errors are estimated from the scatter of blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import reordered, serial

#: Lags per pass of `_pair_products`, and channels per side of a tile: the most that fit into the vector registers.
LAGS_PER_PASS = 8
TILE = 4


class Pairs(NamedTuple):
    """Channel pairs whose products are summed, and how they are grouped into tiles of 4 × 4; integer arrays."""

    first: np.ndarray  # (n_pairs,) channel a of pair q
    second: np.ndarray  # (n_pairs,) channel b of pair q
    tile_channels: np.ndarray  # (n_tiles, 8) four channels a, then four channels b
    tile_pairs: np.ndarray  # (n_tiles, 16) the pairs of a tile; channel b varies fastest
    rest: np.ndarray  # (n_rest,) pairs that are in no tile


class Levels(NamedTuple):
    """State of a multi-tau correlator: level l has means of 2^l samples, n_lags lags and n_blocks blocks."""

    rows: np.ndarray  # (n_levels, n_channels, n_lags + 3/2 chunk) history, then samples not yet summed
    waiting: np.ndarray  # (n_levels,) number of samples not yet summed
    seen: np.ndarray  # (n_levels,) number of samples summed
    unpaired: np.ndarray  # (n_levels,) 1 if the first sample completes a pair that an earlier part began
    reference: np.ndarray  # (n_channels,) subtracted from every sample: the mean of the first chunk
    head: np.ndarray  # (n_levels, n_lags, n_channels) first samples
    products: np.ndarray  # (n_levels, n_blocks, n_lags, n_pairs) Σ a(t - k) b(t)
    carry: np.ndarray  # (n_levels, n_lags, n_pairs) rounding error of the current block (Kahan)
    sums: np.ndarray  # (n_levels, n_blocks, n_channels) Σ a(t)
    counts: np.ndarray  # (n_levels, n_blocks) number of samples
    block: np.ndarray  # (n_levels,) index of the current block
    chunks: np.ndarray  # (n_levels,) number of chunks in the current block
    block_chunks: np.ndarray  # (n_levels,) number of chunks of a full block


@reordered
def nonfinite_row(samples):
    """Index of the first row of `samples` (n, n_channels) with a NaN or infinity, or -1."""
    # One vectorised pass: 0 · x is NaN for NaN and infinity.
    total = 0.0
    for value in samples.flat:
        total += value * 0.0
    if total == 0.0:
        return -1
    for t in range(samples.shape[0]):
        for value in samples[t]:
            if not np.isfinite(value):
                return t
    return -1


@reordered
def _pair_products(first, second, start, count, lag, pair, out):
    """Sum the products of one pair at eight lags, for which each sample b(t) is loaded once."""
    b = second[start : start + count]
    o = start - lag
    a0, a1, a2, a3 = first[o : o + count], first[o - 1 :][:count], first[o - 2 :][:count], first[o - 3 :][:count]
    a4, a5, a6, a7 = first[o - 4 :][:count], first[o - 5 :][:count], first[o - 6 :][:count], first[o - 7 :][:count]
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    for t in range(count):
        x = b[t]
        s0 += x * a0[t]
        s1 += x * a1[t]
        s2 += x * a2[t]
        s3 += x * a3[t]
        s4 += x * a4[t]
        s5 += x * a5[t]
        s6 += x * a6[t]
        s7 += x * a7[t]
    out[lag, pair], out[lag + 1, pair], out[lag + 2, pair], out[lag + 3, pair] = s0, s1, s2, s3
    out[lag + 4, pair], out[lag + 5, pair], out[lag + 6, pair], out[lag + 7, pair] = s4, s5, s6, s7


@reordered
def _tile_products(rows, channels, pairs, start, count, lag, out):
    """Sum the products of 4 × 4 channels at one lag: eight loads for sixteen products (26 per ns; 16 pair by pair)."""
    o = start - lag
    a0, a1 = rows[channels[0], o : o + count], rows[channels[1], o : o + count]
    a2, a3 = rows[channels[2], o : o + count], rows[channels[3], o : o + count]
    b0, b1 = rows[channels[4], start : start + count], rows[channels[5], start : start + count]
    b2, b3 = rows[channels[6], start : start + count], rows[channels[7], start : start + count]
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = 0.0
    s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = 0.0
    for t in range(count):
        x0, x1, x2, x3 = a0[t], a1[t], a2[t], a3[t]
        y0, y1, y2, y3 = b0[t], b1[t], b2[t], b3[t]
        s00 += x0 * y0
        s01 += x0 * y1
        s02 += x0 * y2
        s03 += x0 * y3
        s10 += x1 * y0
        s11 += x1 * y1
        s12 += x1 * y2
        s13 += x1 * y3
        s20 += x2 * y0
        s21 += x2 * y1
        s22 += x2 * y2
        s23 += x2 * y3
        s30 += x3 * y0
        s31 += x3 * y1
        s32 += x3 * y2
        s33 += x3 * y3
    line = out[lag]
    line[pairs[0]], line[pairs[1]], line[pairs[2]], line[pairs[3]] = s00, s01, s02, s03
    line[pairs[4]], line[pairs[5]], line[pairs[6]], line[pairs[7]] = s10, s11, s12, s13
    line[pairs[8]], line[pairs[9]], line[pairs[10]], line[pairs[11]] = s20, s21, s22, s23
    line[pairs[12]], line[pairs[13]], line[pairs[14]], line[pairs[15]] = s30, s31, s32, s33


@serial
def lagged_products(rows, start, count, pairs, out):
    """Sum products of samples a lag apart, for one chunk of samples and the history before it.

    Parameters
    ----------
    rows : (n_channels, n) float64
        Samples.
    start, count : int
        The chunk is ``rows[:, start : start + count]``; ``start >= n_lags - 1``.
    pairs : Pairs
        Pairs of channels.
    out : (n_lags, n_pairs) float64
        Overwritten with ``out[k, q] = Σ_t rows[a, t - k] rows[b, t]`` for t in the chunk and pair q = (a, b). `n_lags`
        is a multiple of `LAGS_PER_PASS`.
    """
    n_lags = out.shape[0]
    for tile in range(pairs.tile_channels.shape[0]):
        for lag in range(n_lags):
            _tile_products(rows, pairs.tile_channels[tile], pairs.tile_pairs[tile], start, count, lag, out)
    for pair in pairs.rest:
        for lag in range(0, n_lags, LAGS_PER_PASS):
            _pair_products(rows[pairs.first[pair]], rows[pairs.second[pair]], start, count, lag, pair, out)


@serial
def pair_means(rows, first, count, out):
    """Halve the time resolution: ``out[c, i] = (rows[c, first + 2 i] + rows[c, first + 2 i + 1]) / 2``, i < `count`."""
    for channel in range(rows.shape[0]):
        row = rows[channel, first:]
        for i in range(count):
            out[channel, i] = 0.5 * (row[2 * i] + row[2 * i + 1])


@reordered
def row_sums(rows, start, count, out):
    """Sum each channel: ``out[c] = Σ_t rows[c, t]`` for t in ``[start, start + count)``."""
    for channel in range(rows.shape[0]):
        row = rows[channel, start : start + count]
        total = 0.0
        for t in range(count):
            total += row[t]
        out[channel] = total


@serial
def transpose_into(samples, at, out):
    """Transpose samples: ``out[c, at + t] = samples[t, c]``, in blocks of 64 times that stay in the cache."""
    for begin in range(0, samples.shape[0], 64):
        count = min(64, samples.shape[0] - begin)
        for channel in range(samples.shape[1]):
            row = out[channel, at + begin : at + begin + count]
            for t in range(count):
                row[t] = samples[begin + t, channel]


@serial
def _add_compensated(values, total, carry):
    """Add by Kahan's method: `carry` holds the rounding error of `total`. The order of operations must be kept."""
    for i in range(total.shape[0]):
        for j in range(total.shape[1]):
            value = values[i, j] - carry[i, j]
            new = total[i, j] + value
            carry[i, j] = (new - total[i, j]) - value
            total[i, j] = new


@serial
def merge_blocks(blocks):
    """Add adjacent blocks in pairs along the first axis of (n_blocks, n); the second half becomes zero."""
    n_blocks, n = blocks.shape
    for i in range(n_blocks // 2):
        for j in range(n):
            blocks[i, j] = blocks[2 * i, j] + blocks[2 * i + 1, j]
    for i in range(n_blocks // 2, n_blocks):
        for j in range(n):
            blocks[i, j] = 0


@serial
def _next_block(level, levels):
    """Begin the next block; where all are full, merge adjacent ones in pairs and make blocks twice as long."""
    n_blocks = levels.counts.shape[1]
    carry = levels.carry[level]
    for i in range(carry.shape[0]):
        for j in range(carry.shape[1]):
            carry[i, j] = 0.0
    levels.chunks[level] = 0
    levels.block[level] += 1
    if levels.block[level] == n_blocks:
        merge_blocks(levels.products[level].reshape(n_blocks, -1))
        merge_blocks(levels.sums[level])
        merge_blocks(levels.counts[level].reshape(n_blocks, 1))
        levels.block[level] = n_blocks // 2
        levels.block_chunks[level] *= 2


@serial
def _accumulate(level, count, pairs, levels):
    """Add the first `count` samples of a level that are not yet summed to its sums."""
    n_lags = levels.head.shape[1]
    rows = levels.rows[level]
    products = np.empty(levels.carry.shape[1:])
    lagged_products(rows, n_lags, count, pairs, products)
    sums = np.empty(rows.shape[0])
    row_sums(rows, n_lags, count, sums)
    block, seen = levels.block[level], levels.seen[level]
    _add_compensated(products, levels.products[level, block], levels.carry[level])
    levels.counts[level, block] += count
    for channel in range(rows.shape[0]):
        levels.sums[level, block, channel] += sums[channel]
        for t in range(min(count, n_lags - seen)):
            levels.head[level, seen + t, channel] = rows[channel, n_lags + t]
    levels.chunks[level] += 1
    if levels.chunks[level] == levels.block_chunks[level]:
        _next_block(level, levels)


@serial
def _promote(level, count, levels):
    """Append means of pairs of samples to the next level."""
    n_lags = levels.head.shape[1]
    # Where the samples before end within a pair, pairs begin one sample before the chunk, or after the first sample.
    begin = -1 if levels.unpaired[level] else 0
    if begin < 0 and levels.seen[level] == 0:
        begin = 1
    n_pairs = max(0, (count - begin) // 2)
    rows = levels.rows[level + 1]
    at = n_lags + levels.waiting[level + 1]
    pair_means(levels.rows[level], n_lags + begin, n_pairs, rows[:, at:])
    levels.waiting[level + 1] += n_pairs


@serial
def _set_reference(count, levels):
    """Subtract the reference from the samples of level 0; the mean of the first chunk is the reference."""
    n_lags = levels.head.shape[1]
    rows = levels.rows[0]
    if levels.seen[0] == 0:
        row_sums(rows, n_lags, count, levels.reference)
        for channel in range(rows.shape[0]):
            levels.reference[channel] /= count
    for channel in range(rows.shape[0]):
        for t in range(n_lags, n_lags + count):
            rows[channel, t] -= levels.reference[channel]


@serial
def _advance(level, count, pairs, levels):
    """Sum `count` new samples of a level, append their means to the next level, and keep the last as history."""
    if level == 0:
        _set_reference(count, levels)
    _accumulate(level, count, pairs, levels)
    if level + 1 < levels.rows.shape[0]:
        _promote(level, count, levels)
    levels.waiting[level] -= count
    levels.seen[level] += count
    keep = levels.head.shape[1] + levels.waiting[level]
    for channel in range(levels.rows.shape[1]):
        row = levels.rows[level, channel]
        for t in range(keep):
            row[t] = row[count + t]


@serial
def _chunk(levels):
    """Number of samples that a level sums at once; up to half as many are added to it at a time."""
    return (levels.rows.shape[2] - levels.head.shape[1]) * 2 // 3


@serial
def _cascade(level, pairs, levels):
    """Sum a chunk at this level, and at each following level where a chunk is complete."""
    chunk = _chunk(levels)
    while level < levels.rows.shape[0] and levels.waiting[level] >= chunk:
        _advance(level, chunk, pairs, levels)
        level += 1


@serial
def multitau_extend(samples, pairs, levels):
    """Add samples to a multi-tau correlator.

    A level sums only whole chunks, so that results are bit for bit the same however samples are divided among calls.

    Parameters
    ----------
    samples : (n, n_channels) float64
        Samples that follow those of the call before.
    pairs : Pairs
        Pairs of channels.
    levels : Levels
        State, changed in place.
    """
    n_lags = levels.head.shape[1]
    chunk = _chunk(levels)
    taken = 0
    while taken < samples.shape[0]:
        count = min(samples.shape[0] - taken, chunk - levels.waiting[0])
        at = n_lags + levels.waiting[0]
        transpose_into(samples[taken : taken + count], at, levels.rows[0])
        levels.waiting[0] += count
        taken += count
        _cascade(0, pairs, levels)


@serial
def multitau_finish(pairs, levels):
    """Sum the remaining samples of every level; none can be added afterwards, so pass a copy of the state."""
    for level in range(levels.rows.shape[0]):
        if levels.waiting[level]:
            _advance(level, levels.waiting[level], pairs, levels)
        _cascade(level + 1, pairs, levels)
