"""Behler-Parrinello networks: standardised inputs, elements, derivatives, the heat flux, files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fluxan
from fluxan.errors import ModelError
from fluxan.neighbors import build_graph
from fluxan.potentials import BehlerParrinello, load_model
from fluxan.potentials.fingerprint import model_sha256
from fluxan.system import Frame
from tests.potentials.descriptor_cases import finite_difference_forces, functions, silicon, silver_iodide
from tests.potentials.references import forces_of


def graphs(n=3):
    return [build_graph(silver_iodide(seed=seed), 6.0) for seed in range(n)]


def network(**options):
    model = BehlerParrinello(functions(), **options)
    model.standardise(graphs())
    model.offsets.copy_(torch.tensor([-1.0, 2.0]))
    model.energy_scale.copy_(torch.tensor([0.5, 3.0]))
    return model


@pytest.mark.parametrize("options", [{}, {"hidden": [7], "activation": "silu"}, {"hidden": []}])
def test_formula(options):
    model, graph = network(**options), graphs(1)[0]
    descriptors = model.functions(graph)
    expected = []
    for atom, number in enumerate(graph.numbers.tolist()):
        z = model.elements.index(number)
        values = (descriptors[atom] - model.mean[z]) / model.scale[z]
        for layer in model.networks[z]:
            values = layer(values)
        expected.append(model.offsets[z] + model.energy_scale[z] * values[0])
    torch.testing.assert_close(model(graph), torch.stack(expected), rtol=1e-13, atol=1e-13)
    assert (model.n_hops, model.cutoff, model.elements, model.training) == (1, 6.0, (47, 53), False)
    assert all(tensor.dtype == torch.float64 for tensor in model.state_dict().values())


def test_standardised_descriptors():
    model = network()
    values, species = (
        torch.cat([call(graph) for graph in graphs()]) for call in (model.functions, model.functions.species_of)
    )
    for z in range(2):
        torch.testing.assert_close(model.mean[z], values[species == z].mean(0), rtol=1e-12, atol=1e-14)
        deviation = values[species == z].std(0, correction=0).clamp(min=1e-4)
        torch.testing.assert_close(model.scale[z], deviation, rtol=1e-9, atol=0)


def test_constant_descriptors_keep_their_unit():
    model = BehlerParrinello(functions((14, 32)))
    model.standardise([build_graph(silicon(displacement=0.0), 6.0)])
    assert torch.equal(model.scale, torch.ones_like(model.scale))
    assert (model.mean[0, :2] > 0.1).all()
    assert torch.equal(model.mean[1], torch.zeros_like(model.mean[1]))


def test_forces_are_finite_differences():
    model, frame = network(), silver_iodide(seed=5)
    graph = build_graph(frame, model.cutoff)
    r_ij = graph.r_ij.requires_grad_()
    (g_ij,) = torch.autograd.grad(model(graph).sum(), r_ij)

    def energy(frame):
        return float(model(build_graph(frame, model.cutoff)).sum().detach())

    expected = finite_difference_forces(energy, frame)
    np.testing.assert_allclose(forces_of(graph, g_ij), expected, atol=1e-8 * np.abs(expected).max())


def test_forces_can_be_trained():
    model, graph = network(hidden=(3,)), graphs(1)[0]
    parameters = [p.detach().clone().requires_grad_() for p in model.parameters()]
    names = [name for name, _ in model.named_parameters()]

    def squares(*parameters):
        r_ij = graph.r_ij.detach().requires_grad_()
        energies = torch.func.functional_call(
            model, dict(zip(names, parameters, strict=True)), (graph.replace(r_ij=r_ij),)
        )
        (g_ij,) = torch.autograd.grad(energies.sum(), r_ij, create_graph=True)
        return g_ij.square().sum() + energies.square().sum()

    assert torch.autograd.gradcheck(squares, parameters, fast_mode=True)


@pytest.mark.parametrize("cell", [1.0, 0.5])
def test_heat_flux_is_local(cell):
    frame = silver_iodide()
    if cell < 1:
        frame = Frame(frame.positions[:2], frame.velocities[:2], frame.cell * cell, frame.numbers[[0, 1]])
    model = network()
    flux = fluxan.heat_flux(frame, model)
    assert flux.route == "local"
    unfolded = fluxan.heat_flux(frame, model, route="unfolded")
    np.testing.assert_allclose(flux.potential, unfolded.potential, atol=1e-11 * np.abs(unfolded.potential).max())
    np.testing.assert_allclose(flux.total, unfolded.total, rtol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_files(tmp_path, dtype):
    model = network(hidden=(5, 4), activation="silu", seed=3).to(dtype)
    model.save(tmp_path / "model.safetensors")
    back = load_model(tmp_path / "model.safetensors")
    assert isinstance(back, BehlerParrinello)
    assert not back.training
    graph = graphs(1)[0].to(dtype=dtype)
    assert torch.equal(back(graph), model(graph))
    assert back(graph).dtype == dtype
    assert model_sha256(back) == model_sha256(model)


def test_hash_does_not_depend_on_use():
    model = network()
    before = model_sha256(model)
    model(graphs(1)[0])
    assert model_sha256(model) == before
    model.mean[0, 0] += 1e-9
    assert model_sha256(model) != before


def test_seeds():
    state = torch.get_rng_state()
    weights = [network(seed=seed).networks[0][0].weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "relu"}, "activation is 'relu'; expected one of tanh, silu"),
        ({"hidden": (0,)}, r"hidden is \[0\]; expected the number of neurons"),
        ({"functions": 3}, "functions are 3; expected SymmetryFunctions or their settings"),
    ],
)
def test_unusable_arguments(options, message):
    given = {"functions": functions(), **options}
    with pytest.raises(ModelError, match=message):
        BehlerParrinello(given.pop("functions"), **given)


def test_unknown_element():
    with pytest.raises(ModelError, match="know Ag, I, not Si"):
        network()(build_graph(silicon(), 6.0))
