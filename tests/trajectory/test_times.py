"""Times of frames: as stored where they tell frames apart, else counted; Time= where its writer is known."""

from __future__ import annotations

import numpy as np
import pytest

import fluxan
from fluxan.errors import TrajectoryError, TrajectoryWarning
from fluxan.trajectory import as_trajectory, convert, open_trajectory

from .conftest import make_frames, until_error
from .test_amber import rewrite
from .test_formats import STANDARD_CELL, as_mdtraj, write_trr


def netcdf(tmp_path, times, kind="f8", unit="picosecond"):
    """An AMBER file with these times, in single or double precision."""
    import netCDF4

    frames = make_frames(len(times))
    convert(frames, tmp_path / "a.nc", double=True, overwrite=True)
    with (
        netCDF4.Dataset(tmp_path / "a.nc") as old,
        netCDF4.Dataset(tmp_path / "t.nc", "w", format="NETCDF3_64BIT_DATA") as new,
    ):
        for name, dimension in old.dimensions.items():
            new.createDimension(name, None if dimension.isunlimited() else len(dimension))
        for name, variable in old.variables.items():
            copy = new.createVariable(name, kind if name == "time" else variable.dtype, variable.dimensions)
            copy.setncatts({key: variable.getncattr(key) for key in variable.ncattrs()})
            copy[...] = times if name == "time" else variable[...]
        new["time"].units = unit
    return tmp_path / "t.nc"


def times_of(trajectory, **how):
    return [frame.time for frame in trajectory.frames(**how)]


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("constant", [0.0, 7.5])
def test_equal_times_are_ignored(tmp_path, constant, kind):
    path = netcdf(tmp_path, [constant] * 5, kind)
    trajectory = open_trajectory(path)
    with pytest.warns(TrajectoryWarning, match=rf"its times are all equal \({constant:g} ps\).*give timestep="):
        assert times_of(trajectory) == [0, 1, 2, 3, 4]
    assert trajectory.has_time is False
    assert times_of(trajectory, start=2) == [2, 3, 4]
    given = open_trajectory(path, timestep=0.1)
    assert times_of(given) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert given.has_time is True
    assert times_of(open_trajectory(path, timestep=0.1, start=1, stride=2)) == pytest.approx([0.1, 0.3])
    assert times_of(open_trajectory(path, timestep=0.1), start=3) == pytest.approx([0.3, 0.4])


@pytest.mark.parametrize("unset", [9.969209968386869e36, np.nan])
def test_times_that_were_never_written(tmp_path, unset):
    trajectory = open_trajectory(netcdf(tmp_path, [unset] * 5, "f4"))
    with pytest.warns(TrajectoryWarning, match=r"its times are no numbers, as where they were never set: .*timestep="):
        assert times_of(trajectory) == [0, 1, 2, 3, 4]


def test_equal_steps_are_ignored(tmp_path):
    """Dumps of scripts that never set their step: frames are counted; two equal ones alone may be a joint of runs."""
    frame = "ITEM: TIMESTEP\n7\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n0 9\n0 9\n0 9\n"
    frame += "ITEM: ATOMS id element x y z vx vy vz\n1 Ar 1 2 3 1 0 0\n"
    (tmp_path / "a.lammpstrj").write_text(4 * frame)
    options = {"units": "metal"}
    with pytest.warns(TrajectoryWarning, match=r"its MD steps are all equal \(7\).*give timestep= per frame"):
        assert times_of(open_trajectory(tmp_path / "a.lammpstrj", **options)) == [0, 1, 2, 3]
    given = open_trajectory(tmp_path / "a.lammpstrj", timestep=0.5, **options)
    assert times_of(given) == pytest.approx([0, 0.5, 1.0, 1.5])
    assert "its MD steps are all equal (7)" in " ".join(given.info()["notes"])
    (tmp_path / "a.lammpstrj").write_text(2 * frame)
    with pytest.raises(TrajectoryError, match="steps must grow"):
        times_of(open_trajectory(tmp_path / "a.lammpstrj", timestep=0.5, **options))


