"""Groups of atoms into which the flux is split: one per element, or the user's own labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


def assign_groups(
    numbers: np.ndarray, groups: str | Sequence[object] = "element"
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Group index of every atom, and the groups' names.

    Parameters
    ----------
    numbers : (n_atoms,) int
        Atomic numbers.
    groups : "element" or sequence
        One label per atom. Elements are ordered by atomic number, labels by first appearance.

    Returns
    -------
    indices : (n_atoms,) int64
        Index of each atom's group.
    labels : tuple of str
        Name of each group.

    Raises
    ------
    InputError
        `groups` is another string, or does not hold one label per atom.
    """
    if isinstance(groups, str):
        if groups != "element":
            raise InputError(f'groups={groups!r} is not known; give "element" or one label per atom')
        from ase.data import chemical_symbols

        present, indices = np.unique(numbers, return_inverse=True)
        return indices.astype(np.int64), tuple(chemical_symbols[z] for z in present)
    try:
        names = [str(label) for label in groups]
    except TypeError:
        raise InputError(f'groups={groups!r} is not known; give "element" or one label per atom') from None
    if len(names) != len(numbers):
        raise InputError(f"groups hold {len(names)} labels for {len(numbers)} atoms; give one label per atom")
    labels = tuple(dict.fromkeys(names))
    position = {label: k for k, label in enumerate(labels)}
    return np.array([position[name] for name in names], dtype=np.int64), labels
