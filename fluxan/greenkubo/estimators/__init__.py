"""Estimators of a spectral density at zero frequency: one module each, all called through `methods.estimate`."""

from __future__ import annotations

from fluxan.lazy import submodule

from .estimate import Estimate
from .methods import METHODS, estimate
from .ordinates import Ordinates
from .periodogram import Spectrum

__all__ = ["METHODS", "Estimate", "Ordinates", "Spectrum", "estimate"]


def __getattr__(name: str) -> object:
    return submodule(__name__, name)
