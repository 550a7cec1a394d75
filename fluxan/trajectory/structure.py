"""A structure to start from: the first frame of a trajectory, or a file of a structure alone that ASE reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxan.errors import FileError
from fluxan.trajectory.opening import as_trajectory, known_format, open_trajectory

if TYPE_CHECKING:
    from fluxan.trajectory.trajectory_base import Trajectory


def open_structure(path: str | Path, **reader: Any) -> Trajectory:
    """A trajectory of one frame: a file's first.

    Parameters
    ----------
    path : what `fluxan.open_trajectory` reads; or CIF, POSCAR and whatever else ASE knows
    reader : options of `fluxan.open_trajectory`

    Raises
    ------
    FluxanError
        The file is missing, or nobody can read it.
    """
    path = Path(path)
    known = known_format(path)
    # What mdtraj calls CIF is that of proteins.
    if known and path.suffix.lower() != ".cif":
        return open_trajectory(path, stop=1, **reader)
    from ase.io import read

    try:
        atoms = read(path)
    except Exception as error:  # ASE's readers raise what they like
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FileError(
            f"{path}: neither a trajectory that fluxan knows nor a structure that ASE reads ({reason})"
        ) from error
    return as_trajectory(atoms)
