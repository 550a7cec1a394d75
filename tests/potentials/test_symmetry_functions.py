"""Symmetry functions against DScribe and finite differences; their symmetries, smoothness and settings."""

from __future__ import annotations

import gc
import json

import numpy as np
import pytest
import torch
from ase import Atoms
from dscribe.descriptors import ACSF
from scipy.spatial.transform import Rotation

from fluxan.errors import ModelError
from fluxan.neighbors import build_graph
from fluxan.potentials import SymmetryFunctions, triplets
from fluxan.potentials.symmetry_functions import default_functions
from fluxan.system import Frame
from tests.potentials.descriptor_cases import AGI, NARROW, RADIAL, WIDE, functions, silicon, silver_iodide


def by_dscribe(frame: Frame, elements, cutoff, *, radial=(), narrow=(), wide=()):
    """The same sums by DScribe, blocks in our order.

    DScribe has one cutoff for all functions, sums each unordered pair of neighbours once with the factor 2^(1−ζ), as
    here, and drops G4 where r_jk is beyond the cutoff. Its output is, for each element, G1 (the sum of cutoff
    functions, which we have as G2 with η = 0) and G2; then for each pair of elements (0, 0), (1, 0), (1, 1), … G4, G5.
    """
    acsf = ACSF(
        r_cut=cutoff,
        g2_params=radial or None,
        g4_params=narrow or None,
        g5_params=wide or None,
        species=list(elements),
        periodic=True,
    )
    values = acsf.create(Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=True))
    n, n_radial = len(elements), len(radial)
    first = values[:, : n * (1 + n_radial)].reshape(len(values), n, 1 + n_radial)[:, :, 1:]
    rest = values[:, n * (1 + n_radial) :].reshape(len(values), n * (n + 1) // 2, len(narrow) + len(wide))
    ours = [j * (j + 1) // 2 + i for i in range(n) for j in range(i, n)]
    blocks = (first, rest[:, ours, : len(narrow)], rest[:, ours, len(narrow) :])
    return tuple(block.reshape(len(values), -1) for block in blocks)


CELLS = {"AgI": (silver_iodide, AGI), "Si": (silicon, (14,)), "three": (silver_iodide, (14, 47, 53))}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("cutoff", "triplet_cutoff"), [(4.0, 4.0), (6.0, 4.5), (9.3, 6.1)])
def test_dscribe(cell, cutoff, triplet_cutoff):
    make, elements = CELLS[cell]
    frame = make()
    if cell == "three":
        frame = frame.replace(numbers=np.resize([53, 14, 47], frame.n_atoms), masses=None)
    found = functions(elements, cutoff=cutoff, triplet_cutoff=triplet_cutoff)(build_graph(frame, cutoff)).numpy()
    radial, _, _ = by_dscribe(frame, elements, cutoff, radial=RADIAL)
    _, narrow, wide = by_dscribe(frame, elements, triplet_cutoff, narrow=NARROW, wide=WIDE)
    expected = np.concatenate([radial, narrow, wide], axis=1)
    assert found.shape == expected.shape
    assert (expected != 0).mean() > 0.5
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-14)


def test_three_atoms_by_hand():
    # A bent molecule: every function is one term.
    ends = np.array([[0, 0, 0], [2.0, 0, 0], [0.5, 1.5, 0.3]])
    frame = Frame(ends, None, None, [14, 47, 53])
    model = functions((14, 47, 53), radial=[(0.3, 1.0)], narrow=[(0.04, 3.0, -1.0)], wide=[(0.05, 1.5, 0.5)])
    values = dict(zip(model.labels, model(build_graph(frame, 6.0))[0].tolist(), strict=True))
    r_ij, r_ik, r_jk = 2.0, np.linalg.norm(ends[2]), np.linalg.norm(ends[2] - ends[1])
    cosine = ends[1] @ ends[2] / (r_ij * r_ik)

    def f_c(r, cutoff):
        return 0.5 * (np.cos(np.pi * r / cutoff) + 1)

    ring = f_c(r_ij, 4.5) * f_c(r_ik, 4.5)
    narrow = 2**-2.0 * (1 - cosine) ** 3 * np.exp(-0.04 * (r_ij**2 + r_ik**2 + r_jk**2)) * ring * f_c(r_jk, 4.5)
    wide = 2**-0.5 * (1 + 0.5 * cosine) ** 1.5 * np.exp(-0.05 * (r_ij**2 + r_ik**2)) * ring
    expected = {
        "G2 Ag eta=0.3/Å² r_s=1 Å": np.exp(-0.3) * f_c(r_ij, 6.0),
        "G2 I eta=0.3/Å² r_s=1 Å": np.exp(-0.3 * (r_ik - 1) ** 2) * f_c(r_ik, 6.0),
        "G4 Ag-I eta=0.04/Å² zeta=3 lambda=-1": narrow,
        "G5 Ag-I eta=0.05/Å² zeta=1.5 lambda=0.5": wide,
    }
    for label, value in values.items():
        assert value == pytest.approx(expected.get(label, 0.0), rel=1e-12), label
    assert set(expected) < set(values)


