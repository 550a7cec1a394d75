"""Errors of defects where they are known: potentials that are scaled, stretched, or another material's."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from fluxan.errors import InputError
from fluxan.generalization.defect_errors import defect_errors
from fluxan.generalization.defects import interstitial, vacancy
from fluxan.md.ase import FluxanCalculator
from fluxan.potentials.load import parse_model

LATTICE = 5.28


def argon(epsilon=0.0103235, sigma=3.405):
    """Lennard-Jones argon with a cutoff that scales with its atoms."""
    pair = f"Ar-Ar = {{ epsilon = {epsilon!r}, sigma = {sigma!r} }}"
    text = f'kind = "lennard-jones"\ncutoff = {2.5 * sigma!r}\ntruncation = "force"\n[pairs]\n{pair}\n'
    return FluxanCalculator(parse_model(text, source="argon"))


def crystal(n_cells=3):
    return bulk("Ar", "fcc", a=LATTICE, cubic=True).repeat(n_cells)


def test_the_reference_itself_has_no_error():
    found = defect_errors(vacancy(crystal()), argon(), argon(), tolerance=1e-6)
    assert found.reason == ""
    assert found.geometry < 1e-4 * found.reference_norm
    assert found.energy == pytest.approx(0, abs=1e-10)


def test_a_stronger_potential_changes_the_energy_alone():
    """With all energies 1.1 times as large every structure at rest stays one."""
    found = defect_errors(vacancy(crystal()), argon(), argon(epsilon=1.1 * 0.0103235), tolerance=1e-7)
    reference, model = found.formation_energies
    assert model == pytest.approx(1.1 * reference, rel=1e-9)
    assert found.geometry < 1e-3 * found.reference_norm


def test_larger_atoms_in_a_larger_cell_change_nothing():
    """With σ and the lattice constant 1.02 times as large all is the same but the unit of length."""
    found = defect_errors(vacancy(crystal()), argon(), argon(sigma=1.02 * 3.405), tolerance=1e-7, scale=1.02)
    assert found.energy == pytest.approx(0, abs=1e-10)
    assert found.geometry < 1e-3 * found.reference_norm
    fixed = defect_errors(vacancy(crystal()), argon(), argon(sigma=1.02 * 3.405), tolerance=1e-7)
    assert fixed.geometry > 0.1 * fixed.reference_norm
    assert abs(fixed.energy) > 1e-3


def test_the_error_by_hand():
    """An interstitial, with the norm as a sum over pairs of the differences of two relaxed structures."""
    cells = crystal()
    defect = interstitial(cells, cells.positions[0] + [LATTICE / 2, 0, 0], "Ar")
    found = defect_errors(defect, argon(), argon(sigma=3.5), tolerance=1e-5)
    assert found.reason == ""
    first, second = (one.atoms.positions[:-1] for one in found.relaxed)
    difference = second - first
    distances = cells.get_all_distances(mic=True)
    i, j = np.nonzero((distances > 0) & (distances < 4.2))
    assert found.geometry == pytest.approx(np.sqrt(((difference[j] - difference[i]) ** 2).sum()), rel=1e-9)


def test_relaxations_that_cannot_be_used_are_said():
    defect = vacancy(crystal(2))
    found = defect_errors(defect, argon(), argon(), tolerance=1e-18)
    assert "reference: a force of" in found.reason
    assert np.isnan(found.geometry)
    with pytest.raises(InputError, match="expected something near 1"):
        defect_errors(defect, argon(), argon(), scale=5.3)
