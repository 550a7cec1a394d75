"""Small disordered cells and sets of symmetry functions, shared by the tests of descriptors and their potentials."""

from __future__ import annotations

import numpy as np
import torch
from ase.build import bulk

from fluxan.potentials import SymmetryFunctions
from fluxan.system import Frame

AGI = (47, 53)
RADIAL = ((0.5, 0.0), (1.2, 2.5))
NARROW = ((0.02, 1.0, 1.0), (0.05, 4.0, -1.0), (0.01, 2.5, 0.7))
WIDE = ((0.03, 1.0, 1.0), (0.03, 16.0, -1.0), (0.0, 3.3, -1.0), (0.1, 7.0, 1.0))


def crystal(symbols: str, lattice: str, length: float, *, displacement: float = 0.2, seed: int = 0) -> Frame:
    """A sheared, shaken cubic cell of 8 atoms with random velocities."""
    rng = np.random.default_rng(seed)
    atoms = bulk(symbols, lattice, a=length, cubic=True)
    shear = np.array([[1, 0, 0], [0.1, 1, 0], [-0.15, 0.08, 1]])
    positions = atoms.positions @ shear + displacement * rng.normal(size=(len(atoms), 3))
    return Frame(positions, rng.normal(size=positions.shape), atoms.cell.array @ shear, atoms.numbers)


def silver_iodide(**options: float) -> Frame:
    return crystal("AgI", "zincblende", 6.2, **options)


def silicon(**options: float) -> Frame:
    return crystal("Si", "diamond", 5.43, **options)


def functions(elements=AGI, *, cutoff=6.0, triplet_cutoff=4.5, **options) -> SymmetryFunctions:
    settings = {"radial": RADIAL, "narrow": NARROW, "wide": WIDE, **options}
    return SymmetryFunctions(elements, cutoff=cutoff, triplet_cutoff=triplet_cutoff, **settings)


def finite_difference_forces(energy, frame: Frame, step: float = 1e-4) -> np.ndarray:
    """Forces (n_atoms, 3) of an energy of frames, by central differences of fourth order."""
    forces = np.zeros_like(frame.positions)
    for atom, axis in np.ndindex(forces.shape):
        move = np.zeros_like(forces)
        move[atom, axis] = step
        near, far = (
            energy(frame.replace(positions=frame.positions + k * move))
            - energy(frame.replace(positions=frame.positions - k * move))
            for k in (1, 2)
        )
        forces[atom, axis] = -(8 * near - far) / (12 * step)
    return forces


def edge_gradient(values: torch.Tensor, r_ij: torch.Tensor) -> torch.Tensor:
    (gradient,) = torch.autograd.grad(values, r_ij)
    return gradient
