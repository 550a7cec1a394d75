"""Evaluation of a model by all MPI ranks: every rank takes the energies of the atoms that LAMMPS has given to it.

Energy, forces, virial and flux are sums over the owners i of atomic energies U_i, so that each rank computes the sums
over its own atoms, and the sums over the ranks are exact. U_i depends on atoms up to `n_hops` edges away: a rank
evaluates its own atoms and a halo of that depth, with the energies of the halo set to zero (`BlockModel`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fluxan.flux.adjoint import ForwardPass
from fluxan.flux.energies import model_dtype, model_graph, model_name, model_reach, to_numpy
from fluxan.flux.local import closed_form, refuse_non_finite
from fluxan.potentials.base import Potential

if TYPE_CHECKING:
    from collections.abc import Callable

    from fluxan.md.lammps.ranks import Ranks
    from fluxan.system import Graph

#: Largest relative difference between energies with and without distant atoms that counts as round-off, in machine
#: epsilons.
ROUNDINGS = 1e3


@dataclass(frozen=True, slots=True, eq=False)
class OwnerBlock:
    """Atoms of one rank and their halo.

    Attributes
    ----------
    model : Potential
        The model, with the energies of the halo set to zero.
    graph : Graph
        Graph of atoms and halo.
    atoms : (n_block,) int64
        Index of each of them in the whole system.
    n_whole : int
        Number of atoms of the whole system.
    """

    model: Potential
    graph: Graph
    atoms: np.ndarray
    n_whole: int

    @property
    def is_empty(self) -> bool:
        """Whether this rank has no atoms to evaluate."""
        return len(self.atoms) == 0

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Values of the block's atoms as an array of all atoms, zero elsewhere."""
        whole = np.zeros((self.n_whole, *values.shape[1:]))
        whole[self.atoms] = values
        return whole


class OwnerBlocks:
    """Division of a system's atoms among the ranks.

    Parameters
    ----------
    model : Potential
        The model.
    ranks : Ranks
        The ranks.
    owned : callable
        Returns the indices of this rank's atoms at present.
    """

    def __init__(self, model: Potential, ranks: Ranks, owned: Callable[[], np.ndarray]) -> None:
        self.model, self.ranks = model, ranks
        self._owned = owned
        self._divisible: bool | None = None

    def block(self, graph: Graph, *, divided: bool = True) -> OwnerBlock:
        """Give this rank's part of a graph; where the model cannot be divided, or on request, rank 0 has all atoms.

        Parameters
        ----------
        graph : Graph
            The whole system; float64, on the CPU, equal on all ranks.
        divided : bool
            Divide the atoms among the ranks.

        Warns
        -----
        UserWarning
            The model's energies depend on atoms farther away than it declares: it cannot be divided.
        """
        if divided and self._divisible is None and graph.n_edges:
            self._divisible = self._examine(graph)
        return self._part(graph) if divided and self._divisible is not False else self._all_on_root(graph)

    def _part(self, graph: Graph) -> OwnerBlock:
        return owner_block(self.model, graph, self._owned())

    def _all_on_root(self, graph: Graph) -> OwnerBlock:
        return owner_block(self.model, graph, np.arange(graph.n_atoms if self.ranks.is_root else 0))

    def _examine(self, graph: Graph) -> bool:
        """Compare energies from blocks with those of the whole system, which rank 0 evaluates once.

        Nothing else shows that a model reaches farther than it declares.
        """
        part = self._part(graph)
        (divided,) = self.ranks.sum(part.spread(self.ranks.agree(_energies, part)))
        whole = self.ranks.from_root(_energies, self._all_on_root(graph))
        error = np.abs(divided - whole).max() / max(np.abs(whole).max(), np.finfo(float).tiny)
        if error <= ROUNDINGS * torch.finfo(model_dtype(self.model)).eps:
            return True
        if self.ranks.is_root:
            warnings.warn(
                f"{model_name(self.model)}: its energies depend on atoms farther than n_hops = "
                f"{model_reach(self.model)} edges of {self.model.cutoff} Å (without them they change by {error:.1e}); "
                "rank 0 evaluates all atoms, and the others wait: declare what holds",
                stacklevel=2,
            )
        return False


