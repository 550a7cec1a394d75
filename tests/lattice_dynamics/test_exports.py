"""Exports as dynasor itself reads them, and as kaldo and gkmx do, step by step."""

from __future__ import annotations

import itertools
import json

import ase.io
import netCDF4
import numpy as np
import pytest
import xarray
from ase import Atoms, units
from ase.geometry import find_mic
from scipy.sparse import load_npz

import fluxan
from fluxan.active.phonon_modes import phonon_modes
from fluxan.errors import InputError, ModelError, OutputError, TrajectoryError
from fluxan.lattice_dynamics.dynasor_export import export_dynasor
from fluxan.lattice_dynamics.gkmx_export import export_gkmx
from fluxan.lattice_dynamics.kaldo_export import export_kaldo
from fluxan.md.ase import FluxanCalculator
from fluxan.system import Frame
from tests.lattice_dynamics.crystals import AR, ARGON, EPSILON, SI, SIGMA, SILICON, harmonic_run, written

SYSTEMS = {"argon": (AR, ARGON, (3, 3, 3)), "silicon": (SI, SILICON, (2, 2, 2))}


@pytest.fixture(scope="module", params=list(SYSTEMS))
def system(request, tmp_path_factory):
    """Folder, file of the primitive cell, model and run."""
    primitive, model, repeats = SYSTEMS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    return folder, written(folder / "cell.xyz", primitive), model, harmonic_run(primitive, model, repeats)


@pytest.fixture(scope="module")
def dynasor_folder(system):
    folder, cell, model, frames = system
    summary = export_dynasor(frames, folder / "dynasor", primitive=cell, model=model, progress=False)
    assert summary == json.loads((folder / "dynasor" / "export.json").read_text())
    assert (summary["n_frames"], summary["time_step"]) == (4, pytest.approx(10.0))
    return folder / "dynasor"


@pytest.fixture
def projector(dynasor_folder, monkeypatch):
    from dynasor import ModeProjector
    from dynasor.modes import mode_projector

    # Compiling it takes 20 s, running it as Python a second.
    monkeypatch.setattr(mode_projector, "get_dynamical_matrix", mode_projector.get_dynamical_matrix.py_func)
    cells = [ase.io.read(dynasor_folder / f"{name}.xyz") for name in ("primitive", "supercell")]
    return ModeProjector(*cells, np.load(dynasor_folder / "force_constants.npy"))


def harmonic_energy(constants, displacements):
    return 0.5 * np.einsum("ia,ijab,jb", displacements, constants, displacements)


def test_dynasor_reads_the_run(system, dynasor_folder):
    from dynasor import Trajectory

    frames = system[3]
    read = Trajectory(str(dynasor_folder / "trajectory.traj"), trajectory_format="ase")
    assert read.cell == pytest.approx(np.asarray(frames[0].cell))
    count = 0
    for frame, expected in zip(read, frames, strict=True):
        assert frame.get_positions_as_array(read.atomic_indices) == pytest.approx(expected.positions, abs=1e-12)
        velocities = frame.get_velocities_as_array(read.atomic_indices)  # Å/fs
        assert 1e3 * velocities == pytest.approx(expected.velocities, rel=1e-6, abs=1e-9)
        count += 1
    assert count == len(frames)


def test_energies_of_dynasor_are_those_of_the_atoms(system, dynasor_folder, projector):
    from dynasor import Trajectory, project_modes

    frames = system[3]
    read = Trajectory(str(dynasor_folder / "trajectory.traj"), trajectory_format="ase")
    ideal = projector.supercell.to_ase()
    amplitudes, momenta = project_modes(read, projector.eigenmodes, ideal)
    for frame, modes, momentum in zip(frames, amplitudes, momenta, strict=True):
        kinetic = 0.5 * np.square(np.abs(momentum)).sum()
        assert kinetic == pytest.approx(frame.kinetic_energies.sum(), rel=1e-6)
        potential = 0.5 * (np.square(np.abs(modes) * projector.omegas)).sum()
        moved = find_mic(frame.positions - ideal.positions, ideal.cell, pbc=True)[0]
        assert np.abs(moved).max() < 0.5
        assert potential == pytest.approx(harmonic_energy(projector.force_constants, moved), rel=1e-6)
        # At 0.1 K anharmonic terms are below 1 % of the model's energy.
        assert potential == pytest.approx(excess(system, frame, ideal), rel=0.02)


