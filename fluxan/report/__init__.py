"""Figures, HTML reports and the monitor of running jobs."""

from __future__ import annotations

from fluxan.lazy import submodule


def __getattr__(name: str) -> object:
    return submodule(__name__, name)
