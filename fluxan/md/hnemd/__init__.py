"""Homogeneous nonequilibrium molecular dynamics (HNEMD): κ from the mean flux that a driving force sustains.

D. J. Evans, Phys. Lett. A 91, 457 (1982); for many-body potentials Z. Fan, H. Dong, A. Harju, T. Ala-Nissila, Phys.
Rev. B 99, 064308 (2019).
"""

from __future__ import annotations

from fluxan.lazy import submodule
from fluxan.md.hnemd.driving_force import DrivingForce

__all__ = ["DrivingForce"]


def __getattr__(name: str) -> object:
    return submodule(__name__, name)
