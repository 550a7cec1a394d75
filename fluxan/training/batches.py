"""Batches of labelled frames as one disjoint graph, whose frames share no edge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from fluxan.system import Graph
from fluxan.training.descriptor_table import make_table, table_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.potentials.descriptor_potential import DescriptorPotential
    from fluxan.training.descriptor_table import DescriptorTable
    from fluxan.trajectory.labelled_frame import LabelledFrame

#: Memory that the tables of a fit's descriptors may take, bytes; beyond it they are computed in every step.
MAX_BYTES = 4 * 2**30


class Batch(NamedTuple):
    """Several frames and their labels, as tensors.

    A label that a frame does not have is zero, and its entry in ``has`` is False.

    Attributes
    ----------
    graph : Graph
        All atoms and edges; no cell, and shifts as in each frame's own graph.
    frame_of_atom : (n_atoms,) int64
        Frame of each atom.
    counts : (n_frames,) real
        Number of atoms of each frame.
    masses : (n_atoms,) real
        u.
    species : (n_atoms,) int64
        Index of each atom's element among those of the training set.
    energies : (n_frames,) real
        eV.
    forces : (n_atoms, 3) real
        eV/Å.
    virials : (n_frames, 3, 3) real
        ``−V · stress``, eV.
    fluxes : (n_frames, 3) real
        eV Å/ps.
    velocities : (n_atoms, 3) real
        Å/ps.
    has : dict of str to (n_frames,) bool
        Which frames have "energy", "forces", "virial", "flux" and "velocities".
    table : DescriptorTable or None
        Descriptors and their derivatives, where they were computed in advance.
    """

    graph: Graph
    frame_of_atom: torch.Tensor
    counts: torch.Tensor
    masses: torch.Tensor
    species: torch.Tensor
    energies: torch.Tensor
    forces: torch.Tensor
    virials: torch.Tensor
    fluxes: torch.Tensor
    velocities: torch.Tensor
    has: dict[str, torch.Tensor]
    table: DescriptorTable | None = None

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.counts)


def collate(
    frames: Sequence[LabelledFrame],
    graphs: Sequence[Graph],
    elements: Sequence[int],
    dtype: torch.dtype = torch.float64,
) -> Batch:
    """Join frames to one batch.

    Parameters
    ----------
    frames : sequence of LabelledFrame
        The frames.
    graphs : sequence of Graph
        Their graphs.
    elements : sequence of int
        Atomic numbers of the training set, ascending.
    dtype : torch.dtype
        Of the real tensors.

    Returns
    -------
    Batch
    """
    counts = [item.frame.n_atoms for item in frames]

    def labels(name: str, shape: tuple[int, ...], *, per_atom: bool = False) -> torch.Tensor:
        values = [_label(item, name) for item in frames]
        shapes = [(n, *shape) if per_atom else (1, *shape) for n in counts]
        rows = [np.zeros(s) if v is None else np.asarray(v).reshape(s) for v, s in zip(values, shapes, strict=True)]
        return torch.as_tensor(np.concatenate(rows)).to(dtype)

    names = ("energy", "forces", "virial", "flux", "velocities")
    numbers = np.concatenate([item.frame.numbers for item in frames])
    return Batch(
        graph=disjoint_graph(graphs).to(dtype=dtype),
        frame_of_atom=torch.arange(len(frames)).repeat_interleave(torch.tensor(counts)),
        counts=torch.tensor(counts, dtype=dtype),
        masses=torch.as_tensor(np.concatenate([np.asarray(item.frame.masses) for item in frames])).to(dtype),
        species=torch.as_tensor(np.searchsorted(np.asarray(elements), numbers)),
        energies=labels("energy", ()),
        forces=labels("forces", (3,), per_atom=True),
        virials=labels("virial", (3, 3)),
        fluxes=labels("flux", (3,)),
        velocities=labels("velocities", (3,), per_atom=True),
        has={name: torch.tensor([_label(item, name) is not None for item in frames]) for name in names},
    )


def with_tables(model: DescriptorPotential, batches: Sequence[Batch]) -> list[Batch]:
    """Add tables of the descriptors to batches in the model's dtype, unless they would take more than `MAX_BYTES`."""
    if sum(table_bytes(model, batch.graph) for batch in batches) > MAX_BYTES:
        return list(batches)
    return [batch._replace(table=make_table(model, batch.graph)) for batch in batches]


def disjoint_graph(graphs: Sequence[Graph]) -> Graph:
    """One graph of all atoms and edges, without a cell, since each frame has its own."""
    if len(graphs) == 1:
        return graphs[0].replace(cell=None)
    offsets = np.cumsum([0, *(graph.n_atoms for graph in graphs)])
    joined = {
        name: torch.cat([getattr(graph, name) for graph in graphs])
        for name in ("numbers", "positions", "shifts", "r_ij")
    }
    ends = {
        name: torch.cat([getattr(graph, name) + int(first) for graph, first in zip(graphs, offsets, strict=False)])
        for name in ("senders", "receivers")
    }
    return Graph(cell=None, **joined, **ends)


def _label(item: LabelledFrame, name: str) -> Any:
    return item.frame.velocities if name == "velocities" else getattr(item, name)
