"""The driving force of HNEMD: its power is J·F_e, for local and message-passing models."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units

import fluxan
from fluxan.errors import InputError
from fluxan.flux.evaluate import FluxEvaluator
from fluxan.md.ase import frame_of_atoms
from fluxan.md.evaluation import Evaluation
from fluxan.md.hnemd import DrivingForce
from fluxan.md.hnemd.driven_calculator import DrivenCalculator
from fluxan.md.hnemd.driving_force import advanced, species_means
from fluxan.neighbors import build_graph
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.units import MASS_VELOCITY2
from tests.message_passing import ToyModel, random_frame, scaled_up
from tests.systems import argon_krypton

FIELD = np.array([0.3, -0.2, 0.5])


def cases():
    crystal = next(iter(argon_krypton(1)))
    toy = random_frame(6, n_elements=3, triclinic=True)
    return {
        "pair formula": (fluxan.load_model("shipped:ar-kr"), crystal),
        "local network": (ToyModel(1, n_elements=3), toy),
        "two layers with vectors": (ToyModel(2, n_elements=3, vectors=True), toy),
        "sums on senders": (ToyModel(2, n_elements=3, vectors=True, sender_scatter=True), toy),
        "three layers": (ToyModel(3, n_elements=3, symmetrised=True), toy),
        "equivariant network": (
            scaled_up(EquivariantNetwork([18, 36], cutoff=4.5, n_features=4, seed=2), 1.2),
            crystal,
        ),
        "cell smaller than the cutoff": (ToyModel(2, n_elements=1), random_frame(1, n_elements=1, cell=2.5)),
    }


def at_rest(frame):
    """The frame without motion of its centre of mass."""
    masses = np.asarray(frame.masses)
    return frame.replace(velocities=frame.velocities - masses @ frame.velocities / masses.sum())


def driving_forces(model, frame, *, flux=True, **options):
    evaluation = Evaluation(FluxEvaluator(model, frame.numbers))
    energies = evaluation.at(frame, flux=flux).energies
    force = DrivingForce(FIELD, masses=frame.masses, **options)
    return force.forces(evaluation.virial_force(FIELD), energies, frame.velocities), energies


@pytest.mark.parametrize("name", cases())
@pytest.mark.parametrize("flux", [True, False])
def test_power_is_flux_times_field(name, flux):
    model, frame = cases()[name]
    frame = at_rest(frame)
    forces, _ = driving_forces(model, frame, flux=flux)
    parts = forces * frame.velocities
    power = fluxan.heat_flux(frame, model).total @ FIELD
    assert parts.sum() == pytest.approx(power, abs=1e-13 * max(np.abs(parts).sum(), 1e-6))
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-13 * max(np.abs(forces).sum(), 1e-6))


@pytest.mark.parametrize("name", ["two layers with vectors", "sums on senders", "three layers", "pair formula"])
def test_virial_part_is_the_derivative_of_the_unfolded_flux(name):
    """J_pot·F_e is linear in velocities: its change with one velocity component is the force on that component."""
    model, frame = cases()[name]
    evaluation = Evaluation(FluxEvaluator(model, frame.numbers))
    evaluation.at(frame, flux=True)
    found = evaluation.virial_force(FIELD)
    for atom, axis in ((0, 0), (3, 1), (5, 2)):
        unit = np.zeros_like(frame.positions)
        unit[atom, axis] = 1.0
        moving = frame.replace(velocities=unit)
        expected = fluxan.heat_flux(moving, model, route="unfolded").potential.sum(axis=(0, 1)) @ FIELD
        assert found[atom, axis] == pytest.approx(expected, rel=1e-10, abs=1e-12 * np.abs(found).max())


@pytest.mark.parametrize("route", ["local", "adjoint", "unfolded"])
def test_routes_give_the_same_force(route):
    model, frame = cases()["local network"]
    graph = build_graph(frame, model.cutoff)
    evaluator = FluxEvaluator(model, frame.numbers, route=route)
    found = evaluator.virial_force(evaluator.route_for(graph), graph, FIELD)
    expected = np.einsum("jab,a->jb", fluxan.atomic_virial(frame, model, route="unfolded"), FIELD)
    np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max())


def test_transposed_virials_would_be_wrong():
    """W_j is not symmetric: the force W_j F_e instead of W_jᵀ F_e has another power."""
    model, frame = cases()["two layers with vectors"]
    wrong = np.einsum("jab,b->ja", fluxan.atomic_virial(frame, model), FIELD)
    right = np.einsum("jab,a->jb", fluxan.atomic_virial(frame, model), FIELD)
    powers = [(force * frame.velocities).sum() for force in (wrong, right)]
    assert abs(powers[0] - powers[1]) > 0.05 * abs(powers[1])


def test_zero_of_energy_changes_nothing_for_one_element_but_drives_two_against_each_other():
    model, frame = cases()["pair formula"]
    frame = at_rest(frame)
    plain, energies = driving_forces(model, frame)
    shifted, _ = driving_forces(model, frame, energy_zero=np.where(frame.numbers == 18, 1000.0, 0.0))
    assert np.abs(shifted - plain).max() > 100
    moved, _ = driving_forces(model, frame, energy_zero=np.full(frame.n_atoms, 7.0))
    masses = np.asarray(frame.masses)
    common = 7.0 * (np.outer(masses / masses.mean(), FIELD) - FIELD)
    np.testing.assert_allclose(moved, plain + common, atol=1e-12 * np.abs(common).max())
    argon = frame.replace(numbers=np.full(frame.n_atoms, 18), masses=None)
    both = [driving_forces(model, argon, energy_zero=np.full(argon.n_atoms, zero))[0] for zero in (0.0, 7.0)]
    np.testing.assert_allclose(both[0], both[1], atol=1e-12 * np.abs(both[0]).max())
    means = species_means(energies, frame.numbers)
    assert means[frame.numbers == 18] == pytest.approx(energies[frame.numbers == 18].mean())


def atoms_of(frame):
    atoms = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=True, masses=frame.masses)
    atoms.set_velocities(frame.velocities * MASS_VELOCITY2**0.5)
    return atoms


def test_calculator_adds_the_driving_force():
    model, frame = cases()["equivariant network"]
    frame = at_rest(frame)
    atoms = atoms_of(frame)
    atoms.calc = DrivenCalculator(model)
    free = atoms.get_forces()
    atoms.calc = DrivenCalculator(model, field=FIELD)
    driven = atoms.get_forces()
    expected, _ = driving_forces(model, frame_of_atoms(atoms))
    np.testing.assert_allclose(driven - free, expected, atol=1e-11 * np.abs(expected).max())
    assert atoms.calc.results["energy"] == pytest.approx(
        fluxan.md.ase.FluxanCalculator(model).get_potential_energy(atoms)
    )
    atoms.calc.drive(np.zeros(3))
    np.testing.assert_array_equal(atoms.get_forces(), free)
    assert atoms.calc.virial_force is None


def test_lagging_velocities_are_advanced_by_half_a_step():
    """The kinetic part of the force then is that of the full step, to second order."""
    rng = np.random.default_rng(0)
    masses, forces = rng.uniform(1, 50, 5), rng.normal(size=(5, 3))
    velocities = rng.normal(size=(5, 3))
    later = advanced(velocities, forces, masses, 0.5)
    momentum = masses[:, None] * (later - velocities) * MASS_VELOCITY2
    np.testing.assert_allclose(momentum, 0.5 * forces, rtol=1e-12)  # eV ps/Å
    # The same in ASE's units, in which velocity Verlet adds half a step times the force to the momentum.
    half_step = 0.5 * 1e3 * units.fs
    np.testing.assert_allclose(momentum * 1e3 * units.fs, half_step * forces, rtol=1e-6)


@pytest.mark.parametrize("field", [(1, 2), "north", (0, np.nan, 0), None])
def test_a_field_that_is_no_vector_is_refused(field):
    with pytest.raises(InputError, match="three finite numbers, in 1/Å"):
        DrivingForce(field, masses=[1.0])


def test_directions_without_a_steady_flux_are_refused():
    model, frame = cases()["local network"]
    frame = at_rest(frame)
    slab = atoms_of(frame)
    slab.pbc = (True, True, False)
    slab.calc = DrivenCalculator(model, field=slab.cell[0] * 0.01)
    assert np.isfinite(slab.get_forces()).all()
    slab.calc = DrivenCalculator(model, field=(0, 0, 0.1))
    with pytest.raises(InputError, match="along cell vector c, along which the atoms are not periodic"):
        slab.get_forces()
    drifting = atoms_of(frame.replace(velocities=frame.velocities + 1e-3))
    drifting.calc = DrivenCalculator(model, field=(0, 0, 0.1))
    with pytest.raises(InputError, match="the centre of mass moves"):
        drifting.get_forces()
    cluster = Atoms(frame.numbers, frame.positions, momenta=np.ones((6, 3)))
    cluster.calc = DrivenCalculator(model, field=(0, 0, 0.1))
    with pytest.raises(InputError, match="cluster"):
        cluster.get_forces()
    still = atoms_of(frame)
    del still.arrays["momenta"]
    still.calc = DrivenCalculator(model, field=(0, 0, 0.1))
    with pytest.raises(InputError, match="no velocities"):
        still.get_forces()
