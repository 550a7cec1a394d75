"""Ensembles of models: means and spreads of energy, forces and heat flux by element.

Members of one architecture share what they can. Potentials of the same symmetry functions share these; each member
takes one backward pass through angular functions, and none through radial ones, which have a closed form.
Message-passing networks are evaluated in one batched call (`torch.func.stack_module_state`, `torch.vmap`) where that is
faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from fluxan.errors import InputError, ModelError
from fluxan.flux.energies import model_graph, model_name, to_numpy
from fluxan.flux.evaluate import heat_flux
from fluxan.neighbors import build_graph
from fluxan.potentials.descriptor_potential import DescriptorPotential
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.potentials.radial_formula import radial_terms
from fluxan.potentials.weighted_sum import WeightedSum
from fluxan.training.prediction import forces_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.potentials.base import Potential
    from fluxan.system import Frame, Graph


#: Message-passing networks are stacked up to this many edges times members. Four of two layers then take 0.59 to 0.74
#: times as long as one by one (4 and 32 atoms), beyond it as long or longer (108 atoms), when features leave the cache
#: (`benchmarks/ensemble.py`).
_MOST_STACKED_EDGES = 20_000


class EnsemblePrediction(NamedTuple):
    """Predictions of every member for one frame.

    Attributes
    ----------
    energies : (n_members,) float64
        eV.
    forces : (n_members, n_atoms, 3) float64
        eV/Å.
    fluxes : (n_members, n_carriers, 3) float64 or None
        Virial heat flux by carrier, eV Å/ps, where it was asked for.
    """

    energies: np.ndarray
    forces: np.ndarray
    fluxes: np.ndarray | None

    @property
    def force_spread(self) -> np.ndarray:
        """``√⟨|F_k − F̄|²⟩`` of every atom over the members, (n_atoms,) eV/Å."""
        return _spread(self.forces)

    @property
    def flux_spread(self) -> np.ndarray:
        """``√⟨|J_k − J̄|²⟩`` of every carrier over the members, (n_carriers,) eV Å/ps."""
        if self.fluxes is None:
            raise InputError("the fluxes were not evaluated; ask for them with flux=True")
        return _spread(self.fluxes)


class Ensemble:
    """Several models of the same atoms.

    Parameters
    ----------
    members : sequence of Potential
        Two or more, with one cutoff.

    Attributes
    ----------
    members : tuple of Potential
        The models.
    cutoff : float
        Å.
    mean : WeightedSum
        The model whose energies are the means of theirs.

    Raises
    ------
    ModelError
        There are fewer than two members, or their cutoffs differ.
    """

    def __init__(self, members: Sequence[Potential]) -> None:
        if len(members) < 2:
            raise ModelError(f"an ensemble of {len(members)} member has no spread; give two or more")
        cutoffs = sorted({float(member.cutoff) for member in members})
        if len(cutoffs) > 1:
            raise ModelError(f"the members have cutoffs {', '.join(f'{c:g}' for c in cutoffs)} Å; they must be equal")
        self.members, self.cutoff = tuple(members), cutoffs[0]
        self.mean = WeightedSum(list(members), [1 / len(members)] * len(members))

    def evaluate(self, frame: Frame, *, flux: bool = False, graph: Graph | None = None) -> EnsemblePrediction:
        """Energies and forces of every member, and their fluxes.

        Parameters
        ----------
        frame : Frame
            With velocities, for the flux.
        flux : bool
            Whether to evaluate the virial flux by carrier; each member by its own checked route.
        graph : Graph, optional
            The frame's graph, where there is one.
        """
        graph = build_graph(frame, self.cutoff) if graph is None else graph
        energies, forces = self.energies_and_forces(graph)
        fluxes = None
        if flux:
            fluxes = np.array([heat_flux(frame, member).potential.sum(axis=0) for member in self.members])
        return EnsemblePrediction(energies, forces, fluxes)

    def energies_and_forces(self, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
        """Energies (n_members,) eV and forces (n_members, n_atoms, 3) eV/Å of every member on a graph."""
        first = self.members[0]
        seen = model_graph(first, graph)
        if _alike(self.members) and isinstance(first, DescriptorPotential):
            energies, g_ij = _on_shared_descriptors(self.members, seen)  # type: ignore[arg-type]
        elif (
            _alike(self.members)
            and isinstance(first, EquivariantNetwork)
            and len(self.members) * seen.n_edges <= _MOST_STACKED_EDGES
        ):
            energies, g_ij = _stacked(self.members, seen)
        else:
            energies, g_ij = _one_by_one(self.members, graph)
        forces = [to_numpy(forces_of(seen, g)) for g in g_ij]
        return to_numpy(energies), np.array(forces)


def _spread(values: np.ndarray) -> np.ndarray:
    """Root mean square distance from the mean over the members, of vectors (n_members, n, 3)."""
    return np.sqrt(((values - values.mean(axis=0)) ** 2).sum(axis=2).mean(axis=0))


def _alike(members: Sequence[Potential]) -> bool:
    """Whether all members have one class and one set of hyperparameters."""
    described = [(type(m), getattr(m, "hyperparameters", None)) for m in members]
    return described[0][1] is not None and all(entry == described[0] for entry in described)


def _on_shared_descriptors(
    members: Sequence[DescriptorPotential], graph: Graph
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Energies (n_members,) and pair forces of networks on the same functions, which are evaluated once."""
    r_ij = graph.r_ij.detach().requires_grad_()
    functions = members[0].functions
    species = functions.species_of(graph)
    radial = None if functions.is_angular else radial_terms(functions, graph)
    descriptors = functions(graph.replace(r_ij=r_ij)) if radial is None else radial.descriptors
    own = [descriptors.detach().requires_grad_() for _ in members]
    energies = torch.stack([m.energies_of(d, species).sum() for m, d in zip(members, own, strict=True)])
    slopes = torch.autograd.grad(energies.sum(), own)
    if radial is not None:
        return energies.detach(), list(radial.pair_forces(torch.stack(slopes)))
    last = len(members) - 1
    g_ij = [torch.autograd.grad(descriptors, r_ij, s, retain_graph=k < last)[0] for k, s in enumerate(slopes)]
    return energies.detach(), g_ij


