"""One entry to every kind of trajectory: by the file's content first, by its suffix where content does not tell."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from fluxan.errors import FileError, InputError
from fluxan.trajectory.memory import AtomsTrajectory, FrameTrajectory, WithVelocities
from fluxan.trajectory.reader_options import ReaderOptions
from fluxan.trajectory.text import broken_stream_errors, is_compressed, open_text
from fluxan.trajectory.trajectory_base import Trajectory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fluxan.trajectory.reader_options import ReducedUnits

_HDF5 = b"\x89HDF\r\n\x1a\n"
_TRR = (1993).to_bytes(4, "big")
_MDTRAJ_SUFFIXES = (
    *(".dcd", ".xtc", ".pdb", ".pdb.gz", ".cif", ".gro", ".mdcrd", ".crd", ".binpos", ".arc", ".lh5", ".dtr"),
    *(".rst7", ".gsd", ".tng"),
)


def open_trajectory(
    path: str | Path,
    *,
    elements: Sequence[str] | str | None = None,
    topology: Any = None,
    timestep: float | None = None,
    units: str | None = None,
    start: int = 0,
    stop: int | None = None,
    stride: int = 1,
    leapfrog: bool | None = None,
    **reduced_units: Unpack[ReducedUnits],
) -> Trajectory:
    """Open a trajectory file: an iterable of `Frame`, with a length where the format allows.

    Parameters
    ----------
    path : AMBER NetCDF, LAMMPS text dump (also .gz, .zst), extended XYZ, ASE .traj, mdtraj HDF5, GROMACS TRR, or
        anything else mdtraj reads (positions only)
    elements : names of LAMMPS types 1, 2, …, or one per atom, or one for all; "Ar,Kr" or a list
    topology : a file mdtraj reads, or an mdtraj topology, for formats without elements (AMBER, TRR, DCD)
    timestep : ps per MD step, or per frame where a file counts no steps; without it ``time`` may count frames
    units : of a LAMMPS dump that does not say (metal, the default, real, lj), or of an extended XYZ velocity column
        (one of `fluxan.units.VELOCITY`, or metal or real; there is no default), or of the numbers that a NetCDF file
        holds as velocities, whatever it says (one of `fluxan.units.VELOCITY`)
    start, stop, stride : the frames to read, as in ``range``; none of them negative
    epsilon, sigma, mass : of LAMMPS' reduced units (units="lj"), in eV, Å and u
    leapfrog : whether stored velocities belong to half a step before the positions; None lets the file decide

    Raises
    ------
    FileError
        The file is missing, empty, or no trajectory.
    TrajectoryError
        Its first frame or header is not usable.
    InputError
        An option makes no sense.
    """
    options = ReaderOptions(
        elements, topology, timestep, units, start, stop, stride, leapfrog=leapfrog, **reduced_units
    )
    path = Path(path)
    return _reader(path, _head(path))(path, options)


def known_format(path: str | Path) -> bool:
    """Whether a file is a trajectory that fluxan knows.

    Raises
    ------
    FileError
        It is missing, empty, or cannot be read.
    """
    path = Path(path)
    return _find_reader(path, _head(path)) is not None


def _head(path: Path) -> bytes:
    """Read the first bytes of the file, decompressed."""
    if not path.exists():
        raise FileError(f"{path}: file not found")
    if not path.is_file():
        raise FileError(f"{path}: not a file")
    try:
        with path.open("rb") as file:
            head = file.read(512)
        if is_compressed(head):
            with open_text(path) as file:
                head = file.read1(512)
    except broken_stream_errors() as error:
        raise FileError(f"{path}: the compressed file is damaged ({error})") from error
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error})") from error
    if not head.strip():
        raise FileError(f"{path}: file is empty")
    return head


def _reader(path: Path, head: bytes) -> Callable[[Path, ReaderOptions], Trajectory]:
    """Choose the reader for a file whose decompressed content begins with `head`."""
    reader = _find_reader(path, head)
    if reader is None:
        raise FileError(
            f"{path}: not a trajectory that fluxan knows (it begins {head[:16]!r}); known are AMBER NetCDF, LAMMPS "
            "dumps, extended XYZ, ASE .traj, mdtraj HDF5, TRR, DCD, XTC and PDB"
        )
    return reader


def _find_reader(path: Path, head: bytes) -> Callable[[Path, ReaderOptions], Trajectory] | None:
    name = path.name.lower()
    kinds = (
        (head.startswith(b"CDF"), "amber", "AmberTrajectory"),
        (head.startswith(_HDF5), "hdf5", "Hdf5Trajectory"),
        (head.startswith(b"- of Ulm"), "ase_traj", "AseTrajectory"),
        (head.startswith(_TRR), "trr", "TrrTrajectory"),
        (head.lstrip().startswith(b"ITEM:"), "lammps_dump", "LammpsTrajectory"),
        (_looks_like_xyz(head, name), "extxyz", "ExtxyzTrajectory"),
        (name.endswith(_MDTRAJ_SUFFIXES), "mdtraj_reader", "MdtrajTrajectory"),
    )
    for fits, module, reader in kinds:
        if fits:
            return getattr(import_module(f"fluxan.trajectory.{module}"), reader)
    return None


def _looks_like_xyz(head: bytes, name: str) -> bool:
    lines = head.lstrip().split(b"\n", 2)
    counted = lines[0].strip().isdigit()
    named = name.removesuffix(".gz").removesuffix(".zst").endswith((".xyz", ".extxyz"))
    return counted and (named or (len(lines) > 1 and (b"Properties=" in lines[1] or b"Lattice=" in lines[1])))


def as_trajectory(traj: Any, *, velocities: Any = None, **reader: Any) -> Trajectory:
    """Whatever a user has, as a `Trajectory`.

    Parameters
    ----------
    traj : a path, a `Trajectory`, an ``mdtraj.Trajectory`` (nm and ps are converted), ASE atoms (one or a list), or
        any iterable of `Frame`
    velocities : (n_frames, n_atoms, 3) Å/ps, or the path of such a .npy file, for positions without velocities
    **reader : options of `open_trajectory`

    Raises
    ------
    FluxanError
        As `open_trajectory`, or `traj` is none of these, or velocities do not fit it.
    """
    unknown = set(reader) - {option.name for option in fields(ReaderOptions)}
    if unknown:
        names = ", ".join(option.name for option in fields(ReaderOptions))
        raise InputError(f"unknown reader option {', '.join(sorted(unknown))}; known are {names}")
    trajectory = _as_trajectory(traj, reader)
    return trajectory if velocities is None else WithVelocities(trajectory, velocities)


def _as_trajectory(traj: Any, reader: dict[str, Any]) -> Trajectory:
    if isinstance(traj, Trajectory):
        if reader:
            raise InputError(
                f"reader options {', '.join(reader)} belong to open_trajectory; this trajectory is open already"
            )
        return traj
    if isinstance(traj, str | Path):
        return open_trajectory(traj, **reader)
    options = ReaderOptions(**reader)
    if hasattr(traj, "xyz") and hasattr(traj, "topology"):
        from fluxan.trajectory.mdtraj_reader import MdtrajObject

        return MdtrajObject(traj, options)
    if hasattr(traj, "get_positions"):
        return AtomsTrajectory([traj], options)
    if isinstance(traj, list | tuple) and traj and hasattr(traj[0], "get_positions"):
        return AtomsTrajectory(traj, options)
    if not hasattr(traj, "__iter__"):
        raise InputError(f"a trajectory cannot be {type(traj).__name__}; give a path, mdtraj or ASE objects, or Frames")
    return FrameTrajectory(traj, options)
