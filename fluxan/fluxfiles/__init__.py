"""Heat fluxes that other codes wrote: LAMMPS, GPUMD, i-PI, and plain tables of numbers."""

from __future__ import annotations

from fluxan.lazy import submodule

from .reading import read_flux
from .record import FluxRecord

__all__ = ["FluxRecord", "read_flux"]


def __getattr__(name: str) -> object:
    return submodule(__name__, name)
