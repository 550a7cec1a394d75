"""Stillinger-Weber against LAMMPS; LAMMPS shares a triplet's energy among three atoms, so its totals are compared."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from fluxan.errors import ModelError
from fluxan.potentials import StillingerWeber, load_model
from fluxan.potentials.triplets import edge_pairs
from tests.graphs import brute_force_graph
from tests.lammps_helper import potentials_folder, run_lammps
from tests.potentials.cases import disordered, stillinger_weber_from_lammps
from tests.potentials.references import forces_of


@pytest.mark.parametrize(
    ("model", "file", "symbols"),
    [(load_model("si"), "Si.sw", "Si"), (stillinger_weber_from_lammps("GaN.sw"), "GaN.sw", "N Ga")],
    ids=["Si", "GaN"],
)
def test_energy_and_forces_equal_lammps(model, file, symbols):
    frame = disordered(model)
    graph = brute_force_graph(frame, model.cutoff)
    energies, g_ij = model.pair_forces(graph)
    commands = ("pair_style sw", f"pair_coeff * * {potentials_folder() / file} {symbols}")
    lammps = run_lammps(frame, commands, elements=model.elements)
    assert float(energies.sum()) == pytest.approx(lammps.energy, rel=1e-9)
    scale = np.abs(lammps.forces).max()
    np.testing.assert_allclose(forces_of(graph, g_ij), lammps.forces, rtol=1e-9, atol=1e-9 * scale)


def test_triplets_belong_to_their_centre():
    """Atomic energies against plain loops over neighbours, one atom at a time."""
    model = load_model("si")
    graph = brute_force_graph(disordered(model), model.cutoff)
    pair, triplet = model.rows[14, 14], model.triplets[14, 14, 14]
    expected = [
        _naive_energy(graph.r_ij[graph.receivers == atom].numpy(), pair, triplet) for atom in range(graph.n_atoms)
    ]
    np.testing.assert_allclose(model.pair_forces(graph)[0], expected, rtol=1e-12)


def _naive_energy(neighbours, pair, triplet):
    sigma, end = pair["sigma"], pair["a"] * pair["sigma"]
    energy = 0.0
    for r in np.linalg.norm(neighbours, axis=1):
        power = pair["B"] * (sigma / r) ** pair["p"] - (sigma / r) ** pair["q"]
        energy += 0.5 * pair["A"] * pair["epsilon"] * power * math.exp(sigma / (r - end))
    for first, second in itertools.combinations(neighbours, 2):
        r1, r2 = np.linalg.norm(first), np.linalg.norm(second)
        nearness = math.exp(pair["gamma"] * sigma / (r1 - end) + pair["gamma"] * sigma / (r2 - end))
        angle = first @ second / (r1 * r2) - triplet["cos_theta0"]
        energy += triplet["lambda"] * triplet["epsilon"] * angle**2 * nearness
    return energy


def test_edge_pairs_lists_every_pair_once():
    receivers = torch.tensor([3, 0, 3, 1, 3, 0, 5])
    first, second = edge_pairs(receivers, 7)
    found = sorted(tuple(sorted(pair)) for pair in zip(first.tolist(), second.tolist(), strict=True))
    assert found == [(0, 2), (0, 4), (1, 5), (2, 4)]


def test_faults_of_triplets_are_named():
    model = load_model("si")
    settings = model.settings()
    pairs, row = settings["pairs"], settings["triplets"]["Si-Si-Si"]
    with pytest.raises(ModelError, match=r"triplets\.Si-Si-Si is missing"):
        StillingerWeber(pairs=pairs, triplets={})
    with pytest.raises(ModelError, match=r"triplets\.Si-Si names 2 elements; expected 3"):
        StillingerWeber(pairs=pairs, triplets={"Si-Si": row})
    with pytest.raises(ModelError, match=r"triplets\.Si-Ge-Si names an element that no pair contains"):
        StillingerWeber(pairs=pairs, triplets={"Si-Si-Si": row, "Si-Ge-Si": row})
    two = stillinger_weber_from_lammps("GaN.sw").settings()
    with pytest.raises(ModelError, match=r"triplets\.N-N-Ga repeats triplets\.N-Ga-N"):
        StillingerWeber(pairs=two["pairs"], triplets={"N-Ga-N": row, "N-N-Ga": row})
