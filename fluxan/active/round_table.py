"""Table of the rounds of active learning, as strings for the terminal and for the page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from fluxan.rounding import value_and_error

from .calibration import ForceCalibration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: What is shown of a quantity that a round does not have.
MISSING: Final = "–"


def quantity(record: Mapping[str, Any], *keys: str) -> float:
    """Number of a round record by its keys; NaN where it, or a part on the way to it, is missing or null."""
    found: Any = record
    for key in keys:
        found = None if found is None else found.get(key)
    return math.nan if found is None else float(found)


def number(value: float, digits: int = 3) -> str:
    """A number to some significant digits, without an exponent from 1e-4 to 1e6."""
    if math.isnan(value):
        return MISSING
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    places = digits - 1 - (math.floor(math.log10(abs(value))) if value else 0)
    if value and not 1e-4 <= abs(value) < 1e6:
        mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
        return f"{mantissa}e{int(power)}".replace("-", "−")
    return f"{value:.{min(max(places, 0), 9)}f}".replace("-", "−")


def duration(seconds: float) -> str:
    """A duration in the unit that suits it."""
    if math.isnan(seconds):
        return MISSING
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def status_rows(rounds: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of rounds.

    Parameters
    ----------
    rounds : sequence of mapping
        Round records, as read from JSON.

    Returns
    -------
    header : list of str
        Name of every column, with its unit.
    rows : list of list of str
        One row a round; a dash stands for what a round does not have.
    """
    return [*_HEADER], [_row(record) for record in rounds]


_HEADER = (
    "round",
    "labels",
    "failed",
    "energy RMSE (meV/atom)",
    "force RMSE (meV/Å)",
    "new frames (meV/Å)",
    "spread (meV/Å)",
    "error/spread",
    "explored (ps)",
    "accepted",
    "blow-ups",
    "time",
)


def _row(record: Mapping[str, Any]) -> list[str]:
    mean, std = (1e3 * quantity(record, "uncertainty", key) for key in ("mean", "std"))
    spread = MISSING if math.isnan(mean) else value_and_error(mean, std)
    seconds = [quantity(record, "seconds", key) for key in record.get("seconds") or ()]
    return [
        f"{record['round']}",
        f"{_count(record, 'labels', 'total')} (+{_count(record, 'labels', 'new')})",
        _count(record, "labels", "failed"),
        number(1e3 * quantity(record, "test", "energy")),
        number(1e3 * quantity(record, "test", "forces")),
        number(1e3 * quantity(record, "new", "forces")),
        spread,
        number(ForceCalibration.of_rounds([record]).factor, 2),
        number(quantity(record, "exploration", "time")),
        f"{_count(record, 'exploration', 'accepted')} of {_count(record, 'exploration', 'considered')}",
        _count(record, "exploration", "blow_ups"),
        duration(sum(seconds) if seconds else math.nan),
    ]


def _count(record: Mapping[str, Any], *keys: str) -> str:
    found = quantity(record, *keys)
    return MISSING if math.isnan(found) else f"{found:.0f}"
