"""Reads ASE's .traj files, through ASE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fluxan.errors import FileError, InputError
from fluxan.trajectory.memory import live_calculator, record_of_atoms
from fluxan.trajectory.trajectory_base import Trajectory
from fluxan.units import VELOCITY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fluxan.trajectory.frame_record import FrameRecord
    from fluxan.trajectory.reader_options import ReaderOptions


class AseTrajectory(Trajectory):
    """ASE .traj, which holds no times: a frame's time is its number, times ``timestep`` if given."""

    format = "ASE trajectory"

    velocity_factor = VELOCITY["ase"]

    def __init__(self, path: Path, options: ReaderOptions) -> None:
        super().__init__(path, options)
        from ase.io.trajectory import TrajectoryReader

        self.has_time = options.timestep is not None
        try:
            self._reader: Any = TrajectoryReader(str(path))
            n_frames = len(self._reader)
        except Exception as error:  # ASE's parser raises any kind of exception
            raise FileError(f"{path}: ASE cannot open this .traj file ({error}); was it cut?") from error
        if n_frames == 0:
            raise FileError(f"{path}: the .traj file holds no frame")
        with self.naming(0):
            self.calculator = live_calculator(self._atoms(0))

    def _file_frames(self) -> int:
        return len(self._reader)

    def _records(self, indices: range) -> Iterator[FrameRecord]:
        for index in range(indices.start, min(indices.stop, len(self._reader)), indices.step):
            with self.naming(index):
                record = record_of_atoms(self._atoms(index))
            yield record

    def _atoms(self, index: int) -> Any:
        try:
            return self._reader[index]
        except Exception as error:  # as above
            raise InputError(f"ASE cannot read it ({type(error).__name__}: {error}); is the file cut?") from error
