"""Models of silicon that are exact near a defect: their energies, their force constants, and the example."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk

from fluxan.md.ase import FluxanCalculator
from fluxan.plain_files import read_json
from fluxan.potentials.load import load_model
from fluxan.potentials.stillinger_weber import StillingerWeber

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def dials(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("silicon_dials")


@pytest.fixture
def crystal(dials):
    return bulk("Si", "diamond", a=dials.LATTICE, cubic=True).repeat(2)


def evaluated(atoms, model):
    calculator = FluxanCalculator(model)
    return calculator.get_property("energies", atoms), calculator.get_forces(atoms)


@pytest.mark.parametrize("dial", ["a", "b"])
def test_models_err_outside_alone_and_leave_the_crystal_at_rest(dials, crystal, dial):
    outside = np.arange(len(crystal)) % 3 == 0
    model = dials.ExactWithin(dial, outside)
    energies, forces = evaluated(crystal, model)
    assert energies == pytest.approx(evaluated(crystal, "shipped:si")[0], rel=1e-9)
    assert np.abs(forces).max() < 1e-6
    crystal.rattle(0.1, seed=1)
    energies, forces = evaluated(crystal, model)
    differences = energies - evaluated(crystal, "shipped:si")[0]
    assert np.abs(differences[~outside]).max() < 1e-12
    assert np.abs(differences[outside]).min() > 1e-5
    step = 1e-4 * np.random.default_rng(1).normal(size=forces.shape)
    ends = []
    for sign in (1, -1):
        moved = crystal.copy()
        moved.positions += sign * step
        ends.append(evaluated(moved, model)[0].sum())
    assert ends[0] - ends[1] == pytest.approx(-2 * (forces * step).sum(), rel=1e-5)


def test_everywhere_force_constants_err_by_a_larger_strength(dials, crystal):
    silicon = load_model("shipped:si")
    angles = dict(silicon.triplets[14, 14, 14])
    angles["lambda"] *= 1 + dials.CHANGE
    stronger = StillingerWeber(pairs={"Si-Si": silicon.rows[14, 14]}, triplets={"Si-Si-Si": angles})
    crystal.rattle(0.1, seed=1)
    ours = evaluated(crystal, dials.ExactWithin("a", np.ones(len(crystal))))
    for one, other in zip(ours, evaluated(crystal, stronger), strict=True):
        assert np.abs(one - other).max() < 1e-12


def test_cubic_terms_leave_force_constants_and_change_the_third_derivative(dials, crystal):
    model = dials.ExactWithin("b", np.ones(len(crystal)))
    changes = []
    for step in (1e-3, 2e-3):
        moved = crystal.copy()
        moved.positions[0, 0] += step
        changes.append(np.abs(evaluated(moved, model)[1] - evaluated(moved, "shipped:si")[1]).max())
    assert changes[1] == pytest.approx(4 * changes[0], rel=0.01)  # no first order
    # Both derivatives by differences: of the pair energy, and of what all four bonds of an atom gain when they stretch.
    h, r = 1e-2, dials.BOND
    e = [float(dials.pair_energy(torch.tensor(r + k * h, dtype=torch.float64))) for k in (-2, -1, 1, 2)]
    assert model.third == pytest.approx((e[3] - 2 * e[2] + 2 * e[1] - e[0]) / (2 * h**3), rel=0.02)
    larger = crystal.copy()
    larger.set_cell(crystal.cell * (1 + h / r), scale_atoms=True)
    gain = (evaluated(larger, model)[0] - evaluated(larger, "shipped:si")[0]) / (4 / 2)
    assert gain == pytest.approx(dials.CHANGE * model.third / 6 * h**3, rel=1e-6)


def test_the_example_runs_and_resumes(dials, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["silicon_dials.py", "--quick", "--folder", str(tmp_path)])
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)  # those of the other tests

    def printed():
        dials.main()
        return capsys.readouterr().out

    first = printed()
    assert (tmp_path / "silicon_dials.png").stat().st_size > 10_000
    found = read_json(tmp_path / "silicon_dials.json")
    for kind in ("interstitial", "vacancy"):
        assert found[f"{kind} 3"]["floor"]["geometry"] < 1e-9
        errors = [found[f"{kind} 3 a {length}"] for length in ("2.50", "4.00", "5.00")]
        # Terms of three bodies are not negative: with more of them the lowest energy is higher.
        assert errors[0]["energy"] > errors[1]["energy"] > errors[2]["energy"] > 0
    assert len(found["laws"]) == 5 * 4
    assert printed() == first[first.index("| defect") :]
