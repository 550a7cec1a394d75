"""Lennard-Jones against LAMMPS' stored energies and forces."""

from __future__ import annotations

import numpy as np
import pytest

from fluxan.errors import ModelError
from fluxan.potentials import LennardJones, load_model
from tests.graphs import brute_force_graph
from tests.lammps_helper import run_lammps
from tests.potentials.cases import disordered
from tests.potentials.references import first_frame, forces_of


@pytest.mark.parametrize(
    ("case", "name", "elements"), [("ar_liquid", "ar", (18,)), ("arkr_mixture", "ar-kr", (18, 36))]
)
def test_stored_lammps_energies_and_forces(reference, case, name, elements):
    stored = first_frame(reference / case, elements)
    model = load_model(name)
    graph = brute_force_graph(stored.frame, model.cutoff)
    energies, g_ij = model.pair_forces(graph)
    np.testing.assert_allclose(energies, stored.energies, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(forces_of(graph, g_ij), stored.forces, rtol=1e-12, atol=1e-12)


def test_triclinic_cell_against_lammps():
    model = load_model("ar-kr")
    frame = disordered(model)
    graph = brute_force_graph(frame, model.cutoff)
    energies, g_ij = model.pair_forces(graph)
    commands = [f"pair_style lj/cut {model.cutoff}"]
    for (first, second), row in model.rows.items():
        i, j = model.elements.index(first) + 1, model.elements.index(second) + 1
        commands.append(f"pair_coeff {i} {j} {row['epsilon']!r} {row['sigma']!r}")
    lammps = run_lammps(frame, commands, elements=model.elements)
    assert np.count_nonzero(frame.cell) == 6
    np.testing.assert_allclose(energies, lammps.energies, rtol=1e-9, atol=1e-9 * np.abs(lammps.energies).max())
    np.testing.assert_allclose(
        forces_of(graph, g_ij), lammps.forces, rtol=1e-9, atol=1e-9 * np.abs(lammps.forces).max()
    )


LIKE = {"Ar-Ar": {"epsilon": 0.01, "sigma": 3.4}, "Kr-Kr": {"epsilon": 0.04, "sigma": 3.6}}


@pytest.mark.parametrize(("rule", "sigma"), [("lorentz-berthelot", 3.5), ("geometric", (3.4 * 3.6) ** 0.5)])
def test_mixing_rules(rule, sigma):
    model = LennardJones(cutoff=9.0, pairs=LIKE, mixing=rule)
    assert model.rows[18, 36] == pytest.approx({"cutoff": 9.0, "epsilon": 0.02, "sigma": sigma}, rel=1e-15)


def test_mixing_does_not_change_given_pairs():
    given = {"epsilon": 0.011, "sigma": 3.3}
    model = LennardJones(cutoff=9.0, pairs=LIKE | {"Kr-Ar": given}, mixing="geometric")
    assert model.rows[18, 36] == given | {"cutoff": 9.0}


def test_unlike_pair_without_mixing_is_named():
    with pytest.raises(ModelError, match=r"pairs\.Ar-Kr is missing.*mixing"):
        LennardJones(cutoff=9.0, pairs=LIKE)
