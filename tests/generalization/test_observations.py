"""Rows of observations against the model's own evaluation, and against phonopy on LAMMPS' forces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.calculator import Calculator
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from fluxan.errors import InputError
from fluxan.generalization.defects import vacancy
from fluxan.generalization.observations import displaced_crystals, labelled_by, observe, strained_crystals
from fluxan.md.ase import FluxanCalculator
from fluxan.md.ase.calculator import frame_of_atoms
from fluxan.potentials.linear_potential import LinearPotential
from fluxan.potentials.symmetry_functions import default_functions
from tests.lammps_helper import potentials_folder, run_lammps

SW = ("pair_style sw", f"pair_coeff * * {potentials_folder() / 'Si.sw'} Si")
ALL = {"energy": 100.0, "forces": 1.0, "force_constants": 0.1, "virial": 100.0}


def model_of(seed=None):
    functions = default_functions([14], cutoff=4.5, triplet_cutoff=3.8, n_radial=5, first_shift=2.0)
    model = LinearPotential(functions)
    if seed is not None:
        with torch.no_grad():
            weights = torch.as_tensor(np.random.default_rng(seed).normal(size=tuple(model.weights.shape)))
            model.weights.copy_(0.1 * weights)
            model.offsets.fill_(-4.0)
    return model


@pytest.fixture(scope="module")
def silicon():
    return bulk("Si", "diamond", a=5.431, cubic=True).repeat(2)


def observations_of(model, crystal, calculator):
    defect = vacancy(crystal)
    rattled = [defect.atoms.copy() for _ in range(3)]
    for k, atoms in enumerate(rattled):
        atoms.rattle(0.08, seed=k)
    return observe(
        model,
        [labelled_by(atoms, calculator) for atoms in rattled],
        displaced=displaced_crystals(crystal, calculator),
        strained=strained_crystals(bulk("Si", "diamond", a=5.431), calculator),
    )


def test_a_reference_of_the_same_kind_is_found_by_any_set(silicon):
    """With the reference among the models every observation is fitted to round-off, and so are those left out."""
    truth = model_of(seed=1)
    found = observations_of(model_of(), silicon, FluxanCalculator(truth))
    assert found.counts == {"energy": 3, "forces": 3 * 3 * 63, "force_constants": 3 * 64, "virial": 13 * 9}
    before = found.errors(model_of(seed=2))
    for chosen in (ALL, {"energy": 1.0, "forces": 1.0}):
        errors = found.errors(found.fit(model_of(), chosen))
        for name, error in errors.items():
            assert error < 1e-6 * before[name]


def test_errors_are_those_of_the_models_own_evaluation(silicon):
    calculator, model = FluxanCalculator("shipped:si"), model_of(seed=3)
    errors = observations_of(model, silicon, calculator).errors(model)
    own = FluxanCalculator(model)
    defect = vacancy(silicon)
    forces, energies = [], []
    for k in range(3):
        atoms = defect.atoms.copy()
        atoms.rattle(0.08, seed=k)
        pair = []
        for one in (own, calculator):
            atoms.calc = one
            pair.append((atoms.get_potential_energy() / 63, atoms.get_forces()))
        energies.append(pair[0][0] - pair[1][0])
        forces.append(pair[0][1] - pair[1][1])
    assert errors["energy"] == pytest.approx(np.sqrt(np.mean(np.square(energies))))
    assert errors["forces"] == pytest.approx(np.sqrt(np.mean(np.square(forces))))
    ((forth, back, distance),) = displaced_crystals(silicon, own)
    ((forth_sw, back_sw, _),) = displaced_crystals(silicon, calculator)
    wrong = (back.forces - forth.forces - back_sw.forces + forth_sw.forces) / distance
    assert errors["force_constants"] == pytest.approx(np.sqrt(np.mean(wrong**2)), rel=1e-6)
    virials = [
        a.virial - b.virial
        for a, b in zip(*(strained_crystals(bulk("Si", "diamond", a=5.431), c) for c in (own, calculator)), strict=True)
    ]
    assert errors["virial"] == pytest.approx(np.sqrt(np.mean(np.square(virials))) / 2, rel=1e-6)


def test_force_constants_are_those_of_phonopy_on_lammps_forces(silicon):
    ((forth, back, distance),) = displaced_crystals(silicon, FluxanCalculator("shipped:si"))
    atom = int(np.argmax(np.linalg.norm(forth.frame.positions - silicon.positions, axis=1)))
    step = (forth.frame.positions - back.frame.positions)[atom] / distance
    ours = (back.forces - forth.forces) / distance
    cell = PhonopyAtoms(cell=np.array(silicon.cell), positions=silicon.positions, numbers=silicon.numbers)
    phonons = Phonopy(cell, supercell_matrix=np.eye(3, dtype=int), primitive_matrix="P", log_level=0)
    phonons.generate_displacements(distance=0.01, is_plusminus=True)
    forces = []
    for displaced in phonons.supercells_with_displacements:
        atoms = silicon.copy()
        atoms.positions = displaced.positions
        forces.append(run_lammps(frame_of_atoms(atoms), SW, elements=[14]).forces)
    phonons.forces = forces
    phonons.produce_force_constants()
    theirs = np.einsum("jab,b->ja", phonons.force_constants[:, atom], step)
    assert np.abs(ours - theirs).max() < 1e-6 * np.abs(theirs).max()


class WithoutStress(Calculator):
    implemented_properties = ("energy", "forces")

    def calculate(self, *arguments, **options):
        super().calculate(*arguments, **options)
        self.results = {"energy": 0.0, "forces": np.zeros((len(self.atoms), 3))}


class NotFinite(WithoutStress):
    def calculate(self, *arguments, **options):
        super().calculate(*arguments, **options)
        self.results["forces"][0, 0] = np.nan


def test_what_a_reference_cannot_give_is_told(silicon):
    with pytest.raises(InputError, match="does not give all of energy, forces and stress"):
        strained_crystals(silicon, WithoutStress())
    with pytest.raises(InputError, match="forces is not finite"):
        labelled_by(silicon, NotFinite())
    found = observe(model_of(), [labelled_by(silicon, WithoutStress())])
    with pytest.raises(InputError, match="virial was not observed"):
        found.fit(model_of(), {"energy": 1.0, "virial": 1.0})
    with pytest.raises(InputError, match="'stress' is no observation; known ones: energy, forces"):
        found.fit(model_of(), {"stress": 1.0})
    with pytest.raises(InputError, match="no observation has a weight"):
        found.fit(model_of(), {"energy": 0.0})
    with pytest.raises(InputError, match="must not be negative"):
        found.fit(model_of(), {"energy": -1.0})
