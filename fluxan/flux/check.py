"""Chooses the route for a model: the cheapest one that passes the checks of `fluxan.flux.route_checks`.

A model's own declaration, e.g. that it is local, only determines which routes are tried, never which one is used.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fluxan.errors import InputError, ModelError
from fluxan.flux.energies import model_name, model_reach
from fluxan.flux.replicas import unfold
from fluxan.flux.route_checks import RouteChecks
from fluxan.flux.routes import ROUTES

if TYPE_CHECKING:
    from fluxan.flux.routes import Route
    from fluxan.flux.signature import Signature
    from fluxan.potentials.base import Potential
    from fluxan.system import Graph

#: Cost of the unfolded flux relative to that of energy and forces, on the same replicas.
_UNFOLDED_COST = 2.0


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Results of the checks of the chosen route; ``str(report)`` is one line.

    Attributes
    ----------
    route : {"local", "adjoint", "unfolded"}
        The route.
    errors : dict of str to float
        Relative error of each check: "gauge", "stress", "unfolded", "reach".
    note : str
        Checks that failed, and problems that the user should know of; empty if all passed.
    seconds : float
        Time that the checks took, s.
    signatures : frozenset of Signature or None
        Signatures of the forward passes that were checked; a frame with another one is checked separately.
    """

    route: str
    errors: dict[str, float]
    note: str
    seconds: float
    signatures: frozenset[Signature | None] = frozenset()

    def joined(self, other: CheckReport, seen: Signature | None) -> CheckReport:
        """Add the report of a frame that was checked separately, since its forward pass had the signature `seen`."""
        errors = {check: max(error, other.errors.get(check, 0.0)) for check, error in self.errors.items()}
        note = self.note
        if other.route != self.route:
            note = "; ".join(filter(None, [note, f"frames with other crossings by the {other.route} route"]))
        known = self.signatures | other.signatures
        signatures = known | {seen} if other.route == self.route else self.signatures
        return replace(self, errors=errors, note=note, seconds=self.seconds + other.seconds, signatures=signatures)

    def __str__(self) -> str:
        """Return one line for the screen and for the attribute ``self_check`` of a Dataset."""
        found = ", ".join(f"{check} {error:.1e}" for check, error in self.errors.items())
        note = f" ({self.note})" if self.note else ""
        return f"{self.route} route passed: relative errors {found}; {self.seconds:.2g} s{note}"


def choose_route(model: Potential, graph: Graph, *, route: str = "auto") -> tuple[Route, CheckReport]:
    """Choose the route for a model and check it on one graph.

    Parameters
    ----------
    model : Potential
        The model.
    graph : Graph
        float64, on the CPU.
    route : {"auto", "local", "adjoint", "unfolded"}
        "auto" tries local if the model declares ``n_hops = 1``, then adjoint, then unfolded, and warns of each one that
        fails its checks.

    Returns
    -------
    route : Route
        The route.
    report : CheckReport
        Results of its checks.

    Raises
    ------
    InputError
        There is no such route.
    ModelError
        The model violates the interface of `Potential`, or the requested route (under "auto", every route) fails.
    """
    require_route(route)
    start = time.perf_counter()
    checks = RouteChecks(model, graph)
    checks.require_gradients()
    faults = []
    for name in _candidates(model, route):
        errors, fault = checks.examine(name)
        if fault is None:
            break
        faults.append(f"the {name} route fails: {fault}")
    else:
        raise ModelError(f"{model_name(model)}: {'; '.join(faults)}")
    note = "; ".join([*faults, *checks.notes])
    if note:
        cost = f", {unfolding_cost(model, graph)}" if name == "unfolded" else ""
        warnings.warn(f"{model_name(model)}: {note}; the {name} route is used{cost}", stacklevel=2)
    seconds = time.perf_counter() - start
    return ROUTES[name](model), CheckReport(name, errors, note, seconds, frozenset(checks.signatures[name]))


def unfolding_cost(model: Potential, graph: Graph) -> str:
    """Describe the cost of the unfolded route on a graph: a forward and two backward passes over all replicas."""
    replicas = unfold(graph, model_reach(model)).graph
    times = _UNFOLDED_COST * replicas.n_edges / max(graph.n_edges, 1)
    return (
        f"which evaluates {replicas.n_atoms} replicas of {graph.n_atoms} atoms, some {times:.2g} times the cost of "
        "energy and forces"
    )


def require_route(route: str) -> None:
    """Raise `InputError` if `route` is neither "auto" nor one of `ROUTES`."""
    if route != "auto" and route not in ROUTES:
        raise InputError(f"route={route!r} is not known; give one of auto, {', '.join(ROUTES)}")


def _candidates(model: Potential, route: str) -> tuple[str, ...]:
    if route != "auto":
        return (route,)
    return ("local", "adjoint", "unfolded") if model_reach(model) == 1 else ("adjoint", "unfolded")
