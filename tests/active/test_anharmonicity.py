"""Harmonic forces against finite differences and phonopy, and σ^A against forces of which it is known."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.lj import LennardJones as AseLennardJones

from fluxan.active.anharmonicity import HarmonicReference, forces_callable, sigma_a
from fluxan.errors import DependencyError, InputError
from fluxan.potentials.lennard_jones import LennardJones
from fluxan.system import Frame
from fluxan.units import BOLTZMANN

ARGON = LennardJones(cutoff=8.0, pairs={"Ar-Ar": {"epsilon": 0.0104, "sigma": 3.4}}, truncation="force")


def argon(atoms):
    return Frame(atoms.positions, None, atoms.cell.array, atoms.numbers)


CUBIC = argon(bulk("Ar", a=5.26, cubic=True).repeat(2))
TRICLINIC = argon(bulk("Ar", a=5.26).repeat(3))


@pytest.fixture(scope="module")
def triclinic():
    return HarmonicReference.from_forces(TRICLINIC, ARGON)


@pytest.fixture(scope="module")
def cubic():
    return HarmonicReference.from_forces(CUBIC, ARGON)


@pytest.mark.parametrize("name", ["cubic", "triclinic"])
def test_force_constants_are_derivatives_of_forces(name, request):
    reference = request.getfixturevalue(name)
    forces, start = forces_callable(reference.frame, ARGON), reference.frame.positions
    for atom, axis in ((0, 0), (20, 2)):
        step = np.zeros_like(start)
        step[atom, axis] = 0.001
        slope = -(forces(start + step) - forces(start - step)) / 0.002
        # Displacements of 0.01 Å in one direction leave third-order terms of 1e-4 of the largest.
        np.testing.assert_allclose(reference.force_constants[:, atom, :, axis], slope, atol=2e-4)


def test_forces_are_those_of_phonopy(triclinic):
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    primitive = bulk("Ar", a=5.26)
    atoms = PhonopyAtoms(symbols=["Ar"], scaled_positions=[[0, 0, 0]], cell=primitive.cell.array)
    phonons = Phonopy(atoms, np.diag([3, 3, 3]))
    phonons.generate_displacements(distance=0.01)
    ours = argon(primitive.repeat(3))
    order = [
        int(np.argmin(np.linalg.norm(np.mod(delta + 0.5, 1) - 0.5, axis=1)))
        for delta in (phonons.supercell.scaled_positions[:, None] - (ours.positions @ np.linalg.inv(ours.cell))[None])
    ]
    forces = forces_callable(ours.replace(positions=ours.positions[order]), ARGON)
    phonons.forces = [forces(cell.positions) for cell in phonons.supercells_with_displacements]
    phonons.produce_force_constants(calculate_full_force_constants=True)
    phonons.symmetrize_force_constants()
    expected = np.zeros_like(triclinic.force_constants)
    expected[np.ix_(order, order)] = phonons.force_constants
    np.testing.assert_allclose(triclinic.force_constants, expected, atol=1e-10)


def test_forces_do_not_depend_on_images_or_drift(triclinic):
    rng = np.random.default_rng(1)
    moved = TRICLINIC.positions + rng.normal(scale=0.1, size=(27, 3))
    expected = triclinic.harmonic_forces(moved)
    for drift in ([0.3, -0.2, 0.1], [5.3, 5.0, -4.0], TRICLINIC.cell.sum(axis=0) / 2):
        fractional = (moved + drift) @ np.linalg.inv(TRICLINIC.cell)
        wrapped = (fractional % 1) @ TRICLINIC.cell
        np.testing.assert_allclose(triclinic.harmonic_forces(wrapped), expected, atol=1e-12)


def test_sources_of_forces_agree():
    # ASE shifts or smooths the energy, never the force; without truncation both have the same forces.
    plain = LennardJones(cutoff=7.0, pairs={"Ar-Ar": {"epsilon": 0.0104, "sigma": 3.4}})
    calculator = AseLennardJones(sigma=3.4, epsilon=0.0104, rc=7.0, smooth=False)
    by_model, by_ase = forces_callable(TRICLINIC, plain), forces_callable(TRICLINIC, calculator)
    assert isinstance(calculator, Calculator)
    moved = TRICLINIC.positions + np.random.default_rng(2).normal(scale=0.05, size=(27, 3))
    np.testing.assert_allclose(by_model(moved), by_ase(moved), atol=1e-10)
    np.testing.assert_allclose(forces_callable(TRICLINIC, by_ase)(moved), by_ase(moved))


def test_a_crystal_becomes_anharmonic_in_proportion_to_its_vibrations(triclinic):
    forces, rng = forces_callable(TRICLINIC, ARGON), np.random.default_rng(3)
    found, directions = [], rng.normal(size=(10, 27, 3))
    for scale in (0.002, 0.004, 0.008):
        frames = TRICLINIC.positions + scale * directions
        pairs = [(forces(x), triclinic.harmonic_forces(x)) for x in frames]
        found.append(sigma_a(*np.array(pairs).transpose(1, 0, 2, 3)))
    assert found[0] < 0.02
    np.testing.assert_allclose(np.divide(found[1:], found[:-1]), 2, rtol=0.1)


def test_sigma_of_known_parts():
    rng = np.random.default_rng(4)
    harmonic, rest = rng.normal(size=(2, 400, 50, 3))
    scale = np.linspace(0.1, 1, 50)[:, None]
    forces = harmonic + scale * rest
    expected = scale[:, 0] / np.sqrt(1 + scale[:, 0] ** 2)
    np.testing.assert_allclose(sigma_a(forces, harmonic, by="atom"), expected, rtol=0.1)
    assert sigma_a(forces, harmonic) == pytest.approx(np.sqrt((scale**2).mean() / (1 + (scale**2).mean())), rel=0.02)
    by_frame = sigma_a(forces, harmonic, by="frame")
    assert by_frame.shape == (400,)
    assert sigma_a(forces[7], harmonic[7]) == pytest.approx(by_frame[7])
    assert sigma_a(forces, forces) == 0


def test_errors(monkeypatch):
    with pytest.raises(InputError, match=r"expected \(27, 27, 3, 3\).*is_compact_fc"):
        HarmonicReference(TRICLINIC, np.zeros((1, 27, 3, 3)))
    with pytest.raises(InputError, match="relax the positions first"):
        HarmonicReference.from_forces(TRICLINIC, np.ones_like)
    with pytest.raises(InputError, match="expected a function of positions"):
        HarmonicReference.from_forces(TRICLINIC, 3.0)
    with pytest.raises(InputError, match="periodic cell"):
        HarmonicReference.from_forces(Frame([[0, 0, 0]], None, None, [18]), np.zeros_like)
    with pytest.raises(InputError, match="displacement is 0"):
        HarmonicReference.from_forces(TRICLINIC, ARGON, displacement=0)
    with pytest.raises(InputError, match="do not vary"):
        sigma_a(np.zeros((5, 3)), np.zeros((5, 3)))
    with pytest.raises(InputError, match="shapes"):
        sigma_a(np.zeros((5, 3)), np.zeros((4, 3)))
    with pytest.raises(InputError, match="choose 'all', 'frame', 'atom'"):
        sigma_a(np.zeros((5, 3)), np.zeros((5, 3)), by="element")
    monkeypatch.setitem(sys.modules, "phonopy", None)
    with pytest.raises(DependencyError, match=r"pip install fluxan\[phonons\]"):
        HarmonicReference.from_forces(TRICLINIC, ARGON)


def test_samples_have_the_harmonic_distribution():
    """Mean potential energy 3(N − 1) kT/2, no motion as a whole, and displacements along a soft mode of two springs."""
    rng = np.random.default_rng(4)
    n, kT = 6, BOLTZMANN * 300.0
    springs = np.zeros((n, n, 3, 3))
    for i in range(n):
        for j in range(i):
            springs[i, j] = springs[j, i] = -rng.uniform(0.5, 2.0) * np.eye(3)
    for i in range(n):
        springs[i, i] = -springs[i].sum(axis=0)
    numbers = np.array([18, 36, 18, 36, 36, 18])
    frame = Frame(rng.uniform(0, 20, (n, 3)), None, 20 * np.eye(3), numbers)
    reference = HarmonicReference(frame, springs)
    masses = np.asarray(frame.masses)[:, None]
    energies, kinetic = [], []
    for _ in range(4000):
        found = reference.sample(300.0, rng)
        moved = found.positions - frame.positions
        energies.append(0.5 * np.einsum("ia,ijab,jb->", moved, springs, moved))
        kinetic.append(found.kinetic_energies.sum())
        assert np.abs((masses * moved).sum(axis=0)).max() < 1e-9
        assert np.abs((masses * found.velocities).sum(axis=0)).max() < 1e-9
    degrees = 3 * n - 3
    for values in (energies, kinetic):
        # A χ² of so many degrees: mean and variance.
        assert np.mean(values) == pytest.approx(0.5 * degrees * kT, rel=4 * (2 / degrees / 4000) ** 0.5)
        assert np.var(values) == pytest.approx(0.5 * degrees * kT**2, rel=0.15)


def test_an_unstable_structure_gives_no_samples():
    springs = np.zeros((2, 2, 3, 3))
    springs[0, 1] = springs[1, 0] = np.diag([1.0, -1.0, -1.0])
    springs[0, 0] = springs[1, 1] = -springs[0, 1]
    frame = Frame(np.array([[0.0, 0, 0], [3.0, 0, 0]]), None, 20 * np.eye(3), np.array([18, 18]))
    with pytest.raises(InputError, match="unstable mode"):
        HarmonicReference(frame, springs).sample(300.0, np.random.default_rng(0))
