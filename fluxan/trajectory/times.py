"""How the frames of a trajectory get their times: as stored, evenly spaced, or counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.trajectory.record import Reader, Record

#: First frames that are looked at: two equal times may be a frame that is repeated where runs were joined.
FIRST = 3
#: A spacing of times is trusted where it is so many times what they are rounded to.
_SURE = 1e3
#: ps; NetCDF's libraries fill in 10³⁷ where nothing was written.
_NO_TIME = 1e30


@dataclass(frozen=True, slots=True)
class Clock:
    """Gives frames their times.

    Attributes
    ----------
    stored : whether stored times are used
    timestep : ps per MD step, or per frame where a file counts no steps; None where nobody gave it
    spacing : ps between the first frames as far as it is known
    even : index of a frame, its time, and ps between frames, where stored times are too coarse to be used one by one
    """

    stored: bool
    timestep: float | None
    spacing: float = 0.0
    even: tuple[int, float, float] | None = None

    @property
    def has_time(self) -> bool:
        """Whether times are physical; otherwise they count frames."""
        return self.stored or self.timestep is not None

    def time(self, record: Record, index: int) -> float:
        """Time of a frame, ps.

        Raises
        ------
        InputError
            The frame has no time although those before had.
        """
        if self.even is not None:
            return self.even[1] + (index - self.even[0]) * self.even[2]
        if self.stored and record.time is not None:
            return record.time
        count = index if record.step is None else record.step
        if self.timestep is not None:
            return count * self.timestep
        if self.stored:
            raise InputError("has no time, the frames before had; give timestep= to count instead")
        return float(index)


def steps_grow(trajectory: Reader, first: Sequence[Record]) -> bool:
    """Whether MD steps count; where those of the first three frames are equal they were never set, which is told."""
    steps = {record.step for record in first}
    if len(first) < FIRST or len(steps) > 1 or None in steps:
        return True
    problem = f"its MD steps are all equal ({steps.pop()}), as where they were never set"
    if trajectory.options.timestep is None and first[0].time is None:
        trajectory.warn(f"{problem}: they are not used, and time counts frames; give timestep= per frame")
    else:
        trajectory.note(f"{problem}: they are not used")
    return False


def settle(trajectory: Reader, first: Sequence[Record], indices: range) -> Clock:
    """Decide on the clock, and warn where stored times are of no use.

    Parameters
    ----------
    trajectory : Reader
    first : the first selected frames, at most `FIRST`
    indices : all selected frames; open ended where the format does not tell their number
    """
    timestep = trajectory.options.timestep
    counted = Clock(stored=False, timestep=timestep)
    times = [record.time for record in first if record.time is not None]
    if not times:
        problem = trajectory.time_problem
    elif len(times) < len(first):
        problem = "only some of its frames have times"
    else:
        steps = np.diff(times)
        resolution = max(record.time_resolution for record in first)
        if len(steps) == 0 or np.abs(steps).max() > _SURE * resolution:
            clock = Clock(stored=True, timestep=timestep, spacing=max(steps.tolist(), default=0.0))
            return _reconciled(trajectory, clock, first, indices)
        even = _even_spacing(trajectory, first[0], indices)
        if even is not None:
            trajectory.note(
                f"times are stored in single precision, too coarse at {times[0]:g} ps; frames are taken as evenly "
                f"spaced over the file, {even[2]:.6g} ps apart"
            )
            return Clock(stored=True, timestep=timestep, spacing=even[2], even=even)
        problem = _standstill(times, resolution)
    if problem and timestep is None and len(first) > 1:
        trajectory.warn(f"{problem}: they are not used, and time counts frames; give timestep=")
    elif problem:
        trajectory.note(f"{problem}: they are not used" + (", time comes from timestep=" if timestep else ""))
    return counted


def _standstill(times: Sequence[float], resolution: float) -> str:
    if not all(abs(time) < _NO_TIME for time in times):
        return "its times are no numbers, as where they were never set"
    if len(set(times)) == 1 and resolution < 1 / _SURE:
        return f"its times are all equal ({times[0]:g} ps), as where they were never set"
    listed = ", ".join(f"{time:.9g}" for time in times)
    return f"its times do not tell frames apart ({listed} ps, rounded to {resolution:.2g})"


def _even_spacing(trajectory: Reader, begin: Record, indices: range) -> tuple[int, float, float] | None:
    """First index, its time and the spacing, where frames all over the file lie on one line."""
    total = trajectory._file_frames()
    if total is None or begin.time is None:
        return None
    selected = range(indices.start, min(indices.stop, total), indices.step)
    if len(selected) < 2:
        return None
    found = []
    for place in sorted({len(selected) - 1, *(len(selected) * k // 4 for k in (1, 2, 3))}):
        record = next(iter(trajectory._records(range(selected[place], selected[place] + 1))), None)
        if record is None or record.time is None:
            return None
        found.append((selected[place] - selected[0], record.time, record.time_resolution))
    n, last, resolution = found[-1]
    spacing = (last - begin.time) / n
    if n * spacing <= _SURE * resolution:
        return None
    line = all(abs(begin.time + k * spacing - time) <= 1.5 * rounded for k, time, rounded in found)
    return (selected[0], begin.time, spacing) if line else None


def _reconciled(trajectory: Reader, clock: Clock, first: Sequence[Record], indices: range) -> Clock:
    """Hold stored times against the user's timestep, where that counts what the file counts."""
    counts_steps = first[0].step is not None
    if clock.timestep is None or len(first) < 2 or not (counts_steps or trajectory.timestep_wins):
        return clock
    counted = Clock(stored=False, timestep=clock.timestep)
    begin, end = (counted.time(record, index) for record, index in zip(first, indices[:2], strict=False))
    if abs(end - begin - clock.spacing) > 0.01 * abs(clock.spacing):
        used = "timestep= is" if trajectory.timestep_wins else "the file's times are"
        trajectory.warn(f"its times are {clock.spacing:g} ps apart, by timestep= {end - begin:g} ps; {used} used")
    return counted if trajectory.timestep_wins else clock
