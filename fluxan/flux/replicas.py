"""Explicit periodic replicas of a graph: repeated cells, and unfolding.

Unfolding a cell means to build the finite graph on which the energies U_i of its atoms are those of the periodic
system. `_Reach` builds it breadth first from the atoms of the cell:

1. find all edges that end at the atoms added last (`_Reach._edges_into`);
2. identify their senders as replicas, an atom and a cell translation (`_Reach._keys`);
3. add the edges and the replicas not yet present (`_Reach.grow`); repeat for each hop of the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fluxan.errors import InputError
from fluxan.system import Graph


def distinguish(graph: Graph) -> Graph:
    """Return the graph itself, or its doubled cell if every edge connects an atom to its own image.

    Crossings are identified by their index, but in a cell of one atom the indices of senders and receivers are equal.
    The first atoms of the doubled cell are those of the cell.
    """
    if graph.n_edges == 0 or not torch.equal(graph.senders, graph.receivers):
        return graph
    odd = (graph.shifts % 2 != 0).any(dim=0)
    return double_cell(graph, int(torch.nonzero(odd)[0]))


def enlarge(graph: Graph, n_atoms: int) -> Graph:
    """Double the cell along its shortest vectors until it has at least `n_atoms` atoms; a cluster is left unchanged."""
    while graph.cell is not None and graph.n_atoms < n_atoms and bool(graph.shifts.any()):
        lengths = graph.cell.norm(dim=1)
        lengths[(graph.shifts == 0).all(dim=0)] = torch.inf
        graph = double_cell(graph, int(lengths.argmin()))
    return graph


def double_cell(graph: Graph, direction: int) -> Graph:
    """Repeat the cell twice along one of its vectors; atoms and edges of the second copy follow those of the first."""
    if graph.cell is None:
        raise InputError("a cluster has no cell to repeat")
    n, step = graph.n_atoms, graph.cell[direction]
    shifts, senders, receivers = [], [], []
    for copy in (0, 1):
        target = copy + graph.shifts[:, direction]
        shift = graph.shifts.clone()
        shift[:, direction] = torch.div(target, 2, rounding_mode="floor")
        shifts.append(shift)
        senders.append(graph.senders + n * (target % 2))
        receivers.append(graph.receivers + n * copy)
    cell = graph.cell.clone()
    cell[direction] = 2 * step
    return Graph(
        numbers=graph.numbers.repeat(2),
        positions=torch.cat([graph.positions, graph.positions + step]),
        cell=cell,
        senders=torch.cat(senders),
        receivers=torch.cat(receivers),
        shifts=torch.cat(shifts),
        r_ij=graph.r_ij.repeat(2, 1),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Unfolded:
    """A cell and the replicas that its energies depend on, as one finite graph.

    Attributes
    ----------
    graph : Graph
        Finite graph, in a box larger than the atoms (some models need a cell); its first atoms are those of the cell.
    atoms : (n_replicas,) int64 tensor
        Atom of the cell of which each one is a replica.
    """

    graph: Graph
    atoms: torch.Tensor


def unfold(graph: Graph, n_hops: int) -> Unfolded:
    """Build the finite graph in which U_i of the cell's atoms are those of the periodic system.

    It holds the atoms at most `n_hops` edges away from the cell's, and the edges with one end at most ``n_hops - 1``
    edges away.

    Parameters
    ----------
    graph : Graph
        float64, on the CPU.
    n_hops : int
        Number of edges (hops) over which an atomic energy extends.
    """
    reach = _Reach(graph)
    for _ in range(n_hops):
        reach.grow()
    return reach.unfolded()


def _box_around(positions: torch.Tensor) -> torch.Tensor:
    """Cell vectors of a box more than three times as long as the extent of the atoms."""
    return torch.diag(3 * (positions.max(dim=0).values - positions.min(dim=0).values) + 100)


class _Reach:
    """Replicas found so far, breadth first along the edges: each an atom and a cell translation."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        receivers = graph.receivers.numpy()
        self._order = np.argsort(receivers, kind="stable")
        self._first = np.searchsorted(receivers, np.arange(graph.n_atoms + 1), sorter=self._order)
        self.atoms = np.arange(graph.n_atoms)
        self.images = np.zeros((graph.n_atoms, 3), dtype=np.int64)
        self.frontier = 0
        empty = np.empty(0, dtype=np.int64)
        self.edges, self.senders, self.receivers = empty, empty, empty

    def grow(self) -> None:
        """Add the edges that end at the replicas added last, and their senders."""
        # Senders of these edges: atom and cell translation.
        frontier = np.arange(self.frontier, len(self.atoms))
        edges, receivers = self._edges_into(frontier)
        atoms = self.graph.senders.numpy()[edges]
        images = self.images[receivers] + self.graph.shifts.numpy()[edges]
        # Those that are new get numbers in order of appearance; equal ones get the same number.
        n_known = len(self.atoms)
        known = np.concatenate([self._keys(self.atoms, self.images), self._keys(atoms, images)])
        _, first, place = np.unique(known, return_index=True, return_inverse=True)
        new = np.sort(first[first >= n_known])
        number = np.empty(len(known), dtype=np.int64)
        number[:n_known] = np.arange(n_known)
        number[new] = n_known + np.arange(len(new))
        self.atoms = np.concatenate([self.atoms, atoms[new - n_known]])
        self.images = np.concatenate([self.images, images[new - n_known]])
        self.edges = np.concatenate([self.edges, edges])
        self.senders = np.concatenate([self.senders, number[first[place[n_known:]]]])
        self.receivers = np.concatenate([self.receivers, receivers])
        self.frontier = n_known

    def unfolded(self) -> Unfolded:
        """Build the graph of all replicas and edges."""
        # The outermost replicas also get the reverse edges, since some models scatter to senders.
        back = self.senders >= self.frontier
        vectors = self.graph.r_ij.numpy()[self.edges]
        atoms = torch.from_numpy(self.atoms)
        offsets = self.images @ self.graph.cell.numpy() if self.graph.cell is not None else 0.0
        senders = torch.from_numpy(np.concatenate([self.senders, self.receivers[back]]))
        positions = self.graph.positions[atoms] + torch.as_tensor(offsets)
        graph = Graph(
            numbers=self.graph.numbers[atoms],
            positions=positions,
            cell=None if self.graph.cell is None else _box_around(positions),
            senders=senders,
            receivers=torch.from_numpy(np.concatenate([self.receivers, self.senders[back]])),
            shifts=torch.zeros((len(senders), 3), dtype=torch.int64),
            r_ij=torch.from_numpy(np.concatenate([vectors, -vectors[back]])),
        )
        return Unfolded(graph, atoms)

    def _edges_into(self, replicas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Edges of the cell that end at each replica, and the replica at which each ends."""
        start = self._first[self.atoms[replicas]]
        counts = self._first[self.atoms[replicas] + 1] - start
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return self._order[np.repeat(start, counts) + offsets], np.repeat(replicas, counts)

    def _keys(self, atoms: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Key of each replica, one integer: 14 bits for each component of the translation, the rest for the atom."""
        x, y, z = (images + (1 << 13)).T
        return ((x << 28) | (y << 14) | z) * self.graph.n_atoms + atoms
