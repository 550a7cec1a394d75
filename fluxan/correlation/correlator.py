"""The correlator: from samples, in blocks of any length, to correlation functions, spectra and block covariances."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.display import Displayed
from fluxan.errors import FileError, InputError

from .correlation_function import Correlation, LevelCovariances
from .layout import CorrelatorLayout, make_layout
from .linear import LinearStream
from .multitau import MultitauStream
from .state_file import read_state, with_prefix, write_state
from .summary import Summary, summary_arrays, summary_from_arrays

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from .spectral_density import PowerSpectrum

_STREAMS: dict[str, type[LinearStream | MultitauStream]] = {"linear": LinearStream, "multitau": MultitauStream}
#: Single samples that are collected before they are summed.
_BUFFER = 512
#: Samples that are checked, converted and summed at once: memory does not grow with the length of an update.
_SLICE = 65536


class Correlator(Displayed):
    """Streaming correlation functions of many channels, on one thread and in bounded memory.

    The state depends, bit for bit, only on the samples: not on their division into blocks, nor on saving and loading.

    Parameters
    ----------
    n_channels : int
        Channels per sample.
    max_lag : int
        Longest lag, in samples; for a conductivity at least three decay times of the slowest motion.
    scheme : str
        "linear": every lag up to `max_lag`, by Fourier transforms. "multitau": lags over decades, between block means
        that lengthen with the lag (Ramírez et al., J. Chem. Phys. 133, 154103 (2010)).
    pairs : str or list of (int, int)
        "all"; "auto": each channel with itself; "same-xyz": equal components of vectors, whose channels are x, y, z of
        the first, then of the second, …; or pairs (a, b) of channels.
    time_step : float
        Sampling interval, ps.
    points_per_level : int
        Lags of every multi-tau level, 0 to points_per_level - 1; rounded up to a multiple of 8.
    segment : int, optional
        Samples per segment of the linear scheme, at least `max_lag`; sets the resolution of the spectrum. Rounded up to
        a length with a fast transform.
    start : int
        Index of the first sample, where this series continues earlier ones; see `combine`.

    Raises
    ------
    InputError
        A setting has an invalid value.
    """

    def __init__(
        self,
        n_channels: int,
        *,
        max_lag: int,
        scheme: str = "linear",
        pairs: str | Iterable[tuple[int, int]] = "all",
        time_step: float = 1.0,
        points_per_level: int = 32,
        segment: int | None = None,
        start: int = 0,
    ) -> None:
        if isinstance(start, bool) or not isinstance(start, (int, np.integer)) or start < 0:
            raise InputError(f"start is {start!r}, expected the index of a sample")
        layout = make_layout(
            n_channels,
            max_lag=max_lag,
            scheme=scheme,
            pairs=pairs,
            time_step=time_step,
            points_per_level=points_per_level,
            segment=segment,
        )
        self._begin(layout, int(start))

    def _begin(self, layout: CorrelatorLayout, start: int) -> None:
        self.layout = layout
        self._stream = _STREAMS[layout.scheme](layout, start)
        self._before: Summary | None = None  # earlier parts, which this series continues
        self._others: Summary | None = None  # independent runs
        self._buffer = np.empty((_BUFFER, layout.n_channels))
        self._buffered = 0
        self._row_shape = (layout.n_channels,)
        self._float64 = self._buffer.dtype

    @property
    def n_channels(self) -> int:
        """Channels per sample."""
        return self.layout.n_channels

    @property
    def n_samples(self) -> int:
        """Number of samples, over all parts and runs."""
        parts = [part.n_samples for part in (self._before, self._others) if part is not None]
        return self._stream.n_samples + self._buffered + sum(parts)

    def _facts(self) -> dict[str, str]:
        return self.layout.facts() | {"samples": str(self.n_samples)}

    def update(self, samples: np.ndarray) -> None:
        """Add samples to the series.

        Parameters
        ----------
        samples : (n, n_channels) array, or one sample (n_channels,)
            Samples, one per time step.

        Raises
        ------
        InputError
            Wrong number of channels, not real numbers, or a sample that is not finite; nothing is added then.
        """
        # Fast path for single samples of a running simulation.
        if type(samples) is np.ndarray and samples.shape == self._row_shape and samples.dtype is self._float64:
            total = sum(samples.tolist())  # cheapest test for NaN and infinity; an overflow takes the general path
            if total - total == 0.0:
                row = self._buffered
                self._buffer[row] = samples
                self._buffered = row + 1
                if row + 1 == _BUFFER:
                    self._drain()
                return
        self._update_block(samples)

    def _update_block(self, samples: np.ndarray) -> None:
        samples = np.asarray(samples)
        if samples.shape == self._row_shape:
            samples = samples[None]
        if samples.ndim != 2 or samples.shape[1] != self.n_channels:
            raise InputError(
                f"samples have the shape {samples.shape}, expected (n, {self.n_channels}) or ({self.n_channels},)"
            )
        if samples.dtype.kind not in "fiu":
            raise InputError(f"samples are of type {samples.dtype}, expected real numbers")
        for at, block in _slices(samples):
            self._require_finite(block, at)
        self._drain()
        for _, block in _slices(samples):
            self._stream.extend(block)

    def _require_finite(self, samples: np.ndarray, at: int) -> None:
        from fluxan.kernels.correlation_cpu import nonfinite_row

        row = nonfinite_row(samples)
        if row >= 0:
            channel = int(np.argmin(np.isfinite(samples[row])))
            raise InputError(
                f"sample {self.n_samples + at + row} of the series is {samples[row, channel]} in channel {channel}; "
                "samples must be finite, none of this update was added"
            )

    def _drain(self) -> None:
        if self._buffered:
            self._stream.extend(self._buffer[: self._buffered])
            self._buffered = 0

    def _own_summary(self) -> Summary:
        self._drain()
        summary = self._stream.summary()
        return summary if self._before is None else self._before.followed_by(summary)

    def _summary(self) -> Summary:
        own = self._own_summary()
        return own if self._others is None else own.pooled(self._others)

    def _require_samples(self) -> Summary:
        summary = self._summary()
        if not summary.n_samples:
            raise InputError("the correlator has no samples yet: update it first")
        return summary

    def combine(self, other: Correlator, *, contiguous: bool = False) -> None:
        """Add the samples of another correlator.

        Parameters
        ----------
        other : Correlator
            With the same settings; not changed.
        contiguous : bool
            False for an independent run. True for the part that continues this series: products across the junction are
            added, and the result is that of the whole series to round-off. Such parts are created with `start`.

        Raises
        ------
        InputError
            Other settings, or a part that does not start where this one stops.
        """
        if not isinstance(other, Correlator):
            raise InputError(f"only correlators can be combined, got {type(other).__name__}")
        difference = self.layout.difference(other.layout)
        if difference:
            raise InputError(f"correlators with other settings cannot be combined: {difference}")
        if not contiguous:
            theirs = other._summary()
            self._others = theirs if self._others is None else self._others.pooled(theirs)
            return
        if self._others is not None or other._others is not None:
            raise InputError("contiguous parts must not hold independent runs: combine the parts of each run first")
        mine, theirs = self._own_summary(), other._own_summary()
        if theirs.start != mine.stop:
            raise InputError(
                f"the part begins at sample {theirs.start}, this series stops at {mine.stop}: "
                f"begin it with Correlator(..., start={mine.stop})"
            )
        self._before = mine.followed_by(theirs)
        self._stream = _STREAMS[self.layout.scheme](self.layout, theirs.stop)

    def mean(self) -> np.ndarray:
        """Mean of each channel, (n_channels,)."""
        summary = self._require_samples()
        return summary.reference + summary.levels[0].mean()

    def correlation(self, *, remove_mean: bool = False) -> Correlation:
        """Correlation functions C_ab(τ) = ⟨a(0) b(τ)⟩.

        Parameters
        ----------
        remove_mean : bool
            Subtract the means of the whole series from a and b; a heat flux in equilibrium has mean zero.

        Raises
        ------
        InputError
            There are no samples yet.
        """
        summary = self._require_samples()
        layout = self.layout
        d = summary.offset(remove_mean=remove_mean)
        columns: list[tuple[np.ndarray, ...]] = []
        for level, moments in enumerate(summary.levels):
            # Coarser levels give the lags beyond those of the finer ones.
            lags = np.arange(layout.n_lags)[moments.counts > 0] << level
            keep = (lags >= (layout.n_lags // 2 << level if level else 0)) & (lags <= layout.max_lag)
            values, errors = moments.covariances(d, layout), moments.errors(d, layout)
            counts = moments.counts[moments.counts > 0]
            columns.append(tuple(part[keep] for part in (lags, values, errors, counts, np.full_like(lags, 1 << level))))
        lags, values, errors, counts, widths = (np.concatenate(parts) for parts in zip(*columns, strict=True))
        return Correlation(lags, layout.time_step, layout.square(values), layout.square(errors), counts, widths)

    def level_covariances(self, *, remove_mean: bool = False) -> list[LevelCovariances]:
        """Covariances of block means at all levels of the multi-tau scheme that have data, finest first.

        Raises
        ------
        InputError
            There are no samples yet, or the scheme is linear.
        """
        if self.layout.scheme != "multitau":
            raise InputError("covariances of block means need scheme='multitau'; the linear scheme has .spectrum()")
        summary, layout = self._require_samples(), self.layout
        d = summary.offset(remove_mean=remove_mean)
        return [
            LevelCovariances(
                width=1 << level,
                n_blocks=int(moments.counts[0]),
                time_step=layout.time_step * (1 << level),
                values=layout.square(moments.covariances(d, layout)),
                counts=moments.counts[moments.counts > 0],
            )
            for level, moments in enumerate(summary.levels)
            if moments.counts[0]
        ]

    def spectrum(self, *, remove_mean: bool = False) -> PowerSpectrum:
        """Cross-spectral densities S_ab(f) = Σ_τ C_ab(τ) exp(-2πi f τ) Δt, two-sided, averaged over whole segments.

        Raises
        ------
        InputError
            No segment is full yet, or the scheme is multi-tau.
        """
        from .spectral_density import PowerSpectrum

        if self.layout.scheme != "linear":
            raise InputError("spectra need scheme='linear'; the multi-tau scheme has .level_covariances()")
        summary, layout = self._require_samples(), self.layout
        segments = summary.segments
        if segments is None or not segments.n:
            raise InputError(f"{summary.n_samples} samples fill no segment of {layout.segment}: give more samples")
        segments = segments.shifted(summary.offset(remove_mean=remove_mean), layout)
        power = segments.power.T * (layout.time_step / (segments.length * segments.n))
        return PowerSpectrum.from_periodogram(
            layout.square(power, spectral=True),
            time_step=layout.time_step,
            length=segments.length,
            n_segments=segments.n,
        )

    def save(self, path: str | Path) -> None:
        """Write the state to a file, from which `load` continues bit for bit.

        Raises
        ------
        OutputError
            The file cannot be written; an existing one stays unchanged.
        """
        self._drain()
        arrays = {f"stream_{name}": array for name, array in self._stream.arrays().items()}
        described: dict[str, Any] = {"layout": asdict(self.layout), "start": self._stream.start}
        for name, summary in (("before", self._before), ("others", self._others)):
            if summary is not None:
                arrays |= {f"{name}_{key}": array for key, array in summary_arrays(summary).items()}
                described[name] = [summary.start, summary.stop, summary.n_samples]
        write_state(path, arrays, {"settings": json.dumps(described)})

    @classmethod
    def load(cls, path: str | Path) -> Correlator:
        """Read a state written by `save`.

        Raises
        ------
        FileError
            The file is missing, truncated, of another version, or not a correlator's.
        """
        arrays, attributes = read_state(path)
        try:
            described = json.loads(str(attributes["settings"]))
            settings = described["layout"]
            layout = CorrelatorLayout(**(settings | {"pairs": tuple((a, b) for a, b in settings["pairs"])}))
            correlator = cls.__new__(cls)
            correlator._begin(layout, described["start"])
            correlator._stream.restore(with_prefix(arrays, "stream_"))
            for name in ("before", "others"):
                if name in described:
                    summary = summary_from_arrays(layout, with_prefix(arrays, f"{name}_"), described[name])
                    setattr(correlator, f"_{name}", summary)
        except (KeyError, TypeError, ValueError) as error:
            raise FileError(f"{path} is not a complete correlator: {error}") from error
        return correlator


def _slices(samples: np.ndarray) -> Iterable[tuple[int, np.ndarray]]:
    for at in range(0, len(samples), _SLICE):
        yield at, np.ascontiguousarray(samples[at : at + _SLICE], dtype=np.float64)
