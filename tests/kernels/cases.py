"""Random input for kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Case:
    """Edges sorted by receiver, and atoms, as kernels take them."""

    receivers: np.ndarray
    senders: np.ndarray
    r_ij: np.ndarray
    g_ij: np.ndarray
    velocities: np.ndarray
    groups: np.ndarray
    masses: np.ndarray
    energies: np.ndarray

    @property
    def edges(self):
        return self.receivers, self.senders, self.r_ij, self.g_ij


def make_case(n_edges, n_atoms=20, n_groups=3, real="float64", whole="int64", seed=7):
    rng = np.random.default_rng(seed)
    return Case(
        receivers=np.sort(rng.integers(0, n_atoms, n_edges)).astype(whole),
        senders=rng.integers(0, n_atoms, n_edges).astype(whole),
        r_ij=rng.normal(size=(n_edges, 3)).astype(real),
        g_ij=rng.normal(size=(n_edges, 3)).astype(real),
        velocities=rng.normal(size=(n_atoms, 3)).astype(real),
        groups=rng.integers(0, n_groups, n_atoms).astype(whole),
        masses=rng.uniform(1, 100, n_atoms).astype(real),
        energies=rng.normal(size=n_atoms).astype(real),
    )
