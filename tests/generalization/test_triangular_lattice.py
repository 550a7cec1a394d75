"""The study of a triangular lattice: its solver against finite differences, closed forms and ASE, and the example."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from fluxan.generalization.defects import vacancy
from fluxan.generalization.displacement_field import Stencil, displacements_of
from fluxan.generalization.relaxation import relax
from fluxan.md.ase import FluxanCalculator
from fluxan.potentials.lennard_jones import LennardJones

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import triangular_lattice_defects as defects  # noqa: E402
import triangular_lattice_model as lattice  # noqa: E402
import triangular_lattice_table as table  # noqa: E402

#: All terms of a perturbation at once.
DIAL = lattice.Dial(quadratic=(5.0, 3.0, -2.0), cubic=-20.0, embedding=1.5)


@pytest.fixture
def random():
    return np.random.default_rng(1)


@pytest.fixture(scope="module")
def atoms_and_calculator():
    """A layer of 16 × 16 atoms, free along z, by fluxan's own Lennard-Jones model."""
    n = 16
    sites = np.stack(np.divmod(np.arange(n * n), n), axis=1) @ lattice.VECTORS * lattice.LATTICE
    cell = np.zeros((3, 3))
    cell[:2, :2], cell[2, 2] = n * lattice.LATTICE * lattice.VECTORS, 20.0
    atoms = Atoms(
        ["Ar"] * n * n, positions=np.column_stack([sites, np.zeros(n * n)]), cell=cell, pbc=(True, True, False)
    )
    model = LennardJones(cutoff=lattice.CUTOFF, truncation="force", pairs={"Ar-Ar": {"epsilon": 1.0, "sigma": 1.0}})
    return atoms, FluxanCalculator(model)


def perturbed_crystal(n=12):
    """A vacancy with springs of all kinds on its nearest neighbours."""
    site = defects.point_defect(n, "vacancy")
    springs = defects.outer_springs(site, 2.0, DIAL, smooth=True)._replace(embedding=DIAL.embedding)
    return site.crystal.perturbed(springs)


def test_forces_are_derivatives_of_the_energy(random):
    crystal, step = perturbed_crystal(), 1e-5
    u, direction = 0.02 * random.normal(size=(2, crystal.n_sites, 2)) * crystal.free[:, None]
    direction -= direction.sum(axis=0) / crystal.free.sum() * crystal.free[:, None]
    ahead, behind = (crystal.energy_and_forces(u + s * direction)[0] for s in (step, -step))
    slope = -(crystal.energy_and_forces(u)[1] * direction).sum()
    assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=1e-6)


def test_force_constants_are_derivatives_of_the_forces(random):
    crystal, step = perturbed_crystal(), 1e-5
    u, direction = 0.02 * random.normal(size=(2, crystal.n_sites, 2)) * crystal.free[:, None]
    ahead, behind = (crystal.energy_and_forces(u + s * direction)[1] for s in (step, -step))
    product = crystal.hessian(u)(direction)
    assert np.abs((behind - ahead) / (2 * step) - product).max() < 1e-6 * np.abs(product).max()


def test_the_perfect_lattice_is_at_rest_in_every_model():
    n = 12
    bonds, nearest = (defects.periodic_bonds(n, offsets) for offsets in (lattice.OFFSETS, lattice.SHELLS[0]))
    size = len(nearest.first)
    springs = lattice.Springs(*nearest, *(np.full(size, x) for x in (lattice.LATTICE, 5.0, -20.0)), 1.5)
    crystal, u = lattice.Crystal(bonds, np.ones(n * n)), np.zeros((n * n, 2))
    energy, forces = crystal.perturbed(springs).energy_and_forces(u)
    assert np.abs(forces).max() < 1e-12
    assert energy == pytest.approx(crystal.energy_and_forces(u)[0], rel=1e-14)
    assert energy / n**2 == pytest.approx(lattice.Dial().site_energy(np.eye(2), lattice.LATTICE), rel=1e-13)
    # The lattice constant is that of lowest energy.
    for factor in (0.999, 1.001):
        assert lattice.Dial().site_energy(factor * np.eye(2), lattice.LATTICE) > energy / n**2


