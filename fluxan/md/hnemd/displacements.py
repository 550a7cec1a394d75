"""Displacements of atoms from their initial positions, which show whether a solid stays solid."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.spatial import cKDTree

#: Median displacement over the distance between neighbours beyond which atoms have left their sites. Crystals melt
#: when the root mean square displacement from the site reaches 0.1 to 0.15 (Lindemann); the median of the distance
#: between two positions of one atom is then 0.13 to 0.2.
LEFT_SITES: Final = 0.35


class Displacements:
    """Displacements since a reference configuration, relative to that of the centre of mass.

    Parameters
    ----------
    reference : (n_atoms, 3) array
        Positions that were not wrapped into the cell, Å.
    numbers : (n_atoms,) int
        Atomic numbers.
    cell : (3, 3) array
        Cell, Å.
    """

    def __init__(self, reference: np.ndarray, numbers: np.ndarray, cell: np.ndarray) -> None:
        self.reference, self.numbers = reference, numbers
        self.spacing = _neighbour_distance(reference, np.asarray(cell))

    def of_elements(self, positions: np.ndarray) -> dict[int, float]:
        """Median displacement of each element's atoms over the distance between neighbours, by atomic number."""
        moved = positions - self.reference
        moved = np.linalg.norm(moved - moved.mean(axis=0), axis=1) / self.spacing
        return {int(z): float(np.median(moved[self.numbers == z])) for z in np.unique(self.numbers)}

    def gone(self, positions: np.ndarray) -> list[int]:
        """Atomic numbers of the elements most of whose atoms have left their sites."""
        return [z for z, moved in self.of_elements(positions).items() if moved > LEFT_SITES]


def _neighbour_distance(positions: np.ndarray, cell: np.ndarray) -> float:
    """Median distance from an atom to its nearest neighbour in a periodic crystal, Å."""
    shifts = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    wrapped = (positions @ np.linalg.inv(cell)) % 1.0 @ cell
    images = (wrapped + (shifts @ cell)[:, None]).reshape(-1, 3)
    return float(np.median(cKDTree(images).query(wrapped, k=2)[0][:, 1]))
