"""`FluxanCalculator` in ASE's workflows, against ASE's own calculators, finite differences and fluxan's own flux."""

from __future__ import annotations

import ase
import numpy as np
import pytest
import torch
from ase import units
from ase.build import bulk, fcc111
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.lj import LennardJones
from ase.filters import FrechetCellFilter
from ase.io import read, write
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

import fluxan
from fluxan.errors import InputError, ModelError
from fluxan.md.ase import FluxanCalculator
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.potentials.load import parse_model
from fluxan.system import Frame
from fluxan.units import VELOCITY
from tests.message_passing import scaled_up

EPSILON, SIGMA, CUTOFF = 0.0103, 3.4, 8.0
ARGON = f"""kind = "lennard-jones"
cutoff = {CUTOFF}
truncation = "TRUNCATION"
[pairs]
Ar-Ar = {{ epsilon = {EPSILON}, sigma = {SIGMA} }}
"""


def argon(truncation):
    return parse_model(ARGON.replace("TRUNCATION", truncation), source="argon")


@pytest.fixture(scope="module")
def lennard_jones():
    """Shifted to 0 at the cutoff, as ASE's own is."""
    return argon("energy")


@pytest.fixture(scope="module")
def network():
    return scaled_up(EquivariantNetwork([18, 36], cutoff=4.5, n_features=4, seed=2), 1.2)


@pytest.fixture
def atoms():
    """A hot, sheared cell of two elements, smaller than twice the cutoff."""
    crystal = bulk("Ar", "fcc", a=5.3, cubic=True).repeat((2, 1, 1))
    crystal.set_cell(crystal.cell @ np.array([[1, 0.1, 0], [0, 1, 0.05], [0, 0, 1]]), scale_atoms=True)
    crystal.rattle(0.2, seed=1)
    crystal.numbers[::3] = 36
    crystal.set_masses(None)
    MaxwellBoltzmannDistribution(crystal, temperature_K=80, rng=np.random.default_rng(0))
    return crystal


def test_lennard_jones_is_that_of_ase(lennard_jones, atoms):
    atoms.numbers[:] = 18
    ours, theirs = FluxanCalculator(lennard_jones), LennardJones(epsilon=EPSILON, sigma=SIGMA, rc=CUTOFF)
    for cell, pbc in ((atoms.cell, True), (atoms.cell, (True, True, False)), (None, False)):
        variant = ase.Atoms(atoms.numbers, positions=atoms.positions, cell=cell, pbc=pbc)
        names = ["energy", "energies", "forces", "stress"] if np.all(variant.pbc) else ["energy", "forces"]
        for name in names:
            expected = theirs.get_property(name, variant)
            np.testing.assert_allclose(ours.get_property(name, variant), expected, atol=1e-9 * np.abs(expected).max())


def test_finite_differences(network, atoms):
    atoms.calc = FluxanCalculator(network)
    forces, stress = atoms.get_forces(), atoms.get_stress()
    np.testing.assert_allclose(forces, calculate_numerical_forces(atoms, eps=1e-4), atol=1e-6 * np.abs(forces).max())
    np.testing.assert_allclose(stress, calculate_numerical_stress(atoms, eps=1e-5), atol=1e-6 * np.abs(stress).max())
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()


class Counting(EquivariantNetwork):
    """Counts its evaluations."""

    count = 0

    def forward(self, graph):
        self.count += 1
        return super().forward(graph)


def test_one_evaluation_for_all(atoms):
    model = Counting([18, 36], cutoff=4.5, n_features=4)
    atoms.calc = FluxanCalculator(model)
    for ask in (atoms.get_potential_energy, atoms.get_forces, atoms.get_stress, atoms.get_potential_energies):
        ask()
    atoms.set_velocities(2 * atoms.get_velocities())
    atoms.get_forces()
    assert model.count == 1
    atoms.rattle(0.01)
    atoms.get_forces()
    assert model.count == 2


