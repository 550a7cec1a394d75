"""How the frames of a trajectory get their times: as stored, evenly spaced, or counted.

`decide_clock` looks at the first records:

1. stored times that grow by more than their rounding are used as they are;
2. times rounded too coarsely to distinguish adjacent frames, but linear in the frame number over the whole file,
   become evenly spaced times;
3. otherwise times are the MD step, or the number of the frame, times ``timestep``;
4. without ``timestep`` they count steps or frames, and `Clock.has_time` is False.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.trajectory.frame_record import FrameRecord, Reader

#: Number of first frames that are examined: two equal times may just be a frame repeated where runs were joined.
N_FIRST = 3
#: Stored times are used one by one where their spacing is at least this multiple of their rounding.
MIN_SPACING_PER_ROUNDING = 1e3
#: Largest time, ps: the NetCDF libraries fill in 10³⁷ where nothing was written.
_MAX_TIME = 1e30


@dataclass(frozen=True, slots=True)
class Clock:
    """Gives frames their times.

    Attributes
    ----------
    stored : bool
        Whether stored times are used.
    timestep : float or None
        Time per MD step, or per frame where a file counts no steps, ps; None where it was not given.
    spacing : float
        Time between the first frames, ps; 0 where it is not known.
    even : (int, float, float) or None
        Index of the first frame, its time and the time between frames, ps, where times are taken as evenly spaced.
    """

    stored: bool
    timestep: float | None
    spacing: float = 0.0
    even: tuple[int, float, float] | None = None

    @property
    def has_time(self) -> bool:
        """Whether times are physical; otherwise they count steps or frames."""
        return self.stored or self.timestep is not None

    def time(self, record: FrameRecord, index: int) -> float:
        """Time of a frame, ps.

        Raises
        ------
        InputError
            The frame has no time although those before it had.
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


def steps_grow(trajectory: Reader, first: Sequence[FrameRecord]) -> bool:
    """Whether MD steps are usable: not all equal over the first frames, as where they were never set.

    The trajectory notes or warns where they are not.
    """
    steps = {record.step for record in first}
    if len(first) < N_FIRST or len(steps) > 1 or None in steps:
        return True
    problem = f"its MD steps are all equal ({steps.pop()}), as where they were never set"
    if trajectory.options.timestep is None and first[0].time is None:
        trajectory.warn(f"{problem}: they are not used, and time counts frames; give timestep= per frame")
    else:
        trajectory.note(f"{problem}: they are not used")
    return False


def decide_clock(trajectory: Reader, first: Sequence[FrameRecord], indices: range) -> Clock:
    """Decide how frames get their times, and warn where stored times are not usable.

    Parameters
    ----------
    trajectory : Reader
        Whose options, notes and warnings are used.
    first : sequence of FrameRecord
        The first selected frames, at most `N_FIRST`.
    indices : range
        Indices of all selected frames; open-ended where the format does not store their number.
    """
    timestep = trajectory.options.timestep
    counted = Clock(stored=False, timestep=timestep)
    times = [record.time for record in first if record.time is not None]
    if not times:
        problem = trajectory.time_problem
    elif len(times) < len(first):
        problem = "only some of its frames have times"
    else:
        # 1. Stored times, where they differ from frame to frame.
        steps = np.diff(times)
        resolution = max(record.time_resolution for record in first)
        if len(steps) == 0 or np.abs(steps).max() > MIN_SPACING_PER_ROUNDING * resolution:
            clock = Clock(stored=True, timestep=timestep, spacing=max(steps.tolist(), default=0.0))
            return _reconciled(trajectory, clock, first, indices)
        # 2. Evenly spaced times, where they are evenly spaced but for rounding.
        even = _even_spacing(trajectory, first[0], indices)
        if even is not None:
            trajectory.note(
                f"times are stored in single precision, too coarse at {times[0]:g} ps; frames are taken as evenly "
                f"spaced over the file, {even[2]:.6g} ps apart"
            )
            return Clock(stored=True, timestep=timestep, spacing=even[2], even=even)
        problem = _no_growth(times, resolution)
    # 3. and 4. Counted times.
    if problem and timestep is None and len(first) > 1:
        trajectory.warn(f"{problem}: they are not used, and time counts frames; give timestep=")
    elif problem:
        trajectory.note(f"{problem}: they are not used" + (", time comes from timestep=" if timestep else ""))
    return counted


def _no_growth(times: Sequence[float], resolution: float) -> str:
    """Message about stored times that do not grow."""
    if not all(abs(time) < _MAX_TIME for time in times):
        return "its times are no numbers, as where they were never set"
    if len(set(times)) == 1 and resolution < 1 / MIN_SPACING_PER_ROUNDING:
        return f"its times are all equal ({times[0]:g} ps), as where they were never set"
    listed = ", ".join(f"{time:.9g}" for time in times)
    return f"its times do not tell frames apart ({listed} ps, rounded to {resolution:.2g})"


def _even_spacing(trajectory: Reader, begin: FrameRecord, indices: range) -> tuple[int, float, float] | None:
    """First index, its time and the spacing, where the times of five frames across the file are linear."""
    total = trajectory._file_frames()
    if total is None or begin.time is None:
        return None
    selected = range(indices.start, min(indices.stop, total), indices.step)
    if len(selected) < 2:
        return None
    # Times of the frames at one, two and three quarters of the selection, and of the last.
    probes = []
    for place in sorted({len(selected) - 1, *(len(selected) * k // 4 for k in (1, 2, 3))}):
        record = next(iter(trajectory._records(range(selected[place], selected[place] + 1))), None)
        if record is None or record.time is None:
            return None
        probes.append((selected[place] - selected[0], record.time, record.time_resolution))
    n, last, resolution = probes[-1]
    spacing = (last - begin.time) / n
    if n * spacing <= MIN_SPACING_PER_ROUNDING * resolution:
        return None
    line = all(abs(begin.time + k * spacing - time) <= 1.5 * rounded for k, time, rounded in probes)
    return (selected[0], begin.time, spacing) if line else None


def _reconciled(trajectory: Reader, clock: Clock, first: Sequence[FrameRecord], indices: range) -> Clock:
    """Compare stored times with ``timestep``, where both are given; warn and choose one where they disagree by 1 %."""
    counts_steps = first[0].step is not None
    if clock.timestep is None or len(first) < 2 or not (counts_steps or trajectory.timestep_wins):
        return clock
    counted = Clock(stored=False, timestep=clock.timestep)
    begin, end = (counted.time(record, index) for record, index in zip(first, indices[:2], strict=False))
    if abs(end - begin - clock.spacing) > 0.01 * abs(clock.spacing):
        used = "timestep= is" if trajectory.timestep_wins else "the file's times are"
        trajectory.warn(f"its times are {clock.spacing:g} ps apart, by timestep= {end - begin:g} ps; {used} used")
    return counted if trajectory.timestep_wins else clock
