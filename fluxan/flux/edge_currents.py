"""Energy currents along the edges of a graph, for local and message-passing models: where the heat flows.

Each intermediate value x of a model belongs to an atom, data of edges to their receiver. Let x̄ be its adjoint, the
derivative of Σ U_i, and ẋ its rate under the velocities. An operation y = f(x) on the data of one atom conserves
``⟨x̄, ẋ⟩``: with its Jacobian D, x̄ = Dᵀ ȳ and ẏ = D ẋ, so ⟨x̄, ẋ⟩ = ⟨ȳ, ẏ⟩; where a value is used several times, its
adjoints add up. ``⟨x̄, ẋ⟩`` is thus a power that

- enters at each atom k from its position: ``∂U/∂r_k · v_k``, which is minus the rate of the kinetic energy K_k;
- leaves at each atom k with its energy: U̇_k, since the adjoint of U_k is 1;
- passes from one atom to another at crossings alone (`fluxan.flux.crossings`): ``⟨ȳ, ẏ⟩`` of each row y, from the
  sender to the receiver of its edge at a gather, from the receiver to the sender at a scatter to senders.

The power p_e along edge e, counted from its receiver i to its sender j, the direction of r_ij, is therefore
``−Σ ⟨ȳ, ẏ⟩`` over the gathers, plus the same over scatters to senders. What enters an atom is what leaves it, so that

    d/dt (U_k + K_k) = Σ_{e: sender k} p_e − Σ_{e: receiver k} p_e        for every atom k,

exactly, for any number of layers: energy that goes several hops passes through the atoms between, and is counted once
on each edge of its way. Summed over the atoms of a region, edges inside it cancel: the energy of a region changes by
the power of the edges with one end inside, however the messages go on. With positions, ``Σ_e p_e r_ij = J_pot``.

A local model has one crossing, the gather of the senders' displacements, whose adjoint is g_ij = ∂U_i/∂r_ij: then
``p_e = −g_ij · v_j``, as in Fan et al., Phys. Rev. B 92, 094301 (2015). For a pair potential, ``U_i = ½ Σ_j φ(r_ij)``
and the force on i by j is F_ij = 2 g_ij. The two edges between i and j have p_ij = −½ F_ij · v_j, p_ji = ½ F_ij · v_i.
Their sum is minus half the rate of φ, no current; the net power from i to j, which is what counts in all sums above,
is ``p_ij − p_ji = −½ F_ij · (v_i + v_j)``, what i loses and j gains.

Velocities are those of the frame, in the frame of reference of the cell, and it is v_j, not v_j − v_i, that enters:
differences would give U̇_i alone, without the kinetic energy. A common velocity V of all atoms does work on every edge,
−g_ij · V for a local model; the sum is that of the stress, ``Σ_j W_j V``. Subtract it first where the heat relative to
the centre of mass is meant.

For message-passing models all p_e follow from one injection (`fluxan.flux.adjoint`): with weights w_e in place of
r_ij, its gradient times the velocities is ``−Σ_e w_e p_e``. This is linear in w, so p_e is the derivative with respect
to w_e: one more backward pass, through the injection. No tangents are computed, and messages between edges are
included, whose power goes along the path of edges that their displacement is made of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING

import numpy as np
import torch

from fluxan.display import Displayed, vector
from fluxan.errors import InputError, ModelError
from fluxan.flux.adjoint import decided_pass
from fluxan.flux.energies import model_name, to_numpy
from fluxan.flux.evaluate import FluxEvaluator, passed_checks
from fluxan.flux.local import LocalRoute
from fluxan.neighbors import build_graph
from fluxan.potentials.load import load_model

if TYPE_CHECKING:
    from fluxan.flux.adjoint import ForwardPass
    from fluxan.flux.signature import Signature
    from fluxan.potentials.base import Potential
    from fluxan.system import Frame, Graph

#: Energies (n_atoms,), power of each edge (n_edges,), and signature of the forward pass.
Power = tuple[np.ndarray, np.ndarray, "Signature | None"]

#: Largest relative difference of two sums that counts as round-off, in machine epsilons.
ROUNDINGS = 1e4
#: Largest index (h, k or l) of a lattice plane, and deviation of a normal from it, relative.
_MAX_INDEX, _SAME_PLANE = 24, 1e-6


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class EdgeCurrents(Displayed):
    """Power along each edge of the graph of a frame, or of some of its edges.

    The power of a single edge depends on how the model divides its energy among atoms and edges; the difference from
    that of the reverse edge (`net`) changes the energies of atoms, and is what `flux` and `through` depend on.

    Attributes
    ----------
    senders, receivers : (n_edges,) int64
        Atoms j and i of each edge.
    shifts : (n_edges, 3) int64
        Cell translation of the sender.
    r_ij : (n_edges, 3) float64
        Vector from receiver to sender, Å.
    power : (n_edges,) float64
        Energy per time that passes from the receiver to the sender, along r_ij, eV/ps.
    frame : Frame
        The frame.
    """

    senders: np.ndarray
    receivers: np.ndarray
    shifts: np.ndarray
    r_ij: np.ndarray
    power: np.ndarray
    frame: Frame

    @property
    def flux(self) -> np.ndarray:
        """Potential part of the heat flux, Σ power · r_ij, (3,), eV Å/ps."""
        return self.power @ self.r_ij

    @property
    def energy_rates(self) -> np.ndarray:
        """Rate of the energy of each atom, potential and kinetic, in an isolated system, (n_atoms,) eV/ps."""
        n = self.frame.n_atoms
        gained, lost = (np.bincount(ends, self.power, minlength=n) for ends in (self.senders, self.receivers))
        return gained - lost

    @property
    def net(self) -> np.ndarray:
        """Power of each edge minus that of the reverse edge, (n_edges,) eV/ps: what receivers lose to senders."""
        forth = np.column_stack([self.receivers, self.senders, self.shifts])
        back = np.column_stack([self.senders, self.receivers, -self.shifts])
        reverse = np.empty(len(forth), dtype=np.int64)
        reverse[np.lexsort(back.T)] = np.lexsort(forth.T)
        return self.power - self.power[reverse]

    def through(self, normal: object, offset: float) -> float:
        """Power through a plane towards the side to which its normal points, eV/ps.

        It is the sum over edges whose ends lie on different sides. In a periodic cell the plane has periodic images, a
        fixed distance L apart, and an edge counts once for each of them that it crosses. The sum is then the power
        through a piece of one plane of area volume/L, which is a face of the cell for a plane parallel to it. The atoms
        between planes at offsets a < b < a + L gain ``through(n, a) - through(n, b)``. The mean over all offsets is
        ``n · flux / L`` for a unit normal. A plane parallel to all periodic cell vectors has no images.

        Energy that atoms take along when they cross the plane is not included.

        Parameters
        ----------
        normal : (3,) array_like
            Normal of the plane, of any length; in a periodic cell that of a lattice plane: perpendicular to two cell
            vectors, for example.
        offset : float
            Position of the plane along its normal, Å: its points r have ``r · normal / |normal| = offset``.

        Raises
        ------
        InputError
            The normal is zero, not finite, or not that of a lattice plane, or the offset is not finite.
        """
        unit = _unit(normal)
        if not np.isfinite(offset):
            raise InputError(f"offset is {offset!r}; it must be finite, in Å")
        heights = self.frame.positions @ unit - offset
        spacing = _spacing(self.frame, unit)
        if spacing is None:
            side, images = (heights >= 0).astype(np.float64), 0.0
        else:
            side = np.floor(heights / spacing)
            images = np.rint(self.shifts @ (np.asarray(self.frame.cell) @ unit) / spacing)
        return float(self.power @ (side[self.senders] + images - side[self.receivers]))

    def by_elements(self) -> dict[str, EdgeCurrents]:
        """The edges between each pair of elements, in both directions, by name ("Ag-I", in order of atomic number)."""
        from ase.data import chemical_symbols as symbol

        pairs = np.sort(np.asarray(self.frame.numbers)[np.column_stack([self.receivers, self.senders])], axis=1)
        kinds, which = np.unique(pairs, axis=0, return_inverse=True)
        return {f"{symbol[a]}-{symbol[b]}": self._some(which.ravel() == k) for k, (a, b) in enumerate(kinds)}

    def _some(self, rows: np.ndarray) -> EdgeCurrents:
        edges = ("senders", "receivers", "shifts", "r_ij", "power")
        return replace(self, **{name: getattr(self, name)[rows] for name in edges})

    def _facts(self) -> dict[str, str]:
        return {
            "edges": str(len(self.power)),
            "flux": vector(self.flux, "eV Å/ps"),
            "largest power": f"{np.abs(self.power).max(initial=0.0):.4g} eV/ps",
        }


def edge_currents(frame: Frame, model: object, *, route: str = "auto") -> EdgeCurrents:
    """Power along each edge of the graph, which adds up to the potential part of the heat flux.

    Parameters
    ----------
    frame : Frame
        Must have velocities; a velocity of the centre of mass is not removed.
    model : Potential or what `fluxan.load_model` takes
        The model. One that passes messages must be twice differentiable.
    route : {"auto", "local", "adjoint"}
        See `fluxan.heat_flux`.

    Returns
    -------
    EdgeCurrents
        Power of each edge, eV/ps, with the edges; float64.

    Raises
    ------
    InputError
        There are no velocities, or there is no such route.
    ModelError
        The model does not know an element, fails the check of the route, needs the unfolded route (its edges are not
        those along which it passes messages), or has no or wrong second derivatives.
    """
    if route == "unfolded":
        raise InputError('route="unfolded" gives no currents along edges; give "auto", "local" or "adjoint"')
    module = load_model(model)
    one_group = [""] * frame.n_atoms
    passed = passed_checks(module, frame.numbers)
    evaluator = FluxEvaluator(module, frame.numbers, groups=one_group, route=route, passed=passed)
    graph = build_graph(frame, module.cutoff)
    source = _PowerSource(module, evaluator.route_for(graph).name)
    # Checks the signature of this frame's forward pass too, which may require another route.
    flux = evaluator.flux_by(source, frame, graph)
    if flux.route != source.name:
        source = _PowerSource(module, flux.route)
        evaluator.flux_by(source, frame, graph)
    edges = {name: getattr(graph, name).numpy().astype(np.int64) for name in ("senders", "receivers", "shifts")}
    return EdgeCurrents(**edges, r_ij=to_numpy(graph.r_ij), power=source.power, frame=frame)


class _PowerSource:
    """Source of a potential flux (`fluxan.flux.routes.FluxSource`) which is a sum over edges, for one group of atoms.

    Attributes
    ----------
    name : str
        Name of the route.
    signature : Signature or None
        Signature of the last forward pass.
    power : (n_edges,) float64
        Power of each edge in the last evaluation, eV/ps.
    """

    def __init__(self, model: Potential, name: str) -> None:
        if name == "unfolded":
            raise ModelError(
                f"{model_name(model)} needs the unfolded route: it passes energy in ways that are not edges of the "
                "graph, so there are no currents along edges; fluxan.heat_flux gives its flux"
            )
        self.model, self.name = model, name
        self.signature: Signature | None = None
        self.power = np.empty(0)

    def potential_flux(
        self, graph: Graph, velocities: np.ndarray, groups: np.ndarray, n_groups: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Atomic energies (n_atoms,) eV and virial flux (1, 1, 3) eV Å/ps."""
        power = local_power if self.name == "local" else adjoint_power
        energies, self.power, self.signature = power(self.model, graph, velocities)
        return energies, (self.power @ to_numpy(graph.r_ij)).reshape(1, 1, 3)