def excess(system, frame, ideal):
    """Potential energy of a frame over that of the sites, eV."""
    atoms = [Atoms(frame.numbers, at, cell=frame.cell, pbc=True) for at in (frame.positions, ideal.positions)]
    for one in atoms:
        one.calc = FluxanCalculator(system[2])
    return atoms[0].get_potential_energy() - atoms[1].get_potential_energy()


def test_frequencies_of_dynasor_are_those_of_the_supercell(system, projector):
    own = phonon_modes(projector.force_constants, np.asarray(system[3][0].masses)).mode_frequencies
    found = np.sort(projector.omegas.ravel()) * 1e3 / (2 * np.pi)
    assert np.abs(found[:3]).max() < 1e-6
    assert found[3:] == pytest.approx(own, abs=1e-6)


def frequencies(rows, vectors, site, masses, points):
    """Frequencies, THz, from rows (n_unit, n_atoms, 3, 3) of force constants and vectors of cells, (n_atoms, 3)."""
    n_unit, found = len(rows), []
    for q in points:
        dynamical = np.zeros((n_unit, 3, n_unit, 3), dtype=complex)
        for atom, phase in enumerate(np.exp(2j * np.pi * vectors @ q)):
            dynamical[:, :, site[atom]] += phase * rows[:, atom] / np.sqrt(masses * masses[site[atom]])[:, None, None]
        squares = np.linalg.eigvalsh(dynamical.reshape(3 * n_unit, -1))
        found.append(np.sign(squares) * np.sqrt(np.abs(squares)))
    # ASE's unit of time is √(u Å²/eV); 1/fs is 1000 THz.
    return np.sort(np.ravel(found)) * units.fs * 1e3 / (2 * np.pi)


def grid(repeats):
    return np.array(list(np.ndindex(*repeats))) / np.asarray(repeats)


@pytest.fixture(scope="module")
def gkmx_file(system):
    """What `xarray.open_dataset`, by which gkmx opens its files, gives."""
    folder, cell, model, frames = system
    summary = export_gkmx(frames, folder / "gkmx", primitive=cell, model=model, progress=False)
    assert (summary["n_frames"], summary["time_step"]) == (4, pytest.approx(10.0))
    with xarray.open_dataset(folder / "gkmx" / "trajectory.nc") as dataset:
        return dataset.load()


def test_gkmx_finds_its_names_and_dimensions(system, gkmx_file):
    # gkmx/keys.py: names and dimensions; get_kappa() and open_dataset(): attributes and the unit of the flux.
    dimensions = {
        "positions": ("time", "I", "a"),
        "velocities": ("time", "I", "a"),
        "forces": ("time", "I", "a"),
        "heat_flux": ("time", "a"),
        "temperature": ("time",),
        "force_constants": ("i", "J", "a", "b"),
    }
    assert {name: gkmx_file[name].dims for name in dimensions} == dimensions
    assert gkmx_file.time.values == pytest.approx([0.0, 10.0, 20.0, 30.0], abs=1e-9)
    assert gkmx_file.time.dtype == np.float64
    assert "/ fs" in gkmx_file.heat_flux.units
    frame = system[3][0]
    assert float(gkmx_file.attrs["volume"]) == pytest.approx(frame.volume)
    assert np.asarray(gkmx_file.attrs["masses"]) == pytest.approx(np.asarray(frame.masses))
    supercell = Atoms(**json.loads(gkmx_file.attrs["atoms_supercell"]))
    assert supercell.numbers.tolist() == frame.numbers.tolist()
    assert Atoms(**json.loads(gkmx_file.attrs["atoms_reference"])) == supercell


