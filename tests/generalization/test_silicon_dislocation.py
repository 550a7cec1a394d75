"""The study of dislocations of silicon: what it expects by elasticity, its models, and its small version."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.units import GPa

from fluxan.generalization.dislocations import dislocation
from fluxan.generalization.displacement_field import Stencil
from fluxan.generalization.elasticity import elastic_constants
from fluxan.generalization.observations import displaced_crystals
from fluxan.md.ase import FluxanCalculator

EXAMPLES = Path(__file__).parents[2] / "examples"
PARTIAL = "diamond 90 degree partial"


@pytest.fixture
def models(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("silicon_dislocation_models")


@pytest.mark.parametrize("kind", ["diamond 30 degree partial", PARTIAL])
def test_growth_is_that_of_a_sum_over_the_sites_of_a_cylinder(models, kind):
    constants = (151.0, 76.0, 56.0), (160.0, 70.0, 62.0)
    one, other = (dislocation(kind, "Si", models.LATTICE, each, radius=80, rim=8) for each in constants)
    stencil = Stencil(one.perfect)
    squares = stencil.strains(one.atoms.positions - other.atoms.positions) ** 2
    # Sites of shells of one ratio of the radii: the sum of each is B log of the ratio.
    inside = (one.distances > 15) & (one.distances < 75)
    summed = squares[inside].sum() / np.log(75 / 15)
    computed = models.growth(kind, *(models.Elastic(*each, 0.0) for each in constants))
    assert computed == pytest.approx(summed, rel=0.03)


def test_growth_has_the_displacement_of_the_basis(models):
    """For equal elastic constants only 4 |s|² of the difference of the shifts is left."""
    elastic = [models.Elastic(151.0, 76.0, 56.0, shift) for shift in (-1.0, -1.5, -2.0)]
    assert models.growth(PARTIAL, elastic[0], elastic[0]) == 0
    small, large = (models.growth(PARTIAL, elastic[0], other) for other in elastic[1:])
    assert large == pytest.approx(4 * small)


def test_the_displacement_of_the_basis_softens_c44(models):
    """In equilibrium with springs K the displacement s per strain lowers C44 by K s²/(4 Ω)."""
    calculator = FluxanCalculator(models.REFERENCE)

    def evaluated(shear, step):
        cell = bulk("Si", "diamond", a=models.LATTICE)
        stretch = np.eye(3)
        stretch[0, 1] = stretch[1, 0] = shear
        cell.set_cell(np.array(cell.cell) @ stretch, scale_atoms=True)
        cell.positions[1, 2] += step
        cell.calc = calculator
        return cell

    clamped = (evaluated(1e-3, 0).get_stress()[5] - evaluated(-1e-3, 0).get_stress()[5]) / 4e-3
    springs = -(evaluated(0, 1e-3).get_forces()[1, 2] - evaluated(0, -1e-3).get_forces()[1, 2]) / 2e-3
    relaxed = elastic_constants(bulk("Si", "diamond", a=models.LATTICE, cubic=True), calculator, symmetry="cubic")
    softening = springs * models.basis_shift(calculator) ** 2 / (4 * models.LATTICE**3 / 4)
    assert clamped - relaxed[3, 3] * GPa == pytest.approx(softening, rel=1e-4)


def test_the_controls_hold_what_they_should(models):
    crystal = bulk("Si", "diamond", a=models.LATTICE, cubic=True)
    constants = {}
    changes = {"reference": {}, "sharp": {"sharpness": 1.1}, "strong": {"strength": 1.1}, "scaled": {"scale": 1.1}}
    for name, settings in changes.items():
        calculator = FluxanCalculator(models.stillinger_weber(**settings))
        forth, back, distance = displaced_crystals(crystal.repeat(2), calculator, 1e-3)[0]
        constants[name] = (back.forces - forth.forces) / distance
    size = np.abs(constants["reference"]).max()
    assert np.abs(constants["sharp"] - constants["reference"]).max() < 1e-5 * size
    assert np.abs(constants["scaled"] - 1.1 * constants["reference"]).max() < 1e-9 * size
    assert np.abs(constants["strong"] - constants["reference"]).max() > 1e-2 * size
    # The bulk modulus is of the pairs alone.
    one, other = (models.elastic_of(models.stillinger_weber(strength=strength)) for strength in (1.0, 1.1))
    assert one.c11 + 2 * one.c12 == pytest.approx(other.c11 + 2 * other.c12, rel=1e-5)
    assert other.c44 > 1.05 * one.c44


def test_the_study_runs_and_continues(tmp_path):
    command = [sys.executable, str(EXAMPLES / "silicon_dislocation.py"), "--quick", "--folder", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    work, printed, written = tmp_path / "silicon_dislocation_quick.json", [], []
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
        written.append(work.stat().st_mtime_ns)
    assert written[0] == written[1]
    assert (tmp_path / "silicon_dislocation_quick.png").stat().st_size > 10_000
    assert printed[0] == printed[1]
    rows = json.loads(work.read_text())["rows"]
    errors = [rows[f"λ +5 % | {PARTIAL} | {radius}"]["error2"] for radius in (10, 13, 16)]
    assert errors[0] < errors[1] < errors[2]
    assert rows[f"ε +10 % | {PARTIAL} | 16"]["error2"] < 1e-12
    assert "10 functions    E, F, FC, V" in printed[0]
