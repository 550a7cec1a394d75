"""Units nobody named, or named wrongly: a temperature far from plausible is questioned, ordinary ones never are."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import ase
import numpy as np
import pytest
from scipy import constants

import fluxan
from fluxan.errors import TrajectoryError, TrajectoryWarning
from fluxan.trajectory import as_trajectory, convert, open_trajectory
from fluxan.trajectory.netcdf_units import factor
from tests.systems import argon_krypton

from .conftest import make_frames
from .test_amber import rewrite
from .test_formats import STANDARD_CELL, as_mdtraj

DATA = Path(__file__).parent / "data"
#: Å/ps per unit, not fluxan's own numbers.
UNITS = {
    "A/fs": 1e3,
    "nm/ps": 10.0,
    "m/s": 1e-2,
    "ase": 1e-2 * np.sqrt(constants.e / constants.atomic_mass),
    "amber": 20.455,
    "atomic": 1e-2 * constants.fine_structure * constants.c,
}


def at(temperature, n_frames=3, **options):
    """Frames of that temperature, K."""
    frames = make_frames(n_frames, 60, **options)
    return [f.replace(velocities=f.velocities * np.sqrt(temperature / f.temperature)) for f in frames]


def questions(trajectory, **how):
    """Warnings of a trajectory that is read to its end."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(trajectory.frames(**how))
    return [str(warning.message) for warning in caught if issubclass(warning.category, TrajectoryWarning)]


