"""The adjoint route: exact flux and virials of message-passing models on the periodic graph, with no replica built.

Every owner's share of an adjoint carries the displacement from the owner to where the adjoint is. It changes only at
crossings (`fluxan.flux.crossings`), by ``r_ij``; so one plain backward pass that records the adjoints there, and one
more per Cartesian direction that starts from ``r_ij`` times those adjoints, give all W_j. See docs/theory.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fluxan.flux.crossings import find_crossings
from fluxan.flux.energies import atomic_energies, model_graph, to_numpy
from fluxan.flux.replicas import distinguish
from fluxan.kernels import cpu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.flux.crossings import Crossing
    from fluxan.potentials.base import Potential
    from fluxan.system import Graph


class AdjointRoute:
    """Flux and virial by adjoint injection.

    Parameters
    ----------
    model : Potential
    """

    name = "adjoint"

    def __init__(self, model: Potential) -> None:
        self.model = model

    def potential_flux(
        self, graph: Graph, velocities: np.ndarray, groups: np.ndarray, n_groups: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Atomic energies (n_atoms,) eV and virial flux (owners, carriers, 3) eV Å/ps."""
        forward, n_atoms = self._forward(graph)
        flux = np.empty((n_groups, n_groups, 3))
        for owner in range(n_groups):
            virial = forward.virial(_owners(groups == owner, forward))
            cpu.virial_flux(to_numpy(virial)[:n_atoms], velocities, groups, flux[owner])
        return to_numpy(forward.energies)[:n_atoms], flux

    def atomic_virial(self, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
        """Atomic energies (n_atoms,) eV and W_j (n_atoms, 3, 3) eV."""
        forward, n_atoms = self._forward(graph)
        return to_numpy(forward.energies)[:n_atoms], to_numpy(forward.virial())[:n_atoms]

    def gauge(self, graph: Graph, phi: np.ndarray) -> np.ndarray:
        """Run the route with ``φ_sender − φ_receiver`` in place of r_ij, (n_atoms, 3)."""
        forward = ForwardPass(self.model, model_graph(self.model, graph))
        values = torch.as_tensor(phi).to(forward.displacements)
        weights = values[forward.graph.senders] - values[forward.graph.receivers]
        return to_numpy(-forward.inject(forward.adjoints(), [weights])[0])

    def _forward(self, graph: Graph) -> tuple[ForwardPass, int]:
        """One forward pass, of a repeated cell where senders could not be told from receivers."""
        return ForwardPass(self.model, model_graph(self.model, distinguish(graph))), graph.n_atoms


def differentiable_virial(model: Potential, graph: Graph) -> torch.Tensor:
    """Nine-component virial of every atom as a function that can be trained on.

    Parameters
    ----------
    model : Potential
        In training mode or not; double-backward safe.
    graph : Graph
        In the model's dtype and on its device. Gradients reach ``graph.positions`` or ``graph.r_ij``, whichever
        requires them.

    Returns
    -------
    torch.Tensor
        W_j, (n_atoms, 3, 3) eV, differentiable with respect to parameters, positions and edge vectors.

    Raises
    ------
    ModelError
        See `fluxan.flux.energies.atomic_energies`.
    """
    n_atoms = graph.n_atoms
    return ForwardPass(model, distinguish(graph), training=True).virial()[:n_atoms]


class ForwardPass:
    """One evaluation of a model, kept so that any number of backward passes can start from its crossings.

    Parameters
    ----------
    model : Potential
    graph : Graph
        In the model's dtype and on its device; senders and receivers differ somewhere.
    training : bool
        Make the results differentiable.

    Attributes
    ----------
    graph : Graph
        What the model was given: positions and edge vectors follow the displacements.
    displacements : (n_atoms, 3), zeros that require gradients
    energies : (n_atoms,) eV
    """

    def __init__(self, model: Potential, graph: Graph, *, training: bool = False) -> None:
        self._differentiable = training
        self.displacements = torch.zeros_like(graph.positions, requires_grad=True)
        self.graph = _displace(graph, self.displacements)
        self.energies = atomic_energies(model, self.graph, training=training)
        self.crossings: Sequence[Crossing] = ()
        self.hidden: tuple[str, ...] = ()
        if self.energies.requires_grad:
            self.crossings, self.hidden = find_crossings(
                self.energies, self.displacements, senders=graph.senders, receivers=graph.receivers
            )

    def virial(self, owners: torch.Tensor | None = None) -> torch.Tensor:
        """W_j, (n_atoms, 3, 3) eV, of the energies of some owners, (n_atoms,) weights; of all by default."""
        return -self.inject(self.adjoints(owners), list(self.graph.r_ij.T)).transpose(0, 1)

    def adjoints(self, seeds: torch.Tensor | None = None) -> list[torch.Tensor | None]:
        """Adjoints of Σ s_i U_i at the edge data of every crossing, by one plain backward pass."""
        recorded: dict[Crossing, torch.Tensor | None] = {}
        handles = [crossing.record(recorded) for crossing in self.crossings]
        try:
            self.gradient(torch.ones_like(self.energies) if seeds is None else seeds)
        finally:
            for handle in handles:
                handle.remove()
        return [recorded.get(crossing) for crossing in self.crossings]

    def gradient(self, seeds: torch.Tensor) -> torch.Tensor:
        """Gradient of Σ s_i U_i on the displacements, (n_atoms, 3) eV/Å."""
        return self._backward([self.energies], [seeds])

    def inject(self, adjoints: list[torch.Tensor | None], weights: Sequence[torch.Tensor]) -> torch.Tensor:
        """Gradients on the displacements, (n_weights, n_atoms, 3), left by adjoints times each weight per edge."""
        reached = [(c, adjoint) for c, adjoint in zip(self.crossings, adjoints, strict=True) if adjoint is not None]
        places = [crossing.edge_data for crossing, _ in reached]
        return torch.stack([self._backward(places, [c.weigh(w, adjoint) for c, adjoint in reached]) for w in weights])

    def _backward(self, outputs: Sequence, adjoints: Sequence[torch.Tensor]) -> torch.Tensor:
        if not self.crossings:
            return torch.zeros_like(self.displacements)
        (gradient,) = torch.autograd.grad(
            outputs,
            self.displacements,
            adjoints,
            retain_graph=True,
            create_graph=self._differentiable,
            allow_unused=True,
        )
        return torch.zeros_like(self.displacements) if gradient is None else gradient


def _displace(graph: Graph, displacements: torch.Tensor) -> Graph:
    # Edge vectors keep their own digits: formed anew from positions they would lose some in single precision.
    moves = displacements
    if graph.positions.requires_grad and not graph.r_ij.requires_grad:
        moves = displacements + (graph.positions - graph.positions.detach())
    r_ij = graph.r_ij + (moves.index_select(0, graph.senders) - moves.index_select(0, graph.receivers))
    return graph.replace(positions=graph.positions + displacements, r_ij=r_ij)


def _owners(mask: np.ndarray, forward: ForwardPass) -> torch.Tensor:
    """1 for owners, on every copy of the cell."""
    copies = len(forward.energies) // len(mask)
    return torch.as_tensor(np.tile(mask, copies)).to(forward.energies)
