"""The heat flux J(t) sampled at equal intervals: its record, its file format, and readers of other codes' files."""

from __future__ import annotations

from fluxan.lazy import submodule


def __getattr__(name: str) -> object:
    return submodule(__name__, name)
