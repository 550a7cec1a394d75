"""Last lines without a newline: whole where all columns are there, cut where a number lost its digits."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import zstandard

from fluxan.errors import TrajectoryError
from fluxan.trajectory import open_trajectory
from fluxan.trajectory.text import is_whole_row

from .conftest import until_error

HEAD = "ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n3\nITEM: BOX BOUNDS {box}\nITEM: ATOMS {columns}\n"
ORTHOGONAL = "pp pp pp\n0 9\n0 8\n0 7"
ROWS = ("1 1 1 2 3 1.63577 1.94326 -0.442587", "3 1 4 5 6 -0.767803 2.36581 -1.76189", "2 1 7 1 2 0.5 1.4 -0.393302")


def dump(*, n_frames=2, box=ORTHOGONAL, columns="id type x y z vx vy vz", rows=ROWS):
    frames = (HEAD.format(step=k, box=box, columns=columns) + "\n".join(rows) for k in range(n_frames))
    return "\n".join(frames)


def compressed(text, suffix):
    data = text.encode()
    return {"": data, ".gz": gzip.compress(data), ".zst": zstandard.ZstdCompressor().compress(data)}[suffix]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("n_frames", [1, 3])
def test_dump(tmp_path, suffix, n_frames):
    path, whole = tmp_path / f"t.dump{suffix}", tmp_path / "whole.dump"
    path.write_bytes(compressed(dump(n_frames=n_frames), suffix))
    whole.write_text(dump(n_frames=n_frames) + "\n")
    trajectory = open_trajectory(path, elements="Ar")
    for one, two in zip(trajectory, open_trajectory(whole, elements="Ar"), strict=True):
        np.testing.assert_array_equal(one.positions, two.positions)
        np.testing.assert_array_equal(one.velocities, two.velocities)
    info = trajectory.info()
    assert info["n_frames"] == n_frames
    assert any("last line has no newline" in note for note in info["notes"])


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ("id mass q element xu yu zu", ("1 39.9 0.5 Ar 1 2 3", "2 39.9 -0.5 Ar 4 5 6", "3 83.8 0 Kr 7 1 2.25")),
        ("element x y z id ix iy iz", ("Ar 1 2 3 1 0 0 -1", "Kr 4 5 6 2 0 0 -12", "Ar 7 1 2 3 0 0 0")),
        ("id type xs ys zs element", ("1 1 0.1 0.2 0.3 Ar", "2 2 0.4 0.5 0.6 Kr", "3 1 0.7 0.1 0.2 Ar")),
    ],
)
def test_columns_of_other_programs(tmp_path, columns, rows):
    path = tmp_path / "t.lammpstrj"
    path.write_text(dump(columns=columns, rows=rows, n_frames=2))
    frames = list(open_trajectory(path))
    assert [frame.n_atoms for frame in frames] == [3, 3]
    assert set(frames[1].numbers) == {18, 36}


@pytest.mark.parametrize(
    ("box", "row"),
    [
        ("xy xz yz pp pp pp\n0 12 3\n0 8 0\n0 7 0", [9, 0, 0]),
        ("abc origin pp pp pp\n9 0 0 1\n3 8 0 2\n0 0 7 3", [9, 0, 0]),
        ("\n0 9\n0 8\n0 7", [9, 0, 0]),
    ],
)
def test_boxes(tmp_path, box, row):
    path = tmp_path / "t.dump"
    path.write_text(dump(box=box).replace("BOUNDS \n", "BOUNDS\n"))
    frames = list(open_trajectory(path, elements="Ar"))
    assert len(frames) == 2
    np.testing.assert_allclose(frames[1].cell[0], row)


@pytest.mark.parametrize(
    "text",
    [
        '2\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3\nAr 1.0 2.0 3.0\nAr 4.0 5.0 6.5',
        '2\nLattice="9 0 0 0 9 0 0 0 9" Properties=pos:R:3:species:S:1\n1.0 2.0 3.0 Ar\n4.0 5.0 6.5 Kr',
        "2\nan ordinary comment\nAr 1.0 2.0 3.0\nAr 4.0 5.0 6.5",
        "1\nproperties=species:S:1:pos:R:3:mass:R:1\nAr 4.0 5.0 6.5 39.95",
    ],
)
def test_extended_xyz(tmp_path, text):
    path = tmp_path / "model.xyz"
    path.write_text(text + "\n" + text)
    found = list(open_trajectory(path))
    assert len(found) == 2
    np.testing.assert_array_equal(found[1].positions[-1], [4.0, 5.0, 6.5])


@pytest.mark.parametrize(
    ("line", "before", "whole"),
    [
        (b"1 2.5 -0.767803", [b"1 2.5 1.63577", b"1 2.5 0.442587"], True),
        (b"1 2.5 -0.7", [b"1 2.5 1.63577", b"1 2.5 0.442587"], False),
        (b"1 2.5", [b"1 2.5 1.63577"], False),
        (b"1 2.5 -", [b"1 2.5 1.63577"], False),
        (b"1 2.5 6.09762e-05", [b"1 2.5 1.63577"], True),
        (b"1 2.5 6.09762e-0", [b"1 2.5 1.63577"], False),
        (b"1 2.5 6.09762e", [b"1 2.5 1.63577"], False),
        (b"1 2.5 0.0020", [b"1 2.5 0.00207873", b"1 2.5 -1.20000000"], False),
        (b"1 2.5 0.00207873", [b"1 2.5 0.00207873", b"1 2.5 -1.20000000"], True),
        (b"1 2.5 0.5", [b"1 2.5 0.25", b"1 2.5 1.125"], True),
        (b"1 2.5 -0.767803\r", [b"1 2.5 1.63577\r", b"1 2.5 0.442587\r"], True),
        (b"1 2.5 7", [], True),
        (b"1 2.5", [], False),
        (b"Ar 1 2 C", [b"Ar 1 2 Cl"], True),
    ],
)
def test_criteria_for_a_whole_last_line(line, before, whole):
    assert is_whole_row(line, [row + b"\n" for row in before], 3) is whole


@pytest.mark.parametrize("lost", [5, 12, 40])
def test_a_cut_file_counts_its_whole_frames(tmp_path, lost):
    path = tmp_path / "t.dump"
    path.write_text(dump(n_frames=3)[:-lost])
    found, message = until_error(open_trajectory(path, elements="Ar"))
    assert len(found) == open_trajectory(path, elements="Ar").info()["n_frames"] == 2
    n_atoms = 2 if lost < 20 else 1
    assert message == f"t.dump, frame 2: the file is cut within this frame, after {n_atoms} of its 3 atoms"


def test_a_first_frame_that_is_cut(tmp_path):
    path = tmp_path / "t.dump"
    path.write_text(dump(n_frames=1)[:-5])
    with pytest.raises(TrajectoryError, match="after 2 of its 3 atoms"):
        list(open_trajectory(path, elements="Ar"))
