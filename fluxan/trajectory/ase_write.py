"""Writes ASE's .traj files, frame by frame, through ASE."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from fluxan.replacement import replacing
from fluxan.trajectory.memory import atoms_of_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fluxan.system import Frame


@contextmanager
def ase_writer(path: Path) -> Iterator[Callable[[Frame], None]]:
    """Write positions, velocities, cells and masses in float64; the file appears as a whole, or not at all.

    Parameters
    ----------
    path : Path
        Name of the file.

    Yields
    ------
    callable
        Appends a frame.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from ase.io.trajectory import TrajectoryWriter

    with replacing(path) as unfinished, TrajectoryWriter(str(unfinished), "w") as writer:
        yield lambda frame: writer.write(atoms_of_frame(frame))


def write_structure(path: Path, frame: Frame) -> None:
    """Write one frame without velocities as extended XYZ, with eight decimals of the positions.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from ase.io import write

    with replacing(path) as unfinished:
        write(unfinished, atoms_of_frame(frame.replace(velocities=None)), format="extxyz")
