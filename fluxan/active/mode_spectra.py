"""Periodograms of the velocities of phonon modes, in one pass over a trajectory.

Frames are collected to blocks of equal length; the velocities of each block are projected on the modes and Fourier
transformed, and the squared moduli are averaged over blocks and over the modes of a set. Memory holds one block of
velocities for each of two averages: over the event-free segments and over the whole trajectory.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from fluxan.active.oscillator_fit import hann
from fluxan.errors import InputError, ShortRunError, TrajectoryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fluxan.active.phonon_modes import PhononModes
    from fluxan.system import Frame

#: Smallest block, in frames: a peak needs a few ordinates beside it.
SMALLEST_BLOCK = 64
#: Modes that are transformed at once.
_MODES_AT_ONCE = 64
#: Largest difference of a frame's time from the regular one, in sampling intervals.
_IRREGULAR = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class ModeSpectra:
    """Mean periodograms of sets of modes.

    Attributes
    ----------
    periodograms : (n_sets, n_samples // 2 + 1) float64
        ``(Δt/N) |Σ_n h(n) v_s(n) exp(−iω_k n)|²``, averaged over modes of a set and blocks, u Å²/ps, with
        the taper h of Hann.
    time_step : float
        Sampling interval Δt, ps.
    n_samples : int
        Frames N in a block.
    n_blocks : int
        Blocks averaged.
    """

    periodograms: np.ndarray
    time_step: float
    n_samples: int
    n_blocks: int


@dataclass(frozen=True, slots=True, eq=False)
class SegmentSpectra:
    """Spectra within the event-free segments and over the whole trajectory.

    Attributes
    ----------
    within : ModeSpectra or None
        From the segments; None where no segment is as long as a block.
    whole : ModeSpectra
        From all frames.
    n_skipped : int
        Segments shorter than a block.
    has_events : bool
        Whether there are frames outside the segments, or several segments.
    """

    within: ModeSpectra | None
    whole: ModeSpectra
    n_skipped: int
    has_events: bool


class _BlockAverage:
    """Mean periodogram over blocks of frames without gaps."""

    def __init__(self, modes: PhononModes, n_samples: int) -> None:
        self.modes, self.n_blocks, self._filled = modes, 0, 0
        self._velocities = np.empty((n_samples, len(modes.masses), 3))
        self._power = np.zeros((n_samples // 2 + 1, len(modes.set_of_mode)))

    def add(self, velocities: np.ndarray) -> None:
        """Take one more frame; a full block is transformed."""
        self._velocities[self._filled] = velocities
        self._filled += 1
        if self._filled == len(self._velocities):
            mode_velocities = self.modes.project(self._velocities)
            taper = hann(len(mode_velocities))[:, None]
            for first in range(0, mode_velocities.shape[1], _MODES_AT_ONCE):
                chunk = slice(first, first + _MODES_AT_ONCE)
                self._power[:, chunk] += np.abs(np.fft.rfft(taper * mode_velocities[:, chunk], axis=0)) ** 2
            self.n_blocks += 1
            self.cut()

    def cut(self) -> None:
        """Begin a new block with the next frame."""
        self._filled = 0

    def result(self, time_step: float) -> ModeSpectra | None:
        """Average over blocks and over the modes of each set; None without a block."""
        if not self.n_blocks:
            return None
        first = np.searchsorted(self.modes.set_of_mode, np.arange(self.modes.n_sets))
        power = np.add.reduceat(self._power, first, axis=1) / self.modes.degeneracies
        n_samples = len(self._velocities)
        return ModeSpectra(power.T * time_step / (n_samples * self.n_blocks), time_step, n_samples, self.n_blocks)


def mode_spectra(
    frames: Iterable[Frame], modes: PhononModes, *, window: float, segments: Sequence[tuple[float, float]] | None = None
) -> SegmentSpectra:
    """Periodograms of the mode velocities of a trajectory.

    Parameters
    ----------
    frames : iterable of Frame
        With velocities, at equal intervals of time; read once.
    modes : PhononModes
        Of the same atoms in the same order.
    window : float
        Length of a block, ps; its inverse is the resolution in THz.
    segments : sequence of (float, float), optional
        First and last time, both included, of each part of the trajectory without an event, ps, in ascending order
        and disjoint. By default the whole trajectory has no event.

    Raises
    ------
    InputError
        The window has too few frames, or segments overlap or are not ascending.
    TrajectoryError
        A frame has no velocities, other atoms, or a time that is not regular.
    ShortRunError
        The trajectory is shorter than the window.
    """
    frames, time_step = _with_time_step(frames)
    n_samples = _samples(window, time_step)
    whole = _BlockAverage(modes, n_samples)
    parts = None if segments is None else _Segments(_checked(segments), _BlockAverage(modes, n_samples))
    n_frames = _collect(frames, whole, parts, time_step=time_step)
    total = whole.result(time_step)
    if total is None:
        raise ShortRunError(
            f"the trajectory has {n_frames} frames, fewer than the {n_samples} of a window of {window:g} ps"
        )
    if parts is None:
        return SegmentSpectra(total, total, 0, has_events=False)
    n_skipped = int((parts.lengths < n_samples).sum())
    has_events = len(parts.lengths) > 1 or int(parts.lengths.sum()) < n_frames
    return SegmentSpectra(parts.blocks.result(time_step), total, n_skipped, has_events)


def _with_time_step(frames: Iterable[Frame]) -> tuple[Iterable[Frame], float]:
    """All frames, and the time between the first two, ps."""
    frames = iter(frames)
    opening = list(islice(frames, 2))
    if len(opening) < 2:
        raise ShortRunError(
            f"the trajectory has {len(opening)} frames; phonon lifetimes need {SMALLEST_BLOCK} and more"
        )
    return chain(opening, frames), opening[1].time - opening[0].time


def _collect(frames: Iterable[Frame], whole: _BlockAverage, parts: _Segments | None, *, time_step: float) -> int:
    """Feed all frames to the averages and count them."""
    before, n_frames = None, 0
    for k, frame in enumerate(frames):
        velocities = _checked_velocities(frame, whole.modes, k, time_step=time_step, before=before)
        whole.add(velocities)
        if parts is not None:
            parts.add(frame.time, velocities, tolerance=_IRREGULAR * time_step)
        before, n_frames = frame, k + 1
    return n_frames


class _Segments:
    """Blocks within the event-free segments; none extends over two of them."""

    def __init__(self, bounds: np.ndarray, blocks: _BlockAverage) -> None:
        self.bounds, self.blocks = bounds, blocks
        self.lengths = np.zeros(len(bounds), dtype=np.int64)
        self._current = -1

    def add(self, time: float, velocities: np.ndarray, *, tolerance: float) -> None:
        """Take one more frame, which counts where a segment contains its time (± tolerance, ps)."""
        segment = int(np.searchsorted(self.bounds[:, 0], time + tolerance, side="right")) - 1
        if segment != self._current:
            self.blocks.cut()
            self._current = segment
        if segment >= 0 and time <= self.bounds[segment, 1] + tolerance:
            self.lengths[segment] += 1
            self.blocks.add(velocities)


def _checked(segments: Sequence[tuple[float, float]]) -> np.ndarray:
    """Segments as an array (n_segments, 2) of ps."""
    bounds = np.array(segments, dtype=np.float64).reshape(-1, 2)
    times = bounds.ravel()
    if not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise InputError("segments must be (start, end) times in ps, ascending, finite and without overlap")
    return bounds


def _samples(window: float, time_step: float) -> int:
    """Frames in a block."""
    if time_step <= 0:
        raise TrajectoryError(f"the second frame is {time_step:g} ps after the first; times must grow")
    n_samples = round(window / time_step) if np.isfinite(window) else 0
    if n_samples < SMALLEST_BLOCK:
        least = f"{SMALLEST_BLOCK * time_step:g} ps ({SMALLEST_BLOCK} frames)"
        raise InputError(
            f"a window of {window:g} ps is too short for frames {time_step:g} ps apart; give {least} or more"
        )
    return n_samples


def _checked_velocities(
    frame: Frame, modes: PhononModes, k: int, *, time_step: float, before: Frame | None
) -> np.ndarray:
    if frame.velocities is None:
        raise TrajectoryError(f"frame {k} has no velocities; lifetimes need a trajectory with velocities")
    if frame.n_atoms != len(modes.masses) or not np.allclose(np.asarray(frame.masses), modes.masses, rtol=0.01):
        raise TrajectoryError(
            f"frame {k}: number or masses of the atoms are not those of the modes; is the order equal?"
        )
    if before is not None and abs(frame.time - before.time - time_step) > _IRREGULAR * time_step:
        gap = f"{frame.time - before.time:g} ps after the frame before, others {time_step:g} ps"
        raise TrajectoryError(f"frame {k} is {gap}; lifetimes need equal intervals")
    return frame.velocities
