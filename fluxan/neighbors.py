"""Neighbour lists: from a `Frame` to the directed edges of a `Graph`, found by vesin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError
from fluxan.system import Graph

if TYPE_CHECKING:
    from fluxan.system import Frame

#: Verlet skins worth trying, Å.
SKINS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
#: Cost of finding the pairs anew over the cost of going through a stored list, measured per pair.
REBUILD_COST = 4.0


def build_graph(frame: Frame, cutoff: float) -> Graph:
    """All pairs of atoms within a cutoff, periodic images included.

    Parameters
    ----------
    frame : Frame
        Any cell: triclinic, left-handed, smaller than the cutoff (several images of one neighbour and of an atom
        itself become several edges), periodic in some directions only, or none.
    cutoff : float
        Å.

    Returns
    -------
    Graph
        float64 on the CPU; edges sorted by receiver.

    Raises
    ------
    InputError
        The cutoff is not positive, or two atoms lie at one point.
    """
    return NeighborList(cutoff, skin=0.0).graph(frame)


class NeighborList:
    """Graphs of frames that follow one another; pairs within a skin are kept from frame to frame where that pays.

    Which pairs are kept depends on the frames since the last `reset` alone. The order of edges, and with it the last
    bits of sums over them, depends on that history.

    Parameters
    ----------
    cutoff : float
        Å.
    skin : float, optional
        Å; the list is built anew when an atom has moved by half of it. None chooses it from how far atoms move
        between the first two frames.
    """

    def __init__(self, cutoff: float, *, skin: float | None = None) -> None:
        if not (np.isfinite(cutoff) and cutoff > 0):
            raise InputError(f"cutoff is {cutoff} Å; it must be positive and finite")
        self.cutoff = float(cutoff)
        self.skin = skin
        self.reset()

    def reset(self) -> None:
        """Forget earlier frames."""
        self._search = self._vesin(self.skin or 0.0)
        self._last: Frame | None = None
        self._n_frames = 0

    def graph(self, frame: Frame) -> Graph:
        """The graph of the next frame.

        Atoms that were wrapped across the boundary since the frame before appear in ``graph.positions`` where they
        would be without the wrapping; nothing that depends on the edges notices.
        """
        frame, moved = self._unwrap(frame)
        self._n_frames += 1
        if self._n_frames == 2 and self.skin is None:
            self._search = self._vesin(best_skin(self.cutoff, moved))
        self._last = frame
        return self._build(frame)

    def _vesin(self, skin: float) -> object:
        from vesin import NeighborList as Vesin

        return Vesin(cutoff=self.cutoff, full_list=False, skin=skin, n_threads=1)

    def _unwrap(self, frame: Frame) -> tuple[Frame, float]:
        """The frame with its atoms next to where they last were, and the largest step since."""
        last = self._last
        if last is None or last.n_atoms != frame.n_atoms:
            return frame, np.inf
        step = frame.positions - last.positions
        if frame.cell is not None:
            images = np.rint(step @ np.linalg.inv(frame.cell)) * np.array(frame.pbc)
            if images.any():
                offset = images @ frame.cell
                frame = frame.replace(positions=frame.positions - offset)
                step -= offset
        return frame, float(np.sqrt((step * step).sum(axis=1).max()))

    def _build(self, frame: Frame) -> Graph:
        import torch

        cell = np.zeros((3, 3)) if frame.cell is None else frame.cell
        first, second, shifts, vectors = self._search.compute(
            points=frame.positions, box=cell, periodic=frame.pbc, quantities="ijSD", copy=False
        )
        _refuse_coincident(first, second, vectors)
        edges = _both_directions(frame.n_atoms, first, second, shifts, vectors)
        senders, receivers, edge_shifts, r_ij = (torch.from_numpy(array) for array in edges)
        return Graph(
            numbers=torch.from_numpy(frame.numbers),
            positions=torch.from_numpy(frame.positions),
            cell=None if frame.cell is None else torch.from_numpy(frame.cell),
            senders=senders,
            receivers=receivers,
            shifts=edge_shifts,
            r_ij=r_ij,
        )


def best_skin(cutoff: float, step: float) -> float:
    """The skin with the least expected cost per frame when the fastest atom moves by `step` from frame to frame, Å.

    A longer skin means more pairs to go through, and fewer searches: the list lasts ``skin / (2 step)`` frames.
    0 when searching every frame is cheapest.
    """

    def cost(skin: float) -> float:
        lasts = max(1.0, skin / (2 * step)) if step > 0 else np.inf
        return (1 + skin / cutoff) ** 3 * (1 + REBUILD_COST / lasts)

    best = min(SKINS, key=cost)
    return best if cost(best) < 1 + REBUILD_COST else 0.0


def _both_directions(
    n_atoms: int, first: np.ndarray, second: np.ndarray, shifts: np.ndarray, vectors: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Senders, receivers, shifts and r_ij, sorted by receiver, of a list that holds every pair once.

    Making both directions of vesin's half list takes less time than vesin's full list, and it comes out sorted.
    """
    from fluxan.kernels.edges import count_edges, mirror_pairs

    n_edges = 2 * len(first)
    senders, receivers = np.empty(n_edges, dtype=np.int64), np.empty(n_edges, dtype=np.int64)
    edge_shifts, r_ij = np.empty((n_edges, 3), dtype=np.int64), np.empty((n_edges, 3))
    starts = np.empty(n_atoms + 1, dtype=np.int64)
    count_edges(first, second, starts)
    mirror_pairs(first, second, shifts, vectors, starts, senders, receivers, edge_shifts, r_ij)
    return senders, receivers, edge_shifts, r_ij


def _refuse_coincident(first: np.ndarray, second: np.ndarray, vectors: np.ndarray) -> None:
    squared = np.einsum("ij,ij->i", vectors, vectors)
    if len(squared) and squared.min() < 1e-12:
        k = int(squared.argmin())
        raise InputError(
            f"atoms {first[k]} and {second[k]} (counted from 0) lie at one point, within {squared[k] ** 0.5:.1e} Å"
        )
