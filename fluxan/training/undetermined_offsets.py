"""Offsets of atomic energies that the energies of a training set leave undetermined, and structures that fix them.

Let every atom of class c have its energy raised by o_c. The energy per atom of structure s changes by Σ_c A_sc o_c,
A being the share of its atoms in each class. Combinations o that change no energy, the null space of A, are left to
chance by the fit of total energies: a model can have any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Combinations that change energies per atom by less than this, root mean square, eV per eV of offset.
TOLERANCE = 0.01
#: Share of atoms unlike any in training above which a candidate is ranked last, and a coefficient that is left out.
_FEW = 0.02


@dataclass(frozen=True, slots=True)
class Offsets:
    """A combination of offsets per class of atoms that changes no total energy.

    Attributes
    ----------
    coefficients : dict of str to float
        By name of the class; the largest is 1.
    response : float
        Root mean square change of the energy per atom over the training set, for an offset of 1.
    by_element : bool
        Whether atoms of one element all have the same offset.
    """

    coefficients: dict[str, float]
    response: float
    by_element: bool

    def __str__(self) -> str:
        """The combination in words."""
        return ", ".join(f"{_signed(value)} on '{name}'" for name, value in self.coefficients.items())


@dataclass(frozen=True, slots=True)
class Candidate:
    """A structure that could be added to the training set.

    Attributes
    ----------
    name : str
        The structure.
    score : float
        Norm of its shares of atoms projected on the undetermined combinations that candidates ranked before leave: by
        how much an offset of norm 1 eV among these can change its energy per atom, eV.
    alone : float
        The same for all undetermined combinations, as if it were the only candidate.
    strangers : float
        Share of its atoms that are unlike any in training: it brings unknowns of its own.
    """

    name: str
    score: float
    alone: float
    strangers: float

    @property
    def is_strange(self) -> bool:
        """Whether more than a few of its atoms are unlike any in training."""
        return self.strangers > _FEW


@dataclass(frozen=True, slots=True, eq=False)
class OffsetSpace:
    """What a set of structures determines of the offsets per class.

    Attributes
    ----------
    names : tuple of str
        Classes that occur in it.
    elements : tuple of int
        Atomic number of each class.
    counts : (n_structures, n_classes) int64
        Atoms of each class in each structure.
    singular_values : (n_classes,) float64
        Root mean square change of the energy per atom for each principal combination of norm 1.
    null_space : (n_undetermined, n_classes) float64
        Orthonormal rows: combinations below the tolerance.
    tolerance : float
        See `TOLERANCE`.
    """

    names: tuple[str, ...]
    elements: tuple[int, ...]
    counts: np.ndarray
    singular_values: np.ndarray
    null_space: np.ndarray
    tolerance: float

    @property
    def undetermined(self) -> list[Offsets]:
        """The combinations, each with as few classes as elimination leaves."""
        shares = _shares(self.counts)
        found = []
        for row in _eliminated(self.null_space):
            response = float(np.sqrt(np.mean((shares @ row) ** 2)))
            kept = {name: float(x) for name, x in zip(self.names, row, strict=True) if abs(x) >= _FEW}
            of_element = [row[np.array(self.elements) == z] for z in set(self.elements)]
            by_element = all(np.ptp(part) < _FEW for part in of_element)
            found.append(Offsets(kept, response, by_element))
        return found

    def project(self, counts: np.ndarray) -> np.ndarray:
        """Components of structures' shares along the undetermined combinations, (n_structures, n_undetermined)."""
        return _shares(counts)[:, : len(self.names)] @ self.null_space.T

    def rank(self, names: Sequence[str], counts: np.ndarray) -> list[Candidate]:
        """Order structures by how much of the undetermined combinations they fix, one after the other.

        Parameters
        ----------
        names : sequence of str
            The structures.
        counts : (n_structures, n_classes + n) int64
            Atoms of each class, and in the last n columns atoms that are unlike any in training.
        """
        left = list(range(len(names)))
        strangers = _shares(counts)[:, len(self.names) :].sum(axis=1)
        components, ranked = self.project(counts), []
        alone = np.linalg.norm(components, axis=1)
        while left:
            norms = np.linalg.norm(components, axis=1)
            best = min(left, key=lambda k: (strangers[k] > _FEW, -round(norms[k], 12), k))
            ranked.append(Candidate(names[best], float(norms[best]), float(alone[best]), float(strangers[best])))
            left.remove(best)
            if norms[best] > self.tolerance and strangers[best] <= _FEW:
                direction = components[best] / norms[best]
                components = components - np.outer(components @ direction, direction)
        return ranked


def find_offset_space(
    names: Sequence[str], elements: Sequence[int], counts: np.ndarray, *, tolerance: float = TOLERANCE
) -> OffsetSpace:
    """Find which offsets per class the total energies of some structures leave undetermined.

    Parameters
    ----------
    names, elements : sequences
        Name and atomic number of each class.
    counts : (n_structures, n_classes) int64
        Atoms of each class in each structure.
    tolerance : float
        Combinations of norm 1 eV that change energies per atom by less, root mean square, are undetermined.

    Raises
    ------
    InputError
        The tolerance is not positive.
    """
    if not 0 < tolerance < 1:
        raise InputError(f"the tolerance of offsets is {tolerance!r}; expected a number between 0 and 1")
    shares = _shares(counts)
    # The triangle of a QR decomposition has the singular values of the table, which may be long.
    triangle = np.zeros((shares.shape[1], shares.shape[1]))
    reduced = np.linalg.qr(shares / len(shares) ** 0.5, mode="r")
    triangle[: len(reduced)] = reduced
    _, values, rows = np.linalg.svd(triangle)
    return OffsetSpace(tuple(names), tuple(elements), counts, values, rows[values < tolerance], tolerance)


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / counts.sum(axis=1, keepdims=True)


def _eliminated(rows: np.ndarray) -> list[np.ndarray]:
    """Rows that span the same space, with as many zeros as Gauss-Jordan elimination gives; largest entry 1."""
    rows = rows.copy()
    for k in range(len(rows)):
        free = np.abs(rows[k:])
        i, j = np.unravel_index(free.argmax(), free.shape)
        rows[[k, k + i]] = rows[[k + i, k]]
        rows[k] /= rows[k, j]
        others = np.arange(len(rows)) != k
        rows[others] -= np.outer(rows[others, j], rows[k])
    # Of several largest entries the first is 1, whatever the round-off.
    return [row / row[np.flatnonzero(np.abs(row) > 0.999 * np.abs(row).max())[0]] for row in rows]


def _signed(value: float) -> str:
    text = f"{abs(value):.2f}".rstrip("0").rstrip(".")
    return f"{'−' if value < 0 else '+'}{text}"
