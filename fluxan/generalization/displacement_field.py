"""Displacements of a defect's atoms from their sites, and their discrete energy norm.

The norm is ``‖Du‖ = √(Σ_i Σ_j |u_j − u_i|²)`` over all ordered pairs of neighbouring sites (C. Ortner, Y. Wang,
arXiv:2209.05366, section 2): the displacement of all atoms alike does not count, and the elastic energy is bounded by
its square from both sides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from ase.geometry import find_mic
from ase.neighborlist import neighbor_list
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fluxan.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

    from fluxan.generalization.defects import Defect

#: Pairs within this many times the shortest distance are neighbours.
_NEIGHBOURS = 1.2


class Decay(NamedTuple):
    """Strain by distance from the defect.

    Attributes
    ----------
    distance : (n_shells,) float64
        Mean distance of the sites of each shell, Å.
    strain : (n_shells,) float64
        Root mean square over a shell's sites of ``|Du(i)| = √(Σ_j |u_j − u_i|²)``, Å.
    n_sites : (n_shells,) int64
        Number of sites.
    """

    distance: np.ndarray
    strain: np.ndarray
    n_sites: np.ndarray


class Stencil:
    """Pairs of neighbouring sites of a crystal.

    Parameters
    ----------
    perfect : ase.Atoms
        The sites.
    reach : float, optional
        Distance within which two sites are neighbours, Å; by default 1.2 times the shortest distance, or more where
        that does not connect all sites, such as the sublattices of a compound or the layers of graphite.

    Attributes
    ----------
    pairs : (n_pairs, 2) int64
        Ordered pairs of sites.
    nearest : float
        Shortest distance of two sites, Å.
    """

    def __init__(self, perfect: Atoms, reach: float | None = None) -> None:
        self.perfect, self.nearest = perfect, _shortest(perfect)
        if reach is None:
            reach = _NEIGHBOURS * self.nearest
            while not _connected(perfect, reach):
                reach *= _NEIGHBOURS
        first, second = neighbor_list("ij", perfect, reach)
        if not len(first):
            raise InputError(f"no two sites are within {reach} A; give a larger reach")
        self.pairs = np.stack([first, second], axis=1)

    def strains(self, displacements: np.ndarray) -> np.ndarray:
        """``|Du(i)|`` of each site, (n_sites,) Å; pairs with a site whose displacement is NaN do not count."""
        steps = displacements[self.pairs[:, 1]] - displacements[self.pairs[:, 0]]
        squares = np.nan_to_num((steps**2).sum(axis=1))
        return np.sqrt(np.bincount(self.pairs[:, 0], weights=squares, minlength=len(self.perfect)))

    def norm(self, displacements: np.ndarray) -> float:
        """``‖Du‖``, Å.

        Parameters
        ----------
        displacements : (n_sites, 3) array
            Å; NaN where a site is empty.
        """
        return float(np.sqrt((self.strains(displacements) ** 2).sum()))


def displacements_of(defect: Defect, relaxed: Atoms) -> np.ndarray:
    """Displacement of the atom of each site, (n_sites, 3) Å; NaN where a site is empty.

    The mean displacement is taken out, which a relaxation leaves undetermined.

    Parameters
    ----------
    defect : Defect
        With its sites.
    relaxed : ase.Atoms
        The same atoms in the same order, in a cell that may be another: sites are scaled with it.
    """
    if len(relaxed) != len(defect.atoms) or not np.array_equal(relaxed.numbers, defect.atoms.numbers):
        raise InputError(f"{defect.name}: the relaxed structure has other atoms, or another order")
    on_site = defect.sites >= 0
    places = defect.perfect.get_scaled_positions(wrap=False)[defect.sites[on_site]] @ np.asarray(relaxed.cell)
    found = np.full((len(defect.perfect), 3), np.nan)
    moved = find_mic(relaxed.positions[on_site] - places, relaxed.cell, relaxed.pbc)[0]
    found[defect.sites[on_site]] = moved - moved.mean(axis=0)
    return found


def decay_of(stencil: Stencil, displacements: np.ndarray, distances: np.ndarray, n_shells: int = 12) -> Decay:
    """Strain by distance, in shells of equal width of log r.

    Parameters
    ----------
    stencil : Stencil
        Neighbours.
    displacements : (n_sites, 3) array
        Å.
    distances : (n_sites,) array
        Distance of each site from the defect, Å.
    n_shells : int
        Number of shells; empty ones are left out.
    """
    strains, there = stencil.strains(displacements), distances > 1e-6
    edges = np.geomspace(distances[there].min() * 0.999, distances.max() * 1.001, n_shells + 1)
    shell = np.digitize(distances, edges) - 1
    rows = []
    for k in range(n_shells):
        members = (shell == k) & there
        if members.any():
            rows.append((distances[members].mean(), np.sqrt((strains[members] ** 2).mean()), members.sum()))
    distance, strain, count = zip(*rows, strict=True)
    return Decay(np.array(distance), np.array(strain), np.array(count))


def _connected(atoms: Atoms, reach: float) -> bool:
    """Whether every site is reached from every other over pairs of neighbours."""
    pairs = neighbor_list("ij", atoms, reach)
    links = coo_array((np.ones(len(pairs[0])), pairs), shape=(len(atoms), len(atoms)))
    return int(connected_components(links, directed=False)[0]) == 1


def _shortest(atoms: Atoms) -> float:
    reach = 3.0
    while not len(found := neighbor_list("d", atoms, reach)):
        reach *= 1.5
    return float(found.min())