def test_elastic_constants_are_those_of_central_forces():
    c11, c12, c66 = lattice.elastic_constants(lattice.Dial())
    total = 0.0
    for offset in lattice.OFFSETS:
        rest = lattice.LATTICE * (np.array(offset) @ lattice.VECTORS)
        r = np.linalg.norm(rest)
        _, slope, curvature = lattice.pair_terms(r)
        total += (curvature - slope / r) * rest[0] ** 4 / r**2
    assert c11 == pytest.approx(total / (lattice.LATTICE**2 * np.sqrt(0.75)), rel=1e-7)
    assert c11 == pytest.approx(3 * c12, rel=1e-7)
    assert c66 == pytest.approx(c12, rel=1e-7)


def test_springs_of_two_shells_leave_the_elastic_constants():
    exact = np.array(lattice.elastic_constants(lattice.Dial()))
    for quadratic in ((6.0, -2.0, 0.0), (6.0, 0.0, -1.5)):
        assert np.abs(lattice.elastic_constants(lattice.Dial(quadratic)) - exact).max() < 1e-8 * exact[0]
    alike = np.array(lattice.elastic_constants(lattice.Dial((6.0, 0.0, 0.0)))) / exact
    assert np.ptp(alike) < 1e-6
    assert alike[0] > 1.05
    g = 2.0
    change = np.array(lattice.elastic_constants(lattice.Dial(embedding=g))) - exact
    assert change == pytest.approx(9 * g / np.sqrt(0.75) * np.array([1, 1, 0]), abs=1e-6)


@pytest.mark.parametrize("kind", ["vacancy", "divacancy"])
def test_relaxed_vacancies_are_those_of_ase(atoms_and_calculator, kind):
    crystal, calculator = atoms_and_calculator
    n = 16
    site = defects.point_defect(n, kind)
    u, record = lattice.relax(site.crystal, np.zeros((n * n, 2)), lattice.LatticeResponse(n))
    assert record["largest force"] < 1e-12
    per_site = lattice.Dial().site_energy(np.eye(2), lattice.LATTICE)
    ours = site.crystal.energy_and_forces(u)[0] - site.crystal.free.sum() * per_site

    empty = np.flatnonzero(site.crystal.free == 0)
    atoms = crystal.copy()
    del atoms[empty]
    found = relax(atoms, calculator, tolerance=1e-6)
    assert found.reason == ""
    assert found.energy - len(atoms) * per_site == pytest.approx(ours, rel=1e-8)
    # Where Newton's method ends, the package's own model finds no force either.
    atoms.positions[:, :2] += u[site.crystal.free > 0]
    atoms.calc = calculator
    assert np.abs(atoms.get_forces()).max() < 1e-11


def test_norm_and_distance_are_those_of_the_package(atoms_and_calculator, random):
    crystal, _ = atoms_and_calculator
    site = defects.point_defect(16, "vacancy")
    one = vacancy(crystal, int(np.flatnonzero(site.crystal.free == 0)[0]))
    assert np.abs(one.distances / lattice.LATTICE - site.distance).max() < 1e-9
    moved = one.atoms.copy()
    moved.positions[:, :2] += 0.01 * random.normal(size=(len(moved), 2))
    field = displacements_of(one, moved)
    ours = defects.norm(site.neighbours, np.nan_to_num(field[:, :2]))
    assert ours == pytest.approx(Stencil(crystal).norm(field), rel=1e-10)


