"""Toy message-passing models whose every crossing matters, and the flux by brute force to compare with."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from fluxan.potentials.base import Potential
from fluxan.system import Frame, Graph


class ToyModel(Potential):
    """Scalar and vector features passed over edges, in as many ways as people write it.

    Parameters
    ----------
    n_layers, n_hops : number of layers, and what the model claims of it
    n_elements : length of the species embedding
    vectors : vector features besides scalar ones
    symmetrised : messages multiply sender and receiver features
    sender_scatter : messages are summed on senders too
    gather : how sender data is looked up, a key of GATHERS
    own_vectors : edge vectors are formed inside from positions
    scale : of the weights; large, so that an omitted crossing shows
    """

    def __init__(
        self,
        n_layers=2,
        *,
        n_hops=None,
        n_elements=2,
        cutoff=3.0,
        vectors=False,
        symmetrised=False,
        sender_scatter=False,
        gather="index",
        own_vectors=False,
        n_features=4,
        scale=1.0,
        seed=0,
    ):
        super().__init__()
        self.n_layers, self.n_hops, self.cutoff = n_layers, n_hops or n_layers, cutoff
        self.vectors, self.symmetrised, self.sender_scatter = vectors, symmetrised, sender_scatter
        self.gather, self.own_vectors = GATHERS[gather], own_vectors
        generator = torch.Generator().manual_seed(seed)

        def weights(*shape):
            values = torch.randn(shape, generator=generator, dtype=torch.float64)
            return torch.nn.Parameter(scale * values / shape[0] ** 0.5)

        n = n_features
        self.embedding = weights(n_elements, n)
        self.radial = torch.nn.ParameterList([weights(4, 2 * n) for _ in range(n_layers)])
        self.mix = torch.nn.ParameterList([weights(n, n) for _ in range(n_layers)])
        self.update = torch.nn.ParameterList([weights(n, n) for _ in range(n_layers)])
        self.readout = weights(n)

    def forward(self, graph):
        senders, receivers = graph.senders, graph.receivers
        r_ij = edge_vectors(graph) if self.own_vectors else graph.r_ij
        r = r_ij.norm(dim=1, keepdim=True)
        basis = self.basis(r)
        h = self.embedding[graph.numbers]
        v = h.new_zeros(graph.n_atoms, h.shape[1], 3)
        for layer in range(self.n_layers):
            filters, vector_filters = (basis @ self.radial[layer]).chunk(2, dim=1)
            neighbour = torch.tanh(h @ self.mix[layer])
            message = filters * self.gather(neighbour, senders)
            if self.symmetrised:
                message = message * h[receivers]
            total = torch.zeros_like(h).index_add(0, receivers, message)
            if self.sender_scatter:
                total = total + 0.7 * scatter_to_senders(torch.zeros_like(h), senders, message**2)
            if self.vectors:
                outward = (vector_filters * message)[:, :, None] * (r_ij / r)[:, None, :]
                arriving = outward + filters[:, :, None] * self.gather(v, senders)
                v = v + torch.zeros_like(v).index_add(0, receivers, arriving)
                total = total + (v * v).sum(dim=2)
            h = h + torch.tanh(total @ self.update[layer])
        return torch.tanh(h) @ self.readout

    def basis(self, r):
        x = r / self.cutoff
        envelope = (1 - x**2).clamp(min=0) ** 3
        return envelope * torch.cat([torch.sin(np.pi * k * x) / r for k in range(1, 5)], dim=1)


def edge_vectors(graph):
    """Edge vectors from positions, as third-party models form them."""
    shifts = graph.shifts.to(graph.positions) @ graph.cell if graph.cell is not None else 0.0
    return graph.positions[graph.senders] + shifts - graph.positions[graph.receivers]


def scatter_to_senders(zero, senders, message):
    """Sum of edge data on senders."""
    return zero.scatter_add(0, senders[:, None].expand_as(message), message)


def _expanded(index, data):
    return index.reshape(-1, *[1] * (data.dim() - 1)).expand(-1, *data.shape[1:])


GATHERS = {
    "index": lambda data, index: data[index],
    "index_select": lambda data, index: data.index_select(0, index),
    "select_transposed": lambda data, index: data.transpose(0, -1).index_select(-1, index).transpose(0, -1),
    "gather": lambda data, index: data.gather(0, _expanded(index, data)),
    "gather_copied": lambda data, index: data.gather(0, _expanded(index, data).contiguous()),
    "take_along_dim": lambda data, index: data.take_along_dim(_expanded(index, data), dim=0),
    "embedding": lambda data, index: torch.nn.functional.embedding(index, data.flatten(1)).reshape(-1, *data.shape[1:]),
    "int32": lambda data, index: data.index_select(0, index.to(torch.int32)),
    "later_dim": lambda data, index: data.transpose(0, 1)[:, index].transpose(0, 1),
    "pair": lambda data, index: data[torch.stack([index, index.flip(0).flip(0)])][0],
    "checkpoint": lambda data, index: torch.utils.checkpoint.checkpoint(
        lambda x: torch.tanh(x[index]) + x[index], data, use_reentrant=False
    ),
}


def random_frame(n_atoms=5, *, cell=4.2, n_elements=2, triclinic=False, seed=0, spacing=1.2):
    """Atoms in a box, no two closer than `spacing`; numbers 0 … n_elements − 1 and unit masses."""
    rng = np.random.default_rng(seed)
    box = cell * np.eye(3)
    if triclinic:
        box = box @ (np.eye(3) + np.array([[0.0, 0.0, 0.0], [0.3, 0.0, 0.0], [-0.2, 0.25, 0.0]]))
    images = np.array(list(itertools.product((-1, 0, 1), repeat=3))) @ box
    positions = np.empty((0, 3))
    while len(positions) < n_atoms:
        trial = rng.random(3) @ box
        if all(np.linalg.norm(positions[:, None] - trial + images, axis=2).min(initial=9, axis=1) > spacing):
            positions = np.vstack([positions, trial])
    numbers = np.arange(n_atoms) % n_elements
    return Frame(positions, rng.normal(size=(n_atoms, 3)), box, numbers, masses=np.ones(n_atoms))


def brute_force_graph(positions, numbers, cutoff):
    """Every pair of a cluster, by distance."""
    separation = positions[None, :] - positions[:, None]
    receivers, senders = np.nonzero((np.linalg.norm(separation, axis=2) < cutoff) & ~np.eye(len(positions), dtype=bool))
    return Graph(
        numbers=torch.as_tensor(numbers),
        positions=torch.as_tensor(positions),
        cell=None,
        senders=torch.as_tensor(senders),
        receivers=torch.as_tensor(receivers),
        shifts=torch.zeros((len(senders), 3), dtype=torch.int64),
        r_ij=torch.as_tensor(separation[receivers, senders]),
    )


def explicit_replicas(frame, reach):
    """Positions of all replicas within `reach` of any atom of the cell, and whose replicas they are; the cell first."""
    heights = abs(np.linalg.det(frame.cell)) / np.linalg.norm(
        np.cross(np.roll(frame.cell, -1, axis=0), np.roll(frame.cell, -2, axis=0)), axis=1
    )
    spans = [range(-n, n + 1) for n in np.ceil(reach / heights).astype(int) + 1]
    images = np.array(sorted(itertools.product(*spans), key=lambda s: s != (0, 0, 0)))
    positions = (frame.positions[None] + (images @ frame.cell)[:, None]).reshape(-1, 3)
    atoms = np.tile(np.arange(frame.n_atoms), len(images))
    distance = np.linalg.norm(positions[:, None] - frame.positions[None], axis=2).min(axis=1)
    return positions[distance < reach], atoms[distance < reach]


def jacobian_oracle(model, frame):
    """W of every owner by definition: (n_owners, n_atoms, 3, 3), (r_i − r_j)_a ∂U_i/∂r_j,b over explicit replicas."""
    positions, atoms = (
        (frame.positions, np.arange(frame.n_atoms))
        if frame.cell is None
        else explicit_replicas(frame, model.n_hops * model.cutoff + 0.1)
    )
    graph = brute_force_graph(positions, frame.numbers[atoms], model.cutoff)
    leaf = graph.positions.clone().requires_grad_()
    energies = model(graph.replace(positions=leaf, r_ij=edge_vectors(graph.replace(positions=leaf))))
    virial = np.zeros((frame.n_atoms, frame.n_atoms, 3, 3))
    for i in range(frame.n_atoms):
        (gradient,) = torch.autograd.grad(energies[i], leaf, retain_graph=True)
        separation = positions[i] - positions
        np.add.at(virial[i], atoms, separation[:, :, None] * gradient.numpy()[:, None, :])
    return virial, energies[: frame.n_atoms].detach().numpy()


def flux_oracle(virial, frame, groups, n_groups):
    """Owner × carrier flux (n_groups, n_groups, 3) from the virial of every owner."""
    flux = np.zeros((n_groups, n_groups, 3))
    for owner, carrier in itertools.product(range(frame.n_atoms), repeat=2):
        flux[groups[owner], groups[carrier]] += virial[owner, carrier] @ frame.velocities[carrier]
    return flux


def scaled_up(model, factor=1.5):
    """The model with larger weights: freshly made ones make crossings weak."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(factor)
    return model


class TwoHops(Potential):
    """Claims to be local, and passes messages."""

    cutoff = 4.5

    def forward(self, graph):
        f = torch.exp(-graph.r_ij.norm(dim=1))
        zeros = torch.zeros(graph.n_atoms, dtype=f.dtype)
        once = zeros.index_add(0, graph.receivers, f)
        return zeros.index_add(0, graph.receivers, f * once[graph.senders] ** 2)
