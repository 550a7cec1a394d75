"""Readers of heat fluxes and of their correlation functions, as other codes write them."""

from __future__ import annotations

from fluxan.lazy import submodule


def __getattr__(name: str) -> object:
    return submodule(__name__, name)
