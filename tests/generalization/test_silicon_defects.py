"""Relaxed defects and elastic constants of Stillinger-Weber silicon, against LAMMPS on the same cells."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lammpslib import LAMMPSlib

from fluxan.errors import InputError
from fluxan.generalization.defects import interstitial, vacancy
from fluxan.generalization.displacement_field import Stencil, displacements_of
from fluxan.generalization.elasticity import elastic_constants
from fluxan.generalization.relaxation import relax
from fluxan.md.ase import FluxanCalculator
from fluxan.md.ase.calculator import frame_of_atoms
from fluxan.md.lammps.mpich import load_mpich
from tests.lammps_helper import potentials_folder, run_lammps

SW = ("pair_style sw", f"pair_coeff * * {potentials_folder() / 'Si.sw'} Si")
#: Where the energy of the crystal is lowest, Å.
LATTICE = 5.430949777


@pytest.fixture(scope="module")
def calculator():
    return FluxanCalculator("shipped:si")


def silicon(n_cells):
    return bulk("Si", "diamond", a=LATTICE, cubic=True).repeat(n_cells)


def energy_of(atoms, calculator):
    atoms = atoms.copy()
    atoms.calc = calculator
    return atoms.get_potential_energy()


def tetrahedral(crystal):
    """An interstitial in the hollow half a cell along x from an atom."""
    return interstitial(crystal, crystal.positions[0] + [0.5 * LATTICE, 0.0, 0.0], "Si")


@pytest.mark.parametrize("kind", [vacancy, partial(vacancy, inward=0.5), tetrahedral])
def test_formation_energies_are_those_of_lammps(calculator, kind):
    crystal = silicon(3)
    defect = kind(crystal)
    relaxed = relax(defect.atoms, calculator, tolerance=1e-6)
    assert relaxed.reason == ""
    ours = defect.formation_energy(relaxed.energy, energy_of(crystal, calculator))
    minimised = run_lammps(
        frame_of_atoms(defect.atoms), (*SW, "min_style fire", "minimize 0 1e-7 20000 200000"), elements=[14]
    )
    theirs = defect.formation_energy(minimised.energy, run_lammps(frame_of_atoms(crystal), SW, elements=[14]).energy)
    assert ours == pytest.approx(theirs, rel=1e-6)
    there = run_lammps(frame_of_atoms(relaxed.atoms), SW, elements=[14])
    assert np.abs(there.forces).max() < 2e-6


def test_the_two_vacancies_of_stillinger_weber_silicon(calculator):
    """Its bonds have their length and angle of lowest energy: to remove an atom leaves no force on any other.

    The energy of that structure is the cohesive one. Where the four neighbours approach each other they bind in pairs.
    """
    crystal = silicon(3)
    defect = vacancy(crystal)
    relaxed = relax(defect.atoms, calculator, tolerance=1e-6)
    assert Stencil(crystal).norm(displacements_of(defect, relaxed.atoms)) < 1e-5
    cohesive = -energy_of(crystal, calculator) / len(crystal)
    ideal = defect.formation_energy(relaxed.energy, energy_of(crystal, calculator))
    assert ideal == pytest.approx(cohesive, rel=1e-6)
    for inward, found in ((0.2, ideal), (0.6, None)):
        start = vacancy(crystal, inward=inward)
        one = relax(start.atoms, calculator, tolerance=1e-5)
        energy = start.formation_energy(one.energy, energy_of(crystal, calculator))
        if found is None:
            assert energy < ideal - 1.5
            assert Stencil(crystal).norm(displacements_of(start, one.atoms)) > 2.0
        else:
            assert energy == pytest.approx(found, rel=1e-6)


def test_elastic_constants_are_those_of_lammps(calculator):
    load_mpich()
    cell = bulk("Si", "diamond", a=LATTICE, cubic=True).repeat((2, 2, 2))
    ours = elastic_constants(cell, calculator, symmetry="cubic")
    lammps = LAMMPSlib(
        lmpcmds=list(SW), atom_types={"Si": 1}, keep_alive=True, log_file=None,
        lammps_header=["units metal", "atom_style atomic", "atom_modify map array sort 0 0"],
    )  # fmt: skip
    theirs = elastic_constants(cell, lammps, symmetry="cubic")
    assert np.abs(ours - theirs).max() < 1e-6 * ours[0, 0]
    # H. Balamane, T. Halicioglu, W. A. Tiller, Phys. Rev. B 46, 2250 (1992), table II: 151.4, 76.4 and 56.4 GPa.
    assert ours[0, 0] == pytest.approx(151.4, abs=0.1)
    assert ours[0, 1] == pytest.approx(76.4, abs=0.1)
    assert ours[3, 3] == pytest.approx(56.4, abs=0.1)


def test_another_basin_is_told(calculator):
    crystal = silicon(2)
    defect = vacancy(crystal)
    # A neighbour of the vacancy is put nearly into it: it stays there, and leaves its own site empty.
    moved = defect.atoms.copy()
    neighbour = int(np.argsort(defect.distances[defect.sites])[0])
    start = moved.copy()
    moved.positions[neighbour] += 0.9 * (defect.core - moved.positions[neighbour])
    relaxed = relax(moved, calculator, tolerance=1e-3, sites=start)
    assert relaxed.reason == "1 atom left its site: this is another basin"


def test_too_few_steps_are_told(calculator):
    crystal = silicon(2)
    defect = tetrahedral(crystal)
    relaxed = relax(defect.atoms, calculator, tolerance=1e-8, steps=2)
    assert "is left after 2 steps" in relaxed.reason
    with pytest.raises(InputError, match="must be positive"):
        relax(defect.atoms, calculator, tolerance=0)
