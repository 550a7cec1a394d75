"""Checks of the routes for one model, on perturbed copies of one graph.

1. Gradients (`RouteChecks.require_gradients`): those of autograd against finite differences of the energies.
2. Gauge (local and adjoint routes): the route is run with ``φ_sender − φ_receiver`` in place of r_ij, φ random for each
   atom. These weights telescope along every path, so that the result must be
   ``∂(Σ_i φ_i U_i)/∂r_j − φ_j ∂(Σ_i U_i)/∂r_j`` for every atom and any model. A missed crossing violates it, whereas
   forces and stress do not depend on crossings.
3. Reach (unfolded route): energies of the finite graph of replicas against those of the periodic graph.
4. Stress: Σ_j W_j against the derivative of the energy with respect to strain.
5. Unfolded: virials of the local and adjoint routes against those of the unfolded route, on small graphs.
"""

from __future__ import annotations

import copy
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from fluxan.errors import ModelError
from fluxan.flux.adjoint import AdjointRoute, ForwardPass, decided_pass
from fluxan.flux.energies import atomic_energies, model_dtype, model_graph, model_name, model_reach, to_numpy
from fluxan.flux.finite_differences import gradient_error, is_noisy
from fluxan.flux.local import LocalRoute, closed_form
from fluxan.flux.replicas import distinguish, enlarge, unfold
from fluxan.flux.routes import ROUTES
from fluxan.flux.unfolded import UnfoldedRoute

if TYPE_CHECKING:
    from fluxan.flux.crossings import CrossingSearch
    from fluxan.flux.signature import Signature
    from fluxan.potentials.base import Potential
    from fluxan.system import Graph

#: Largest relative error that passes, for each precision of the model; exact routes have about 1e-15 and 1e-6.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
#: Number of edges up to which a graph is compared with its unfolded graph.
MAX_UNFOLDED_EDGES = 20_000
#: Random displacements of the atoms, relative to the shortest edge: one large enough to break any symmetry; and the
#: smallest that the precision resolves, so that edges hardly cross the inner cutoffs of the model.
_RATTLE = 0.05
_FINE_RATTLE = {torch.float64: 1e-4, torch.float32: 1e-2}
#: Cells of fewer atoms are repeated: in them any two like atoms may have a centre of inversion between them, by which
#: errors cancel.
MIN_ATOMS = 8


