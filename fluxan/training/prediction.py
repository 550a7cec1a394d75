"""Differentiable predictions of a model for a batch: energies, forces, virials, and the virial of every atom.

All come from one forward and one backward pass, but for the atomic virials of message-passing models, which take one
more backward pass per Cartesian direction (`fluxan.flux.adjoint`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from fluxan.errors import ModelError
from fluxan.flux.adjoint import ForwardPass
from fluxan.flux.energies import atomic_energies, model_name, model_reach

if TYPE_CHECKING:
    from fluxan.potentials.base import Potential
    from fluxan.system import Graph
    from fluxan.training.batches import Batch
    from fluxan.training.descriptor_table import DescriptorTable


class Prediction(NamedTuple):
    """What a model gives a batch.

    Attributes
    ----------
    energies : (n_frames,) tensor
        eV.
    forces : (n_atoms, 3) tensor
        eV/Å.
    virials : (n_frames, 3, 3) tensor
        ``−∂U/∂ε``, eV.
    atomic_virial : (n_atoms, 3, 3) tensor or None
        W_j, eV, where it was asked for.
    """

    energies: torch.Tensor
    forces: torch.Tensor
    virials: torch.Tensor
    atomic_virial: torch.Tensor | None


def predict(model: Potential, batch: Batch, *, flux: bool, training: bool = True) -> Prediction:
    """Evaluate a model on a batch in the model's dtype.

    Parameters
    ----------
    model : Potential
        Its energies depend on ``graph.r_ij``; a local one (``n_hops = 1``) or a message-passing one.
    batch : Batch
        The frames.
    flux : bool
        Whether the atomic virials are needed.
    training : bool
        Whether the result is differentiable with respect to the parameters.

    Raises
    ------
    ModelError
        The energies do not depend on ``graph.r_ij``, or, for a message-passing model, the graph is too small to tell
        senders from receivers.
    """
    if model_reach(model) == 1 or not flux:
        energies, r_ij, g_ij = _edge_gradient(model, batch, training=training)
        atomic = _sender_virial(batch, r_ij, g_ij) if flux else None
    else:
        energies, r_ij, g_ij, atomic = _adjoint_virial(model, batch, training=training)
    graph, frames = batch.graph, batch.frame_of_atom
    return Prediction(
        energies=energies.new_zeros(batch.n_frames).index_add(0, frames, energies),
        forces=forces_of(graph, g_ij),
        virials=_summed(outer(r_ij, -g_ij), frames[graph.receivers], batch.n_frames),
        atomic_virial=atomic,
    )


def forces_of(graph: Graph, g_ij: torch.Tensor) -> torch.Tensor:
    """Forces on all atoms, (n_atoms, 3) eV/Å, from ∂U/∂r_ij, (n_edges, 3) eV/Å; differentiable."""
    zeros = torch.zeros_like(graph.positions)
    return zeros.index_add(0, graph.receivers, g_ij).index_add(0, graph.senders, -g_ij)


def outer(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Outer products of rows, (n, 3, 3)."""
    return left[:, :, None] * right[:, None, :]


def _edge_gradient(
    model: Potential, batch: Batch, *, training: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U_i, (n_atoms,) eV, edge vectors, (n_edges, 3) Å, and ∂U/∂r_ij, (n_edges, 3) eV/Å."""
    if batch.table is not None:
        return _tabulated(model, batch, batch.table, training=training)
    r_ij = batch.graph.r_ij.detach().requires_grad_()
    energies = atomic_energies(model, batch.graph.replace(r_ij=r_ij), training=True)
    (g_ij,) = torch.autograd.grad(energies.sum(), r_ij, create_graph=training, allow_unused=True)
    if g_ij is None:
        raise ModelError(f"{model_name(model)} cannot be trained: its energies must be built from graph.r_ij")
    return energies, r_ij.detach(), g_ij


def _tabulated(
    model: Potential, batch: Batch, table: DescriptorTable, *, training: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As `_edge_gradient`, by the chain rule from descriptors and derivatives that were computed in advance."""
    descriptors = table.descriptors.detach().requires_grad_()
    energies = model.energies_of(descriptors, batch.species)  # type: ignore[operator]
    (slopes,) = torch.autograd.grad(energies.sum(), descriptors, create_graph=training)
    return energies, batch.graph.r_ij, table.pair_forces(slopes)


def _sender_virial(batch: Batch, r_ij: torch.Tensor, g_ij: torch.Tensor) -> torch.Tensor:
    """W_j = −Σ_i r_ij ⊗ g_ij of a local model."""
    return _summed(outer(r_ij, -g_ij), batch.graph.senders, batch.graph.n_atoms)


def _adjoint_virial(
    model: Potential, batch: Batch, *, training: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """As `_edge_gradient`, and W_j of a message-passing model; one backward pass gives forces and adjoints."""
    forward = ForwardPass(model, batch.graph, training=True)
    if forward.search.undecided:
        raise ModelError(f"{model_name(model)}: the cells are too small to tell senders from receivers; repeat them")
    with forward.recording() as adjoints:
        # The edge vectors are formed by a crossing too: only a pass down to the displacements records its adjoint.
        ends = (forward.graph.r_ij, forward.displacements)
        g_ij, _ = torch.autograd.grad(forward.energies.sum(), ends, create_graph=True)
    virial = forward.virial(adjoints)
    if not training:
        return forward.energies, batch.graph.r_ij, g_ij.detach(), virial.detach()
    return forward.energies, batch.graph.r_ij, g_ij, virial


def _summed(values: torch.Tensor, slots: torch.Tensor, n_slots: int) -> torch.Tensor:
    return values.new_zeros(n_slots, *values.shape[1:]).index_add(0, slots, values)
