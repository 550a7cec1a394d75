"""Reads GROMACS TRR files with positions, velocities and forces, in single and double precision.

They are parsed here, since mdtraj's public reader drops velocities and chemfiles drops forces. Format: GROMACS'
``src/gromacs/fileio/trrio.cpp`` (XDR, big-endian). Units: nm, ps, kJ/(mol nm). Each frame is

    bytes 0-3     1993                                  magic number
    bytes 4-23    13, 12, "GMX_trn_file"                version string with its lengths
    bytes 24-63   10 integers                           sizes in bytes of the blocks `_BLOCKS`; 0 where there is none
    bytes 64-75   3 integers                            number of atoms, number of the MD step, unused
    then          2 reals                               time, lambda; float32 or float64, as the sizes of blocks imply
    then          box, virial, pressure, x, v, f        as many as have a size

GROMACS' default integrator (``md``, leapfrog) stores v(t − Δt/2) with x(t) and f(t) (GROMACS Reference Manual, chapter
"Molecular Dynamics": "velocities at t0 - dt/2 are known"). TRR does not name the integrator, so leapfrog is assumed,
with a warning; ``leapfrog=False`` is for runs with md-vv.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from fluxan.errors import InputError
from fluxan.trajectory.frame_record import FrameRecord
from fluxan.trajectory.species import numbers_of_atoms
from fluxan.trajectory.trajectory_base import Trajectory
from fluxan.units import KJ_PER_MOL, LENGTH, VELOCITY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fluxan.trajectory.reader_options import ReaderOptions

MAGIC = (1993).to_bytes(4, "big")
_BLOCKS = ("ir", "energy", "box", "virial", "pressure", "topology", "symbols", "x", "v", "f")
_NM = LENGTH["nm"]


@dataclass(frozen=True, slots=True)
class _Head:
    """Header of one frame.

    Attributes
    ----------
    sizes : dict of str to int
        Size of each block, bytes.
    n_atoms, step : int
        Number of atoms, and number of the MD step.
    time : float
        Time, ps.
    begin : int
        Offset of the blocks in the file, bytes.
    real : numpy.dtype
        Type of real numbers.
    """

    sizes: dict[str, int]
    n_atoms: int
    step: int
    time: float
    begin: int
    real: np.dtype

    @property
    def end(self) -> int:
        """Offset of the next frame in the file, bytes."""
        return self.begin + sum(self.sizes.values())


class TrrTrajectory(Trajectory):
    """GROMACS TRR; elements come from ``topology`` or ``elements``."""

    format = "GROMACS TRR"
    velocity_factor = VELOCITY["nm/ps"]

    def __init__(self, path: str | Path, options: ReaderOptions) -> None:
        super().__init__(path, options)
        self._file = Path(path)
        self._size = self._file.stat().st_size
        with self._file.open("rb") as file, self.naming(0):
            first = self._head(file, 0)
            self._numbers = numbers_of_atoms(first.n_atoms, options, what=self.name)
            second = self._second(file, first)
        self.md_step = options.timestep or _md_step(first, second)
        #: Where times were never set, frames are distinguished by their steps.
        self._counts_steps = second is not None and second.time == first.time and second.step > first.step
        self.half_step = options.leapfrog is not False and first.sizes["v"] > 0
        self._total: int | None = None

    def _second(self, file: BinaryIO, first: _Head) -> _Head | None:
        """Read the header of the second frame, where there is one."""
        if first.end >= self._size:
            return None
        try:
            return self._head(file, first.end)
        except InputError:
            return None

    def _file_frames(self) -> int:
        """Number of whole frames, counted from header to header."""
        if self._total is None:
            position, self._total = 0, 0
            with self._file.open("rb") as file:
                while position < self._size:
                    try:
                        position = self._head(file, position).end
                    except InputError:
                        break
                    self._total += 1
        return self._total

    def _records(self, indices: range) -> Iterator[FrameRecord]:
        first, position = self._begin_near(indices.start)
        with self._file.open("rb") as file:
            for index in range(first, indices.stop):
                if position >= self._size:
                    return
                self._mark = (index, position)
                with self.naming(index):
                    head = self._head(file, position)
                    record = self._record(file, head) if index in indices else None
                if record is not None:
                    yield record
                position = head.end

    def _record(self, file: BinaryIO, head: _Head) -> FrameRecord:
        file.seek(head.begin)
        blocks = {name: np.frombuffer(file.read(size), head.real) for name, size in head.sizes.items() if size}
        if "x" not in blocks:
            raise InputError("has no positions; select frames that have (start=, stride=)")
        vectors = {
            name: blocks[name].reshape(-1, 3).astype(np.float64) for name in ("box", "x", "v", "f") if name in blocks
        }
        cell = vectors["box"] * _NM if "box" in vectors and vectors["box"].any() else None
        return FrameRecord(
            positions=vectors["x"] * _NM,
            velocities=vectors["v"] * VELOCITY["nm/ps"] if "v" in vectors else None,
            forces=vectors["f"] * (KJ_PER_MOL / _NM) if "f" in vectors else None,
            cell=cell,
            numbers=self._numbers,
            time=head.time,
            time_resolution=float(np.spacing(head.real.type(abs(head.time)))),
            step=head.step if self._counts_steps else None,
            pbc=(True, True, True) if cell is not None else (False, False, False),
        )

    def _head(self, file: BinaryIO, position: int) -> _Head:
        """Parse the header at byte `position`, and check it against the size of the file."""
        file.seek(position)
        data = file.read(84)
        if len(data) < 76:
            raise InputError("the file is cut within this frame's header")
        if data[:4] != MAGIC or data[8:12] != (12).to_bytes(4, "big"):
            raise InputError(f"no TRR header at byte {position}; is the file damaged?")
        numbers = np.frombuffer(data[24:76], ">i4")
        sizes = {name: int(size) for name, size in zip(_BLOCKS, numbers[:10], strict=True)}
        n_atoms, step = int(numbers[10]), int(numbers[11])
        real = self._real(sizes, n_atoms)
        file.seek(position + 76)
        data = file.read(2 * real.itemsize)
        if len(data) < 2 * real.itemsize:
            raise InputError("the file is cut within this frame's header")
        time = float(np.frombuffer(data, real)[0])
        begin = position + 76 + 2 * real.itemsize
        head = _Head(sizes, n_atoms, step, time, begin, real)
        if head.end > self._size:
            raise InputError("the file is cut within this frame")
        return head

    def _real(self, sizes: dict[str, int], n_atoms: int) -> np.dtype:
        """Type of real numbers, float32 or float64, from the sizes of the blocks, which must agree."""
        for width in (4, 8):
            vectors = {0, 3 * n_atoms * width}
            matrices = {0, 9 * width}
            fits = all(sizes[name] in vectors for name in "xvf")
            fits &= all(sizes[name] in matrices for name in ("box", "virial", "pressure"))
            if n_atoms > 0 and fits and all(sizes[name] == 0 for name in ("ir", "energy", "topology", "symbols")):
                return np.dtype(f">f{width}")
        raise InputError(f"sizes in its header do not fit {n_atoms} atoms; is the file damaged?")


def _md_step(first: _Head, second: _Head | None) -> float | None:
    """MD time step, ps, from the times and step numbers of two frames."""
    if second is None:
        return None
    steps, time = second.step - first.step, second.time - first.time
    return time / steps if steps > 0 and time > 0 else None
