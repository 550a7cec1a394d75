"""Lattice dynamics: force constants of a model, and the files that programs for modes of vibration read."""

from __future__ import annotations

from fluxan.lazy import submodule


def __getattr__(name: str) -> object:
    return submodule(__name__, name)
