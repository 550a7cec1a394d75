"""The adjoint and unfolded routes against the full Jacobian over explicit replicas, and against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fluxan.flux.adjoint import AdjointRoute, differentiable_virial
from fluxan.flux.local import LocalRoute
from fluxan.flux.unfolded import UnfoldedRoute
from fluxan.neighbors import build_graph
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.system import Frame
from fluxan.units import MASS_VELOCITY2
from tests.message_passing import ToyModel, flux_oracle, jacobian_oracle, random_frame, scaled_up

EVERYTHING = {"vectors": True, "symmetrised": True, "sender_scatter": True}
MODELS = {
    "local": lambda: ToyModel(1, vectors=True),
    "scalars": lambda: ToyModel(2),
    "vectors": lambda: ToyModel(2, vectors=True),
    "symmetrised": lambda: ToyModel(2, symmetrised=True),
    "to-senders": lambda: ToyModel(2, sender_scatter=True),
    "one-layer-to-senders": lambda: ToyModel(1, sender_scatter=True),
    "own-vectors": lambda: ToyModel(2, own_vectors=True, **EVERYTHING),
    "three-layers": lambda: ToyModel(3, n_elements=3, **EVERYTHING),
    "one-element": lambda: ToyModel(2, n_elements=1, vectors=True),
    "network": lambda: scaled_up(EquivariantNetwork([1, 2], cutoff=3.0, n_features=6, n_layers=2)),
    "deep-network": lambda: scaled_up(EquivariantNetwork([1, 2, 3], cutoff=2.5, n_features=4, n_layers=3, zbl=True)),
}
#: Atoms and edge of the cell, Å; from less than the cutoff to more than twice as long.
CELLS = {"small": (2, 2.3, False), "triclinic": (3, 2.8, True), "wide": (7, 6.4, False)}


def frame_for(model, cell):
    n_atoms, edge, triclinic = CELLS[cell]
    elements = list(model.elements or range(len(model.embedding)))
    frame = random_frame(n_atoms, cell=edge, triclinic=triclinic)
    return frame.replace(numbers=np.resize(elements, n_atoms))


def slope(function, step=1e-4):
    """Derivative at zero, to fourth order in the step."""
    near, far = (function(h) - function(-h) for h in (step, 2 * step))
    return (8 * near - far) / (12 * step)


def assert_close(found, expected, tolerance):
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", MODELS)
def test_routes_equal_the_jacobian(name, cell):
    model = MODELS[name]()
    frame = frame_for(model, cell)
    virials, energies = jacobian_oracle(model, frame)
    groups = np.arange(frame.n_atoms) % 2
    flux = flux_oracle(virials, frame, groups, 2)
    graph = build_graph(frame, model.cutoff)
    for route in (AdjointRoute(model), UnfoldedRoute(model)):
        found_energies, found_flux = route.potential_flux(graph, frame.velocities, groups, 2)
        assert_close(found_energies, energies, 1e-10)
        assert_close(found_flux, flux, 1e-10)
        assert_close(route.atomic_virial(graph)[1], virials.sum(axis=0), 1e-10)


@pytest.mark.parametrize("name", ["scalars", "own-vectors", "network"])
def test_single_precision(name):
    model = MODELS[name]()
    frame = frame_for(model, "triclinic")
    virials, _ = jacobian_oracle(model, frame)
    graph = build_graph(frame, model.cutoff)
    model = model.to(torch.float32)
    groups = np.arange(frame.n_atoms) % 2
    flux = flux_oracle(virials, frame, groups, 2)
    for route in (AdjointRoute(model), UnfoldedRoute(model)):
        assert_close(route.atomic_virial(graph)[1], virials.sum(axis=0), 1e-4)
        energies, found = route.potential_flux(graph, frame.velocities, groups, 2)
        assert energies.dtype == found.dtype == np.float64
        assert_close(found, flux, 1e-4)


@pytest.mark.parametrize("edge", [2.1, 1.4])
def test_a_cell_of_one_atom(edge):
    # Senders are receivers in order here.
    model = ToyModel(2, n_elements=1, vectors=True, cutoff=2.5)
    frame = random_frame(1, cell=edge, triclinic=True, n_elements=1)
    virials, energies = jacobian_oracle(model, frame)
    route, graph = AdjointRoute(model), build_graph(frame, model.cutoff)
    found_energies, virial = route.atomic_virial(graph)
    assert_close(found_energies, energies, 1e-10)
    assert_close(virial, virials.sum(axis=0), 1e-10)
    _, flux = route.potential_flux(graph, frame.velocities, frame.numbers, 1)
    assert_close(flux[0, 0], virial[0] @ frame.velocities[0], 1e-10)


def test_no_edges():
    model = ToyModel(2)
    frame = Frame([[0.0, 0, 0], [0, 0, 9]], [[1.0, 0, 0], [0, 1, 0]], None, [0, 1], masses=[1, 1])
    for route in (AdjointRoute(model), UnfoldedRoute(model)):
        energies, flux = route.potential_flux(build_graph(frame, 3.0), frame.velocities, frame.numbers, 2)
        assert np.isfinite(energies).all()
        assert not flux.any()
        assert not route.atomic_virial(build_graph(frame, 3.0))[1].any()


def test_the_edge_formula_is_wrong_for_two_layers():
    model = MODELS["vectors"]()
    frame = frame_for(model, "triclinic")
    virials, _ = jacobian_oracle(model, frame)
    edge_formula = LocalRoute(model).atomic_virial(build_graph(frame, model.cutoff))[1]
    assert np.abs(edge_formula - virials.sum(axis=0)).max() > 1e-3 * np.abs(edge_formula).max()
    assert_close(edge_formula.sum(axis=0), virials.sum(axis=(0, 1)), 1e-10)


@pytest.mark.parametrize("name", ["own-vectors", "three-layers", "network"])
def test_sum_is_the_strain_derivative(name):
    model = MODELS[name]()
    frame = frame_for(model, "triclinic")

    def energy(a, b, amount):
        stretch = np.eye(3)
        stretch[a, b] += amount
        strained = frame.replace(positions=frame.positions @ stretch, cell=frame.cell @ stretch)
        return model(build_graph(strained, model.cutoff)).sum().item()

    slopes = [[slope(lambda amount, a=a, b=b: energy(a, b, amount)) for b in range(3)] for a in range(3)]
    virial = AdjointRoute(model).atomic_virial(build_graph(frame, model.cutoff))[1]
    assert_close(virial.sum(axis=0), -np.array(slopes), 1e-8)


@pytest.mark.parametrize("name", ["own-vectors", "three-layers", "network"])
def test_cluster_flux_is_the_rate_of_the_energy_dipole(name):
    model = MODELS[name]()
    frame = frame_for(model, "wide").replace(cell=None)
    graph = build_graph(frame, model.cutoff)
    leaf = graph.positions.clone().requires_grad_()
    moves = leaf - graph.positions
    r_ij = graph.r_ij + moves[graph.senders] - moves[graph.receivers]
    energy = model(graph.replace(positions=leaf, r_ij=r_ij)).sum()
    accelerations = -torch.autograd.grad(energy, leaf)[0].numpy() / (MASS_VELOCITY2 * frame.masses[:, None])

    def dipole(time):
        positions = frame.positions + time * frame.velocities + 0.5 * time**2 * accelerations
        moved = frame.replace(positions=positions, velocities=frame.velocities + time * accelerations)
        energies = model(build_graph(moved, model.cutoff)).detach().numpy() + moved.kinetic_energies
        return energies @ positions

    # The path is right to second order in time, so is its rate at the middle.
    step = 1e-3 / max(1.0, np.abs(accelerations).max() ** 0.5)
    rate = slope(dipole, step)
    energies, flux = AdjointRoute(model).potential_flux(graph, frame.velocities, np.zeros(frame.n_atoms, int), 1)
    convective = (energies + frame.kinetic_energies) @ frame.velocities
    assert_close(flux[0, 0] + convective, rate, 1e-6)


def squared_virial(model, frame, graph):
    return differentiable_virial(model, graph).square().sum()


def squared_flux(model, frame, graph):
    velocities = torch.as_tensor(frame.velocities)
    return torch.einsum("jab,jb->a", differentiable_virial(model, graph), velocities).square().sum()


@pytest.mark.parametrize("quantity", [squared_virial, squared_flux])
@pytest.mark.parametrize("name", ["own-vectors", "three-layers", "network"])
def test_training_gradients(name, quantity):
    model = MODELS[name]().train()
    frame = frame_for(model, "triclinic")
    graph = build_graph(frame, model.cutoff)
    parameters = list(model.parameters())
    rng = torch.Generator().manual_seed(0)
    direction = [torch.randn(p.shape, generator=rng, dtype=torch.float64) for p in parameters]
    gradients = torch.autograd.grad(quantity(model, frame, graph), parameters, allow_unused=True)
    found = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True) if g is not None).item()

    def value(amount):
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.add_(d, alpha=amount)
        result = quantity(model, frame, graph).item()
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.sub_(d, alpha=amount)
        return result

    assert found == pytest.approx(slope(value), rel=1e-6)


@pytest.mark.parametrize("name", ["own-vectors", "network"])
def test_gradients_reach_positions(name):
    model = MODELS[name]()
    frame = frame_for(model, "triclinic")
    graph = build_graph(frame, model.cutoff)
    positions = graph.positions.clone().requires_grad_()
    value = squared_virial(model, frame, graph.replace(positions=positions))
    (gradient,) = torch.autograd.grad(value, positions)
    direction = np.random.default_rng(1).normal(size=frame.positions.shape)

    def moved(amount):
        shaken = frame.replace(positions=frame.positions + amount * direction)
        return squared_virial(model, shaken, build_graph(shaken, model.cutoff)).item()

    assert (gradient.numpy() * direction).sum() == pytest.approx(slope(moved), rel=1e-6)


def flux_of(model, frame):
    return AdjointRoute(model).potential_flux(
        build_graph(frame, model.cutoff), frame.velocities, np.zeros(frame.n_atoms, int), 1
    )[1][0, 0]


def test_invariances():
    model = MODELS["own-vectors"]()
    frame = frame_for(model, "triclinic")
    flux = flux_of(model, frame)
    rng = np.random.default_rng(2)
    assert_close(flux_of(model, frame.replace(positions=frame.positions + np.array([0.3, -5.0, 11.0]))), flux, 1e-10)
    images = rng.integers(-2, 3, size=(frame.n_atoms, 3)) @ frame.cell
    assert_close(flux_of(model, frame.replace(positions=frame.positions + images)), flux, 1e-10)
    order = rng.permutation(frame.n_atoms)
    permuted = {name: getattr(frame, name)[order] for name in ("positions", "velocities", "numbers", "masses")}
    assert_close(flux_of(model, frame.replace(**permuted)), flux, 1e-10)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turned = {name: getattr(frame, name) @ rotation for name in ("positions", "velocities", "cell")}
    assert_close(flux_of(model, frame.replace(**turned)), flux @ rotation, 1e-10)
    doubled = frame.replace(
        positions=np.concatenate([frame.positions, frame.positions + frame.cell[1]]),
        cell=frame.cell * [[1], [2], [1]],
        **{name: np.concatenate([getattr(frame, name)] * 2) for name in ("velocities", "numbers", "masses")},
    )
    assert_close(flux_of(model, doubled), 2 * flux, 1e-10)


def test_owner_and_carrier_parts_add_up():
    model = MODELS["three-layers"]()
    frame = frame_for(model, "wide")
    graph, route = build_graph(frame, model.cutoff), AdjointRoute(model)
    _, parts = route.potential_flux(graph, frame.velocities, np.arange(frame.n_atoms) % 3, 3)
    assert parts.shape == (3, 3, 3)
    assert_close(parts.sum(axis=(0, 1)), flux_of(model, frame), 1e-10)
    _, virial = route.atomic_virial(graph)
    carriers = [virial[k::3].reshape(-1, 3, 3) for k in range(3)]
    expected = [np.einsum("jab,jb->a", w, frame.velocities[k::3]) for k, w in enumerate(carriers)]
    assert_close(parts.sum(axis=0), np.array(expected), 1e-10)