def test_the_file_of_gkmx_is_one_that_h5netcdf_reads(system, gkmx_file):
    with netCDF4.Dataset(system[0] / "gkmx" / "trajectory.nc") as file:
        assert file.data_model == "NETCDF4"


def test_quantities_of_gkmx_are_those_of_the_run(system, gkmx_file):
    _, _, model, frames = system
    for k, frame in enumerate(frames):
        row = gkmx_file.isel(time=k)
        assert row.positions.values == pytest.approx(frame.positions, abs=1e-12)
        # get_energy_kinetic() of gkmx: ½ m v² is in eV.
        kinetic = 0.5 * np.asarray(frame.masses) @ np.square(row.velocities.values).sum(axis=1)
        assert kinetic == pytest.approx(frame.kinetic_energies.sum(), rel=1e-12)
        atoms = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=True)
        atoms.calc = FluxanCalculator(model)
        assert row.forces.values == pytest.approx(atoms.get_forces(), abs=1e-10)
        flux = fluxan.heat_flux(frame, model)  # eV Å/ps, extensive
        density = 1e-3 / frame.volume
        assert row.heat_flux.values == pytest.approx(density * flux.total, rel=1e-9)
        parts = row.heat_flux_potential + row.heat_flux_convective
        assert parts.values == pytest.approx(row.heat_flux.values, rel=1e-9)
        assert row.heat_flux_potential.values == pytest.approx(density * flux.potential.sum(axis=(0, 1)), rel=1e-9)
        assert float(row.temperature) == pytest.approx(frame.temperature)


def test_frequencies_of_gkmx_are_those_of_the_supercell(system, dynasor_folder, gkmx_file):
    primitive, supercell = (
        Atoms(**json.loads(gkmx_file.attrs[f"atoms_{name}"])) for name in ("primitive", "supercell")
    )
    # map_I_to_iL() of gkmx: each atom of the supercell is an atom of the primitive cell, moved by a lattice vector.
    apart = (supercell.positions[:, None] - primitive.positions) @ np.linalg.inv(primitive.cell.array)
    site = np.abs(apart - np.rint(apart)).max(axis=2).argmin(axis=1)
    vectors = apart[np.arange(len(site)), site]
    assert vectors == pytest.approx(np.rint(vectors), abs=1e-9)
    assert supercell.numbers.tolist() == primitive.numbers[site].tolist()
    repeats = [round(x) for x in np.diag(supercell.cell.array @ np.linalg.inv(primitive.cell.array))]
    rows = gkmx_file["force_constants"].values
    found = frequencies(rows, vectors, site, primitive.get_masses(), grid(repeats))
    constants = np.load(dynasor_folder / "force_constants.npy")
    own = phonon_modes(constants, supercell.get_masses()).mode_frequencies
    assert np.abs(found[:3]).max() < 1e-5
    assert found[3:] == pytest.approx(own, abs=1e-6)


@pytest.fixture(scope="module")
def kaldo_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kaldo")
    cell = written(folder / "si.xyz", SI)
    summary = export_kaldo(cell, folder / "files", supercell=(2, 2, 2), model=SILICON, progress=False)
    assert summary["supercell"] == [2, 2, 2]
    return folder / "files"


