"""What every reader shares: `Trajectory`, an iterable of `Frame` that names file and frame in every error."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.display import Displayed, cell_kind, cell_lengths, composition, formula
from fluxan.errors import FluxanError, HalfStepWarning, InputError, TrajectoryError
from fluxan.system import PERIODIC, Frame, hand_over
from fluxan.units import MASS_VELOCITY2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

#: Bytes that a reader asks for at once; bounds its memory, large enough that calls cost nothing.
BLOCK_BYTES = 1 << 22

#: A trajectory is known by the SHA-256 of this many of its first bytes: it may grow while it is read.
IDENTITY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """What the user says about a trajectory that its file does not say.

    Attributes
    ----------
    elements : symbols of LAMMPS types 1, 2, …, or one per atom, or one for all atoms; "Ar,Kr" is split
    topology : a file mdtraj reads, or an mdtraj topology
    timestep : ps per MD step, or per frame where a file counts no steps
    units : of a LAMMPS dump (metal, real, lj), or of an extended XYZ velocity column (`fluxan.units.VELOCITY`)
    start, stop, stride : the frames to read, as in ``range``; none of them negative
    epsilon, sigma, mass : of LAMMPS' reduced units, in eV, Å and u
    leapfrog : whether the velocities belong to half a step before the positions; None lets the file decide
    """

    elements: Sequence[str] | str | None = None
    topology: Any = None
    timestep: float | None = None
    units: str | None = None
    start: int = 0
    stop: int | None = None
    stride: int = 1
    epsilon: float | None = None
    sigma: float | None = None
    mass: float | None = None
    leapfrog: bool | None = None

    def __post_init__(self) -> None:
        """Refuse frame ranges and time steps that select nothing sensible."""
        for name, lowest in (("start", 0), ("stop", 0), ("stride", 1)):
            value = getattr(self, name)
            if value is None and name == "stop":
                continue
            if not isinstance(value, int | np.integer) or value < lowest:
                raise InputError(f"{name} is {value!r}; expected a whole number of frames, at least {lowest}")
        for name in ("timestep", "epsilon", "sigma", "mass"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float | np.number) and 0 < value < np.inf):
                raise InputError(f"{name} is {value!r}; expected a positive number")


@dataclass(slots=True)
class Record:
    """One frame as its file holds it, already in Å, Å/ps, u and ps, not yet checked.

    `time` is None where the file has none (then it is counted); `step` is the MD step, `ids` the atoms'
    identities, `forces` are in eV/Å, all three only where the file has them.
    """

    positions: np.ndarray
    numbers: np.ndarray
    velocities: np.ndarray | None = None
    cell: np.ndarray | None = None
    masses: np.ndarray | None = None
    time: float | None = None
    pbc: tuple[bool, bool, bool] = PERIODIC
    step: int | None = None
    ids: np.ndarray | None = None
    forces: np.ndarray | None = None


@dataclass(slots=True)
class _Continuity:
    """What must not change, or must grow, from one frame to the next."""

    frame: Frame
    ids: np.ndarray | None
    step: int | None
    has_time: bool

    def check(self, frame: Frame, record: Record) -> None:
        """Compare with the frame before."""
        before = self.frame
        if frame.n_atoms != before.n_atoms:
            raise InputError(
                f"has {frame.n_atoms} atoms, the frame before had {before.n_atoms}; the number may not change"
            )
        if not np.array_equal(frame.numbers, before.numbers):
            atom = int(np.flatnonzero(frame.numbers != before.numbers)[0])
            raise InputError(
                f"atom {atom} is element number {frame.numbers[atom]}, in the frame before {before.numbers[atom]}; "
                "the order of the atoms may not change"
            )
        if record.ids is not None and self.ids is not None and not np.array_equal(record.ids, self.ids):
            atom = int(np.flatnonzero(record.ids != self.ids)[0])
            raise InputError(f"the atoms' ids changed: {record.ids[atom]} where {self.ids[atom]} was")
        if (frame.velocities is None) != (before.velocities is None):
            raise InputError(
                "has no velocities, the frames before had"
                if before.velocities is not None
                else "has velocities, the frames before had none"
            )
        if record.step is not None and self.step is not None and record.step <= self.step:
            raise InputError(
                f"MD step {record.step} follows {self.step}; steps must grow (are runs joined or repeated?)"
            )
        if self.has_time and frame.time <= before.time:
            raise InputError(f"time {frame.time:g} ps follows {before.time:g} ps; time must grow")


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Turn an `InputError` into a `TrajectoryError` that names the file, and the frame, it came from."""
    try:
        yield
    except InputError as error:
        raise TrajectoryError(f"{place}: {error}") from error


