"""Heat flux and atomic virials of frames: graph, checked route, convection.

The flux of a frame is the virial part, by the route that was chosen for the model, and the convective part. A route is
checked on the first frame, and again on a frame whose forward pass has another signature.
"""

from __future__ import annotations

import hashlib
import warnings
import weakref
from typing import TYPE_CHECKING

import numpy as np

from fluxan.allocator import keep_memory
from fluxan.errors import InputError, ModelError
from fluxan.flux.check import choose_route, require_route
from fluxan.flux.energies import model_name
from fluxan.flux.routes import ROUTES
from fluxan.groups import assign_groups
from fluxan.kernels import cpu
from fluxan.neighbors import build_graph
from fluxan.potentials.fingerprint import model_sha256
from fluxan.potentials.load import load_model, origin
from fluxan.system import Flux
from fluxan.units import MASS_VELOCITY2
from fluxan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.flux.check import CheckReport
    from fluxan.flux.routes import FluxSource, Route, VirialForceSource
    from fluxan.flux.signature import Signature
    from fluxan.potentials.base import Potential
    from fluxan.system import Frame, Graph


def heat_flux(frame: Frame, model: object, *, groups: str | Sequence[object] = "element", route: str = "auto") -> Flux:
    """Heat flux of one frame, split by owner and carrier of the energy.

    Parameters
    ----------
    frame : Frame
        Must have velocities.
    model : Potential or what `fluxan.load_model` takes
        The model.
    groups : "element" or sequence
        "element", or one label per atom.
    route : {"auto", "local", "adjoint", "unfolded"}
        Route to the virial part; "auto" takes the cheapest one that passes its checks for the model.

    Returns
    -------
    Flux
        The flux, eV Å/ps, volume-extensive (not divided by the volume).

    Raises
    ------
    InputError
        There are no velocities, the groups do not fit the atoms, or there is no such route.
    ModelError
        The model does not know an element, or fails the check of the route.
    """
    module = load_model(model)
    passed = passed_checks(module, frame.numbers)
    evaluator = FluxEvaluator(module, frame.numbers, groups=groups, route=route, passed=passed)
    return evaluator.flux(frame, build_graph(frame, evaluator.model.cutoff))


