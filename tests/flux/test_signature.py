"""Crossings that hide on later frames, subsets of edges, and gradients that are not the energies'."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import fluxan
from fluxan.errors import ModelError
from fluxan.flux.adjoint import ForwardPass
from fluxan.flux.evaluate import FluxEvaluator
from fluxan.neighbors import build_graph
from fluxan.potentials.base import Potential
from tests.message_passing import ToyModel, jacobian_oracle, random_frame


class Layers(Potential):
    """Two layers, the second on a choice of edges; `choose` gives the index of the edges that it uses."""

    cutoff = 3.0
    n_hops = 2

    def __init__(self, choose=None, inner=3.0, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.choose, self.inner = choose, inner
        self.first, self.second = (
            torch.nn.Parameter(1.5 * torch.randn(4, 4, generator=generator).double()) for _ in "ab"
        )

    def basis(self, r, cutoff):
        return (
            torch.exp(-((r[:, None] - torch.linspace(0.5, 2.5, 4).to(r)) ** 2))
            * ((1 - (r / cutoff) ** 2).clamp(min=0) ** 3)[:, None]
        )

    def aggregate(self, graph, r_ij, receivers, data, cutoff):
        basis = self.basis(r_ij.norm(dim=1), cutoff)
        return torch.zeros(graph.n_atoms, 4).to(basis).index_add(0, receivers, basis * data)

    def forward(self, graph):
        species = (0.3 + graph.numbers[graph.senders] / 10)[:, None].to(graph.r_ij)
        h = torch.tanh(self.aggregate(graph, graph.r_ij, graph.receivers, species, self.cutoff) @ self.first)
        senders, receivers, r_ij = graph.senders, graph.receivers, graph.r_ij
        if self.choose is not None:
            k = self.choose(graph, self.inner)
            senders, receivers, r_ij = senders[k], receivers[k], r_ij[k]
        return torch.tanh((self.aggregate(graph, r_ij, receivers, h[senders], self.inner) + h) @ self.second).sum(dim=1)


class HalfList(Layers):
    """Every pair once, its message added at both ends."""

    def forward(self, graph):
        k = graph.senders < graph.receivers
        senders, receivers, r_ij = graph.senders[k], graph.receivers[k], graph.r_ij[k]
        basis = self.basis(r_ij.norm(dim=1), self.cutoff)
        zero = torch.zeros(graph.n_atoms, 4).to(basis)
        h = torch.tanh(zero.index_add(0, receivers, basis).index_add(0, senders, basis) @ self.first)
        to, fro = basis * h[senders], basis * h[receivers]
        return torch.tanh((zero.index_add(0, receivers, to).index_add(0, senders, fro) + h) @ self.second).sum(dim=1)


def distances(graph):
    return graph.r_ij.detach().norm(dim=1)


CHOICES = {
    "inner cutoff, mask": lambda g, c: distances(g) < c,
    "inner cutoff, index": lambda g, c: torch.nonzero(distances(g) < c)[:, 0],
    "per species": lambda g, c: distances(g) < c - 0.4 * (g.numbers[g.senders] == g.numbers[g.receivers]),
    "sorted": lambda g, _: torch.argsort(g.senders * g.n_atoms + g.receivers),
    "sorted by distance": lambda g, _: torch.argsort(distances(g)),
}


def frame(seed=0, n_atoms=6, cell=4.2):
    made = random_frame(n_atoms, cell=cell, seed=seed)
    return made.replace(velocities=10 * made.velocities)  # some 150 K, as units are asked after otherwise


def check_against_oracle(model, at):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        virial = fluxan.atomic_virial(at, model, route="adjoint")
    exact = jacobian_oracle(model, at)[0].sum(axis=0)
    np.testing.assert_allclose(virial, exact, atol=1e-11 * np.abs(exact).max())


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("seed", [0, 1])
def test_subsets_of_edges_are_resolved(choice, seed):
    check_against_oracle(Layers(CHOICES[choice], inner=2.6), frame(seed))


def test_subsets_of_subsets_are_resolved():
    model = Layers(lambda g, c: torch.nonzero(distances(g) < c)[:, 0], inner=2.6)

    class Nested(type(model)):
        def forward(self, graph):
            near = distances(graph) < 2.8
            inner = graph.replace(
                senders=graph.senders[near],
                receivers=graph.receivers[near],
                shifts=graph.shifts[near],
                r_ij=graph.r_ij[near],
            )
            return super().forward(inner)

    check_against_oracle(Nested(CHOICES["inner cutoff, mask"], inner=2.4), frame(2))


def test_half_lists_are_resolved():
    # In a cell this large no atom sees an image of itself, which a half list by number would lose.
    check_against_oracle(HalfList(), frame(3, n_atoms=8, cell=6.2))


class Late(Layers):
    """An inner cutoff whose choice of edges autograd does not show: positions are formed anew for it."""

    def forward(self, graph):
        species = (0.3 + graph.numbers[graph.senders] / 10)[:, None].to(graph.r_ij)
        h = torch.tanh(self.aggregate(graph, graph.r_ij, graph.receivers, species, self.cutoff) @ self.first)
        k = distances(graph) < self.inner
        senders, receivers = graph.senders[k], graph.receivers[k]
        shifts = 0.0 if graph.cell is None else graph.shifts[k].to(graph.positions) @ graph.cell
        r_ij = graph.positions[senders] + shifts - graph.positions[receivers]
        return torch.tanh((self.aggregate(graph, r_ij, receivers, h[senders], self.inner) + h) @ self.second).sum(dim=1)


def two_frames():
    """A model, a frame with no edge between its cutoffs, and one with some."""
    first = frame(4)
    longest = float(distances(build_graph(first, 3.0)).max())
    inner = 0.5 * (longest + 3.0)
    scale = 0.5 * (inner + 3.0) / longest
    return Late(inner=inner), first, first.replace(positions=first.positions * scale, cell=first.cell * scale, time=1.0)


def test_a_crossing_that_hides_on_a_later_frame_is_found_there():
    model, first, second = two_frames()
    early, late = (build_graph(f, 3.0) for f in (first, second))
    assert ForwardPass(model, early).signature != ForwardPass(model, late).signature
    evaluator = FluxEvaluator(model, first.numbers)
    assert evaluator.flux(first, early).route == "adjoint"
    words = r"frame at 1 ps does not pass messages as .* the unfolded route is used, which evaluates"
    with pytest.warns(UserWarning, match=words):
        later = evaluator.flux(second, late)
    assert later.route == "unfolded"
    assert "frames with other crossings by the unfolded route" in later.self_check
    exact = np.einsum("jab,jb->a", jacobian_oracle(model, second)[0].sum(axis=0), second.velocities)
    np.testing.assert_allclose(later.potential.sum(axis=(0, 1)), exact, atol=1e-10 * np.abs(exact).max())
    # The frames that were checked first keep their route.
    assert evaluator.flux(first, build_graph(first, 3.0)).route == "adjoint"


def test_a_route_asked_for_by_name_fails_on_such_a_frame():
    model, first, second = two_frames()
    evaluator = FluxEvaluator(model, first.numbers, route="adjoint")
    evaluator.atomic_virial(build_graph(first, 3.0))
    with pytest.raises(ModelError, match="Late: the adjoint route fails: gauge check"):
        evaluator.atomic_virial(build_graph(second, 3.0))


def test_single_calls_check_other_systems_and_later_frames_too():
    model, first, second = two_frames()
    assert fluxan.heat_flux(first, model).route == "adjoint"
    with pytest.warns(UserWarning, match="the unfolded route is used"):
        assert fluxan.heat_flux(second, model).route == "unfolded"


def test_a_job_reports_frames_with_another_route():
    model, first, second = two_frames()
    with pytest.warns(UserWarning, match="frame at 1 ps"):
        dataset = fluxan.decompose([first, second], model, progress=False)
    assert dataset.attrs["route"] == "adjoint and unfolded"
    assert "unfolded" in dataset.attrs["self_check"]


class Detached(ToyModel):
    def forward(self, graph):
        return super().forward(graph.replace(r_ij=graph.r_ij + 0.3 * (graph.r_ij - graph.r_ij.detach())))


class NoGradLayer(Layers):
    def forward(self, graph):
        with torch.no_grad():
            h = self.aggregate(graph, graph.r_ij, graph.receivers, 1.0, self.cutoff)
        return torch.tanh(
            (self.aggregate(graph, graph.r_ij, graph.receivers, h[graph.senders], 3.0)) @ self.second
        ).sum(1)


class Weakened(torch.autograd.Function):
    @staticmethod
    def forward(_ctx, x):
        return x.clone()

    @staticmethod
    def backward(_ctx, above):
        return 0.95 * above


class WrongBackward(Layers):
    def aggregate(self, graph, r_ij, receivers, data, cutoff):
        return super().aggregate(graph, r_ij, receivers, Weakened.apply(data), cutoff)


@pytest.mark.parametrize("model", [Detached(2), NoGradLayer(), WrongBackward()], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("route", ["auto", "adjoint", "unfolded"])
def test_gradients_that_are_not_the_energies_are_refused(model, route):
    with pytest.raises(ModelError, match="its gradients are not those of its energies"):
        fluxan.heat_flux(frame(5), model, route=route)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("single", [False, True])
def test_right_gradients_pass(scale, single):
    model = ToyModel(3, vectors=True, scale=scale)
    model = model.float() if single else model
    assert fluxan.heat_flux(frame(6), model).route == "adjoint"
