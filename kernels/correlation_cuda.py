"""CUDA kernels of the correlators: names and arguments of `correlation_cpu` and `spectra`, plus a stream.

Arrays are device arrays, used in place. The counters of `Levels` (waiting, seen, unpaired, counts, block, chunks,
block_chunks) stay on the host, which runs the steps of the multi-tau correlator as `correlation_cpu` describes them.
One block of threads computes one sum, in an order that depends only on its length: results are bit for bit the same in
every run, and agree with those of the CPU to round-off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import cuda, float64

if TYPE_CHECKING:
    from .correlation_cpu import Levels, Pairs

#: Threads per block, a power of two.
THREADS = 128

_ON_DEVICE = ("rows", "reference", "head", "products", "carry", "sums")


def to_device(levels: Levels) -> Levels:
    """Copy the arrays of sums and samples to the device; counters stay on the host."""
    return levels._replace(**{name: cuda.to_device(getattr(levels, name)) for name in _ON_DEVICE})


def to_host(levels: Levels) -> Levels:
    """Copy all arrays back to the host."""
    return levels._replace(**{name: getattr(levels, name).copy_to_host() for name in _ON_DEVICE})


def lagged_products(rows: Any, start: int, count: int, pairs: Pairs, out: Any, stream: Any = 0) -> None:
    """Sum products of samples a lag apart: ``out[lag, q] = Σ_t rows[a, t - lag] rows[b, t]``."""
    n_lags, n_pairs = out.shape
    first, second = cuda.to_device(pairs.first, stream=stream), cuda.to_device(pairs.second, stream=stream)
    _lagged_products[(n_pairs, n_lags), THREADS, stream, THREADS * 8](rows, start, count, first, second, out)


@cuda.jit(device=True)
def _block_sum(value):
    """Sum `value` over the threads of a block (tree reduction); the first thread has the sum."""
    shared = cuda.shared.array(0, float64)
    shared[cuda.threadIdx.x] = value
    half = cuda.blockDim.x // 2
    while half > 0:
        cuda.syncthreads()
        if cuda.threadIdx.x < half:
            shared[cuda.threadIdx.x] += shared[cuda.threadIdx.x + half]
        half //= 2
    cuda.syncthreads()
    return shared[0]


@cuda.jit
def _lagged_products(rows, start, count, first, second, out):
    pair, lag = cuda.blockIdx.x, cuda.blockIdx.y
    a, b = first[pair], second[pair]
    total = 0.0
    for t in range(start + cuda.threadIdx.x, start + count, cuda.blockDim.x):
        total += rows[a, t - lag] * rows[b, t]
    total = _block_sum(total)
    if cuda.threadIdx.x == 0:
        out[lag, pair] = total


def row_sums(rows: Any, start: int, count: int, out: Any, stream: Any = 0) -> None:
    """Sum each channel: ``out[c] = Σ_t rows[c, t]`` for t in ``[start, start + count)``."""
    _row_sums[len(rows), THREADS, stream, THREADS * 8](rows, start, count, out)


@cuda.jit
def _row_sums(rows, start, count, out):
    total = 0.0
    for t in range(start + cuda.threadIdx.x, start + count, cuda.blockDim.x):
        total += rows[cuda.blockIdx.x, t]
    total = _block_sum(total)
    if cuda.threadIdx.x == 0:
        out[cuda.blockIdx.x] = total


def pair_means(rows: Any, first: int, count: int, out: Any, stream: Any = 0) -> None:
    """Halve the time resolution: ``out[c, i] = (rows[c, first + 2 i] + rows[c, first + 2 i + 1]) / 2``, i < `count`."""
    _pair_means[len(rows), THREADS, stream](rows, first, count, out)


@cuda.jit
def _pair_means(rows, first, count, out):
    channel = cuda.blockIdx.x
    for i in range(cuda.threadIdx.x, count, cuda.blockDim.x):
        out[channel, i] = 0.5 * (rows[channel, first + 2 * i] + rows[channel, first + 2 * i + 1])


def cross_spectra(
    first_re: Any, first_im: Any, second_re: Any, second_im: Any, first: Any, second: Any, rows: Any, out_re: Any,
    out_im: Any, stream: Any = 0,
) -> None:  # fmt: skip
    """Add ``Σ_s conj(first[a, s, f]) second[b, s, f]`` for every pair (a, b) to its row of `out`."""
    grid = (len(rows), -(-out_re.shape[1] // THREADS))
    arrays = (first_re, first_im, second_re, second_im, first, second, rows, out_re, out_im)
    _cross_spectra[grid, THREADS, stream](*arrays)


@cuda.jit
def _cross_spectra(first_re, first_im, second_re, second_im, first, second, rows, out_re, out_im):
    pair, f = cuda.blockIdx.x, cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    if f < out_re.shape[1]:
        a, b = first[pair], second[pair]
        re, im = 0.0, 0.0
        for s in range(first_re.shape[1]):
            ar, ai, br, bi = first_re[a, s, f], first_im[a, s, f], second_re[b, s, f], second_im[b, s, f]
            re += ar * br + ai * bi
            im += ar * bi - ai * br
        out_re[rows[pair], f] += re
        out_im[rows[pair], f] += im


@cuda.jit
def _transpose_into(samples, at, out):
    channel = cuda.blockIdx.x
    for t in range(cuda.threadIdx.x, samples.shape[0], cuda.blockDim.x):
        out[channel, at + t] = samples[t, channel]


@cuda.jit
def _subtract_mean(rows, start, count, reference, begins):
    """Subtract the reference; at the first chunk it is given as the sum of its samples, and becomes their mean."""
    channel = cuda.blockIdx.x
    value = reference[channel] / count if begins else reference[channel]
    cuda.syncthreads()
    if begins and cuda.threadIdx.x == 0:
        reference[channel] = value
    for t in range(start + cuda.threadIdx.x, start + count, cuda.blockDim.x):
        rows[channel, t] -= value


@cuda.jit
def _accumulate(values, sums, total, carry, total_sums):
    """Add products by Kahan's method, one block of threads per lag; the first block also adds the channels' sums."""
    lag = cuda.blockIdx.x
    for pair in range(cuda.threadIdx.x, values.shape[1], cuda.blockDim.x):
        value = values[lag, pair] - carry[lag, pair]
        new = total[lag, pair] + value
        carry[lag, pair] = (new - total[lag, pair]) - value
        total[lag, pair] = new
    if lag == 0:
        for channel in range(cuda.threadIdx.x, sums.size, cuda.blockDim.x):
            total_sums[channel] += sums[channel]


@cuda.jit
def _keep_head(rows, start, seen, count, head):
    channel = cuda.blockIdx.x
    for t in range(cuda.threadIdx.x, count, cuda.blockDim.x):
        head[seen + t, channel] = rows[channel, start + t]


@cuda.jit
def _move_to_front(rows, count, keep):
    """Move history to the front; one thread per channel, since source and target may overlap."""
    channel = cuda.grid(1)
    if channel < rows.shape[0]:
        for t in range(keep):
            rows[channel, t] = rows[channel, count + t]


@cuda.jit
def _merge_blocks(blocks):
    j = cuda.grid(1)
    if j < blocks.shape[1]:
        half = blocks.shape[0] // 2
        for i in range(half):
            blocks[i, j] = blocks[2 * i, j] + blocks[2 * i + 1, j]
        for i in range(half, blocks.shape[0]):
            blocks[i, j] = 0.0


@cuda.jit
def _clear(values):
    for pair in range(cuda.threadIdx.x, values.shape[1], cuda.blockDim.x):
        values[cuda.blockIdx.x, pair] = 0.0


def _next_block(level: int, levels: Levels, stream: Any) -> None:
    n_blocks = levels.counts.shape[1]
    _clear[levels.carry.shape[1], THREADS, stream](levels.carry[level])
    levels.chunks[level] = 0
    levels.block[level] += 1
    if levels.block[level] == n_blocks:
        for array in (levels.products[level], levels.sums[level]):
            flat = array.reshape(n_blocks, array.size // n_blocks)
            _merge_blocks[-(-flat.shape[1] // THREADS), THREADS, stream](flat)
        half = n_blocks // 2
        levels.counts[level, :half] = levels.counts[level].reshape(half, 2).sum(axis=1)
        levels.counts[level, half:] = 0
        levels.block[level] = half
        levels.block_chunks[level] *= 2


def _sum_waiting(level: int, count: int, pairs: Pairs, levels: Levels, stream: Any) -> None:
    n_lags, n_channels = levels.head.shape[1:]
    rows, block, seen = levels.rows[level], levels.block[level], int(levels.seen[level])
    products = cuda.device_array(levels.carry.shape[1:], np.float64, stream=stream)
    sums = cuda.device_array(n_channels, np.float64, stream=stream)
    lagged_products(rows, n_lags, count, pairs, products, stream)
    row_sums(rows, n_lags, count, sums, stream)
    totals = levels.products[level, block], levels.carry[level], levels.sums[level, block]
    _accumulate[n_lags, THREADS, stream](products, sums, *totals)
    levels.counts[level, block] += count
    first = min(count, n_lags - seen)
    if first > 0:
        _keep_head[n_channels, THREADS, stream](rows, n_lags, seen, first, levels.head[level])
    levels.chunks[level] += 1
    if levels.chunks[level] == levels.block_chunks[level]:
        _next_block(level, levels, stream)


def _promote(level: int, count: int, levels: Levels, stream: Any) -> None:
    n_lags = levels.head.shape[1]
    begin = 0
    if levels.unpaired[level]:
        begin = -1 if levels.seen[level] else 1
    n_pairs = max(0, (count - begin) // 2)
    at = n_lags + int(levels.waiting[level + 1])
    if n_pairs:
        pair_means(levels.rows[level], n_lags + begin, n_pairs, levels.rows[level + 1][:, at:], stream)
    levels.waiting[level + 1] += n_pairs


def _advance(level: int, count: int, pairs: Pairs, levels: Levels, stream: Any) -> None:
    n_lags, n_channels = levels.head.shape[1:]
    rows, begins = levels.rows[level], levels.seen[level] == 0
    if level == 0:
        if begins:
            row_sums(rows, n_lags, count, levels.reference, stream)
        _subtract_mean[n_channels, THREADS, stream](rows, n_lags, count, levels.reference, begins)
    _sum_waiting(level, count, pairs, levels, stream)
    if level + 1 < len(levels.rows):
        _promote(level, count, levels, stream)
    levels.waiting[level] -= count
    levels.seen[level] += count
    keep = n_lags + int(levels.waiting[level])
    _move_to_front[-(-n_channels // THREADS), THREADS, stream](rows, count, keep)


def _cascade(level: int, pairs: Pairs, levels: Levels, stream: Any) -> None:
    chunk = (levels.rows.shape[2] - levels.head.shape[1]) * 2 // 3
    while level < len(levels.rows) and levels.waiting[level] >= chunk:
        _advance(level, chunk, pairs, levels, stream)
        level += 1


def multitau_extend(samples: Any, pairs: Pairs, levels: Levels, stream: Any = 0) -> None:
    """Add samples (n, n_channels), a device array, to a multi-tau correlator; see `correlation_cpu`."""
    n_lags, n_channels = levels.head.shape[1:]
    chunk, taken = (levels.rows.shape[2] - n_lags) * 2 // 3, 0
    while taken < len(samples):
        count = min(len(samples) - taken, chunk - int(levels.waiting[0]))
        at = n_lags + int(levels.waiting[0])
        _transpose_into[n_channels, THREADS, stream](samples[taken : taken + count], at, levels.rows[0])
        levels.waiting[0] += count
        taken += count
        _cascade(0, pairs, levels, stream)


def multitau_finish(pairs: Pairs, levels: Levels, stream: Any = 0) -> None:
    """Sum the remaining samples of every level; none can be added afterwards, so pass a copy of the state."""
    for level in range(len(levels.rows)):
        if levels.waiting[level]:
            _advance(level, int(levels.waiting[level]), pairs, levels, stream)
        _cascade(level + 1, pairs, levels, stream)