def frame_of(atoms):
    return Frame(
        atoms.get_positions(),
        atoms.get_velocities() * VELOCITY["ase"],
        atoms.cell[:],
        atoms.numbers,
        atoms.get_masses(),
    )


def test_heat_flux_is_that_of_fluxan(network, atoms):
    calculator = FluxanCalculator(network)
    expected = fluxan.heat_flux(frame_of(atoms), network)
    np.testing.assert_allclose(calculator.get_property("heat_flux", atoms), expected.total, rtol=1e-10)
    flux = calculator.flux(atoms)
    np.testing.assert_allclose(flux.potential, expected.potential, rtol=1e-10, atol=1e-12)
    assert flux.labels == ("Ar", "Kr")
    halves = ["left"] * 4 + ["right"] * 4
    assert calculator.flux(atoms, groups=halves).labels == ("left", "right")
    for route in ("adjoint", "unfolded"):
        by_name = FluxanCalculator(network, route=route).get_property("heat_flux", atoms)
        np.testing.assert_allclose(by_name, expected.total, rtol=1e-9)


def test_heat_flux_follows_velocities(network, atoms):
    calculator = atoms.calc = FluxanCalculator(network)
    atoms.get_forces()
    first = calculator.get_property("heat_flux", atoms)
    assert calculator.get_property("heat_flux", atoms, allow_calculation=False) is not None
    assert "forces" in calculator.results
    atoms.set_velocities(-atoms.get_velocities())
    assert calculator.get_property("heat_flux", atoms, allow_calculation=False) is None
    np.testing.assert_allclose(calculator.get_property("heat_flux", atoms), -first, rtol=1e-10)


def test_heat_flux_follows_velocities_past_other_results(network, atoms):
    calculator = FluxanCalculator(network)
    first = calculator.get_property("heat_flux", atoms)
    atoms.set_velocities(-atoms.get_velocities())
    calculator.get_property("forces", atoms)
    np.testing.assert_allclose(calculator.get_property("heat_flux", atoms), -first, rtol=1e-10)


def test_heat_flux_needs_velocities(network, atoms):
    at_rest = ase.Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    with pytest.raises(InputError, match="there are no velocities; a heat flux needs them"):
        FluxanCalculator(network).get_property("heat_flux", at_rest)


def test_trajectory_that_carries_its_calculator(network, atoms):
    atoms.calc = FluxanCalculator(network)
    dataset = fluxan.decompose([atoms], progress=False)
    np.testing.assert_allclose(
        fluxan.total_flux(dataset).values[0], atoms.calc.get_property("heat_flux", atoms), rtol=1e-10
    )


def test_energy_is_conserved():
    crystal = bulk("Ar", "fcc", a=5.4, cubic=True).repeat((2, 2, 2))
    MaxwellBoltzmannDistribution(crystal, temperature_K=60, rng=np.random.default_rng(1))
    Stationary(crystal)
    crystal.calc = FluxanCalculator(argon("force"))
    drifts = []
    for step in (8, 4):
        atoms = crystal.copy()
        atoms.calc = crystal.calc
        begin, dyn, energies = atoms.get_total_energy(), VelocityVerlet(atoms, step * units.fs), []
        dyn.attach(lambda a=atoms, e=energies: e.append(a.get_total_energy()))
        dyn.run(320 // step)
        drifts.append(np.abs(np.array(energies) - begin).max())
    assert drifts[0] < 1e-3 * crystal.get_kinetic_energy()
    assert drifts[0] / drifts[1] == pytest.approx(4, rel=0.1)  # velocity Verlet is of second order


def test_flux_while_it_runs(network, atoms):
    atoms.calc = FluxanCalculator(network)
    dyn, fluxes = VelocityVerlet(atoms, 2 * units.fs), []
    dyn.attach(lambda: fluxes.append((atoms.calc.get_property("heat_flux", atoms), frame_of(atoms))), interval=2)
    dyn.run(6)
    for found, frame in fluxes:
        expected = fluxan.heat_flux(frame, network).total
        np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())
    assert len(fluxes) == 4


