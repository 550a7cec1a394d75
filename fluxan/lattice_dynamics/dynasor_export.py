"""Files for dynasor: a trajectory, the ideal supercell with its primitive cell, and force constants.

What dynasor 2.5 reads: `Trajectory` takes ASE's .traj with ``trajectory_format="ase"``, in Å, and converts its
velocities to Å/fs; `ModeProjector` takes both cells as ASE atoms and ∂²U/∂r_i∂r_j in eV/Å², (n_atoms, n_atoms, 3, 3),
in the order of the supercell's atoms, which is that of the trajectory's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.jobs.job import find_model
from fluxan.lattice_dynamics.export_folder import (
    CheckedRun,
    export_folder,
    first_frame,
    second_order_force_constants,
    write_summary,
)
from fluxan.lattice_dynamics.ideal_supercell import fitted, read_primitive
from fluxan.trajectory import as_trajectory
from fluxan.trajectory.ase_write import ase_writer, write_structure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def export_dynasor(
    traj: object,
    output: str | Path,
    *,
    primitive: str | Path,
    model: object = None,
    displacement: float = 0.01,
    overwrite: bool = False,
    progress: bool = True,
    reader: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write trajectory.traj, primitive.xyz, supercell.xyz and force_constants.npy.

    Parameters
    ----------
    traj : object
        Anything that `fluxan.trajectory.as_trajectory` takes, with velocities and a cell that stays the same.
    output : str or Path
        Folder to write; it appears when it is complete.
    primitive : str or Path
        File of the primitive cell, in the orientation and with the origin of the trajectory, at a minimum of the
        energy.
    model : Potential or what `fluxan.load_model` takes, optional
        By default the one that the trajectory carries.
    displacement : float
        Displacements for the force constants, Å.
    overwrite : bool
        Replace a folder that an earlier export wrote.
    progress : bool
        Show a progress bar on standard error.
    reader : mapping, optional
        Options of `fluxan.open_trajectory`.

    Returns
    -------
    dict
        The summary in export.json; ``time_step`` is in fs, None where the frames have no times.

    Raises
    ------
    FluxanError
        Trajectory, primitive cell, model or output cannot be used; then no output is left behind.
    """
    trajectory = as_trajectory(traj, **(reader or {}))
    loaded = find_model(trajectory, model)
    supercell = fitted(read_primitive(primitive), first_frame(trajectory), str(primitive))
    with export_folder(output, trajectory.path, overwrite=overwrite) as folder:
        np.save(
            folder / "force_constants.npy", second_order_force_constants(supercell, loaded, displacement=displacement)
        )
        write_structure(folder / "primitive.xyz", supercell.primitive)
        write_structure(folder / "supercell.xyz", supercell.frame)
        run = CheckedRun(trajectory, supercell.frame, progress=progress)
        with ase_writer(folder / "trajectory.traj") as write:
            for frame in run:
                write(frame)
        step = None if run.time_step is None else 1e3 * run.time_step
        facts = {"n_frames": run.n_frames, "time_step": step, "displacement": displacement}
        return write_summary(folder, "dynasor", loaded, facts)
