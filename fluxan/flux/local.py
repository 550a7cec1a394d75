"""The local route: flux and virials from one pair force g_ij = ∂U_i/∂r_ij per edge.

It is exact if U_i depends only on the edges of i. The model's own closed form of g_ij is used if there is one, else
one backward pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fluxan.errors import ModelError
from fluxan.flux.crossings import find_crossings
from fluxan.flux.energies import atomic_energies, model_graph, model_name, to_numpy
from fluxan.flux.pair_flux import pair_flux
from fluxan.flux.signature import signature
from fluxan.kernels import cpu

if TYPE_CHECKING:
    from fluxan.flux.signature import Signature
    from fluxan.system import Graph


class LocalRoute:
    """Flux and virial from g_ij = ∂U_i/∂r_ij.

    ``J_αβ = −Σ r_ij (g_ij · v_j)`` over edges from carriers *j* in β to owners *i* in α, ``W_j = −Σ_i r_ij ⊗ g_ij``
    (Fan et al., Phys. Rev. B 92, 094301 (2015), eq. 21). For a message-passing model both are wrong, and nothing shows
    it: `fluxan.flux.check` must have checked the model before.

    Parameters
    ----------
    model : torch.nn.Module
        A local model.
    """

    name = "local"

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.signature: Signature | None = None

    def potential_flux(
        self, graph: Graph, velocities: np.ndarray, groups: np.ndarray, n_groups: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Atomic energies (n_atoms,) eV and virial flux (owners, carriers, 3) eV Å/ps."""
        graph, energies, g_ij = self.pair_forces(graph)
        return energies, edge_flux(graph, g_ij, velocities, groups, n_groups)

    def atomic_virial(self, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
        """Atomic energies (n_atoms,) eV and W_j (n_atoms, 3, 3) eV."""
        graph, energies, g_ij = self.pair_forces(graph)
        virial = np.empty((graph.n_atoms, 3, 3))
        cpu.atomic_virial(*_edges(graph, g_ij), virial)
        return energies, virial

    def virial_force(self, graph: Graph, field: np.ndarray) -> np.ndarray:
        """W_jᵀ F_e of every atom for a vector F_e (3,), (n_atoms, 3)."""
        graph, _, g_ij = self.pair_forces(graph)
        return edge_virial_force(graph, g_ij, field)

    def pair_forces(self, graph: Graph) -> tuple[Graph, np.ndarray, torch.Tensor]:
        """Graph in the model's dtype and on its device, U_i, (n_atoms,) eV in float64, and g_ij, (n_edges, 3) eV/Å."""
        graph = model_graph(self.model, graph)
        closed = closed_form(self.model, graph)
        if closed is None:
            energies, g_ij, self.signature = pair_forces_by_autograd(self.model, graph)
        else:
            energies, g_ij = closed
        refuse_non_finite(self.model, graph, energies, g_ij)
        return graph, energies.detach().to(device="cpu", dtype=torch.float64).numpy(), g_ij


def edge_flux(
    graph: Graph, g_ij: torch.Tensor, velocities: np.ndarray, groups: np.ndarray, n_groups: int
) -> np.ndarray:
    """Virial flux (owners, carriers, 3) eV Å/ps from pair forces (n_edges, 3) eV/Å, summed on their device."""
    if graph.r_ij.is_cuda:
        return _flux_on_device(graph, g_ij, velocities, groups, n_groups)
    flux = np.empty((n_groups, n_groups, 3))
    cpu.pair_flux(*_edges(graph, g_ij), velocities, groups, flux)
    return flux


def edge_virial_force(graph: Graph, g_ij: torch.Tensor, field: np.ndarray) -> np.ndarray:
    """``W_jᵀ F_e = −Σ_i (r_ij · F_e) g_ij`` of every atom, (n_atoms, 3), from pair forces (n_edges, 3)."""
    weights = graph.r_ij.detach() @ torch.as_tensor(field).to(graph.r_ij.detach())
    found = torch.zeros_like(graph.positions).detach()
    found.index_add_(0, graph.senders, g_ij.detach() * weights[:, None], alpha=-1)
    return to_numpy(found)


def _edges(graph: Graph, g_ij: torch.Tensor) -> tuple[np.ndarray, ...]:
    """Arrays of edges for the CPU kernels, without a copy if the graph is on the CPU."""
    tensors = (graph.receivers, graph.senders, graph.r_ij, g_ij)
    return tuple(t.detach().cpu().contiguous().numpy() for t in tensors)


def _flux_on_device(
    graph: Graph, g_ij: torch.Tensor, velocities: np.ndarray, groups: np.ndarray, n_groups: int
) -> np.ndarray:
    """Sum the flux on the CUDA device, so that pair forces are not copied to the host."""
    on_device = {"velocities": torch.tensor(velocities), "groups": torch.from_numpy(groups)}
    on_device = {name: tensor.to(graph.r_ij.device) for name, tensor in on_device.items()}
    on_device |= {name: getattr(graph, name) for name in ("senders", "receivers", "r_ij")}
    return pair_flux(g_ij=g_ij, n_groups=n_groups, **on_device)


def closed_form(model: torch.nn.Module, graph: Graph) -> tuple[torch.Tensor, torch.Tensor] | None:
    """U_i, (n_atoms,) eV, and g_ij, (n_edges, 3) eV/Å, from the model's own closed form; None if it has none."""
    formula = getattr(model, "pair_forces", None)
    if formula is None:
        return None
    with torch.no_grad():
        return formula(graph)


def pair_forces_by_autograd(
    model: torch.nn.Module, graph: Graph
) -> tuple[torch.Tensor, torch.Tensor, Signature | None]:
    """U_i and g_ij by one backward pass from Σ U_i to the edge vectors, and the signature of the forward pass.

    Raises
    ------
    ModelError
        The energies do not depend on ``graph.r_ij``.
    """
    r_ij = graph.r_ij.detach().requires_grad_()
    # Positions require gradients too, to distinguish a model that computes its own edge vectors from a detached one.
    positions = graph.positions.detach().requires_grad_()
    energies = atomic_energies(model, graph.replace(r_ij=r_ij, positions=positions))
    if graph.n_edges == 0:
        return energies.detach(), torch.zeros_like(r_ij), None
    seen = edge_signature(energies, r_ij, graph)
    (g_ij,) = torch.autograd.grad(energies.sum(), r_ij, allow_unused=True)
    if g_ij is None:
        raise ModelError(
            f"{model_name(model)} does not use graph.r_ij, so the local route cannot see its pair forces; "
            'build the energies from graph.r_ij, or use route="adjoint"'
        )
    return energies.detach(), g_ij, seen


def edge_signature(energies: torch.Tensor, r_ij: torch.Tensor, graph: Graph) -> Signature:
    """Signature of the autograd graph between energies and edge vectors, which has no crossings if a model is local."""
    found = find_crossings(energies, r_ij, graph, lines=False)
    return signature(found, n_edges=graph.n_edges, n_atoms=graph.n_atoms)


def refuse_non_finite(model: torch.nn.Module, graph: Graph, energies: torch.Tensor, g_ij: torch.Tensor) -> None:
    """Raise `ModelError` if an energy or a pair force is not finite."""
    # A sum, which reads the array once, shows NaN and infinity.
    if torch.isfinite(g_ij.sum()) and torch.isfinite(energies.sum()):
        return
    if not torch.isfinite(energies).all():
        atom = int(torch.nonzero(~torch.isfinite(energies))[0])
        raise ModelError(f"{model_name(model)} gives atom {atom} the energy {energies[atom].item()}")
    edges = torch.nonzero(~torch.isfinite(g_ij).all(dim=1))
    if len(edges):
        e = int(edges[0])
        i, j, r = int(graph.receivers[e]), int(graph.senders[e]), float(graph.r_ij[e].norm())
        raise ModelError(
            f"{model_name(model)} gives a non-finite pair force between atoms {i} and {j}, {r:.4g} Å apart"
        )
