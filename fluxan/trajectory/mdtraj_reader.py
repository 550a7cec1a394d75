"""Reads positions from files of any format of mdtraj (DCD, XTC, PDB, …), and from mdtraj.Trajectory objects.

Velocities must be given separately. Files are read in a child process: the C code of mdtraj's XTC reader overruns its
buffers on a damaged file, and its plugins print to standard output.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from fluxan.errors import FileError, InputError, TrajectoryError
from fluxan.trajectory.frame_record import FrameRecord
from fluxan.trajectory.species import numbers_of_atoms, topology_numbers
from fluxan.trajectory.trajectory_base import Trajectory
from fluxan.units import LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fluxan.trajectory.reader_options import ReaderOptions

_NM = LENGTH["nm"]

#: Suffixes of formats that contain the topology.
_WITH_TOPOLOGY = (".pdb", ".pdb.gz", ".cif", ".gro", ".lh5", ".gsd")
#: Suffixes of formats that contain times, in ps.
_WITH_TIME = (".xtc", ".gro", ".tng", ".dtr")


class MdtrajTrajectory(Trajectory):
    """A file that mdtraj reads; where its format has no times, they are frame numbers, times ``timestep`` if given."""

    format = "mdtraj"
    seeks = False

    def __init__(self, path: Path, options: ReaderOptions) -> None:
        super().__init__(path, options)
        self._file = path
        self.format = f"mdtraj {path.suffix.lower()}"
        self._stored_time = path.suffix.lower() in _WITH_TIME and options.timestep is None
        self.has_time = self._stored_time or options.timestep is not None
        self._numbers: np.ndarray | None = None
        if options.topology is not None:
            self._numbers = topology_numbers(options.topology)
        elif not path.name.lower().endswith(_WITH_TOPOLOGY):
            raise InputError(f"{self.name}: such files hold no topology; give topology=, e.g. a .pdb file")

    def _records(self, indices: range) -> Iterator[FrameRecord]:
        n_atoms = 0 if self._numbers is None else len(self._numbers)
        index = 0
        with tempfile.TemporaryFile() as complaints:
            command = [
                sys.executable,
                "-m",
                "fluxan.trajectory.mdtraj_worker",
                str(self._file.absolute()),
                str(n_atoms),
            ]
            child, stream = _start(command, complaints)
            try:
                for positions, cells, times in _received(stream):
                    for local in range(len(positions)):
                        if index >= indices.stop:
                            return
                        if index in indices:
                            cell = cells[local] if len(cells) else None
                            yield self._record(positions[local], cell, float(times[local]))
                        index += 1
                self._check_end(child.wait(), complaints, index)
            finally:
                child.kill()
                child.wait()
                stream.close()

    def _record(self, positions: np.ndarray, cell: np.ndarray | None, time: float) -> FrameRecord:
        if self._numbers is None:
            self._numbers = self._own_numbers(len(positions))
        return _record(positions, cell, time if self._stored_time else None, self._numbers)

    def _own_numbers(self, n_atoms: int) -> np.ndarray:
        """Atomic numbers that the user gives, or those of the file's own topology."""
        if self.options.elements is not None:
            return numbers_of_atoms(n_atoms, self.options, what=self.name)
        return topology_numbers(self._file)

    def _check_end(self, status: int, complaints: BinaryIO, index: int) -> None:
        """Raise an error if the child failed, with what it wrote to standard error."""
        if status == 0 and index > 0:
            return
        complaints.seek(0)
        lines = complaints.read().decode("utf-8", "replace").strip().splitlines()
        reason = (
            f"it crashed on it (signal {-status})" if status < 0 else lines[-1][:200] if lines else "no frame found"
        )
        kind = TrajectoryError if index else FileError
        raise kind(f"{self.name}, frame {index}: mdtraj cannot read it ({reason}); is the file cut or damaged?")


class MdtrajObject(Trajectory):
    """An ``mdtraj.Trajectory``; times 0, 1, 2, … are ignored: mdtraj sets them where a file has no times."""

    format = "mdtraj trajectory"

    def __init__(self, traj: Any, options: ReaderOptions) -> None:
        super().__init__(None, options)
        self._traj = traj
        self._stored_time = not np.array_equal(traj.time, np.arange(traj.n_frames)) and options.timestep is None
        self.has_time = self._stored_time or options.timestep is not None
        if options.elements is not None:
            self._numbers = numbers_of_atoms(traj.n_atoms, options, what="the trajectory")
        else:
            self._numbers = topology_numbers(traj.topology)

    def _file_frames(self) -> int:
        return int(self._traj.n_frames)

    def _records(self, indices: range) -> Iterator[FrameRecord]:
        traj = self._traj
        vectors = traj.unitcell_vectors
        for index in range(indices.start, min(indices.stop, traj.n_frames), indices.step):
            cell = None if vectors is None else vectors[index]
            time = float(traj.time[index]) if self._stored_time else None
            yield _record(traj.xyz[index], cell, time, self._numbers)


def _start(command: list[str], complaints: BinaryIO) -> tuple[subprocess.Popen, BinaryIO]:
    """Start the child process; returns it and its standard output."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, stdin=subprocess.DEVNULL)
    return child, cast("BinaryIO", child.stdout)


def _received(stream: BinaryIO) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Positions, cells and times of each whole chunk that the child sends, until it stops."""
    while line := stream.readline():
        n_frames, n_atoms, n_cells = (int(word) for word in line.split())
        shapes = (((n_frames, n_atoms, 3), np.float32), ((n_cells, 3, 3), np.float32), ((n_frames,), np.float64))
        arrays = []
        for shape, kind in shapes:
            n_bytes = math.prod(shape) * np.dtype(kind).itemsize
            data = stream.read(n_bytes)
            if len(data) < n_bytes:
                return  # the child died within a chunk; its exit status is checked next
            arrays.append(np.frombuffer(data, kind).reshape(shape))
        yield arrays[0], arrays[1], arrays[2]


def _record(positions: np.ndarray, cell: np.ndarray | None, time: float | None, numbers: np.ndarray) -> FrameRecord:
    """Make a record of one frame, converted from nm."""
    periodic = cell is not None and bool(cell.any())
    return FrameRecord(
        positions=positions.astype(np.float64) * _NM,
        numbers=numbers,
        cell=cell.astype(np.float64) * _NM if cell is not None and periodic else None,
        time=time,
        # mdtraj keeps times in single precision, as XTC does.
        time_resolution=0.0 if time is None else float(np.spacing(np.float32(abs(time)))),
        pbc=(periodic, periodic, periodic),
    )