def test_frequencies_of_kaldo_are_those_of_the_supercell(kaldo_folder):
    # SecondOrder.load(format="numpy") of kaldo: the unit cell is the first cell, its vectors those of the supercell
    # over the numbers of cells, and masses are those of the elements.
    repeats = np.array([2, 2, 2])
    replicated = ase.io.read(kaldo_folder / "replicated_atoms.xyz", format="extxyz")
    n_unit = len(replicated) // repeats.prod()
    unit = Atoms(replicated.numbers[:n_unit], replicated.positions[:n_unit], cell=replicated.cell / repeats, pbc=True)
    assert unit.cell.array == pytest.approx(np.asarray(SI.cell), abs=1e-9)
    # ForceConstant._detect_replica_order(): all atoms of a cell are moved by the same vector, the last one fastest.
    positions = replicated.positions.reshape(-1, n_unit, 3)
    cells = (positions - unit.positions) @ np.linalg.inv(unit.cell.array)
    assert cells == pytest.approx(np.repeat(np.array(list(np.ndindex(2, 2, 2)))[:, None], n_unit, axis=1), abs=1e-7)
    second = np.load(kaldo_folder / "second.npy")
    assert second.shape == (1, n_unit, 3, 8, n_unit, 3)
    rows = second.reshape(n_unit, 3, len(replicated), 3).transpose(0, 2, 1, 3)
    assert np.abs(rows.sum(axis=1)).max() < 1e-10
    site = np.tile(np.arange(n_unit), 8)
    found = frequencies(rows, cells.reshape(-1, 3), site, unit.get_masses(), grid(repeats))
    frame = Frame(replicated.positions, None, replicated.cell.array, replicated.numbers)
    own = phonon_modes(full(rows, frame, site), np.asarray(frame.masses)).mode_frequencies
    assert found[3:] == pytest.approx(own, abs=1e-6)


def full(rows, frame, site):
    """All force constants of a supercell from those of one cell, by its translations."""
    scaled = frame.positions @ np.linalg.inv(frame.cell)
    found = np.empty((frame.n_atoms, frame.n_atoms, 3, 3))
    for atom in range(frame.n_atoms):
        moved = scaled - scaled[atom] + scaled[site[atom]]
        apart = moved[:, None] - scaled
        partner = np.abs(apart - np.rint(apart)).max(axis=2).argmin(axis=1)
        found[atom] = rows[site[atom], partner]
    return found


def test_third_order_of_kaldo_is_the_derivative_of_the_second(kaldo_folder):
    # ThirdOrder.load(format="numpy"): rows are (i, a, j, b), columns (k, c).
    third = load_npz(kaldo_folder / "third.npz").toarray().reshape(2, 3, 16, 3, 16, 3)
    atoms = ase.io.read(kaldo_folder / "replicated_atoms.xyz", format="extxyz")
    atoms.calc = FluxanCalculator(SILICON)
    h, (i, a), (j, b) = 2e-3, (1, 0), (2, 1)
    forces = {}
    for first in (1, -1):
        for second in (1, -1):
            moved = atoms.copy()
            moved.calc = atoms.calc
            moved.positions[i, a] += first * h
            moved.positions[j, b] += second * h
            forces[first, second] = moved.get_forces()
    expected = -(forces[1, 1] - forces[1, -1] - forces[-1, 1] + forces[-1, -1]) / (4 * h * h)
    assert np.abs(expected).max() > 1
    # Displacements of 0.01 Å leave terms of 1e-4 of the largest force constant, 27 eV/Å³.
    assert third[i, a, j, b] == pytest.approx(expected, abs=3e-3)


def closed_form(cell, displacement, cutoff):
    """Second derivatives of Lennard-Jones energies with respect to an atom and those of a lattice, (n_atoms, 3, 3)."""
    found = np.zeros((len(displacement), 3, 3))
    for shift in itertools.product(range(-3, 4), repeat=3):
        for j, vector in enumerate(displacement + np.array(shift) @ cell):
            r = np.linalg.norm(vector)
            if not 0 < r < cutoff:
                continue
            terms = {n: 4 * EPSILON * sign * (SIGMA / r) ** n for sign, n in ((1, 12), (-1, 6))}
            slope = sum(-n * term / r for n, term in terms.items())
            curvature = sum(n * (n + 1) * term / r**2 for n, term in terms.items())
            along = np.outer(vector, vector) / r**2
            block = curvature * along + slope / r * (np.eye(3) - along)
            found[j] -= block
            found[0] += block
    return found


