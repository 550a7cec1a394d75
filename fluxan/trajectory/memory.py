"""Trajectories in memory: iterables of `Frame`, ASE atoms, and velocities given separately from positions."""

from __future__ import annotations

from collections.abc import Sized
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import FileError, InputError, TrajectoryError
from fluxan.system import Frame, hand_over
from fluxan.trajectory.frame_record import FrameRecord
from fluxan.trajectory.times import N_FIRST
from fluxan.trajectory.trajectory_base import Trajectory
from fluxan.units import MASS_VELOCITY2, VELOCITY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fluxan.trajectory.reader_options import ReaderOptions


class FrameTrajectory(Trajectory):
    """Any iterable of `Frame` or ASE atoms.

    A generator can be iterated only once; the first frames are kept, so that they can be inspected before it is read.
    Atoms are converted as soon as they are taken, since a generator may yield the same `ase.Atoms` object, moved.
    """

    format = "frames"
    hands_over = False

    def __init__(self, frames: Iterable[Frame], options: ReaderOptions) -> None:
        super().__init__(None, options)
        self._frames = _Once(map(self._converted, frames)) if iter(frames) is frames else frames
        first = [self._converted(item) for item in islice(self._frames, 2)]
        self.has_time = {frame.time for frame in first if isinstance(frame, Frame)} != {0.0}

    def _converted(self, item: Any) -> Any:
        """Convert ASE atoms to a frame and keep their calculator; anything else is returned as it is."""
        if not hasattr(item, "get_positions"):
            return item
        self.calculator = self.calculator or live_calculator(item)
        record = record_of_atoms(item)
        return Frame(record.positions, record.velocities, record.cell, record.numbers, record.masses, pbc=record.pbc)

    def _file_frames(self) -> int | None:
        return len(self._frames) if isinstance(self._frames, Sized) else None

    def _records(self, indices: range) -> Iterator[FrameRecord]:
        for index, item in zip(indices, _selected(self._frames, indices), strict=False):
            with self.naming(index):
                frame = self._converted(item)
            if not isinstance(frame, Frame):
                raise TrajectoryError(f"{self.name}, frame {index}: is {type(frame).__name__}, expected fluxan's Frame")
            # Frames whose time was never set have none: their times are frame numbers.
            time = frame.time if self.has_time else None
            yield FrameRecord(
                frame.positions, frame.numbers, frame.velocities, frame.cell, frame.masses, time, frame.pbc
            )


class _Once:
    """An iterator that can start over as long as only its first items have been taken."""

    _kept = N_FIRST

    def __init__(self, iterator: Iterable[Any]) -> None:
        self._iterator = iter(iterator)
        self._first: list[Any] = []
        self._taken = 0

    def __iter__(self) -> Iterator[Any]:
        if self._taken > len(self._first):
            raise TrajectoryError("frames come from a generator, which is used up; give a list to read them again")
        yield from self._first
        for item in self._iterator:
            self._taken += 1
            if len(self._first) < self._kept:
                self._first.append(item)
            yield item


class AtomsTrajectory(Trajectory):
    """A list of ASE atoms, which hold no times: a frame's time is its number, times ``timestep`` if given.

    ``atoms.calc`` of the first is kept as `calculator`.
    """

    format = "ASE atoms"
    hands_over = False
    velocity_factor = VELOCITY["ase"]

    def __init__(self, atoms: Sequence[Any], options: ReaderOptions) -> None:
        super().__init__(None, options)
        self._atoms = atoms
        self.has_time = options.timestep is not None
        if len(atoms) == 0:
            raise TrajectoryError("the list of ASE atoms is empty")
        self.calculator = live_calculator(atoms[0])

    def _file_frames(self) -> int:
        return len(self._atoms)

    def _records(self, indices: range) -> Iterator[FrameRecord]:
        for index in range(indices.start, min(indices.stop, len(self._atoms)), indices.step):
            with self.naming(index):
                record = record_of_atoms(self._atoms[index])
            yield record


