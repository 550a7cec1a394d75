"""Explicit periodic replicas of a graph: a repeated cell, and the finite cluster that a cell's energies depend on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fluxan.errors import InputError
from fluxan.system import Graph


def distinguish(graph: Graph) -> Graph:
    """Return the graph itself, or its doubled cell where every edge leads from an atom to its own image.

    Crossings are known by their index, and senders cannot be told from receivers in a cell of one atom. The first
    atoms of the doubled cell are those of the cell.
    """
    if graph.n_edges == 0 or not torch.equal(graph.senders, graph.receivers):
        return graph
    odd = (graph.shifts % 2 != 0).any(dim=0)
    return double_cell(graph, int(torch.nonzero(odd)[0]))


def enlarge(graph: Graph, n_atoms: int) -> Graph:
    """Double the cell along its shortest vectors until it has some number of atoms; a cluster stays what it is."""
    while graph.cell is not None and graph.n_atoms < n_atoms and bool(graph.shifts.any()):
        lengths = graph.cell.norm(dim=1)
        lengths[(graph.shifts == 0).all(dim=0)] = torch.inf
        graph = double_cell(graph, int(lengths.argmin()))
    return graph


def double_cell(graph: Graph, direction: int) -> Graph:
    """Repeat the cell twice along one of its vectors; the copies follow one another."""
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
    """A cell with the replicas that its energies depend on, as one finite graph.

    Attributes
    ----------
    graph : Graph
        Finite, in a box that no edge leaves (some models ask for a cell); the first atoms are those of the cell.
    atoms : (n_replicas,) int64
        Which atom of the cell each one is a replica of.
    """

    graph: Graph
    atoms: torch.Tensor


def unfold(graph: Graph, n_hops: int) -> Unfolded:
    """Make the finite graph in which U_i of the cell's atoms is what it is in the crystal.

    Only what an owner can reach along `n_hops` edges is built: atoms at most that many edges away, and the edges
    with one end at most ``n_hops - 1`` edges away.

    Parameters
    ----------
    graph : Graph
        float64, on the CPU.
    n_hops : int
    """
    reach = _Reach(graph)
    for _ in range(n_hops):
        reach.grow()
    return reach.unfolded()


def _box_around(positions: torch.Tensor) -> torch.Tensor:
    """Make a cell three times as long as the atoms reach."""
    return torch.diag(3 * (positions.max(dim=0).values - positions.min(dim=0).values) + 100)


class _Reach:
    """Replicas reached so far, each an atom and a cell translation, found breadth first along the edges."""

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
        """Follow the edges into the replicas reached last, out to their senders."""
        frontier = np.arange(self.frontier, len(self.atoms))
        edges, receivers = self._edges_into(frontier)
        atoms = self.graph.senders.numpy()[edges]
        images = self.images[receivers] + self.graph.shifts.numpy()[edges]
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
        """Make the finite graph of everything reached."""
        # Edges back from within to the outermost replicas: some models scatter to senders.
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
        """Edges of the cell that lead into each replica, with the replica they lead into."""
        start = self._first[self.atoms[replicas]]
        counts = self._first[self.atoms[replicas] + 1] - start
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return self._order[np.repeat(start, counts) + offsets], np.repeat(replicas, counts)

    def _keys(self, atoms: np.ndarray, images: np.ndarray) -> np.ndarray:
        """One integer per replica: 14 bits for the image along each cell vector, the atom in the 21 left."""
        x, y, z = (images + (1 << 13)).T
        return ((x << 28) | (y << 14) | z) * self.graph.n_atoms + atoms
