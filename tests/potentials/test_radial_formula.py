"""Closed form of radial symmetry functions against autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fluxan.flux.local import pair_forces_by_autograd
from fluxan.neighbors import build_graph
from fluxan.potentials.behler_parrinello import BehlerParrinello
from fluxan.potentials.linear_potential import LinearPotential
from fluxan.potentials.symmetry_functions import SymmetryFunctions, default_functions
from tests.training_frames import crystal

WIDE = default_functions([18, 36], cutoff=6.0, triplet_cutoff=4.0, n_radial=5)
RADIAL = SymmetryFunctions([18, 36], cutoff=6.0, triplet_cutoff=4.0, radial=[*WIDE.radial, (2.0, 0.0)])
GRAPH = build_graph(crystal(noise=0.3, seed=2), 6.0)


def linear():
    model = LinearPotential(RADIAL)
    with torch.no_grad():
        model.weights.copy_(torch.tensor(np.random.default_rng(0).normal(size=model.weights.shape)))
    return model


def network():
    model = BehlerParrinello(RADIAL, hidden=(6, 5), seed=3)
    model.standardise([GRAPH])
    return model


@pytest.mark.parametrize("make", [linear, network])
def test_equals_autograd(make):
    model = make()
    energies, g_ij = model.pair_forces(GRAPH)
    right = pair_forces_by_autograd(model, GRAPH)
    assert float((energies - right[0]).abs().max()) <= 1e-12 * float(right[0].abs().max())
    assert float((g_ij - right[1]).abs().max()) <= 1e-12 * float(right[1].abs().max())
    assert not energies.requires_grad


def test_elements_in_any_order_and_atoms_without_neighbours():
    frame = crystal(noise=0.2, seed=4)
    shuffled = np.random.default_rng(1).permutation(frame.n_atoms)
    alone = frame.replace(positions=frame.positions * 3, cell=frame.cell * 3)
    for chosen in (frame.replace(positions=frame.positions[shuffled], numbers=frame.numbers[shuffled]), alone):
        graph = build_graph(chosen, 6.0)
        energies, g_ij = network().pair_forces(graph)
        right = pair_forces_by_autograd(network(), graph)
        assert torch.allclose(energies, right[0], rtol=1e-12, atol=1e-12)
        assert torch.allclose(g_ij, right[1], rtol=1e-12, atol=1e-12)


def test_angular_functions_have_none():
    assert LinearPotential(WIDE).pair_forces(GRAPH) is None
