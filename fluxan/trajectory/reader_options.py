"""What the user says about a trajectory."""

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
    """What the user says about a trajectory that its file does not say.

    Attributes
    ----------
    elements : symbols of LAMMPS types 1, 2, …, or one per atom, or one for all atoms; "Ar,Kr" is split
    topology : a file mdtraj reads, or an mdtraj topology
    timestep : ps per MD step, or per frame where a file counts no steps
    units : of a LAMMPS dump (metal, real, lj), or of velocities that are stored without a unit, or with a wrong one
        (`fluxan.units.VELOCITY`)
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
