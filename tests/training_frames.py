"""Labelled frames of a small binary crystal, for tests of training."""

from __future__ import annotations

import numpy as np
import torch

import fluxan
from fluxan.flux.local import LocalRoute
from fluxan.neighbors import build_graph
from fluxan.potentials.linear_potential import LinearPotential
from fluxan.potentials.symmetry_functions import default_functions
from fluxan.system import Frame
from fluxan.trajectory.labelled_frame import LabelledFrame
from fluxan.units import BOLTZMANN, MASS_VELOCITY2

#: Argon and krypton in a rock-salt arrangement, Å.
LATTICE = 7.0


def crystal(*, n_cells=1, strain=None, noise=0.0, seed=0, temperature=0.0):
    """A rock-salt crystal of argon and krypton, displaced and strained, with Maxwell-Boltzmann velocities."""
    rng = np.random.default_rng(seed)
    corners = np.stack(np.meshgrid(*[np.arange(n_cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    sites = np.concatenate([(corners + basis).reshape(-1, 3), (corners + basis + [0.5, 0, 0]).reshape(-1, 3)])
    numbers = np.repeat([18, 36], len(sites) // 2)
    positions = LATTICE * sites + rng.normal(scale=noise, size=sites.shape) if noise else LATTICE * sites
    deform = np.eye(3) + (np.zeros((3, 3)) if strain is None else np.asarray(strain))
    frame = Frame(positions @ deform, None, LATTICE * n_cells * deform, numbers)
    return frame if not temperature else frame.replace(velocities=thermal_velocities(frame, temperature, rng)[0])


def thermal_velocities(frame, temperature, rng, n_samples=1, *, fixed_momentum=True):
    """Maxwell-Boltzmann velocities, (n_samples, n_atoms, 3) Å/ps, at zero or at free total momentum."""
    masses = np.asarray(frame.masses)[:, None]
    velocities = rng.normal(size=(n_samples, frame.n_atoms, 3))
    velocities *= np.sqrt(BOLTZMANN * temperature / (masses * MASS_VELOCITY2))
    if fixed_momentum:
        velocities -= (masses * velocities).sum(axis=1, keepdims=True) / masses.sum()
    return velocities


def labelled(frame, model="shipped:ar-kr", trajectory=""):
    """A frame with the labels of a local model."""
    model = fluxan.load_model(model)
    graph = build_graph(frame, model.cutoff)
    route = LocalRoute(model)
    graph, energies, g_ij = route.pair_forces(graph)
    virial = route.atomic_virial(graph)[1]
    forces = np.zeros((frame.n_atoms, 3))
    np.add.at(forces, graph.receivers.numpy(), g_ij.numpy())
    np.add.at(forces, graph.senders.numpy(), -g_ij.numpy())
    flux = None if frame.velocities is None else np.einsum("jab,jb->a", virial, frame.velocities)
    return LabelledFrame(frame, energies.sum(), forces, virial.sum(axis=0), flux, trajectory)


def training_frames(n_frames=4, **options):
    """Labelled frames of several strains and displacements, two trajectories."""
    rng = np.random.default_rng(11)
    options = {"noise": 0.15, "temperature": 60.0} | options
    return [
        labelled(
            crystal(strain=rng.normal(scale=0.02, size=(3, 3)), seed=k, **options),
            trajectory="hot" if k % 2 else "cold",
        )
        for k in range(n_frames)
    ]


def linear_model(seed=0):
    """A linear model of argon and krypton with random weights."""
    functions = default_functions([18, 36], cutoff=5.0, triplet_cutoff=4.2, n_radial=4, zetas=(1.0,), widths=(1.0,))
    model = LinearPotential(functions)
    generator = torch.Generator().manual_seed(seed)
    model.weights.data = torch.randn(model.weights.shape, generator=generator, dtype=torch.float64)
    model.offsets[:] = torch.tensor([0.3, -0.2])
    return model
