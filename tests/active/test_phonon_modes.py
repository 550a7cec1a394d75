"""Modes of a supercell against phonopy and dynasor."""

from __future__ import annotations

import sys

import ase.build
import numpy as np
import pytest
from ase.build import make_supercell

from fluxan.active.phonon_modes import model_force_constants, phonon_modes, phonopy_modes
from fluxan.errors import DependencyError, FileError, InputError
from fluxan.potentials.lennard_jones import LennardJones
from fluxan.system import Frame
from fluxan.units import MASS_VELOCITY2

MODEL = LennardJones(cutoff=5.0, pairs={"Ar-Ar": {"epsilon": 0.0104, "sigma": 3.4}}, truncation="force")
PRIMITIVE = ase.build.bulk("Ar", "fcc", a=5.3)
SUPERCELL = 2 * np.eye(3, dtype=int)


def frame_of(atoms):
    return Frame(atoms.positions, None, np.asarray(atoms.cell), atoms.numbers)


@pytest.fixture(scope="module")
def by_phonopy():
    """Phonopy's own force constants of 8 atoms, from forces of the model."""
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    import fluxan

    cell = PhonopyAtoms(symbols=["Ar"], cell=PRIMITIVE.cell, scaled_positions=[[0, 0, 0]])
    phonon = Phonopy(cell, supercell_matrix=SUPERCELL, primitive_matrix="P", log_level=0)
    phonon.generate_displacements(distance=0.01, is_plusminus=True)
    forces = []
    for moved in phonon.supercells_with_displacements:
        atoms = ase.Atoms(moved.symbols, moved.positions, cell=moved.cell, pbc=True)
        atoms.calc = fluxan.md.ase.FluxanCalculator(MODEL)
        forces.append(atoms.get_forces())
    phonon.forces = forces
    phonon.produce_force_constants(calculate_full_force_constants=True)
    return phonon


def test_frequencies_are_phonopys_at_commensurate_wave_vectors(by_phonopy):
    points = np.stack(np.meshgrid(*[[0, 0.5]] * 3), axis=-1).reshape(-1, 3)
    expected = np.sort(np.ravel(by_phonopy.run_qpoints(points).frequencies))[3:]
    supercell = by_phonopy.supercell
    frame = Frame(supercell.positions, None, supercell.cell, supercell.numbers)
    for constants in (by_phonopy.force_constants, model_force_constants(frame, MODEL)):
        modes = phonon_modes(constants, frame.masses)
        # phonopy's argon is of 39.948 u too; its unit of frequency rests on other CODATA values.
        assert modes.mode_frequencies == pytest.approx(expected, rel=1e-4)
        assert modes.degeneracies.sum() == 21
        assert (modes.degeneracies > 1).all()


def test_projections_are_those_of_dynasor(by_phonopy, monkeypatch):
    from dynasor import ModeProjector
    from dynasor.modes import mode_projector

    # Compiling it takes 20 s, running it as Python a few milliseconds.
    monkeypatch.setattr(mode_projector, "get_dynamical_matrix", mode_projector.get_dynamical_matrix.py_func)
    supercell = make_supercell(PRIMITIVE, SUPERCELL)
    constants = model_force_constants(frame_of(supercell), MODEL)
    modes = phonon_modes(constants, supercell.get_masses())
    projector = ModeProjector(PRIMITIVE, supercell, constants)
    velocities = np.random.default_rng(0).normal(size=(8, 3))
    projector.set_v(1e-3 * velocities)  # Å/fs
    squares, frequencies = np.abs(projector.get_P().ravel()) ** 2, projector.omegas.ravel() * 1e3 / (2 * np.pi)
    own = modes.project(velocities[None])[0] ** 2 * MASS_VELOCITY2
    for k, frequency in enumerate(modes.frequencies):
        expected = squares[np.abs(frequencies - frequency) < 1e-4].sum()
        assert own[modes.set_of_mode == k].sum() == pytest.approx(expected, rel=1e-6)


def test_a_uniform_velocity_is_in_no_mode():
    frame = frame_of(make_supercell(PRIMITIVE, SUPERCELL))
    masses = np.random.default_rng(1).uniform(20, 60, 8)
    modes = phonon_modes(model_force_constants(frame, MODEL), masses)
    assert np.abs(modes.project(np.ones((1, 8, 3)))).max() < 1e-10
    assert np.einsum("sja,tja->st", modes.eigenvectors, modes.eigenvectors) == pytest.approx(np.eye(21), abs=1e-10)


def test_phonopy_files_of_atoms_in_another_order(by_phonopy, tmp_path):
    path = tmp_path / "phonopy_params.yaml"
    by_phonopy.save(path, settings={"force_constants": True})
    rng = np.random.default_rng(2)
    order, supercell = rng.permutation(8), by_phonopy.supercell
    positions = supercell.positions[order] + rng.normal(scale=0.2, size=(8, 3))
    frame = Frame(positions, None, supercell.cell, supercell.numbers[order])
    expected = phonon_modes(by_phonopy.force_constants, supercell.masses)
    modes = phonopy_modes(path, frame)
    assert modes.frequencies == pytest.approx(expected.frequencies, abs=1e-6)
    velocities = rng.normal(size=(1, 8, 3))
    squares = [m.project(v)[0] ** 2 for m, v in ((modes, velocities[:, order]), (expected, velocities))]
    sums = [np.bincount(modes.set_of_mode, values) for values in squares]
    assert sums[0] == pytest.approx(sums[1], rel=1e-4)
    with pytest.raises(InputError, match="do not lie on the sites"):
        phonopy_modes(path, frame.replace(positions=positions + 1.3))
    with pytest.raises(InputError, match="the elements of its supercell are not"):
        phonopy_modes(path, frame.replace(numbers=np.full(8, 36)))


def test_refused(monkeypatch, tmp_path):
    frame = frame_of(make_supercell(PRIMITIVE, np.diag([4, 1, 1])))
    with pytest.raises(InputError, match="one block for each pair"):
        phonon_modes(np.zeros((1, 4, 3, 3)), frame.masses)
    with pytest.raises(InputError, match="symmetrise"):
        phonon_modes(np.random.default_rng(0).normal(size=(4, 4, 3, 3)), frame.masses)
    with pytest.raises(InputError, match="must be finite"):
        phonon_modes(np.full((4, 4, 3, 3), np.nan), frame.masses)
    (tmp_path / "broken.yaml").write_text("nothing: [")
    with pytest.raises(FileError, match="phonopy cannot read it"):
        phonopy_modes(tmp_path / "broken.yaml", frame)
    monkeypatch.setitem(sys.modules, "phonopy", None)
    with pytest.raises(DependencyError, match=r"pip install fluxan\[phonons\]"):
        phonopy_modes("phonopy_params.yaml", frame)
