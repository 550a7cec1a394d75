"""Active learning: ensembles of models, exploration by molecular dynamics, and which frames are labelled."""

from __future__ import annotations

from fluxan.lazy import submodule


def __getattr__(name: str) -> object:
    return submodule(__name__, name)
