"""One frame as its file holds it, and what the first frames are held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fluxan.system import PERIODIC

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from fluxan.trajectory.reader_options import ReaderOptions


@dataclass(slots=True)
class FrameRecord:
    """One frame as its file holds it, already in Å, Å/ps, u and ps, not yet checked.

    `time` is None where the file has none (then it is counted), `time_resolution` what stored times are rounded to;
    `step` is the MD step, `ids` the atoms' identities, `forces` are in eV/Å, all three only where the file has them.
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
    time_resolution: float = 0.0


class Reader(Protocol):
    """What the clock and the plausibility of first frames need of a `fluxan.trajectory.trajectory_base.Trajectory`."""

    options: ReaderOptions
    has_time: bool
    time_problem: str | None
    timestep_wins: bool
    velocity_factor: float

    def warn(self, message: str, /) -> None:
        """Note and warn, once per trajectory."""

    def note(self, message: str, /) -> bool:
        """Keep what a user should know; whether it is new."""

    def unit_advice(self, unit: str, /) -> str:
        """How to say that velocities are in a unit, one of `fluxan.units.VELOCITY`."""

    def _file_frames(self) -> int | None:
        """Whole frames in the file, or None where only reading it to its end would tell."""

    def _records(self, indices: range, /) -> Iterator[FrameRecord]:
        """Yield the file's frames `indices`."""
