"""Models that pass messages from edge to edge: their crossings against the Jacobian over explicit replicas."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import fluxan
from fluxan.errors import ModelError
from fluxan.flux import route_checks
from fluxan.flux.adjoint import ForwardPass, differentiable_virial
from fluxan.flux.check import choose_route
from fluxan.flux.evaluate import FluxEvaluator
from fluxan.flux.paths import Path
from fluxan.neighbors import build_graph
from fluxan.potentials.base import Potential
from tests.message_passing import flux_oracle, jacobian_oracle, random_frame


def reverse_of(graph):
    """Number of the edge that leads back."""
    forth = torch.cat([graph.receivers[:, None], graph.senders[:, None], graph.shifts], dim=1).tolist()
    back = torch.cat([graph.senders[:, None], graph.receivers[:, None], -graph.shifts], dim=1).tolist()
    number = {tuple(edge): e for e, edge in enumerate(forth)}
    return torch.tensor([number[tuple(edge)] for edge in back], dtype=torch.int64)


def pairs_sharing(rule, graph):
    """Pairs of edges whose ends (R, S), one of each, are one atom; not an edge with itself, nor forth and back."""
    first, second = ({"R": graph.receivers, "S": graph.senders}[end] for end in rule)
    order = torch.argsort(second, stable=True)
    counts = torch.bincount(second, minlength=graph.n_atoms)
    starts = torch.cumsum(counts, 0) - counts
    n = counts[first]
    a = torch.repeat_interleave(torch.arange(len(first)), n)
    within = torch.arange(len(a)) - torch.repeat_interleave(torch.cumsum(n, 0) - n, n)
    b = order[starts[first][a] + within]
    keep = a != b if rule in {"RR", "SS"} else b != reverse_of(graph)[a]
    return a[keep], b[keep]


class LineModel(Potential):
    """What the toy models have in common: weights, radial functions, angles."""

    cutoff, inner, n_hops = 3.0, 2.5, 2
    n = 4

    def __init__(self, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.w = torch.nn.ParameterList(
            [torch.randn(self.n, self.n, generator=generator, dtype=torch.float64) for _ in range(8)]
        )

    def radial(self, r, cutoff):
        centres = torch.linspace(0.5, 2.5, self.n).to(r)
        return torch.exp(-((r[:, None] - centres) ** 2)) * ((1 - (r / cutoff) ** 2).clamp(min=0) ** 3)[:, None]

    def angular(self, a, b):
        """Features (n_angles, n) that vanish where a side reaches the inner cutoff."""
        cosine = (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))
        powers = (0.5 + cosine)[:, None] ** torch.arange(1, self.n + 1)
        return powers * self.radial(a.norm(dim=1), self.inner) * self.radial(b.norm(dim=1), self.inner)

    def species(self, graph):
        return 0.5 + graph.numbers[:, None].to(graph.r_ij) / 5 * torch.ones(1, self.n).to(graph.r_ij)

    def passed(self, h, graph, edges):
        """One layer of messages from neighbours to atoms."""
        messages = edges * h[graph.senders] * h[graph.receivers]
        return h + torch.tanh(torch.zeros_like(h).index_add(0, graph.receivers, messages) @ self.w[0])


class BondsAndAngles(LineModel):
    """As CHGNet: one feature per bond for both its directions, angles at a centre, atoms and bonds in turns."""

    def forward(self, graph):
        reverse, number = reverse_of(graph), torch.arange(graph.n_edges)
        first = torch.nonzero(number < reverse)[:, 0]
        bond_of = torch.empty_like(number)
        bond_of[first] = bond_of[reverse[first]] = torch.arange(len(first))
        near = graph.r_ij.detach().norm(dim=1) < self.inner
        a, b = pairs_sharing("RR", graph)
        a, b = (x[near[a] & near[b]] for x in (a, b))
        bonds = self.radial(graph.r_ij.norm(dim=1), self.cutoff)[first]
        angles = self.angular(graph.r_ij.index_select(0, a), graph.r_ij.index_select(0, b))
        h, centre = self.species(graph), graph.receivers[a]
        for layer in range(2):
            h = self.passed(h, graph, bonds.index_select(0, bond_of))
            if layer == 0:
                sides = bonds.index_select(0, bond_of[a]) + bonds.index_select(0, bond_of[b]) * 2
                update = angles * (1 + sides @ self.w[1]) * h.index_select(0, centre)
                total = torch.zeros_like(bonds).index_add(0, bond_of[a], update)
                bonds = bonds + self.smooth(graph, first) * torch.tanh(total @ self.w[2])
        return torch.tanh(h @ self.w[3]).sum(dim=1)

    def smooth(self, graph, first):
        return ((1 - (graph.r_ij[first].norm(dim=1) / self.cutoff) ** 2).clamp(min=0) ** 3)[:, None]


class Triples(LineModel):
    """As M3GNet: triples of directed edges that are shorter than a cutoff of their own, around one atom."""

    def __init__(self, centre="receivers", seed=0):
        super().__init__(seed)
        self.centre, self.n_hops = centre, 2 if centre == "receivers" else 4

    def forward(self, graph):
        near = torch.nonzero(graph.r_ij.detach().norm(dim=1) < self.inner)[:, 0]
        inner = graph.replace(
            senders=graph.senders[near],
            receivers=graph.receivers[near],
            shifts=graph.shifts[near],
            r_ij=graph.r_ij[near],
        )
        far = inner.senders if self.centre == "receivers" else inner.receivers
        a, b = pairs_sharing("RR" if self.centre == "receivers" else "SS", inner)
        edges = self.radial(graph.r_ij.norm(dim=1), self.cutoff)
        angles = self.angular(inner.r_ij[a], inner.r_ij[b])
        h = self.species(graph)
        for _ in range(2):
            third = torch.sigmoid(h @ self.w[1])[far[b]]
            three_body = torch.zeros(len(near), self.n).to(h).index_add(0, a, angles * third)
            edges = edges.index_put((near,), edges[near] + torch.tanh(three_body @ self.w[2]))
            h = self.passed(h, graph, edges)
        return torch.tanh(h @ self.w[3]).sum(dim=1)


class EdgeUpdates(LineModel):
    """As ALIGNN, DimeNet and GemNet: layers from edge to edge, along paths, around an atom, and to the reverse edge."""

    n_hops = 4

    def __init__(self, rule="SR", turned=False, seed=0):
        super().__init__(seed)
        self.rule, self.turned = rule, turned

    def forward(self, graph):
        near = torch.nonzero(graph.r_ij.detach().norm(dim=1) < self.inner)[:, 0]
        graph = graph.replace(
            senders=graph.senders[near],
            receivers=graph.receivers[near],
            shifts=graph.shifts[near],
            r_ij=graph.r_ij[near],
        )
        to, fro = pairs_sharing(self.rule, graph)
        x = self.radial(graph.r_ij.norm(dim=1), self.inner)
        angles = self.angular(graph.r_ij[to], graph.r_ij[fro])
        h = self.species(graph)
        smooth = ((1 - (graph.r_ij.norm(dim=1) / self.inner) ** 2).clamp(min=0) ** 3)[:, None]
        for layer in range(2):
            messages = angles * torch.sigmoid(x @ self.w[1]).gather(0, fro[:, None].expand(-1, self.n)) * (1 + x[to])
            update = torch.zeros_like(x).scatter_add(0, to[:, None].expand(-1, self.n), messages)
            if self.turned:
                update = update + (x**2)[reverse_of(graph)]
            x = x + smooth * torch.tanh(update @ self.w[2])
            h = self.passed(h, graph, x) if layer == 1 else h
        return torch.tanh(h @ self.w[3]).sum(dim=1)


class EdgeGated(LineModel):
    """As ALIGNN: gated convolutions that update angles and edges on the line graph, then edges and atoms."""

    n_hops = 4

    def __init__(self, seed=0):
        super().__init__(seed)
        self.cutoff = self.inner

    def gated(self, x, y, to, fro, smooth, k):
        """Nodes (n, f) and edges (m, f), updated by messages along `fro` to `to`; they fade with `smooth`."""
        y = y + torch.tanh(x.index_select(0, fro) @ self.w[k] + x.index_select(0, to) @ self.w[k + 1] + y)
        gates = torch.sigmoid(y) * smooth
        nodes = to[:, None].expand(-1, self.n)
        total = torch.zeros_like(x).scatter_add(0, nodes, gates * (x @ self.w[k + 2])[fro])
        weight = torch.zeros_like(x).scatter_add(0, nodes, gates)
        return x + torch.tanh(total / (weight + 1)), y

    def forward(self, graph):
        to, fro = pairs_sharing("SR", graph)
        smooth = ((1 - (graph.r_ij.norm(dim=1) / self.cutoff) ** 2).clamp(min=0) ** 3)[:, None]
        cosines = (graph.r_ij[to] * graph.r_ij[fro]).sum(dim=1) / (
            graph.r_ij.norm(dim=1)[to] * graph.r_ij.norm(dim=1)[fro]
        )
        z = (0.5 + cosines)[:, None] ** torch.arange(1, self.n + 1)
        y, x = self.radial(graph.r_ij.norm(dim=1), self.cutoff), self.species(graph)
        for _ in range(2):
            y, z = self.gated(y, z, to, fro, smooth[to] * smooth[fro], 0)
            x, y = self.gated(x, y, graph.receivers, graph.senders, smooth, 3)
        return torch.tanh(x @ self.w[6]).sum(dim=1)


class AnySharedAtom(LineModel):
    """A half list of bonds, where bonds pass messages to all bonds with which they share an atom."""

    n_hops = 4

    def forward(self, graph):
        reverse = reverse_of(graph)
        first = torch.nonzero(torch.arange(graph.n_edges) < reverse)[:, 0]
        a, b, sign = [], [], []
        for rule in ("RR", "RS", "SR", "SS"):
            i, j = pairs_sharing(rule, graph)
            a, b, sign = [*a, i], [*b, j], [*sign, torch.full((len(i),), 1.0 if rule in {"RR", "SS"} else -1.0)]
        a, b, sign = torch.cat(a), torch.cat(b), torch.cat(sign).double()[:, None]
        bond = torch.full((graph.n_edges,), -1)
        bond[first] = torch.arange(len(first))
        both = (bond[a] >= 0) & (bond[b] >= 0)
        a, b, sign = bond[a][both], bond[b][both], sign[both]
        r_ij, senders, receivers = graph.r_ij[first], graph.senders[first], graph.receivers[first]
        x = self.radial(r_ij.norm(dim=1), self.inner)
        total = torch.zeros_like(x).index_add(0, a, self.angular(sign * r_ij[a], r_ij[b]) * (1 + x[b]))
        x = x * (1 + torch.tanh(total @ self.w[2]))
        h = self.species(graph)
        h = h.index_add(0, receivers, x * h[senders]).index_add(0, senders, x * h[receivers])
        to, fro = x * torch.tanh(h[senders]), x * torch.tanh(h[receivers])
        h = h + torch.zeros_like(h).index_add(0, receivers, to).index_add(0, senders, fro)
        return torch.tanh(h @ self.w[3]).sum(dim=1)


class Apart(LineModel):
    """Edges pass messages to edges with which they share no atom: by way of a third."""

    n_hops = 4

    def forward(self, graph):
        to, by = pairs_sharing("SR", graph)
        # Every pair once more for each edge that goes on from the second.
        order = torch.argsort(graph.receivers, stable=True)
        counts = torch.bincount(graph.receivers, minlength=graph.n_atoms)
        n = counts[graph.senders[by]]
        rows = torch.repeat_interleave(torch.arange(len(by)), n)
        within = torch.arange(len(rows)) - torch.repeat_interleave(torch.cumsum(n, 0) - n, n)
        fro = order[(torch.cumsum(counts, 0) - counts)[graph.senders[by]][rows] + within]
        x = self.radial(graph.r_ij.norm(dim=1), self.cutoff)
        messages = x[to][rows] * x[fro]
        x = x * torch.tanh(torch.zeros_like(x).index_add(0, to[rows], messages))
        h = self.passed(self.species(graph), graph, x)
        return torch.tanh(h @ self.w[3]).sum(dim=1)


MODELS = {
    "bonds and angles": BondsAndAngles,
    "triples around receivers": Triples,
    "triples around senders": lambda: Triples("senders"),
    "paths forwards": EdgeUpdates,
    "paths backwards": lambda: EdgeUpdates("RS"),
    "reversed edges": lambda: EdgeUpdates("RR", turned=True),
    "around senders, reversed": lambda: EdgeUpdates("SS", turned=True),
    "gated": EdgeGated,
    "a rule for each row": AnySharedAtom,
}
CELLS = {
    "two atoms": {"n_atoms": 2, "cell": 2.3},
    "triclinic": {"n_atoms": 3, "cell": 2.8, "triclinic": True, "n_elements": 3},
    "wide": {"n_atoms": 5, "cell": 4.2},
}


def made(n_atoms, cell, **options):
    at = random_frame(n_atoms, cell=cell, **options)
    return at.replace(velocities=10 * at.velocities)


def check_against_oracle(model, at, route="adjoint"):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        virial = fluxan.atomic_virial(at, model, route=route)
    exact = jacobian_oracle(model, at)[0].sum(axis=0)
    np.testing.assert_allclose(virial, exact, atol=1e-10 * np.abs(exact).max())


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", MODELS)
def test_line_graphs_take_the_adjoint_route(name, cell):
    check_against_oracle(MODELS[name](), made(**CELLS[cell]))


@pytest.mark.parametrize("cell", CELLS)
def test_edges_that_share_no_atom_are_unfolded(cell):
    at, model = made(**CELLS[cell]), Apart()
    exact = jacobian_oracle(model, at)[0].sum(axis=0)
    with pytest.warns(UserWarning, match="the adjoint route fails: .* the unfolded route is used, which evaluates"):
        virial = fluxan.atomic_virial(at, model)
    np.testing.assert_allclose(virial, exact, atol=1e-10 * np.abs(exact).max())
    with pytest.raises(ModelError, match="Apart: the adjoint route fails"):
        fluxan.atomic_virial(at, Apart(), route="adjoint")


@pytest.mark.parametrize("name", ["bonds and angles", "triples around receivers", "gated"])
def test_owners_and_carriers(name):
    at, model = made(4, 3.4, n_elements=2), MODELS[name]()
    flux = fluxan.heat_flux(at, model, groups=[0, 1, 1, 0], route="adjoint")
    exact = flux_oracle(jacobian_oracle(model, at)[0], at, np.array([0, 1, 1, 0]), 2)
    np.testing.assert_allclose(flux.potential, exact, atol=1e-10 * np.abs(exact).max())


@pytest.mark.parametrize("name", MODELS)
def test_a_line_graph_that_is_empty_at_first(name):
    near, model = made(5, 3.6, n_elements=2), MODELS[name]()
    shortest = float(build_graph(near, model.cutoff).r_ij.norm(dim=1).min())
    # No edge is shorter than the inner cutoff.
    scale = 1.02 * min(model.inner / shortest, 2.9 / shortest)
    far = near.replace(positions=scale * near.positions, cell=scale * near.cell)
    frames = [far, near.replace(time=1.0), far.replace(time=2.0)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluator = FluxEvaluator(model, near.numbers)
        fluxes = [evaluator.flux(frame, build_graph(frame, model.cutoff)) for frame in frames]
    assert [flux.route for flux in fluxes] == ["adjoint"] * 3
    for frame, flux in zip(frames, fluxes, strict=True):
        exact = np.einsum("jab,jb->a", jacobian_oracle(model, frame)[0].sum(axis=0), frame.velocities)
        np.testing.assert_allclose(
            flux.potential.sum(axis=(0, 1)),
            exact,
            atol=1e-10 * max(np.abs(exact).max(), np.abs(fluxes[1].potential).max()),
        )


def test_a_wrong_displacement_is_caught(monkeypatch):
    at, model = made(**CELLS["wide"]), BondsAndAngles()
    total = Path.sum
    monkeypatch.setattr(Path, "sum", lambda self, weights: 0.99 * total(self, weights))
    with pytest.raises(ModelError, match="the adjoint route fails: gauge check"):
        fluxan.atomic_virial(at, model, route="adjoint")


def test_an_interpretation_that_a_larger_cell_contradicts_is_rejected(monkeypatch):
    # In this cell every pair of edges around a sender is one around a receiver too.
    at, model = made(**CELLS["two atoms"]), Triples("senders")
    graph = build_graph(at, model.cutoff)
    own = ForwardPass(model, graph).search
    assert own.doubtful
    assert choose_route(model, graph)[0].name == "adjoint"
    monkeypatch.setattr(route_checks, "MAX_UNFOLDED_EDGES", 0)
    fault = route_checks.RouteChecks(model, graph).examine("adjoint")[1]
    assert fault == "its messages between edges cannot be told from others in a cell this small"


@pytest.mark.parametrize("name", ["triples around receivers", "paths forwards"])
def test_line_graphs_can_be_trained_on(name):
    at, model = made(**CELLS["two atoms"]), MODELS[name]()
    graph = build_graph(at, model.cutoff)
    virial = differentiable_virial(model, graph)
    np.testing.assert_allclose(virial.detach(), fluxan.atomic_virial(at, model), atol=1e-12)
    weights = model.w[2]
    (gradient,) = torch.autograd.grad((virial**2).sum(), weights)
    step, found = 1e-5 * torch.ones_like(weights), []
    for sign in (1, -1):
        with torch.no_grad():
            weights += sign * step
        found.append(float((differentiable_virial(model, graph) ** 2).sum()))
        with torch.no_grad():
            weights -= sign * step
    np.testing.assert_allclose(float(gradient.sum()), (found[0] - found[1]) / 2e-5, rtol=1e-6)


def test_single_precision():
    at, model = made(**CELLS["wide"]), BondsAndAngles()
    exact = jacobian_oracle(model, at)[0].sum(axis=0)
    virial = fluxan.atomic_virial(at, model.to(torch.float32), route="adjoint")
    np.testing.assert_allclose(virial, exact, atol=1e-4 * np.abs(exact).max())
