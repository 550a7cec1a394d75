"""Options of the trajectory readers: data that a file may lack, and the frames to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


class ReducedUnits(TypedDict, total=False):
    """The Lennard-Jones parameters that LAMMPS' reduced units (``units="lj"``) are multiples of; all three are needed.

    Attributes
    ----------
    epsilon : float
        Energy, eV.
    sigma : float
        Length, Å.
    mass : float
        Mass, u.
    """

    epsilon: float
    sigma: float
    mass: float


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """Options of `fluxan.open_trajectory`.

    Attributes
    ----------
    elements : sequence of str, str or None
        Symbols of LAMMPS types 1, 2, …, or one per atom, or one for all atoms; "Ar,Kr" is split.
    topology : path, mdtraj topology or None
        Where elements come from: a file that mdtraj reads, or an mdtraj topology.
    timestep : float or None
        ps per MD step, or per frame where a file counts no steps.
    units : str or None
        Unit style of a LAMMPS dump (metal, real, lj), or the unit of velocities (a key of `fluxan.units.VELOCITY`) that
        are stored without a unit or with a wrong one.
    start, stop, stride : int, int or None, int
        The frames to read, as in ``range``: from `start` to before `stop`, every `stride`-th one; none is negative.
    epsilon, sigma, mass : float or None
        See `ReducedUnits`.
    leapfrog : bool or None
        Whether velocities are those of half an MD step before the positions; None: inferred from the file.
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
        """Refuse negative frame ranges, and time steps or scales that are not positive."""
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