def write_dump(path, frames, unit=1.0, header=""):
    lines = []
    for k, frame in enumerate(frames):
        bounds = [f"0 {length}" for length in np.diag(frame.cell)]
        lines += [header] * bool(header and k == 0)
        lines += [
            "ITEM: TIMESTEP",
            str(10 * k),
            "ITEM: NUMBER OF ATOMS",
            str(frame.n_atoms),
            "ITEM: BOX BOUNDS pp pp pp",
        ]
        lines += [*bounds, "ITEM: ATOMS element x y z vx vy vz"]
        lines += [
            " ".join(map(str, [ase.data.chemical_symbols[z], *r, *v]))
            for z, r, v in zip(frame.numbers, frame.positions.tolist(), (frame.velocities / unit).tolist(), strict=True)
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_dump_in_units_real_that_names_no_units():
    trajectory = open_trajectory(DATA / "real_unnamed.lammpstrj", elements="Ar")
    (question,) = questions(trajectory)
    assert question == (
        "real_unnamed.lammpstrj: the temperature is 0.00011 K: are the velocities in A/fs "
        "(units='real'), which makes it 110 K?"
    )
    assert questions(trajectory) == []  # asked once
    assert questions(open_trajectory(DATA / "real_unnamed.lammpstrj", elements="Ar", units="real")) == []


@pytest.mark.parametrize("temperature", [20.0, 110.0, 300.0, 2500.0])
def test_dumps(tmp_path, temperature):
    frames = at(temperature)
    path = write_dump(tmp_path / "t.dump", frames, 1e3)
    assert "are the velocities in" in questions(open_trajectory(path))[0]
    assert questions(open_trajectory(path, units="real")) == []
    path = write_dump(tmp_path / "metal.dump", frames)
    assert questions(open_trajectory(path)) == []
    (question,) = questions(open_trajectory(path, units="real"))
    assert temperature < 30 or "A/ps (units='metal')" in question
    notes = open_trajectory(path).info()["notes"]
    assert notes[0].startswith("units are taken as metal: the dump does not name them")


def test_a_dump_that_names_the_wrong_units(tmp_path):
    path = write_dump(tmp_path / "t.dump", at(300.0), 1e3, header="ITEM: UNITS\nmetal")
    (question,) = questions(open_trajectory(path))
    assert "are the velocities in A/fs, which makes it 300 K?" in question


def test_every_job_checks_the_temperature(tmp_path):
    path = write_dump(tmp_path / "t.dump", argon_krypton(3), 1e3)
    with pytest.warns(TrajectoryWarning, match="A/fs"):
        fluxan.decompose(path, "shipped:ar-kr", progress=False)
    with pytest.warns(TrajectoryWarning, match="A/fs"):
        fluxan.convert(path, tmp_path / "t.nc")
    with pytest.warns(TrajectoryWarning, match="A/fs"):
        open_trajectory(path).info()
    jobs = tmp_path / "jobs.toml"
    jobs.write_text(f'output = "out"\n[[job]]\ntrajectory = "{path}"\nmodel = "shipped:ar-kr"\n')
    commands = (
        ["info", path],
        ["batch", jobs],
        ["decompose", path, "--model", "shipped:ar-kr", "--output", tmp_path / "f.nc"],
    )
    for command in commands:
        run = subprocess.run(
            [sys.executable, "-m", "fluxan.cli", *map(str, command)], capture_output=True, text=True, check=False
        )
        assert run.returncode in {0, 1}, run.stderr
        way = "units='real'" if command[0] == "batch" else "--units real"
        assert run.stderr.count(f"are the velocities in A/fs ({way})") == 1


@pytest.mark.parametrize("unit", UNITS)
def test_extended_xyz(tmp_path, unit):
    (frame,) = at(300.0, 1)
    lines = [str(frame.n_atoms), 'Lattice="11 0 0 0 12 0 0 0 13" Properties=species:S:1:pos:R:3:vel:R:3']
    for z, r, v in zip(frame.numbers, frame.positions, frame.velocities / UNITS[unit], strict=True):
        lines.append(" ".join(map(str, [ase.data.chemical_symbols[z], *r.tolist(), *v.tolist()])))
    path = tmp_path / "t.xyz"
    path.write_text("\n".join(lines) + "\n")
    assert questions(open_trajectory(path, units=unit)) == []
    (question,) = questions(open_trajectory(path, units="A/ps"))
    assert f"{unit} (units='{unit}'), which makes it 300 K" in question


@pytest.mark.parametrize("unit", UNITS)
def test_arrays_and_frames(unit):
    frames = at(300.0, cell=STANDARD_CELL)
    velocities = np.array([frame.velocities for frame in frames])
    assert questions(as_trajectory(as_mdtraj(frames), velocities=velocities)) == []
    wrong = velocities / UNITS[unit]
    for traj in (
        as_trajectory(as_mdtraj(frames), velocities=wrong),
        as_trajectory([frame.replace(velocities=v) for frame, v in zip(frames, wrong, strict=True)]),
    ):
        (question,) = questions(traj)
        assert f"{unit} (multiply them by {UNITS[unit]:.6g}), which makes it 300 K" in question


def test_ase_atoms_with_velocities_in_other_units():
    """``set_velocities`` takes ASE's own unit; Å/ps there are 98 times too fast."""
    atoms = [ase.Atoms(f.numbers, f.positions, cell=f.cell, pbc=True, velocities=f.velocities) for f in at(300.0)]
    (question,) = questions(as_trajectory(atoms))
    assert "are the velocities in A/ps (multiply them by 0.0101805), which makes it 300 K" in question


def test_amber_without_its_scale_factor(tmp_path):
    frames = at(300.0)
    convert(frames, tmp_path / "t.nc", double=True)

    def unscaled(dataset):
        dataset["velocities"][:] = dataset["velocities"][:] / 20.455

    rewrite(tmp_path / "t.nc", unscaled)
    (question,) = questions(open_trajectory(tmp_path / "t.nc"))
    assert "t.nc: the temperature is 0.717 K: are the velocities in amber (units='amber')" in question
    (first, *_) = open_trajectory(tmp_path / "t.nc", units="amber")
    np.testing.assert_allclose(first.velocities, frames[0].velocities, rtol=1e-14)
    # scaled twice
    rewrite(tmp_path / "t.nc", lambda dataset: dataset["velocities"].setncattr("scale_factor", 20.455**2))
    assert "units='amber'" in questions(open_trajectory(tmp_path / "t.nc"))[0]


def moving(frame):
    """Three frames of atoms that keep their velocities."""
    return [frame.replace(positions=frame.positions + 0.01 * k * frame.velocities, time=0.01 * k) for k in range(3)]


def test_cold_runs_warn_unless_displacements_confirm_them():
    """At 3 K atoms that move as far as their velocities say are cold; those that move ten times as far are in nm/ps."""
    assert questions(as_trajectory(moving(at(3.0)[0]))) == []
    slow = [frame.replace(velocities=frame.velocities / 10) for frame in moving(at(300.0)[0])]
    assert "nm/ps (multiply them by 10), which makes it 300 K" in questions(as_trajectory(slow))[0]
    fast = [f.replace(velocities=f.velocities / 10) for f in at(300.0)]
    assert "nm/ps (multiply them by 10), which makes it 300 K" in questions(as_trajectory(fast))[0]
    assert "nm/ps" in questions(as_trajectory(fast[:1]))[0]  # one frame alone
    hot = [f.replace(velocities=f.velocities * 10) for f in at(300.0)]
    assert "are the velocities in A/ps" not in questions(as_trajectory(hot))[0]
    cold = [frame.replace(time=0.01 * k) for k, frame in enumerate(at(1e-3))]
    assert len(questions(as_trajectory(cold))) == 1
    assert len(flux_of(cold)["time"]) == 3  # questioned, not blocked


def flux_of(frames):
    argon = [frame.replace(numbers=np.full(frame.n_atoms, 18), masses=None) for frame in frames]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fluxan.decompose(argon, "shipped:ar", progress=False)


def test_zero_velocities_in_two_frames_warn():
    resting = [frame.replace(velocities=np.zeros((60, 3))) for frame in at(300.0)]
    assert questions(as_trajectory(resting)) == [
        "frames: all velocities are zero in its first two frames: were they never written?"
    ]
    # A run that starts at rest is an ordinary one.
    assert questions(as_trajectory([resting[0], *at(300.0)[1:]])) == []


@pytest.mark.parametrize("temperature", [10.0, 77.0, 300.0, 1500.0, 15000.0])
def test_no_false_alarm(temperature):
    assert questions(as_trajectory(at(temperature))) == []


def test_a_drift_does_not_count_as_temperature():
    drifting = [frame.replace(velocities=frame.velocities + np.array([300.0, 0, 0])) for frame in at(300.0)]
    assert questions(as_trajectory(drifting)) == []


@pytest.mark.parametrize(
    ("name", "elements"), [("ar_liquid", "Ar"), ("arkr_mixture", "Ar,Kr"), ("agi_zincblende", "Ag,I")]
)
def test_no_false_alarm_on_lammps_runs(reference, name, elements):
    path = reference / name / "traj.lammpstrj.gz"
    assert questions(open_trajectory(path, elements=elements, timestep=0.002)) == []
    assert questions(open_trajectory(path, elements=elements)) == []


def test_reduced_units_taken_as_metal(tmp_path):
    """Velocities of order one look like 50 K; 0.8 atoms per cubic Å do not look like anything."""
    rng = np.random.default_rng(0)
    frame = fluxan.Frame(rng.uniform(0, 5, (100, 3)), rng.normal(size=(100, 3)), 5.0 * np.eye(3), [18] * 100)
    (question,) = questions(open_trajectory(write_dump(tmp_path / "t.dump", [frame])))
    assert "there are 0.8 atoms per Å³" in question
    assert "units='lj'" in question


@pytest.mark.parametrize(("length", "asked"), [(10.0, "in nm?"), (1e10, "in m?"), (1e8, "in another unit?")])
def test_lengths_in_larger_units(tmp_path, length, asked):
    rng = np.random.default_rng(0)
    frame = fluxan.Frame(rng.uniform(0, 15, (100, 3)), rng.normal(size=(100, 3)), 15.0 * np.eye(3), [18] * 100)
    small = frame.replace(positions=frame.positions / length, cell=frame.cell / length)
    told = questions(as_trajectory([small]))
    assert f"atoms per Å³: are its lengths {asked}" in told[0]


def write_netcdf(path, frames, units, *, scale=(1.0, 1.0, 1.0, 1.0), program="LAMMPS", angles=90.0):
    """As LAMMPS' ``dump netcdf`` does: times are steps times ``scale_factor``; `units` by variable, or none."""
    import netCDF4

    n_atoms = frames[0].n_atoms
    with netCDF4.Dataset(path, "w", format="NETCDF3_64BIT_DATA") as dataset:
        dataset.Conventions, dataset.program = "AMBER", program
        for name, size in {"frame": None, "atom": n_atoms, "spatial": 3, "cell_spatial": 3, "cell_angular": 3}.items():
            dataset.createDimension(name, size)
        shapes = {
            "time": ("frame",),
            "coordinates": ("frame", "atom", "spatial"),
            "velocities": ("frame", "atom", "spatial"),
            "forces": ("frame", "atom", "spatial"),
            "cell_lengths": ("frame", "cell_spatial"),
            "cell_angles": ("frame", "cell_angular"),
        }
        for name, shape in shapes.items():
            variable = dataset.createVariable(name, "f8", shape)
            if name in units:
                variable.units = units[name]
        dataset["time"].scale_factor = 0.5
        dataset.set_auto_maskandscale(False)
        length, velocity, time, force = scale
        for k, frame in enumerate(frames):
            dataset["time"][k] = frame.time / time / 0.5
            dataset["coordinates"][k], dataset["velocities"][k] = frame.positions / length, frame.velocities / velocity
            dataset["forces"][k] = 1.0 / force
            dataset["cell_lengths"][k], dataset["cell_angles"][k] = np.diag(frame.cell) / length, angles
    return path


BOHR = 0.529177210544
#: Units of time, length, velocity and force, and below what length, velocity, time and force are in fluxan's.
STYLES = {
    "real": ("femtosecond", "angstrom", "angstrom/femtosecond", "(Kcal/mol)/angstrom)"),
    "metal": ("picosecond", "angstrom", "angstrom/picosecond", "eV/angstrom"),
    "si": ("second", "meter", "meter/second", "Newton"),
    "cgs": ("second", "centimeter", "centimeter/second", "dynes"),
    "electron": ("femtoseconds", "Bohr", "Bohr/atomic time units", "Hartree/Bohr"),
    "micro": ("microseconds", "micrometers", "micrometers/microsecond", "picogram * micrometer/microsecond^2"),
    "nano": ("nanoseconds", "nanometers", "nanometers/nanosecond", "attogram * nanometer/nanosecond^2"),
}
SCALES = {
    "real": (1.0, 1e3, 1e-3, 0.0433641),
    "metal": (1.0, 1.0, 1.0, 1.0),
    "si": (1e10, 1e-2, 1e12, 6.241509e8),
    "cgs": (1e8, 1e-4, 1e12, 6241.509),
    "electron": (BOHR, BOHR / 1.03275e-3, 1e-3, 51.42207),
    "micro": (1e4, 1e-2, 1e6, 0.6241509),
    "nano": (10.0, 1e-2, 1e3, 6.241509e-4),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("older", [False, True])
def test_every_style_of_lammps(tmp_path, style, older):
    """What ``dump netcdf`` writes; older releases gave units to the time and the cell alone."""
    time, length, velocity, force = STYLES[style]
    units = {"time": time, "cell_lengths": length, "cell_angles": "degree"}
    if not older:
        units |= {"coordinates": length, "velocities": velocity, "forces": force}
    frames = make_frames()
    trajectory = open_trajectory(write_netcdf(tmp_path / "t.nc", frames, units, scale=SCALES[style]), elements="Ar")
    for one, two in zip(trajectory, frames, strict=True):
        np.testing.assert_allclose(one.positions, two.positions, rtol=1e-7)
        np.testing.assert_allclose(one.velocities, two.velocities, rtol=3e-5)
        np.testing.assert_allclose(np.diag(one.cell), np.diag(two.cell), rtol=1e-7)
        assert one.time == pytest.approx(two.time)
    if not older:
        assert next(iter(trajectory._records(range(1)))).forces == pytest.approx(1.0, rel=1e-5)


def test_reduced_units_of_netcdf(tmp_path):
    units = dict.fromkeys(("time", "coordinates", "velocities", "forces", "cell_lengths"), "lj")
    tau = 3.405 * np.sqrt(39.948 * 1.0364269e-4 / 0.0103235)
    path = write_netcdf(tmp_path / "t.nc", make_frames(), units, scale=(3.405, 3.405 / tau, tau, 1.0))
    with pytest.raises(TrajectoryError, match=r"t\.nc: units='lj' needs epsilon= \(eV\), sigma= \(Å\) and mass= \(u\)"):
        open_trajectory(path, elements="Ar")
    found = list(open_trajectory(path, elements="Ar", epsilon=0.0103235, sigma=3.405, mass=39.948))
    for one, two in zip(found, make_frames(), strict=True):
        np.testing.assert_allclose(one.velocities, two.velocities, rtol=1e-6)
        np.testing.assert_allclose(one.positions, two.positions, rtol=1e-9)
        assert one.time == pytest.approx(two.time, rel=1e-6)


def test_cell_angles_in_radians(tmp_path):
    units = {"cell_angles": "radians"}
    path = write_netcdf(tmp_path / "t.nc", make_frames(), units, program="MMTK", angles=np.pi / 2)
    (first, *_) = open_trajectory(path, elements="Ar")
    np.testing.assert_allclose(first.cell, np.diag([11, 12, 13]), atol=1e-12)


@pytest.mark.parametrize(("name", "unit"), [("coordinates", "ell"), ("cell_lengths", "cubit"), ("cell_angles", "gon")])
def test_units_that_are_needed_block(tmp_path, name, unit):
    path = write_netcdf(tmp_path / "t.nc", make_frames(), {name: unit}, program="other")
    with pytest.raises(TrajectoryError, match=rf"t\.nc: {name} are in '{unit}'; known units are"):
        open_trajectory(path, elements="Ar")


def test_an_unknown_unit_of_velocities_can_be_replaced(tmp_path):
    path = write_netcdf(
        tmp_path / "t.nc", make_frames(), {"velocities": "ell/minute"}, scale=(1, 10, 1, 1), program="X"
    )
    with pytest.raises(TrajectoryError, match=r"velocities are in 'ell/minute'.*units= one of A/ps"):
        open_trajectory(path, elements="Ar")
    (first, *_) = open_trajectory(path, elements="Ar", units="nm/ps")
    np.testing.assert_allclose(first.velocities, make_frames()[0].velocities)


@pytest.mark.parametrize("unit", ["(Kcal/mol)/angstrom)", "stone", ""])
def test_forces_are_ignored_with_a_note(tmp_path, unit):
    path = write_netcdf(tmp_path / "t.nc", make_frames(), {"forces": unit} if unit else {}, program="other")
    trajectory = open_trajectory(path, elements="Ar")
    assert len(list(trajectory)) == 5
    notes = trajectory.info()["notes"]
    assert bool(notes) == (unit != "(Kcal/mol)/angstrom)")
    assert "known units are eV, hartree, kilocalorie/mole" in str(notes) or not unit or not notes


def test_forces_of_an_unknown_unit_move_no_velocities(tmp_path):
    path = write_netcdf(tmp_path / "t.nc", make_frames(), {"forces": "stone"}, program="pmemd")
    with pytest.warns(fluxan.errors.HalfStepWarning, match="stay so, since forces are in 'stone'"):
        list(open_trajectory(path, elements="Ar", timestep=0.001))


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("forces", "kJ/(mol nm)", 1.0364270e-3),
        ("forces", "kilojoule/mole/nanometer", 1.0364270e-3),
        ("forces", "kcal mol-1 angstrom^-1", 0.0433641),
        ("velocities", "nm ps^-1", 10.0),
        ("velocities", "Å/fs", 1e3),
        ("time", "fs", 1e-3),
        ("time", "nanoseconds", 1e3),
        ("coordinates", "nanometers", 10.0),
        ("velocities", "angstrom", None),
        ("time", "", None),
    ],
)
def test_spellings_of_units(name, unit, expected):
    assert factor(name, unit) == (None if expected is None else pytest.approx(expected, rel=1e-6))


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("no_newline_1.lammpstrj", {}, {"n_frames": 1, "n_atoms": 8}),
        ("no_newline_3.lammpstrj", {}, {"n_frames": 3, "n_atoms": 8}),
        ("zero_times.nc", {"timestep": 0.1}, {"has_time": True, "time_step": 0.1}),
        ("lammps_forces.nc", {}, {"n_frames": 3, "notes": []}),
        ("gpumd.xyz", {"units": "A/fs"}, {"has_time": True, "time_step": pytest.approx(0.1)}),
    ],
)
def test_files_that_could_not_be_read(name, options, expected):
    info = open_trajectory(DATA / name, elements="Ar", **options).info()
    assert {key: info[key] for key in expected} == expected
