"""From spectra to thermal conductivity."""

from __future__ import annotations

from fluxan.lazy import submodule

from .conductivity import green_kubo
from .estimators import Estimate
from .result import Conductivity

__all__ = ["Conductivity", "Estimate", "green_kubo"]


def __getattr__(name: str) -> object:
    return submodule(__name__, name)
