"""Errors that a user can cause: each message says what is wrong, where, and what to do."""

from __future__ import annotations


class FluxanError(Exception):
    """Base class of all errors that fluxan raises; the command line prints them in one line."""


class InputError(FluxanError, ValueError):
    """An argument, array or setting has a wrong shape, unit or value."""


class ShortRunError(InputError):
    """A run is too short for the analysis; the message says how long it should be."""


class TrajectoryError(FluxanError, ValueError):
    """A trajectory's content is not usable: a broken frame, no velocities, atoms that change."""


class FileError(FluxanError, OSError):
    """A file cannot be read: missing, empty, of unknown kind."""


class OutputError(FluxanError, OSError):
    """An output cannot be written or continued: it exists, is not writable or has other input, or the disk is full."""


class ModelError(FluxanError, ValueError):
    """A model or its parameter file is not usable, or its output violates the contract of `fluxan.Potential`."""


class ClusterError(FluxanError, OSError):
    """A Dask cluster is not usable: no answer, no workers, another version of fluxan, workers that die."""


class DependencyError(FluxanError, ImportError):
    """An optional package is missing; the message says what to install."""


class HalfStepWarning(UserWarning):
    """Velocities are those of half a time step before the positions (leapfrog integrator)."""


class TrajectoryWarning(UserWarning):
    """Part of a trajectory is doubtful: the unit of its velocities, its times."""
