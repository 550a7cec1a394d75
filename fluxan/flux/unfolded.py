"""The unfolded route: explicit replicas of the cell, so that every displacement is a difference of two positions.

The method is that of Langer, Knoop, Carbogno, Scheffler, Rupp, Phys. Rev. B 108, L100302 (2023), eq. 13, and Langer,
Frank, Knoop, J. Chem. Phys. 159, 174105 (2023). Here it is the reference for the other routes, and the fallback for
models whose crossings cannot be found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fluxan.flux.energies import atomic_energies, model_graph, model_reach, to_numpy
from fluxan.flux.replicas import unfold
from fluxan.kernels import cpu

if TYPE_CHECKING:
    from fluxan.flux.signature import Signature
    from fluxan.potentials.base import Potential
    from fluxan.system import Graph

#: Largest relative difference of Σ_i U̇_i from the power of the forces that counts as round-off, in machine epsilons.
ROUNDINGS = 1e4


class UnfoldedRoute:
    """Flux and virial from the finite graph that the energies of the cell's atoms depend on.

    Parameters
    ----------
    model : Potential
        Its `n_hops` must be correct: it determines the size of the finite graph.
    """

    name = "unfolded"

    def __init__(self, model: Potential) -> None:
        self.model = model
        self.signature: Signature | None = None  # explicit replicas have no crossings that could be missed
        self._twice_differentiable = True

    def potential_flux(
        self, graph: Graph, velocities: np.ndarray, groups: np.ndarray, n_groups: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Atomic energies (n_atoms,) eV and virial flux (owners, carriers, 3) eV Å/ps."""
        cluster = UnfoldedCluster(self.model, graph)
        owners = np.stack([groups == owner for owner in range(n_groups)]).astype(np.float64)
        flux = None
        if self._twice_differentiable:
            flux = cluster.flux_from_rates(velocities, owners)
            self._twice_differentiable = flux is not None
        if flux is None:
            flux = np.empty((n_groups, n_groups, 3))
            for owner, seeds in enumerate(owners):
                cpu.virial_flux(cluster.virial(seeds), velocities, groups, flux[owner])
        return cluster.home_energies, flux

    def atomic_virial(self, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
        """Atomic energies (n_atoms,) eV and W_j (n_atoms, 3, 3) eV."""
        cluster = UnfoldedCluster(self.model, graph)
        return cluster.home_energies, cluster.virial(np.ones(graph.n_atoms))

    def virial_force(self, graph: Graph, field: np.ndarray) -> np.ndarray:
        """W_jᵀ F_e of every atom for a vector F_e (3,), (n_atoms, 3)."""
        return np.einsum("jab,a->jb", self.atomic_virial(graph)[1], field)


class UnfoldedCluster:
    """One evaluation of a model on the unfolded graph.

    Parameters
    ----------
    model : Potential
        The model.
    graph : Graph
        The cell; float64, on the CPU.

    Attributes
    ----------
    home_energies : (n_atoms,) float64
        U_i of the cell's own atoms, eV.
    positions : (n_replicas, 3) float64
        Positions relative to the centre of the cell's atoms, Å.
    atoms : (n_replicas,) int64
        Atom of the cell of which each one is a replica.
    """

    def __init__(self, model: Potential, graph: Graph) -> None:
        unfolded = unfold(graph, model_reach(model))
        whole = model_graph(model, unfolded.graph)
        self.n_atoms = graph.n_atoms
        self.atoms = unfolded.atoms.numpy()
        positions = unfolded.graph.positions.numpy()
        self.positions = positions - positions[: self.n_atoms].mean(axis=0)
        self._displacements = torch.zeros_like(whole.positions, requires_grad=True)
        moves = self._displacements
        r_ij = whole.r_ij + (moves.index_select(0, whole.senders) - moves.index_select(0, whole.receivers))
        energies = atomic_energies(model, whole.replace(positions=whole.positions + moves, r_ij=r_ij))
        self._energies = energies[: self.n_atoms]
        self.home_energies = to_numpy(self._energies)

    def virial(self, owners: np.ndarray) -> np.ndarray:
        """W_j, (n_atoms, 3, 3) eV, by four backward passes, of energies with weights `owners`, (n_atoms,).

        ``W_j[a, b] = Σ_i (r_i − r_j)_a ∂U_i/∂r_j,b`` is the gradient of Σ_i r_i,a U_i minus r_j,a times that of Σ_i
        U_i, summed over the replicas of j.
        """
        plain = self.gradient(owners)
        virial = np.zeros((self.n_atoms, 3, 3))
        for a, r in enumerate(self.positions.T):
            weighted = self.gradient(owners * r[: self.n_atoms]) - r[:, None] * plain
            for b in range(3):
                virial[:, a, b] = np.bincount(self.atoms, weighted[:, b], minlength=self.n_atoms)
        return virial

    def flux_from_rates(self, velocities: np.ndarray, groups: np.ndarray) -> np.ndarray | None:
        """``Σ_i r_i U̇_i − Σ_j r_j (∂U/∂r_j · v_j)`` for masks (n_groups, n_atoms) of owners and carriers.

        The rates U̇_i of all owners take one double-backward pass. Returns None if the model has no
        second derivatives, or wrong ones: the sum of the rates must equal the power of all gradients.
        """
        moving = velocities[self.atoms]
        try:
            first, rates = self._rates(groups[0], [moving * carriers[self.atoms, None] for carriers in groups])
        except RuntimeError:  # "not implemented", "does not require grad", compiled, once_differentiable
            return None
        gradients = [first, *(self.gradient(owners) for owners in groups[1:])]
        power = [np.einsum("jb,jb->j", gradient, moving) for gradient in gradients]
        if not self._agree(rates, power, groups):
            return None
        home = self.positions[: self.n_atoms]
        flux = np.einsum("oi,ia,ci->oca", groups, home, np.array(rates))
        for owner, works in enumerate(power):
            flux[owner] -= np.einsum("cj,j,ja->ca", groups[:, self.atoms], works, self.positions)
        return flux

    def gradient(self, seeds: np.ndarray) -> np.ndarray:
        """Gradient of Σ s_i U_i (over the cell's own atoms) with respect to every replica, (n_replicas, 3) eV/Å."""
        return to_numpy(self._backward(torch.as_tensor(seeds).to(self._energies)))

    def _rates(self, owners: np.ndarray, velocities: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Gradient of the owners' energies, and U̇_i of the cell's own atoms for each set of velocities of the replicas.

        The gradient is linear in its seeds s_i. The derivative of (gradient · v) with respect to s_i is therefore U̇_i,
        whatever the values of the seeds.
        """
        seeds = torch.as_tensor(owners).to(self._energies.detach()).requires_grad_()
        gradient = self._backward(seeds, create_graph=True)
        rates = []
        for v in velocities:
            direction = torch.as_tensor(v).to(gradient)
            (rate,) = torch.autograd.grad(gradient, seeds, direction, retain_graph=True, allow_unused=True)
            rates.append(to_numpy(torch.zeros_like(seeds) if rate is None else rate))
        return to_numpy(gradient), rates

    def _agree(self, rates: list[np.ndarray], power: list[np.ndarray], groups: np.ndarray) -> bool:
        """Whether the sum of the rates is the power of the gradients, for each group of carriers."""
        roundings = ROUNDINGS * torch.finfo(self._energies.dtype).eps
        works = groups[:, self.atoms] @ np.sum(power, axis=0)
        scale = max(np.abs(rates).max(initial=0.0), np.abs(power).max(initial=0.0)) * self.n_atoms**0.5
        return bool(np.all(np.abs(np.sum(rates, axis=1) - works) <= roundings * scale))

    def _backward(self, seeds: torch.Tensor, *, create_graph: bool = False) -> torch.Tensor:
        if not self._energies.requires_grad:
            return torch.zeros_like(self._displacements)
        (gradient,) = torch.autograd.grad(
            self._energies,
            self._displacements,
            seeds,
            retain_graph=True,
            create_graph=create_graph,
            allow_unused=True,
        )
        return torch.zeros_like(self._displacements) if gradient is None else gradient