class WithVelocities(Trajectory):
    """Another trajectory's positions with velocities from an array or a .npy file.

    Parameters
    ----------
    trajectory : Trajectory
        The positions.
    velocities : (n_frames, n_atoms, 3) array, str or Path
        Velocities, Å/ps; entry k belongs to the k-th selected frame. A .npy file is memory-mapped, not loaded.

    Raises
    ------
    InputError
        The shape of the velocities does not fit.
    FileError
        The .npy file cannot be read.
    """

    def __init__(self, trajectory: Trajectory, velocities: np.ndarray | str | Path) -> None:
        super().__init__(trajectory.path, trajectory.options, name=trajectory.name)
        self.format, self.calculator, self.model_text = trajectory.format, trajectory.calculator, trajectory.model_text
        self.notes, self.has_time, self.seeks = trajectory.notes, trajectory.has_time, trajectory.seeks
        self._trajectory = trajectory
        self._velocities = _velocity_array(velocities)
        shape = self._velocities.shape
        if len(shape) != 3 or shape[2] != 3:
            raise InputError(f"velocities have shape {shape}, expected (n_frames, n_atoms, 3) in Å/ps")
        n_frames = trajectory.n_frames
        if n_frames is not None and n_frames != shape[0]:
            raise InputError(
                f"velocities have shape {shape} but {self.name} gives {n_frames} frames; expected one each"
            )

    @property
    def n_frames(self) -> int | None:
        """Number of selected frames."""
        return self._trajectory.n_frames

    def _continued(self, start: int) -> Iterator[Frame]:
        shape = self._velocities.shape
        for k, frame in enumerate(self._trajectory._continued(start), start):
            self.has_time = self._trajectory.has_time
            if k >= shape[0] or frame.n_atoms != shape[1]:
                raise TrajectoryError(
                    f"{self.name}, frame {k}: velocities have shape {shape} but this frame needs ({k + 1} or more, "
                    f"{frame.n_atoms}, 3)"
                )
            with self.naming(k):
                moving = frame.replace(velocities=self._velocities[k])
            yield moving

    def _records(self, indices: range) -> Iterator[FrameRecord]:
        return self._trajectory._records(indices)


def record_of_atoms(atoms: Any) -> FrameRecord:
    """Make a record of ASE atoms; without stored momenta it has no velocities, where ASE itself would return zeros."""
    if atoms.numbers.min(initial=0) < 0 or atoms.numbers.max(initial=0) > 118:
        raise InputError(f"atomic numbers run from {atoms.numbers.min()} to {atoms.numbers.max()}; known are 1 to 118")
    momenta, masses = atoms.arrays.get("momenta"), atoms.get_masses()
    with np.errstate(all="ignore"):  # a mass of zero is refused by Frame, which names the atom
        velocities = None if momenta is None else hand_over(momenta / masses[:, None] * VELOCITY["ase"])
    periodic = bool(atoms.pbc.any())
    return FrameRecord(
        positions=hand_over(atoms.get_positions()),  # a copy already
        numbers=atoms.numbers,
        velocities=velocities,
        cell=np.array(atoms.cell) if periodic else None,
        masses=masses,
        pbc=(bool(atoms.pbc[0]), bool(atoms.pbc[1]), bool(atoms.pbc[2])),
    )


def atoms_of_frame(frame: Frame) -> Any:
    """ASE atoms of a frame, with velocities where it has them."""
    from ase import Atoms

    atoms = Atoms(
        frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc, masses=np.asarray(frame.masses)
    )
    if frame.velocities is not None:
        atoms.set_velocities(frame.velocities * MASS_VELOCITY2**0.5)
    return atoms


def live_calculator(atoms: Any) -> object | None:
    """Return the atoms' calculator, or None where it only holds results that were read from a file."""
    from ase.calculators.singlepoint import SinglePointCalculator

    return None if isinstance(atoms.calc, SinglePointCalculator) else atoms.calc


def _selected(frames: Any, indices: range) -> Iterator[Any]:
    """Items of a sequence by index; those of any other iterable by iterating over it."""
    if hasattr(frames, "__getitem__") and hasattr(frames, "__len__"):
        return (frames[i] for i in range(indices.start, min(indices.stop, len(frames)), indices.step))
    return islice(frames, indices.start, indices.stop, indices.step)


def _velocity_array(velocities: np.ndarray | str | Path) -> np.ndarray:
    if not isinstance(velocities, str | Path):
        try:
            return np.asarray(velocities, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"velocities are no array of numbers ({error})") from error
    path = Path(velocities)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FileError(f"{path}: cannot be read as a .npy file of velocities ({error})") from error
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path}: velocities are of type {array.dtype}, expected numbers")
    return array
