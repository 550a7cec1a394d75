"""Extended XYZ, ASE, mdtraj, HDF5 and TRR, each against files of the programs that define them."""

from __future__ import annotations

from pathlib import Path

import ase.io
import mdtraj
import numpy as np
import pytest
from ase import units
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from fluxan.errors import HalfStepWarning, InputError, TrajectoryError
from fluxan.trajectory import as_trajectory, open_trajectory

from .conftest import GENERAL_CELL, assert_same, make_frames

DATA = Path(__file__).parent / "data"


def as_atoms(frames, *, velocities=True):
    """The frames as ASE atoms; ASE's own units convert the velocities."""
    atoms = [ase.Atoms(f.numbers, f.positions, cell=f.cell, pbc=True, masses=f.masses) for f in frames]
    if velocities:
        for one, frame in zip(atoms, frames, strict=True):
            one.set_velocities(frame.velocities * units.Ang / (1000 * units.fs))
    return atoms


def as_mdtraj(frames):
    topology = mdtraj.Topology()
    residue = topology.add_residue("X", topology.add_chain())
    for number in frames[0].numbers:
        topology.add_atom("X", mdtraj.element.Element.getByAtomicNumber(int(number)), residue)
    traj = mdtraj.Trajectory(np.array([f.positions / 10 for f in frames]), topology, time=[f.time for f in frames])
    traj.unitcell_vectors = np.array([f.cell / 10 for f in frames])
    return traj


STANDARD_CELL = np.array([[11.0, 0, 0], [2.0, 12.0, 0], [-1.0, 3.0, 13.0]])


@pytest.mark.parametrize("suffix", ["traj", "xyz", "list"])
def test_ase_with_momenta(tmp_path, suffix):
    frames = make_frames(cell=GENERAL_CELL)
    atoms = as_atoms(frames)
    source = atoms
    if suffix != "list":
        source = tmp_path / f"t.{suffix}"
        ase.io.write(source, atoms, format={"xyz": "extxyz"}.get(suffix, suffix))
    trajectory = as_trajectory(source, timestep=0.01)
    # ASE's unit of time comes from CODATA 2014 and prints eight digits in XYZ files.
    assert_same(list(trajectory), frames, rtol=2e-6, atol=2e-8, time=False)
    assert [frame.time for frame in trajectory] == pytest.approx([0, 0.01, 0.02, 0.03, 0.04])
    assert len(list(trajectory.frames(start=3))) == 2


@pytest.mark.parametrize("suffix", ["traj", "xyz", "list"])
def test_ase_without_momenta_has_no_velocities(tmp_path, suffix):
    atoms = as_atoms(make_frames(), velocities=False)
    source = atoms
    if suffix != "list":
        source = tmp_path / f"t.{suffix}"
        ase.io.write(source, atoms, format={"xyz": "extxyz"}.get(suffix, suffix))
    trajectory = as_trajectory(source)
    assert all(frame.velocities is None for frame in trajectory)
    assert not trajectory.has_time
    assert trajectory.info()["velocities"] is False


def test_calculator_is_kept():
    atoms = as_atoms(make_frames())
    assert as_trajectory(atoms).calculator is None
    atoms[0].calc = SinglePointCalculator(atoms[0], energy=1.0)
    assert as_trajectory(atoms).calculator is None
    atoms[0].calc = LennardJones()
    assert as_trajectory(atoms).calculator is atoms[0].calc
    assert len(list(as_trajectory(atoms[0]))) == 1


GPUMD = 'Lattice="{cell}" pbc="T T F" Properties=species:S:1:pos:R:3:mass:R:1:vel:R:3:force:R:3'


