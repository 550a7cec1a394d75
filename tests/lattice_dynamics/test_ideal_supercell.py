"""Supercells found in trajectories, against those that the trajectories were made from."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, make_supercell

from fluxan.errors import InputError
from fluxan.lattice_dynamics.ideal_supercell import fitted, read_primitive, repeated
from fluxan.system import Frame
from tests.lattice_dynamics.crystals import AR, SI, cell_of, written


def moved(atoms, *, scale=1.0, seed=0):
    """A frame with displaced and permuted atoms in a strained cell, and the sites of its atoms."""
    rng = np.random.default_rng(seed)
    atoms = atoms[rng.permutation(len(atoms))]
    atoms.set_cell(atoms.cell * scale, scale_atoms=True)
    shifts = rng.integers(-2, 3, size=(len(atoms), 3)) @ atoms.cell.array
    frame = Frame(
        atoms.positions + shifts + rng.uniform(-0.2, 0.2, (len(atoms), 3)), None, atoms.cell.array, atoms.numbers
    )
    return frame, atoms.positions


@pytest.mark.parametrize("matrix", [np.diag([2, 3, 1]), np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) * 2])
def test_sites_are_those_of_the_crystal(matrix):
    primitive = bulk("GaAs", "zincblende", a=5.65)
    frame, sites = moved(make_supercell(primitive, matrix), scale=1.004)
    found = fitted(cell_of(primitive), frame, "gaas.xyz")
    apart = (found.frame.positions - sites) @ np.linalg.inv(frame.cell)
    assert apart == pytest.approx(np.rint(apart), abs=1e-9)
    assert (found.frame.numbers == frame.numbers).all()
    assert np.asarray(found.primitive.cell) == pytest.approx(1.004 * primitive.cell.array, abs=1e-12)
    own = (found.frame.positions[found.atom_of_site] - found.primitive.positions) @ np.linalg.inv(frame.cell)
    assert own == pytest.approx(np.rint(own), abs=1e-9)
    assert (found.frame.numbers[found.atom_of_site] == primitive.numbers).all()


def test_the_masses_of_the_trajectory_are_taken():
    frame, _ = moved(bulk("Ar", a=5.3).repeat(2))
    found = fitted(AR, frame.replace(masses=np.full(8, 36.0)), "ar.xyz")
    assert found.primitive.masses.tolist() == [36.0]
    masses = np.full(8, 36.0)
    masses[3] = 40.0
    with pytest.raises(InputError, match="others; modes of a primitive cell need equal masses"):
        fitted(AR, frame.replace(masses=masses), "ar.xyz")


def test_repeated_cells_are_in_the_order_of_ase():
    found = repeated(SI, (2, 1, 3))
    expected = bulk("Si", a=5.431).repeat((2, 1, 3))
    assert found.frame.positions == pytest.approx(expected.positions, abs=1e-12)
    assert np.asarray(found.frame.cell) == pytest.approx(expected.cell.array, abs=1e-12)
    for wrong in ((2, 2), (2, 0, 2)):
        with pytest.raises(InputError, match="not three positive numbers"):
            repeated(SI, wrong)


def test_other_cells_are_refused(tmp_path):
    frame, _ = moved(bulk("Ar", a=5.3).repeat(3))
    with pytest.raises(InputError, match=r"27 atoms in the cell of the trajectory are not \d+ cells of 2"):
        fitted(SI, frame, "si.xyz")
    with pytest.raises(InputError, match=r"strained by 4\.0%"):
        fitted(AR, frame.replace(cell=1.04 * frame.cell), "ar.xyz")
    with pytest.raises(InputError, match="do not lie on the sites"):
        fitted(AR, frame.replace(positions=frame.positions + np.array([1.4, 1.2, 0.0])), "ar.xyz")
    with pytest.raises(InputError, match="not periodic in all directions"):
        fitted(AR, frame.replace(cell=None), "ar.xyz")
    slab = AR.replace(pbc=(True, True, False))
    with pytest.raises(InputError, match=r"slab\.xyz is not periodic in all directions"):
        read_primitive(written(tmp_path / "slab.xyz", slab))
