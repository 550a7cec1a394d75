"""Symmetries, smoothness and extensivity of the network; its files; the repulsion against a closed form."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fluxan.errors import FileError, ModelError
from fluxan.flux.adjoint import AdjointRoute, ForwardPass
from fluxan.neighbors import build_graph
from fluxan.potentials.equivariant import Core, EquivariantNetwork, load, smooth_step
from fluxan.system import Frame
from fluxan.units import COULOMB, LENGTH
from tests.message_passing import random_frame, scaled_up

CUTOFF = 3.0


def network(**options):
    settings = {"cutoff": CUTOFF, "n_features": 8, "n_neighbors": 10.0, **options}
    return scaled_up(EquivariantNetwork([6, 14], **settings), 2.0)


def frame_of(n_atoms=5, **options):
    frame = random_frame(n_atoms, **options)
    return frame.replace(numbers=np.resize([6, 14], n_atoms))


def energies_and_forces(model, frame):
    forward = ForwardPass(model, build_graph(frame, model.cutoff))
    return forward.energies.detach().numpy(), -forward.gradient(torch.ones_like(forward.energies)).numpy()


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_rotations_and_reflections(n_layers):
    model, frame = network(n_layers=n_layers), frame_of(triclinic=True)
    energies, forces = energies_and_forces(model, frame)
    for seed in range(3):
        turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
        turned = frame.replace(positions=frame.positions @ turn, cell=frame.cell @ turn)
        found_energies, found_forces = energies_and_forces(model, turned)
        np.testing.assert_allclose(found_energies, energies, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(found_forces, forces @ turn, rtol=1e-10, atol=1e-12)


def test_vectors_matter():
    # Two neighbours at an angle: one layer sees the angle through its vectors alone.
    model = network(n_layers=1)

    def energy(angle):
        ends = [[0, 0, 0], [2, 0, 0], [2 * np.cos(angle), 2 * np.sin(angle), 0]]
        return energies_and_forces(model, Frame(ends, None, None, [6, 14, 14]))[0][0]

    assert abs(energy(2.0) - energy(2.5)) > 1e-3


def test_permutations():
    model, frame = network(), frame_of()
    energies, forces = energies_and_forces(model, frame)
    order = np.random.default_rng(0).permutation(frame.n_atoms)
    found = energies_and_forces(
        model, frame.replace(positions=frame.positions[order], numbers=frame.numbers[order], masses=None)
    )
    np.testing.assert_allclose(found[0], energies[order], rtol=1e-12)
    np.testing.assert_allclose(found[1], forces[order], rtol=1e-10, atol=1e-12)


def test_extensivity():
    model, frame = network(), frame_of(triclinic=True)
    energies, forces = energies_and_forces(model, frame)
    doubled = Frame(
        np.concatenate([frame.positions, frame.positions + frame.cell[2]]),
        None,
        frame.cell * [[1], [1], [2]],
        np.tile(frame.numbers, 2),
    )
    found = energies_and_forces(model, doubled)
    np.testing.assert_allclose(found[0], np.tile(energies, 2), rtol=1e-12)
    np.testing.assert_allclose(found[1], np.tile(forces, (2, 1)), rtol=1e-10, atol=1e-12)


def test_distant_parts_do_not_interact():
    model = network()
    near, far = frame_of(4, cell=3.0, seed=1), frame_of(3, cell=3.0, seed=2)
    both = Frame(np.concatenate([near.positions, far.positions + 50]), None, None, [*near.numbers, *far.numbers])
    parts = [energies_and_forces(model, part.replace(cell=None))[0] for part in (near, far)]
    np.testing.assert_allclose(energies_and_forces(model, both)[0], np.concatenate(parts), rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"n_layers": 3, "zbl": True}])
def test_smooth_at_the_cutoff(options):
    # A fourth atom leaves the range of a bent triple: forces and virials may not jump by more than 1e-8.
    model = network(**options)

    def at(distance):
        ends = [[0, 0, 0], [2, 0.3, 0], [0.4, 1.9, 0.5], [-distance, 0, 0]]
        frame = Frame(ends, None, None, [6, 14, 14, 6])
        graph = build_graph(frame, 2 * CUTOFF)  # the network alone decides what lies beyond
        inside = graph.r_ij.norm(dim=1) < CUTOFF
        graph = graph.replace(**{k: getattr(graph, k)[inside] for k in ("senders", "receivers", "shifts", "r_ij")})
        return graph.n_edges, energies_and_forces(model, frame)[1], AdjointRoute(model).atomic_virial(graph)[1]

    steps = [at(CUTOFF + x) for x in (-1e-6, -1e-7, 1e-7)]
    assert steps[0][0] == steps[1][0] > steps[2][0]
    for (_, forces, virial), (_, next_forces, next_virial) in pairwise(steps[1:]):
        assert np.abs(forces - next_forces).max() < 1e-8
        assert np.abs(virial - next_virial).max() < 1e-8
    assert np.abs(at(CUTOFF - 0.5)[2] - steps[2][2]).max() > 1e-4


def test_smooth_step():
    x = torch.linspace(0, 1, 5, dtype=torch.float64, requires_grad=True)
    value = smooth_step(x)
    (first,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert value[0] == 1
    assert max(abs(value[-1].item()), abs(first[-1].item()), abs(second[-1].item())) < 1e-12
    assert (value[1:] < value[:-1]).all()
    assert smooth_step(torch.tensor(1.7)) == 0


def test_second_derivatives():
    model, frame = network(n_features=3, n_basis=4, zbl=True), frame_of(3, cell=2.9)
    graph = build_graph(frame, CUTOFF)

    def energies(moves):
        return model(graph.replace(r_ij=graph.r_ij + moves[graph.senders] - moves[graph.receivers]))

    moves = torch.zeros_like(graph.positions, requires_grad=True)
    assert torch.autograd.gradgradcheck(energies, moves)


def test_scale_and_shift_belong_to_elements():
    model, frame = network(), frame_of()
    before = energies_and_forces(model, frame)[0]
    model.scale.copy_(torch.tensor([2.0, 3.0]))
    model.shift.copy_(torch.tensor([-1.0, 5.0]))
    carbon = frame.numbers == 6
    expected = np.where(carbon, 2 * before - 1, 3 * before + 5)
    np.testing.assert_allclose(energies_and_forces(model, frame)[0], expected, rtol=1e-12)


def test_repulsion_of_nuclei():
    r, z1, z2 = 1.1, 6, 14
    x = r * (z1**0.23 + z2**0.23) / (0.8854 * LENGTH["bohr"])
    terms = [(0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162)]
    y = r / (0.76 + 1.11)
    expected = (
        COULOMB * z1 * z2 / r * sum(c * np.exp(-d * x) for c, d in terms) * (1 - y**6 * (28 - 48 * y + 21 * y**2))
    )
    graph = build_graph(Frame([[0, 0, 0], [0, 0, r]], None, None, [z1, z2]), 3.0)
    energies = Core()(graph, graph.r_ij.norm(dim=1))
    np.testing.assert_allclose(energies, expected / 2, rtol=1e-12)
    assert sum(c for c, _ in terms) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_files(tmp_path, dtype):
    model = network(n_layers=3, zbl=True).to(dtype)
    model.shift.copy_(torch.tensor([-1.0, 5.0]))
    model.save(tmp_path / "network.safetensors")
    back = load(tmp_path / "network.safetensors")
    assert (back.elements, back.cutoff, back.n_hops) == ((6, 14), CUTOFF, 3)
    assert not back.training
    graph = build_graph(frame_of(), CUTOFF).to(dtype=dtype)
    torch.testing.assert_close(back(graph), model(graph), rtol=0, atol=0)


def test_seeds():
    weights = [EquivariantNetwork([6], seed=seed).embedding.weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_unusable_files(tmp_path):
    with pytest.raises(FileError, match="cannot be read as a safetensors file"):
        load(tmp_path / "missing.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(FileError, match=r"broken\.safetensors cannot be read as a safetensors file"):
        load(tmp_path / "broken.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ModelError, match="holds no model of fluxan: its metadata has kind=None"):
        load(tmp_path / "foreign.safetensors")
    settings = json.dumps(network(n_layers=1).hyperparameters)
    save_file(
        network().state_dict(), tmp_path / "other.safetensors", {"kind": "equivariant", "hyperparameters": settings}
    )
    with pytest.raises(ModelError, match="hyperparameters and weights do not fit"):
        load(tmp_path / "other.safetensors")


def test_unknown_element():
    with pytest.raises(ModelError, match=r"the network knows the atomic numbers \(6, 14\), not \[8\]"):
        network()(build_graph(Frame([[0, 0, 0], [0, 0, 1.5]], None, None, [6, 8]), CUTOFF))
