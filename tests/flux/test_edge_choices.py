"""Choices of edges that cannot be told apart, or only by the chain of indices they come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fluxan
from fluxan.errors import ModelError
from fluxan.flux import adjoint
from fluxan.flux.adjoint import ForwardPass
from fluxan.neighbors import build_graph
from fluxan.system import Frame
from tests.flux.test_signature import Layers, check_against_oracle, distances, frame
from tests.message_passing import jacobian_oracle

A = 2.6


def by_receiver_then_distance(graph, _=None):
    """As padded neighbour tables are made."""
    nearest = torch.argsort(distances(graph))
    return nearest[torch.argsort(graph.receivers[nearest], stable=True)]


def backwards(graph, _):
    """Images of one sender in the opposite order, all else in place."""
    ends = graph.receivers * graph.n_atoms + graph.senders
    last_first = torch.arange(graph.n_edges - 1, -1, -1)
    return last_first[torch.argsort(ends[last_first], stable=True)]


def primitive_cell(n_atoms=2):
    """Two atoms, each with six edges to images of the other; or one, with images of itself."""
    rng = np.random.default_rng(0)
    cell = A * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0.0]])
    positions = np.array([[0.0, 0, 0], [A + 0.1, 0.07, -0.05]])
    if n_atoms == 1:
        positions, cell = positions[:1], 0.7 * cell @ (np.eye(3) + 0.05 * rng.normal(size=(3, 3)))
    velocities = 10 * rng.normal(size=(n_atoms, 3))
    return Frame(positions, velocities, cell, np.arange(n_atoms), masses=np.ones(n_atoms))


@pytest.mark.parametrize("choose", [by_receiver_then_distance, backwards])
def test_edges_that_differ_by_their_image_are_distinguished_in_a_repeated_cell(choose):
    # The indices are those of all edges in their order, but the edge vectors are not: no gauge check sees that.
    at, model = primitive_cell(), Layers(choose)
    assert ForwardPass(model, build_graph(at, 3.0)).search.undecided
    check_against_oracle(model, at)


def test_nothing_is_guessed_where_repeating_the_cell_does_not_help(monkeypatch):
    monkeypatch.setattr(adjoint, "_MAX_EDGES", 0)
    at, model = primitive_cell(), Layers(backwards)
    exact = jacobian_oracle(model, at)[0].sum(axis=0)
    with pytest.warns(UserWarning, match="differ by their image alone .*the unfolded route is used"):
        virial = fluxan.atomic_virial(at, model)
    np.testing.assert_allclose(virial, exact, atol=1e-11 * np.abs(exact).max())
    with pytest.raises(ModelError, match="Layers: the adjoint route fails: what hides its crossings"):
        fluxan.atomic_virial(at, Layers(backwards), route="adjoint")


@pytest.mark.parametrize("choose", [by_receiver_then_distance, backwards])
@pytest.mark.parametrize("at", [primitive_cell(1), frame(3, n_atoms=8, cell=6.2)], ids=["one atom", "eight"])
def test_edges_are_distinguished_where_ends_differ(choose, at):
    # A cell of one atom is doubled.
    check_against_oracle(Layers(choose), at)


def test_a_model_that_uses_all_edges_needs_no_repeated_cell():
    check_against_oracle(Layers(), primitive_cell())


@pytest.mark.parametrize("seed", [0, 1])
def test_an_inner_cutoff_of_sorted_edges_is_resolved(seed):
    class SortedFirst(Layers):
        def forward(self, graph):
            p = by_receiver_then_distance(graph)
            return super().forward(
                graph.replace(
                    senders=graph.senders[p], receivers=graph.receivers[p], shifts=graph.shifts[p], r_ij=graph.r_ij[p]
                )
            )

    check_against_oracle(SortedFirst(lambda g, c: distances(g) < c, inner=2.6), frame(seed, n_atoms=8, cell=6.2))


def test_gradients_are_found_where_every_crossing_hides():
    at = primitive_cell()
    forward = ForwardPass(Layers(by_receiver_then_distance), build_graph(at, 3.0))
    assert forward.gradient(torch.ones(2).double()).abs().max() > 1e-3


def test_a_choice_of_edges_to_own_images_alone():
    # Of these edges, senders are receivers, and the gauge check weighs them with zero.
    at = primitive_cell()
    like = Layers(lambda g, _: torch.nonzero(g.numbers[g.senders] == g.numbers[g.receivers])[:, 0], inner=4.0)
    like.cutoff = 4.0
    graph = build_graph(at, 4.0)
    same = graph.senders == graph.receivers
    assert 0 < int(same.sum()) < graph.n_edges
    check_against_oracle(like, at)
