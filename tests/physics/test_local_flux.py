"""Identities that the flux of a local model obeys, each from a side that shares no code with the route."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fluxan
from fluxan.flux.local import LocalRoute, closed_form, pair_forces_by_autograd
from fluxan.neighbors import build_graph
from fluxan.potentials.base import Potential
from fluxan.system import Frame
from fluxan.units import MASS_VELOCITY2
from tests.message_passing import flux_oracle, jacobian_oracle


class ThreeBody(Potential):
    """U_i = Σ_j c_j f(r_ij) + |Σ_j c_j f(r_ij) r_ij|² + √(1 + (Σ_j f)²): angles between all pairs of neighbours."""

    cutoff = 4.0

    def forward(self, graph):
        r = graph.r_ij.norm(dim=1)
        f = torch.exp(-r) * (1 - (r / self.cutoff) ** 2) ** 4 * (r < self.cutoff)
        weighted = f * graph.numbers[graph.senders].to(r) / 18
        zeros = torch.zeros(graph.n_atoms, dtype=r.dtype)
        scalar = zeros.index_add(0, graph.receivers, weighted)
        vector = torch.zeros(graph.n_atoms, 3, dtype=r.dtype).index_add(
            0, graph.receivers, weighted[:, None] * graph.r_ij
        )
        return scalar + (vector**2).sum(dim=1) + torch.sqrt(1 + zeros.index_add(0, graph.receivers, f) ** 2)


MODELS = {
    "lennard-jones": (lambda: fluxan.load_model("shipped:ar-kr"), (18, 36), 3.9, 9),
    "stillinger-weber": (lambda: fluxan.load_model("shipped:si"), (14,), 2.5, 8),
    "three-body": (ThreeBody, (18, 36), 2.5, 8),
}
CELL = np.array([[1.0, 0.0, 0.0], [0.25, 0.95, 0.0], [-0.15, 0.2, 1.05]])


@pytest.fixture(params=MODELS, scope="module")
def case(request):
    """A model and a frame of a disordered triclinic cell in which atoms see several images of a neighbour."""
    make, elements, spacing, n_atoms = MODELS[request.param]
    model = make()
    rng = np.random.default_rng(7)
    grid = np.stack(np.meshgrid(*[np.arange(2)] * 2, np.arange(3), indexing="ij"), axis=-1).reshape(-1, 3)
    cell = CELL * spacing * np.array([[2], [2], [3]])
    fractional = (grid + 0.5 + rng.uniform(-0.08, 0.08, grid.shape)) / [2, 2, 3]
    positions = (fractional @ cell)[:n_atoms]
    numbers = rng.permutation(np.resize(elements, n_atoms))
    return model, Frame(positions, rng.normal(size=(n_atoms, 3)), cell, numbers)


def relative(a, b):
    a, b = (torch.as_tensor(x).detach().numpy() for x in (a, b))
    return np.abs(a - b).max() / np.abs(b).max()


def test_closed_form_equals_autograd(case):
    model, frame = case
    graph = build_graph(frame, model.cutoff)
    formula = closed_form(model, graph)
    if formula is None:
        assert type(model) is ThreeBody
        return
    energies, g_ij, _ = pair_forces_by_autograd(model, graph)
    assert relative(formula[0], energies) < 1e-12
    assert relative(formula[1], g_ij) < 1e-12


def test_virial_equals_brute_force_jacobian(case):
    model, frame = case
    by_owner, _ = jacobian_oracle(model, frame)
    assert relative(fluxan.atomic_virial(frame, model), by_owner.sum(axis=0)) < 1e-10
    groups = np.arange(frame.n_atoms) % 3
    flux = fluxan.heat_flux(frame, model, groups=groups.tolist())
    assert relative(flux.potential, flux_oracle(by_owner, frame, groups, 3)) < 1e-10


def test_parts_add_up(case):
    model, frame = case
    whole = fluxan.heat_flux(frame, model, groups=["all"] * frame.n_atoms)
    for groups in ("element", list(range(frame.n_atoms))):
        parts = fluxan.heat_flux(frame, model, groups=groups)
        assert relative(parts.potential.sum(axis=(0, 1)), whole.potential[0, 0]) < 1e-12
        assert relative(parts.total, whole.total) < 1e-12


def test_virial_times_velocity_is_the_potential_flux(case):
    model, frame = case
    virial = fluxan.atomic_virial(frame, model)
    flux = fluxan.heat_flux(frame, model).potential.sum(axis=(0, 1))
    assert relative(np.einsum("jab,jb->a", virial, frame.velocities), flux) < 1e-12


def test_virials_add_up_to_the_strain_derivative(case):
    model, frame = case

    def energy(strain):
        deformed = frame.replace(positions=frame.positions @ strain.T, cell=frame.cell @ strain.T)
        return float(model(build_graph(deformed, model.cutoff)).sum())

    derivative, h = np.empty((3, 3)), 1e-5
    for a in range(3):
        for b in range(3):
            step = np.zeros((3, 3))
            step[b, a] = h
            # Fourth order: differences of energies lose eight digits.
            near = energy(np.eye(3) + step) - energy(np.eye(3) - step)
            far = energy(np.eye(3) + 2 * step) - energy(np.eye(3) - 2 * step)
            derivative[a, b] = (8 * near - far) / (12 * h)
    virial = fluxan.atomic_virial(frame, model).sum(axis=0)
    assert relative(virial, -derivative) < 1e-8
    assert relative(virial, virial.T) < 1e-10


def test_cluster_flux_is_the_rate_of_the_energy_moment(case):
    model, frame = case
    cluster = frame.replace(cell=None, pbc=(False, False, False))
    graph = build_graph(cluster, model.cutoff)
    _, _, g_ij = LocalRoute(model).pair_forces(graph)
    forces = np.zeros((cluster.n_atoms, 3))
    np.add.at(forces, graph.receivers.numpy(), g_ij.numpy())
    np.subtract.at(forces, graph.senders.numpy(), g_ij.numpy())
    acceleration = forces / (cluster.masses[:, None] * MASS_VELOCITY2)

    def moment(time):
        """Σ r_i E_i a moment later; its slope at 0 needs the path to first order only."""
        positions = cluster.positions + time * cluster.velocities
        velocities = cluster.velocities + time * acceleration
        moved = cluster.replace(positions=positions, velocities=velocities)
        potential = model(build_graph(moved, model.cutoff)).detach().numpy()
        return (potential + moved.kinetic_energies) @ positions

    h = 1e-4
    slope = (8 * (moment(h) - moment(-h)) - (moment(2 * h) - moment(-2 * h))) / (12 * h)
    assert relative(fluxan.heat_flux(cluster, model).total, slope) < 1e-6


def test_flux_is_invariant_under_translation_and_permutation(case):
    model, frame = case
    rng = np.random.default_rng(1)
    reference = fluxan.heat_flux(frame, model)
    images = rng.integers(-2, 3, size=(frame.n_atoms, 3)) @ frame.cell
    order = rng.permutation(frame.n_atoms)
    shuffled = Frame(frame.positions[order], frame.velocities[order], frame.cell, frame.numbers[order])
    same = {
        "translated": frame.replace(positions=frame.positions + rng.normal(size=3)),
        "wrapped": frame.replace(positions=frame.positions + images),
        "permuted": shuffled,
    }
    for name, other in same.items():
        flux = fluxan.heat_flux(other, model)
        assert relative(flux.potential, reference.potential) < 1e-10, name
        assert relative(flux.total, reference.total) < 1e-10, name


def test_flux_turns_with_the_system(case):
    model, frame = case
    rotation, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    fields = {name: getattr(frame, name) @ rotation.T for name in ("positions", "velocities", "cell")}
    turned = fluxan.heat_flux(frame.replace(**fields), model)
    assert relative(turned.potential, fluxan.heat_flux(frame, model).potential @ rotation.T) < 1e-10


def test_flux_doubles_with_the_cell(case):
    model, frame = case
    doubled = Frame(
        np.concatenate([frame.positions, frame.positions + frame.cell[1]]),
        np.tile(frame.velocities, (2, 1)),
        frame.cell * np.array([[1], [2], [1]]),
        np.tile(frame.numbers, 2),
    )
    assert relative(fluxan.heat_flux(doubled, model).potential, 2 * fluxan.heat_flux(frame, model).potential) < 1e-10
    assert relative(fluxan.heat_flux(doubled, model).total, 2 * fluxan.heat_flux(frame, model).total) < 1e-10


def test_user_groups_and_velocity_sums(case):
    model, frame = case
    labels = ["left" if x < frame.positions[:, 0].mean() else "right" for x in frame.positions[:, 0]]
    flux = fluxan.heat_flux(frame, model, groups=labels)
    assert set(flux.labels) == {"left", "right"}
    for k, label in enumerate(flux.labels):
        members = np.array(labels) == label
        assert flux.velocity[k] == pytest.approx(frame.velocities[members].sum(axis=0))
        kinetic = 0.5 * MASS_VELOCITY2 * frame.masses * (frame.velocities**2).sum(axis=1)
        assert flux.kinetic[k] == pytest.approx((kinetic[:, None] * frame.velocities)[members].sum(axis=0))
