"""Trajectory readers: every file format becomes an iterable of `fluxan.system.Frame` in Å, Å/ps, u and ps.

Frames are streamed: only a bounded part of a file is in memory. One module reads one format (`lammps_dump`, `amber`,
`extxyz`, `trr`, `hdf5`, `ase_traj`, `mdtraj_reader`); `opening` chooses the reader by the file's content;
`trajectory_base` turns the reader's records into checked frames with times; `writer` writes AMBER NetCDF.
"""

from __future__ import annotations

from fluxan.lazy import submodule
from fluxan.trajectory.opening import as_trajectory, open_trajectory
from fluxan.trajectory.readahead import read_ahead
from fluxan.trajectory.reader_options import ReaderOptions, ReducedUnits
from fluxan.trajectory.trajectory_base import Trajectory
from fluxan.trajectory.writer import AmberContents, AmberWriter, convert

__all__ = [
    "AmberContents",
    "AmberWriter",
    "ReaderOptions",
    "ReducedUnits",
    "Trajectory",
    "as_trajectory",
    "convert",
    "open_trajectory",
    "read_ahead",
]


def __getattr__(name: str) -> object:
    return submodule(__name__, name)
