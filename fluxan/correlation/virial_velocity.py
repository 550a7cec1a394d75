"""The virial-velocity correlation K(t) = Σ_j ⟨u_j(0)·v_j(t)⟩ of a spectral heat current, by group, from a stream.

u_j = W_jᵀ x with the virial W_j of atom j and a vector x, so that K(0) = ⟨x·J_pot⟩ (Z. Fan et al., Phys. Rev. B 95,
144309 (2017); 99, 064308 (2019)). K(-t) differs from K(t): both are computed.

A ring holds the latest samples of u and v. Products of a batch of new samples with all samples in the ring are two
matrix products per group; sums along their diagonals are the lags.
"""

# Fourier transforms of max_lag samples each take twice the memory. Measured on 3,000 components, they are 1.7 times as
# slow at max_lag = 500 (220 against 130 µs per sample), and 1.9 times as fast at 2,000 (220 against 410).

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fluxan.display import Displayed
from fluxan.errors import InputError, ShortRunError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

#: Samples of a batch; with 32, matrix products are half as fast.
_BATCH: Final = 128
#: Blocks whose sums are kept; when all are full, adjacent ones are merged.
_N_BLOCKS: Final = 32
#: Samples of a block of the result, in units of the longest lag.
_BLOCK_LAGS: Final = 4
#: Samples of the current batch, samples already summed, index of the current block, batches in it and in a full block.
_COUNTERS: Final = ("waiting", "seen", "block", "batches", "block_batches")
_STATE: Final = ("u", "v", "sums", "counts")


