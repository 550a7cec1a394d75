"""fluxan inside other programs: ASE."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """Import a program's module when it is asked for, since the program need not be installed."""
    if name == "ase":
        return import_module("fluxan.md.ase")
    raise AttributeError(f"module 'fluxan.md' has no attribute {name!r}")
