"""One evaluation of a model for both forces and heat flux, so that the flux costs little beyond the forces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fluxan.errors import InputError, ModelError
from fluxan.flux.adjoint import ForwardPass, decided_pass, injected_flux, injected_virial_force, owners_of
from fluxan.flux.energies import model_graph, model_name, to_numpy
from fluxan.flux.local import closed_form, edge_flux, edge_signature, edge_virial_force, refuse_non_finite
from fluxan.neighbors import NeighborList

if TYPE_CHECKING:
    from fluxan.flux.evaluate import FluxEvaluator
    from fluxan.flux.routes import Route, VirialForceSource
    from fluxan.flux.signature import Signature
    from fluxan.potentials.base import Potential
    from fluxan.system import Flux, Frame, Graph


@dataclass(frozen=True, eq=False)
class Forces:
    """Energies, forces and virial of one frame.

    Attributes
    ----------
    energies : (n_atoms,) array
        Potential energy of each atom, eV.
    forces : (n_atoms, 3) array
        Forces, eV/Å.
    virial : (3, 3) array
        Derivative of the energy with respect to strain, eV: the stress times the volume.
    """

    energies: np.ndarray
    forces: np.ndarray
    virial: np.ndarray

    @property
    def energy(self) -> float:
        """Potential energy, eV."""
        return float(self.energies.sum())


class Evaluation:
    """Forces of successive frames, and their heat flux where requested, from one evaluation each.

    For a local model, the pair forces already computed are passed to the kernel that gives the flux; for a
    message-passing model, the forward pass and its first backward pass are reused, and the further backward passes of
    the adjoint route follow. The forces are the same to the last bit whether a flux is requested or not.

    Parameters
    ----------
    evaluator : FluxEvaluator
        Defines model, atoms, groups and route.

    Attributes
    ----------
    evaluator : FluxEvaluator
        The parameter of the same name.
    """

    def __init__(self, evaluator: FluxEvaluator) -> None:
        self.evaluator = evaluator
        self.neighbors = NeighborList(evaluator.model.cutoff)
        self._frame: Frame | None = None
        self._graph: Graph | None = None
        self._kept: VirialForceSource | None = None

    def reset(self) -> None:
        """Discard earlier frames, so that later results depend on later frames alone."""
        self.neighbors.reset()
        self._frame = self._graph = self._kept = None

    def at(self, frame: Frame, *, flux: bool = False) -> Forces:
        """Energies, forces and virial of a frame; velocities are not needed.

        Parameters
        ----------
        frame : Frame
            The frame.
        flux : bool
            Keep the data that the flux at the same positions needs.

        Raises
        ------
        ModelError
            The model fails, or returns values that are not finite; with `flux`, see also `fluxan.heat_flux`.
        """
        self._kept = self._graph = self._frame = None  # free memory before the next evaluation
        graph = self.neighbors.graph(frame)
        route = self.evaluator.route_for(graph) if flux else None
        forces, kept = self.evaluate(graph, route)
        _require_finite(self.evaluator.model, forces)
        self._frame, self._graph, self._kept = frame, graph, kept
        return forces

    def evaluate(self, graph: Graph, route: Route | None) -> tuple[Forces, VirialForceSource | None]:
        """Forces of a graph, and the data of the same evaluation that the flux by a route needs, if any was given."""
        return evaluate_once(self.evaluator.model, graph, route)

    def flux(
        self, velocities: np.ndarray | None, masses: np.ndarray | None = None, *, evaluator: FluxEvaluator | None = None
    ) -> Flux:
        """Heat flux at the positions of the last frame; another evaluation, unless that was with ``flux=True``.

        Parameters
        ----------
        velocities : (n_atoms, 3) array or None
            Velocities at the time of the positions, Å/ps.
        masses : (n_atoms,) array, optional
            Masses, u; by default those of the frame.
        evaluator : FluxEvaluator, optional
            Evaluator with other groups, of the same model and route.

        Raises
        ------
        InputError
            No frame was evaluated before.
        ModelError
            See `fluxan.heat_flux`.
        """
        frame, graph = self._last()
        evaluator = evaluator or self.evaluator
        masses = frame.masses if masses is None else masses
        moving = frame.replace(velocities=velocities, masses=masses)
        chosen = evaluator.route_for(graph)
        return evaluator.flux_by(self._kept or chosen, moving, graph)

    def virial_force(self, field: np.ndarray) -> np.ndarray:
        """W_jᵀ F_e of every atom at the positions of the last frame, (n_atoms, 3), for a vector F_e (3,).

        It takes another evaluation, unless that was with ``flux=True``.

        Raises
        ------
        InputError
            No frame was evaluated before.
        ModelError
            See `fluxan.heat_flux`.
        """
        _, graph = self._last()
        chosen = self.evaluator.route_for(graph)
        return self.evaluator.virial_force(self._kept or chosen, graph, field)

    @property
    def frame(self) -> Frame:
        """The last frame.

        Raises
        ------
        InputError
            No frame was evaluated before.
        """
        return self._last()[0]

    def _last(self) -> tuple[Frame, Graph]:
        if self._frame is None or self._graph is None:
            raise InputError("there is no evaluation yet to take the flux from: ask for forces first")
        return self._frame, self._graph


class KeptPairForces:
    """Local route with pair forces already computed."""

    name = "local"

    def __init__(
        self, graph: Graph, energies: np.ndarray, g_ij: torch.Tensor, signature: Signature | None = None
    ) -> None:
        self._graph, self._energies, self._g_ij = graph, energies, g_ij
        self.signature = signature

    def potential_flux(
        self, graph: Graph, velocities: np.ndarray, groups: np.ndarray, n_groups: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Atomic energies (n_atoms,) eV and virial flux (owners, carriers, 3) eV Å/ps."""
        return self._energies, edge_flux(self._graph, self._g_ij, velocities, groups, n_groups)

    def virial_force(self, graph: Graph, field: np.ndarray) -> np.ndarray:
        """W_jᵀ F_e of every atom for a vector F_e (3,), (n_atoms, 3)."""
        return edge_virial_force(self._graph, self._g_ij, field)


