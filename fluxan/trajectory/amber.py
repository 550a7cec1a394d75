"""Reads AMBER NetCDF trajectories with velocities, in NetCDF classic or NetCDF-4 files.

Convention: "AMBER NetCDF Trajectory/Restart Convention", http://ambermd.org/netcdf/nctraj.xhtml. Stored values times
``scale_factor`` are in the variable's ``units``; the factor is applied in this module only. A header
written by sander, as ``ncdump -h`` prints it:

    dimensions:  frame = UNLIMITED ; spatial = 3 ; atom = 22 ; cell_spatial = 3 ; cell_angular = 3 ;
    variables:   float time(frame) ;                          time:units = "picosecond" ;
                 float coordinates(frame, atom, spatial) ;    coordinates:units = "angstrom" ;
                 float velocities(frame, atom, spatial) ;     velocities:units = "angstrom/picosecond" ;
                                                              velocities:scale_factor = 20.455f ;
                 double cell_lengths(frame, cell_spatial) ;   double cell_angles(frame, cell_angular) ;
    // global:   :Conventions = "AMBER" ; :program = "sander" ;
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import FileError, InputError, TrajectoryError
from fluxan.system import PERIODIC
from fluxan.trajectory.cdf import ClassicFile
from fluxan.trajectory.cell import cell_from_lengths_angles
from fluxan.trajectory.frame_record import FrameRecord
from fluxan.trajectory.hdf5_file import Hdf5File
from fluxan.trajectory.lammps_units import LammpsUnits
from fluxan.trajectory.netcdf_units import DIMENSIONS, example_units, factor, lammps_unit
from fluxan.trajectory.species import numbers_from_types, numbers_of_atoms
from fluxan.trajectory.trajectory_base import BLOCK_BYTES, Trajectory, naming
from fluxan.units import VELOCITY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fluxan.trajectory.reader_options import ReaderOptions

#: sander and pmemd update v(t + Δt/2) = v(t − Δt/2) + Δt f(t)/m, then x(t + Δt) = x(t) + Δt v(t + Δt/2), and write both
#: together: velocities are half a step behind (D. A. Case, http://archive.ambermd.org/200203/0086.html).
_LEAPFROG_PROGRAMS = ("sander", "pmemd")

#: Variables with one entry per frame that are read: names of the convention, and those of LAMMPS.
_PER_FRAME = (
    "time", "coordinates", "velocities", "forces", "cell_lengths", "cell_angles", "cell_vectors", "id", "identifier",
    "type", "atom_types",
)  # fmt: skip


class AmberTrajectory(Trajectory):
    """AMBER NetCDF; elements come from fluxan's ``atomic_number`` variable, ``elements`` or ``topology``."""

    format = "AMBER NetCDF"

    def __init__(self, path: str | Path, options: ReaderOptions) -> None:
        super().__init__(path, options)
        self._file = _open(Path(path))
        variables = self._file.variables
        if "coordinates" not in variables or not variables["coordinates"].per_frame:
            raise FileError(f"{path}: no coordinates along frames; this NetCDF file is no AMBER trajectory")
        self._n_atoms = self._file.variables["coordinates"].shape[0]
        self._program = str(self._file.attributes.get("program", "")).lower()
        self._check_asked_units()
        self._names = [name for name in _PER_FRAME if name in variables and variables[name].per_frame]
        with naming(self.name):
            self._check_shapes()
            self._factors = self._known_factors()
        self.velocity_factor = self._factors.get("velocities", 1.0)
        flags = np.atleast_1d(self._file.attributes.get("fluxan_pbc", PERIODIC))
        self._pbc = PERIODIC if flags.shape != (3,) else (bool(flags[0]), bool(flags[1]), bool(flags[2]))
        text = self._file.attributes.get("fluxan_model")
        self.model_text = text if isinstance(text, str) and text else None
        self.has_time = "time" in self._names
        lagging = any(name in self._program for name in _LEAPFROG_PROGRAMS)
        self.half_step = (lagging if options.leapfrog is None else options.leapfrog) and "velocities" in self._names
        self.md_step = options.timestep
        self._species: tuple[np.ndarray, np.ndarray | None] | None = None

    def _file_frames(self) -> int:
        return self._file.n_frames

    def _check_asked_units(self) -> None:
        asked = self.options.units
        if asked is not None and asked not in {*VELOCITY, "metal", "real", "lj"}:
            raise InputError(f"units={asked!r} of velocities; expected one of {', '.join(VELOCITY)}, metal, real, lj")

    def _check_shapes(self) -> None:
        n = self._n_atoms
        expected = {"coordinates": (n, 3), "velocities": (n, 3), "forces": (n, 3), "time": (), "cell_vectors": (3, 3)}
        expected |= {"cell_lengths": (3,), "cell_angles": (3,)}
        for name in self._names:
            shape = self._file.variables[name].shape
            if shape != expected.get(name, (n,)):
                raise InputError(f"variable {name!r} has shape {shape} per frame, expected {expected.get(name, (n,))}")

    def _known_factors(self) -> dict[str, float]:
        """Factors of all variables that are read; times and forces in unknown units are left out."""
        factors = {}
        for name in list(self._names):
            try:
                factors[name] = self._factor(name)
            except InputError as error:
                if name == "time":
                    self.time_problem = str(error)
                elif name == "forces":
                    self._lacking_forces = str(error)
                    self.note(f"{error}; they are set aside")
                else:
                    raise
                self._names.remove(name)
        return factors

    def _factor(self, name: str) -> float:
        """Factor from stored values of a variable to fluxan's unit.

        The option ``units`` takes precedence for velocities, then the variable's own ``units`` and ``scale_factor``.
        """
        attributes, asked = self._file.variables[name].attributes, self.options.units
        if name == "velocities" and asked in VELOCITY:
            return VELOCITY[asked]
        scale = attributes.get("scale_factor", 1.0)
        if not (isinstance(scale, int | float | np.number) and np.isfinite(scale) and scale != 0):
            raise InputError(f"scale_factor of {name!r} is {scale!r}; expected a number")
        unit = self._unit(name) if name in DIMENSIONS else None
        if unit is None:
            return float(scale)
        found = self._reduced(name) if unit == "lj" else factor(name, unit)
        if found is None:
            way = f"; name it: units= one of {', '.join(VELOCITY)}" if name == "velocities" else ""
            raise InputError(
                f"{name.replace('time', 'times')} are in {unit!r}; known units are {example_units(name)}{way}"
            )
        return float(scale) * found

    def _unit(self, name: str) -> str | None:
        """Unit of a variable as the file gives it; None for that of the convention."""
        variables = self._file.variables
        named = {key: str(variable.attributes.get("units", "")).strip("\0 ") for key, variable in variables.items()}
        if named[name]:
            return named[name]
        if name == "velocities" and self.options.units in {"metal", "real"}:
            return {"metal": "angstrom/picosecond", "real": "angstrom/femtosecond"}[self.options.units]
        if name == "forces":
            return "no unit"
        return lammps_unit(name, named) if "lammps" in self._program else None

    def _reduced(self, name: str) -> float:
        """Factor of a variable in LAMMPS' reduced units."""
        units = LammpsUnits.of("lj", self.options)
        return {"time": units.time, "velocities": units.velocity, "forces": units.force}.get(name, units.length)

    def unit_advice(self, unit: str) -> str:
        """Advise how to read velocities in another unit: by the option, which takes precedence over the file."""
        return f"{unit} (units={unit!r})"

    def _records(self, indices: range) -> Iterator[FrameRecord]:
        n_frames = self._file.n_frames
        wanted = range(indices.start, min(indices.stop, n_frames), indices.step)
        # Frames far apart are read one by one; close ones in blocks, together with the frames between them.
        per_block = max(1, BLOCK_BYTES // max(self._file.frame_bytes(), 1) // indices.step)
        for begin in range(0, len(wanted), per_block):
            part = wanted[begin : begin + per_block]
            with naming(self.name):
                block = self._file.read_frames(self._names, part.start, part[-1] - part.start + 1)
            for index in part:
                with self.naming(index):
                    record = self._record({name: values[index - part.start] for name, values in block.items()})
                yield record
        if self._file.is_cut and indices.stop > n_frames:
            raise TrajectoryError(
                f"{self.name}, frame {n_frames}: the file is cut within this frame; {n_frames} are whole"
            )

    def _record(self, stored: dict[str, np.ndarray]) -> FrameRecord:
        values = {name: self._scaled(name, array) for name, array in stored.items()}
        kinds = next((stored[name] for name in ("type", "atom_types") if name in stored), None)
        ids = next((stored[name] for name in ("id", "identifier") if name in stored), None)
        order: Any = slice(None) if ids is None else np.argsort(ids, kind="stable")
        numbers, masses = self._atoms(None if kinds is None else kinds[order].astype(np.int64))
        cell = self._cell(values)
        return FrameRecord(
            positions=values["coordinates"][order],
            velocities=values["velocities"][order] if "velocities" in values else None,
            forces=values["forces"][order] if "forces" in values else None,
            cell=cell,
            numbers=numbers,
            masses=masses,
            time=float(values["time"]) if "time" in values else None,
            time_resolution=self._time_resolution(stored["time"]) if "time" in stored else 0.0,
            pbc=self._pbc if cell is not None else (False, False, False),
            ids=None if ids is None else ids[order].astype(np.int64),
        )

    def _scaled(self, name: str, array: np.ndarray) -> np.ndarray:
        values = array.astype(np.float64)
        factor = self._factors[name]
        return values if factor == 1.0 else values * factor

    def _time_resolution(self, stored: np.ndarray) -> float:
        """Rounding of a stored time, ps."""
        return abs(float(np.spacing(stored)) * self._factors["time"]) if stored.dtype.kind == "f" else 0.0

    def _cell(self, values: dict[str, np.ndarray]) -> np.ndarray | None:
        if "cell_vectors" in values:
            return values["cell_vectors"]
        if "cell_lengths" not in values or not values["cell_lengths"].any():
            return None
        angles = values.get("cell_angles", np.full(3, 90.0))
        return cell_from_lengths_angles(values["cell_lengths"], angles)

    def _atoms(self, types: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Atomic numbers and, where the file has them, masses, u."""
        if types is not None:
            return numbers_from_types(types, self.options), None
        if self._species is None:
            self._species = self._read_atoms()
        return self._species

    def _read_atoms(self) -> tuple[np.ndarray, np.ndarray | None]:
        variables = self._file.variables
        own = {
            name: self._file.read(name)
            for name in ("atomic_number", "mass")
            if name in variables and variables[name].shape == (self._n_atoms,)
        }
        masses = own.get("mass")
        if self.options.elements is None and self.options.topology is None and "atomic_number" in own:
            return own["atomic_number"], masses
        return numbers_of_atoms(self._n_atoms, self.options, what=self.name), masses


def _open(path: Path) -> ClassicFile | Hdf5File:
    with path.open("rb") as file:
        magic = file.read(4)
    return ClassicFile(path) if magic[:3] == b"CDF" else Hdf5File(path, frame_variables=_PER_FRAME)
