"""The base class of all readers: `Trajectory`, an iterable of `Frame` that names file and frame in every error.

A reader yields a `FrameRecord` per frame of its file (`_records`). The base class makes frames of them in these steps:

1. the first records decide how frames get their times (`fluxan.trajectory.times`),
2. each record becomes a `Frame`, whose constructor checks shapes and values,
3. leapfrog velocities are moved to the time of the positions, where the file has forces,
4. each frame is compared with the one before (`fluxan.trajectory.continuity`),
5. the first two frames are checked for plausible units (`fluxan.trajectory.plausibility`).
"""

from __future__ import annotations

import sys
import warnings
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.display import Displayed, cell_kind, cell_lengths, composition, formula
from fluxan.errors import FluxanError, HalfStepWarning, InputError, TrajectoryError, TrajectoryWarning
from fluxan.system import Frame, hand_over
from fluxan.trajectory.continuity import Continuity
from fluxan.trajectory.plausibility import Plausibility
from fluxan.trajectory.times import N_FIRST, Clock, decide_clock, steps_grow
from fluxan.units import MASS_VELOCITY2, VELOCITY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from fluxan.trajectory.frame_record import FrameRecord
    from fluxan.trajectory.reader_options import ReaderOptions

#: Bytes that a reader reads at once: few enough to bound its memory, enough to make the cost of a call negligible.
BLOCK_BYTES = 1 << 22