def test_trr_without_times_counts_its_steps(tmp_path):
    write_trr(tmp_path / "t.trr", [frame.replace(time=0.0) for frame in make_frames()])
    options = {"elements": "Ar", "leapfrog": False}
    with pytest.warns(TrajectoryWarning, match=r"t\.trr: its times are all equal \(0 ps\)"):
        assert times_of(open_trajectory(tmp_path / "t.trr", **options)) == [0, 1, 2, 3, 4]
    # 50 steps between frames
    assert times_of(open_trajectory(tmp_path / "t.trr", timestep=0.002, **options)) == pytest.approx(
        [0, 0.1, 0.2, 0.3, 0.4]
    )


def test_mdtraj_and_frames_with_equal_times():
    frames = [frame.replace(time=3.0) for frame in make_frames(cell=STANDARD_CELL)]
    for traj in (as_mdtraj(frames), frames, iter(frames)):
        trajectory = as_trajectory(traj)
        with pytest.warns(TrajectoryWarning, match=r"all equal \(3 ps\)"):
            assert times_of(trajectory) == [0, 1, 2, 3, 4]
        assert not trajectory.has_time
    velocities = np.array([frame.velocities for frame in frames])
    trajectory = as_trajectory(as_mdtraj(frames), velocities=velocities)
    with pytest.warns(TrajectoryWarning, match="all equal"):
        list(trajectory)
    assert not trajectory.has_time


def test_flux_of_a_file_without_times(tmp_path, recwarn):
    path = netcdf(tmp_path, [0.0] * 5)
    with pytest.warns(TrajectoryWarning, match="all equal"):
        counted = fluxan.decompose(path, "shipped:ar", reader={"elements": "Ar"}, progress=False)
    assert counted.attrs["time_unit"] == "frame"
    given = fluxan.decompose(path, "shipped:ar", reader={"elements": "Ar", "timestep": 0.01}, progress=False)
    assert given.attrs["time_unit"] == "ps"
    assert given.attrs["time_step"] == pytest.approx(0.01)


def test_joined_runs_are_still_refused(tmp_path):
    """Two equal times among others are a frame that is repeated, not a file without times."""
    for kind in ("f4", "f8"):
        found, message = until_error(open_trajectory(netcdf(tmp_path, [0, 0, 0.1, 0.2], kind)))
        assert len(found) == 1
        assert message == "t.nc, frame 1: time 0 ps follows 0 ps; time must grow"
        assert "follows 0.2 ps" in until_error(open_trajectory(netcdf(tmp_path, [0, 0.1, 0.2, 0.2], kind)))[1]


@pytest.mark.parametrize("begin", [1e6, 131072.0, 5e4])
def test_times_too_coarse_for_the_spacing(tmp_path, begin):
    """Single precision at 1e6 ps is rounded to 0.06 ps: two times may give any spacing, the whole file does not."""
    times = begin + 0.01 * np.arange(8000)
    path = netcdf(tmp_path, times.astype(np.float32), "f4")
    trajectory = open_trajectory(path)
    found = times_of(trajectory)
    spacing = np.diff(found)
    assert spacing == pytest.approx(0.01, rel=2e-3)
    np.testing.assert_allclose(found, times, atol=0.07)
    assert times_of(open_trajectory(path), start=1234) == found[1234:]
    assert times_of(open_trajectory(path, start=3, stride=10)) == pytest.approx(found[3::10], abs=0.07)
    assert "too coarse" in trajectory.info()["notes"][0]


def test_times_that_become_too_coarse(tmp_path):
    """Fine at first, standing still at the end: the frames are read, with the times that are stored."""
    times = np.float32(np.concatenate([0.01 * np.arange(3), 1e6 + 0.01 * np.arange(20)]))
    found = times_of(open_trajectory(netcdf(tmp_path, times, "f4")))
    assert len(set(found[3:])) < 10
    np.testing.assert_array_equal(found, times)


