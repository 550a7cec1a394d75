"""Classes of atomic environments: which atoms of a set of structures are alike, whatever their thermal motion.

Atoms of one element are compared by their symmetry functions, each in units of the change that thermal displacements
make in it. Clusters of atoms are merged by average linkage, as far as a gap between two merging distances: below it lie
thermal motion and strain, above it other surroundings.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fluxan.errors import InputError
from fluxan.neighbors import build_graph
from fluxan.potentials.symmetry_functions import default_functions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.system import Frame, Graph

#: Cutoffs in units of the distance of nearest neighbours: two shells of most crystals, and triplets within them.
PAIRS, TRIPLETS, FIRST_SHIFT = 2.1, 1.6, 0.7
#: Reach of the first shell, in the same unit: 14 neighbours in bcc, 12 in fcc.
FIRST_SHELL = 1.25
#: Frames whose response to displacements is measured, and atoms of an element that are clustered; others are assigned.
_FRAMES, _ATOMS = 8, 2500
#: Distance at which nearest neighbours are looked for, Å.
_NEAREST = 6.0


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """How atoms are told apart.

    Attributes
    ----------
    displacement : float
        Standard deviation of the thermal displacements that give the unit of distances, Å along each axis.
    floor : float
        Clusters closer than this are never told apart, in that unit. Silicon between 2 % compressed and 2 % stretched,
        at up to 600 K, merges at 1.8, its atoms with three neighbours and with four at 3.6 to 3.8.
    gap, clear_gap : float
        Smallest ratio of two successive merging distances that counts as a gap, and above which it is clear. The finest
        clear gap is cut at, or else the widest of all. Silicon's gap between three and four neighbours is 1.56 to 1.62.
    reach : float
        Distance to the nearest atom of a class beyond which an atom of another structure belongs to none. Snapshots of
        silicon are within 1.3 of others of the same phase, atoms with three neighbours 1.8 or more from the crystal.
    max_classes : int
        Largest number of classes of an element.
    """

    displacement: float = 0.1
    floor: float = 2.0
    gap: float = 1.3
    clear_gap: float = 1.5
    reach: float = 1.6
    max_classes: int = 12

    def __post_init__(self) -> None:
        """Check every setting."""
        for name, least in (("displacement", 0.0), ("floor", 0.0), ("gap", 1.0), ("clear_gap", 1.0), ("reach", 0.0)):
            if not least < getattr(self, name) < float("inf"):
                raise InputError(f"{name} is {getattr(self, name)!r}; expected a number above {least:g}")
        if self.max_classes < 1:
            raise InputError(f"max_classes is {self.max_classes!r}; expected 1 or more")


@dataclass(frozen=True, slots=True)
class _ElementClasses:
    """Classes of one element: atoms whose class is known, (n, n_features) and (n,), and names.

    ``reach`` is the distance to the nearest of these atoms beyond which an atom belongs to no class.
    """

    points: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    reach: float

    def assign(self, descriptors: np.ndarray) -> np.ndarray:
        """Class of each atom; the number of classes for one that is like none."""
        from scipy.spatial.distance import cdist

        labels = np.empty(len(descriptors), dtype=np.int64)
        for first in range(0, len(descriptors), _ATOMS):
            distances = cdist(descriptors[first : first + _ATOMS], self.points)
            nearest = self.labels[distances.argmin(axis=1)]
            labels[first : first + _ATOMS] = np.where(distances.min(axis=1) <= self.reach, nearest, len(self.names))
        return labels


class _Atoms(NamedTuple):
    """Atoms: their numbers, descriptors, neighbours of each element in the first shell, and all within the cutoff."""

    numbers: np.ndarray
    descriptors: np.ndarray
    shell: np.ndarray
    within: np.ndarray

    def of_element(self, z: int) -> _Atoms:
        """The atoms of one element."""
        return self.some(self.numbers == z)

    def some(self, chosen: np.ndarray) -> _Atoms:
        """Some of the atoms."""
        return _Atoms(*(column[chosen] for column in self))


class EnvironmentClasses:
    """Classes of the atomic environments in a set of structures.

    Parameters
    ----------
    frames : sequence of Frame
        The structures, those of a training set.
    settings : ClusterSettings, optional
        How atoms are told apart.

    Attributes
    ----------
    names : tuple of str
        Names of the classes, such as "Si with 3 neighbours"; last, for each element, that of atoms of other structures
        which belong to no class.
    elements : tuple of int
        Atomic number of each class.
    n_classes : int
        Number of classes that occur in the frames.

    Raises
    ------
    InputError
        There is no structure.
    """

    def __init__(self, frames: Sequence[Frame], settings: ClusterSettings | None = None) -> None:
        if not frames:
            raise InputError("there are no structures whose atomic environments could be compared")
        self._settings = settings or ClusterSettings()
        self._numbers = tuple(sorted({int(z) for frame in frames for z in np.unique(frame.numbers)}))
        self._shells = _first_shells(frames)
        nearest = max(self._shells.values())
        self._functions = default_functions(
            self._numbers,
            cutoff=PAIRS * nearest,
            triplet_cutoff=TRIPLETS * nearest,
            first_shift=FIRST_SHIFT * nearest,
        )
        self._unit = self._thermal_changes(frames)
        self._of_element = self._find_classes([self._describe(frame) for frame in frames])
        known = [(z, name) for z in self._numbers for name in self._of_element[z].names]
        unknown = [(z, f"{_symbol(z)} unlike any in training") for z in self._numbers]
        self.elements = tuple(z for z, _ in known + unknown)
        self.names = tuple(name for _, name in known + unknown)
        self.n_classes = len(known)

    def counts(self, frame: Frame) -> np.ndarray:
        """Number of atoms of each class in a structure, (n_names,) int64.

        Raises
        ------
        InputError
            It has an element that the classes do not know.
        """
        return np.bincount(self.labels(frame), minlength=len(self.names))

    def labels(self, frame: Frame) -> np.ndarray:
        """Class of each atom of a structure, (n_atoms,) int64, indices of `names`.

        Raises
        ------
        InputError
            It has an element that the classes do not know.
        """
        strangers = [int(z) for z in np.unique(frame.numbers) if z not in self._numbers]
        if strangers:
            raise InputError(f"{_symbol(strangers[0])} occurs in no structure of the training set")
        atoms, first = self._describe(frame), 0
        labels = np.empty(frame.n_atoms, dtype=np.int64)
        for k, z in enumerate(self._numbers):
            own, classes = np.flatnonzero(frame.numbers == z), self._of_element[z]
            found = classes.assign(atoms.descriptors[own])
            n = len(classes.names)
            labels[own] = np.where(found < n, first + found, self.n_classes + k)
            first += n
        return labels

    def _describe(self, frame: Frame) -> _Atoms:
        graph = build_graph(frame, self._functions.cutoff)
        receivers, senders = graph.receivers.numpy(), graph.senders.numpy()
        reach = np.array([FIRST_SHELL * self._shells[int(z)] for z in frame.numbers])
        near = graph.r_ij.norm(dim=1).numpy() <= reach[receivers]
        columns = np.searchsorted(self._numbers, frame.numbers)
        shell = np.zeros((frame.n_atoms, len(self._numbers)))
        np.add.at(shell, (receivers[near], columns[senders[near]]), 1)
        within = np.bincount(receivers, minlength=frame.n_atoms)
        return _Atoms(frame.numbers, self._descriptors(graph) / self._unit, shell, within)

    def _descriptors(self, graph: Graph) -> np.ndarray:
        """Symmetry functions, divided by the root of their number: distances are root mean squares over them."""
        return np.asarray(self._functions(graph).numpy()) / self._functions.n_features**0.5

    def _thermal_changes(self, frames: Sequence[Frame]) -> np.ndarray:
        """Root mean square change of each symmetry function by displacements, (n_features,)."""
        rng = np.random.default_rng(0)
        changes = []
        for k in np.unique(np.linspace(0, len(frames) - 1, _FRAMES).astype(int)):
            frame = frames[k]
            steps = rng.normal(scale=self._settings.displacement, size=frame.positions.shape)
            graphs = (
                build_graph(f, self._functions.cutoff)
                for f in (frame.replace(positions=frame.positions + steps), frame)
            )
            moved, still = (self._functions(graph).numpy() for graph in graphs)
            changes.append(moved - still)
        unit = np.sqrt(np.mean(np.concatenate(changes) ** 2, axis=0))
        # A function that is zero for all these atoms has no unit of its own.
        return np.maximum(unit, 0.01 * unit.max()) if unit.max() > 0 else np.ones_like(unit)

    def _find_classes(self, atoms: Sequence[_Atoms]) -> dict[int, _ElementClasses]:
        found = {}
        for z in self._numbers:
            own = [part.of_element(z) for part in atoms]
            together = _Atoms(*(np.concatenate(column) for column in zip(*own, strict=True)))
            found[z] = self._classes_of(z, together)
        return found

    def _classes_of(self, z: int, every: _Atoms) -> _ElementClasses:
        atoms = every.some(np.unique(np.linspace(0, len(every.numbers) - 1, _ATOMS).astype(int)))
        labels = cluster(atoms.descriptors, self._settings)
        # Classes are in the order of their numbers of neighbours.
        kinds = range(labels.max() + 1)
        keys = [[column[labels == k].mean() for k in kinds] for column in (atoms.within, atoms.shell.sum(axis=1))]
        labels = np.argsort(np.lexsort(keys))[labels]
        return _ElementClasses(atoms.descriptors, labels, self._names(z, atoms, labels), self._settings.reach)

    def _names(self, z: int, atoms: _Atoms, labels: np.ndarray) -> tuple[str, ...]:
        names = []
        reach = self._functions.cutoff
        for k in range(labels.max() + 1):
            shell = np.rint(atoms.shell[labels == k].mean(axis=0)).astype(int)
            names.append(f"{_symbol(z)} {_neighbours(shell, self._numbers)}")
        doubled = {name for name, n in Counter(names).items() if n > 1}
        for k, name in enumerate(names):
            if name in doubled:
                names[k] = f"{name}, {round(atoms.within[labels == k].mean())} within {reach:.1f} Å"
        return tuple(
            f"{name} ({names[:k].count(name) + 1})" if names.count(name) > 1 else name for k, name in enumerate(names)
        )


def cluster(points: np.ndarray, settings: ClusterSettings) -> np.ndarray:
    """Cluster points by average linkage, cut at the finest clear gap between merging distances, or the widest.

    Parameters
    ----------
    points : (n_points, n_features) float64
        Points.
    settings : ClusterSettings
        Least distance of clusters, and least gap.

    Returns
    -------
    (n_points,) int64
        Cluster of each point, from 0.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    one = np.zeros(len(points), dtype=np.int64)
    if len(points) < 2:
        return one
    tree = linkage(points, "average")
    heights = np.maximum(np.append(tree[::-1, 2], 0.0), settings.floor)[: settings.max_classes]
    ratios = heights[:-1] / heights[1:]
    if ratios.max(initial=0.0) < settings.gap:
        return one
    clear = np.flatnonzero(ratios >= settings.clear_gap)
    n_clusters = int(clear[-1] if len(clear) else ratios.argmax()) + 2
    return fcluster(tree, n_clusters, "maxclust").astype(np.int64) - 1