def test_energy_difference_is_that_of_the_energies():
    site, u, record = defects.relaxed_defect(16, "divacancy", response := lattice.LatticeResponse(16))
    assert abs(record["dilation"]) < 1e-3 * abs(record["stretch"])
    model = site.crystal.perturbed(defects.outer_springs(site, 2.0, lattice.Dial((6.0, 0.0, 0.0))))
    moved, _ = lattice.relax(model, u, response)
    large = model.energy_and_forces(moved)[0]
    plain = large - site.crystal.energy_and_forces(u)[0]
    # Sums of thousands of terms round by some 20 units in the last place, by how many depends on the processor.
    assert defects.energy_difference(model, u, moved) == pytest.approx(plain, abs=64 * np.spacing(abs(large)))
    assert plain > 1e-5


def test_field_of_a_dislocation_has_its_burgers_vector_and_is_at_equilibrium():
    poisson, height = 0.25, 1e-9
    jump = np.subtract(*defects.edge_field(np.array([[-3.0, height], [-3.0, -height]]), poisson))
    assert jump == pytest.approx([lattice.LATTICE, 0.0], abs=1e-8)
    # Navier's equation, (1 − 2ν) ∇²u + ∇ (∇·u) = 0, by finite differences.
    step, centre = 1e-3, np.array([1.3, 0.7])
    grid = centre + step * np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], indexing="ij"), axis=-1)
    u = defects.edge_field(grid.reshape(-1, 2), poisson).reshape(3, 3, 2)
    xx, yy = (u[0, 1] - 2 * u[1, 1] + u[2, 1]) / step**2, (u[1, 0] - 2 * u[1, 1] + u[1, 2]) / step**2
    xy = (u[2, 2] - u[2, 0] - u[0, 2] + u[0, 0]) / (4 * step**2)
    residual = (1 - 2 * poisson) * (xx + yy) + [xx[0] + xy[1], xy[0] + yy[1]]
    assert np.abs(residual).max() < 1e-5 * np.abs(xx).max()


def test_predicted_growth_is_the_integral_of_the_difference_of_fields():
    dial = lattice.Dial(embedding=0.4)
    poisson = [c[1] / (c[0] + c[1]) for c in map(lattice.elastic_constants, (lattice.Dial(), dial))]
    angles = 2 * np.pi * (np.arange(720) + 0.5) / 720
    place, step = np.stack([np.cos(angles), np.sin(angles)], axis=1), 1e-5
    square = 0.0
    for axis in np.eye(2):
        ahead, behind = (
            defects.edge_field(place + s * axis, poisson[1]) - defects.edge_field(place + s * axis, poisson[0])
            for s in (step, -step)
        )
        square += (((ahead - behind) / (2 * step)) ** 2).sum(axis=1).mean() * 2 * np.pi
    assert table.predicted_growth(dial)[0] == pytest.approx(2 * np.sqrt(3) * square, rel=1e-5)


def test_the_example_runs_and_resumes(tmp_path):
    command = [sys.executable, str(EXAMPLES / "triangular_lattice.py"), "--quick", "--folder", str(tmp_path)]
    run = partial(subprocess.run, command, check=True, capture_output=True, text=True)
    printed = run().stdout
    assert "| divacancy: Du against r | −2 |" in printed
    assert (tmp_path / "triangular_lattice.png").stat().st_size > 10_000
    found = json.loads((tmp_path / "triangular_lattice.json").read_text())
    results = found["results"]
    # The core is one pair of atoms with five and seven neighbours, by the reference and by all models.
    assert [row[0] for row in results["disc R=20.0"]["core"]] == [5, 7]
    assert all(row["same core"] for row in results.values() if "same core" in row)
    assert all(row["largest force"] < 1e-10 for row in results.values() if "largest force" in row)
    assert results["stable disc R=20.0 stability"]["eigenvalues"][0] > 0
    ratio = results["divacancy 64 a step L=4.00"]["geometry"] / results["divacancy 64 a step L=8.00"]["geometry"]
    assert ratio == pytest.approx(2.0, abs=0.4)
    assert run().stdout == printed[printed.index("| hypothesis") :]