def test_optimiser_finds_the_lattice_constant(lennard_jones):
    crystal = bulk("Ar", "fcc", a=5.5)
    crystal.calc = FluxanCalculator(lennard_jones)
    BFGS(FrechetCellFilter(crystal), logfile=None).run(fmax=1e-4, steps=50)
    assert np.abs(crystal.get_stress()).max() < 1e-5
    energies = {}
    for scale in (0.998, 1.0, 1.002):
        other = crystal.copy()
        other.set_cell(scale * crystal.cell, scale_atoms=True)
        energies[scale] = FluxanCalculator(lennard_jones).get_property("energy", other)
    assert energies[1.0] == min(energies.values())


def test_stress_is_for_periodic_atoms(lennard_jones):
    pair = ase.Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 3.6]])
    pair.calc = FluxanCalculator(lennard_jones)
    np.testing.assert_allclose(pair.get_forces().sum(axis=0), 0, atol=1e-14)
    with pytest.raises(PropertyNotImplementedError):
        pair.get_stress()


def test_slab_without_third_cell_vector(lennard_jones):
    slab = fcc111("Ar", (2, 2, 2), a=5.3)
    slab.cell[2] = 0
    assert slab.cell.rank == 2
    slab.calc = FluxanCalculator(lennard_jones)
    slab.rattle(0.1)
    np.testing.assert_allclose(slab.get_forces(), calculate_numerical_forces(slab, eps=1e-4), atol=1e-6)


def test_lone_atom_has_no_force(lennard_jones):
    single = ase.Atoms("Ar", positions=[[0, 0, 0]])
    single.calc = FluxanCalculator(lennard_jones)
    assert (single.get_potential_energy(), single.get_forces().tolist()) == (0.0, [[0.0, 0.0, 0.0]])


def test_one_calculator_for_changing_atoms(lennard_jones, atoms):
    atoms.numbers[:] = 18
    calculator = FluxanCalculator(lennard_jones)
    changes = (
        lambda a: a,
        lambda a: a.repeat((1, 2, 1)),
        lambda a: a[:-2],
        _stretched,
        _open,
    )
    for change in changes:
        other = change(atoms.copy())
        np.testing.assert_allclose(
            calculator.get_property("forces", other),
            FluxanCalculator(lennard_jones).get_property("forces", other),
            atol=1e-12,
        )


def _stretched(atoms):
    atoms.set_cell(1.1 * atoms.cell, scale_atoms=True)
    return atoms


def _open(atoms):
    atoms.pbc = (True, False, True)
    return atoms


@pytest.mark.parametrize("suffix", ["traj", "extxyz"])
def test_results_are_written_by_ase(network, atoms, tmp_path, suffix):
    atoms.calc = FluxanCalculator(network)
    forces = atoms.get_forces()
    atoms.calc.get_property("heat_flux", atoms)
    write(tmp_path / f"atoms.{suffix}", atoms)
    again = read(tmp_path / f"atoms.{suffix}")
    np.testing.assert_allclose(again.get_forces(), forces, atol=1e-7)


def test_single_precision(network, atoms):
    ours = FluxanCalculator(EquivariantNetwork([18, 36], cutoff=4.5, n_features=4).to(torch.float32))
    assert ours.get_property("forces", atoms).dtype == np.float64


def test_unknown_elements(network):
    helium = bulk("He", "fcc", a=4.0)
    helium.calc = FluxanCalculator(network)
    with pytest.raises(ModelError, match="does not know He; it knows Ar, Kr"):
        helium.get_potential_energy()


def test_invalid_models():
    with pytest.raises(ModelError, match="LennardJones is no model"):
        FluxanCalculator(LennardJones())