class RouteChecks:
    """Checks of every route for one model near one graph, in float64 if the model can be evaluated in it.

    Parameters
    ----------
    model : Potential
        The model.
    graph : Graph
        float64, on the CPU.

    Attributes
    ----------
    notes : list of str
        Problems that are not due to the route.
    signatures : dict of str to set
        Signatures of the forward passes that were checked, by route.
    """

    def __init__(self, model: Potential, graph: Graph) -> None:
        # The first evaluation is of the user's own graph, so that errors about the model's output refer to it.
        own, own_graph = decided_pass(model, graph)
        whole = _repeated(model, own_graph, own.search)
        self.graph = rattled(whole, _RATTLE)
        self.tolerance = TOLERANCE.get(model_dtype(model), 1e-2)
        self.notes: list[str] = []
        self._forward = ForwardPass(model, model_graph(model, self.graph))
        self.model = model
        self._dtype = model_dtype(model)
        if self._dtype != torch.float64:
            self._evaluate_in_double()
        self._energies = to_numpy(self._forward.energies)
        #: The user's graph with the smallest displacements; also unchanged if these change which edges the model uses.
        self._near = [rattled(whole, _FINE_RATTLE.get(self._dtype, 1e-2))]
        if ForwardPass(model, model_graph(model, self._near[0])).signature != own.signature:
            self._near.append(own_graph)
        self._unconfirmed = _unconfirmed(model, own, [self._near[0], whole])
        self.signatures: dict[str, set[Signature | None]] = {name: set() for name in ROUTES}

    def require_gradients(self) -> None:
        """Raise `ModelError` if the gradients are not those of the energies: no route is correct then."""
        if self.graph.n_edges == 0:
            return
        phi = _phi(self.graph)
        seeds = [np.ones_like(phi), phi]
        gradients = _gradients(self._forward, phi)
        error, tolerance = gradient_error(self.model, self.graph, seeds, gradients, self._dtype)
        if error > tolerance:
            raise ModelError(
                f"{model_name(self.model)}: its gradients are not those of its energies, they differ by {error:.1e} "
                "from finite differences: is something detached, under torch.no_grad(), or is a custom backward wrong?"
            )

    def examine(self, name: str) -> tuple[dict[str, float], str | None]:
        """Check a route; returns relative errors by check, and a description of the first failure or None."""
        errors: dict[str, float] = {}
        try:
            fault = self._reach(errors) if name == "unfolded" else self._gauges(name, errors)
            if fault is None:
                fault = self._virials(name, errors)
        except (ModelError, RuntimeError) as error:
            fault = str(error).strip().splitlines()[-1]
        return errors, fault

    def _evaluate_in_double(self) -> None:
        try:
            double = copy.deepcopy(self.model).to(torch.float64)
            self._forward = ForwardPass(double, model_graph(double, self.graph))
            self.model = double
            if not is_noisy(double, self.graph):
                self._dtype = torch.float64
                self.tolerance = TOLERANCE[torch.float64]
        except (ModelError, RuntimeError, TypeError, AttributeError):  # some models fix their precision
            return

    def _gauges(self, name: str, errors: dict[str, float]) -> str | None:
        """Gauge check on the perturbed graph and on those that are nearly the user's own."""
        fault = self._closed_form() if name == "local" else self._unconfirmed
        if fault is not None:
            return fault
        fault = self._gauge(name, self.graph, errors)
        for graph in self._near if fault is None else ():
            found: dict[str, float] = {}
            fault = fault or self._gauge(name, graph, found)
            errors["gauge"] = max(errors["gauge"], found["gauge"])
        return fault

    def _closed_form(self) -> str | None:
        """Compare the energies of the model's closed form with those of its forward pass."""
        formula = closed_form(self.model, model_graph(self.model, self.graph))
        if formula is None:
            return None
        error = _relative(to_numpy(formula[0]) - self._energies, self._energies)
        if error <= self.tolerance:
            return None
        return f"pair_forces() gives energies that differ from those of forward() by {error:.1e}"

    def _gauge(self, name: str, graph: Graph, errors: dict[str, float]) -> str | None:
        """Gauge check of a route on one graph."""
        forward = self._forward if graph is self.graph else ForwardPass(self.model, model_graph(self.model, graph))
        phi = _phi(graph)
        everything, weighted = (
            to_numpy(forward.gradient(torch.as_tensor(seeds).to(forward.energies)))
            for seeds in (np.ones_like(phi), phi)
        )
        reference = weighted - phi[:, None] * everything
        found, seen = (_local_gauge if name == "local" else _adjoint_gauge)(self.model, graph, phi)
        self.signatures[name].add(seen)
        errors["gauge"] = _relative(found - reference, weighted, everything)
        if errors["gauge"] <= self.tolerance:
            return None
        fault = f"gauge check {errors['gauge']:.1e}, expected below {self.tolerance:.0e}; "
        if name == "local":
            return (
                fault
                + f"its edges carry energies of other atoms; the model declares n_hops = {model_reach(self.model)}"
            )
        hidden = ", ".join(forward.hidden) or "nothing seen: does it mix atoms outside of the edges (attention)?"
        return fault + f"what may hide its crossings: {hidden}"

    def _reach(self, errors: dict[str, float]) -> str | None:
        """Compare the energies of the unfolded graph with those of the periodic one."""
        energies, _ = self._unfolded
        errors["reach"] = _relative(energies - self._energies, self._energies)
        if errors["reach"] <= self.tolerance:
            return None
        return (
            f"unfolding changes the energies by {errors['reach']:.1e}; they depend on atoms farther than "
            f"n_hops = {model_reach(self.model)} edges of {self.model.cutoff} Å, or on all atoms: declare what holds"
        )

    def _virials(self, name: str, errors: dict[str, float]) -> str | None:
        """Compare Σ W_j with the strain derivative, and W_j with those of the unfolded route if that is affordable."""
        virial = self._unfolded[1] if name == "unfolded" else ROUTES[name](self.model).atomic_virial(self.graph)[1]
        errors["stress"] = _relative(virial.sum(axis=0) + self._strain_derivative, virial)
        if errors["stress"] > self.tolerance:
            return f"Σ W_j differs from the strain derivative by {errors['stress']:.1e}"
        if name == "unfolded" or self._is_large():
            return None
        return self._compare(virial, errors)

    def _is_large(self) -> bool:
        """Whether unfolding the graph costs too much for a comparison."""
        if self.graph.n_edges > MAX_UNFOLDED_EDGES:
            return True
        return unfold(self.graph, model_reach(self.model)).graph.n_edges > MAX_UNFOLDED_EDGES

    def _compare(self, virial: np.ndarray, errors: dict[str, float]) -> str | None:
        """Compare virials with those of the unfolded route."""
        try:
            fault = self._reach({})
        except (ModelError, RuntimeError):  # the model cannot evaluate a cluster: there is nothing to compare with
            return None
        if fault:
            # The declared n_hops is wrong, but the gauge check, which the route has passed, does not depend on it.
            self.notes.append(fault)
            return None
        errors["unfolded"] = _relative(virial - self._unfolded[1], virial)
        if errors["unfolded"] <= self.tolerance:
            return None
        return f"virials differ from the unfolded ones by {errors['unfolded']:.1e}"

    @cached_property
    def _unfolded(self) -> tuple[np.ndarray, np.ndarray]:
        return UnfoldedRoute(self.model).atomic_virial(self.graph)

    @cached_property
    def _strain_derivative(self) -> np.ndarray:
        graph = model_graph(self.model, self.graph)
        strain = torch.zeros((3, 3), dtype=graph.r_ij.dtype, device=graph.r_ij.device, requires_grad=True)
        stretch = torch.eye(3).to(strain) + strain
        cell = None if graph.cell is None else graph.cell @ stretch
        strained = graph.replace(positions=graph.positions @ stretch, r_ij=graph.r_ij @ stretch, cell=cell)
        energy = atomic_energies(self.model, strained).sum()
        if not energy.requires_grad:
            return np.zeros((3, 3))
        (derivative,) = torch.autograd.grad(energy, strain, allow_unused=True, materialize_grads=True)
        return to_numpy(derivative)


