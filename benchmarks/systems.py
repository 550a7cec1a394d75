"""Systems that benchmarks run on: solid argon near melting, by fluxan's own Lennard-Jones and velocity Verlet."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from fluxan import Frame, load_model
from fluxan.flux.local import LocalRoute
from fluxan.neighbors import NeighborList
from fluxan.units import BOLTZMANN, MASS_VELOCITY2

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Lattice constant with 63 neighbours within 8.5 Å, Å.
LATTICE = 5.466
TEMPERATURE = 80.0
MASS = 39.948


def argon_crystal(n_cells: int) -> Frame:
    """4 n_cells³ atoms on an fcc lattice with thermal velocities, no drift."""
    rng = np.random.default_rng(1)
    corners = np.stack(np.meshgrid(*[np.arange(n_cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    positions = ((corners + basis) * LATTICE).reshape(-1, 3)
    # Twice the temperature: half of it goes into the lattice.
    width = np.sqrt(2 * TEMPERATURE * BOLTZMANN / (MASS * MASS_VELOCITY2))
    velocities = rng.normal(scale=width, size=positions.shape)
    velocities -= velocities.mean(axis=0)
    return Frame(positions, velocities, np.eye(3) * n_cells * LATTICE, np.full(len(positions), 18))


def molecular_dynamics(frame: Frame, *, n_frames: int, timestep: float = 0.004) -> Iterator[Frame]:
    """Consecutive steps of velocity Verlet, ps."""
    route = LocalRoute(load_model("shipped:ar"))
    neighbors = NeighborList(route.model.cutoff)
    acceleration = _acceleration(route, neighbors, frame)
    for k in range(n_frames):
        half = frame.velocities + 0.5 * timestep * acceleration
        frame = frame.replace(positions=frame.positions + timestep * half, time=k * timestep)
        acceleration = _acceleration(route, neighbors, frame)
        frame = frame.replace(velocities=half + 0.5 * timestep * acceleration)
        yield frame


def _acceleration(route: LocalRoute, neighbors: NeighborList, frame: Frame) -> np.ndarray:
    graph, _, g_ij = route.pair_forces(neighbors.graph(frame))
    # An edge pulls at both of its ends.
    forces = torch.zeros_like(graph.positions)
    forces.index_add_(0, graph.receivers, g_ij).index_add_(0, graph.senders, g_ij, alpha=-1)
    return forces.numpy() / (frame.masses[:, None] * MASS_VELOCITY2)


@cache
def argon_frames(n_cells: int, n_frames: int) -> tuple[Frame, ...]:
    """Consecutive steps after the lattice has come to equilibrium."""
    *_, start = molecular_dynamics(argon_crystal(n_cells), n_frames=100)
    return tuple(molecular_dynamics(start, n_frames=n_frames))


def far_apart(frames: tuple[Frame, ...]) -> list[Frame]:
    """The same frames, each moved as a whole: no neighbour list outlives a frame."""
    rng = np.random.default_rng(2)
    moved = []
    for frame in frames:
        fractional = (frame.positions @ np.linalg.inv(frame.cell) + rng.uniform(size=3)) % 1.0
        moved.append(frame.replace(positions=fractional @ frame.cell))
    return moved
