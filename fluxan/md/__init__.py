"""fluxan inside other programs: ASE, LAMMPS, and MD codes that call C functions."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PROGRAMS = ("ase", "capi", "lammps")


def __getattr__(name: str) -> Any:
    """Import a program's module when it is asked for, since the program need not be installed."""
    if name in _PROGRAMS:
        return import_module(f"fluxan.md.{name}")
    raise AttributeError(f"module 'fluxan.md' has no attribute {name!r}")