@pytest.mark.parametrize(("unit", "factor"), [("A/fs", 1000.0), ("A/ps", 1.0), ("nm/ps", 10.0), ("m/s", 0.01)])
def test_extxyz_velocity_units(tmp_path, unit, factor):
    (frame,) = make_frames(1)
    lines = [str(frame.n_atoms), GPUMD.format(cell=" ".join(str(x) for x in frame.cell.ravel()))]
    symbols = {18: "Ar", 36: "Kr", 54: "Xe"}
    for z, r, v, m in zip(frame.numbers, frame.positions, frame.velocities, frame.masses, strict=True):
        row = [symbols[z], *r.tolist(), float(m), *(v / factor).tolist(), 0, 0, 0]
        lines.append("  ".join(str(word) for word in row))
    path = tmp_path / "dump.xyz"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(
        TrajectoryError, match=r"unit of its velocity column is ambiguous; name it: .* one of A/ps, A/fs"
    ):
        open_trajectory(path)
    with pytest.raises(InputError, match="units='furlongs' of velocities; expected one of"):
        open_trajectory(path, units="furlongs")
    (found,) = open_trajectory(path, units=unit)
    assert_same([found], [frame], rtol=1e-15, time=False)
    assert found.pbc == (True, True, False)


def test_mdtraj_hdf5_with_velocities():
    """Written by mdtraj with PyTables (data/make_mdtraj_hdf5.py)."""
    values = np.load(DATA / "mdtraj_values.npz")
    trajectory = open_trajectory(DATA / "mdtraj.h5")
    assert len(trajectory) == 4
    for k, frame in enumerate(trajectory):
        np.testing.assert_allclose(frame.positions, values["positions"][k] * 10.0, rtol=1e-7)
        np.testing.assert_allclose(frame.velocities, values["velocities"][k] * 10.0, rtol=1e-7)
        assert frame.time == values["time"][k]
        assert frame.numbers.tolist() == [11, 17, 8, 1, 1]
        vectors = mdtraj.utils.lengths_and_angles_to_box_vectors(20, 25, 30, 70, 80, 95)
        np.testing.assert_allclose(frame.cell, np.array(vectors), atol=1e-5)


@pytest.mark.parametrize("suffix", ["dcd", "xtc", "pdb", "gro", "trr"])
def test_positions_through_mdtraj(tmp_path, suffix):
    frames = make_frames(cell=STANDARD_CELL, n_atoms=12)
    traj = as_mdtraj(frames)
    traj.save(str(tmp_path / f"t.{suffix}"))
    traj[0].save(str(tmp_path / "top.pdb"))
    whole = suffix in {
        "pdb",
        "gro",
    }  # these have a topology, GRO's without elements; PDB has the first frame's cell alone
    symbols = [{18: "Ar", 36: "Kr", 54: "Xe"}[z] for z in frames[0].numbers]
    options = {"elements": symbols} if whole else {"topology": tmp_path / "top.pdb"}
    found = list(open_trajectory(tmp_path / f"t.{suffix}", **options))
    precision = {"xtc": 0.011, "gro": 0.011, "pdb": 0.001}.get(suffix, 2e-6)
    for one, two in zip(found, frames, strict=True):
        np.testing.assert_allclose(one.positions, two.positions, atol=precision)
        np.testing.assert_allclose(one.cell, two.cell, atol={"pdb": 0.06, "gro": 0.001, "xtc": 1e-4}.get(suffix, 1e-5))
        np.testing.assert_array_equal(one.numbers, two.numbers)
        assert one.velocities is None
    if not whole:
        with pytest.raises((TrajectoryError, InputError), match=r"give .*topology="):
            list(open_trajectory(tmp_path / f"t.{suffix}"))
    if suffix in {"xtc", "trr", "gro"}:
        assert [f.time for f in found] == pytest.approx([f.time for f in frames], abs=1e-4)


