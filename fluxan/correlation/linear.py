"""State of a linear correlator while samples are added: segments are Fourier-transformed and summed as spectra.

A segment of M samples, padded with zeros to 2M, has the spectrum A_s. Samples up to M apart lie in one segment or in
adjacent ones, so Σ_s conj(A_s + (-1)^f A_(s-1)) A_s, transformed back once, gives the sums of products of all of them.
Each sample is transformed once; the usual overlap-save method transforms it twice. |A_s|² at even frequencies are the
spectra of the unpadded segments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .layout import N_BLOCKS
from .moments import Blocks, Ends, level_moments
from .summary import Segments, Summary

if TYPE_CHECKING:
    from .layout import CorrelatorLayout

#: Arrays of the state, in the order of the file.
STATE = (
    "padded", "counters", "reference", "previous", "spectra", "power", "power_sums", "head", "tail",
    "products", "sums", "counts",
)  # fmt: skip
#: Elements of `counters`: samples of the current batch, samples already summed, segments in the power spectrum, index
#: of the current block, batches in it, batches of a full block.
COUNTERS = ("waiting", "seen", "n_segments", "block", "batches", "block_batches")


class LinearStream:
    """Sums over one series without gaps, to which samples are added.

    Parameters
    ----------
    layout : CorrelatorLayout
        Settings.
    start : int
        Index of the first sample, where this series continues earlier ones.
    """

    def __init__(self, layout: CorrelatorLayout, start: int = 0) -> None:
        n, channels, n_pairs = layout.segment, layout.n_channels, len(layout.pairs)
        self.layout = layout
        self.start = start
        self._padded = np.zeros((channels, layout.batch, 2 * n))
        self._counters = np.array([0, 0, 0, 0, 0, 1], dtype=np.int64)
        self._reference = np.zeros(channels)
        self._previous = np.zeros((channels, n + 1), dtype=np.complex128)
        self._spectra = np.zeros((2, n_pairs, n + 1))  # real and imaginary parts, of the current block
        self._power = np.zeros((2, len(layout.spectral_pairs), n // 2 + 1))
        self._power_sums = np.zeros(channels)
        self._head = np.zeros((channels, layout.max_lag))
        self._tail = np.zeros((channels, layout.max_lag))
        self._products = np.zeros((N_BLOCKS, n_pairs, layout.n_lags))
        self._sums = np.zeros((N_BLOCKS, channels))
        self._counts = np.zeros(N_BLOCKS, dtype=np.int64)
        self._work = _Work(layout)

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self._get("seen") + self._get("waiting")

    def extend(self, samples: np.ndarray) -> None:
        """Add samples, (n, n_channels) float64; sums are over whole batches, however samples are divided into calls."""
        from fluxan.kernels.spectra import fill_segments

        full, taken = self.layout.batch * self.layout.segment, 0
        while taken < len(samples):
            waiting = self._get("waiting")
            count = min(len(samples) - taken, full - waiting)
            fill_segments(samples[taken : taken + count], self.layout.segment, waiting, self._padded)
            taken += count
            self._set("waiting", waiting + count)
            if waiting + count == full:
                self._sum_batch()

    def arrays(self) -> dict[str, np.ndarray]:
        """State as arrays by name, for a file."""
        return {name: getattr(self, f"_{name}") for name in STATE}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Set the state to that of `arrays`."""
        for name, array in self.arrays().items():
            array[...] = arrays[name]

    def summary(self) -> Summary:
        """Sums over all samples so far, computed on a copy of the state."""
        closed = LinearStream(self.layout, self.start)
        closed.restore(self.arrays())
        return closed._close()

    def _close(self) -> Summary:
        layout = self.layout
        if self._get("waiting"):
            self._sum_batch()
        if self._get("batches"):
            self._close_block()
        seen, used = self._get("seen"), self._counts > 0
        n = min(seen, layout.max_lag)
        nothing = np.zeros(layout.n_channels)
        ends = Ends(self._head[:, :n].T, self._tail[:, layout.max_lag - n :].T, nothing, nothing)
        blocks = Blocks(self._counts[used], self._sums[used], self._products[used].transpose(0, 2, 1))
        moments = level_moments(self._products.sum(axis=0).T, seen, ends, blocks)
        power = self._power[0] + 1j * self._power[1]
        segments = Segments(power, self._power_sums, self._get("n_segments"), layout.segment)
        stop = self.start + seen
        return Summary(layout, self._reference, (moments,), (ends,), self.start, stop, seen, segments)

    def _sum_batch(self) -> None:
        """Add the current batch to the sums; at the end of the series it may be incomplete."""
        from fluxan.kernels.spectra import cross_spectra

        layout, work, count = self.layout, self._work, self._get("waiting")
        whole = count // layout.segment
        sums = self._center(count)
        used = -(-count // layout.segment)
        for family in layout.families:
            for position, channel in enumerate(family.channels):
                work.transform(position, self._padded[channel, :used], self._previous[channel])
            cross_spectra(*work.joined, *work.own, *family.pairs, *self._spectra)
            work.own[:, :, whole:] = 0.0  # the power spectrum is that of full segments
            cross_spectra(*work.own, *work.own, *family.spectral_pairs, *self._power)
        self._keep_ends(count)
        self._power_sums += sums[:, :whole].sum(axis=1)
        self._sums[self._get("block")] += sums.sum(axis=1)
        self._counts[self._get("block")] += count
        for name, step in (("seen", count), ("waiting", -count), ("n_segments", whole), ("batches", 1)):
            self._add(name, step)
        if self._get("batches") == self._get("block_batches"):
            self._close_block()

    def _center(self, count: int) -> np.ndarray:
        """Subtract the reference, the mean of the first batch, from the current batch.

        Returns
        -------
        (n_channels, batch) float64
            Sums over the samples of each segment.
        """
        from fluxan.kernels.spectra import segment_sums, subtract_reference

        length = self.layout.segment
        sums = np.empty(self._padded.shape[:2])
        if not self._get("seen"):
            segment_sums(self._padded, length, count, sums)
            self._reference[:] = sums.sum(axis=1) / count
        subtract_reference(self._padded, length, count, self._reference)
        segment_sums(self._padded, length, count, sums)
        return sums

    def _keep_ends(self, count: int) -> None:
        """Keep the first and last `max_lag` samples of the series, for joining it with other parts."""
        n, length, seen = self.layout.max_lag, self.layout.segment, self._get("seen")
        used = -(-count // length)
        if seen < n:
            first = min(n - seen, count)
            start = self._padded[:, : -(-first // length), :length].reshape(self.layout.n_channels, -1)
            self._head[:, seen : seen + first] = start[:, :first]
        begin = max(0, used - 1 - (count % length > 0))
        end = self._padded[:, begin:used, :length].reshape(self.layout.n_channels, -1)[:, : count - begin * length]
        if end.shape[1] < n:
            end = np.concatenate([self._tail, end], axis=1)
        self._tail[:] = end[:, -n:]

    def _close_block(self) -> None:
        """Transform the spectra of the current block back; when all blocks are full, adjacent ones are merged."""
        from fluxan.kernels.correlation_cpu import merge_blocks

        n_lags, block = self.layout.n_lags, self._get("block")
        n_even = self.layout.segment // 2 + 1
        spectra = np.empty(self._spectra.shape[1:], dtype=np.complex128)
        for part, split in zip((spectra.real, spectra.imag), self._spectra, strict=True):
            part[:, ::2], part[:, 1::2] = split[:, :n_even], split[:, n_even:]
        self._products[block] += np.fft.irfft(spectra)[:, :n_lags]
        self._spectra[:] = 0.0
        self._set("batches", 0)
        self._set("block", block + 1)
        if block + 1 == N_BLOCKS:
            for blocks in (self._products, self._sums, self._counts):
                merge_blocks(blocks.reshape(N_BLOCKS, -1))
            self._set("block", N_BLOCKS // 2)
            self._set("block_batches", 2 * self._get("block_batches"))

    def _get(self, name: str) -> int:
        return int(self._counters[COUNTERS.index(name)])

    def _set(self, name: str, value: int) -> None:
        self._counters[COUNTERS.index(name)] = value

    def _add(self, name: str, step: int) -> None:
        self._counters[COUNTERS.index(name)] += step


class _Work:
    """Scratch arrays: spectra of one batch, real and imaginary parts separate."""

    def __init__(self, layout: CorrelatorLayout) -> None:
        shape = (2, max(len(family.channels) for family in layout.families), layout.batch)
        self.joined = np.empty((*shape, layout.segment + 1))
        self.own = np.empty((*shape, layout.segment + 1))

    def transform(self, position: int, segments: np.ndarray, previous: np.ndarray) -> None:
        """Transform one channel's padded segments, (n, 2 · segment)."""
        from fluxan.kernels.spectra import split_spectra

        n = len(segments)
        parts = [part for array in (self.joined, self.own) for part in array[:, position]]
        spectra = np.fft.rfft(segments).view(np.float64)
        split_spectra(spectra, previous.view(np.float64), *(part[:n] for part in parts))
        for part in parts:
            part[n:] = 0.0