def atomic_virial(frame: Frame, model: object, *, route: str = "auto") -> np.ndarray:
    """Nine-component virial of every atom.

    Parameters
    ----------
    frame : Frame
        Velocities are not needed.
    model : Potential or what `fluxan.load_model` takes
        The model.
    route : {"auto", "local", "adjoint", "unfolded"}
        See `heat_flux`.

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
    evaluator = FluxEvaluator(module, frame.numbers, route=route, passed=passed_checks(module, frame.numbers))
    return evaluator.atomic_virial(build_graph(frame, evaluator.model.cutoff))


class FluxEvaluator:
    """Evaluates the flux of many frames of one system, whose atoms, groups and model stay the same.

    Parameters
    ----------
    model : Potential
        The model.
    numbers : (n_atoms,) int
        Atomic numbers.
    groups : "element" or sequence
        "element", or one label per atom.
    route : {"auto", "local", "adjoint", "unfolded"}
        See `heat_flux`.
    passed : dict of str to CheckReport, optional
        Reports of checks that the model has passed, by requested route; a missing one is made and added.
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
        #: Routes of frames whose forward pass differs from that of the first, by signature.
        self._others: dict[Signature | None, Route] = {}

    def flux(self, frame: Frame, graph: Graph) -> Flux:
        """Flux of a frame, given its graph; the route is checked the first time."""
        return self.flux_by(self.route_for(graph), frame, graph)

    def flux_by(self, source: FluxSource, frame: Frame, graph: Graph) -> Flux:
        """Flux of a frame, by a route or from an earlier evaluation."""
        if frame.velocities is None:
            raise InputError("there are no velocities; a heat flux needs them: give velocities= in Å/ps")
        if frame.n_atoms != len(self.groups):
            raise InputError(f"there are {frame.n_atoms} atoms, there were {len(self.groups)} before")
        n_groups = len(self.labels)
        energies, potential = source.potential_flux(graph, frame.velocities, self.groups, n_groups)
        # A frame with another signature may need another route: its potential flux is then computed again.
        other = self._other_route(source, graph, f" at {frame.time:.6g} ps")
        if other is not None:
            source = other
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

    def atomic_virial(self, graph: Graph) -> np.ndarray:
        """W_j, (n_atoms, 3, 3) eV, of a graph; the route is checked as for a flux."""
        return self.energies_and_virial(graph)[1]

    def energies_and_virial(self, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
        """Atomic energies (n_atoms,) and W_j (n_atoms, 3, 3), eV; the route is checked as for a flux."""
        route = self.route_for(graph)
        found = route.atomic_virial(graph)
        other = self._other_route(route, graph, "")
        return found if other is None else other.atomic_virial(graph)

    def virial_force(self, source: VirialForceSource, graph: Graph, field: np.ndarray) -> np.ndarray:
        """W_jᵀ F_e of every atom for a vector F_e (3,), (n_atoms, 3), by a route or from an earlier evaluation."""
        found = source.virial_force(graph, field)
        other = self._other_route(source, graph, "")
        return found if other is None else other.virial_force(graph, field)

    def _other_route(self, source: FluxSource, graph: Graph, where: str) -> Route | None:
        """Return the route that passes its checks on this graph if it is not the source's own, else None.

        Nothing is checked if a forward pass with the signature of the source's has been checked before.

        Raises
        ------
        ModelError
            No route passes its checks there, or the requested one does not.
        """
        seen, report = source.signature, self.report
        if seen is None or report is None or seen in report.signatures or graph.n_edges == 0:
            return None
        if seen not in self._others:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                route, found = choose_route(self.model, graph, route=self._requested)
            for warning in caught:
                warnings.warn(f"the frame{where} {DIFFERS}: {warning.message}", stacklevel=2)
            self._others[seen] = route
            self.report = self._passed[self._requested] = report.joined(found, seen)
        other = self._others[seen]
        return None if other.name == source.name else other

    def description(self) -> dict[str, object]:
        """Attributes of a Dataset that document how it was made: version and model."""
        described = getattr(self.model, "describe", lambda: None)()
        return {"fluxan_version": __version__, "model": described or _named(self.model)}

    def identity(self) -> dict[str, object]:
        """Attributes of a Dataset that identify model, groups and route: a job resumes only if they are equal."""
        return {
            "model_sha256": model_sha256(self.model),
            "groups_sha256": hashlib.sha256(self.groups.tobytes() + repr(self.labels).encode()).hexdigest(),
            "route_requested": self._requested,
        }

    def route_for(self, graph: Graph) -> Route:
        """Return the route, which is checked on the first graph that has edges."""
        if self._route is None:
            self.report = self._passed.get(self._requested)
            if self.report is None and graph.n_edges == 0:
                # Without edges nothing can be checked: the report of this frame does not hold for later ones.
                route, self.report = choose_route(self.model, graph, route=self._requested)
                return route
            if self.report is None:
                self._route, self.report = choose_route(self.model, graph, route=self._requested)
                self._passed[self._requested] = self.report
            else:
                self._route = ROUTES[self.report.route](self.model)
        return self._route


def _named(model: Potential) -> str:
    """Class of a model, with file and options if it was read through an adapter."""
    name, options = origin(model) or ("", {})
    listed = [f"{key}={value}" for key, value in options.items() if key not in {"trust_pickle", "device"}]
    return " ".join([type(model).__name__, *([f"from {name}"] if name else []), *listed])


#: Part of a warning about a frame that was checked separately.
DIFFERS = "does not pass messages as those before it do"
#: Reports of checks made by `heat_flux` and `atomic_virial`, by model and elements, for as long as the model exists.
_PASSED: weakref.WeakKeyDictionary[Potential, dict[tuple[int, ...], dict[str, CheckReport]]]
_PASSED = weakref.WeakKeyDictionary()


def passed_checks(model: Potential, numbers: np.ndarray) -> dict[str, CheckReport]:
    """Checks that a model has passed for these elements, by route; what is added is remembered."""
    elements = tuple(np.unique(numbers).tolist())
    return _PASSED.setdefault(model, {}).setdefault(elements, {})


def refuse_unknown_elements(model: Potential, numbers: np.ndarray) -> None:
    """Raise `ModelError` if a model declares its elements and some atoms are of others."""
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
