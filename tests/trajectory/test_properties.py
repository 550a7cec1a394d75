"""Cut and mutated files of every format: frames, or one of fluxan's errors, and nothing else."""

from __future__ import annotations

import gzip
import itertools
import re
import resource
import warnings
from pathlib import Path

import ase.io
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxan.errors import FluxanError
from fluxan.trajectory import convert, open_trajectory

from .test_formats import as_atoms, as_mdtraj, make_frames, write_trr

DATA = Path(__file__).parent / "data"
ELEMENTS = {"elements": "Ar,Kr,Xe"}
WORDS = (
    b"\x7f" + b"\xff" * 7,
    b"\x80" + b"\0" * 7,
    b"\0" * 8,
    b"nan ",
    b" -inf",
    b"1e999 ",
    b"\n",
    b'"',
    b"999999999999999999",
)


def _files(folder):
    frames = make_frames(4)
    convert(frames, folder / "t.nc", double=True)
    write_trr(folder / "t.trr", frames)
    ase.io.write(folder / "t.traj", as_atoms(frames))
    ase.io.write(folder / "t.xyz", as_atoms(frames), format="extxyz")
    dump = (DATA / "restricted_x.dump").read_bytes()
    (folder / "t.dump").write_bytes(dump)
    (folder / "t.dump.gz").write_bytes(gzip.compress(dump, mtime=0))
    (folder / "t.dump.zst").write_bytes(zstandard.ZstdCompressor().compress(dump))
    (folder / "t.h5").write_bytes((DATA / "mdtraj.h5").read_bytes())
    as_mdtraj(frames).save(str(folder / "t.xtc"))
    as_mdtraj(frames).save(str(folder / "t.dcd"))
    as_mdtraj(frames)[0].save(str(folder / "top.pdb"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    _files(folder)
    return folder


@pytest.fixture(autouse=True)
def _little_memory():
    """An allocation that a damaged size asks for fails, instead of taking the machine down."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@st.composite
def changes(draw):
    """Some bytes replaced, a word written over others, bytes put in, and the end cut off."""
    place = st.floats(0, 1, exclude_max=True)
    early = draw(st.booleans())  # headers are short: half of the changes are made there
    return {
        "bytes": draw(st.lists(st.tuples(place, st.integers(0, 255)), max_size=8)),
        "words": draw(st.lists(st.tuples(place, st.sampled_from(WORDS)), max_size=2)),
        "insert": draw(st.one_of(st.none(), st.tuples(place, st.binary(min_size=1, max_size=4)))),
        "cut": draw(st.one_of(st.none(), place)),
        "span": 600 if early else None,
    }


def changed(data, change):
    data = bytearray(data)
    span = min(len(data), change["span"] or len(data))
    for place, value in change["bytes"]:
        data[int(place * span)] = value
    for place, word in change["words"]:
        data[int(place * span) : int(place * span) + len(word)] = word
    if change["insert"] is not None:
        place, extra = change["insert"]
        data[int(place * span) : int(place * span)] = extra
    return bytes(data if change["cut"] is None else data[: int(change["cut"] * len(data))])


_counter = itertools.count()


def read_all(folder, name, change, options):
    """Read a changed copy to its end; every file has its own name, as HDF5 remembers files by theirs."""
    path = folder / f"{next(_counter)}_{name}"
    path.write_bytes(changed((folder / name).read_bytes(), change))
    message = "none"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trajectory = open_trajectory(path, **options)
            for frame in trajectory:
                assert frame.n_atoms > 0
            trajectory.info()
    except FluxanError as error:
        message = str(error)
    finally:
        path.unlink()
    assert message
    assert len(message.splitlines()) == 1


def _settings(examples):
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples, derandomize=True, deadline=None, suppress_health_check=quiet)


@pytest.mark.parametrize("name", ["t.nc", "t.dump", "t.dump.gz", "t.dump.zst", "t.xyz", "t.traj", "t.trr", "t.h5"])
@given(change=changes())
@_settings(50)
def test_changed_files(folder, name, change):
    read_all(folder, name, change, ELEMENTS if "dump" in name else {} if name != "t.trr" else {"elements": "Ar"})


@pytest.mark.parametrize("name", ["t.xtc", "t.dcd"])
@given(change=changes())
@_settings(4)  # each starts a process
def test_changed_files_through_mdtraj(folder, name, change):
    read_all(folder, name, change, {"topology": str(folder / "top.pdb")})


def frame_ends(name, data):
    """Where each frame's last byte is, found by other means than the reader's."""
    if name == "t.nc":  # time, two times 7 vectors, lengths, angles, vectors
        record = 8 * (1 + 2 * 7 * 3 + 3 + 3 + 9)
        return [len(data) - k * record for k in (3, 2, 1, 0)]
    if name == "t.trr":
        return [len(data) * k // 4 for k in (1, 2, 3, 4)]
    mark = b"ITEM: TIMESTEP" if name == "t.dump" else b"7\nLattice"
    starts = [match.start() for match in re.finditer(mark, data)]
    return [*starts[1:], len(data)]


@pytest.mark.parametrize("name", ["t.nc", "t.dump", "t.xyz", "t.trr"])
@given(part=st.floats(0, 1, exclude_max=True))
@_settings(30)
def test_cut_files_give_the_frames_before(folder, name, part):
    """Whatever the cut, the frames delivered are those of the whole file, bit for bit."""
    options = ELEMENTS if "dump" in name else {} if name != "t.trr" else {"elements": "Ar", "leapfrog": False}
    whole = list(open_trajectory(folder / name, **options))
    data = (folder / name).read_bytes()
    path = folder / f"cut_{name}"
    path.write_bytes(data[: int(part * len(data))])
    found, error = [], None
    try:
        for frame in open_trajectory(path, **options):
            found += [frame]
    except FluxanError as caught:
        error = caught
    data = data[: int(part * len(data))]
    n_whole = sum(end <= len(data) for end in frame_ends(name, (folder / name).read_bytes()))
    # A last line is whole without its newline, and may be so without some digits of its last number.
    n_most = n_whole + (name in {"t.dump", "t.xyz"} and n_whole < len(whole) and len(data.rsplit(b"\n", 1)[-1]) > 0)
    assert n_whole <= len(found) <= n_most
    assert error is not None or name != "t.nc"  # other files cut between frames are whole ones
    for k, (one, two) in enumerate(zip(found, whole, strict=False)):
        assert (one.positions == two.positions).all()
        assert (one.velocities == two.velocities).sum() >= one.velocities.size - (k == n_whole)


@pytest.mark.parametrize("name", ["t.dump", "t.xyz"])
def test_every_cut_in_the_last_line(folder, name):
    """The frame is there where the whole last number is; where half of it is gone, it never is."""
    options = ELEMENTS if "dump" in name else {}
    data = (folder / name).read_bytes().rstrip(b"\n")
    last = len(data) - data.rindex(b" ") - 1
    path = folder / f"short_{name}"
    for lost in range(last + 8):
        path.write_bytes(data[: len(data) - lost])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trajectory = open_trajectory(path, **options)
            try:
                n_found = sum(1 for _ in trajectory)
            except FluxanError:
                n_found = trajectory.info()["n_frames"]
                assert n_found == len(list(open_trajectory(path, stop=n_found, **options)))
        n_frames = len(list(open_trajectory(folder / name, **options)))
        assert n_found == n_frames - (lost > 0) or (n_found == n_frames and lost <= last // 2)
