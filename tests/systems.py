"""Small systems that move, for tests of whole jobs."""

from __future__ import annotations

import numpy as np

from fluxan.system import Frame


def argon_krypton(n_frames, *, n_cells=2, seed=5):
    """A hot Ar-Kr crystal whose atoms drift and vibrate; velocities are those of the motion."""
    rng = np.random.default_rng(seed)
    corners = np.stack(np.meshgrid(*[np.arange(n_cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    lattice = 5.6 * (corners + basis).reshape(-1, 3)
    amplitude, phase = rng.normal(scale=0.15, size=lattice.shape), rng.uniform(0, 6.28, lattice.shape)
    numbers = rng.permutation(np.resize([18, 36], len(lattice)))
    cell = 5.6 * n_cells * np.eye(3)
    for k in range(n_frames):
        time, omega = 0.01 * k, 8.0
        positions = (lattice + amplitude * np.sin(omega * time + phase)) % (5.6 * n_cells)
        velocities = amplitude * omega * np.cos(omega * time + phase)
        yield Frame(positions, velocities, cell, numbers, time=time)
