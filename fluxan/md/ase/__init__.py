"""fluxan in ASE: a calculator for its models, and a recorder of heat fluxes for any dynamics."""

from __future__ import annotations

from fluxan.lazy import submodule
from fluxan.md.ase.ase_recorder import AseFluxRecorder as FluxRecorder
from fluxan.md.ase.calculator import FluxanCalculator, frame_of_atoms

__all__ = ["FluxRecorder", "FluxanCalculator", "frame_of_atoms"]


def __getattr__(name: str) -> object:
    return submodule(__name__, name)
