"""The ideal supercell that a trajectory vibrates around, and the primitive cell that it repeats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.active.phonon_modes import nearest_sites
from fluxan.errors import InputError
from fluxan.trajectory.memory import atoms_of_frame
from fluxan.trajectory.structure import open_structure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fluxan.system import Frame

#: Largest strain that takes the given primitive cell to that of the trajectory: thermal expansion is below a percent.
LARGEST_STRAIN = 0.03
#: Largest distance of an atom from a site of the other cell, Å, at which the two are one.
_SAME_SITE = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class IdealSupercell:
    """Sites of a supercell and of its primitive cell.

    Attributes
    ----------
    primitive : Frame
        The primitive cell, without velocities.
    frame : Frame
        The supercell with all atoms on their sites, without velocities.
    atom_of_site : (n_primitive,) int64
        Atom of the supercell on the site of each atom of the primitive cell itself.
    """

    primitive: Frame
    frame: Frame
    atom_of_site: np.ndarray


def read_primitive(path: str | Path, **reader: Any) -> Frame:
    """Read a periodic primitive cell.

    Parameters
    ----------
    path : str or Path
        Structure file.
    **reader : object
        Options of `fluxan.open_trajectory`.

    Raises
    ------
    FluxanError
        The file cannot be read, or is not periodic in all directions.
    """
    frame = next(iter(open_structure(path, **reader)))
    if frame.cell is None or not all(frame.pbc):
        raise InputError(f"{path} is not periodic in all directions; give the primitive cell of the crystal")
    return frame.replace(velocities=None, time=0.0)


def repeated(primitive: Frame, repeats: Sequence[int]) -> IdealSupercell:
    """The primitive cell repeated along its vectors, cell after cell, the last direction being the fastest.

    Parameters
    ----------
    primitive : Frame
        The primitive cell.
    repeats : (int, int, int)
        Number of cells along each vector.

    Raises
    ------
    InputError
        They are not three positive numbers.
    """
    if len(repeats) != 3 or min(repeats) < 1:
        raise InputError(
            f"supercell={','.join(map(str, repeats))} is not three positive numbers, as in supercell=4,4,4"
        )
    atoms = atoms_of_frame(primitive).repeat(tuple(repeats))
    frame = primitive.replace(
        positions=atoms.positions, cell=atoms.cell.array, numbers=atoms.numbers, masses=atoms.get_masses()
    )
    return IdealSupercell(primitive, frame, np.arange(primitive.n_atoms))


def fitted(primitive: Frame, frame: Frame, name: str) -> IdealSupercell:
    """The supercell of a frame's cell and order of atoms, made from a primitive cell.

    The primitive cell is strained so that the cell of the frame is exactly a multiple of it.

    Parameters
    ----------
    primitive : Frame
        The primitive cell, in the orientation and with the origin of the frame.
    frame : Frame
        A frame of a trajectory, whose atoms vibrate about their sites.
    name : str
        Of the primitive cell, for messages.

    Raises
    ------
    InputError
        The cell of the frame is no multiple of the primitive cell, its atoms do not lie on the sites, or atoms on
        equivalent sites have different masses.
    """
    from ase.build import make_supercell

    primitive, matrix = _strained(primitive, frame, name)
    tiled = make_supercell(atoms_of_frame(primitive), matrix)
    order = nearest_sites(tiled.positions @ np.linalg.inv(np.asarray(frame.cell)), tiled.numbers, frame, name)
    ideal = frame.replace(positions=tiled.positions[order], velocities=None, time=0.0)
    primitive = primitive.replace(masses=_masses(np.asarray(frame.masses), order % primitive.n_atoms, name))
    return IdealSupercell(primitive, ideal, _coinciding(primitive, ideal))


def _strained(primitive: Frame, frame: Frame, name: str) -> tuple[Frame, np.ndarray]:
    """The primitive cell of which the frame's is a multiple, and the matrix P of S = P C, of cell vectors in rows."""
    if frame.cell is None or not all(frame.pbc):
        raise InputError("the trajectory is not periodic in all directions; modes need a periodic cell")
    cell = np.asarray(primitive.cell)
    matrix = np.rint(frame.cell @ np.linalg.inv(cell)).astype(int)
    n_cells = round(np.linalg.det(matrix))
    if n_cells < 1 or n_cells * primitive.n_atoms != frame.n_atoms:
        raise InputError(
            f"{frame.n_atoms} atoms in the cell of the trajectory are not {n_cells} cells of {primitive.n_atoms} in "
            f"{name}: give the primitive cell in the trajectory's orientation"
        )
    fitting = np.linalg.solve(matrix, frame.cell)
    strain = np.abs(np.linalg.inv(cell) @ fitting - np.eye(3)).max()
    if strain > LARGEST_STRAIN:
        raise InputError(
            f"the cell of the trajectory is no multiple of {name}: the nearest one, {matrix.tolist()}, is strained by "
            f"{strain:.1%}; give the primitive cell in the trajectory's orientation"
        )
    scaled = primitive.positions @ np.linalg.inv(cell)
    return primitive.replace(positions=scaled @ fitting, cell=fitting), matrix


def _masses(masses: np.ndarray, site: np.ndarray, name: str) -> np.ndarray:
    """Mass of each site of the primitive cell, (n_primitive,) u."""
    mean = np.bincount(site, masses) / np.bincount(site)
    uneven = np.abs(masses - mean[site]) > 1e-6 * masses
    if uneven.any():
        atom = int(np.flatnonzero(uneven)[0])
        raise InputError(
            f"atom {atom} (counted from 0) has a mass of {masses[atom]:g} u, atoms on equivalent sites of {name} have "
            "others; modes of a primitive cell need equal masses"
        )
    return mean


def _coinciding(primitive: Frame, ideal: Frame) -> np.ndarray:
    """Atom of the supercell on each site of the primitive cell, (n_primitive,)."""
    apart = (primitive.positions[:, None] - ideal.positions) @ np.linalg.inv(np.asarray(ideal.cell))
    distances = np.linalg.norm((apart - np.rint(apart)) @ np.asarray(ideal.cell), axis=2)
    if distances.min(axis=1).max() > _SAME_SITE:  # a fault of this module, not of the input
        raise InputError("the supercell does not contain the atoms of its primitive cell")
    return distances.argmin(axis=1)
