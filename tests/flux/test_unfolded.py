"""Replicas are those that an owner can reach, and the two ways to the flux agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fluxan.errors import InputError
from fluxan.flux.replicas import distinguish, double_cell, enlarge, unfold
from fluxan.flux.unfolded import UnfoldedCluster, UnfoldedRoute
from fluxan.neighbors import build_graph
from tests.message_passing import GATHERS, ToyModel, flux_oracle, jacobian_oracle, random_frame

CUTOFF = 3.0


def hops_by_matrix(graph, n_hops):
    """Replicas within n_hops edges by walking: a set of (atom, image)."""
    edges = list(zip(graph.receivers.tolist(), graph.senders.tolist(), map(tuple, graph.shifts.tolist()), strict=True))
    reached = {(atom, (0, 0, 0)) for atom in range(graph.n_atoms)}
    for _ in range(n_hops):
        reached |= {
            (sender, tuple(np.add(image, shift).tolist()))
            for atom, image in reached
            for receiver, sender, shift in edges
            if receiver == atom
        }
    return reached


@pytest.mark.parametrize("n_hops", [1, 2, 3])
@pytest.mark.parametrize(("n_atoms", "edge"), [(1, 2.5), (3, 2.8), (6, 6.4)])
def test_replicas(n_atoms, edge, n_hops):
    frame = random_frame(n_atoms, cell=edge, triclinic=True)
    graph = build_graph(frame, CUTOFF)
    unfolded = unfold(graph, n_hops)
    offsets = unfolded.graph.positions - graph.positions[unfolded.atoms]
    images = torch.linalg.solve(graph.cell.T, offsets.T).T.round().int().tolist()
    found = list(zip(unfolded.atoms.tolist(), map(tuple, images), strict=True))
    assert len(found) == len(set(found))
    assert set(found) == hops_by_matrix(graph, n_hops)
    assert found[: graph.n_atoms] == [(atom, (0, 0, 0)) for atom in range(graph.n_atoms)]
    whole = unfolded.graph
    torch.testing.assert_close(whole.r_ij, whole.positions[whole.senders] - whole.positions[whole.receivers])
    pairs = set(zip(whole.senders.tolist(), whole.receivers.tolist(), strict=True))
    assert len(pairs) == whole.n_edges
    assert pairs == {(b, a) for a, b in pairs}


def test_a_cluster_is_its_own_unfolding():
    graph = build_graph(random_frame(5).replace(cell=None), CUTOFF)
    assert unfold(graph, 2).graph.n_atoms == 5
    assert unfold(graph, 2).graph.n_edges == graph.n_edges


def test_double_cell():
    frame = random_frame(2, cell=2.3, triclinic=True)
    model = ToyModel(2, vectors=True)
    graph = build_graph(frame, CUTOFF)
    for direction in range(3):
        doubled = double_cell(graph, direction)
        torch.testing.assert_close(model(doubled), model(graph).repeat(2))
        ends = doubled.positions[doubled.senders] - doubled.positions[doubled.receivers]
        torch.testing.assert_close(ends + doubled.shifts.double() @ doubled.cell, doubled.r_ij)


def test_enlarging():
    frame = random_frame(3, cell=2.8, triclinic=True)
    assert enlarge(build_graph(frame, CUTOFF), 8).n_atoms == 12
    cluster = build_graph(frame.replace(cell=None), CUTOFF)
    assert enlarge(cluster, 8) is cluster
    with pytest.raises(InputError, match="no cell to repeat"):
        double_cell(cluster, 0)


def test_cells_are_doubled_only_where_needed():
    graph = build_graph(random_frame(1, cell=2.5), CUTOFF)
    doubled = distinguish(graph)
    assert doubled.n_atoms == 2
    assert not torch.equal(doubled.senders, doubled.receivers)
    larger = build_graph(random_frame(2), CUTOFF)
    assert distinguish(larger) is larger


class NoSecondDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx, data):
        ctx.save_for_backward(data)
        return torch.tanh(data)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, adjoint):
        return adjoint * (1 - torch.tanh(ctx.saved_tensors[0]) ** 2)


class WrongSecondDerivative(NoSecondDerivative):
    @staticmethod
    def backward(ctx, adjoint):
        # As a fused kernel does it: autograd does not see how the result depends on the adjoint.
        return adjoint.detach() * (1 - torch.tanh(ctx.saved_tensors[0]) ** 2)


@pytest.mark.parametrize("function", [torch.tanh, NoSecondDerivative.apply, WrongSecondDerivative.apply])
def test_flux_with_and_without_second_derivatives(function, monkeypatch):
    monkeypatch.setitem(GATHERS, "own", lambda data, index: function(data)[index])
    model = ToyModel(2, vectors=True, gather="own")
    frame = random_frame(3, cell=2.8)
    virials, _ = jacobian_oracle(model, frame)
    expected = flux_oracle(virials, frame, frame.numbers, 2)
    route = UnfoldedRoute(model)
    for _ in range(2):
        _, flux = route.potential_flux(build_graph(frame, CUTOFF), frame.velocities, frame.numbers, 2)
        np.testing.assert_allclose(flux, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    cluster = UnfoldedCluster(model, build_graph(frame, CUTOFF))
    rates = cluster.flux_from_rates(frame.velocities, np.ones((1, frame.n_atoms)))
    assert (rates is not None) == (function is torch.tanh)
