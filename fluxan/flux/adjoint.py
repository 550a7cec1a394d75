"""The adjoint route: exact flux and virials of message-passing models on the periodic graph, without replicas.

An adjoint is the derivative of the energies with respect to an intermediate value of the model. For W_j the part of an
adjoint that comes from U_i is weighted with the displacement from atom i to the atom of the intermediate value. In a
backward pass this displacement changes only at crossings (`fluxan.flux.crossings`), by ``r_ij``. All W_j are therefore
found in three steps (docs/theory.md derives them):

1. a forward pass, and a search of its autograd graph for the crossings (`ForwardPass`);
2. one plain backward pass, which records the adjoints of the edge data at every crossing (`ForwardPass.adjoints`);
3. adjoint injection: one backward pass per Cartesian direction, which starts at the crossings from the recorded
   adjoints times ``r_ij`` (`ForwardPass.inject`).
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

#: Number of edges up to which a small cell is repeated for the adjoint route.
_MAX_EDGES = 20_000


class AdjointRoute:
    """Flux and virial by adjoint injection.

    Parameters
    ----------
    model : Potential
        Any model whose crossings can be found.

    Attributes
    ----------
    signature : Signature or None
        Signature of the last forward pass.
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

    def virial_force(self, graph: Graph, field: np.ndarray) -> np.ndarray:
        """W_jᵀ F_e of every atom for a vector F_e (3,), (n_atoms, 3)."""
        forward, n_atoms = self._forward(graph)
        return injected_virial_force(forward, forward.adjoints(), field)[:n_atoms]

    def gauge(self, graph: Graph, phi: np.ndarray) -> np.ndarray:
        """Run the route with ``φ_sender − φ_receiver`` in place of r_ij, for `phi` (n_atoms,); returns (n_atoms, 3)."""
        forward = ForwardPass(self.model, model_graph(self.model, graph))
        self.signature = forward.signature
        values = torch.as_tensor(phi).to(forward.displacements)
        weights = values[forward.graph.senders] - values[forward.graph.receivers]
        return to_numpy(-forward.inject(forward.adjoints(), [weights])[0])

    def _forward(self, graph: Graph) -> tuple[ForwardPass, int]:
        """Forward pass, of a repeated cell if that is needed, and the number of atoms of the cell itself."""
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
    """Virial flux from the adjoints of each owner group's energies.

    Parameters
    ----------
    forward : ForwardPass
        The forward pass.
    by_owner : iterable of list
        Adjoints at every crossing, of the energies of each group of owners.
    velocities : (n_atoms, 3) float64
        Velocities, Å/ps.
    groups : (n_atoms,) int
        Group of each atom.
    n_groups : int
        Number of groups.

    Returns
    -------
    (n_groups, n_groups, 3) float64
        Owner × carrier, eV Å/ps.
    """
    flux = np.empty((n_groups, n_groups, 3))
    for owner, adjoints in enumerate(by_owner):
        virial = to_numpy(forward.virial(adjoints))[: len(groups)]
        cpu.virial_flux(virial, velocities, groups, flux[owner])
    return flux


def injected_virial_force(forward: ForwardPass, adjoints: list[torch.Tensor | None], field: np.ndarray) -> np.ndarray:
    """W_jᵀ F_e of every atom for a vector F_e (3,), (n_atoms, 3), by one injection instead of the three of W_j."""
    weights = forward.graph.r_ij.detach() @ torch.as_tensor(field).to(forward.displacements.detach())
    return -to_numpy(forward.inject(adjoints, [weights])[0])