def test_coarse_times_of_a_short_or_uneven_file(tmp_path):
    uneven = 1e6 + np.cumsum([0, 0.01, 0.01, 30.0, 0.01, 0.01, 60.0])
    for times in (1e6 + 0.01 * np.arange(6), uneven):
        with pytest.warns(TrajectoryWarning, match=r"do not tell frames apart \(1000000, .*give timestep="):
            assert times_of(open_trajectory(netcdf(tmp_path, np.float32(times), "f4"))) == list(range(len(times)))


@pytest.mark.parametrize("unit", ["lj", "MD steps", "fortnights"])
def test_times_in_an_unknown_unit(tmp_path, unit):
    path = netcdf(tmp_path, 0.1 * np.arange(4), unit=unit)
    with pytest.warns(TrajectoryWarning, match=r"they are not used.*give timestep="):
        assert times_of(open_trajectory(path)) == [0, 1, 2, 3]
    assert times_of(open_trajectory(path, timestep=0.5)) == [0, 0.5, 1, 1.5]


COLUMNS = "Properties=species:S:1:pos:R:3:vel:R:3"
LATTICE = 'Lattice="20 0 0 0 20 0 0 0 20"'
WRITERS = {
    "GPUMD": 'Time={fs:.8f} pbc="T T T" {lattice} energy=-1.5 {columns}',
    "GPUMD replica exchange": 'Time={fs:.8f} step={step} replica=0 pbc="T T T" {lattice} {columns}',
    "LAMMPS metal": 'Timestep={step} Time={ps:.6f} pbc="T T T" {lattice} Temperature=90 {columns}',
    "LAMMPS real": 'Timestep={step} Time={fs:.6f} pbc="T T T" {lattice} {columns}',
    "unknown": "{lattice} Time={ps:.4f} {columns}",
    "CP2K": " i = {step:8d}, time = {fs:12.3f}, E = {ps:20.10f}",
}
UNITS = {"LAMMPS metal": "metal", "LAMMPS real": "real", "unknown": "A/ps"}


def xyz(tmp_path, writer, *, steps=(0, 50, 100, 150), timeless=()):
    """Two atoms of about 100 K, 50 steps of 2 fs between frames."""
    factor = 1e-3 if "GPUMD" in writer or "real" in writer else 1.0
    lines = []
    for k, step in enumerate(steps):
        comment = WRITERS[writer].format(fs=2.0 * step, ps=0.002 * step, step=step, lattice=LATTICE, columns=COLUMNS)
        if k in timeless:
            comment = " ".join(word for word in comment.split(" ") if not word.startswith("Time="))
        velocities = "" if writer == "CP2K" else " {:.8f} 0 0"
        lines += ["2", comment, *("Ar 1 1 1" + velocities.format(v * factor) for v in (3.0, -3.0))]
    path = tmp_path / "dump.xyz"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("writer", ["GPUMD", "GPUMD replica exchange", "LAMMPS metal", "LAMMPS real", "CP2K"])
def test_times_of_known_writers(tmp_path, writer):
    options = {} if writer == "CP2K" else {"units": UNITS.get(writer, "A/fs")}
    trajectory = open_trajectory(xyz(tmp_path, writer), **options)
    assert times_of(trajectory) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert trajectory.has_time
    assert trajectory.info()["time_step"] == pytest.approx(0.1)
    assert times_of(trajectory, start=2) == pytest.approx([0.2, 0.3])


def test_timestep_takes_precedence_over_time(tmp_path):
    """It means what it always did: ps per step where there are steps, per frame otherwise."""
    assert times_of(open_trajectory(xyz(tmp_path, "GPUMD"), units="A/fs", timestep=0.1)) == pytest.approx(
        [0, 0.1, 0.2, 0.3]
    )
    path = xyz(tmp_path, "LAMMPS metal")
    assert times_of(open_trajectory(path, units="metal", timestep=0.002)) == pytest.approx([0, 0.1, 0.2, 0.3])
    trajectory = open_trajectory(path, units="metal", timestep=0.001)
    with pytest.warns(TrajectoryWarning, match=r"times are 0.1 ps apart, by timestep= 0.05 ps; timestep= is"):
        assert times_of(trajectory) == pytest.approx([0, 0.05, 0.1, 0.15])