def local_power(model: Potential, graph: Graph, velocities: np.ndarray) -> Power:
    """U_i and power −g_ij · v_j of each edge, for a local model; graph in float64 on the CPU."""
    route = LocalRoute(model)
    _, energies, g_ij = route.pair_forces(graph)
    power = -np.einsum("eb,eb->e", to_numpy(g_ij), velocities[graph.senders.numpy()])
    return energies, power, route.signature


def adjoint_power(model: Potential, graph: Graph, velocities: np.ndarray) -> Power:
    """U_i and power of each edge, by the derivative of an injection with respect to its weights.

    Parameters
    ----------
    model : Potential
        Any model whose crossings can be found.
    graph : Graph
        float64, on the CPU.
    velocities : (n_atoms, 3) float64
        Velocities, Å/ps.

    Raises
    ------
    ModelError
        The model has no second derivatives, or wrong ones.
    """
    forward, whole = decided_pass(model, graph)
    moving = np.tile(velocities, (whole.n_atoms // graph.n_atoms, 1))
    # Atoms and edges of the cell come first in a repeated cell.
    power = _power_of(forward, moving, model_name(model))[: graph.n_edges]
    return to_numpy(forward.energies)[: graph.n_atoms], power, forward.signature


def _power_of(forward: ForwardPass, velocities: np.ndarray, name: str) -> np.ndarray:
    """Power of each edge of a forward pass, (n_edges,) eV/ps; `name` is that of the model."""
    reached = [(c, a) for c, a in zip(forward.crossings, forward.adjoints(), strict=True) if a is not None]
    if not reached:
        return np.zeros(forward.graph.n_edges)
    leaf = forward.displacements
    # Any weights give the same derivatives; with random ones the injection also checks their sum.
    random = torch.rand(forward.graph.n_edges, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = (2 * random - 1).to(leaf.detach()).requires_grad_()
    places = [crossing.edge_data for crossing, _ in reached]
    seeds = [crossing.weigh(weights, adjoint) for crossing, adjoint in reached]
    moving = torch.as_tensor(velocities).to(leaf.detach())
    try:
        (gradient,) = torch.autograd.grad(places, leaf, seeds, create_graph=True)
        (slopes,) = torch.autograd.grad(gradient, weights, moving)
    except RuntimeError as error:  # "not implemented", "does not require grad", once_differentiable
        raise _not_differentiable(name, str(error).strip().splitlines()[-1]) from error
    works = (to_numpy(gradient) * velocities).sum(axis=1)
    parts = to_numpy(slopes) * to_numpy(weights)
    tolerance = ROUNDINGS * torch.finfo(slopes.dtype).eps * (np.abs(works).sum() + np.abs(parts).sum())
    if not abs(works.sum() - parts.sum()) <= tolerance:  # false for NaN too
        raise _not_differentiable(name, f"a weighted sum is {parts.sum():.6g} instead of {works.sum():.6g} eV/ps")
    return -to_numpy(slopes)


def _not_differentiable(name: str, why: str) -> ModelError:
    return ModelError(
        f"{name} has no second derivatives, or wrong ones, which the currents along edges of a message-passing model "
        f"need ({why}); fluxan.heat_flux does without"
    )


def _unit(normal: object) -> np.ndarray:
    """A normal as a unit vector."""
    try:
        values = np.array(normal, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape != (3,) or not np.isfinite(values).all() or not values.any():
        raise InputError(f"normal is {normal!r}; expected three finite numbers that are not all zero")
    return values / np.linalg.norm(values)


def _spacing(frame: Frame, unit: np.ndarray) -> float | None:
    """Distance between periodic images of a plane with this normal, Å; None if it has none.

    Translations move the plane by sums of multiples of the heights h_k of the cell vectors along the normal. With
    h_k/h_0 as fractions in lowest terms, these sums are the multiples of h_0 over the least common denominator.
    """
    if frame.cell is None:
        return None
    vectors = np.asarray(frame.cell)[np.array(frame.pbc)]
    heights = vectors @ unit
    heights = heights[np.abs(heights) > _SAME_PLANE * np.linalg.norm(vectors, axis=1)]
    if not len(heights):
        return None
    ratios = heights / heights[0]
    fractions = [Fraction(ratio).limit_denominator(_MAX_INDEX) for ratio in ratios]
    if any(abs(float(f) - ratio) > _SAME_PLANE * abs(ratio) for f, ratio in zip(fractions, ratios, strict=True)):
        raise InputError(
            f"the plane with normal {unit.round(6).tolist()} is no lattice plane of the periodic cell: give the cross "
            "product of two cell vectors, or of two small sums of them"
        )
    return float(abs(heights[0]) / lcm(*(f.denominator for f in fractions)))
