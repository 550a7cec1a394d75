"""Three routes to the heat flux of a model, and the checks that choose between them."""

from __future__ import annotations

from fluxan.lazy import submodule


def __getattr__(name: str) -> object:
    return submodule(__name__, name)
