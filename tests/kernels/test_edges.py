"""Kernels that make edge lists, against brute force over explicit images."""

from __future__ import annotations

import numpy as np
import pytest
from fluxan.kernels import edges

from tests import oracles

CUTOFF = 4.5
# Small and skew: atoms see several images of one neighbour, and of themselves.
CELL = np.array([[3.0, 0.0, 0.0], [1.0, 3.5, 0.0], [-0.7, 0.9, 4.0]])


def positions(n_atoms=4, seed=2):
    return np.random.default_rng(seed).uniform(size=(n_atoms, 3)) @ CELL


def columns(edge_list):
    i, j, shift, r = zip(*edge_list, strict=True)
    return np.array(j), np.array(i), np.array(shift), np.array(r)


def compact(at, candidates, cutoff=CUTOFF, index="int64", shift="int64"):
    senders, receivers, shifts, _ = candidates
    out = np.empty(len(senders), "int64"), np.empty(len(senders), "int64"), np.empty((len(senders), 3), "int64")
    r_ij = np.empty((len(senders), 3))
    arguments = (senders.astype(index), receivers.astype(index), shifts.astype(shift))
    n = edges.compact_edges(at, CELL, *arguments, cutoff, *out, r_ij)
    return [array[:n] for array in (*out, r_ij)]


@pytest.mark.parametrize(("index", "shift"), [("int64", "int64"), ("int32", "int32"), ("int32", "int8")])
def test_compact_edges_keeps_what_brute_force_finds(index, shift):
    at = positions()
    candidates = columns(oracles.edges_within(at, CELL, CUTOFF + 1.0, n_images=4))
    moved = at + np.random.default_rng(5).uniform(-0.25, 0.25, at.shape)
    expected = columns(oracles.edges_within(moved, CELL, CUTOFF, n_images=4))
    got = compact(moved, candidates, index=index, shift=shift)
    assert 0 < len(expected[0]) < len(candidates[0])
    for a, b in zip(got[:3], expected[:3], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(got[3], expected[3], rtol=0, atol=1e-14)


def test_compact_edges_of_nothing_and_of_none_left():
    candidates = columns(oracles.edges_within(positions(), CELL, CUTOFF, n_images=4))
    assert len(compact(positions(), [c[:0] for c in candidates])[0]) == 0
    assert len(compact(positions(), candidates, cutoff=0.1)[0]) == 0


def half(edge_list):
    """Each pair once, in mixed directions, an atom's own images too."""
    kept = [e for e in edge_list if (e[0], e[2]) < (e[1], tuple(-s for s in e[2]))]
    return [
        (i, j, shift, r) if k % 3 else (j, i, tuple(-s for s in shift), -r) for k, (i, j, shift, r) in enumerate(kept)
    ]


@pytest.mark.parametrize("n_atoms", [1, 4, 9])
@pytest.mark.parametrize("index", ["int32", "int64", "uint64"])
def test_mirror_pairs_gives_every_edge_once_sorted_by_receiver(n_atoms, index):
    at = positions(n_atoms)
    full = oracles.edges_within(at, CELL, CUTOFF, n_images=4)
    second, first, shifts, vectors = columns(half(full))
    starts, out = mirrored(n_atoms, first.astype(index), second.astype(index), shifts.astype("int32"), vectors)
    senders, receivers, shifts_out, r_ij = out
    assert np.all(np.diff(receivers) >= 0)
    np.testing.assert_array_equal(starts[1:], np.bincount(receivers, minlength=n_atoms).cumsum())
    got = sorted(zip(receivers, senders, map(tuple, shifts_out.tolist()), map(tuple, r_ij), strict=True))
    expected = sorted((i, j, shift, tuple(r)) for i, j, shift, r in full)
    assert [e[:3] for e in got] == [e[:3] for e in expected]
    np.testing.assert_allclose([e[3] for e in got], [e[3] for e in expected], rtol=0, atol=1e-14)


def mirrored(n_atoms, first, second, shifts, vectors):
    starts = np.empty(n_atoms + 1, dtype=np.int64)
    edges.count_edges(first, second, starts)
    kept = starts.copy()
    n_edges = 2 * len(first)
    out = (np.empty(n_edges, "int64"), np.empty(n_edges, "int64"), np.empty((n_edges, 3), "int64"))
    out = (*out, np.empty((n_edges, 3)))
    edges.mirror_pairs(first, second, shifts, vectors, starts, *out)
    return kept, out


def test_mirror_pairs_of_no_pairs():
    none = np.empty(0, dtype=np.int64)
    starts, out = mirrored(3, none, none, np.empty((0, 3), "int32"), np.empty((0, 3)))
    np.testing.assert_array_equal(starts, 0)
    assert all(len(a) == 0 for a in out)
