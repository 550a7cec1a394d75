"""Linear potentials: the basis of their pair forces, the heat flux, files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fluxan
from fluxan.errors import ModelError
from fluxan.neighbors import build_graph
from fluxan.potentials import LinearPotential, load_model
from tests.potentials.descriptor_cases import finite_difference_forces, functions, silicon, silver_iodide
from tests.potentials.references import forces_of


def linear(model_functions=None):
    model = LinearPotential(model_functions or functions())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        model.weights.copy_(torch.randn(model.weights.shape, generator=generator, dtype=torch.float64))
    model.offsets.copy_(torch.tensor([-1.0, 2.0]))
    return model


SETS = {
    "all": functions(),
    "radial": functions(narrow=(), wide=()),
    "narrow": functions(radial=(), wide=()),
    "wide": functions(radial=(), narrow=()),
}


@pytest.mark.parametrize("name", SETS)
def test_basis(name):
    model, graph = linear(SETS[name]), build_graph(silver_iodide(), 6.0)
    descriptors, gradients = model.pair_force_basis(graph)
    assert gradients.shape == (model.functions.n_features, graph.n_edges, 3)
    assert not descriptors.requires_grad
    assert not gradients.requires_grad
    assert torch.equal(descriptors, model.functions(graph))
    species = model.functions.species_of(graph)
    energies = model.offsets[species] + (model.weights.detach()[species] * descriptors).sum(1)
    by_edge = model.weights.detach()[species[graph.receivers]]
    found = torch.einsum("ek,kex->ex", by_edge, gradients)
    r_ij = graph.r_ij.clone().requires_grad_()
    expected_energies = model(graph.replace(r_ij=r_ij))
    (expected,) = torch.autograd.grad(expected_energies.sum(), r_ij)
    torch.testing.assert_close(energies, expected_energies.detach(), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


def test_basis_where_gradients_are_off():
    model, graph = linear(), build_graph(silver_iodide(), 6.0)
    expected = model.pair_force_basis(graph)[1]
    with torch.no_grad():
        assert torch.equal(model.pair_force_basis(graph)[1], expected)


def test_forces_are_finite_differences():
    model, frame = linear(), silver_iodide(seed=5)
    graph = build_graph(frame, model.cutoff)
    _, gradients = model.pair_force_basis(graph)
    species = model.functions.species_of(graph)
    g_ij = torch.einsum("ek,kex->ex", model.weights.detach()[species[graph.receivers]], gradients)

    def energy(frame):
        return float(model(build_graph(frame, model.cutoff)).sum().detach())

    expected = finite_difference_forces(energy, frame)
    np.testing.assert_allclose(forces_of(graph, g_ij), expected, atol=1e-8 * np.abs(expected).max())


def test_heat_flux_is_local():
    frame, model = silver_iodide(), linear()
    flux = fluxan.heat_flux(frame, model)
    unfolded = fluxan.heat_flux(frame, model, route="unfolded")
    assert flux.route == "local"
    np.testing.assert_allclose(flux.potential, unfolded.potential, atol=1e-11 * np.abs(unfolded.potential).max())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_files(tmp_path, dtype):
    model = linear().to(dtype)
    model.save(tmp_path / "model.safetensors", training={"method": "least squares"})
    back = load_model(tmp_path / "model.safetensors")
    assert isinstance(back, LinearPotential)
    graph = build_graph(silver_iodide(), 6.0).to(dtype=dtype)
    assert torch.equal(back(graph), model(graph))
    assert (back.elements, back.cutoff, back.n_hops) == ((47, 53), 6.0, 1)


def test_unknown_element():
    with pytest.raises(ModelError, match="know Ag, I, not Si"):
        linear()(build_graph(silicon(), 6.0))
