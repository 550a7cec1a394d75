"""Heat flux and per-atom virials of one frame."""

from __future__ import annotations

import hashlib
import weakref
from typing import TYPE_CHECKING

import numpy as np

from fluxan.allocator import keep_memory
from fluxan.errors import InputError, ModelError
from fluxan.flux.check import ROUTES, choose_route, require_route
from fluxan.flux.energies import model_name
from fluxan.groups import assign_groups
from fluxan.kernels import cpu
from fluxan.neighbors import build_graph
from fluxan.potentials.fingerprint import model_sha256
from fluxan.potentials.load import load_model
from fluxan.system import Flux
from fluxan.units import MASS_VELOCITY2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.flux.check import CheckReport, FluxSource, Route
    from fluxan.potentials.base import Potential
    from fluxan.system import Frame, Graph


def heat_flux(frame: Frame, model: object, *, groups: str | Sequence[object] = "element", route: str = "auto") -> Flux:
    """Heat flux of one frame, split by owner and carrier of the energy.

    Parameters
    ----------
    frame : Frame
        With velocities.
    model : Potential or what `fluxan.load_model` takes
    groups : "element" or one label per atom
    route : {"auto", "local", "adjoint", "unfolded"}
        How the virial part is found; "auto" takes the cheapest that is exact for the model, and checks it.

    Returns
    -------
    Flux
        eV Å/ps, volume-extensive.

    Raises
    ------
    InputError
        No velocities, wrong groups, unknown route.
    ModelError
        The model does not know an element, or fails the check of the route.
    """
    module = load_model(model)
    evaluator = FluxEvaluator(module, frame.numbers, groups=groups, route=route, passed=_passed(module))
    return evaluator.flux(frame, build_graph(frame, evaluator.model.cutoff))


def atomic_virial(frame: Frame, model: object, *, route: str = "auto") -> np.ndarray:
    """Nine-component virial of every atom.

    Parameters
    ----------
    frame : Frame
        Velocities are not needed.
    model : Potential or what `fluxan.load_model` takes
    route : {"auto", "local", "adjoint", "unfolded"}

    Returns
    -------
    (n_atoms, 3, 3) float64
        ``W_j[a, b] = Σ_i (r_i − r_j)_a ∂U_i/∂r_j,b`` in eV, so that ``J_pot = Σ_j W_j v_j``.

    Raises
    ------
    ModelError
        The model does not know an element, or fails the check of the route.
    """
    module = load_model(model)
    evaluator = FluxEvaluator(module, frame.numbers, route=route, passed=_passed(module))
    graph = build_graph(frame, evaluator.model.cutoff)
    return evaluator.route_for(graph).atomic_virial(graph)[1]


class FluxEvaluator:
    """The flux of frame after frame of one system: atoms, groups and model stay.

    Parameters
    ----------
    model : Potential
    numbers : (n_atoms,) int
        Atomic numbers.
    groups : "element" or one label per atom
    route : {"auto", "local", "adjoint", "unfolded"}
    passed : reports of checks that the model has passed, by requested route; what is missing is checked and added
    """

    def __init__(
        self,
        model: Potential,
        numbers: np.ndarray,
        *,
        groups: str | Sequence[object] = "element",
        route: str = "auto",
        passed: dict[str, CheckReport] | None = None,
    ) -> None:
        keep_memory()
        require_route(route)
        refuse_unknown_elements(model, numbers)
        self.model = model
        self.numbers = np.array(numbers)
        self.groups, self.labels = assign_groups(numbers, groups)
        self.report: CheckReport | None = None
        self._requested = route
        self._passed = {} if passed is None else passed
        self._route: Route | None = None

    def flux(self, frame: Frame, graph: Graph) -> Flux:
        """Flux of a frame whose graph is at hand; the route is checked the first time."""
        return self.flux_by(self.route_for(graph), frame, graph)

    def flux_by(self, source: FluxSource, frame: Frame, graph: Graph) -> Flux:
        """Flux of a frame from a route that was chosen already, or from what is kept of an evaluation."""
        if frame.velocities is None:
            raise InputError("there are no velocities; a heat flux needs them: give velocities= in Å/ps")
        if frame.n_atoms != len(self.groups):
            raise InputError(f"there are {frame.n_atoms} atoms, there were {len(self.groups)} before")
        n_groups = len(self.labels)
        energies, potential = source.potential_flux(graph, frame.velocities, self.groups, n_groups)
        kinetic, convective, velocity = (np.empty((n_groups, 3)) for _ in range(3))
        cpu.convection(
            frame.velocities, frame.masses, energies, self.groups, MASS_VELOCITY2, kinetic, convective, velocity
        )
        return Flux(
            potential=potential,
            kinetic=kinetic,
            convective=convective,
            velocity=velocity,
            labels=self.labels,
            potential_energy=float(energies.sum()),
            route=source.name,
            self_check=str(self.report),
        )

    def description(self) -> dict[str, object]:
        """Attributes that say what made a Dataset, for those who read it."""
        import fluxan

        described = getattr(self.model, "describe", lambda: None)()
        return {"fluxan_version": fluxan.__version__, "model": described or type(self.model).__name__}

    def identity(self) -> dict[str, object]:
        """Attributes that say which model, groups and route these are."""
        return {
            "model_sha256": model_sha256(self.model),
            "groups_sha256": hashlib.sha256(self.groups.tobytes() + repr(self.labels).encode()).hexdigest(),
            "route_requested": self._requested,
        }

    def route_for(self, graph: Graph) -> Route:
        """The route, checked on the first graph with edges it is asked for."""
        if self._route is None:
            self.report = self._passed.get(self._requested)
            if self.report is None and graph.n_edges == 0:
                # Nothing can be checked without an edge: a report of this frame may not stand for later ones.
                route, self.report = choose_route(self.model, graph, route=self._requested)
                return route
            if self.report is None:
                self._route, self.report = choose_route(self.model, graph, route=self._requested)
                self._passed[self._requested] = self.report
            else:
                self._route = ROUTES[self.report.route](self.model)
        return self._route


#: Checks that single calls have passed; a model that is gone takes its entry along.
_PASSED: weakref.WeakKeyDictionary[Potential, dict[str, CheckReport]] = weakref.WeakKeyDictionary()


def _passed(model: Potential) -> dict[str, CheckReport]:
    return _PASSED.setdefault(model, {})


def refuse_unknown_elements(model: Potential, numbers: np.ndarray) -> None:
    """Raise ModelError where a model says which elements it knows, and some are others."""
    known = getattr(model, "elements", None)
    if known is None:
        return
    unknown = sorted({int(z) for z in numbers} - {int(z) for z in known})
    if unknown:
        from ase.data import chemical_symbols as symbol

        raise ModelError(
            f"{model_name(model)} does not know {', '.join(symbol[z] for z in unknown)}; "
            f"it knows {', '.join(symbol[z] for z in sorted(known))}"
        )
