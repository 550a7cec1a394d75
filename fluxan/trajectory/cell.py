"""Converts between cell vectors and the lengths and angles that many files hold."""

from __future__ import annotations

import numpy as np

from fluxan.errors import InputError


def cell_from_lengths_angles(lengths: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Cell vectors in the standard orientation: a along x, b in the xy plane.

    Parameters
    ----------
    lengths : (3,) array
        Lengths of a, b and c, Å.
    angles : (3,) array
        Angles, degrees: α between b and c, β between a and c, γ between a and b.

    Returns
    -------
    (3, 3) ndarray
        Cell vectors in rows, Å.

    Raises
    ------
    InputError
        No cell has these lengths and angles.
    """
    # The sine of the complement is exactly zero at 90 degrees, where the cosine would give 6e-17.
    cos_alpha, cos_beta, cos_gamma = np.sin(np.radians(90.0 - np.asarray(angles, dtype=np.float64)))
    sin_gamma = np.sqrt(max(1.0 - cos_gamma**2, 0.0))
    a, b, c = np.asarray(lengths, dtype=np.float64)
    if not (np.isfinite([a, b, c, cos_alpha, cos_beta, cos_gamma]).all() and sin_gamma > 0):
        raise InputError(f"no cell has lengths {[a, b, c]} Å and angles {np.asarray(angles).tolist()}°")
    y = (cos_alpha - cos_beta * cos_gamma) / sin_gamma
    z_squared = 1.0 - cos_beta**2 - y**2
    if z_squared <= 0:
        raise InputError(f"no cell has angles {np.asarray(angles).tolist()}°")
    return np.array([[a, 0, 0], [b * cos_gamma, b * sin_gamma, 0], [c * cos_beta, c * y, c * np.sqrt(z_squared)]])


def lengths_angles_from_cell(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lengths, (3,) Å, and angles α, β, γ, (3,) degrees, of cell vectors."""
    lengths = np.linalg.norm(cell, axis=1)
    pairs = ((1, 2), (0, 2), (0, 1))
    cosines = [np.dot(cell[i], cell[j]) / (lengths[i] * lengths[j]) for i, j in pairs]
    return lengths, 90.0 - np.degrees(np.arcsin(np.clip(cosines, -1.0, 1.0)))
