"""Models that pass messages from edge to edge: their crossings against the Jacobian over explicit replicas."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import fluxan
from fluxan.potentials.base import Potential
from tests.message_passing import jacobian_oracle, random_frame


def reverse_of(graph):
    """Number of the edge that leads back."""
    forth = torch.cat([graph.receivers[:, None], graph.senders[:, None], graph.shifts], dim=1).tolist()
    back = torch.cat([graph.senders[:, None], graph.receivers[:, None], -graph.shifts], dim=1).tolist()
    number = {tuple(edge): e for e, edge in enumerate(forth)}
    return torch.tensor([number[tuple(edge)] for edge in back])


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


class AnySharedAtom(LineModel):
    """A half list of bonds, where bonds pass messages to all bonds with which they share an atom."""

    n_hops = 3

    def forward(self, graph):
        first = torch.nonzero(torch.arange(graph.n_edges) < reverse_of(graph))[:, 0]
        senders, receivers, r_ij = graph.senders[first], graph.receivers[first], graph.r_ij[first]
        vectors, ends, n = {0: r_ij, 1: -r_ij}, {0: receivers, 1: senders}, len(first)
        x = self.radial(r_ij.norm(dim=1), self.inner)
        total, every = torch.zeros_like(x), torch.arange(n)
        a, b, kind = [], [], []
        for p in (0, 1):
            for q in (0, 1):
                mask = ends[p][:, None] == ends[q][None, :]
                mask[every, every] = False
                i, j = torch.nonzero(mask).T
                a, b, kind = [*a, i], [*b, j], [*kind, torch.full_like(i, 2 * p + q)]
        a, b, kind = torch.cat(a), torch.cat(b), torch.cat(kind)
        sign = torch.where((kind == 0) | (kind == 3), 1.0, -1.0).double()[:, None]
        total = total.index_add(0, a, self.angular(sign * r_ij[a], r_ij[b]) * (1 + x[b]))
        del vectors
        x = x * (1 + torch.tanh(total @ self.w[2]))
        h = self.species(graph)
        h = h.index_add(0, receivers, x * h[senders]).index_add(0, senders, x * h[receivers])
        h = h.index_add(0, receivers, x * torch.tanh(h[senders]))
        h = h + torch.zeros_like(h).index_add(0, senders, x * torch.tanh(h[receivers]))
        return torch.tanh(h @ self.w[3]).sum(dim=1)


MODELS = {
    "bonds and angles": BondsAndAngles,
    "triples around receivers": Triples,
    "triples around senders": lambda: Triples("senders"),
    "paths forwards": EdgeUpdates,
    "paths backwards": lambda: EdgeUpdates("RS"),
    "reversed edges": lambda: EdgeUpdates("RR", turned=True),
    "around senders, reversed": lambda: EdgeUpdates("SS", turned=True),
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
