"""Writes AMBER NetCDF trajectories with velocities, and converts any trajectory into one.

The files follow the AMBER NetCDF convention (http://ambermd.org/netcdf/nctraj.xhtml); velocities are stored in Å/ps
without the optional ``scale_factor``. Extensions, named in the attribute ``fluxan_extensions``: ``atomic_number`` and
``mass`` per atom, ``cell_vectors`` (lengths and angles lose the cell's orientation and last bits), ``time`` in float64,
and, where asked for, coordinates and velocities in float64.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fluxan.errors import InputError, OutputError, TrajectoryError
from fluxan.system import PERIODIC
from fluxan.trajectory.cdf_write import ClassicWriter
from fluxan.trajectory.cell import lengths_angles_from_cell
from fluxan.trajectory.readahead import read_ahead

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from fluxan.system import Frame
    from fluxan.trajectory.trajectory_base import Trajectory


@dataclass(frozen=True, slots=True)
class AmberContents:
    """Atoms and variables of an AMBER file, the same for all frames.

    Attributes
    ----------
    numbers : (n_atoms,) int
        Atomic numbers.
    masses : (n_atoms,) float
        Masses, u.
    has_cell : bool
        Whether frames have cells.
    pbc : (bool, bool, bool)
        Which cell directions are periodic; none where frames have no cell.
    has_velocities : bool
        Whether frames have velocities.
    has_time : bool
        Whether the frames' times are physical; without them readers count frames.
    double : bool
        Store coordinates and velocities in float64, bit for bit (fluxan's extension; the convention is float32).
    model_text : str or None
        Description of the model (TOML).
    title : str
        Title of the run.
    """

    numbers: np.ndarray
    masses: np.ndarray
    has_cell: bool = True
    pbc: tuple[bool, bool, bool] = PERIODIC
    has_velocities: bool = True
    has_time: bool = True
    double: bool = False
    model_text: str | None = None
    title: str = ""


class AmberWriter:
    """Writes frames one after the other; use it in a ``with`` statement.

    Parameters
    ----------
    path : str or Path
        File to write.
    contents : AmberContents
        Atoms and variables of the file.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    OutputError
        The file exists already, or cannot be written.
    """

    def __init__(self, path: str | Path, contents: AmberContents, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        if self.path.exists() and not overwrite:
            raise OutputError(f"{self.path} exists; choose another name or say overwrite=True")
        self.contents, self.n_frames = contents, 0
        self._numbers = np.asarray(contents.numbers)
        self.n_atoms = len(self._numbers)
        self._pbc = tuple(contents.pbc) if contents.has_cell else (False, False, False)
        with _writing(self.path):
            self._file = ClassicWriter(
                self.path,
                dimensions={"spatial": 3, "atom": self.n_atoms, "cell_spatial": 3, "cell_angular": 3, "label": 5},
                attributes=self._attributes(),
                constants=self._constants(),
                per_frame=self._variables(),
            )

    def write(self, frame: Frame) -> None:
        """Append one frame.

        Raises
        ------
        InputError
            Its atoms, periodic directions or lack of velocities do not fit the file's.
        OutputError
            The file cannot be written.
        """
        self._check(frame)
        values: dict[str, Any] = {"coordinates": frame.positions}
        if self.contents.has_time:
            values["time"] = frame.time
        if self.contents.has_velocities:
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
        with suppress(OutputError) if error is not None else nullcontext():  # the error being raised says more
            self.close()

    def _check(self, frame: Frame) -> None:
        if frame.n_atoms != self.n_atoms or not np.array_equal(frame.numbers, self._numbers):
            raise InputError(f"frame {self.n_frames} has other atoms than the file {self.path.name} was begun with")
        has_cell = self.contents.has_cell
        if (frame.cell is not None) != has_cell or (has_cell and frame.pbc != self._pbc):
            raise InputError(f"frame {self.n_frames} has other periodic directions than the file {self.path.name}")
        if self.contents.has_velocities and frame.velocities is None:
            raise InputError(f"frame {self.n_frames} has no velocities; the file {self.path.name} was begun with them")

    def _attributes(self) -> dict[str, Any]:
        from fluxan.version import __version__

        attributes: dict[str, Any] = {
            "title": self.contents.title,
            "application": "fluxan",
            "program": "fluxan",
            "programVersion": __version__,
            "Conventions": "AMBER",
            "ConventionVersion": "1.0",
            "fluxan_extensions": "atomic_number mass cell_vectors float64_time" + " float64" * self.contents.double,
            "fluxan_pbc": [int(periodic) for periodic in self._pbc],
        }
        text = self.contents.model_text
        return attributes if text is None else attributes | {"fluxan_model": text}

    def _variables(self) -> dict[str, tuple[str, tuple[str, ...], str]]:
        """Type, dimensions and unit of each variable that has one entry per frame."""
        real = "f8" if self.contents.double else "f4"
        variables: dict[str, tuple[str, tuple[str, ...], str]] = {}
        if self.contents.has_time:
            variables["time"] = ("f8", (), "picosecond")
        variables["coordinates"] = (real, ("atom", "spatial"), "angstrom")
        if self.contents.has_velocities:
            variables["velocities"] = (real, ("atom", "spatial"), "angstrom/picosecond")
        if self.contents.has_cell:
            variables["cell_lengths"] = ("f8", ("cell_spatial",), "angstrom")
            variables["cell_angles"] = ("f8", ("cell_angular",), "degree")
            variables["cell_vectors"] = ("f8", ("cell_spatial", "spatial"), "angstrom")
        return variables

    def _constants(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        angles = [list(word.ljust(5)) for word in ("alpha", "beta", "gamma")]
        return {
            "spatial": (("spatial",), np.array(list("xyz"), dtype="S1")),
            "cell_spatial": (("cell_spatial",), np.array(list("abc"), dtype="S1")),
            "cell_angular": (("cell_angular", "label"), np.array(angles, dtype="S1")),
            "atomic_number": (("atom",), self._numbers.astype(np.int32)),
            "mass": (("atom",), np.asarray(self.contents.masses, dtype=np.float64)),
        }


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn `OSError` into `OutputError`."""
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
    traj : str, Path, Trajectory or other object
        Anything that `fluxan.trajectory.as_trajectory` takes.
    output : str or Path
        File to write; it appears under this name when it is complete.
    double : bool
        Store float64, so that the round trip is exact to the last bit.
    overwrite : bool
        Replace an existing file.
    model_text : str, optional
        Description of the model (TOML) to store; by default that of `traj`.
    velocities : (n_frames, n_atoms, 3) array, str or Path, optional
        Velocities, Å/ps, where `traj` has none.
    **reader : object
        Options of `fluxan.open_trajectory`.

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
    return _write_whole(trajectory, output, double=double, model_text=model_text or trajectory.model_text)


def _write_whole(trajectory: Trajectory, output: Path, *, double: bool, model_text: str | None) -> int:
    """Write to a temporary file beside the output, then rename it; remove it if anything fails."""
    partial = output.with_name(output.name + ".part")
    try:
        n_frames = _write_all(trajectory, partial, double=double, model_text=model_text)
        with _writing(output):
            partial.replace(output)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return n_frames


def _write_all(trajectory: Trajectory, path: Path, *, double: bool, model_text: str | None) -> int:
    frames = read_ahead(trajectory)
    first = next(frames, None)
    if first is None:
        raise TrajectoryError(f"{trajectory.name}: no frame is selected")
    contents = AmberContents(
        numbers=first.numbers,
        masses=np.asarray(first.masses),
        has_cell=first.cell is not None,
        pbc=first.pbc,
        has_velocities=first.velocities is not None,
        has_time=trajectory.has_time,
        double=double,
        model_text=model_text,
    )
    with AmberWriter(path, contents, overwrite=True) as writer:
        for frame in chain([first], frames):
            writer.write(frame)
    return writer.n_frames
