"""Opens every kind of trajectory: chooses the reader by the file's first bytes, or by its suffix.

How files begin: AMBER NetCDF with ``CDF``, HDF5 (mdtraj, AMBER NetCDF-4) with HDF5's signature, ASE .traj with
``- of Ulm``, TRR with the integer 1993, LAMMPS dumps with ``ITEM:``, extended XYZ with the number of atoms and, in the
second line, ``Properties=`` or ``Lattice=``. Everything else is left to mdtraj, by suffix.
"""

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
    path : str or Path
        AMBER NetCDF, LAMMPS text dump (also .gz, .zst), extended XYZ, ASE .traj, mdtraj HDF5, GROMACS TRR, or
        anything else that mdtraj reads (positions only).
    elements : sequence of str or str, optional
        Symbols of LAMMPS types 1, 2, …, or one per atom, or one for all atoms.
    topology : path or mdtraj topology, optional
        Source of elements for formats that lack them (AMBER, TRR, DCD).
    timestep : float, optional
        ps per MD step, or per frame where a file counts no steps; without it ``time`` may count frames.
    units : str, optional
        Style of a LAMMPS dump that names none (metal, the default; real; lj), or the unit of velocities, a key of
        `fluxan.units.VELOCITY`: of an extended XYZ column (no default), or of a NetCDF file, whatever it states.
    start, stop, stride : int, optional
        The frames to read, as in ``range``.
    leapfrog : bool, optional
        Whether velocities are those of half an MD step before the positions; by default inferred from the file.
    **reduced_units : ReducedUnits
        ``epsilon`` (eV), ``sigma`` (Å) and ``mass`` (u), for ``units="lj"``.

    Raises
    ------
    FileError
        The file is missing, empty, or not a trajectory.
    TrajectoryError
        Its first frame or header is not usable.
    InputError
        An option has a wrong value.
    """
    options = ReaderOptions(
        elements, topology, timestep, units, start, stop, stride, leapfrog=leapfrog, **reduced_units
    )
    path = Path(path)
    return _reader(path, _head(path))(path, options)


def known_format(path: str | Path) -> bool:
    """Whether a file is a trajectory that fluxan can read.

    Parameters
    ----------
    path : str or Path
        The file.

    Raises
    ------
    FileError
        The file is missing, empty, or cannot be read.
    """
    path = Path(path)
    return _find_reader(path, _head(path)) is not None


def _head(path: Path) -> bytes:
    """Read the first bytes of a file, decompressed."""
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
    """Return the reader for a file, or None; its module is imported here."""
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
    for matches, module, reader in kinds:
        if matches:
            return getattr(import_module(f"fluxan.trajectory.{module}"), reader)
    return None


def _looks_like_xyz(head: bytes, name: str) -> bool:
    lines = head.lstrip().split(b"\n", 2)
    counted = lines[0].strip().isdigit()
    named = name.removesuffix(".gz").removesuffix(".zst").endswith((".xyz", ".extxyz"))
    return counted and (named or (len(lines) > 1 and (b"Properties=" in lines[1] or b"Lattice=" in lines[1])))


def as_trajectory(traj: Any, *, velocities: Any = None, **reader: Any) -> Trajectory:
    """Make a `Trajectory` of a file, of objects of mdtraj or ASE, or of frames.

    Parameters
    ----------
    traj : str, Path, Trajectory, mdtraj.Trajectory, ase.Atoms, list of ase.Atoms, or iterable of Frame
        Lengths and times of mdtraj (nm, ps) and velocities of ASE are converted.
    velocities : (n_frames, n_atoms, 3) array, str or Path, optional
        Velocities, Å/ps, or a .npy file of them, for positions without velocities.
    **reader : object
        Options of `open_trajectory`.

    Raises
    ------
    FluxanError
        As `open_trajectory`; or `traj` is none of these; or the velocities do not fit it.
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
