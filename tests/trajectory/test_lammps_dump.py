"""LAMMPS dumps: the reference files, every kind of box and column, units; data/ holds what LAMMPS itself wrote."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import zstandard

from fluxan.errors import InputError, TrajectoryError
from fluxan.trajectory import open_trajectory

from .conftest import until_error

DATA = Path(__file__).parent / "data"
BOXES = ("orthogonal", "restricted", "general")


def minimum_image_distances(frame):
    """All distances under the minimum image, by brute force over the neighbouring images."""
    steps = np.array(list(np.ndindex(7, 7, 7))) - 3
    r = frame.positions[:, None] - frame.positions
    fractional = r @ np.linalg.inv(frame.cell)
    r = (fractional - np.rint(fractional)) @ frame.cell
    return np.linalg.norm(r[:, :, None] + steps @ frame.cell, axis=-1).min(axis=-1)


def test_reference_dump_line_by_line(reference):
    path = reference / "agi_zincblende" / "traj.lammpstrj.gz"
    with gzip.open(path, "rt") as file:
        lines = file.read().splitlines()
    frames = list(open_trajectory(path, elements=["Ag", "I"], timestep=0.002))
    per_frame = 9 + 216
    assert len(frames) == len(lines) // per_frame == 40
    for k, frame in enumerate(frames):
        rows = [line.split() for line in lines[k * per_frame + 9 : (k + 1) * per_frame]]
        rows.sort(key=lambda row: int(row[0]))
        np.testing.assert_array_equal(frame.positions, [[float(x) for x in row[3:6]] for row in rows])
        np.testing.assert_array_equal(frame.velocities, [[float(x) for x in row[6:9]] for row in rows])
        np.testing.assert_array_equal(frame.masses, [float(row[2]) for row in rows])
        np.testing.assert_array_equal(frame.numbers, [{"1": 47, "2": 53}[row[1]] for row in rows])
        assert frame.time == int(lines[k * per_frame + 1]) * 0.002


@pytest.mark.parametrize("box", BOXES)
def test_all_position_columns_agree(box):
    """x, xs, xu and xsu of one run, in other orders of columns and atoms, with type or element."""
    read = {kind: list(open_trajectory(DATA / f"{box}_{kind}.dump", elements="Ar,Kr")) for kind in ("x", "xsu")}
    read |= {kind: list(open_trajectory(DATA / f"{box}_{kind}.dump")) for kind in ("xs", "xu")}
    for kind in ("xs", "xu", "xsu"):
        assert len(read[kind]) == len(read["x"]) == 3
        for one, two in zip(read[kind], read["x"], strict=True):
            np.testing.assert_array_equal(one.numbers, two.numbers)
            np.testing.assert_allclose(one.cell, two.cell, rtol=1e-14, atol=1e-13)
            np.testing.assert_allclose(one.velocities, two.velocities, rtol=1e-11, atol=1e-13)
            shift = (one.positions - two.positions) @ np.linalg.inv(two.cell)
            np.testing.assert_allclose(shift, np.rint(shift), atol=1e-12)


def test_general_triclinic_is_the_restricted_one_rotated():
    """LAMMPS wrote the same run in its own restricted orientation: distances and speeds are equal."""
    general = list(open_trajectory(DATA / "general_x.dump", elements="Ar,Kr"))
    rotated = list(open_trajectory(DATA / "general_rotated.dump", elements="Ar,Kr"))
    assert not np.allclose(general[0].positions, rotated[0].positions)
    for one, two in zip(general, rotated, strict=True):
        np.testing.assert_allclose(minimum_image_distances(one), minimum_image_distances(two), atol=1e-9)
        np.testing.assert_allclose(one.velocities @ one.velocities.T, two.velocities @ two.velocities.T, atol=1e-9)
        np.testing.assert_allclose(one.cell @ one.cell.T, two.cell @ two.cell.T, atol=1e-9)
        np.testing.assert_allclose(one.velocities @ one.cell.T, two.velocities @ two.cell.T, atol=1e-9)


def test_restricted_triclinic_against_mdanalysis():
    import MDAnalysis

    universe = MDAnalysis.Universe(
        str(DATA / "restricted_x.dump"),
        format="LAMMPSDUMP",
        topology_format="LAMMPSDUMP",
        lammps_coordinate_convention="unscaled",
    )
    frames = list(open_trajectory(DATA / "restricted_x.dump", elements="Ar,Kr"))
    for step, frame in zip(universe.trajectory, frames, strict=True):
        np.testing.assert_allclose(step.triclinic_dimensions, frame.cell, atol=1e-5)
        shift = (step.positions - frame.positions).mean(axis=0)  # MDAnalysis moves the origin
        np.testing.assert_allclose(step.positions - shift, frame.positions, atol=1e-5)


def test_dump_that_names_its_units():
    """Units real with ITEM: UNITS and ITEM: TIME: the same system as metal, 0, 5 and 10 steps of 2 fs."""
    real = list(open_trajectory(DATA / "real_x.dump", elements="Ar,Kr"))
    metal = list(open_trajectory(DATA / "orthogonal_x.dump", elements="Ar,Kr", timestep=0.002))
    assert [frame.time for frame in real] == pytest.approx([0.0, 0.01, 0.02], abs=1e-15)
    assert [frame.time for frame in metal] == pytest.approx([0.0, 0.01, 0.02], abs=1e-15)
    np.testing.assert_allclose(real[0].positions, metal[0].positions, atol=1e-12)
    np.testing.assert_allclose(real[0].velocities, metal[0].velocities, rtol=1e-4)
    np.testing.assert_allclose(real[2].positions, metal[2].positions, atol=1e-4)
    with pytest.raises(TrajectoryError, match="the dump says units real, the user says units='metal'"):
        open_trajectory(DATA / "real_x.dump", elements="Ar,Kr", units="metal")


def test_reduced_units(tmp_path):
    """Argon's τ = σ sqrt(m/ε) = 2.1564 ps for ε/k = 119.8 K, σ = 3.405 Å (Rahman 1964)."""
    path = tmp_path / "lj.dump"
    path.write_text(
        "ITEM: TIMESTEP\n7\nITEM: TIME\n2.0\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n0 2\n0 3\n0 4\n"
        "ITEM: ATOMS id type x y z vx vy vz mass\n1 1 0.5 1 1.5 1 -1 2 1\n"
    )
    with pytest.raises(InputError, match="units='lj' needs epsilon"):
        open_trajectory(path, elements="Ar", units="lj")
    argon = {"epsilon": 119.8 * 8.617333262e-5, "sigma": 3.405, "mass": 39.948}
    (frame,) = open_trajectory(path, elements="Ar", units="lj", **argon)
    np.testing.assert_allclose(frame.positions, [[1.7025, 3.405, 5.1075]])
    np.testing.assert_allclose(np.diag(frame.cell), [6.81, 10.215, 13.62])
    assert frame.time == pytest.approx(2 * 2.1564, rel=1e-4)
    np.testing.assert_allclose(frame.velocities[0, 0], 3.405 / 2.1564, rtol=1e-4)
    assert frame.masses[0] == pytest.approx(39.948)


