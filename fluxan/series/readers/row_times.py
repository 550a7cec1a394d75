"""Times of a table's rows: whether they are equally spaced, and the interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import TrajectoryError

if TYPE_CHECKING:
    from pathlib import Path

    from fluxan.series.readers.read_options import ReadOptions
    from fluxan.series.readers.table import TableBlock, TableLayout

#: Fraction by which intervals between rows may differ from each other, and from those that the steps imply.
_MAX_DIFFERENCE: Final = 1e-3
#: Fraction of the largest time that six printed digits resolve, the fewest that codes print.
_SIX_DIGITS: Final = 1.05e-5
#: Least advance of a coarse clock, in units of its last printed digit, for its mean step to be meaningful.
_SPAN: Final = 200


def time_step(
    layout: TableLayout, block: TableBlock, step: float | None, options: ReadOptions
) -> tuple[float | None, list[str]]:
    """Time between rows, ps, and a warning where `dt`, steps and times contradict each other.

    Parameters
    ----------
    layout, block : TableLayout, TableBlock
        Layout of the file and its rows.
    step : float or None
        Interval between rows, in units of the clock.
    options : ReadOptions
        `dt` overrides what the file records.
    """
    recorded, doubts = _recorded(layout, block, step)
    if layout.dt is None:
        return recorded, doubts
    if options.dt is not None and recorded is not None and abs(options.dt / recorded - 1) > _MAX_DIFFERENCE:
        return layout.dt, [f"dt={options.dt:.4g} was given, but rows of the file are {recorded:.4g} apart"]
    return layout.dt, []


def _recorded(layout: TableLayout, block: TableBlock, step: float | None) -> tuple[float | None, list[str]]:
    """Time between rows as the file records it, and warnings where the file contradicts itself."""
    counted = None if step is None or layout.clock_unit is None else step * layout.clock_unit
    times = block.others.get("time")
    if times is None or len(times) < 2:
        return counted, []
    measured = float(times[-1] - times[0]) / (len(times) - 1)
    if measured <= 0:
        return counted, []
    if np.abs(np.diff(times) - measured).max() > _MAX_DIFFERENCE * measured + 4e-6 * np.abs(times).max():
        return measured, [f"the time between rows is not the same everywhere: its mean, {measured:.4g}, was taken"]
    if counted is None or abs(counted / measured - 1) > _MAX_DIFFERENCE:
        doubt = f"the file's times are {measured:.4g} apart, its steps {counted:.4g}: the times were taken"
        return measured, [doubt] if counted is not None else []
    return counted, []


def equidistant(
    path: Path, block: TableBlock, expected: float | None = None
) -> tuple[TableBlock, float | None, list[str]]:
    """Equally spaced rows, their interval, and notes on rows that were left out.

    LAMMPS prints the first and the last step of a run even where they are not due: these two may be left out. Where the
    clock goes back, a later run has begun (a restart that repeats steps, or a new run), and its rows are taken.

    Parameters
    ----------
    path : Path
        Path of the file.
    block : TableBlock
        Its rows.
    expected : float, optional
        The interval where it is known, in units of the clock.

    Raises
    ------
    TrajectoryError
        There is a gap, or the clock runs backwards.
    """
    clock = block.clock
    if clock is not None and len(clock) > 1 and (clock == clock[0]).all():
        return block, None, [f"{path.name}: its times are all {clock[0]:.12g}: that column is not a time"]
    if clock is None or len(clock) < 3:
        return block, None if clock is None or len(clock) < 2 else float(clock[1] - clock[0]), []
    mean = _coarse(clock, expected)
    if mean is not None:
        few = f"{path.name} prints times with few digits: their mean distance, {mean:.6g}, was taken"
        return block, mean, [few] if expected is None else []
    block, notes = _latest(path, block, clock)
    clock = np.asarray(block.clock)
    if len(clock) < 3:
        return block, float(clock[-1] - clock[0]) if len(clock) == 2 else None, notes
    step = float(np.median(np.diff(clock)))
    begin = 1 if 0 < clock[1] - clock[0] < 0.999 * step else 0
    end = len(clock) - (1 if 0 < clock[-1] - clock[-2] < 0.999 * step else 0)
    _require_even(path, clock[begin:end], step)
    return block.rows(slice(begin, end)), step, notes


def _require_even(path: Path, clock: np.ndarray, step: float) -> None:
    steps = np.diff(clock)
    # Times are printed with as few as six digits.
    wrong = np.abs(steps - step) > 1e-3 * abs(step) + 2e-6 * np.abs(clock).max() * (step % 1 != 0)
    if step <= 0 or wrong.any():
        at = int(np.argmax(wrong)) if wrong.any() else 0
        raise TrajectoryError(
            f"{path}: rows are not at equal times: {clock[at + 1]:.12g} follows {clock[at]:.12g}, {step:.12g} apart "
            "elsewhere; use a part without gaps, and one run at a time, or give dt= where times have too few digits"
        )


def _coarse(clock: np.ndarray, expected: float | None) -> float | None:
    """Mean step of a clock that advances evenly but is printed with too few digits to resolve its steps; else None.

    Such a clock repeats printed values throughout; one whose step is known may also skip some.
    """
    steps = np.diff(clock)
    if (steps < 0).any() or not (steps > 0).any():
        return None
    repeats = (steps == 0).sum() > len(clock) // 20
    uneven = np.ptp(steps) > _MAX_DIFFERENCE * steps.max() + _SIX_DIGITS * np.abs(clock).max()
    if not repeats and (expected is None or not uneven):
        return None
    unit = float(np.median(steps[steps > 0]))
    if expected is not None:
        unit = max(unit, _SIX_DIGITS * float(np.abs(clock).max()))
    step = float(clock[-1] - clock[0]) / (len(clock) - 1) if expected is None else expected
    straight = clock[0] + step * np.arange(len(clock))
    known = expected is not None or clock[-1] - clock[0] > _SPAN * unit
    return step if known and np.abs(clock - straight).max() <= 1.01 * unit else None


def _latest(path: Path, block: TableBlock, clock: np.ndarray) -> tuple[TableBlock, list[str]]:
    """Rows that no later row precedes in time, where a clock goes back; a clock that mostly goes back is an error."""
    steps = np.diff(clock)
    if (steps < 0).sum() > len(steps) / 2:
        raise TrajectoryError(
            f"{path}: its times go backwards, from {clock[0]:.12g} to {clock[-1]:.12g}; put rows in order"
        )
    # A clock printed with too few digits repeats values throughout: that is not a restart.
    if not (steps < 0).any() and not 0 < (steps == 0).sum() <= max(1, len(clock) // 20):
        return block, []
    ahead = np.minimum.accumulate(clock[::-1])[::-1]
    kept = np.append(clock[:-1] < ahead[1:], True)
    begins = int(np.flatnonzero(np.diff(clock) <= 0)[-1]) + 1
    notes = [
        f"{path.name}: a later run begins again at {clock[begins]:.12g}; {(~kept).sum()} rows before were left out"
    ]
    return block.rows(np.flatnonzero(kept)), notes