def _first_shells(frames: Sequence[Frame]) -> dict[int, float]:
    """Median distance of the nearest neighbour of the atoms of each element, Å."""
    found: dict[int, list[np.ndarray]] = {}
    for frame in frames:
        graph = build_graph(frame, _NEAREST)
        nearest = np.full(frame.n_atoms, np.inf)
        np.minimum.at(nearest, graph.receivers.numpy(), graph.r_ij.norm(dim=1).numpy())
        for z in np.unique(frame.numbers):
            found.setdefault(int(z), []).append(nearest[frame.numbers == z])
    shells = {}
    for z, parts in sorted(found.items()):
        distances = np.concatenate(parts)
        near = distances[np.isfinite(distances)]
        # An atom without any neighbour belongs to a gas; any shell leaves it alone.
        shells[z] = float(np.median(near)) if len(near) else 0.5 * _NEAREST
    return shells


def _neighbours(shell: np.ndarray, numbers: Sequence[int]) -> str:
    """The first shell in words."""
    if not shell.any():
        return "without neighbours"
    if len(numbers) == 1:
        return f"with {shell[0]} neighbour{'s' if shell[0] > 1 else ''}"
    parts = [f"{n} {_symbol(z)}" for n, z in zip(shell, numbers, strict=True) if n]
    return f"with {' and '.join(parts)} neighbour{'s' if shell.sum() > 1 else ''}"


def _symbol(z: int) -> str:
    from ase.data import chemical_symbols

    return str(chemical_symbols[z])