def test_time_in_an_ambiguous_unit(tmp_path):
    path = xyz(tmp_path, "unknown")
    with pytest.warns(TrajectoryWarning, match=r"the unit of its Time= is ambiguous .*give timestep="):
        assert times_of(open_trajectory(path, units="A/ps")) == [0, 1, 2, 3]
    assert times_of(open_trajectory(path, units="A/ps", timestep=0.1)) == pytest.approx([0, 0.1, 0.2, 0.3])
    path.write_text(xyz(tmp_path, "LAMMPS metal").read_text().replace(":vel:R:3", ":forces:R:3"))
    with pytest.warns(TrajectoryWarning, match=r"ps in units metal and fs in real: name them with units="):
        list(open_trajectory(path))
    assert times_of(open_trajectory(path, units="metal")) == pytest.approx([0, 0.1, 0.2, 0.3])


def test_equal_times_of_gpumd(tmp_path):
    path = xyz(tmp_path, "GPUMD", steps=(0, 0, 0))
    with pytest.warns(TrajectoryWarning, match="all equal"):
        assert times_of(open_trajectory(path, units="A/fs")) == [0, 1, 2]


def test_only_some_frames_have_times(tmp_path):
    path = xyz(tmp_path, "GPUMD", timeless=[1])
    with pytest.warns(TrajectoryWarning, match="only some of its frames have times: they are not used"):
        assert times_of(open_trajectory(path, units="A/fs")) == [0, 1, 2, 3]
    found, message = until_error(open_trajectory(xyz(tmp_path, "GPUMD", timeless=[3]), units="A/fs"))
    assert len(found) == 3
    assert message.startswith("dump.xyz, frame 3: has no time, the frames before had; give timestep=")
    assert times_of(open_trajectory(path, units="A/fs", timestep=0.1)) == pytest.approx([0, 0.1, 0.2, 0.3])


def test_times_of_a_dump_against_the_timestep(tmp_path):
    head = "ITEM: TIME\n{time}\nITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n2\n"
    box = "ITEM: BOX BOUNDS pp pp pp\n0 9\n0 9\n0 9\n"
    rows = box + "ITEM: ATOMS id type x y z vx vy vz\n1 1 1 1 1 3 0 0\n2 1 5 5 5 -3 0 0\n"
    path = tmp_path / "t.dump"
    path.write_text("".join(head.format(time=0.002 * step, step=step) + rows for step in (0, 50, 100)))
    assert times_of(open_trajectory(path, elements="Ar", timestep=0.002)) == pytest.approx([0, 0.1, 0.2])
    with pytest.warns(TrajectoryWarning, match=r"by timestep= 100 ps; the file's times are used"):
        assert times_of(open_trajectory(path, elements="Ar", timestep=2.0)) == pytest.approx([0, 0.1, 0.2])


def test_a_trajectory_is_not_read_for_its_times(tmp_path, monkeypatch):
    """No more than the first frames are read to settle the clock of an ordinary file."""
    frames = make_frames(50)
    convert(frames, tmp_path / "t.nc", double=True)
    trajectory = open_trajectory(tmp_path / "t.nc")
    read = []
    whole = trajectory._file.read_frames
    monkeypatch.setattr(
        trajectory._file, "read_frames", lambda names, first, count: read.append(first) or whole(names, first, count)
    )
    assert next(trajectory.frames(start=40)).time == frames[40].time
    assert read == [0, 40]


def test_velocity_units_with_rewrite(tmp_path):
    """Forces in words nobody knows are set aside, with a note."""
    convert(make_frames(), tmp_path / "t.nc")

    def add_forces(dataset):
        dataset.createVariable("forces", "f4", ("frame", "atom", "spatial")).units = "stone * ell/minute^2"

    rewrite(tmp_path / "t.nc", add_forces)
    trajectory = open_trajectory(tmp_path / "t.nc")
    assert len(list(trajectory)) == 5
    assert "they are set aside" in trajectory.info()["notes"][0]
