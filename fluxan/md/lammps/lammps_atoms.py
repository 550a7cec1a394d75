"""Atoms and box of a running LAMMPS as frames in fluxan's units, in the order of the atoms' ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import InputError
from fluxan.md.lammps.ranks import Ranks
from fluxan.system import Frame, hand_over
from fluxan.trajectory.species import atomic_numbers, element_list
from fluxan.units import KCAL_PER_MOL, TIME, VELOCITY

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class UnitFactors:
    """A style of units of LAMMPS, as factors to Å/ps, ps and eV; lengths and masses are Å and u in all of them."""

    velocity: float
    time: float
    energy: float


UNITS = {
    "metal": UnitFactors(VELOCITY["A/ps"], TIME["ps"], 1.0),
    "real": UnitFactors(VELOCITY["A/fs"], TIME["fs"], KCAL_PER_MOL),
}


class LammpsAtoms:
    """Atoms and box of a `lammps.lammps` object.

    LAMMPS reorders its atoms from time to time; frames always have them in ascending order of their ids. On several MPI
    ranks every rank gets the atoms of all: all ranks must call the same methods.

    Parameters
    ----------
    lmp : lammps.lammps
        LAMMPS with box and atoms.
    elements : sequence of str or str
        Names of LAMMPS types 1, 2, …; "Ar,Kr" or a list.

    Attributes
    ----------
    units : UnitFactors
        Factors of LAMMPS' units.
    ranks : Ranks
        The MPI ranks.
    owned : (n_owned,) int
        Index in the last frame of each of this rank's atoms, in the order of LAMMPS' arrays.

    Raises
    ------
    InputError
        `lmp` is not a LAMMPS, has no atoms or ids, runs in two dimensions or in units other than metal or real, or a
        type has no element.
    DependencyError
        See `Ranks`.
    """

    def __init__(self, lmp: Any, elements: Sequence[str] | str) -> None:
        _require_usable(lmp)
        self.lmp = lmp
        self.units = _units(lmp)
        self._numbers = _numbers_of_types(elements, lmp.extract_setting("ntypes"))
        self.ranks = Ranks(lmp)
        self._tags = np.empty(0, dtype=np.int64)
        self._order = self.owned = np.empty(0, dtype=np.int64)
        self._sort()

    @property
    def ids(self) -> np.ndarray:
        """Present ids of the atoms, ascending, (n_atoms,)."""
        order = self._sort()
        return self._tags[order]

    @property
    def numbers(self) -> np.ndarray:
        """Present atomic numbers, (n_atoms,)."""
        return self._numbers[self._array("type")[self._sort()]]

    @property
    def step(self) -> int:
        """Present step of LAMMPS."""
        return self.lmp.extract_global("ntimestep")

    @property
    def timestep(self) -> float:
        """Time per step, ps."""
        return self.lmp.extract_global("dt") * self.units.time

    @property
    def time(self) -> float:
        """Time since LAMMPS' step 0, ps; the time step may have changed since then."""
        since = self.step - self.lmp.extract_global("atimestep")
        return self.lmp.extract_global("atime") * self.units.time + since * self.timestep

    def frame(self, *, moving: bool = True, time: float = 0.0) -> Frame:
        """Present atoms and box, copied from LAMMPS' memory.

        Parameters
        ----------
        moving : bool
            Include velocities; they belong to a full step only when LAMMPS is between steps.
        time : float
            Time of the frame, ps.

        Raises
        ------
        InputError
            Positions or velocities are not finite, or a mass is not set.
        """
        order = self._sort()
        cell, periodic = self._box()
        types = self._array("type")[order]
        return Frame(
            hand_over(self._array("x")[order]),
            hand_over(self._array("v")[order] * self.units.velocity) if moving else None,
            cell if any(periodic) else None,
            self._numbers[types],
            masses=self._masses(types, order),
            time=time,
            pbc=periodic,
        )

    def _array(self, name: str) -> np.ndarray:
        """Array of the atoms of all ranks, one rank after the other, without ghost atoms; a view where there is one."""
        return self.ranks.gather(self._own(name))

    def _own(self, name: str) -> np.ndarray:
        """View of this rank's array in LAMMPS' memory, without the ghost atoms at its end."""
        return self.lmp.numpy.extract_atom(name)[: self.lmp.extract_setting("nlocal")]

    def _sort(self) -> np.ndarray:
        """Index in arrays of all ranks of each atom of a frame."""
        tags = self._array("id")
        # Atoms may go from the end of one rank's array to the start of the next one's.
        if len(self.owned) != self.lmp.extract_setting("nlocal") or not np.array_equal(tags, self._tags):
            self._tags = tags.astype(np.int64)
            self._order = np.argsort(self._tags, kind="stable")
            ascending = self._tags[self._order]
            if not (np.diff(ascending) > 0).all():
                raise InputError("LAMMPS' atoms have no ids of their own; leave out atom_modify id no")
            self.owned = np.searchsorted(ascending, self._own("id"))
        return self._order

    def _box(self) -> tuple[np.ndarray, tuple[bool, bool, bool]]:
        low, high, xy, yz, xz, periodic, _ = self.lmp.extract_box()
        x, y, z = np.subtract(high, low)
        pbc = (bool(periodic[0]), bool(periodic[1]), bool(periodic[2]))
        return np.array([[x, 0, 0], [xy, y, 0], [xz, yz, z]]), pbc

    def _masses(self, types: np.ndarray, order: np.ndarray) -> np.ndarray:
        if self.lmp.extract_setting("rmass_flag") == 1:
            return self._array("rmass")[order]
        return self.lmp.numpy.extract_atom("mass")[types]


def _require_usable(lmp: Any) -> None:
    if not all(hasattr(lmp, name) for name in ("command", "extract_setting", "numpy", "set_fix_external_callback")):
        raise InputError(f"lmp is {type(lmp).__name__}, expected a lammps.lammps object")
    if getattr(lmp, "lmp", None) is None:
        raise InputError("this LAMMPS was closed; make another lammps.lammps()")
    if lmp.extract_setting("box_exist") != 1 or lmp.get_natoms() < 1:
        raise InputError("LAMMPS has no atoms yet: read or create them first (read_data, create_atoms, read_restart)")
    if lmp.extract_setting("dimension") != 3:
        raise InputError("LAMMPS runs in two dimensions; a heat flux is computed in three: leave out dimension 2")


def _units(lmp: Any) -> UnitFactors:
    style = lmp.extract_global("units")
    if style not in UNITS:
        raise InputError(f"LAMMPS' units are {style!r}; fluxan needs units {' or '.join(UNITS)}")
    return UNITS[style]


def _numbers_of_types(elements: Sequence[str] | str, n_types: int) -> np.ndarray:
    """Atomic numbers by type, which counts from 1."""
    names = element_list(elements)
    if len(names) != n_types:
        raise InputError(
            f"LAMMPS has {n_types} atom types but elements names {len(names)} ({', '.join(names)}); "
            f"name the element of every type, 1 to {n_types}, in order"
        )
    return np.concatenate([[0], atomic_numbers(names)])