def test_compressed_files_read_alike(tmp_path):
    text = (DATA / "restricted_x.dump").read_bytes()
    (tmp_path / "a.dump.gz").write_bytes(gzip.compress(text))
    (tmp_path / "a.dump.zst").write_bytes(zstandard.ZstdCompressor().compress(text))
    plain = list(open_trajectory(DATA / "restricted_x.dump", elements="Ar,Kr"))
    for name in ("a.dump.gz", "a.dump.zst"):
        for one, two in zip(open_trajectory(tmp_path / name, elements="Ar,Kr"), plain, strict=True):
            np.testing.assert_array_equal(one.positions, two.positions)


def test_time_counts_frames_without_a_time_step():
    trajectory = open_trajectory(DATA / "orthogonal_x.dump", elements="Ar,Kr")
    assert [frame.time for frame in trajectory] == [0.0, 1.0, 2.0]
    assert not trajectory.has_time
    assert trajectory.info()["n_frames"] == 3
    assert trajectory.n_frames is None


@pytest.mark.parametrize(
    ("start", "stop", "stride"), [(0, None, 1), (1, None, 1), (0, None, 2), (1, 2, 1), (5, None, 3)]
)
def test_selection(reference, start, stop, stride):
    path, options = reference / "ar_liquid" / "traj.lammpstrj.gz", {"elements": "Ar", "timestep": 0.002}
    every = [frame.time for frame in open_trajectory(path, **options)]
    trajectory = open_trajectory(path, start=start, stop=stop, stride=stride, **options)
    assert [frame.time for frame in trajectory] == every[start:stop:stride]
    assert [frame.time for frame in trajectory.frames(start=1)] == every[start:stop:stride][1:]


def test_partly_periodic_and_open_boxes(tmp_path):
    text = (DATA / "orthogonal_x.dump").read_text()
    (tmp_path / "slab.dump").write_text(text.replace("BOUNDS pp pp pp", "BOUNDS pp pp fs"))
    (tmp_path / "cluster.dump").write_text(text.replace("BOUNDS pp pp pp", "BOUNDS ss ss mm"))
    slab = next(iter(open_trajectory(tmp_path / "slab.dump", elements="Ar,Kr")))
    assert slab.pbc == (True, True, False)
    assert slab.volume is None
    assert next(iter(open_trajectory(tmp_path / "cluster.dump", elements="Ar,Kr"))).cell is None


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_cut_file_keeps_the_frames_before(tmp_path, suffix):
    text = (DATA / "orthogonal_x.dump").read_bytes()
    data = text[:-200] if not suffix else gzip.compress(text, mtime=0)[:-500]
    path = tmp_path / f"cut.dump{suffix}"
    path.write_bytes(data)
    found, message = until_error(open_trajectory(path, elements="Ar,Kr"))
    assert len(found) == 2
    assert message.startswith(f"{path.name}, frame 2: the {'compressed ' * bool(suffix)}file is cut")
