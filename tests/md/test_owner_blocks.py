"""Sums over blocks of owners are those of the whole system, whatever the division."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fluxan.errors import ModelError
from fluxan.flux.routes import ROUTES
from fluxan.md.evaluation import evaluate_once
from fluxan.md.lammps.owner_blocks import owner_block
from fluxan.neighbors import build_graph
from fluxan.potentials.load import load_model
from fluxan.system import Frame
from tests.message_passing import ToyModel, random_frame

MODELS = {
    "two layers": (lambda: ToyModel(vectors=True, symmetrised=True), "adjoint"),
    "to senders": (lambda: ToyModel(sender_scatter=True, own_vectors=True), "adjoint"),
    "three layers": (lambda: ToyModel(3, vectors=True, sender_scatter=True), "adjoint"),
    "local": (lambda: ToyModel(1, n_hops=1), "local"),
    "closed form": (lambda: load_model("shipped:si"), "local"),
}


def chain(n_atoms, cell, model):
    """Atoms in a long tilted box, so that a block is not the whole system."""
    frame = random_frame(n_atoms, cell=4.2, triclinic=True, spacing=1.0)
    copies = [frame.positions + k * frame.cell[0] for k in range(cell)]
    box = frame.cell * np.array([cell, 1, 1])[:, None]
    numbers = np.tile(frame.numbers, cell) if isinstance(model, ToyModel) else np.full(n_atoms * cell, 14)
    positions = np.concatenate(copies) + np.random.default_rng(3).normal(0, 0.1, (n_atoms * cell, 3))
    velocities = np.random.default_rng(4).normal(size=positions.shape)
    return Frame(positions, velocities, box, numbers, masses=np.ones(len(numbers)))


def divided(n_atoms, n_blocks):
    """Blocks of neighbours in the box, one of them without atoms."""
    return [*np.array_split(np.arange(n_atoms), n_blocks), np.arange(0)]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(4, 8), (3, 1)], ids=["long", "smaller than the cutoff"])
def test_sums_over_blocks_are_those_of_the_whole(name, shape):
    make, route = MODELS[name]
    model = make()
    frame = chain(*shape, model)
    graph = build_graph(frame, model.cutoff)
    chosen = ROUTES[route](model)
    groups = np.arange(frame.n_atoms) % 2
    whole, kept = evaluate_once(model, graph, chosen)
    expected = [whole.energies, whole.forces, whole.virial, kept.potential_flux(graph, frame.velocities, groups, 2)[1]]
    expected.append(chosen.atomic_virial(graph)[1])
    parts = []
    for owners in divided(frame.n_atoms, 3):
        block = owner_block(model, graph, owners)
        if block.is_empty:
            continue
        part, source = evaluate_once(block.model, block.graph, chosen)
        flux = source.potential_flux(block.graph, frame.velocities[block.atoms], groups[block.atoms], 2)[1]
        virial = ROUTES[route](block.model).atomic_virial(block.graph)[1]
        parts.append([*map(block.spread, (part.energies, part.forces)), part.virial, flux, block.spread(virial)])
    for found, wanted in zip(map(sum, zip(*parts, strict=True)), expected, strict=True):
        assert np.abs(found - wanted).max() < 1e-12 * np.abs(wanted).max()


@pytest.mark.parametrize("name", ["two layers", "to senders", "three layers", "local"])
def test_no_hop_is_left_out(name):
    """A halo one hop thinner changes the energies; the halo is a part of the system."""
    model = MODELS[name][0]()
    frame = chain(4, 12, model)
    graph = build_graph(frame, model.cutoff)
    exact = model(graph).detach().numpy()
    owners = np.arange(6)
    block = owner_block(model, graph, owners)
    assert 6 < len(block.atoms) < frame.n_atoms
    energies = block.spread(block.model(block.graph).detach().numpy())
    np.testing.assert_allclose(energies[owners], exact[owners], rtol=1e-13)
    assert not energies[6:].any()
    if model.n_hops > 1:
        model.n_hops -= 1
        block = owner_block(model, graph, owners)
        energies = block.spread(block.model(block.graph).detach().numpy())
        assert np.abs(energies - exact)[owners].max() > 1e-9 * np.abs(exact).max()


class Fragile(ToyModel):
    """Gives NaN where x > 20 Å."""

    def forward(self, graph):
        energies = super().forward(graph)
        return torch.where(graph.positions[:, 0] > 20, torch.nan, energies)


class FragilePairs(Fragile):
    """Has a closed form that gives NaN to edges there."""

    def pair_forces(self, graph):
        far = graph.positions[graph.receivers, 0] > 20
        return graph.positions.new_zeros(graph.n_atoms), torch.where(far[:, None], torch.nan, graph.r_ij)


def fragile_block(model, low, high):
    """Block of the atoms with x between two limits."""
    frame = chain(4, 8, model)
    x = frame.positions[:, 0]
    return owner_block(model, build_graph(frame, model.cutoff), np.flatnonzero((low < x) & (x < high))), frame


def test_messages_name_atoms_of_the_whole_system():
    block, frame = fragile_block(Fragile(), 18, 99)
    first = int(np.flatnonzero(frame.positions[:, 0] > 20)[0])
    assert first != np.flatnonzero(block.atoms == first)[0]
    with pytest.raises(ModelError, match=f"Fragile gives atom {first} the energy nan"):
        evaluate_once(block.model, block.graph, None)
    block, _ = fragile_block(FragilePairs(), 18, 99)
    with pytest.raises(ModelError, match="FragilePairs gives a non-finite pair force between atoms") as raised:
        evaluate_once(block.model, block.graph, None)
    atoms = [int(word) for word in str(raised.value).replace(",", " ").split() if word.isdigit()]
    assert any(frame.positions[atom, 0] > 20 for atom in atoms)


@pytest.mark.parametrize("model", [Fragile, FragilePairs])
def test_the_halo_may_be_anything(model):
    """What a model makes of the halo's incomplete surroundings does not count."""
    block, _ = fragile_block(model(), 15, 20)
    assert (block.graph.positions[:, 0] > 20).any()
    assert np.isfinite(evaluate_once(block.model, block.graph, None)[0].forces).all()
