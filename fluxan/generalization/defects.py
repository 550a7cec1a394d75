"""Point defects in crystals: vacancies, interstitials and substitutions, each beside its perfect crystal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers
from ase.geometry import find_mic

from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ase import Atoms

#: Least distance of an interstitial from any atom, Å: nearer ones are taken for a mistake in its position.
_LEAST_DISTANCE = 0.7
#: Neighbours within this many times the shortest distance are the nearest ones.
_NEAREST = 1.1


@dataclass(frozen=True, slots=True, eq=False)
class Defect:
    """A defect in a crystal, before it relaxes.

    Attributes
    ----------
    name : str
        Such as "vacancy of Si".
    atoms : ase.Atoms
        The crystal with the defect.
    perfect : ase.Atoms
        The crystal without, in the same cell.
    sites : (n_atoms,) int64
        Site in `perfect` of each atom of `atoms`, −1 for an interstitial.
    core : (3,) float64
        Position of the defect, Å.
    """

    name: str
    atoms: Atoms
    perfect: Atoms
    sites: np.ndarray
    core: np.ndarray

    @property
    def distances(self) -> np.ndarray:
        """Distance of each site of the perfect crystal from the defect, (n_sites,) Å."""
        return find_mic(self.perfect.positions - self.core, self.perfect.cell, self.perfect.pbc)[1]

    def formation_energy(
        self, energy: float, perfect_energy: float, chemical_potentials: Mapping[str, float] | None = None
    ) -> float:
        """``E(defect) − E(perfect) − Σ_t Δn_t μ_t``, eV, with Δn_t the atoms of an element that were added.

        Parameters
        ----------
        energy, perfect_energy : float
            Of the relaxed crystal with the defect and of the perfect one, eV.
        chemical_potentials : mapping of str to float, optional
            μ by element, eV. In a crystal of one element it is the energy per atom of the perfect crystal by default.

        Raises
        ------
        InputError
            A chemical potential is missing.
        """
        known = dict(chemical_potentials or {})
        elements = set(self.perfect.symbols)
        if len(elements) == 1:
            known.setdefault(next(iter(elements)), perfect_energy / len(self.perfect))
        exchanged = 0.0
        for element in sorted(elements | set(self.atoms.symbols)):
            added = int(np.sum(self.atoms.symbols == element)) - int(np.sum(self.perfect.symbols == element))
            if not added:
                continue
            if element not in known:
                raise InputError(f"{self.name}: the chemical potential of {element} is missing")
            exchanged += added * known[element]
        return energy - perfect_energy - exchanged


def vacancy(crystal: Atoms, index: int = 0, *, inward: float = 0.0) -> Defect:
    """A crystal without one of its atoms.

    Parameters
    ----------
    crystal : ase.Atoms
        Periodic.
    index : int
        Of the atom that is taken out.
    inward : float
        Displacement of its nearest neighbours towards the vacancy, Å. A vacancy may have several structures at rest: in
        Stillinger-Weber silicon the ideal one is a minimum, and another, 1.7 eV lower, is found from 0.4 Å on.

    Raises
    ------
    InputError
        There is no such atom, the crystal is not periodic in any direction, or the displacement is half the distance of
        neighbours or more.
    """
    _require_crystal(crystal, index)
    steps, distances = find_mic(crystal.positions[index] - crystal.positions, crystal.cell, crystal.pbc)
    distances[index] = np.inf
    if not abs(inward) < 0.5 * distances.min():
        raise InputError(f"neighbours {distances.min():.2f} A away cannot be displaced by {inward} A")
    near = distances < _NEAREST * distances.min()
    atoms = crystal.copy()
    atoms.positions[near] += inward * steps[near] / distances[near, None]
    del atoms[index]
    sites = np.delete(np.arange(len(crystal)), index)
    name = f"vacancy of {crystal.symbols[index]}"
    return Defect(name, atoms, crystal.copy(), sites, crystal.positions[index].copy())


def substitution(crystal: Atoms, index: int, element: str) -> Defect:
    """A crystal with another element on one of its sites.

    Raises
    ------
    InputError
        There is no such atom or element, or the element is there already.
    """
    _require_crystal(crystal, index)
    before = crystal.symbols[index]
    if element not in atomic_numbers or element == before:
        raise InputError(f"{element!r} cannot take the place of {before}; give the symbol of another element")
    atoms = crystal.copy()
    atoms.symbols[index] = element
    name = f"{element} in place of {before}"
    return Defect(name, atoms, crystal.copy(), np.arange(len(crystal)), crystal.positions[index].copy())


def interstitial(crystal: Atoms, position: np.ndarray, element: str) -> Defect:
    """A crystal with one atom more.

    Parameters
    ----------
    crystal : ase.Atoms
        Periodic.
    position : (3,) array_like
        Å.
    element : str
        Of the atom.

    Raises
    ------
    InputError
        The position is that of an atom, or the element is not known.
    """
    _require_crystal(crystal, 0)
    position = np.asarray(position, dtype=float)
    if element not in atomic_numbers:
        raise InputError(f"{element!r} is no element")
    if position.shape != (3,) or not np.isfinite(position).all():
        raise InputError(f"the position of the interstitial is {position}; expected three finite numbers")
    nearest = find_mic(crystal.positions - position, crystal.cell, crystal.pbc)[1].min()
    if nearest < _LEAST_DISTANCE:
        raise InputError(f"the interstitial is {nearest:.2f} A away from an atom; give the position of a hollow site")
    atoms = crystal.copy()
    atoms.append(element)
    atoms.positions[-1] = position
    return Defect(
        f"interstitial of {element}", atoms, crystal.copy(), np.append(np.arange(len(crystal)), -1), position.copy()
    )


def _require_crystal(crystal: Atoms, index: int) -> None:
    if not any(crystal.pbc):
        raise InputError("the crystal is not periodic in any direction; give a periodic one")
    if not -len(crystal) <= index < len(crystal):
        raise InputError(f"the crystal has {len(crystal)} atoms, none of index {index}")
