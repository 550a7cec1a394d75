"""A file for gkmx, the mode decomposition of Green-Kubo runs: a trajectory with heat fluxes and force constants.

What gkmx (github.com/Surefire618/gkmx, commit 2dc80d2 of 2026-08-07) reads with xarray:

- time (time), fs, from 0,
- positions, velocities and forces (time, I, a), Å, √(eV/u) and eV/Å,
- heat_flux (time, a), per volume, eV/(Å² fs), its unit being recognised by the attribute,
- temperature (time), K,
- force_constants (i, J, a, b), eV/Å²: J all atoms, i those of the primitive cell, by their positions,
- attributes: volume, masses, natoms, and atoms_primitive, atoms_supercell and atoms_reference as JSON.

The file is NetCDF-4, which xarray reads through h5netcdf, the only reader that gkmx asks for.
"""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import InputError
from fluxan.flux.evaluate import FluxEvaluator
from fluxan.jobs.job import find_model
from fluxan.lattice_dynamics.export_folder import (
    CheckedRun,
    export_folder,
    first_frame,
    second_order_force_constants,
    write_summary,
)
from fluxan.lattice_dynamics.ideal_supercell import fitted, read_primitive
from fluxan.md.evaluation import Evaluation
from fluxan.replacement import replacing
from fluxan.trajectory import as_trajectory
from fluxan.units import VELOCITY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from fluxan.lattice_dynamics.ideal_supercell import IdealSupercell
    from fluxan.system import Frame

#: Bytes of a variable that are stored together.
_BLOCK_BYTES = 1 << 16
#: fs per ps.
_FEMTOSECONDS = 1e3
#: Dimensions and unit of each variable.
VARIABLES = {
    "time": (("time",), "fs"),
    "positions": (("time", "I", "a"), "angstrom"),
    "velocities": (("time", "I", "a"), "(eV / u)^0.5"),
    "forces": (("time", "I", "a"), "eV / angstrom"),
    "heat_flux": (("time", "a"), "eV / angstrom^2 / fs"),
    "heat_flux_potential": (("time", "a"), "eV / angstrom^2 / fs"),
    "heat_flux_convective": (("time", "a"), "eV / angstrom^2 / fs"),
    "temperature": (("time",), "K"),
    "force_constants": (("i", "J", "a", "b"), "eV / angstrom^2"),
}


def export_gkmx(
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
    """Write trajectory.nc: positions, velocities, forces and heat fluxes of a run, with force constants.

    The heat flux has all its parts, as in `fluxan.heat_flux`; they are there one by one too.

    Parameters
    ----------
    traj : object
        Anything that `fluxan.trajectory.as_trajectory` takes, with velocities, times and a cell that stays the same.
    output : str or Path
        Folder to write; it appears when it is complete.
    primitive, model, displacement, overwrite, progress, reader
        As in `export_dynasor`.

    Returns
    -------
    dict
        The summary in export.json.

    Raises
    ------
    FluxanError
        Trajectory, primitive cell, model or output cannot be used; then no output is left behind.
    """
    trajectory = as_trajectory(traj, **(reader or {}))
    loaded = find_model(trajectory, model)
    supercell = fitted(read_primitive(primitive), first_frame(trajectory), str(primitive))
    if not trajectory.has_time:
        raise InputError(f"{trajectory.name}: frames have no times; give timestep=, in ps")
    with export_folder(output, trajectory.path, overwrite=overwrite) as folder:
        constants = second_order_force_constants(supercell, loaded, displacement=displacement)
        run = CheckedRun(trajectory, supercell.frame, progress=progress)
        evaluator = FluxEvaluator(loaded, supercell.frame.numbers)
        with _dataset(folder / "trajectory.nc", supercell, constants) as write:
            for index, row in enumerate(_rows(run, evaluator)):
                write(index, row)
        step = None if run.time_step is None else _FEMTOSECONDS * run.time_step
        facts = {"n_frames": run.n_frames, "time_step": step, "displacement": displacement}
        return write_summary(folder, "gkmx", loaded, facts | {"self_check": str(evaluator.report)})


def _rows(run: CheckedRun, evaluator: FluxEvaluator) -> Iterator[dict[str, np.ndarray | float]]:
    """Entries of the variables that change with time, frame by frame."""
    evaluation, start = Evaluation(evaluator), None
    for frame in run:
        start = frame.time if start is None else start
        forces = evaluation.at(frame, flux=True).forces
        flux = evaluation.flux(frame.velocities)
        density = 1 / (_FEMTOSECONDS * float(frame.volume or np.nan))
        yield {
            # gkmx counts the samples of its filter from time 0.
            "time": _FEMTOSECONDS * (frame.time - start),
            "positions": frame.positions,
            "velocities": np.asarray(frame.velocities) / VELOCITY["ase"],
            "forces": forces,
            "heat_flux": flux.total * density,
            "heat_flux_potential": flux.potential.sum(axis=(0, 1)) * density,
            "heat_flux_convective": (flux.kinetic + flux.convective).sum(axis=0) * density,
            "temperature": frame.temperature,
        }


@contextmanager
def _dataset(
    path: Path, supercell: IdealSupercell, constants: np.ndarray
) -> Iterator[Callable[[int, dict[str, np.ndarray | float]], None]]:
    """Write the file; yields a function that writes the entries of a frame."""
    import netCDF4

    sizes: dict[str, int | None] = {"time": None, "I": supercell.frame.n_atoms, "a": 3, "b": 3}
    sizes |= {"i": supercell.primitive.n_atoms, "J": supercell.frame.n_atoms}
    with replacing(path, failures=(RuntimeError,)) as unfinished, netCDF4.Dataset(unfinished, "w") as file:
        file.setncatts(_attributes(supercell))
        for name, size in sizes.items():
            file.createDimension(name, size)
        for name, (dimensions, unit) in VARIABLES.items():
            shape = [sizes[dimension] or 1 for dimension in dimensions]
            # NetCDF's default of one frame a block would make long runs slow to read.
            shape[0] = max(shape[0], _BLOCK_BYTES // (8 * math.prod(shape)))
            blocks = shape if dimensions[0] == "time" else None
            file.createVariable(name, "f8", dimensions, chunksizes=blocks).units = unit
        file["force_constants"][:] = constants[supercell.atom_of_site]

        def write(index: int, row: dict[str, np.ndarray | float]) -> None:
            for name, value in row.items():
                file[name][index] = value

        yield write


def _attributes(supercell: IdealSupercell) -> dict[str, Any]:
    ideal = supercell.frame
    return {
        "atoms_primitive": _json(supercell.primitive),
        "atoms_supercell": _json(ideal),
        "atoms_reference": _json(ideal),
        "masses": np.asarray(ideal.masses),
        "natoms": ideal.n_atoms,
        "volume": ideal.volume,
    }


def _json(frame: Frame) -> str:
    """Keywords of ASE's Atoms."""
    return json.dumps(
        {
            "numbers": frame.numbers.tolist(),
            "positions": frame.positions.tolist(),
            "cell": np.asarray(frame.cell).tolist(),
            "pbc": True,
            "masses": np.asarray(frame.masses).tolist(),
        }
    )