class KeptForwardPass:
    """Adjoint route with forward pass and first backward pass already computed."""

    name = "adjoint"

    def __init__(self, forward: ForwardPass, adjoints: list[torch.Tensor | None], n_atoms: int) -> None:
        self._forward, self._adjoints, self._n_atoms = forward, adjoints, n_atoms
        self.signature: Signature | None = forward.signature

    def potential_flux(
        self, graph: Graph, velocities: np.ndarray, groups: np.ndarray, n_groups: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Atomic energies (n_atoms,) eV and virial flux (owners, carriers, 3) eV Å/ps."""
        by_owner = self._by_owner(groups, n_groups)
        flux = injected_flux(self._forward, by_owner, velocities, groups, n_groups)
        return to_numpy(self._forward.energies)[: self._n_atoms], flux

    def virial_force(self, graph: Graph, field: np.ndarray) -> np.ndarray:
        """W_jᵀ F_e of every atom for a vector F_e (3,), (n_atoms, 3)."""
        return injected_virial_force(self._forward, self._adjoints, field)[: self._n_atoms]

    def _by_owner(self, groups: np.ndarray, n_groups: int) -> list[list[torch.Tensor | None]]:
        """Adjoints of every owner's energies; the last follow from the sum over all owners, which saves a pass."""
        found = [self._forward.adjoints(owners_of(groups == owner, self._forward)) for owner in range(n_groups - 1)]
        return [*found, [_less(total, parts) for total, *parts in zip(self._adjoints, *found, strict=True)]]


def _less(total: torch.Tensor | None, parts: list[torch.Tensor | None]) -> torch.Tensor | None:
    for part in parts:
        if part is not None:
            total = -part if total is None else total - part
    return total


def evaluate_once(model: Potential, graph: Graph, route: Route | None) -> tuple[Forces, VirialForceSource | None]:
    """Forces, and the data of the same evaluation that the flux by this route needs."""
    seen = model_graph(model, graph)
    formula = closed_form(model, seen)
    if formula is not None:
        forces, kept = _by_formula(model, seen, *formula)
        return forces, kept if route is not None and route.name == "local" else None
    if route is None or route.name == "unfolded":
        forward = ForwardPass(model, seen, strained=True)
        gradient, virial = forward.derivatives()
        return _forces(forward, gradient, virial, graph.n_atoms), None
    return _local(model, seen) if route.name == "local" else _adjoint(model, graph)


def _by_formula(
    model: Potential, graph: Graph, energies: torch.Tensor, g_ij: torch.Tensor
) -> tuple[Forces, KeptPairForces]:
    """Evaluate with the model's own formula for its pair forces."""
    refuse_non_finite(model, graph, energies, g_ij)
    forces = torch.zeros_like(graph.positions)
    forces.index_add_(0, graph.receivers, g_ij).index_add_(0, graph.senders, g_ij, alpha=-1)
    virial = graph.r_ij.T @ g_ij
    found = Forces(to_numpy(energies), to_numpy(forces), to_numpy(virial))
    return found, KeptPairForces(graph, found.energies, g_ij)


def _local(model: Potential, graph: Graph) -> tuple[Forces, KeptPairForces]:
    forward = ForwardPass(model, graph, strained=True)
    seen = edge_signature(forward.energies, forward.graph.r_ij, forward.graph) if graph.n_edges else None
    gradient, virial, g_ij = forward.derivatives(edges=True)
    forces = _forces(forward, gradient, virial, graph.n_atoms)
    return forces, KeptPairForces(graph, forces.energies, g_ij, seen)


def _adjoint(model: Potential, graph: Graph) -> tuple[Forces, KeptForwardPass]:
    forward, _ = decided_pass(model, graph, strained=True)
    with forward.recording() as adjoints:
        gradient, virial = forward.derivatives(keep=True)
    return _forces(forward, gradient, virial, graph.n_atoms), KeptForwardPass(forward, adjoints, graph.n_atoms)


def _forces(forward: ForwardPass, gradient: torch.Tensor, virial: torch.Tensor, n_atoms: int) -> Forces:
    """Forces in one copy of the cell, where the forward pass contains several."""
    copies = len(gradient) // n_atoms
    energies = to_numpy(forward.energies)[:n_atoms]
    return Forces(energies, -to_numpy(gradient)[:n_atoms], to_numpy(virial) / copies)


def _require_finite(model: Potential, result: Forces) -> None:
    finite = np.isfinite(result.forces).all(axis=1)
    if not finite.all():
        atom = int(np.argmin(finite))
        raise ModelError(f"{model_name(model)} gives atom {atom} the force {result.forces[atom].tolist()}")
