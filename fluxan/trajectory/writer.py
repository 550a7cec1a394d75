"""Writing AMBER NetCDF trajectories with velocities, and converting any trajectory into one.

The files follow the AMBER NetCDF convention (http://ambermd.org/netcdf/nctraj.xhtml); velocities are stored in Å/ps
without the optional ``scale_factor``. Extensions, named in the attribute ``fluxan_extensions``: ``atomic_number`` and
``mass`` per atom, ``cell_vectors`` (lengths and angles lose the cell's orientation and last bits), ``time`` in float64,
and, where asked for, coordinates and velocities in float64.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fluxan.errors import InputError, OutputError, TrajectoryError
from fluxan.trajectory.cdf_write import ClassicWriter
from fluxan.trajectory.cell import lengths_angles_from_cell
from fluxan.trajectory.readahead import read_ahead

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from fluxan.system import Frame
    from fluxan.trajectory.base import Trajectory


class AmberWriter:
    """Writes frames as they come; use it in a ``with`` statement.

    Parameters
    ----------
    path : file to write
    n_atoms : number of atoms of every frame
    numbers : (n_atoms,) atomic numbers
    masses : (n_atoms,) u
    periodic : whether frames have cells
    pbc : which cell directions are periodic
    time : whether the frames' times are physical; without them readers count frames
    double : store coordinates and velocities in float64, bit for bit (fluxan's extension; the convention is float32)
    model_text : description of the model (TOML) to store with the trajectory
    overwrite : replace an existing file

    Raises
    ------
    OutputError
        The file exists already, or cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        n_atoms: int,
        *,
        numbers: np.ndarray,
        masses: np.ndarray,
        periodic: bool = True,
        pbc: tuple[bool, bool, bool] = (True, True, True),
        velocities: bool = True,
        time: bool = True,
        double: bool = False,
        model_text: str | None = None,
        title: str = "",
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        if self.path.exists() and not overwrite:
            raise OutputError(f"{self.path} exists; choose another name or say overwrite=True")
        self.n_atoms, self.n_frames = n_atoms, 0
        self._time = time
        self._periodic, self._velocities, self._pbc = periodic, velocities, tuple(pbc) if periodic else (False,) * 3
        self._numbers = np.asarray(numbers)
        with _writing(self.path):
            self._file = ClassicWriter(
                self.path,
                dimensions={"spatial": 3, "atom": n_atoms, "cell_spatial": 3, "cell_angular": 3, "label": 5},
                attributes=self._attributes(title, double=double, model_text=model_text),
                constants=self._constants(masses),
                per_frame=self._variables("f8" if double else "f4"),
            )

    def write(self, frame: Frame) -> None:
        """Append one frame."""
        self._check(frame)
        values: dict[str, Any] = {"coordinates": frame.positions}
        if self._time:
            values["time"] = frame.time
        if self._velocities:
            values["velocities"] = frame.velocities
        if frame.cell is not None:
            lengths, angles = lengths_angles_from_cell(frame.cell)
            values |= {"cell_lengths": lengths, "cell_angles": angles, "cell_vectors": frame.cell}
        with _writing(self.path):
            self._file.write(values)
        self.n_frames += 1

    def close(self) -> None:
        """Finish the file."""
        with _writing(self.path):
            self._file.close()

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file, whatever happened."""
        with suppress(OutputError) if error is not None else nullcontext():  # the error on its way tells more
            self.close()

    def _check(self, frame: Frame) -> None:
        if frame.n_atoms != self.n_atoms or not np.array_equal(frame.numbers, self._numbers):
            raise InputError(f"frame {self.n_frames} has other atoms than the file {self.path.name} was begun with")
        if (frame.cell is not None) != self._periodic or (self._periodic and frame.pbc != self._pbc):
            raise InputError(f"frame {self.n_frames} has other periodic directions than the file {self.path.name}")
        if self._velocities and frame.velocities is None:
            raise InputError(f"frame {self.n_frames} has no velocities; the file {self.path.name} was begun with them")

    def _attributes(self, title: str, *, double: bool, model_text: str | None) -> dict[str, Any]:
        from fluxan.version import __version__

        attributes: dict[str, Any] = {
            "title": title,
            "application": "fluxan",
            "program": "fluxan",
            "programVersion": __version__,
            "Conventions": "AMBER",
            "ConventionVersion": "1.0",
            "fluxan_extensions": "atomic_number mass cell_vectors float64_time" + " float64" * double,
            "fluxan_pbc": [int(periodic) for periodic in self._pbc],
        }
        return attributes if model_text is None else attributes | {"fluxan_model": model_text}

    def _variables(self, real: str) -> dict[str, tuple[str, tuple[str, ...], str]]:
        """Per-frame variables: type, dimensions, unit."""
        variables: dict[str, tuple[str, tuple[str, ...], str]] = {}
        if self._time:
            variables["time"] = ("f8", (), "picosecond")
        variables["coordinates"] = (real, ("atom", "spatial"), "angstrom")
        if self._velocities:
            variables["velocities"] = (real, ("atom", "spatial"), "angstrom/picosecond")
        if self._periodic:
            variables["cell_lengths"] = ("f8", ("cell_spatial",), "angstrom")
            variables["cell_angles"] = ("f8", ("cell_angular",), "degree")
            variables["cell_vectors"] = ("f8", ("cell_spatial", "spatial"), "angstrom")
        return variables

    def _constants(self, masses: np.ndarray) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        angles = [list(word.ljust(5)) for word in ("alpha", "beta", "gamma")]
        return {
            "spatial": (("spatial",), np.array(list("xyz"), dtype="S1")),
            "cell_spatial": (("cell_spatial",), np.array(list("abc"), dtype="S1")),
            "cell_angular": (("cell_angular", "label"), np.array(angles, dtype="S1")),
            "atomic_number": (("atom",), self._numbers.astype(np.int32)),
            "mass": (("atom",), np.asarray(masses, dtype=np.float64)),
        }


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn the system's errors into `OutputError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: cannot be written ({reason}); choose another place or make room") from error


def convert(
    traj: Any,
    output: str | Path,
    *,
    double: bool = False,
    overwrite: bool = False,
    model_text: str | None = None,
    velocities: Any = None,
    **reader: Any,
) -> int:
    """Write any trajectory as AMBER NetCDF with velocities; returns the number of frames.

    Parameters
    ----------
    traj : whatever `fluxan.trajectory.as_trajectory` takes
    output : file to write; it appears under this name when it is whole
    double : store float64, so that the round trip is exact to the last bit
    model_text : description of the model (TOML) to store; by default the one that `traj` carries
    velocities : (n_frames, n_atoms, 3) Å/ps, where `traj` has none
    **reader : options of `fluxan.open_trajectory`

    Raises
    ------
    FluxanError
        A frame is broken, or the output exists or cannot be written; then no output is left behind.
    """
    from fluxan.trajectory.opening import as_trajectory

    output = Path(output)
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists; choose another name or say overwrite=True")
    trajectory = as_trajectory(traj, velocities=velocities, **reader)
    if trajectory.path is not None and output.exists() and output.samefile(trajectory.path):
        raise OutputError(f"{output} is the trajectory itself; give another output")
    partial = output.with_name(output.name + ".part")
    try:
        n_frames = _write_all(trajectory, partial, double=double, model_text=model_text or trajectory.model_text)
        _replace(partial, output)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return n_frames


def _write_all(trajectory: Trajectory, path: Path, *, double: bool, model_text: str | None) -> int:
    frames = read_ahead(trajectory)
    first = next(frames, None)
    if first is None:
        raise TrajectoryError(f"{trajectory.name}: no frame is selected")
    with _writer_for(first, path, double=double, model_text=model_text, time=trajectory.has_time) as writer:
        for frame in chain([first], frames):
            writer.write(frame)
    return writer.n_frames


def _writer_for(frame: Frame, path: Path, *, double: bool, model_text: str | None, time: bool) -> AmberWriter:
    return AmberWriter(
        path,
        frame.n_atoms,
        numbers=frame.numbers,
        masses=np.asarray(frame.masses),
        periodic=frame.cell is not None,
        pbc=frame.pbc,
        velocities=frame.velocities is not None,
        time=time,
        double=double,
        model_text=model_text,
        overwrite=True,
    )


def _replace(partial: Path, output: Path) -> None:
    with _writing(output):
        partial.replace(output)
