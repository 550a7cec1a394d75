"""Scalar terms of the sums, written once and compiled for the CPU and for CUDA: floats in, float out."""

from __future__ import annotations


def dot(ax: float, ay: float, az: float, bx: float, by: float, bz: float) -> float:
    """Scalar product a·b; g_ij·v_j is the rate at which the sender's motion changes the receiver's energy, eV/ps."""
    return ax * bx + ay * by + az * bz


def kinetic_energy(mass: float, vx: float, vy: float, vz: float, mass_velocity2: float) -> float:
    """Kinetic energy ½ m v², eV, of a mass in u and a velocity in Å/ps; `mass_velocity2` is one u Å²/ps² in eV."""
    return 0.5 * mass_velocity2 * mass * (vx * vx + vy * vy + vz * vz)