def test_translation_permutation_rotation():
    model, frame = functions(), silver_iodide()
    expected = model(build_graph(frame, model.cutoff)).numpy()
    rng = np.random.default_rng(1)
    order = rng.permutation(frame.n_atoms)
    for turn in (Rotation.random(rng=rng).as_matrix(), -Rotation.random(rng=rng).as_matrix()):
        moved = frame.replace(
            positions=((frame.positions + rng.normal(size=3)) @ turn)[order],
            numbers=frame.numbers[order],
            cell=frame.cell @ turn,
            masses=None,
        )
        found = model(build_graph(moved, model.cutoff)).numpy()
        np.testing.assert_allclose(found, expected[order], rtol=1e-10, atol=1e-13)


def test_cell_smaller_than_the_cutoff_is_its_supercell():
    frame = silver_iodide()
    small = frame.replace(
        positions=frame.positions[:3],
        numbers=frame.numbers[[0, 4, 5]],
        velocities=None,
        cell=frame.cell / 2,
        masses=None,
    )
    model = functions()
    graph = build_graph(small, model.cutoff)
    assert (graph.senders == graph.receivers).any()
    shifts = np.array(list(np.ndindex(2, 2, 2)))
    large = small.replace(
        positions=np.concatenate([small.positions + shift @ small.cell for shift in shifts]),
        numbers=np.tile(small.numbers, 8),
        cell=2 * small.cell,
        masses=None,
    )
    found = model(build_graph(large, model.cutoff)).numpy()
    np.testing.assert_allclose(found, np.tile(model(graph).numpy(), (8, 1)), rtol=1e-11, atol=1e-14)


def test_edges_beyond_the_cutoff_and_their_order_do_not_matter():
    model, frame = functions(), silver_iodide()
    expected = model(build_graph(frame, model.cutoff))
    longer = build_graph(frame, model.cutoff + 1.5)
    order = torch.randperm(longer.n_edges, generator=torch.Generator().manual_seed(0))
    names = ("senders", "receivers", "shifts", "r_ij")
    found = model(longer.replace(**{name: getattr(longer, name)[order] for name in names}))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_finite_differences():
    model, graph = functions(), build_graph(silver_iodide(), 6.0)
    rng = np.random.default_rng(3)
    weights = torch.from_numpy(rng.normal(size=(graph.n_atoms, model.n_features)))
    direction = torch.from_numpy(rng.normal(size=(graph.n_edges, 3)))

    def value(step):
        return (weights * model(graph.replace(r_ij=graph.r_ij + step * direction))).sum()

    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(value(step), step)
    h = 1e-4
    expected = (8 * (value(h) - value(-h)) - (value(2 * h) - value(-2 * h))) / (12 * h)
    assert float(slope) == pytest.approx(float(expected), rel=1e-9)


def test_second_derivatives():
    model = functions(cutoff=3.2, triplet_cutoff=3.1)
    graph = build_graph(silver_iodide(), 3.2)
    r_ij = graph.r_ij[:8].clone().requires_grad_()
    few = {name: getattr(graph, name)[:8] for name in ("senders", "shifts")}
    # Four edges at each of two atoms.
    receivers = torch.arange(8) // 4
    weights = torch.linspace(-1, 1, model.n_features, dtype=torch.float64)

    def combination(r_ij):
        values = model(graph.replace(receivers=receivers, r_ij=r_ij, **few))
        assert (values[:2, -12:] != 0).any()
        return values[:2] @ weights

    assert torch.autograd.gradcheck(combination, r_ij)
    assert torch.autograd.gradgradcheck(combination, r_ij)


def test_atoms_in_line():
    # 1 + λ cos θ is zero, where fractional powers have no second derivative.
    frame = Frame([[0, 0, 0], [2.0, 0, 0], [-2.0, 0, 0]], None, None, [14, 14, 14])
    model = functions((14,), narrow=[(0.1, 1.5, 1.0), (0.1, 1.0, 1.0)], wide=[(0.1, 1.2, 1.0), (0.1, 2.0, 1.0)])
    graph = build_graph(frame, 6.0)
    r_ij = graph.r_ij.requires_grad_()
    (slope,) = torch.autograd.grad(model(graph).sum(), r_ij, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.square().sum(), r_ij)
    assert torch.isfinite(slope).all()
    assert torch.isfinite(curvature).all()


