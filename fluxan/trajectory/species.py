"""Finds the element of each atom: from the file's types, from symbols that the user gives, or from a topology."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import DependencyError, FileError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.trajectory.reader_options import ReaderOptions


def atomic_numbers(symbols: Sequence[str]) -> np.ndarray:
    """Atomic numbers of element symbols, (n,) int64; raises `InputError` naming the first symbol that is unknown."""
    from ase.data import atomic_numbers as known

    kinds, index = np.unique(np.asarray(symbols, dtype=str), return_inverse=True)
    # ASE's "X" (number 0) is a placeholder, not an element.
    numbers = [known.get(str(kind).strip().capitalize(), 0) or -1 for kind in kinds]
    if -1 in numbers:
        kind = kinds[numbers.index(-1)]
        atom = int(np.flatnonzero(index == numbers.index(-1))[0])
        raise InputError(
            f"{str(kind)!r} (entry {atom}, counted from 0) is no chemical element; give symbols such as Ar"
        )
    return np.asarray(numbers, dtype=np.int64)[index]


def element_list(elements: Sequence[str] | str) -> list[str]:
    """Symbols as a list; "Ar,Kr" and "Ar Kr" are split."""
    if isinstance(elements, str):
        return elements.replace(",", " ").split()
    return [str(symbol) for symbol in elements]


def numbers_from_types(types: np.ndarray, options: ReaderOptions) -> np.ndarray:
    """Atomic numbers of atoms, from LAMMPS types that ``elements`` names, or from a topology.

    Parameters
    ----------
    types : (n_atoms,) int
        Type of each atom, from 1.
    options : ReaderOptions
        ``elements`` names the types, or else each atom; ``topology`` is used where it is None.

    Returns
    -------
    (n_atoms,) int64 ndarray
        Atomic numbers.

    Raises
    ------
    InputError
        A type has no name, or neither ``elements`` nor ``topology`` is given.
    """
    if options.elements is None:
        if options.topology is not None:
            return numbers_of_atoms(len(types), options)
        raise InputError(
            f"the file has types 1 to {types.max()} without elements; give elements=, e.g. elements='Ar,Kr' "
            "for types 1 and 2"
        )
    names = element_list(options.elements)
    if len(names) == len(types) and types.max() < len(names):
        by_atom, by_type = atomic_numbers(names), atomic_numbers(names)[types - 1]
        if not np.array_equal(by_atom, by_type):
            raise InputError(
                f"elements has {len(names)} names, as many as there are atoms and no fewer than types: they could name "
                f"either; name the types 1 to {types.max()} only"
            )
        return by_atom
    if types.min() < 1 or types.max() > len(names):
        bad = types.min() if types.min() < 1 else types.max()
        atom = int(np.flatnonzero(types == bad)[0])
        raise InputError(
            f"atom {atom} has type {bad} but elements names only types 1 to {len(names)} ({', '.join(names)})"
        )
    return atomic_numbers(names)[types - 1]


def numbers_of_atoms(n_atoms: int, options: ReaderOptions, *, what: str = "the file") -> np.ndarray:
    """Atomic numbers from ``elements`` (one per atom, or one for all) or from ``topology``, (n_atoms,) int64.

    `what` is what messages call the source of the atoms. Raises `InputError` where the options do not fit the atoms.
    """
    if options.elements is not None:
        names = element_list(options.elements)
        if len(names) not in {1, n_atoms}:
            raise InputError(
                f"elements has {len(names)} names but {what} has {n_atoms} atoms and no types; give one per atom, or "
                "one for all"
            )
        return np.broadcast_to(atomic_numbers(names), (n_atoms,)).copy()
    if options.topology is None:
        raise InputError(f"{what} names no elements; give elements= (one per atom, or one for all) or topology=")
    numbers = topology_numbers(options.topology)
    if len(numbers) != n_atoms:
        raise InputError(f"the topology has {len(numbers)} atoms but {what} has {n_atoms}")
    return numbers


def topology_numbers(topology: Any) -> np.ndarray:
    """Atomic numbers of an mdtraj topology, or of a file that mdtraj reads a topology from, (n_atoms,) int64."""
    top = load_topology(topology)
    numbers = np.array([atom.element.atomic_number if atom.element else 0 for atom in top.atoms], dtype=np.int64)
    if not numbers.all():
        atom = int(np.flatnonzero(numbers == 0)[0])
        raise InputError(f"atom {atom} of the topology ({top.atom(atom)}) has no element; give elements= instead")
    return numbers


def load_topology(topology: Any) -> Any:
    """Return the mdtraj topology of an mdtraj topology, trajectory, or file."""
    if not isinstance(topology, str | Path):
        return getattr(topology, "topology", topology)
    path = Path(topology)
    if not path.is_file():
        raise FileError(f"{path}: topology file not found")
    try:
        import mdtraj
    except ImportError as error:
        raise DependencyError("topology= needs mdtraj: pip install mdtraj") from error
    try:
        return mdtraj.load_topology(str(path))
    except Exception as error:  # mdtraj's readers raise any kind of exception
        raise FileError(f"{path}: mdtraj reads no topology from it ({error})") from error
