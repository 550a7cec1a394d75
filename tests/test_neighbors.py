"""Graphs against brute force over explicit images, and lists kept with a skin against lists built anew."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxan.errors import InputError
from fluxan.neighbors import NeighborList, best_skin, build_graph
from fluxan.system import Frame
from tests.graphs import brute_force_graph

CELLS = {
    "cubic": np.eye(3) * 6.0,
    "triclinic": np.array([[6.0, 0, 0], [2.5, 5.0, 0], [-1.5, 2.0, 5.5]]),
    "left-handed": np.array([[0, 6.0, 0], [5.0, 0, 0], [1.0, 1.0, 6.0]]),
    "smaller than the cutoff": np.array([[2.2, 0.1, 0], [0, 2.5, 0.3], [0.2, 0, 2.0]]),
    "general orientation": np.array([[4.0, 2.0, 1.0], [-1.0, 4.5, 1.0], [0.5, -2.0, 5.0]]),
}


def random_frame(cell, *, n_atoms=6, seed=0, **fields):
    rng = np.random.default_rng(seed)
    return Frame(rng.uniform(-1, 2, (n_atoms, 3)) @ cell, None, cell, np.full(n_atoms, 18), **fields)


def edges(graph):
    """Edges as a sorted set of (sender, receiver, shift)."""
    table = np.column_stack([graph.senders, graph.receivers, graph.shifts])
    return sorted(map(tuple, table.tolist()))


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True), (False, False, True)])
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_edges_equal_brute_force(cell, pbc):
    frame = random_frame(cell, n_atoms=24, pbc=pbc)
    graph = build_graph(frame, 3.1)
    expected = brute_force_graph(frame, 3.1)
    assert graph.n_edges > 0
    assert edges(graph) == edges(expected)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 8), st.floats(0.5, 6.0))
def test_edges_equal_brute_force_in_any_cell(seed, n_atoms, cutoff):
    cell = np.random.default_rng(seed).uniform(-2, 2, (3, 3)) + np.eye(3) * 4
    frame = random_frame(cell, n_atoms=n_atoms, seed=seed)
    assert edges(build_graph(frame, cutoff)) == edges(brute_force_graph(frame, cutoff))


def test_edge_vectors_follow_the_interface():
    graph = build_graph(random_frame(CELLS["triclinic"]), 4.0)
    r_ij = graph.positions[graph.senders] + graph.shifts.double() @ graph.cell - graph.positions[graph.receivers]
    assert (r_ij - graph.r_ij).abs().max() < 1e-12


def test_every_edge_has_its_reverse():
    graph = build_graph(random_frame(CELLS["smaller than the cutoff"], n_atoms=2), 5.0)
    reverse = np.column_stack([graph.receivers, graph.senders, -graph.shifts])
    assert sorted(map(tuple, reverse.tolist())) == edges(graph)


def test_one_atom_sees_its_own_images():
    graph = build_graph(Frame([[0.3, 0.1, 0.2]], None, np.eye(3) * 2.0, [18]), 2.1)
    assert graph.n_edges == 6
    assert graph.senders.tolist() == [0] * 6


@pytest.mark.parametrize("cell", [None, np.eye(3) * 30])
def test_no_neighbour_at_all(cell):
    graph = build_graph(Frame([[0.0, 0, 0], [9.0, 0, 0]], None, cell, [18, 18]), 3.0)
    assert (graph.n_atoms, graph.n_edges, graph.r_ij.shape) == (2, 0, (0, 3))


def test_cluster_needs_no_cell():
    graph = build_graph(Frame([[0.0, 0, 0], [2.0, 0, 0], [0, 2.5, 0]], None, None, [18] * 3), 3.0)
    assert graph.cell is None
    assert edges(graph) == [(0, 1, 0, 0, 0), (0, 2, 0, 0, 0), (1, 0, 0, 0, 0), (2, 0, 0, 0, 0)]


def moving_frames(n_frames, step, *, wrap):
    """Atoms on the move, wrapped into the cell or not."""
    rng = np.random.default_rng(3)
    cell = CELLS["triclinic"] * 2
    fractional = rng.uniform(0, 1, (40, 3))
    direction = rng.normal(size=(40, 3))
    for k in range(n_frames):
        positions = fractional @ cell + k * step * direction
        inside = positions @ np.linalg.inv(cell)
        yield Frame((inside - np.floor(inside)) @ cell if wrap else positions, None, cell, np.full(40, 18))


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("step", [0.0, 0.02, 0.2, 2.0])
def test_kept_list_equals_a_new_one(step, wrap):
    neighbors = NeighborList(3.5)
    for frame in moving_frames(12, step, wrap=wrap):
        kept, new = neighbors.graph(frame), build_graph(frame, 3.5)
        pairs = [sorted(zip(g.senders.tolist(), g.receivers.tolist(), strict=True)) for g in (kept, new)]
        assert pairs[0] == pairs[1]
        vectors = [g.r_ij.numpy()[np.lexsort(np.round(g.r_ij.numpy(), 6).T)] for g in (kept, new)]
        assert np.abs(vectors[0] - vectors[1]).max() < 1e-10


def test_kept_list_survives_a_changing_cell():
    neighbors = NeighborList(3.5, skin=1.0)
    base = random_frame(CELLS["cubic"], n_atoms=20)
    for k in range(5):
        scale = 1 + 0.01 * k
        frame = base.replace(positions=base.positions * scale, cell=base.cell * scale)
        assert neighbors.graph(frame).n_edges == build_graph(frame, 3.5).n_edges


def test_list_after_reset_has_the_bits_of_a_new_one():
    frames = list(moving_frames(6, 0.05, wrap=True))
    neighbors = NeighborList(3.5)
    for frame in frames[:4]:
        neighbors.graph(frame)
    neighbors.reset()
    fresh = NeighborList(3.5)
    for frame in frames[4:]:
        a, b = neighbors.graph(frame), fresh.graph(frame)
        assert np.array_equal(a.r_ij, b.r_ij)
        assert np.array_equal(a.senders, b.senders)


def test_skin_is_chosen_by_how_far_atoms_move():
    assert best_skin(8.5, 2.0) == 0.0
    assert 0 < best_skin(8.5, 0.02) < best_skin(8.5, 0.1)


@pytest.mark.parametrize("cutoff", [0.0, -1.0, np.nan, np.inf])
def test_bad_cutoff(cutoff):
    with pytest.raises(InputError, match="must be positive"):
        build_graph(random_frame(CELLS["cubic"]), cutoff)


@pytest.mark.parametrize("offset", [0.0, 6.0])
def test_two_atoms_at_one_point(offset):
    positions = [[1.0, 1, 1], [3.0, 3, 3], [1.0 + offset, 1, 1]]
    with pytest.raises(InputError, match=r"atoms 0 and 2 .* at one point"):
        build_graph(Frame(positions, None, CELLS["cubic"], [18] * 3), 3.0)


def test_an_atom_that_has_left_an_open_system():
    positions = [[0.0, 0, 0], [2.0, 0, 0], [1e6, 0, 0]]
    with pytest.raises(InputError, match=r"atom 2 .* lies 1e\+06 Å from the others"):
        build_graph(Frame(positions, None, None, [18] * 3), 5.0)
