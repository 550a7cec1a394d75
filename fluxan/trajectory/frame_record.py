"""`FrameRecord`, one frame as its file holds it; and `Reader`, the part of a trajectory that its checks use."""

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
    """One frame as its file holds it, converted to fluxan's units but not yet checked.

    Attributes
    ----------
    positions : (n_atoms, 3) float64
        Positions, Å.
    numbers : (n_atoms,) int
        Atomic numbers.
    velocities : (n_atoms, 3) float64 or None
        Velocities, Å/ps; None where the file has none.
    cell : (3, 3) float64 or None
        Cell vectors in rows, Å; None for a cluster.
    masses : (n_atoms,) float64 or None
        Masses, u; None stands for the elements' standard masses.
    time : float or None
        Time, ps; None where the file has none.
    pbc : (bool, bool, bool)
        Which cell directions are periodic.
    step : int or None
        MD step, where the file has it.
    ids : (n_atoms,) int64 or None
        Identities of the atoms, where the file has them.
    forces : (n_atoms, 3) float64 or None
        Forces, eV/Å, where the file has them.
    time_resolution : float
        Rounding of stored times, ps.
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
    """What `times` and `plausibility` use of a `fluxan.trajectory.trajectory_base.Trajectory`."""

    options: ReaderOptions
    has_time: bool
    time_problem: str | None
    timestep_wins: bool
    velocity_factor: float

    def warn(self, message: str, /) -> None:
        """Add a message to the notes and warn, once per trajectory."""

    def note(self, message: str, /) -> bool:
        """Add a message to the notes; returns whether it is new."""

    def unit_advice(self, unit: str, /) -> str:
        """Advise how to read velocities in another unit, one of `fluxan.units.VELOCITY`."""

    def _file_frames(self) -> int | None:
        """Number of whole frames in the file, or None where that is known only after reading all of it."""

    def _records(self, indices: range, /) -> Iterator[FrameRecord]:
        """Yield the file's frames `indices`."""
