"""Neighbour lists: from a `Frame` to the directed edges of a `Graph`, computed by vesin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import InputError
from fluxan.system import Graph

if TYPE_CHECKING:
    from fluxan.system import Frame

#: Fields of a `Graph` with one row per edge.
EDGES = ("senders", "receivers", "shifts", "r_ij")
#: Largest extent of a system along an open (not periodic) direction, in units of the cutoff.
MOST_BINS = 1e4
#: Verlet skins among which `best_skin` chooses, Å.
SKINS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
#: Extra cost of a search over one pass through a stored list, in units of that pass (measured: 4.3 against 1.9 µs per
#: atom with 62 neighbours).
REBUILD_COST = 1.5


def build_graph(frame: Frame, cutoff: float) -> Graph:
    """Graph of all pairs of atoms within a cutoff, periodic images included.

    Parameters
    ----------
    frame : Frame
        Any cell: triclinic, left-handed, smaller than the cutoff (several images of one neighbour and of an atom
        itself become several edges), periodic in some directions only, or in none.
    cutoff : float
        Largest distance of a pair, Å.

    Returns
    -------
    Graph
        float64 on the CPU.

    Raises
    ------
    InputError
        The cutoff is not positive, two atoms coincide, or atoms of an open system are too far apart.
    """
    neighbors = NeighborList(cutoff, skin=0.0)
    graph = neighbors.graph(frame)
    return graph.replace(**{name: getattr(graph, name).clone() for name in EDGES})


class NeighborList:
    """Graphs of successive frames; a Verlet list with a skin is reused from frame to frame where that saves time.

    The list depends only on the frames since the last `reset`. The order of edges, and with it the round-off of sums
    over them, depends on these frames.

    Parameters
    ----------
    cutoff : float
        Largest distance of a pair, Å.
    skin : float, optional
        Extra distance within which pairs are stored, Å; the list is rebuilt when an atom has moved by half of it. By
        default it is chosen from the displacements between the first two frames.

    Raises
    ------
    InputError
        The cutoff is not a positive finite number.
    """

    def __init__(self, cutoff: float, *, skin: float | None = None) -> None:
        if not (isinstance(cutoff, (int, float, np.number)) and np.isfinite(cutoff) and cutoff > 0):
            raise InputError(f"cutoff is {cutoff!r}; it must be positive and finite, in Å")
        self.cutoff = float(cutoff)
        self.skin = skin
        self.reset()

    def reset(self) -> None:
        """Discard the list and the previous frame, so that the next graph does not depend on earlier frames."""
        self._search = self._vesin(self.skin or 0.0)
        self._last: Frame | None = None
        self._n_frames = 0

    def graph(self, frame: Frame) -> Graph:
        """Graph of the next frame.

        The edges are views of the list's memory: they are valid until the next call, and as long as this object exists.
        For atoms that were wrapped across a boundary since the previous frame, ``graph.positions`` holds the positions
        without the wrapping; edges do not depend on that.

        Parameters
        ----------
        frame : Frame
            The frame, of the same atoms as the one before.

        Returns
        -------
        Graph
            float64 on the CPU.

        Raises
        ------
        InputError
            Two atoms coincide, or atoms of an open system are too far apart.
        """
        frame, moved = self._unwrap(frame)
        self._n_frames += 1
        if self._n_frames == 2 and self.skin is None:
            self._search = self._vesin(best_skin(self.cutoff, moved))
        self._last = frame
        return self._build(frame)

    def _vesin(self, skin: float) -> Any:
        from vesin import NeighborList as Vesin

        return Vesin(cutoff=self.cutoff, full_list=True, skin=skin, n_threads=1)

    def _unwrap(self, frame: Frame) -> tuple[Frame, float]:
        """Undo the wrapping of atoms since the previous frame; returns the frame, and the largest displacement, Å."""
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

        _refuse_scattered(frame, self.cutoff)
        cell = np.zeros((3, 3)) if frame.cell is None else frame.cell
        # Views of vesin's memory: page faults of new arrays would cost as much as one pass through the list.
        receivers, senders, shifts, r_ij = self._search.compute(
            points=frame.positions, box=cell, periodic=frame.pbc, quantities="ijSD", copy=False
        )
        _refuse_coincident(receivers, senders, r_ij)
        return Graph(
            # Copies: tensors are writable, a frame's arrays are not.
            numbers=torch.tensor(frame.numbers),
            positions=torch.tensor(frame.positions),
            cell=None if frame.cell is None else torch.tensor(frame.cell),
            senders=torch.from_numpy(senders.view(np.int64)),
            receivers=torch.from_numpy(receivers.view(np.int64)),
            shifts=torch.from_numpy(shifts),
            r_ij=torch.from_numpy(r_ij),
        )


def best_skin(cutoff: float, step: float) -> float:
    """Skin with the smallest expected cost per frame, Å; 0 where a search in every frame is cheapest.

    A larger skin means more pairs per pass, and fewer searches: the list lasts ``skin / (2 step)`` frames.

    Parameters
    ----------
    cutoff : float
        Largest distance of a pair, Å.
    step : float
        Displacement of the fastest atom from frame to frame, Å.
    """

    def cost(skin: float) -> float:
        lasts = max(1.0, skin / (2 * step)) if step > 0 else np.inf
        return (1 + skin / cutoff) ** 3 * (1 + REBUILD_COST / lasts)

    best = min(SKINS, key=cost)
    return best if cost(best) < 1 + REBUILD_COST else 0.0


def _refuse_scattered(frame: Frame, cutoff: float) -> None:
    """Refuse atoms too far apart: vesin divides open directions into bins of one cutoff; too many crash it."""
    if all(frame.pbc):
        return
    offsets = np.abs(frame.positions - np.median(frame.positions, axis=0)).max(axis=1)
    if offsets.max() > MOST_BINS * cutoff:
        atom = int(offsets.argmax())
        raise InputError(
            f"atom {atom} (counted from 0) lies {offsets[atom]:.3g} Å from the others in an open system; "
            "remove the atoms that have escaped"
        )


def _refuse_coincident(first: np.ndarray, second: np.ndarray, vectors: np.ndarray) -> None:
    from fluxan.kernels.cpu import shortest_edge

    k, squared = shortest_edge(vectors)
    if squared < 1e-12:
        raise InputError(
            f"atoms {first[k]} and {second[k]} (counted from 0) lie at one point, within {squared**0.5:.1e} Å"
        )