def test_narrow_functions_vanish_where_neighbours_are_far_apart():
    frame = Frame([[0, 0, 0], [3.0, 0, 0], [-3.0, 0, 0]], None, None, [14, 14, 14])
    model = SymmetryFunctions((14,), cutoff=4.0, triplet_cutoff=4.0, narrow=[(0.0, 1.0, -1.0)], wide=[(0.0, 1.0, -1.0)])
    narrow, wide = model(build_graph(frame, 4.0))[0].tolist()
    assert narrow == 0
    assert wide > 0.01


def test_no_edges():
    model = functions()
    graph = build_graph(Frame([[0, 0, 0], [30.0, 0, 0]], None, None, AGI), 6.0)
    assert torch.equal(model(graph), torch.zeros(2, model.n_features, dtype=torch.float64))


def test_single_precision():
    model, graph = functions(), build_graph(silver_iodide(), 6.0)
    expected = model(graph)
    found = functions().float()(graph.to(dtype=torch.float32))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_triplets_are_kept_with_their_graph(monkeypatch):
    model, graph = functions(), build_graph(silver_iodide(), 6.0)
    calls = []
    find = triplets.edge_pairs
    monkeypatch.setattr(triplets, "edge_pairs", lambda *given: calls.append(given) or find(*given))
    known = len(triplets._KNOWN)
    first = model(graph)
    moved = graph.replace(r_ij=graph.r_ij * (1 + 1e-9))
    assert torch.equal(model(graph), first)
    model(moved)
    assert len(calls) == 1
    # Other elements, or other short edges: found anew.
    swapped = graph.replace(numbers=graph.numbers.flip(0))
    assert torch.equal(
        model(swapped), model(build_graph(silver_iodide().replace(numbers=swapped.numbers.numpy()), 6.0))
    )
    model(graph.replace(r_ij=graph.r_ij * 1.2))
    assert len(calls) == 4
    assert torch.equal(model(graph), first)
    del graph, moved, swapped
    calls.clear()
    gc.collect()
    assert len(triplets._KNOWN) <= known


def test_settings_make_the_functions_again():
    model, graph = functions(), build_graph(silver_iodide(), 6.0)
    again = SymmetryFunctions(**json.loads(json.dumps(model.settings())))
    assert again.labels == model.labels
    assert len(set(model.labels)) == model.n_features == 2 * 2 + 3 * 7
    assert torch.equal(again(graph), model(graph))


def test_default_functions():
    model = default_functions(AGI, cutoff=6.0, triplet_cutoff=5.0)
    assert model.n_features == 2 * 8 + 3 * 12
    assert not model.narrow.rows
    shifts = [r_s for _, r_s in model.radial]
    np.testing.assert_allclose(np.diff(shifts), 0.5625)
    assert shifts[-1] + 0.5625 == pytest.approx(6.0)
    values = model(build_graph(silver_iodide(), 6.0))
    assert torch.isfinite(values).all()
    assert (values.std(dim=0) > 0).all()


FAULTS = {
    "no element": ({"elements": []}, r"elements are \[\]"),
    "symbols": ({"elements": ["Ag", "I"]}, r"elements are \['Ag', 'I'\]; expected atomic numbers"),
    "no such element": ({"elements": [200]}, r"expected atomic numbers from 1 to 118"),
    "cutoff": ({"cutoff": 0.0}, "cutoff is 0.0; it must be positive"),
    "triplets": ({"triplet_cutoff": 7.0}, "triplet_cutoff is 7.0 Å, longer than the cutoff of pairs, 6.0 Å"),
    "eta": ({"radial": [(-1.0, 0.0)]}, r"radial\[0\].eta is -1.0; it must not be negative \(1/Å²\)"),
    "row": ({"wide": [(1.0, 1.0)]}, r"wide\[0\] has 2 numbers; expected eta, zeta, lambda"),
    "zeta": ({"wide": [(1.0, 0.5, 1.0)]}, r"wide\[0\].zeta is 0.5; it must be 1 or more"),
    "lambda": ({"narrow": [(1.0, 1.0, -2.0)]}, r"narrow\[0\].lambda is -2; it must lie from -1 to 1"),
    "NaN": ({"narrow": [(1.0, float("nan"), 1.0)]}, r"narrow\[0\].zeta is nan; expected a finite number"),
    "text": ({"radial": [("wide", 1.0)]}, r"radial\[0\].eta is 'wide'; expected a number"),
    "nothing": ({"radial": (), "narrow": (), "wide": ()}, "there are no symmetry functions"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_unusable_settings(fault):
    changes, message = FAULTS[fault]
    with pytest.raises(ModelError, match=message) as caught:
        functions(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changes", [{"n_radial": 0}, {"first_shift": 7.0}, {"widths": (0.0,)}])
def test_unusable_default_settings(changes):
    with pytest.raises(ModelError):
        default_functions(AGI, cutoff=6.0, triplet_cutoff=5.0, **changes)


def test_unknown_element():
    with pytest.raises(ModelError, match="these symmetry functions know Si, not Ag"):
        functions((14,))(build_graph(silver_iodide(), 6.0))