def test_mdtraj_object_with_velocities(tmp_path):
    frames = make_frames(cell=STANDARD_CELL)
    velocities = np.array([f.velocities for f in frames])
    np.save(tmp_path / "v.npy", velocities)
    for given in (velocities, tmp_path / "v.npy", str(tmp_path / "v.npy")):
        trajectory = as_trajectory(as_mdtraj(frames), velocities=given)
        assert len(trajectory) == 5
        assert_same(list(trajectory), frames, rtol=2e-6, atol=2e-6)
        assert_same(list(trajectory.frames(start=2)), frames[2:], rtol=2e-6, atol=2e-6)
        assert trajectory.info()["velocities"] is True
    with pytest.raises(InputError, match=r"velocities have shape \(4, 7, 3\) but mdtraj trajectory gives 5 frames"):
        as_trajectory(as_mdtraj(frames), velocities=velocities[1:])
    with pytest.raises(TrajectoryError, match=r"frame 0: velocities have shape \(5, 6, 3\) but this frame needs"):
        list(as_trajectory(as_mdtraj(frames), velocities=velocities[:, 1:]))
    velocities[3, 2, 1] = np.nan
    with pytest.raises(TrajectoryError, match=r"frame 3: velocities of atom 2 "):
        list(as_trajectory(as_mdtraj(frames), velocities=velocities))


def write_trr(path, frames, forces=None):
    """By MDAnalysis, whose TRR code is GROMACS' own; 50 steps between frames."""
    import MDAnalysis

    universe = MDAnalysis.Universe.empty(frames[0].n_atoms, trajectory=True, velocities=True, forces=forces is not None)
    with MDAnalysis.Writer(str(path), frames[0].n_atoms) as writer:
        for k, frame in enumerate(frames):
            universe.atoms.positions, universe.atoms.velocities = frame.positions, frame.velocities
            if forces is not None:
                universe.atoms.forces = forces[k]
            step = universe.trajectory.ts
            step.dimensions, step.time, step.data["step"] = [11, 12, 13, 90, 90, 90], frame.time, 50 * k
            writer.write(universe.atoms)


def test_trr_against_chemfiles_and_what_was_written(tmp_path):
    import chemfiles

    frames = make_frames()
    write_trr(tmp_path / "t.trr", frames)
    symbols = [{18: "Ar", 36: "Kr", 54: "Xe"}[z] for z in frames[0].numbers]
    found = list(open_trajectory(tmp_path / "t.trr", elements=symbols, leapfrog=False))
    independent = chemfiles.Trajectory(str(tmp_path / "t.trr"))
    for one, two in zip(found, frames, strict=True):
        step = independent.read()
        np.testing.assert_allclose(one.positions, step.positions, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(one.velocities, step.velocities, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(one.velocities, two.velocities, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(one.cell, np.diag([11, 12, 13]), rtol=1e-6)
        assert one.time == pytest.approx(two.time, abs=1e-6)


def test_trr_velocities_are_moved_to_full_steps(tmp_path):
    """A particle on a spring, integrated by leapfrog: moved velocities are those of the exact path to second order."""
    omega, dt = 2.0, 0.01
    mass, spring = 39.948, 39.948 * omega**2  # u/ps²
    times = 1.0 + np.arange(5) * 50 * dt
    frames = [f.replace(time=t) for f, t in zip(make_frames(n_atoms=1), times, strict=True)]
    start = [
        f.replace(
            positions=[[np.cos(omega * t), 0, 0]],
            velocities=[[-omega * np.sin(omega * (t - dt / 2)), 0, 0]],
            numbers=[18],
            masses=[mass],
        )
        for f, t in zip(frames, times, strict=True)
    ]
    # MDAnalysis takes forces in kJ/(mol Å); 1 u Å²/ps² is 0.01 kJ/mol.
    forces = [-spring * f.positions * 0.01 for f in start]
    write_trr(tmp_path / "t.trr", start, forces)
    with pytest.warns(HalfStepWarning, match="moved there with the file's forces"):
        found = list(open_trajectory(tmp_path / "t.trr", elements="Ar"))
    exact = -omega * np.sin(omega * times)
    moved = np.array([f.velocities[0, 0] for f in found])
    stored = np.array([f.velocities[0, 0] for f in start])
    assert np.abs(stored - exact).max() > 0.01
    assert np.abs(moved - exact).max() < 2e-4