def _repeated(model: Potential, graph: Graph, found: CrossingSearch) -> Graph:
    """Repeat a cell to `MIN_ATOMS`, and further until no relation of a line graph is doubtful."""
    whole = distinguish(enlarge(graph, MIN_ATOMS))
    while found.doubtful and whole.n_edges < MAX_UNFOLDED_EDGES:
        larger = enlarge(whole, 2 * whole.n_atoms)
        if larger is whole:
            break
        whole = larger
        found = ForwardPass(model, model_graph(model, whole)).search
    return whole


def _unconfirmed(model: Potential, own: ForwardPass, larger: list[Graph]) -> str | None:
    """Describe why relations found in a line graph of the user's own cell are not confirmed; None if they are.

    The gauge check gives equal weights to edges that differ only by their image. Where edges share both atoms, wrong
    relations are noticed only by comparison with a larger cell, perturbed or not.
    """
    if own.search.undecided:
        return f"what hides its crossings: {', '.join(own.hidden)}"
    for graph in larger:
        forward = ForwardPass(model, model_graph(model, graph))
        if not (own.search.relations or forward.search.relations):
            return None
        if forward.signature == own.signature and not forward.search.doubtful:
            return None
    return "its messages between edges cannot be told from others in a cell this small"


def rattled(graph: Graph, amount: float = _RATTLE) -> Graph:
    """Displace atoms at random and shrink the cell so that no edge becomes longer.

    In a crystal many terms vanish or cancel by symmetry, and errors in them would not be noticed. The identities
    checked hold for any geometry, but models may be undefined beyond their cutoff.

    Parameters
    ----------
    graph : Graph
        float64, on the CPU.
    amount : float
        Largest displacement, relative to the length of the shortest edge.
    """
    if graph.n_edges == 0:
        return graph
    lengths = graph.r_ij.norm(dim=1)
    largest = amount * lengths.min()
    generator = torch.Generator().manual_seed(0)
    moves = (2 * torch.rand(graph.positions.shape, generator=generator, dtype=lengths.dtype) - 1) * largest / 3**0.5
    shrink = 1 - 2 * largest / lengths.max()
    return graph.replace(
        positions=shrink * graph.positions + moves,
        cell=None if graph.cell is None else shrink * graph.cell,
        r_ij=shrink * graph.r_ij + moves[graph.senders] - moves[graph.receivers],
    )


def _phi(graph: Graph) -> np.ndarray:
    """Random φ of each atom, (n_atoms,)."""
    return np.random.default_rng(0).uniform(-1, 1, graph.n_atoms)


def _gradients(forward: ForwardPass, phi: np.ndarray) -> list[np.ndarray]:
    """Gradients of Σ U_i and of Σ φ_i U_i with respect to positions, (n_atoms, 3) each, eV/Å."""
    seeds = (torch.ones_like(forward.energies), torch.as_tensor(phi).to(forward.energies))
    return [to_numpy(forward.gradient(s)) for s in seeds]


def _adjoint_gauge(model: Potential, graph: Graph, phi: np.ndarray) -> tuple[np.ndarray, Signature | None]:
    route = AdjointRoute(model)
    return route.gauge(graph, phi), route.signature


def _local_gauge(model: Potential, graph: Graph, phi: np.ndarray) -> tuple[np.ndarray, Signature | None]:
    route = LocalRoute(model)
    graph, _, g_ij = route.pair_forces(graph)
    values = torch.as_tensor(phi).to(g_ij)
    weighted = (values[graph.senders] - values[graph.receivers])[:, None] * g_ij
    return to_numpy(-torch.zeros_like(graph.positions).index_add(0, graph.senders, weighted)), route.signature


def _relative(difference: np.ndarray, *scales: np.ndarray) -> float:
    """Largest absolute difference, relative to the largest absolute value of `scales`."""
    largest = float(np.abs(difference).max(initial=0.0))
    scale = max(float(np.abs(values).max(initial=0.0)) for values in scales)
    return largest / max(scale, np.finfo(np.float64).tiny) if largest else 0.0
