"""One evaluation for forces and flux, against the separate routes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fluxan
from fluxan.errors import InputError, ModelError
from fluxan.flux.evaluate import FluxEvaluator
from fluxan.md.evaluation import Evaluation
from fluxan.neighbors import build_graph
from fluxan.potentials.base import Potential
from fluxan.potentials.equivariant import EquivariantNetwork
from tests.message_passing import ToyModel, random_frame, scaled_up
from tests.systems import argon_krypton

PARTS = ("potential", "kinetic", "convective", "velocity")


class Toy(ToyModel):
    """Counts its evaluations."""

    count = 0

    def forward(self, graph):
        self.count += 1
        return super().forward(graph)


def cases():
    crystal = next(iter(argon_krypton(1)))
    network = scaled_up(EquivariantNetwork([18, 36], cutoff=4.5, n_features=4, seed=2), 1.2)
    toy = random_frame(6, n_elements=3, triclinic=True)
    return {
        "formula": (fluxan.load_model("shipped:ar-kr"), crystal),
        "network": (network, crystal),
        "local": (ToyModel(1, n_elements=3), toy),
        "scatters": (ToyModel(2, n_elements=3, vectors=True, sender_scatter=True), toy),
        "own vectors": (ToyModel(2, n_elements=3, own_vectors=True), toy),
        "cluster": (ToyModel(2, n_elements=3), toy.replace(cell=None)),
        "one atom": (ToyModel(2, n_elements=1), random_frame(1, n_elements=1, cell=2.5)),
        "single precision": (ToyModel(2, n_elements=3).to(torch.float32), toy),
    }


@pytest.mark.parametrize("name", cases())
def test_forces_and_flux_are_those_of_separate_routes(name):
    model, frame = cases()[name]
    tolerance = 1e-4 if name == "single precision" else 1e-12
    evaluator = FluxEvaluator(model, frame.numbers)
    shared, plain = Evaluation(evaluator), Evaluation(evaluator)
    both, forces = shared.at(frame, flux=True), plain.at(frame)
    np.testing.assert_allclose(both.forces, forces.forces, atol=tolerance * np.abs(forces.forces).max())
    assert both.energy == pytest.approx(forces.energy, rel=tolerance)
    np.testing.assert_allclose(both.virial, forces.virial, atol=tolerance * np.abs(forces.virial).max())
    expected = fluxan.heat_flux(frame, model)
    for flux in (shared.flux(frame.velocities), plain.flux(frame.velocities)):
        for part in PARTS:
            value = getattr(expected, part)
            np.testing.assert_allclose(
                getattr(flux, part), value, atol=tolerance * max(np.abs(value).max(), 1e-9), err_msg=part
            )
    assert expected.route == flux.route


@pytest.mark.parametrize("name", ["formula", "network", "scatters"])
def test_forces_are_the_same_bits_with_and_without_a_flux(name):
    model, frame = cases()[name]
    evaluation = Evaluation(FluxEvaluator(model, frame.numbers))
    with_flux = evaluation.at(frame, flux=True)
    evaluation.reset()
    without = evaluation.at(frame)
    for part in ("energies", "forces", "virial"):
        assert np.array_equal(getattr(with_flux, part), getattr(without, part)), part


def test_virial_is_the_sum_of_atomic_virials():
    model, frame = cases()["scatters"]
    forces = Evaluation(FluxEvaluator(model, frame.numbers)).at(frame)
    total = fluxan.atomic_virial(frame, model).sum(axis=0)
    np.testing.assert_allclose(forces.virial, -total, atol=1e-12 * np.abs(total).max())


@pytest.mark.parametrize("route", ["adjoint", "local"])
def test_the_model_runs_once(route):
    model, frame = Toy(1 if route == "local" else 2, n_elements=3), cases()["local"][1]
    evaluation = Evaluation(FluxEvaluator(model, frame.numbers, route=route))
    evaluation.at(frame, flux=True)  # the route is checked here
    model.count = 0
    evaluation.at(frame, flux=True)
    first = evaluation.flux(frame.velocities)
    again = evaluation.flux(-frame.velocities)
    assert model.count == 1
    np.testing.assert_allclose(again.potential, -first.potential, rtol=1e-12)
    evaluation.at(frame)
    assert model.count == 2
    assert evaluation._kept is None  # no graph is kept alive for a flux that nobody wants
    evaluation.flux(frame.velocities)
    assert model.count == 3


def test_other_groups_of_the_same_evaluation():
    model, frame = cases()["scatters"]
    evaluation = Evaluation(FluxEvaluator(model, frame.numbers))
    evaluation.at(frame, flux=True)
    labels = ["left"] * 2 + ["right"] * 4
    found = evaluation.flux(frame.velocities, evaluator=FluxEvaluator(model, frame.numbers, groups=labels))
    expected = fluxan.heat_flux(frame, model, groups=labels)
    np.testing.assert_allclose(found.potential, expected.potential, atol=1e-12 * np.abs(expected.potential).max())


class Broken(Potential):
    """Its forces at rest are 0/0, its energies are fine."""

    cutoff = 3.0

    def forward(self, graph):
        flat = torch.sqrt((graph.r_ij * 0).square().sum(dim=1))
        return torch.zeros_like(graph.positions[:, 0]).index_add(0, graph.receivers, flat)


def test_unusable_input_is_refused():
    frame = cases()["local"][1]
    evaluation = Evaluation(FluxEvaluator(ToyModel(2, n_elements=3), frame.numbers))
    with pytest.raises(InputError, match="ask for forces first"):
        evaluation.flux(frame.velocities)
    with pytest.raises(ModelError, match="gives atom 0 the force"):
        Evaluation(FluxEvaluator(Broken(), frame.numbers)).at(frame)
    evaluation.at(frame)
    with pytest.raises(InputError, match="no velocities"):
        evaluation.flux(None)
    fewer = random_frame(4, n_elements=3)
    with pytest.raises(InputError, match="4 atoms, there were 6 before"):
        evaluation.evaluator.flux(fewer, build_graph(fewer, 3.0))
