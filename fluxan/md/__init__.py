"""Heat fluxes during molecular dynamics: with ASE, with LAMMPS, and in MD codes that call C functions."""

from __future__ import annotations

from fluxan.lazy import submodule


def __getattr__(name: str) -> object:
    """Import a program's module on first use, since the program need not be installed."""
    return submodule(__name__, name)
