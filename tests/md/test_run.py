"""Runs of molecular dynamics: their ensembles, and a message-passing model that conserves energy."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from ase.build import bulk

import fluxan
from fluxan.errors import InputError
from fluxan.md.drift import energy_drift
from fluxan.md.example_systems import find_example, repeated
from fluxan.md.md_run import MdRun
from fluxan.md.md_settings import MdSettings, milestones
from fluxan.md.restart import Restart
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.system import Frame
from fluxan.units import BOLTZMANN, MASS_VELOCITY2
from tests.message_passing import scaled_up


def crystal(n_cells=2):
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True).repeat(n_cells)
    return Frame(atoms.positions, None, np.array(atoms.cell), atoms.numbers)


def finished(frame, model, settings, output):
    with closing(MdRun(frame, model, settings, output=output)) as run:
        for _ in run.blocks():
            pass
    return fluxan.open_flux(output)


@pytest.mark.parametrize("ensemble", ["langevin", "nvt"])
def test_thermostats_hold_the_temperature_and_its_fluctuations(tmp_path, ensemble):
    """Kinetic energy is gamma distributed: its relative variance is 2 over the degrees of freedom."""
    settings = MdSettings(
        temperature=40.0,
        time=15.0,
        timestep=5.0,
        flux_every=10,
        ensemble=ensemble,
        thermalise=2.0,
        relaxation=0.2,
        friction=4.0,
    )
    with finished(crystal(), find_example("ar-liquid").model(), settings, tmp_path / "flux.nc") as dataset:
        temperature = dataset["temperature"].values
        assert energy_drift(dataset) is None
        assert np.abs(dataset["velocity"].values).max() < 1e-9  # of one species: the centre of mass is at rest
    degrees = 3 * 32 - 3
    width = 40.0 * np.sqrt(2 / degrees)
    assert temperature.mean() == pytest.approx(40, abs=5 * width / np.sqrt(15 / 0.4))
    assert temperature.std() == pytest.approx(width, rel=0.25)


def test_message_passing_conserves_energy_for_10_ps(tmp_path):
    frame = crystal()
    frame = frame.replace(numbers=np.resize([18, 36], 32), masses=None)
    # Soft atoms with hard cores, and crossings that matter.
    model = scaled_up(EquivariantNetwork([18, 36], cutoff=4.5, n_features=4, seed=2, zbl=True), 1.2)
    settings = MdSettings(temperature=30.0, time=10.0, timestep=4.0, flux_every=25, thermalise=0.2)
    with finished(frame, model, settings, tmp_path / "flux.nc") as dataset:
        assert dataset.sizes["time"] == 100
        assert dataset.attrs["route"] == "adjoint"
        assert dataset["temperature"].values.min() > 5
        assert abs(energy_drift(dataset)) < 1e-5


def test_velocities_of_the_file_are_kept_without_a_thermostat(tmp_path):
    rng = np.random.default_rng(3)
    moving = crystal().replace(velocities=rng.normal(size=(32, 3)))
    run = MdRun(
        moving, find_example("ar-liquid").model(), MdSettings(50.0, 1.0, thermalise=0.0), output=tmp_path / "x.nc"
    )
    np.testing.assert_allclose(run.atoms.get_velocities() / MASS_VELOCITY2**0.5, moving.velocities, rtol=1e-12)
    run.close()


def test_velocities_are_drawn_at_the_temperature_without_drift(tmp_path):
    run = MdRun(crystal(6), find_example("ar-liquid").model(), MdSettings(50.0, 1.0, seed=1), output=tmp_path / "x.nc")
    known = Restart.load(tmp_path / "x.restart.npz")
    run.close()
    np.testing.assert_array_equal(known.momenta, run.atoms.get_momenta())
    np.testing.assert_allclose(known.momenta.sum(axis=0), 0, atol=1e-10)
    degrees = 3 * 864 - 3
    temperature = 2 * run.atoms.get_kinetic_energy() / (degrees * BOLTZMANN)
    assert temperature == pytest.approx(50, rel=5 * np.sqrt(2 / degrees))


def test_milestones_are_whole_blocks_at_growing_intervals():
    found = milestones(MdSettings(300.0, 1000.0, timestep=2.0, flux_every=5))
    assert found[:3] == [100, 150, 200]
    assert found[-1] == 100_000
    assert len(found) < 40
    assert not any(n % 50 for n in found[:-1])
    assert milestones(MdSettings(300.0, 0.1)) == [20]


def test_a_repeated_cell_is_the_same_crystal():
    example = find_example("agi")
    small, large = example.build(), repeated(example.build(), (1, 2, 1))
    assert large.n_atoms == 2 * small.n_atoms
    energies = [
        fluxan.md.ase.FluxanCalculator(example.model()).get_property("energy", run_atoms(frame)) / frame.n_atoms
        for frame in (small, large)
    ]
    assert energies[0] == pytest.approx(energies[1], rel=1e-12)
    with pytest.raises(InputError, match="has no cell"):
        repeated(small.replace(cell=None), (2, 1, 1))


def run_atoms(frame):
    from ase import Atoms

    return Atoms(frame.numbers, positions=frame.positions, cell=frame.cell, pbc=True)


def test_production_begins_at_the_temperature(tmp_path):
    settings = MdSettings(60.0, 0.02, timestep=1.0, flux_every=1, thermalise=0.3)
    with finished(crystal(), find_example("ar-liquid").model(), settings, tmp_path / "flux.nc") as dataset:
        assert float(dataset["temperature"][0]) == pytest.approx(60, rel=0.02)
        assert np.abs(dataset["velocity"].values).max() < 1e-9


def test_small_cells_have_the_thermostats_temperature(tmp_path):
    """Of 8 atoms at rest as a whole 21 degrees of freedom move: a thermostat that counts 24 heats them by a seventh."""
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True).repeat((2, 1, 1))
    frame = Frame(atoms.positions, None, np.array(atoms.cell), atoms.numbers)
    settings = MdSettings(40.0, 16.0, timestep=6.0, flux_every=5, ensemble="nvt", thermalise=1.0, relaxation=0.05)
    with finished(frame, find_example("ar-liquid").model(), settings, tmp_path / "flux.nc") as dataset:
        temperature = dataset["temperature"].values
    width = 40.0 * np.sqrt(2 / 21)
    # Independent values are some 0.1 ps apart, two relaxation times.
    assert temperature.mean() == pytest.approx(40, abs=4 * width / np.sqrt(16.0 / 0.1))
