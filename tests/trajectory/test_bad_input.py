"""Every way a trajectory can be unusable has its one clear line, naming file, frame and atom."""

from __future__ import annotations

import gzip

import ase
import mdtraj
import numpy as np
import pytest

from fluxan.errors import FileError, FluxanError, InputError, TrajectoryError
from fluxan.trajectory import ReaderOptions, as_trajectory, convert, open_trajectory

from .conftest import assert_same, make_frames, until_error

HEAD = (
    "ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{n}\nITEM: BOX BOUNDS pp pp pp\n0 {box}\n0 5\n0 6\n"
    "ITEM: ATOMS {columns}\n"
)
COLUMNS = "id type x y z vx vy vz"
ROWS = ("1 1 0.5 0.5 0.5 1 2 3", "2 2 2.5 2.5 2.5 4 5 6")


def dump_frame(step=0, n=2, box=4, columns=COLUMNS, rows=ROWS):
    return HEAD.format(step=step, n=n, box=box, columns=columns) + "".join(row + "\n" for row in rows)


def broken(tmp_path, second, *, name="t.dump", **options):
    """Frames before, and the message about, a second frame that is broken."""
    path = tmp_path / name
    path.write_text(dump_frame() + second)
    found, message = until_error(open_trajectory(path, **({"elements": "Ar,Kr"} | options)))
    assert len(found) == 1
    np.testing.assert_array_equal(found[0].positions, [[0.5] * 3, [2.5] * 3])
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (
            dump_frame(1, rows=("1 1 nan 0.5 0.5 1 2 3", ROWS[1])),
            "frame 1: positions of atom 0 .* are \\[nan, 0.5, 0.5\\]",
        ),
        (dump_frame(1, rows=(ROWS[0], "2 2 1 1 1 1 -inf 1")), "frame 1: velocities of atom 1 .* must be finite"),
        (dump_frame(1, n=1, rows=ROWS[:1]), "frame 1: has 1 atoms, the frame before had 2"),
        (
            dump_frame(1, rows=("1 2 0 0 0 1 2 3", "2 1 1 1 1 4 5 6")),
            "frame 1: atom 0 is element number 36, .* before 18",
        ),
        (dump_frame(1, rows=("1 1 0 0 0 1 2 3", "3 2 1 1 1 4 5 6")), "frame 1: the atoms' ids changed: 3 where 2 was"),
        (dump_frame(1, rows=("1 1 0 0 0 1 2 3", "1 2 1 1 1 4 5 6")), "frame 1: two atoms have id 1"),
        (
            dump_frame(1, rows=(ROWS[0], "2 3 1 1 1 1 1 1")),
            "frame 1: atom 1 has type 3 but elements names only types 1 to 2",
        ),
        (dump_frame(0), "frame 1: MD step 0 follows 0; steps must grow"),
        (dump_frame(1, box=0), "frame 1: box lengths are \\[0.0, 5.0, 6.0\\]"),
        (dump_frame(1, box="nan"), "frame 1: header line '0 nan'; expected 2 finite numbers"),
        (
            dump_frame(1, rows=(ROWS[0], "2 2 1 1 1 one 1 1")),
            "frame 1: the line of atom 1 is broken .*'2 2 1 1 1 one 1 1'",
        ),
        (dump_frame(1, rows=(ROWS[0], "2 2 1 1 1")), "frame 1: the line of atom 1 has 5 columns"),
        (dump_frame(1, n=3), "frame 1: the file is cut within this frame, after 2 of its 3 atoms"),
        (dump_frame(1, n=10**15), "frame 1: the file is cut within this frame, after 2 of its 1000000000000000"),
        (
            dump_frame(1, n=3) + dump_frame(2),
            "frame 1: the next frame begins within the 3 atoms that this one promises",
        ),
        (dump_frame(1)[:-3], "frame 1: the file is cut within this frame"),
        (dump_frame(1)[:30], "frame 1: the file is cut within this frame's header"),
        (dump_frame("one"), "frame 1: time step is 'one'; expected a whole number"),
        (dump_frame(1, n=0, rows=()), "frame 1: its header has no number of atoms"),
        ("garbage\n", "frame 1: unexpected line 'garbage'"),
        (
            dump_frame(1, columns="id type x y z", rows=("1 1 0 0 0", "2 2 1 1 1")),
            "frame 1: has no velocities, the frames before",
        ),
    ],
)
def test_second_frame_of_a_dump(tmp_path, second, message):
    with pytest.raises(TrajectoryError, match="^t.dump, " + message):
        raise TrajectoryError(broken(tmp_path, second))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (dump_frame(), {}, "has types 1 to 2 without elements; give elements="),
        (dump_frame(), {"elements": "Ar"}, "atom 1 has type 2 but elements names only types 1 to 1"),
        (dump_frame(), {"elements": "Ar,Xx"}, "'Xx' .* is no chemical element"),
        (
            dump_frame(columns="id element x y z vx vy vz", rows=("1 Ar 0 0 0 1 1 1", "2 Qq 1 1 1 1 1 1")),
            {},
            "'Qq' .* no chemical",
        ),
        (dump_frame(columns="id type x y q vx vy vz"), {"elements": "Ar,Kr"}, "hold no positions"),
        (dump_frame(columns="id type x y z vx vy q"), {"elements": "Ar,Kr"}, "hold only part of the velocities"),
        (dump_frame(), {"elements": "Ar,Kr", "units": "si"}, "LAMMPS units 'si'; expected one of metal, real, lj"),
    ],
)
def test_first_frame_of_a_dump(tmp_path, text, options, message):
    path = tmp_path / "t.dump"
    path.write_text(text)
    with pytest.raises(FluxanError, match=message) as caught:
        list(open_trajectory(path, **options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.nc", None, "file not found"),
        ("empty.nc", b"", "file is empty"),
        ("blank.dump", b"\n\n  \n", "file is empty"),
        ("noise.bin", bytes(range(256)), "not a trajectory that fluxan knows"),
        ("text.txt", b"Dear reader,\n", "not a trajectory that fluxan knows"),
        ("short.nc", b"CDF\x01\0\0", "damaged NetCDF header"),
        ("short.h5", b"\x89HDF\r\n\x1a\n\0\0", "cannot be opened, was it cut"),
        ("short.trr", b"\0\0\x07\xc9\0\0\0\x0d", "frame 0: the file is cut within this frame's header"),
        ("short.traj", b"- of UlmASE-Trajectory", "ASE cannot open this .traj file"),
        (
            "short.dump.gz",
            gzip.compress(b"ITEM: TIMESTEP\n0\n" * 99, mtime=0)[:20],
            "cut or damaged|compressed file is damaged",
        ),
        ("short.xyz", b"3\n", "frame 0: the file is cut within this frame|frame 0: names no|cut"),
    ],
)
def test_invalid_trajectory_files(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((FileError, TrajectoryError), match=f"{name}.*({message})") as caught:
        list(open_trajectory(path, elements="Ar"))
    assert "\n" not in str(caught.value)


def test_netcdf_without_coordinates(tmp_path):
    import netCDF4

    netCDF4.Dataset(tmp_path / "flux.nc", "w", format="NETCDF3_CLASSIC").close()
    with pytest.raises(FileError, match=r"flux\.nc: no coordinates along frames"):
        open_trajectory(tmp_path / "flux.nc")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(FileError, match="not a file"):
        open_trajectory(tmp_path)


def test_time_must_grow_in_netcdf(tmp_path):
    frames = make_frames(3)
    convert(frames, tmp_path / "t.nc", double=True)
    data = bytearray((tmp_path / "t.nc").read_bytes())
    place = data.rfind(np.array(frames[2].time, ">f8").tobytes())
    data[place : place + 8] = np.array(0.5, ">f8").tobytes()
    (tmp_path / "t.nc").write_bytes(data)
    found, message = until_error(open_trajectory(tmp_path / "t.nc"))
    assert_same(found, frames[:2])
    assert message == "t.nc, frame 2: time 0.5 ps follows 1.01 ps; time must grow"


def test_singular_cell_and_mass(tmp_path):
    path = tmp_path / "t.xyz"
    path.write_text('1\nLattice="1 0 0 0 1 0 1 1 0" Properties=species:S:1:pos:R:3\nAr 0 0 0\n')
    with pytest.raises(TrajectoryError, match=r"t\.xyz, frame 0: cell .* is singular"):
        list(open_trajectory(path))
    path.write_text('1\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3:mass:R:1\nAr 0 0 0 -1\n')
    with pytest.raises(TrajectoryError, match=r"frame 0: mass of atom 0 is -1.0 u; it must be positive"):
        list(open_trajectory(path))


def test_topology_that_does_not_fit(tmp_path):
    frames = make_frames(2)
    convert(frames, tmp_path / "t.nc")
    topology = mdtraj.Topology()
    topology.add_atom("Ar", mdtraj.element.argon, topology.add_residue("X", topology.add_chain()))
    with pytest.raises(TrajectoryError, match=r"the topology has 1 atoms but t\.nc has 7"):
        list(open_trajectory(tmp_path / "t.nc", topology=topology))
    with pytest.raises(FileError, match="topology file not found"):
        list(open_trajectory(tmp_path / "t.nc", topology=tmp_path / "no.pdb"))
    (tmp_path / "bad.pdb").write_text("nonsense\n")
    with pytest.raises(FluxanError, match=r"bad\.pdb|topology has"):
        list(open_trajectory(tmp_path / "t.nc", topology=tmp_path / "bad.pdb"))


@pytest.mark.parametrize(
    "options", [{"start": -1}, {"stride": 0}, {"stop": 1.5}, {"timestep": 0}, {"timestep": "fast"}]
)
def test_options_that_make_no_sense(options):
    with pytest.raises(InputError, match=f"{next(iter(options))} is .*; expected"):
        ReaderOptions(**options)


def test_invalid_trajectory_objects():
    with pytest.raises(InputError, match="a trajectory cannot be int"):
        as_trajectory(3)
    with pytest.raises(TrajectoryError, match="frame 0: is int, expected fluxan's Frame"):
        list(as_trajectory([3]))
    with pytest.raises(InputError, match="unknown reader option colour; known are elements, topology"):
        as_trajectory("t.nc", colour="red")
    with pytest.raises(InputError, match="reader options stride belong to open_trajectory"):
        as_trajectory(as_trajectory(make_frames()), stride=2)
    with pytest.raises(TrajectoryError, match="frame 1: positions of atom 0"):
        list(as_trajectory([ase.Atoms("Ar", [[0, 0, 0]]), ase.Atoms("Ar", [[0, 0, np.nan]])]))


def test_generator_can_be_looked_into_then_read_once():
    frames = make_frames()
    trajectory = as_trajectory(frame for frame in frames)
    assert next(iter(trajectory)) is not None
    assert_same(list(trajectory), frames)
    with pytest.raises(TrajectoryError, match="used up; give a list"):
        list(trajectory)