#: A trajectory is identified by the SHA-256 of this many of its first bytes, since it may grow while it is read.
IDENTITY_BYTES = 1 << 20


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Turn an `InputError` into a `TrajectoryError` that begins with `place`, e.g. the file and frame it came from."""
    try:
        yield
    except InputError as error:
        raise TrajectoryError(f"{place}: {error}") from error


class Trajectory(Displayed, ABC):
    """An iterable of `Frame`; iterating again starts over.

    Attributes
    ----------
    path : Path or None
        The file, if there is one.
    name : str
        Name of the trajectory in messages.
    format : str
        Name of the file format.
    has_time : bool
        Whether the frames carry physical times (ps); otherwise ``time`` counts the file's frames. Decided when the
        first frames are read: stored times that do not grow are not used.
    model_text : str or None
        Description of the model (TOML) that a fluxan writer stored with the trajectory.
    calculator : object or None
        The ASE calculator of the atoms, if they carry one.
    half_step : bool
        Whether the stored velocities are those of half an MD step before the positions.
    md_step : float or None
        MD time step, ps, where it is known.
    hands_over : bool
        Whether records own their positions and velocities, so that frames take the arrays without a copy.
    velocity_factor : float
        Å/ps per stored number.
    time_problem : str or None
        Why stored times cannot be used, where the file holds some.
    timestep_wins : bool
        Whether the option ``timestep`` takes precedence over times that the file holds.
    seeks : bool
        Whether a frame can be reached without unpacking or parsing those before it.
    notes : list of str
        Messages for the user, e.g. that velocities are those of half steps.
    """

    format = "trajectory"
    hands_over = True
    seeks = True
    timestep_wins = False
    calculator: object | None = None
    model_text: str | None = None
    time_problem: str | None = None
    velocity_factor = 1.0
    _lacking_forces = "the file has no forces"

    def __init__(self, source: str | Path | None, options: ReaderOptions, *, name: str | None = None) -> None:
        self.path = None if source is None else Path(source)
        self.name = name or (self.path.name if self.path is not None else self.format)
        self.options = options
        self.has_time = True
        self.notes: list[str] = []
        self.half_step = False
        self.md_step: float | None = None
        self._clock: Clock | None = None
        self._counts_steps = True
        self._questioned = False
        #: Index of a frame and the offset of its first byte, from which reading of later frames may start.
        self._mark = (0, 0)

    @abstractmethod
    def _records(self, indices: range) -> Iterator[FrameRecord]:
        """Yield the file's frames `indices`, whose stop may be far beyond the last frame; other frames are skipped.

        A frame that is truncated or unreadable raises `TrajectoryError` once the frames before it have been yielded.
        """

    def _file_frames(self) -> int | None:
        """Number of whole frames in the file, or None where that is known only after reading all of it."""
        return None

    @property
    def n_frames(self) -> int | None:
        """Number of selected frames, or None where the format does not store it."""
        total = self._file_frames()
        return None if total is None else len(self._indices(0, total))

    def __len__(self) -> int:
        """Return the number of selected frames; raises `TypeError` where the format does not store it."""
        n_frames = self.n_frames
        if n_frames is None:
            raise TypeError(f"{self.name}: the number of frames is not known before all are read")
        return n_frames

    def __iter__(self) -> Iterator[Frame]:
        """All selected frames from the first."""
        return self.frames()

    def frames(self, *, start: int = 0) -> Iterator[Frame]:
        """Yield the selected frames, beginning with number `start` of the selection.

        Raises
        ------
        TrajectoryError
            At the first frame that is truncated or broken, or that does not continue the frame before.
        """
        check = None if start or self._questioned else Plausibility(self)
        for frame in self._continued(start):
            if check is not None and check.look(frame):
                self._questioned, check = True, None
            yield frame
        if check is not None:
            check.finish()

    def _continued(self, start: int) -> Iterator[Frame]:
        """Yield frames from number `start` of the selection, each compared with the one before."""
        before: Continuity | None = None
        indices = self._indices(start, None)
        for index, record in zip(indices, self._settled(start), strict=False):
            with self.naming(index):
                frame = self._frame(record, index)
                if before is not None:
                    before.check(frame, record)
            spacing = 0.0 if self._clock is None else self._clock.spacing
            before = Continuity(frame, record.ids, record.step, self.has_time, spacing)
            yield frame

    def _settled(self, start: int) -> Iterator[FrameRecord]:
        """Yield records from number `start` of the selection, after choosing the clock.

        The clock is chosen from the first frames of the whole selection, so that a frame has the same time wherever
        reading starts.
        """
        records = self._records(self._indices(start, None))
        first: list[FrameRecord] = []
        fault: FluxanError | None = None
        if self._clock is None:
            every = self._indices(0, None)
            source = records if start == 0 else self._records(every)
            try:
                first.extend(islice(source, N_FIRST))  # keeps the records before a broken one
            except FluxanError as error:
                fault = error
            self._counts_steps = steps_grow(self, first)
            if not self._counts_steps:
                first = [replace(record, step=None) for record in first]
            self._clock = decide_clock(self, first, every)
            self.has_time = self._clock.has_time
        if start == 0:
            yield from first
            if fault is not None:
                raise fault
        yield from records if self._counts_steps else (replace(record, step=None) for record in records)

    def info(self) -> dict[str, Any]:
        """Describe the trajectory by its header and first frames, as plain values for printing or JSON."""
        frames = []
        for frame in self.frames():
            frames.append(frame)
            if len(frames) == 2:
                break
        if not frames:
            raise TrajectoryError(f"{self.name}: no frame is selected (start={self.options.start})")
        first = frames[0]
        step = frames[1].time - first.time if len(frames) == 2 else None
        n_frames = self.n_frames if self.n_frames is not None else self._count()
        return {
            "format": self.format,
            "n_frames": n_frames,
            "n_atoms": first.n_atoms,
            "elements": composition(first.numbers),
            "velocities": first.velocities is not None,
            "has_time": self.has_time,
            "time_range": [first.time, self._last_time(first, n_frames, step)],
            "time_step": step,
            "cell": cell_kind(first.cell, first.pbc),
            "model": self.model_text is not None,
            "notes": list(self.notes),
        }

    def _facts(self) -> dict[str, str]:
        options = self.options
        chosen = f"{options.start}:{'' if options.stop is None else options.stop}:{options.stride}"
        facts = {"name": self.name, "format": self.format, "selected": "" if chosen == "0::1" else chosen}
        try:
            n_frames = self.n_frames
            first = next(iter(self._records(self._indices(0, None))), None)
        except (FluxanError, OSError) as error:
            return facts | {"trouble": str(error)}
        facts["frames"] = "not counted" if n_frames is None else str(n_frames)
        if first is None:
            return facts
        return facts | {
            "composition": formula(first.numbers),
            "atoms": str(len(first.numbers)),
            "cell": cell_lengths(first.cell, first.pbc),
            "velocities": "yes" if first.velocities is not None else "no",
        }

    def identity(self) -> dict[str, str]:
        """File name and SHA-256 of its first MiB; both empty for data without a file."""
        if self.path is None:
            return {"name": "", "sha256": ""}
        with self.path.open("rb") as file:
            return {"name": self.path.name, "sha256": sha256(file.read(IDENTITY_BYTES)).hexdigest()}

    def naming(self, index: int) -> AbstractContextManager[None]:
        """Name this file and frame `index` in an `InputError`."""
        return naming(f"{self.name}, frame {index}")

    def _begin_near(self, index: int) -> tuple[int, int]:
        """Return a frame at or before `index` whose offset in the file is known, and that offset, bytes."""
        return self._mark if self.seeks and self._mark[0] <= index else (0, 0)

    def _indices(self, start: int, total: int | None) -> range:
        """File indices of the selected frames, beginning with number `start` of the selection."""
        options = self.options
        ends = [n for n in (options.stop, total) if n is not None]
        return range(options.start + start * options.stride, min(ends, default=1 << 62), options.stride)

    def _frame(self, record: FrameRecord, index: int) -> Frame:
        time = float(index) if self._clock is None else self._clock.time(record, index)
        for array in (record.positions, record.velocities) if self.hands_over else ():
            if array is not None:
                hand_over(array)
        frame = Frame(record.positions, record.velocities, record.cell, record.numbers, record.masses, time, record.pbc)
        return self._full_step(frame, record) if self.half_step and frame.velocities is not None else frame

    def _full_step(self, frame: Frame, record: FrameRecord) -> Frame:
        """Return the frame with v(t) = v(t − Δt/2) + F(t)/m Δt/2, where the forces F and the MD step Δt are known."""
        if record.forces is None or self.md_step is None:
            lacking = self._lacking_forces if record.forces is None else "timestep= is not given"
            self.warn(
                f"velocities belong to half an MD step before the positions (leapfrog) and stay so, since {lacking}; "
                "leapfrog=False if they do not",
                HalfStepWarning,
            )
            return frame
        self.warn(
            "velocities belonged to half an MD step before the positions (leapfrog) and were moved there with the "
            "file's forces (exact without constraints); leapfrog=False if they did not",
            HalfStepWarning,
        )
        kick = 0.5 * self.md_step / MASS_VELOCITY2 / np.asarray(frame.masses)[:, None]
        return frame.replace(velocities=frame.velocities + kick * record.forces)

    def unit_advice(self, unit: str) -> str:
        """Advise how to read velocities in another unit, one of `fluxan.units.VELOCITY`."""
        return f"{unit} (multiply them by {VELOCITY[unit] / self.velocity_factor:.6g})"

    def note(self, message: str) -> bool:
        """Add a message to `notes`; returns whether it is new."""
        new = message not in self.notes
        if new:
            self.notes.append(message)
        return new

    def warn(self, message: str, category: type[Warning] = TrajectoryWarning) -> None:
        """Add a message to `notes` and warn, once per trajectory."""
        if self.note(message):
            warnings.warn(f"{self.name}: {message}", category, stacklevel=_levels_to_user())

    def _count(self) -> int | None:
        return None

    def _last_time(self, first: Frame, n_frames: int | None, step: float | None) -> float | None:
        """Time of the last selected frame, without reading all of them."""
        if n_frames is None or step is None:
            return first.time if n_frames == 1 else None
        last = next(iter(self.frames(start=n_frames - 1)), None)
        return None if last is None else last.time


def _levels_to_user() -> int:
    """``stacklevel`` that makes a warning point at the caller's line outside fluxan, where there is one."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("fluxan."):
        frame, level = frame.f_back, level + 1
    return level
