"""HNEMD in LAMMPS: against ASE, the work of the driving force, and what is refused."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase import units
from ase.md.verlet import VelocityVerlet

import fluxan
from fluxan.errors import InputError, TrajectoryError
from fluxan.md.hnemd.driven_calculator import DrivenCalculator
from fluxan.md.lammps import FluxRecorder, drive
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.units import MASS_VELOCITY2
from tests.lammps_helper import lammps_instance
from tests.md.lammps_systems import argon, arrays, crystal, frame_of
from tests.message_passing import scaled_up

FIELD = (0.1, -0.05, 0.08)


@pytest.fixture
def lmp():
    with lammps_instance() as instance:
        yield instance


def network():
    return scaled_up(EquivariantNetwork([18, 36], cutoff=4.5, n_features=4, seed=2, zbl=True), 1.2)


@pytest.mark.parametrize("style", ["metal", "real"])
@pytest.mark.parametrize("kind", ["lennard-jones", "network"])
def test_lammps_moves_atoms_as_ase_does(lmp, style, kind):
    """Velocity Verlet in two programs, whose forces belong to velocities of half a step before."""
    types, elements, model = (1, "Ar", argon()) if kind == "lennard-jones" else (2, "Ar,Kr", network())
    crystal(lmp, n=2, units=style, types=types, timestep=0.002)
    lmp.commands_string("velocity all zero linear\nfix move all nve")
    first = frame_of(lmp, elements)
    driver = drive(lmp, model, elements=elements, driving_force=FIELD)
    driver.run(20)
    atoms = ase.Atoms(first.numbers, first.positions, cell=first.cell, pbc=True)
    atoms.set_masses(first.masses)
    atoms.set_velocities(first.velocities * MASS_VELOCITY2**0.5)
    calculator = atoms.calc = DrivenCalculator(model)
    energies = atoms.get_potential_energies()
    zero = [energies[first.numbers == z].mean() for z in first.numbers]
    calculator.drive(FIELD, energy_zero=zero)
    forces = atoms.get_forces(md=True)
    calculator.velocity_lag = 0.001
    dynamics = VelocityVerlet(atoms, timestep=2 * units.fs)
    for _ in range(20):
        forces = dynamics.step(forces)
    positions, velocities = arrays(lmp, "x", "v")
    expected = atoms.get_velocities() / MASS_VELOCITY2**0.5 / (1000 if style == "real" else 1)
    free = first.positions + 0.04 * first.velocities
    moved = np.abs(atoms.positions - free).max()
    np.testing.assert_allclose(positions, atoms.positions, atol=1e-6 * moved)
    np.testing.assert_allclose(velocities, expected, atol=1e-6 * np.abs(expected).max())


def test_energy_grows_by_the_recorded_work(lmp, tmp_path):
    """dE/dt = J·F_e with LAMMPS' own energies; the recorded flux counts energies from their means."""
    crystal(lmp, n=2, types=2, timestep=0.001)
    lmp.commands_string("velocity all zero linear\nfix move all nve")
    driver = drive(lmp, network(), elements="Ar,Kr", driving_force=FIELD)
    recorder = FluxRecorder(lmp, network(), elements="Ar,Kr", every=1, output=tmp_path / "flux.nc")
    energies = []
    recorder.run(0)
    energies.append(lmp.get_thermo("etotal"))
    for _ in range(40):
        recorder.run(1)
        energies.append(lmp.get_thermo("etotal"))
    recorder.close()
    assert driver.driving.energy_zero is not None
    with fluxan.open_flux(tmp_path / "flux.nc") as dataset:
        assert dataset.attrs["ensemble"] == "hnemd"
        np.testing.assert_allclose(dataset.attrs["driving_force"], FIELD)
        power = fluxan.total_flux(dataset).values @ FIELD
        frame = frame_of(lmp, "Ar,Kr")
        expected = fluxan.heat_flux(frame, network()).total - driver.driving.energy_zero @ frame.velocities
        np.testing.assert_allclose(fluxan.total_flux(dataset).values[-1], expected, rtol=1e-8)
    work = 0.001 * np.concatenate([[0.0], np.cumsum(0.5 * (power[1:] + power[:-1]))])
    gain = np.array(energies) - energies[0]
    assert np.abs(gain).max() > 1e-3
    np.testing.assert_allclose(gain, work, atol=5e-3 * np.abs(gain).max())
    with pytest.raises(InputError, match="under a driving force"):
        fluxan.green_kubo(tmp_path / "flux.nc")


def test_a_driving_force_set_later(lmp):
    crystal(lmp, n=2)
    lmp.command("fix move all nve")
    driver = drive(lmp, argon(), elements="Ar")
    assert driver.driving_force is None
    recorder = FluxRecorder(lmp, argon(), elements="Ar", every=5)
    recorder.run(5)
    assert "driving_force" not in recorder.dataset().attrs
    driver.driving_force = FIELD
    with pytest.raises(InputError, match="the driving force has changed since the recorder was made"):
        recorder.run(5)
    later = FluxRecorder(lmp, argon(), elements="Ar", every=5)
    later.run(5)
    np.testing.assert_allclose(later.dataset().attrs["driving_force"], FIELD)
    with pytest.raises(InputError, match="three finite numbers"):
        driver.driving_force = (1, 2)


def test_a_recorder_with_another_route_knows_the_driving_force(lmp):
    crystal(lmp, n=2)
    lmp.commands_string("velocity all zero linear\nfix move all nve")
    drive(lmp, argon(), elements="Ar", driving_force=FIELD)
    recorder = FluxRecorder(lmp, argon(), elements="Ar", every=5, route="local")
    recorder.run(5)
    np.testing.assert_allclose(recorder.dataset().attrs["driving_force"], FIELD)


def test_heating_without_a_thermostat_is_told(lmp):
    crystal(lmp, n=2)
    lmp.command("fix move all nve")
    driver = drive(lmp, argon(), elements="Ar", driving_force=(1.0, 0, 0))
    with pytest.raises(
        TrajectoryError, match=r"LAMMPS, step \d+: the driving force has heated the atoms .*fix temp/csvr"
    ):
        driver.run(500)


def test_a_moving_centre_of_mass_is_refused(lmp):
    """Even as slow as a thermostat leaves it: its flux of energy is not small beside the response."""
    crystal(lmp, n=2)
    lmp.commands_string("fix move all nve\nvelocity all set 0.01 0 0 sum yes")
    driver = drive(lmp, argon(), elements="Ar", driving_force=(0.01, 0, 0))
    with pytest.raises(InputError, match=r"the centre of mass moves at .* velocity all zero linear"):
        driver.run(5)


def test_open_directions_are_refused(lmp):
    crystal(lmp, n=2, boundary="p p f")
    lmp.command("fix move all nve")
    driver = drive(lmp, argon(), elements="Ar", driving_force=(0, 0, 0.1))
    with pytest.raises(InputError, match="not periodic"):
        driver.run(5)
