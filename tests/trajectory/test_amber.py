"""AMBER NetCDF: round trips to the last bit, other programs' readers and writers, units, damaged files."""

from __future__ import annotations

import resource

import numpy as np
import pytest
from scipy.io import netcdf_file

from fluxan.errors import HalfStepWarning, OutputError, TrajectoryError
from fluxan.trajectory import AmberContents, AmberWriter, convert, open_trajectory

from .conftest import GENERAL_CELL, assert_same, make_frames, until_error


@pytest.mark.parametrize("cell", [None, GENERAL_CELL], ids=["orthogonal", "general triclinic"])
def test_float64_round_trip_is_exact(tmp_path, cell):
    frames = make_frames(cell=cell)
    assert convert(frames, tmp_path / "t.nc", double=True) == len(frames)
    assert_same(list(open_trajectory(tmp_path / "t.nc")), frames)


def test_float32_round_trip_is_single_precision(tmp_path):
    frames = make_frames()
    convert(frames, tmp_path / "t.nc")
    assert_same(list(open_trajectory(tmp_path / "t.nc")), frames, rtol=1e-6)


def test_raw_variables_follow_the_convention(tmp_path):
    frames = make_frames(cell=GENERAL_CELL)
    convert(frames, tmp_path / "t.nc")
    with netcdf_file(tmp_path / "t.nc", mmap=False) as file:
        assert file.Conventions == b"AMBER"
        assert file.variables["velocities"].units == b"angstrom/picosecond"
        assert not hasattr(file.variables["velocities"], "scale_factor")
        assert file.variables["coordinates"].data.dtype.kind == "f"
        np.testing.assert_allclose(file.variables["velocities"][2], frames[2].velocities, rtol=1e-6)
        lengths = np.linalg.norm(frames[1].cell, axis=1)
        np.testing.assert_allclose(file.variables["cell_lengths"][1], lengths, rtol=1e-15)
        assert b"".join(file.variables["cell_angular"][1]) == b"beta "


def test_reference_dump_through_float64(tmp_path, reference):
    path = reference / "arkr_mixture" / "traj.lammpstrj.gz"
    options = {"elements": ["Ar", "Kr"], "timestep": 0.002}
    n_frames = convert(path, tmp_path / "t.nc", double=True, **options)
    frames = list(open_trajectory(path, **options))
    assert n_frames == len(frames) == 40
    assert_same(list(open_trajectory(tmp_path / "t.nc")), frames)


def test_writer_stores_the_model(tmp_path):
    frame = make_frames(1)[0]
    contents = AmberContents(numbers=frame.numbers, masses=frame.masses, model_text="kind = 'x'\n")
    with AmberWriter(tmp_path / "t.nc", contents) as out:
        out.write(frame)
    assert open_trajectory(tmp_path / "t.nc").model_text == "kind = 'x'\n"


def rewrite(path, change):
    """Open a NetCDF file for changes by netCDF4."""
    import netCDF4

    with netCDF4.Dataset(path, "a") as dataset:
        dataset.set_auto_maskandscale(False)
        change(dataset)


def test_scale_factor_is_applied_once(tmp_path):
    """AMBER's own files: velocities in Å per 1/20.455 ps with scale_factor 20.455."""
    frames = make_frames()
    convert(frames, tmp_path / "t.nc", double=True)

    def change(dataset):
        dataset["velocities"].scale_factor = 20.455
        dataset["velocities"][:] = dataset["velocities"][:] / 20.455

    rewrite(tmp_path / "t.nc", change)
    assert_same(list(open_trajectory(tmp_path / "t.nc")), frames, rtol=1e-15)


@pytest.mark.parametrize(
    ("name", "unit", "factor"),
    [
        ("velocities", "nanometer/picosecond", 10.0),
        ("velocities", "Angstrom/femtosecond", 1000.0),
        ("coordinates", "nanometers", 10.0),
        ("time", "femtosecond", 1e-3),
    ],
)
def test_units_are_honoured(tmp_path, name, unit, factor):
    frames = make_frames()
    convert(frames, tmp_path / "t.nc", double=True)
    slower = factor if name == "velocities" else 1.0  # the temperature stays plausible

    def change(dataset):
        dataset[name].units = unit
        dataset[name][:] = dataset[name][:] / slower

    rewrite(tmp_path / "t.nc", change)
    frame = list(open_trajectory(tmp_path / "t.nc"))[2]
    field = {"coordinates": "positions"}.get(name, name)
    expected = factor / slower * np.asarray(getattr(frames[2], field))
    np.testing.assert_allclose(getattr(frame, field), expected, rtol=1e-15)


def test_unknown_unit_is_refused(tmp_path):
    convert(make_frames(), tmp_path / "t.nc")
    rewrite(tmp_path / "t.nc", lambda dataset: dataset["velocities"].setncattr("units", "furlong/fortnight"))
    with pytest.raises(TrajectoryError, match=r"t\.nc: velocities are in 'furlong/fortnight'; known units"):
        open_trajectory(tmp_path / "t.nc")


