"""Trajectories: every file format becomes an iterable of `fluxan.system.Frame`, streamed, in Å, Å/ps, u and ps."""

from __future__ import annotations

from fluxan.lazy import submodule
from fluxan.trajectory.base import Trajectory
from fluxan.trajectory.opening import as_trajectory, open_trajectory
from fluxan.trajectory.options import ReaderOptions
from fluxan.trajectory.readahead import read_ahead
from fluxan.trajectory.writer import AmberWriter, convert

__all__ = ["AmberWriter", "ReaderOptions", "Trajectory", "as_trajectory", "convert", "open_trajectory", "read_ahead"]


def __getattr__(name: str) -> object:
    return submodule(__name__, name)
