"""fluxan inside other programs: ASE, LAMMPS, and MD codes that call C functions."""

from __future__ import annotations

from fluxan.lazy import submodule


def __getattr__(name: str) -> object:
    """Import a program's module when it is asked for, since the program need not be installed."""
    return submodule(__name__, name)