@pytest.mark.parametrize("model", ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT_DATA"])
def test_every_netcdf_model(tmp_path, model):
    """The same file copied into other NetCDF formats by netCDF4."""
    import netCDF4

    frames = make_frames(cell=GENERAL_CELL)
    convert(frames, tmp_path / "t.nc", double=True)
    with netCDF4.Dataset(tmp_path / "t.nc") as old, netCDF4.Dataset(tmp_path / "u.nc", "w", format=model) as new:
        new.setncatts({name: old.getncattr(name) for name in old.ncattrs()})
        for name, dimension in old.dimensions.items():
            new.createDimension(name, None if dimension.isunlimited() else len(dimension))
        for name, variable in old.variables.items():
            copy = new.createVariable(name, variable.dtype, variable.dimensions)
            copy.setncatts({key: variable.getncattr(key) for key in variable.ncattrs()})
            copy[...] = variable[...]
    assert_same(list(open_trajectory(tmp_path / "u.nc")), frames)
    assert_same(list(open_trajectory(tmp_path / "u.nc", start=1, stride=2)), frames[1::2])


def test_other_readers_understand_what_is_written(tmp_path):
    """mdtraj and MDAnalysis, which know nothing of the extensions."""
    import MDAnalysis
    import mdtraj

    from fluxan.trajectory.mdtraj_worker import nameless_topology

    cell = np.array([[11.0, 0, 0], [2.0, 12.0, 0], [-1.0, 3.0, 13.0]])
    frames = make_frames(cell=cell)
    convert(frames, tmp_path / "t.nc")
    loaded = mdtraj.load_netcdf(str(tmp_path / "t.nc"), top=nameless_topology(7))
    np.testing.assert_allclose(loaded.xyz * 10, [f.positions for f in frames], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(loaded.unitcell_vectors * 10, [f.cell for f in frames], rtol=1e-5, atol=1e-5)
    universe = MDAnalysis.Universe.empty(7, trajectory=False)
    universe.load_new(str(tmp_path / "t.nc"), format="NCDF")
    velocities = [step.velocities.copy() for step in universe.trajectory]
    np.testing.assert_allclose(velocities, [f.velocities for f in frames], rtol=1e-5, atol=1e-5)


def test_files_of_other_writers_need_elements(tmp_path):
    """MDAnalysis' writer: no elements, and velocities with AMBER's scale factor."""
    import MDAnalysis

    frames = make_frames()
    universe = MDAnalysis.Universe.empty(7, trajectory=True, velocities=True)
    with MDAnalysis.Writer(str(tmp_path / "t.nc"), 7, format="NCDF", velocities=True) as writer:
        for frame in frames:
            universe.atoms.positions, universe.atoms.velocities = frame.positions, frame.velocities
            universe.dimensions = [*np.diag(frame.cell), 90, 90, 90]
            universe.trajectory.ts.time = frame.time
            writer.write(universe.atoms)
    with pytest.raises(TrajectoryError, match=r"names no elements; give elements= .* or topology="):
        list(open_trajectory(tmp_path / "t.nc"))
    with pytest.raises(TrajectoryError, match=r"elements has 3 names but t\.nc has 7 atoms"):
        list(open_trajectory(tmp_path / "t.nc", elements="Ar,Kr,Xe"))
    found = list(
        open_trajectory(tmp_path / "t.nc", elements=[{18: "Ar", 36: "Kr", 54: "Xe"}[z] for z in frames[0].numbers])
    )
    assert_same(found, frames, rtol=2e-6, atol=1e-6)


def test_leapfrog_velocities_of_sander(tmp_path):
    """Said where the file has no forces, moved by half a kick where it has."""
    frames = make_frames()
    convert(frames, tmp_path / "t.nc", double=True)
    rewrite(tmp_path / "t.nc", lambda dataset: dataset.setncattr("program", "pmemd.cuda"))
    trajectory = open_trajectory(tmp_path / "t.nc")
    with pytest.warns(HalfStepWarning, match="stay so, since the file has no forces"):
        assert_same(list(trajectory), frames)
    assert "half an MD step" in trajectory.info()["notes"][0]
    assert_same(list(open_trajectory(tmp_path / "t.nc", leapfrog=False)), frames)
    force = np.random.default_rng(5).normal(size=(5, 7, 3))

    def add_forces(dataset):
        forces = dataset.createVariable("forces", "f8", ("frame", "atom", "spatial"))
        forces.units, forces[:] = "kilocalorie/mole/angstrom", force

    rewrite(tmp_path / "t.nc", add_forces)
    with pytest.warns(HalfStepWarning, match="were moved"):
        moved = list(open_trajectory(tmp_path / "t.nc", timestep=0.002))
    # 1 kcal/mol/Å is 418.4 u Å/ps²: an SI number, not fluxan's own constants.
    for frame, old, f in zip(moved, frames, force, strict=True):
        expected = old.velocities + 0.001 * 418.4 * f / old.masses[:, None]
        np.testing.assert_allclose(frame.velocities, expected, rtol=1e-6, atol=1e-9)


def test_cut_file_keeps_the_frames_before(tmp_path):
    frames = make_frames()
    convert(frames, tmp_path / "t.nc", double=True)
    data = (tmp_path / "t.nc").read_bytes()
    (tmp_path / "cut.nc").write_bytes(data[:-700])
    found, message = until_error(open_trajectory(tmp_path / "cut.nc"))
    assert_same(found, frames[: len(found)])
    assert len(found) == 3
    assert message == "cut.nc, frame 3: the file is cut within this frame; 3 are whole"


def test_clusters_and_slabs(tmp_path):
    cluster = [f.replace(cell=None, pbc=(False, False, False)) for f in make_frames(3)]
    convert(cluster, tmp_path / "c.nc", double=True)
    assert all(f.cell is None for f in open_trajectory(tmp_path / "c.nc"))
    slab = [f.replace(pbc=(True, True, False)) for f in make_frames(3)]
    convert(slab, tmp_path / "s.nc", double=True)
    assert [f.pbc for f in open_trajectory(tmp_path / "s.nc")] == [(True, True, False)] * 3
    assert open_trajectory(tmp_path / "s.nc").info()["cell"] == "orthogonal, open along c"


def test_output_is_never_overwritten_unasked(tmp_path):
    frames = make_frames(2)
    convert(frames, tmp_path / "t.nc")
    before = (tmp_path / "t.nc").read_bytes()
    with pytest.raises(OutputError, match="exists; choose another name or say overwrite=True"):
        convert(frames, tmp_path / "t.nc")
    assert (tmp_path / "t.nc").read_bytes() == before
    assert convert(frames, tmp_path / "t.nc", overwrite=True) == 2
    with pytest.raises(OutputError, match="cannot be written"):
        convert(frames, tmp_path / "missing" / "t.nc")


def test_failed_conversion_leaves_nothing(tmp_path):
    frames = make_frames(3)

    def broken():
        yield from frames
        yield frames[2].replace(time=-1.0)

    with pytest.raises(TrajectoryError, match=r"frames, frame 3: time -1 ps follows 1\.02 ps"):
        convert(broken(), tmp_path / "t.nc")
    assert list(tmp_path.iterdir()) == []


def test_disk_full(tmp_path):
    """A limit on the file's size stands for the full disk: the system call that writes fails alike."""
    frames = make_frames(1, n_atoms=1000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def endless():
        for k in range(100_000):
            yield frames[0].replace(time=float(k))

    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(OutputError, match=r"t\.nc.* cannot be written"):
            convert(endless(), tmp_path / "t.nc")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_atoms_are_sorted_by_id(tmp_path):
    """LAMMPS' ``dump netcdf`` writes AMBER files whose atoms change places from frame to frame, with ids and types."""
    import netCDF4

    frames = make_frames()
    rng = np.random.default_rng(3)
    kinds = {18: 1, 36: 2, 54: 3}
    with netCDF4.Dataset(tmp_path / "t.nc", "w", format="NETCDF3_64BIT_OFFSET") as dataset:
        dataset.Conventions, dataset.program = "AMBER", "LAMMPS"
        for name, size in {"frame": None, "atom": 7, "spatial": 3, "cell_spatial": 3}.items():
            dataset.createDimension(name, size)
        dataset.createVariable("time", "f8", ("frame",)).units = "picosecond"
        dataset.createVariable("id", "i4", ("frame", "atom"))
        dataset.createVariable("type", "i4", ("frame", "atom"))
        dataset.createVariable("coordinates", "f8", ("frame", "atom", "spatial")).units = "Angstrom"
        dataset.createVariable("velocities", "f8", ("frame", "atom", "spatial")).units = "Angstrom/picosecond"
        dataset.createVariable("cell_lengths", "f8", ("frame", "cell_spatial")).units = "Angstrom"
        for k, frame in enumerate(frames):
            order = rng.permutation(7)
            dataset["time"][k], dataset["cell_lengths"][k] = frame.time, np.diag(frame.cell)
            dataset["id"][k], dataset["type"][k] = order + 1, [kinds[z] for z in frame.numbers[order]]
            dataset["coordinates"][k], dataset["velocities"][k] = frame.positions[order], frame.velocities[order]
    assert_same(list(open_trajectory(tmp_path / "t.nc", elements="Ar,Kr,Xe")), frames, rtol=1e-15, atol=1e-15)
    with pytest.raises(TrajectoryError, match="has types 1 to 3 without elements"):
        list(open_trajectory(tmp_path / "t.nc"))