def test_second_order_of_kaldo_is_the_closed_form(tmp_path):
    cell = written(tmp_path / "ar.xyz", AR)
    options = {"third_order": False, "displacement": 1e-3, "progress": False}
    export_kaldo(cell, tmp_path / "out", supercell=(3, 3, 3), model=ARGON, **options)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"replicated_atoms.xyz", "second.npy", "export.json"}
    atoms = ase.io.read(tmp_path / "out" / "replicated_atoms.xyz")
    rows = np.load(tmp_path / "out" / "second.npy").reshape(3, 27, 3).transpose(1, 0, 2)
    expected = closed_form(atoms.cell.array, atoms.positions - atoms.positions[0], ARGON.cutoff)
    # Displacements of 1e-3 Å leave terms of h² φ⁗/φ″ ≈ 3e-6 of the largest.
    assert np.abs(rows - expected).max() < 1e-5 * np.abs(expected).max()


def test_force_constants_are_symmetric_with_sums_of_zero(system, dynasor_folder):
    constants = np.load(dynasor_folder / "force_constants.npy")
    largest = np.abs(constants).max()
    assert np.abs(constants - constants.transpose(1, 0, 3, 2)).max() < 1e-12 * largest
    assert np.abs(constants.sum(axis=1)).max() < 1e-12 * largest


def test_what_kaldo_would_misread_is_refused(tmp_path):
    cell = written(tmp_path / "ar.xyz", AR)
    with pytest.raises(InputError, match="unequal numbers of oblique cells"):
        export_kaldo(cell, tmp_path / "out", supercell=(2, 2, 3), model=ARGON, progress=False)
    heavy = written(tmp_path / "heavy.xyz", AR.replace(masses=np.array([36.0])))
    with pytest.raises(InputError, match="has a mass of 36 u; kaldo's reader"):
        export_kaldo(heavy, tmp_path / "out", supercell=(2, 2, 2), model=ARGON, progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("export", [export_dynasor, export_gkmx])
def test_runs_that_cannot_be_used_leave_nothing(tmp_path, export):
    cell, frames = written(tmp_path / "ar.xyz", AR), harmonic_run(AR, ARGON, (3, 3, 3))
    cases = {
        "its cell is not that of the first frame": [*frames[:2], frames[2].replace(cell=1.001 * frames[2].cell)],
        "frame 0: there are no velocities": [frame.replace(velocities=None) for frame in frames],
        "frame 2: has no velocities": [*frames[:2], frames[2].replace(velocities=None)],
        "correlations need even spacing": [*frames[:2], frames[2].replace(time=6.0)],
        "it holds one frame only": frames[:1],
    }
    for message, run in cases.items():
        with pytest.raises(TrajectoryError, match=message):
            export(run, tmp_path / "out", primitive=cell, model=ARGON, progress=False)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["ar.xyz"]


def test_outputs_are_not_replaced_unasked(tmp_path):
    cell, frames = written(tmp_path / "ar.xyz", AR), harmonic_run(AR, ARGON, (3, 3, 3))
    options = {"primitive": cell, "model": ARGON, "progress": False}
    export_dynasor(frames, tmp_path / "out", **options)
    with pytest.raises(OutputError, match="exists; choose another name"):
        export_dynasor(frames, tmp_path / "out", **options)
    trajectory = tmp_path / "out" / "trajectory.traj"
    with pytest.raises(OutputError, match=r"holds trajectory\.traj, which is to be exported"):
        export_dynasor(trajectory, tmp_path / "out", overwrite=True, **options)
    with pytest.raises(InputError, match="frames have no times"):
        export_gkmx(trajectory, tmp_path / "gkmx", **options)
    export_dynasor(frames[:3], tmp_path / "out", overwrite=True, **options)
    assert len(fluxan.open_trajectory(trajectory)) == 3


def test_models_of_single_precision_are_refused(tmp_path):
    cell, frames = written(tmp_path / "ar.xyz", AR), harmonic_run(AR, ARGON, (3, 3, 3))

    class Single(fluxan.Potential):
        cutoff = 6.0

        def __init__(self):
            import torch

            super().__init__()
            self.depth = torch.nn.Parameter(torch.tensor(0.01, dtype=torch.float32))

    with pytest.raises(ModelError, match=r"Single is of float32.*dtype=float64"):
        export_dynasor(frames, tmp_path / "out", primitive=cell, model=Single(), progress=False)
