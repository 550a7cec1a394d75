"""Scalar terms of the sums, written once and compiled for the CPU and for CUDA: floats in, float out."""

from __future__ import annotations


def dot(ax: float, ay: float, az: float, bx: float, by: float, bz: float) -> float:
    """a·b; with g_ij and v_j the power that an edge's sender puts into the receiver's energy, eV/ps."""
    return ax * bx + ay * by + az * bz


def kinetic_energy(mass: float, vx: float, vy: float, vz: float, mass_velocity2: float) -> float:
    """½ m v², eV; `mass_velocity2` is the size of one u Å²/ps² in eV."""
    return 0.5 * mass_velocity2 * mass * (vx * vx + vy * vy + vz * vz)
