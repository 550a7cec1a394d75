"""How pair potentials end at their cutoffs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fluxan.potentials import LennardJones, Vashishta
from fluxan.system import Frame
from tests.graphs import brute_force_graph
from tests.potentials.cases import AGI, CHARGES, NOBLE

FORMS = {
    "lennard-jones": lambda truncation: LennardJones(
        cutoff=6.5, pairs=NOBLE, truncation=truncation, mixing="lorentz-berthelot"
    ),
    "exponential": lambda truncation: Vashishta(
        cutoff=6.0, pairs=AGI, charges=CHARGES, screening="exponential", lambda_1=5.0, truncation=truncation
    ),
}


def dimer(model, first, second, distance):
    """Pair energy and slope along the axis of two atoms, without the atoms' own constants."""
    frame = Frame([[0, 0, 0], [distance, 0, 0]], None, None, [first, second])
    energies, g_ij = model.pair_forces(brute_force_graph(frame, model.cutoff + 1.0))
    constants = model.atom_energies[model.species[torch.tensor([first, second])]].sum()
    return float(energies.sum() - constants), float(g_ij[:, 0].abs().sum())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("truncation", ["none", "energy", "force"])
def test_energy_and_slope_at_each_cutoff(form, truncation):
    model = FORMS[form](truncation)
    plain = FORMS[form]("none")
    for (first, second), row in model.rows.items():
        inside = row["cutoff"] * (1 - 1e-9)
        energy, slope = dimer(model, first, second, inside)
        plain_energy, plain_slope = dimer(plain, first, second, inside)
        assert min(abs(plain_energy), plain_slope) > 1e-6
        assert energy == pytest.approx(plain_energy if truncation == "none" else 0.0, abs=1e-8)
        assert slope == pytest.approx(0.0 if truncation == "force" else plain_slope, abs=1e-8)
        assert dimer(model, first, second, row["cutoff"]) == (0.0, 0.0)


@pytest.mark.parametrize("screening", ["wolf", "damped-shifted"])
def test_damped_charges_against_the_written_formula(screening):
    alpha, cutoff, r = 0.3, 7.0, 3.1
    pairs = {"Ag-Ag": {"H": 0.0, "eta": 1}, "Ag-I": {"H": 0.0, "eta": 1}, "I-I": {"H": 0.0, "eta": 1}}
    charges = {"Ag": 1.0, "I": -2.0}
    model = Vashishta(cutoff=cutoff, pairs=pairs, charges=charges, screening=screening, alpha=alpha, coulomb=14.4)

    def damped(x):
        return math.erfc(alpha * x) / x

    tangent = (damped(cutoff * (1 + 1e-6)) - damped(cutoff * (1 - 1e-6))) / (2e-6 * cutoff)
    line = (r - cutoff) * tangent if screening == "damped-shifted" else 0.0
    expected = -2.0 * 14.4 * (damped(r) - damped(cutoff) - line)
    assert dimer(model, 47, 53, r)[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("screening", ["wolf", "damped-shifted"])
def test_madelung_energy_of_zincblende(screening):
    # Madelung constant of zincblende over the nearest-neighbour distance: 1.6380550534 (Borwein et al., 1985).
    half = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    positions = 6.0 * np.concatenate([half, half + 0.25])
    frame = Frame(positions, None, np.eye(3) * 6.0, [47] * 4 + [53] * 4)
    pairs = {"Ag-Ag": {"H": 0.0, "eta": 1}, "Ag-I": {"H": 0.0, "eta": 1}, "I-I": {"H": 0.0, "eta": 1}}
    charges = {"Ag": 1.0, "I": -1.0}
    model = Vashishta(cutoff=18.0, pairs=pairs, charges=charges, screening=screening, alpha=0.2, coulomb=1.0)
    energies = model.pair_forces(brute_force_graph(frame, model.cutoff))[0].numpy()
    nearest = 6.0 * math.sqrt(3) / 4
    np.testing.assert_allclose(2 * energies * nearest, -1.6380550534, rtol=2e-4)
