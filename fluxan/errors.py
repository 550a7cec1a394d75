"""Errors a user can cause: each says what is wrong, where, and what to do."""

from __future__ import annotations


class FluxanError(Exception):
    """Base of every error that fluxan raises on purpose; the command line prints it in one line."""


class InputError(FluxanError, ValueError):
    """An argument, array or setting has a wrong shape, unit or value."""


class ShortRunError(InputError):
    """A run is too short for what was asked; the message says how long it should be."""


class TrajectoryError(FluxanError, ValueError):
    """A trajectory's content is not usable: broken frame, no velocities, changing atoms."""


class FileError(FluxanError, OSError):
    """A file cannot be read: missing, empty, of unknown kind."""


class OutputError(FluxanError, OSError):
    """An output cannot be written or continued: exists, not writable, disk full, begun with other input."""


class ModelError(FluxanError, ValueError):
    """A model or its parameter file is not usable, or it returned something it must not."""


class ClusterError(FluxanError, OSError):
    """A Dask cluster is not usable: nobody answers, no workers, another version of fluxan, workers that die."""


class DependencyError(FluxanError, ImportError):
    """An optional package is missing; the message says what to install."""


class HalfStepWarning(UserWarning):
    """Velocities belong to half a step before the positions (leapfrog)."""


class TrajectoryWarning(UserWarning):
    """Something in a trajectory is doubtful: the unit of its velocities, its times."""
