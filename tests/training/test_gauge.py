"""Two ways in which models with the same energies, forces and virials differ in their flux, by known amounts.

(a) The energy of a pair of two elements is shared between them as λ and 1 − λ. (b) Each element has an offset c with
Σ N c = 0.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fluxan
from fluxan.neighbors import build_graph
from fluxan.potentials.base import Potential
from fluxan.training import flux_power
from fluxan.training.batches import collate
from fluxan.training.prediction import predict
from tests.training_frames import crystal, labelled


class SharedPairs(Potential):
    """Soft pairs; argon owns the share `share` of each pair of argon and krypton, krypton the rest."""

    elements = (18, 36)
    cutoff = 5.0

    def __init__(self, share=0.5, offsets=(0.0, 0.0)):
        super().__init__()
        self.shares = torch.tensor([0.5, share, 1 - share], dtype=torch.float64)
        self.offsets = torch.tensor(offsets, dtype=torch.float64)

    def forward(self, graph):
        owner, other = graph.numbers[graph.receivers], graph.numbers[graph.senders]
        pair = 0.3 * (1 - graph.r_ij.norm(dim=1) / self.cutoff) ** 2
        shares = self.shares[torch.where(owner == other, 0, torch.where(owner == 18, 1, 2))]
        energies = self.offsets[(graph.numbers == 36).to(torch.int64)]
        return energies.index_add(0, graph.receivers, shares * pair)


FRAME = crystal(n_cells=1, noise=0.15, temperature=80.0, strain=-0.03 * np.eye(3))


def predictions(model):
    item = labelled(FRAME)
    batch = collate([item], [build_graph(FRAME, model.cutoff)], [18, 36])
    return predict(model, batch, flux=True, training=False)


@pytest.mark.parametrize("model", [SharedPairs(0.8), SharedPairs(0.2), SharedPairs(offsets=(0.7, -0.7))])
def test_energies_forces_and_virials_are_unchanged(model):
    plain, changed = predictions(SharedPairs()), predictions(model)
    for name in ("energies", "forces", "virials"):
        before, after = getattr(plain, name), getattr(changed, name)
        assert float((after - before).abs().max()) <= 1e-12 * float(before.abs().max())


@pytest.mark.parametrize("share", [0.0, 0.2, 0.8])
def test_sharing_moves_the_virial_of_unlike_pairs(share):
    """J_pot(λ) − J_pot(½) = −(λ − ½) Σ r_ij (∂φ/∂r_ij · (v_j − v_i)) over pairs of argon i and krypton j."""
    graph = build_graph(FRAME, 5.0)
    unlike = (graph.numbers[graph.receivers] == 18) & (graph.numbers[graph.senders] == 36)
    r_ij = graph.r_ij[unlike].numpy()
    length = np.linalg.norm(r_ij, axis=1, keepdims=True)
    slope = -0.6 / 5.0 * (1 - length / 5.0) * r_ij / length
    own, other = (FRAME.velocities[ends[unlike].numpy()] for ends in (graph.receivers, graph.senders))
    # Argon i owns the share s and adds −s r_ij (∂φ/∂r_ij · v_j), krypton j adds −(1 − s) r_ij (∂φ/∂r_ij · v_i).
    expected = -(share - 0.5) * (r_ij * (slope * (other - own)).sum(axis=1, keepdims=True)).sum(axis=0)
    energy = 0.3 * (1 - length[:, 0] / 5.0) ** 2
    convective = (share - 0.5) * (energy[:, None] * (own - other)).sum(axis=0)
    before, after = (fluxan.heat_flux(FRAME, SharedPairs(s)) for s in (0.5, share))
    change = (after.potential - before.potential).sum(axis=(0, 1))
    assert change == pytest.approx(expected, rel=1e-10)
    assert (after.convective - before.convective).sum(axis=0) == pytest.approx(convective, rel=1e-10)
    assert after.total - before.total == pytest.approx(expected + convective, rel=1e-10)
    assert np.abs(change).max() > 1e-3 * np.abs(before.total).max()


def test_sharing_changes_the_flux_power():
    powers = [flux_power(SharedPairs(share), FRAME, temperature=80.0) for share in (0.5, 0.9)]
    assert abs(powers[1] / powers[0] - 1) > 0.05


def test_offsets_move_the_convective_flux():
    """J changes by Σ c_t Σ_{i∈t} v_i, and the virial part not at all."""
    before, after = (fluxan.heat_flux(FRAME, SharedPairs(offsets=c)) for c in ((0.0, 0.0), (0.7, -0.7)))
    v = FRAME.velocities
    expected = 0.7 * v[FRAME.numbers == 18].sum(axis=0) - 0.7 * v[FRAME.numbers == 36].sum(axis=0)
    assert after.total - before.total == pytest.approx(expected, rel=1e-12)
    assert np.abs(after.potential - before.potential).max() < 1e-14 * np.abs(before.potential).max()


def test_the_gauge_fixed_flux_term_is_blind_to_a_uniform_share():
    """In an undisplaced crystal sharing changes nothing but each element's mean virial."""
    from fluxan.training.loss import FluxTerm, frame_flux_power

    frame = crystal(strain=-0.03 * np.eye(3))
    fixed, plain = FluxTerm(temperature=80.0, gauge_fixed=True), FluxTerm(temperature=80.0, fixed_momentum=False)
    found = []
    for share in (0.5, 0.9):
        model = SharedPairs(share)
        batch = collate([labelled(frame)], [build_graph(frame, model.cutoff)], [18, 36])
        prediction = predict(model, batch, flux=True, training=False)
        found.append([float(frame_flux_power(prediction, batch, term)[0]) for term in (fixed, plain)])
    assert found[0][0] < 1e-20 > found[1][0]
    assert abs(found[1][1] / found[0][1] - 1) > 0.01