def owner_block(model: Potential, graph: Graph, owners: np.ndarray) -> OwnerBlock:
    """Atoms at most `n_hops` edges away from the owners, and edges with one end at most ``n_hops - 1`` edges away.

    Parameters
    ----------
    model : Potential
        The model.
    graph : Graph
        The whole system; float64, on the CPU.
    owners : (n_owners,) int
        Indices of the owners.
    """
    if len(owners) == graph.n_atoms:
        return OwnerBlock(model, graph, np.arange(graph.n_atoms), graph.n_atoms)
    senders, receivers = graph.senders.numpy(), graph.receivers.numpy()
    owned = np.zeros(graph.n_atoms, dtype=bool)
    owned[owners] = True
    near = owned.copy()
    for _ in range(model_reach(model) - 1):
        near[senders[near[receivers]]] = True
    # Edges out of the near atoms too: some models scatter to senders.
    edges = np.flatnonzero(near[receivers] | near[senders])
    near[senders[edges]] = True
    atoms = np.flatnonzero(near)
    place = np.empty(graph.n_atoms, dtype=np.int64)
    place[atoms] = np.arange(len(atoms))
    kept, rows = torch.from_numpy(atoms), torch.from_numpy(edges)
    part = graph.replace(
        numbers=graph.numbers[kept],
        positions=graph.positions[kept],
        senders=torch.from_numpy(place[senders[edges]]),
        receivers=torch.from_numpy(place[receivers[edges]]),
        shifts=graph.shifts[rows],
        r_ij=graph.r_ij[rows],
    )
    return OwnerBlock(BlockModel(model, owned[atoms], kept), part, atoms, graph.n_atoms)


class BlockModel(Potential):
    """A model on a block, with the energies of the halo set to zero.

    Parameters
    ----------
    model : Potential
        The model.
    owned : (n_block,) bool
        Which atoms are not of the halo.
    atoms : (n_block,) int64 tensor
        Index of each atom in the whole system, for messages.
    """

    def __init__(self, model: Potential, owned: np.ndarray, atoms: torch.Tensor) -> None:
        super().__init__()
        self.model, self.cutoff, self.n_hops = model, model.cutoff, model_reach(model)
        self.dtype, self.original_name = model_dtype(model), model_name(model)
        self.training = isinstance(model, Potential) and model.training
        self._owned, self._atoms = torch.from_numpy(owned), atoms

    def forward(self, graph: Graph) -> torch.Tensor:
        """Atomic energies U_i of the owners, (n_block,) eV, and zero for the halo."""
        energies = self.model(graph)
        if not isinstance(energies, torch.Tensor) or energies.shape != graph.numbers.shape:
            return energies  # refused by the caller
        owned = self._mask(graph)
        self._refuse_non_finite(graph, torch.where(owned, energies.detach(), 0.0), energies.new_zeros(0, 3))
        return torch.where(owned, energies, 0.0)

    def pair_forces(self, graph: Graph) -> tuple[torch.Tensor, torch.Tensor] | None:
        """U_i and g_ij of the owners, and zero for the halo; None if the model has no closed form of them."""
        found = closed_form(self.model, graph)
        if found is None:
            return None
        owned = self._mask(graph)
        energies = torch.where(owned, found[0], 0.0)
        g_ij = torch.where(owned[graph.receivers, None], found[1], 0.0)
        self._refuse_non_finite(graph, energies, g_ij)
        return energies, g_ij

    def _mask(self, graph: Graph) -> torch.Tensor:
        # The flux may be evaluated on a repeated cell.
        return self._owned.repeat(graph.n_atoms // len(self._owned)).to(graph.numbers.device)

    def _refuse_non_finite(self, graph: Graph, energies: torch.Tensor, g_ij: torch.Tensor) -> None:
        """Name the atoms of the whole system in the error."""
        atoms = self._atoms.to(energies.device)
        everywhere = energies.new_zeros(int(atoms.max()) + 1)
        everywhere[atoms] = energies[: len(atoms)]
        if graph.n_atoms == len(atoms):
            graph = graph.replace(receivers=atoms[graph.receivers], senders=atoms[graph.senders])
        refuse_non_finite(self.model, graph, everywhere, g_ij)


def _energies(block: OwnerBlock) -> np.ndarray:
    if block.is_empty:
        return np.zeros(0)
    return to_numpy(ForwardPass(block.model, model_graph(block.model, block.graph)).energies)
