"""Which route a model may take: no route is believed, `fluxan.flux.route_checks` checks each."""

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

#: Cost of the unfolded flux on its replicas over energy and forces there.
_PASSES = 2.0


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What the checks of the chosen route found; ``str(report)`` is one line.

    Attributes
    ----------
    route : local, adjoint or unfolded
    errors : relative error by check; "gauge", "stress", "unfolded", "reach"
    note : what else the user should know, in words; empty when all is well
    seconds : what the checks took
    signatures : of the forward passes that were checked; others are checked by themselves
    """

    route: str
    errors: dict[str, float]
    note: str
    seconds: float
    signatures: frozenset[Signature | None] = frozenset()

    def joined(self, other: CheckReport, seen: Signature | None) -> CheckReport:
        """Join the report of a frame whose forward pass was another, of signature `seen`."""
        errors = {check: max(error, other.errors.get(check, 0.0)) for check, error in self.errors.items()}
        note = self.note
        if other.route != self.route:
            note = "; ".join(filter(None, [note, f"frames with other crossings by the {other.route} route"]))
        known = self.signatures | other.signatures
        signatures = known | {seen} if other.route == self.route else self.signatures
        return replace(self, errors=errors, note=note, seconds=self.seconds + other.seconds, signatures=signatures)

    def __str__(self) -> str:
        """One line for the screen and for the attribute `self_check`."""
        found = ", ".join(f"{check} {error:.1e}" for check, error in self.errors.items())
        note = f" ({self.note})" if self.note else ""
        return f"{self.route} route passed: relative errors {found}; {self.seconds:.2g} s{note}"


def choose_route(model: Potential, graph: Graph, *, route: str = "auto") -> tuple[Route, CheckReport]:
    """Choose the route for a model, checked on one graph.

    Parameters
    ----------
    model : Potential
    graph : Graph
        float64, on the CPU.
    route : {"auto", "local", "adjoint", "unfolded"}
        "auto" tries local where the model says that it is (``n_hops = 1``), then adjoint, then unfolded, and warns
        where one fails its check.

    Returns
    -------
    route : Route
    report : CheckReport

    Raises
    ------
    InputError
        Unknown route.
    ModelError
        The model breaks its contract, or the route asked for (under "auto", every route) fails its check.
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
    """What the unfolded route will cost on a graph, in words: it evaluates replicas, forwards and twice backwards."""
    replicas = unfold(graph, model_reach(model)).graph
    times = _PASSES * replicas.n_edges / max(graph.n_edges, 1)
    return (
        f"which evaluates {replicas.n_atoms} replicas of {graph.n_atoms} atoms, some {times:.2g} times the cost of "
        "energy and forces"
    )


def require_route(route: str) -> None:
    """Refuse a word that names no route.

    Raises
    ------
    InputError
        It is neither "auto" nor one of `ROUTES`.
    """
    if route != "auto" and route not in ROUTES:
        raise InputError(f"route={route!r} is not known; give one of auto, {', '.join(ROUTES)}")


def _candidates(model: Potential, route: str) -> tuple[str, ...]:
    if route != "auto":
        return (route,)
    return ("local", "adjoint", "unfolded") if model_reach(model) == 1 else ("adjoint", "unfolded")
