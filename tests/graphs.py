"""A graph by explicit image sums: slow, obvious, and independent of any neighbour list."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from fluxan.system import Frame, Graph


def brute_force_graph(frame: Frame, cutoff: float) -> Graph:
    """All directed edges shorter than `cutoff`, looking at every image that could reach."""
    shifts = _image_shifts(frame, cutoff)
    edges = {"senders": [], "receivers": [], "shifts": [], "r_ij": []}
    for shift in shifts:
        offset = np.zeros(3) if frame.cell is None else shift @ frame.cell
        r_ij = frame.positions[None, :, :] + offset - frame.positions[:, None, :]
        near = np.linalg.norm(r_ij, axis=-1) < cutoff
        if not shift.any():
            np.fill_diagonal(near, val=False)
        receivers, senders = np.nonzero(near)
        edges["senders"].append(senders)
        edges["receivers"].append(receivers)
        edges["shifts"].append(np.tile(shift, (len(senders), 1)))
        edges["r_ij"].append(r_ij[receivers, senders])
    tensors = {name: torch.from_numpy(np.concatenate(parts)) for name, parts in edges.items()}
    return Graph(
        numbers=torch.from_numpy(frame.numbers),
        positions=torch.from_numpy(frame.positions),
        cell=None if frame.cell is None else torch.from_numpy(frame.cell),
        **tensors,
    )


def _image_shifts(frame: Frame, cutoff: float) -> np.ndarray:
    """Cell translations that could bring any atom within `cutoff` of any other, wherever the atoms lie."""
    if frame.cell is None:
        return np.zeros((1, 3), dtype=np.int64)
    inverse = np.linalg.inv(frame.cell)
    fractional = frame.positions @ inverse
    # Distance between lattice planes is 1 / |column of the inverse|.
    reach = np.ceil(cutoff * np.linalg.norm(inverse, axis=0) + np.ptp(fractional, axis=0)).astype(int)
    ranges = [range(-n, n + 1) if periodic else (0,) for n, periodic in zip(reach, frame.pbc, strict=True)]
    return np.array(list(itertools.product(*ranges)), dtype=np.int64)