class Trajectory(Displayed, ABC):
    """An iterable of `Frame`; iterating again starts again.

    Attributes
    ----------
    path : Path or None
        The file, if there is one.
    name : str
        What messages call this trajectory.
    format : str
        Name of the file format.
    has_time : bool
        Whether the frames carry physical times (ps); otherwise ``time`` counts the file's frames.
    model_text : str or None
        Description of the model (TOML) that a fluxan writer stored with the trajectory.
    calculator : object or None
        The ASE calculator of the atoms, if they carry one.
    half_step : bool
        Whether the stored velocities belong to half an MD step before the positions.
    md_step : float or None
        MD time step, ps, where it is known.
    hands_over : bool
        Whether records own their positions and velocities, which nobody writes to any more: frames take them uncopied.
    seeks : bool
        Whether a frame is reached without unpacking or parsing those before it.
    notes : list of str
        What a user should know, e.g. velocities of half steps.
    """

    format = "trajectory"
    hands_over = True
    seeks = True
    calculator: object | None = None
    model_text: str | None = None

    def __init__(self, source: str | Path | None, options: ReaderOptions, *, name: str | None = None) -> None:
        self.path = None if source is None else Path(source)
        self.name = name or (self.path.name if self.path is not None else self.format)
        self.options = options
        self.has_time = True
        self.notes: list[str] = []
        self.half_step = False
        self.md_step: float | None = None
        self._warned = False
        #: A frame of the file and the byte where it begins: reading that starts behind it begins there.
        self._mark = (0, 0)

    @abstractmethod
    def _records(self, indices: range) -> Iterator[Record]:
        """Yield the file's frames `indices` (stop may lie far beyond the end), passing over others cheaply.

        A frame that is cut off or unreadable raises `TrajectoryError` in its turn, not before.
        """

    def _file_frames(self) -> int | None:
        """Whole frames in the file, or None where only reading it to its end would tell."""
        return None

    @property
    def n_frames(self) -> int | None:
        """Number of selected frames, or None where the format does not tell."""
        total = self._file_frames()
        return None if total is None else len(self._indices(0, total))

    def __len__(self) -> int:
        """Return the number of selected frames; a TypeError where the format does not tell."""
        n_frames = self.n_frames
        if n_frames is None:
            raise TypeError(f"{self.name}: the number of frames is not known before all are read")
        return n_frames

    def __iter__(self) -> Iterator[Frame]:
        """All selected frames from the first."""
        return self.frames()

    def frames(self, *, start: int = 0) -> Iterator[Frame]:
        """Yield the selected frames from the `start`-th selected one on.

        Raises
        ------
        TrajectoryError
            At the first frame that is cut, broken, or does not continue the frame before.
        """
        before: _Continuity | None = None
        indices = self._indices(start, None)
        for index, record in zip(indices, self._records(indices), strict=False):
            with self.naming(index):
                frame = self._frame(record, index)
                if before is not None:
                    before.check(frame, record)
            before = _Continuity(frame, record.ids, record.step, self.has_time)
            yield frame

    def info(self) -> dict[str, Any]:
        """Tell what the trajectory holds, read from its header and first frames, as plain values."""
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
        """The last marked frame before `index`, and the byte where it begins."""
        return self._mark if self.seeks and self._mark[0] <= index else (0, 0)

    def _indices(self, start: int, total: int | None) -> range:
        """File indices of the selected frames from the `start`-th on."""
        options = self.options
        ends = [n for n in (options.stop, total) if n is not None]
        return range(options.start + start * options.stride, min(ends, default=1 << 62), options.stride)

    def _frame(self, record: Record, index: int) -> Frame:
        time = record.time
        if time is None and self.options.timestep is not None:
            time = (index if record.step is None else record.step) * self.options.timestep
        elif time is None:
            self.has_time = False
            time = float(index)
        for array in (record.positions, record.velocities) if self.hands_over else ():
            if array is not None:
                hand_over(array)
        frame = Frame(record.positions, record.velocities, record.cell, record.numbers, record.masses, time, record.pbc)
        return self._full_step(frame, record) if self.half_step and frame.velocities is not None else frame

    def _full_step(self, frame: Frame, record: Record) -> Frame:
        """Return the frame with v(t) = v(t - dt/2) + F(t)/m dt/2, where forces and MD step are known."""
        if record.forces is None or self.md_step is None:
            lacking = "the file has no forces" if record.forces is None else "timestep= is not given"
            self.warn_half_step(
                f"velocities belong to half an MD step before the positions (leapfrog) and stay so, since {lacking}; "
                "leapfrog=False if they do not"
            )
            return frame
        self.warn_half_step(
            "velocities belonged to half an MD step before the positions (leapfrog) and were moved there with the "
            "file's forces (exact without constraints); leapfrog=False if they did not"
        )
        kick = 0.5 * self.md_step / MASS_VELOCITY2 / np.asarray(frame.masses)[:, None]
        return frame.replace(velocities=frame.velocities + kick * record.forces)

    def warn_half_step(self, message: str) -> None:
        """Note and warn, once per trajectory."""
        if not self._warned:
            self._warned = True
            self.notes.append(message)
            warnings.warn(f"{self.name}: {message}", HalfStepWarning, stacklevel=2)

    def _count(self) -> int | None:
        return None

    def _last_time(self, first: Frame, n_frames: int | None, step: float | None) -> float | None:
        """Time of the last selected frame, without reading all of them."""
        if n_frames is None or step is None:
            return first.time if n_frames == 1 else None
        last = next(iter(self.frames(start=n_frames - 1)), None)
        return None if last is None else last.time
