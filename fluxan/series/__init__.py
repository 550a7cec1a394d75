"""J(t): one record of a heat flux at equal times, one writer, and a reader for each format."""

from __future__ import annotations

from fluxan.lazy import submodule


def __getattr__(name: str) -> object:
    return submodule(__name__, name)