def _stacked(members: Sequence[Potential], graph: Graph) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Energies and pair forces of networks of one architecture, in one batched forward and backward pass."""
    parameters, buffers = torch.func.stack_module_state(list(members))
    # What all members share is not batched: a model may branch on it, as on its table of elements.
    shared = {name for name, stack in buffers.items() if bool((stack == stack[:1]).all())}
    constants = {name: stack[0] if name in shared else stack for name, stack in buffers.items()}
    batched = {name: None if name in shared else 0 for name in buffers}
    r_ij = graph.r_ij.detach().expand(len(members), -1, -1).clone().requires_grad_()

    def energy(own: dict[str, Any], fixed: dict[str, Any], vectors: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(members[0], (own, fixed), (graph.replace(r_ij=vectors),)).sum()

    energies = torch.vmap(energy, in_dims=(0, batched, 0))(parameters, constants, r_ij)
    (g_ij,) = torch.autograd.grad(energies.sum(), r_ij)
    return energies.detach(), list(g_ij)


def _one_by_one(members: Sequence[Potential], graph: Graph) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Energies and pair forces of any members."""
    energies, g_ij = [], []
    for member in members:
        seen = model_graph(member, graph)
        r_ij = seen.r_ij.detach().requires_grad_()
        energy = member(seen.replace(r_ij=r_ij)).sum()
        (g,) = torch.autograd.grad(energy, r_ij, allow_unused=True)
        if g is None:
            raise ModelError(f"{model_name(member)} does not use graph.r_ij, so an ensemble cannot evaluate it")
        energies.append(energy.detach())
        g_ij.append(g)
    return torch.stack(energies), g_ij
