"""The adjoint route: exact flux and virials of message-passing models on the periodic graph, with no replica built.

Every owner's share of an adjoint carries the displacement from the owner to where the adjoint is. It changes only at
crossings (`fluxan.flux.crossings`), by ``r_ij``; so one plain backward pass that records the adjoints there, and one
more per Cartesian direction that starts from ``r_ij`` times those adjoints, give all W_j. See docs/theory.md.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from fluxan.flux.crossings import CrossingSearch, find_crossings
from fluxan.flux.energies import atomic_energies, model_graph, to_numpy
from fluxan.flux.replicas import distinguish, enlarge
from fluxan.flux.signature import signature
from fluxan.kernels import cpu

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fluxan.flux.crossings import Crossing
    from fluxan.flux.signature import Signature
    from fluxan.potentials.base import Potential
    from fluxan.system import Graph

#: Edges up to which a small cell is repeated for the adjoint route; unfolding it would take more.
_MOST_EDGES = 20_000


class AdjointRoute:
    """Flux and virial by adjoint injection.

    Parameters
    ----------
    model : Potential

    Attributes
    ----------
    signature : of the forward pass before
    """

    name = "adjoint"

    def __init__(self, model: Potential) -> None:
        self.model = model
        self.signature: Signature | None = None

    def potential_flux(
        self, graph: Graph, velocities: np.ndarray, groups: np.ndarray, n_groups: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Atomic energies (n_atoms,) eV and virial flux (owners, carriers, 3) eV Å/ps."""
        forward, n_atoms = self._forward(graph)
        by_owner = (forward.adjoints(owners_of(groups == owner, forward)) for owner in range(n_groups))
        return to_numpy(forward.energies)[:n_atoms], injected_flux(forward, by_owner, velocities, groups, n_groups)

    def atomic_virial(self, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
        """Atomic energies (n_atoms,) eV and W_j (n_atoms, 3, 3) eV."""
        forward, n_atoms = self._forward(graph)
        return to_numpy(forward.energies)[:n_atoms], to_numpy(forward.virial())[:n_atoms]

    def gauge(self, graph: Graph, phi: np.ndarray) -> np.ndarray:
        """Run the route with ``φ_sender − φ_receiver`` in place of r_ij, (n_atoms, 3)."""
        forward = ForwardPass(self.model, model_graph(self.model, graph))
        self.signature = forward.signature
        values = torch.as_tensor(phi).to(forward.displacements)
        weights = values[forward.graph.senders] - values[forward.graph.receivers]
        return to_numpy(-forward.inject(forward.adjoints(), [weights])[0])

    def _forward(self, graph: Graph) -> tuple[ForwardPass, int]:
        """One forward pass, of a repeated cell where that is needed."""
        forward, _ = decided_pass(self.model, graph)
        self.signature = forward.signature
        return forward, graph.n_atoms


def injected_flux(
    forward: ForwardPass,
    by_owner: Iterable[list[torch.Tensor | None]],
    velocities: np.ndarray,
    groups: np.ndarray,
    n_groups: int,
) -> np.ndarray:
    """Virial flux (owners, carriers, 3) eV Å/ps from the adjoints of each owner's energies."""
    flux = np.empty((n_groups, n_groups, 3))
    for owner, adjoints in enumerate(by_owner):
        virial = to_numpy(forward.virial(adjoints))[: len(groups)]
        cpu.virial_flux(virial, velocities, groups, flux[owner])
    return flux


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
    return decided_pass(model, graph, training=True)[0].virial()[:n_atoms]


class ForwardPass:
    """One evaluation of a model, kept so that any number of backward passes can start from its crossings.

    Parameters
    ----------
    model : Potential
    graph : Graph
        In the model's dtype and on its device; senders and receivers differ somewhere.
    training : bool
        Make the results differentiable.
    strained : bool
        Let everything follow a strain too, for the stress; no value changes by that, to the last bit.

    Attributes
    ----------
    graph : Graph
        What the model was given: positions and edge vectors follow the displacements.
    displacements : (n_atoms, 3), zeros that require gradients
    strain : (3, 3), zeros that require gradients, or None
    energies : (n_atoms,) eV
    """

    def __init__(self, model: Potential, graph: Graph, *, training: bool = False, strained: bool = False) -> None:
        self._differentiable = training
        self.displacements = torch.zeros_like(graph.positions, requires_grad=True)
        self.graph = _displace(graph, self.displacements)
        self.strain: torch.Tensor | None = None
        if strained:
            self.strain = torch.zeros(3, 3).to(graph.positions).requires_grad_()
            self.graph = _stretch(self.graph, torch.eye(3).to(self.strain) + self.strain)
        self.energies = atomic_energies(model, self.graph, training=training)

    @cached_property
    def crossings(self) -> Sequence[Crossing]:
        """Where data passes between the ends of edges."""
        return self.search.crossings

    @property
    def hidden(self) -> tuple[str, ...]:
        """What may hide more crossings, in words."""
        return self.search.hidden

    @cached_property
    def signature(self) -> Signature:
        """What a check of this forward pass holds for."""
        return signature(self.search, n_edges=self.graph.n_edges, n_atoms=self.graph.n_atoms)

    @cached_property
    def search(self) -> CrossingSearch:
        """What the walk of the autograd graph found."""
        if not self.energies.requires_grad:
            return CrossingSearch()
        return find_crossings(self.energies, self.displacements, self.graph)

    def virial(self, adjoints: list[torch.Tensor | None] | None = None) -> torch.Tensor:
        """W_j, (n_atoms, 3, 3) eV, of the energies that left these adjoints; of all by default."""
        adjoints = self.adjoints() if adjoints is None else adjoints
        return -self.inject(adjoints, list(self.graph.r_ij.T)).transpose(0, 1)

    def adjoints(self, seeds: torch.Tensor | None = None) -> list[torch.Tensor | None]:
        """Adjoints of Σ s_i U_i at the edge data of every crossing, by one plain backward pass; s_i is 1 by default."""
        with self.recording() as recorded:
            self.gradient(torch.ones_like(self.energies) if seeds is None else seeds)
        return recorded

    @contextmanager
    def recording(self) -> Iterator[list[torch.Tensor | None]]:
        """Have the one backward pass inside the context leave its adjoints at every crossing in a list."""
        found: dict[Crossing, torch.Tensor | None] = {}
        recorded: list[torch.Tensor | None] = []
        handles = [crossing.record(found) for crossing in self.crossings]
        try:
            yield recorded
        finally:
            for handle in handles:
                handle.remove()
        recorded += [found.get(crossing) for crossing in self.crossings]

    def derivatives(self, *, edges: bool = False, keep: bool = False) -> tuple[torch.Tensor, ...]:
        """Derivatives of Σ U_i by one backward pass: displacements, strain (where strained), edge vectors on request.

        With `keep` further backward passes may follow.
        """
        inputs = [self.displacements] + ([] if self.strain is None else [self.strain])
        inputs += [self.graph.r_ij] if edges else []
        if not self.energies.requires_grad:
            return tuple(torch.zeros_like(x) for x in inputs)
        total = self.energies.sum()
        return torch.autograd.grad(total, inputs, retain_graph=keep, allow_unused=True, materialize_grads=True)

    def gradient(self, seeds: torch.Tensor) -> torch.Tensor:
        """Gradient of Σ s_i U_i on the displacements, (n_atoms, 3) eV/Å."""
        return self._backward([self.energies], [seeds])

    def inject(self, adjoints: list[torch.Tensor | None], weights: Sequence[torch.Tensor]) -> torch.Tensor:
        """Gradients on the displacements, (n_weights, n_atoms, 3), left by adjoints times each weight per edge."""
        reached = [(c, adjoint) for c, adjoint in zip(self.crossings, adjoints, strict=True) if adjoint is not None]
        places = [crossing.edge_data for crossing, _ in reached]
        return torch.stack([self._backward(places, [c.weigh(w, adjoint) for c, adjoint in reached]) for w in weights])

    def _backward(self, outputs: Sequence, adjoints: Sequence[torch.Tensor]) -> torch.Tensor:
        if not outputs or not self.energies.requires_grad:
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


def decided_pass(
    model: Potential, graph: Graph, *, strained: bool = False, training: bool = False
) -> tuple[ForwardPass, Graph]:
    """Forward pass of a cell, repeated as far as it must be to tell senders from receivers, and edge from edge.

    Parameters
    ----------
    model : Potential
    graph : Graph
        float64, on the CPU; for training as the model takes it.
    strained, training : bool
        See `ForwardPass`.

    Returns
    -------
    forward : ForwardPass
    graph : Graph
        What it is of; the first atoms of a repeated cell are its own.
    """
    graph = distinguish(graph)
    while True:
        seen = graph if training else model_graph(model, graph)
        forward = ForwardPass(model, seen, strained=strained, training=training)
        larger = enlarge(graph, 2 * graph.n_atoms) if forward.search.undecided else graph
        if larger is graph or larger.n_edges > _MOST_EDGES:
            return forward, graph
        graph = larger


def _displace(graph: Graph, displacements: torch.Tensor) -> Graph:
    # Edge vectors keep their own digits: formed anew from positions they would lose some in single precision.
    moves = displacements
    if graph.positions.requires_grad and not graph.r_ij.requires_grad:
        moves = displacements + (graph.positions - graph.positions.detach())
    r_ij = graph.r_ij + (moves.index_select(0, graph.senders) - moves.index_select(0, graph.receivers))
    return graph.replace(positions=graph.positions + displacements, r_ij=r_ij)


def _stretch(graph: Graph, stretch: torch.Tensor) -> Graph:
    return graph.replace(
        positions=graph.positions @ stretch,
        cell=None if graph.cell is None else graph.cell @ stretch,
        r_ij=graph.r_ij @ stretch,
    )


def owners_of(mask: np.ndarray, forward: ForwardPass) -> torch.Tensor:
    """1 for owners, on every copy of the cell."""
    copies = len(forward.energies) // len(mask)
    return torch.as_tensor(np.tile(mask, copies)).to(forward.energies)
