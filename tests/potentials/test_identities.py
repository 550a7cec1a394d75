"""What must hold for every analytic potential, whatever its form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from fluxan.errors import ModelError
from fluxan.potentials.load import parse_model
from tests.graphs import brute_force_graph
from tests.potentials.cases import NAMES, disordered, models
from tests.potentials.references import forces_of

MODELS = models()


@pytest.fixture(params=NAMES)
def case(request):
    model = MODELS[request.param]
    frame = disordered(model)
    return model, frame, brute_force_graph(frame, model.cutoff)


def autograd(model, graph):
    r_ij = graph.r_ij.clone().requires_grad_()
    energies = model(graph.replace(r_ij=r_ij))
    return energies.detach(), torch.autograd.grad(energies.sum(), r_ij)[0]


def test_closed_form_equals_autograd(case):
    model, _, graph = case
    energies, g_ij = model.pair_forces(graph)
    expected, expected_g = autograd(model, graph)
    assert expected_g.abs().max() > 1e-3
    torch.testing.assert_close(energies, expected, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(g_ij, expected_g, rtol=1e-12, atol=1e-12 * float(expected_g.abs().max()))


def test_forces_are_the_slope_of_the_energy(case):
    model, frame, graph = case
    # A plain truncation jumps at its cutoff: the step must not carry an edge across.
    lengths = graph.r_ij.norm(dim=1)
    cutoffs = {row["cutoff"] for row in model.rows.values() if "cutoff" in row}
    assert all((lengths - cutoff).abs().min() > 1e-4 for cutoff in cutoffs)
    forces = forces_of(graph, model.pair_forces(graph)[1])
    step = 2e-5
    for atom, axis in ((0, 0), (3, 1), (frame.n_atoms - 1, 2)):
        energies = []
        for sign in (1, -1):
            positions = frame.positions.copy()
            positions[atom, axis] += sign * step
            moved = brute_force_graph(frame.replace(positions=positions), model.cutoff)
            energies.append(float(model(moved).sum()))
        slope = (energies[0] - energies[1]) / (2 * step)
        assert -slope == pytest.approx(forces[atom, axis], rel=1e-6, abs=1e-7 * np.abs(forces).max())


def test_longer_edges_and_their_order_do_not_matter(case):
    model, frame, graph = case
    energies, g_ij = model.pair_forces(graph)
    longer = brute_force_graph(frame, model.cutoff + 1.5)
    order = torch.randperm(longer.n_edges, generator=torch.Generator().manual_seed(1))
    names = ("senders", "receivers", "shifts", "r_ij")
    shuffled = longer.replace(**{name: getattr(longer, name)[order] for name in names})
    assert shuffled.n_edges > graph.n_edges
    shuffled_energies, shuffled_g = model.pair_forces(shuffled)
    torch.testing.assert_close(shuffled_energies, energies, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(model(shuffled), energies, rtol=1e-13, atol=1e-13)
    beyond = shuffled.r_ij.norm(dim=1) >= model.cutoff
    assert bool((shuffled_g[beyond] == 0).all())
    expected = forces_of(graph, g_ij)
    np.testing.assert_allclose(forces_of(shuffled, shuffled_g), expected, atol=1e-12 * np.abs(expected).max())


def test_translation_permutation_rotation(case):
    model, frame, graph = case
    energies = model.pair_forces(graph)[0].numpy()
    rng = np.random.default_rng(2)
    rotation = Rotation.random(rng=rng).as_matrix()
    order = rng.permutation(frame.n_atoms)
    moved = frame.replace(
        positions=((frame.positions + rng.normal(size=3)) @ rotation)[order],
        numbers=frame.numbers[order],
        masses=None,
        cell=frame.cell @ rotation,
    )
    moved_energies = model.pair_forces(brute_force_graph(moved, model.cutoff))[0].numpy()
    np.testing.assert_allclose(moved_energies, energies[order], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_follows_the_module(name):
    double = MODELS[name]
    single = parse_model(double.describe(), source="test").float()
    graph = brute_force_graph(disordered(double), double.cutoff)
    energies, g_ij = double.pair_forces(graph)
    single_energies, single_g = single.pair_forces(graph.to(dtype=torch.float32))
    assert single_energies.dtype == single_g.dtype == single(graph.to(dtype=torch.float32)).dtype == torch.float32
    torch.testing.assert_close(single_energies.double(), energies, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(single_g.double(), g_ij, rtol=1e-3, atol=1e-4 * float(g_ij.abs().max()))


def test_description_gives_the_model_back(case):
    model, _, graph = case
    again = parse_model(model.describe(), source="test")
    assert again.describe() == model.describe()
    assert (again.cutoff, again.elements) == (model.cutoff, model.elements)
    assert all(torch.equal(a, b) for a, b in zip(again.buffers(), model.buffers(), strict=True))
    assert torch.equal(again.pair_forces(graph)[1], model.pair_forces(graph)[1])


def test_unknown_element_is_named(case):
    model, _, graph = case
    numbers = graph.numbers.clone()
    numbers[1] = 79
    for call in (model, model.pair_forces):
        with pytest.raises(ModelError, match="not Au"):
            call(graph.replace(numbers=numbers))


def test_no_edges(case):
    model, _, graph = case
    names = ("senders", "receivers", "shifts", "r_ij")
    empty = graph.replace(**{name: getattr(graph, name)[:0] for name in names})
    energies, g_ij = model.pair_forces(empty)
    assert energies.shape == (graph.n_atoms,)
    assert g_ij.shape == (0, 3)
    assert torch.equal(model(empty), energies)
