"""Opens a starting structure: the first frame of a trajectory, or a structure file that ASE reads (CIF, POSCAR, …)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxan.errors import FileError
from fluxan.trajectory.opening import as_trajectory, known_format, open_trajectory

if TYPE_CHECKING:
    from fluxan.trajectory.trajectory_base import Trajectory


def open_structure(path: str | Path, **reader: Any) -> Trajectory:
    """Open the first frame of a file, as a trajectory of one frame.

    Parameters
    ----------
    path : str or Path
        A file that `fluxan.open_trajectory` or ASE reads.
    **reader : object
        Options of `fluxan.open_trajectory`.

    Raises
    ------
    FluxanError
        The file is missing, or neither fluxan nor ASE can read it.
    """
    path = Path(path)
    known = known_format(path)
    # mdtraj reads CIF files of proteins (mmCIF) only.
    if known and path.suffix.lower() != ".cif":
        return open_trajectory(path, stop=1, **reader)
    from ase.io import read

    try:
        atoms = read(path)
    except Exception as error:  # ASE's readers raise any kind of exception
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FileError(
            f"{path}: neither a trajectory that fluxan knows nor a structure that ASE reads ({reason})"
        ) from error
    return as_trajectory(atoms)
