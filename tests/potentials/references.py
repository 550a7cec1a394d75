"""First frame of a LAMMPS reference trajectory: positions, and LAMMPS' own atomic energies and forces."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from fluxan.system import Frame, Graph

if TYPE_CHECKING:
    from pathlib import Path


class Reference(NamedTuple):
    frame: Frame
    energies: np.ndarray
    forces: np.ndarray


def first_frame(folder: Path, elements: tuple[int, ...]) -> Reference:
    with gzip.open(folder / "traj.lammpstrj.gz", "rt") as file:
        header = [next(file).split() for _ in range(9)]
        rows = np.array([next(file).split() for _ in range(int(header[3][0]))], dtype=float)
    column = {name: rows[:, i] for i, name in enumerate(header[8][2:])}
    box = np.array(header[5:8], dtype=float)
    frame = Frame(
        positions=np.stack([column[axis] for axis in "xyz"], axis=1),
        velocities=None,
        cell=np.diag(box[:, 1] - box[:, 0]),
        numbers=np.array(elements)[column["type"].astype(int) - 1],
    )
    return Reference(frame, column["c_pe"], np.stack([column[f"f{axis}"] for axis in "xyz"], axis=1))


def forces_of(graph: Graph, g_ij: torch.Tensor) -> np.ndarray:
    """Forces on the atoms: each edge pulls its sender back and its receiver forth."""
    forces = torch.zeros((graph.n_atoms, 3), dtype=g_ij.dtype)
    return forces.index_add_(0, graph.receivers, g_ij).index_add_(0, graph.senders, -g_ij).numpy()