@dataclass(frozen=True)
class VirialVelocityCorrelation:
    """Virial-velocity correlation function, by group and block of the series.

    Attributes
    ----------
    time_step : float
        Sampling interval, ps.
    sums : (n_blocks, n_groups, 2 max_lag + 1) float64
        Sums of the products Σ_j u_j(s)·v_j(s + lag) in each block, at lags -max_lag … max_lag.
    counts : (n_blocks, 2 max_lag + 1) int64
        Number of products in each sum.
    """

    time_step: float
    sums: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def lags(self) -> NDArray[np.int64]:
        """Lags in samples, (2 max_lag + 1,); at positive lags the velocity is the later one."""
        return np.arange(self.counts.shape[1]) - self.counts.shape[1] // 2

    @property
    def times(self) -> NDArray[np.float64]:
        """Lags in ps, (2 max_lag + 1,)."""
        return np.asarray(self.lags * self.time_step)

    @property
    def n_samples(self) -> NDArray[np.int64]:
        """Samples of each block, (n_blocks,)."""
        return self.counts[:, self.counts.shape[1] // 2]

    @property
    def values(self) -> NDArray[np.float64]:
        """K at every lag, (2 max_lag + 1, n_groups), over all blocks; eV Å/ps where x is a unit vector."""
        return np.asarray((self.sums.sum(axis=0) / self.counts.sum(axis=0)).T)

    @property
    def block_values(self) -> NDArray[np.float64]:
        """K of each block, (n_blocks, 2 max_lag + 1, n_groups)."""
        return (self.sums / self.counts[:, None]).transpose(0, 2, 1)

    def joined(self, other: VirialVelocityCorrelation) -> VirialVelocityCorrelation:
        """The blocks of both.

        Raises
        ------
        InputError
            Time step, groups or lags differ.
        """
        mine, theirs = ((c.time_step, *c.sums.shape[1:]) for c in (self, other))
        if mine != theirs:
            raise InputError(f"correlations differ in time step, groups or lags: {theirs} and {mine}")
        sums, counts = (np.concatenate([getattr(c, name) for c in (self, other)]) for name in ("sums", "counts"))
        return VirialVelocityCorrelation(self.time_step, sums, counts)


class VirialVelocityCorrelator(Displayed):
    """Streaming virial-velocity correlation, in memory of 6 (max_lag + 256) n_atoms numbers at most.

    The state depends, bit for bit, only on the samples: not on their division into updates, nor on `state` and
    `from_state` in between.

    Parameters
    ----------
    groups : (n_atoms,) int
        Group index of every atom, from 0.
    max_lag : int
        Longest lag, samples.
    time_step : float
        Sampling interval, ps.
    block : int, optional
        Fewest samples of a block of the result, from whose scatter errors are taken: several times the correlation
        time. At least, and by default, 4 max_lag.

    Raises
    ------
    InputError
        A setting has an invalid value.
    """

    def __init__(self, groups: ArrayLike, *, max_lag: int, time_step: float = 1.0, block: int | None = None) -> None:
        self.groups = np.array(groups)
        if self.groups.ndim != 1 or not self.groups.size or self.groups.dtype.kind not in "iu" or self.groups.min() < 0:
            raise InputError("groups must be the index of every atom's group, integers from 0, one per atom")
        for name, value in (("max_lag", max_lag), ("block", 1 if block is None else block)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise InputError(f"{name} is {value!r}, expected a number of samples, 1 or more")
        if not (np.isfinite(time_step) and time_step > 0):
            raise InputError(f"time_step is {time_step!r}, expected a positive number of ps")
        self.max_lag, self.time_step = int(max_lag), float(time_step)
        self.block = max(_BLOCK_LAGS * self.max_lag, int(block or 0))
        # Atoms are sorted by group, so that matrix products need no copy of the ring.
        self._order = np.argsort(self.groups, kind="stable")
        n_groups, n_lags = int(self.groups.max()) + 1, 2 * self.max_lag + 1
        self._borders = 3 * np.searchsorted(self.groups[self._order], np.arange(n_groups + 1))
        n_rows = (-(-self.max_lag // _BATCH) + 1) * _BATCH
        self._u, self._v = (np.zeros((n_rows, 3 * len(self.groups))) for _ in "uv")
        self._sums = np.zeros((_N_BLOCKS, n_groups, n_lags))
        self._counts = np.zeros((_N_BLOCKS, n_lags), dtype=np.int64)
        self._waiting = self._seen = self._block = self._batches = 0
        self._block_batches = 1
        self._others: VirialVelocityCorrelation | None = None

    @property
    def n_samples(self) -> int:
        """Number of samples, of all runs."""
        others = 0 if self._others is None else int(self._others.n_samples.sum())
        return self._seen + self._waiting + others

    def _facts(self) -> dict[str, str]:
        return {
            "atoms": str(len(self.groups)),
            "groups": str(self._sums.shape[1]),
            "longest lag": f"{self.max_lag * self.time_step:g} ps",
            "samples": str(self.n_samples),
        }

    def update(self, u: ArrayLike, v: ArrayLike) -> None:
        """Add one sample or several.

        Parameters
        ----------
        u : (n_atoms, 3) or (n, n_atoms, 3) array
            W_jᵀ x of every atom; eV for a unit vector x.
        v : array of the same shape
            Velocities, Å/ps.

        Raises
        ------
        InputError
            Wrong shapes, or a value that is not finite; nothing is added then.
        """
        samples = []
        for name, given in (("u", u), ("v", v)):
            values = np.asarray(given, dtype=np.float64)
            if values.ndim not in (2, 3) or values.shape[-2:] != (len(self.groups), 3):
                raise InputError(
                    f"{name} has the shape {values.shape}, expected ({len(self.groups)}, 3) for one sample or "
                    f"(n, {len(self.groups)}, 3)"
                )
            finite = np.isfinite(values)
            if not finite.all():
                atom = int(np.argwhere(~finite)[0][-2])
                raise InputError(f"{name} of atom {atom} is not finite; nothing of this update was added")
            samples.append(values.reshape(-1, len(self.groups), 3))
        if len(samples[0]) != len(samples[1]):
            raise InputError(f"u has {len(samples[0])} samples, v has {len(samples[1])}")
        self._extend(*samples)

    def correlation(self) -> VirialVelocityCorrelation:
        """K(t) of all samples so far.

        Raises
        ------
        ShortRunError
            There is no pair of samples at the longest lag yet.
        """
        own = self._seen + self._waiting
        if self._others is not None and not own:
            return self._others
        if own <= self.max_lag:
            raise ShortRunError(
                f"{own} samples have no pair at the longest lag of {self.max_lag} samples: give more samples, "
                "or a shorter longest lag"
            )
        correlation = self._own_correlation()
        return correlation if self._others is None else correlation.joined(self._others)

    def combine(self, other: VirialVelocityCorrelator) -> None:
        """Add the samples of an independent run.

        Raises
        ------
        InputError
            Other settings.
        ShortRunError
            The other run has no pair of samples at the longest lag.
        """
        if not isinstance(other, VirialVelocityCorrelator) or not np.array_equal(self.groups, other.groups):
            raise InputError("only virial-velocity correlators of the same atoms and groups can be combined")
        if (self.max_lag, self.time_step) != (other.max_lag, other.time_step):
            raise InputError(
                f"longest lag and time step differ: {other.max_lag}, {other.time_step:g} ps and "
                f"{self.max_lag}, {self.time_step:g} ps"
            )
        theirs = other.correlation()
        self._others = theirs if self._others is None else self._others.joined(theirs)

    def state(self) -> dict[str, NDArray[Any]]:
        """Copy of the state, as arrays by name, from which `from_state` continues bit for bit."""
        state = {name: getattr(self, f"_{name}").copy() for name in _STATE}
        state |= {
            "counters": np.array([getattr(self, f"_{name}") for name in _COUNTERS]),
            "groups": self.groups.copy(),
            "settings": np.array([self.max_lag, self.block]),
            "time_step": np.array(self.time_step),
        }
        if self._others is not None:
            state |= {"other_sums": self._others.sums.copy(), "other_counts": self._others.counts.copy()}
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> VirialVelocityCorrelator:
        """Correlator with the state that `state` returned.

        Raises
        ------
        InputError
            An array is missing or has another shape.
        """
        try:
            max_lag, block = (int(value) for value in state["settings"])
            time_step = float(state["time_step"])
            correlator = cls(state["groups"], max_lag=max_lag, time_step=time_step, block=block)
            for name in _STATE:
                own = getattr(correlator, f"_{name}")
                if own.shape != state[name].shape:
                    raise InputError(f"{name} has the shape {state[name].shape}, expected {own.shape}")
                own[...] = state[name]
            for name, value in zip(_COUNTERS, state["counters"], strict=True):
                setattr(correlator, f"_{name}", int(value))
            if "other_sums" in state:
                others = (state[name].copy() for name in ("other_sums", "other_counts"))
                correlator._others = VirialVelocityCorrelation(time_step, *others)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"this is not the state of a virial-velocity correlator: {error}") from error
        return correlator

    def _extend(self, u: NDArray[np.float64], v: NDArray[np.float64]) -> None:
        """Add samples, (n, n_atoms, 3); sums are over whole batches, however samples are divided into calls."""
        taken = 0
        while taken < len(u):
            count = min(len(u) - taken, _BATCH - self._waiting)
            at = self._start() + self._waiting
            for ring, samples in ((self._u, u), (self._v, v)):
                ring[at : at + count] = samples[taken : taken + count, self._order].reshape(count, -1)
            taken += count
            self._waiting += count
            if self._waiting == _BATCH:
                self._close_batch()

    def _close_batch(self) -> None:
        """Add the products of a full batch to the current block; when all blocks are full, merge adjacent ones."""
        self._sums[self._block] += self._products(_BATCH)
        self._counts[self._block] += self._pairs(_BATCH)
        self._seen += _BATCH
        self._waiting = 0
        self._batches += 1
        if self._batches == self._block_batches:
            self._block, self._batches = self._block + 1, 0
        if self._block == _N_BLOCKS:
            self._block //= 2
            self._block_batches *= 2
            for blocks in (self._sums, self._counts):
                blocks[: self._block] = blocks[::2] + blocks[1::2]
                blocks[self._block :] = 0

    def _own_correlation(self) -> VirialVelocityCorrelation:
        """Correlation of this run, with blocks of at least `block` samples; the state is not changed."""
        sums, counts, waiting = self._sums.copy(), self._counts.copy(), self._waiting
        if waiting:
            sums[self._block] += self._products(waiting)
            counts[self._block] += self._pairs(waiting)
        starts, length = [0], 0
        for k, n_samples in enumerate(counts[:, self.max_lag]):
            if length >= self.block:
                starts, length = [*starts, k], 0
            length += int(n_samples)
        if length < self.block and len(starts) > 1:
            starts.pop()
        return VirialVelocityCorrelation(
            self.time_step, np.add.reduceat(sums, starts, axis=0), np.add.reduceat(counts, starts, axis=0)
        )

    def _pairs(self, count: int) -> NDArray[np.int64]:
        """Number of pairs at each lag whose later sample is one of the first `count` of the current batch."""
        lags = np.abs(np.arange(-self.max_lag, self.max_lag + 1))
        return np.clip(self._seen + count - lags, 0, count)

    def _products(self, count: int) -> NDArray[np.float64]:
        """Sums of these pairs' products by group and lag, (n_groups, 2 max_lag + 1)."""
        new = slice(self._start(), self._start() + count)
        out = np.empty(self._sums.shape[1:])
        for row, begin, end in zip(out, self._borders[:-1], self._borders[1:], strict=True):
            u, v = self._u[:, begin:end], self._v[:, begin:end]
            row[self.max_lag :] = self._lag_sums(v[new] @ u.T)
            row[: self.max_lag] = self._lag_sums(u[new] @ v.T)[:0:-1]
        return out

    def _lag_sums(self, products: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over pairs by the time from the earlier to the later sample, (max_lag + 1,).

        `products` (n_new, n_rows) has new samples in rows, all samples of the ring in columns.
        """
        n_new, n_rows = products.shape
        before = n_rows - _BATCH
        # From the oldest batch of the ring to the current one: sample i of that is in column before + i.
        ordered = np.ascontiguousarray(np.roll(products, before - self._start(), axis=1))
        # Row i, beginning at its own column i: the lag before - k is column k.
        step = ordered.itemsize
        diagonals = np.lib.stride_tricks.as_strided(ordered, (n_new, before + 1), ((n_rows + 1) * step, step))
        sums: NDArray[np.float64] = diagonals.sum(axis=0)[::-1][: self.max_lag + 1]
        return sums

    def _start(self) -> int:
        """First row of the current batch in the ring."""
        return self._seen % len(self._u)
