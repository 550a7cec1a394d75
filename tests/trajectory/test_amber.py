"""AMBER NetCDF: round trips to the last bit, other programs' readers and writers, units, damaged files."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import netcdf_file

from fluxan.trajectory import AmberWriter, convert, open_trajectory

from .conftest import GENERAL_CELL, assert_same, make_frames


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
    with AmberWriter(
        tmp_path / "t.nc", 7, numbers=frame.numbers, masses=frame.masses, model_text="kind = 'x'\n"
    ) as out:
        out.write(frame)
    assert open_trajectory(tmp_path / "t.nc").model_text == "kind = 'x'\n"