def differentiable_virial(model: Potential, graph: Graph) -> torch.Tensor:
    """Nine-component virial of every atom, differentiable, so that a model can be trained on it.

    Parameters
    ----------
    model : Potential
        In training mode or not; it must be twice differentiable.
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
        The model.
    graph : Graph
        In the model's dtype and on its device; senders and receivers differ for at least one edge.
    training : bool
        Make the results differentiable.
    strained : bool
        Let positions, cell and edge vectors also depend on a strain, which is zero, for the stress. No value changes.

    Attributes
    ----------
    graph : Graph
        The graph given to the model, whose positions and edge vectors depend on the displacements.
    displacements : (n_atoms, 3) tensor
        Zeros that require gradients, Å.
    strain : (3, 3) tensor or None
        Zeros that require gradients.
    energies : (n_atoms,) tensor
        U_i, eV.
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
        """Places where data passes between the two ends of edges."""
        return self.search.crossings

    @property
    def hidden(self) -> tuple[str, ...]:
        """Descriptions of nodes that may hide further crossings."""
        return self.search.hidden

    @cached_property
    def signature(self) -> Signature:
        """Signature of this forward pass: a check of this pass also holds for others with the same signature."""
        return signature(self.search, n_edges=self.graph.n_edges, n_atoms=self.graph.n_atoms)

    @cached_property
    def search(self) -> CrossingSearch:
        """Result of the search of the autograd graph for crossings."""
        if not self.energies.requires_grad:
            return CrossingSearch()
        return find_crossings(self.energies, self.displacements, self.graph)

    def virial(self, adjoints: list[torch.Tensor | None] | None = None) -> torch.Tensor:
        """W_j, (n_atoms, 3, 3) eV, of the energies to which the adjoints belong; of all energies by default."""
        adjoints = self.adjoints() if adjoints is None else adjoints
        return -self.inject(adjoints, list(self.graph.r_ij.T)).transpose(0, 1)

    def adjoints(self, seeds: torch.Tensor | None = None) -> list[torch.Tensor | None]:
        """Adjoints of Σ s_i U_i at the edge data of every crossing, by one plain backward pass; s_i is 1 by default."""
        with self.recording() as recorded:
            self.gradient(torch.ones_like(self.energies) if seeds is None else seeds)
        return recorded

    @contextmanager
    def recording(self) -> Iterator[list[torch.Tensor | None]]:
        """Record the adjoints at every crossing of the one backward pass that runs inside the context.

        The list that it yields is filled at the end of the context, with None for crossings that no adjoint reached.
        """
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
        """Derivatives of Σ U_i by one backward pass: displacements, strain (if `strained`), edge vectors on request.

        `keep` keeps the autograd graph for further backward passes.
        """
        inputs = [self.displacements] + ([] if self.strain is None else [self.strain])
        inputs += [self.graph.r_ij] if edges else []
        if not self.energies.requires_grad:
            return tuple(torch.zeros_like(x) for x in inputs)
        total = self.energies.sum()
        return torch.autograd.grad(total, inputs, retain_graph=keep, allow_unused=True, materialize_grads=True)

    def gradient(self, seeds: torch.Tensor) -> torch.Tensor:
        """Gradient of Σ s_i U_i with respect to the displacements, (n_atoms, 3) eV/Å, for seeds s (n_atoms,)."""
        return self._backward([self.energies], [seeds])

    def inject(self, adjoints: list[torch.Tensor | None], weights: Sequence[torch.Tensor]) -> torch.Tensor:
        """For each set of weights, start a backward pass at the crossings from their adjoints times these weights.

        Parameters
        ----------
        adjoints : list of tensor or None
            Adjoint of the edge data at each of `crossings`.
        weights : sequence of (n_edges,) tensor
            Weights.

        Returns
        -------
        (n_weights, n_atoms, 3) tensor
            Gradients with respect to the displacements.
        """
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
    """Forward pass of a cell, repeated until indices of senders, of receivers and of edges can be distinguished.

    Parameters
    ----------
    model : Potential
        The model.
    graph : Graph
        float64, on the CPU; for training in the model's dtype and on its device.
    strained, training : bool
        See `ForwardPass`.

    Returns
    -------
    forward : ForwardPass
        The forward pass.
    graph : Graph
        The graph that was evaluated; the first atoms of a repeated cell are those of the cell.
    """
    graph = distinguish(graph)
    while True:
        seen = graph if training else model_graph(model, graph)
        forward = ForwardPass(model, seen, strained=strained, training=training)
        larger = enlarge(graph, 2 * graph.n_atoms) if forward.search.undecided else graph
        if larger is graph or larger.n_edges > _MAX_EDGES:
            return forward, graph
        graph = larger


def _displace(graph: Graph, displacements: torch.Tensor) -> Graph:
    """Make positions and edge vectors depend on displacements, which are zero."""
    # Edge vectors are not recomputed from positions, which would lose precision in float32.
    moves = displacements
    if graph.positions.requires_grad and not graph.r_ij.requires_grad:
        moves = displacements + (graph.positions - graph.positions.detach())
    r_ij = graph.r_ij + (moves.index_select(0, graph.senders) - moves.index_select(0, graph.receivers))
    return graph.replace(positions=graph.positions + displacements, r_ij=r_ij)


def _stretch(graph: Graph, stretch: torch.Tensor) -> Graph:
    """Deform positions, cell and edge vectors by a (3, 3) matrix."""
    return graph.replace(
        positions=graph.positions @ stretch,
        cell=None if graph.cell is None else graph.cell @ stretch,
        r_ij=graph.r_ij @ stretch,
    )


def owners_of(mask: np.ndarray, forward: ForwardPass) -> torch.Tensor:
    """Seeds of a group of owners, given its mask (n_atoms,): 1 for them and for their copies in a repeated cell."""
    copies = len(forward.energies) // len(mask)
    return torch.as_tensor(np.tile(mask, copies)).to(forward.energies)
