"""Routes that are wrong are caught, routes that are right pass, and every message is one clear line."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fluxan.errors import InputError, ModelError
from fluxan.flux import adjoint
from fluxan.flux.adjoint import AdjointRoute, ForwardPass
from fluxan.flux.check import choose_route
from fluxan.flux.crossings import Crossing
from fluxan.flux.route_checks import RouteChecks, rattled
from fluxan.neighbors import build_graph
from fluxan.system import Frame
from tests.message_passing import GATHERS, ToyModel, jacobian_oracle, random_frame

FRAME = random_frame(5)
GRAPH = build_graph(FRAME, 3.0)
MIXED = {"vectors": True, "symmetrised": True, "sender_scatter": True}
N_CROSSINGS = 5


@pytest.mark.parametrize(
    ("model", "route"),
    [
        (lambda: ToyModel(1, vectors=True), "local"),
        (lambda: ToyModel(2, **MIXED), "adjoint"),
        (lambda: ToyModel(3, own_vectors=True), "adjoint"),
        (lambda: ToyModel(2, vectors=True).float(), "adjoint"),
    ],
)
def test_right_routes_pass(model, route):
    chosen, report = choose_route(model(), GRAPH)
    assert chosen.name == report.route == route
    assert set(report.errors) == {"gauge", "stress", "unfolded"}
    assert max(report.errors.values()) < 1e-13
    assert report.note == ""
    assert str(report).startswith(f"{route} route passed: relative errors gauge ")
    assert "\n" not in str(report)


@pytest.mark.parametrize("route", ["adjoint", "unfolded"])
def test_routes_asked_for_by_name(route):
    assert choose_route(ToyModel(2), GRAPH, route=route)[0].name == route


@pytest.mark.parametrize("n_atoms", [1, 2])
def test_small_cells_are_not_vacuous(n_atoms, monkeypatch):
    graph = build_graph(random_frame(n_atoms, cell=2.4, n_elements=1), 3.0)
    model = ToyModel(2, n_elements=1, vectors=True)
    assert choose_route(model, graph)[0].name == "adjoint"
    omit(monkeypatch, 1)
    assert RouteChecks(model, graph).examine("adjoint")[1].startswith("gauge check")


def omit(monkeypatch, k):
    find = adjoint.find_crossings

    def find_others(*args, **kwargs):
        found = find(*args, **kwargs)
        return found._replace(crossings=found.crossings[:k] + found.crossings[k + 1 :])

    monkeypatch.setattr(adjoint, "find_crossings", find_others)


class Flipped(Crossing):
    def weigh(self, weights, adjoint):
        return super().weigh(-weights, adjoint)


def flip_scatters(monkeypatch):
    find = adjoint.find_crossings

    def find_flipped(*args, **kwargs):
        found = find(*args, **kwargs)
        assert any(c.slot is not None for c in found.crossings)
        flipped = [c if c.slot is None else Flipped(c.node, c.slot, c.edge_dim, c.rows) for c in found.crossings]
        return found._replace(crossings=tuple(flipped))

    monkeypatch.setattr(adjoint, "find_crossings", find_flipped)


def forces_and_stress(model):
    forward = ForwardPass(model, GRAPH)
    return forward.gradient(torch.ones(GRAPH.n_atoms).double()).numpy(), forward.virial().sum(dim=0).detach().numpy()


def test_the_mixed_model_has_these_crossings():
    assert len(ForwardPass(ToyModel(2, **MIXED), GRAPH).crossings) == N_CROSSINGS


@pytest.mark.parametrize("mutate", [*range(N_CROSSINGS), "flip"])
def test_mutations_are_caught_by_the_gauge_check(mutate, monkeypatch):
    model = ToyModel(2, **MIXED)
    positions_first = mutate == 0
    forces, stress = forces_and_stress(model)
    right = AdjointRoute(model).atomic_virial(GRAPH)[1]
    _ = flip_scatters(monkeypatch) if mutate == "flip" else omit(monkeypatch, mutate)
    wrong = AdjointRoute(model).atomic_virial(GRAPH)[1]
    assert np.abs(wrong - right).max() > 1e-4 * np.abs(right).max()
    errors, fault = RouteChecks(model, GRAPH).examine("adjoint")
    assert errors["gauge"] > 1e-4
    assert fault.startswith("gauge check")
    with pytest.raises(ModelError, match="ToyModel: the adjoint route fails: gauge check"):
        choose_route(model, GRAPH, route="adjoint")
    if not positions_first:
        # Neither forces nor stress notice.
        mutated_forces, mutated_stress = forces_and_stress(model)
        np.testing.assert_allclose(mutated_forces, forces, atol=1e-12 * np.abs(forces).max())
        np.testing.assert_allclose(mutated_stress, stress, atol=1e-12 * np.abs(stress).max())


def test_wrong_edge_vectors_are_caught_by_the_stress(monkeypatch):
    # The gauge check does not see the values of r_ij.
    monkeypatch.setattr(
        AdjointRoute,
        "atomic_virial",
        lambda self, graph: (None, 1.01 * ForwardPass(self.model, graph).virial().detach().numpy()),
    )
    errors, fault = RouteChecks(ToyModel(2), GRAPH).examine("adjoint")
    assert errors["gauge"] < 1e-13
    assert fault.startswith("Σ W_j differs from the strain derivative by")


def test_symmetry_hides_nothing(monkeypatch):
    # Every atom of this crystal is a centre of inversion, and its neighbours on opposite sides are images of one atom.
    frame = Frame([[0, 0, 0], [1.25, 1.25, 1.25]], None, 2.5 * np.eye(3), [0, 1], masses=[1, 1])
    graph, model = build_graph(frame, 3.0), ToyModel(2, vectors=True)
    assert np.abs(AdjointRoute(model).gauge(graph, np.array([0.3, -0.7]))).max() < 1e-12
    omit(monkeypatch, 1)
    assert RouteChecks(model, graph).examine("adjoint")[1].startswith("gauge check")


def test_displaced_edges_stay_within_the_cutoff():
    moved = rattled(GRAPH)
    assert moved.r_ij.norm(dim=1).max() < GRAPH.r_ij.norm(dim=1).max()
    ends = moved.positions[moved.senders] - moved.positions[moved.receivers]
    torch.testing.assert_close(moved.r_ij, ends + moved.shifts.double() @ moved.cell)


@pytest.mark.parametrize("model", [lambda: ToyModel(2, n_hops=1), lambda: ToyModel(1, sender_scatter=True)])
def test_messages_of_a_model_declared_local(model):
    model = model()
    with pytest.raises(ModelError, match=r"local route fails: gauge check .* the model declares n_hops = 1"):
        choose_route(model, GRAPH, route="local")
    with pytest.warns(UserWarning, match=r"n_hops = 1.*; the adjoint route is used"):
        route, report = choose_route(model, GRAPH)
    assert "n_hops = 1" in report.note
    virials, _ = jacobian_oracle(ToyModel(2) if model.n_layers == 2 else model, FRAME)
    virial = route.atomic_virial(GRAPH)[1]
    np.testing.assert_allclose(virial, virials.sum(axis=0), atol=1e-11 * np.abs(virial).max())


def test_too_few_hops():
    model = ToyModel(3, n_hops=2)
    with pytest.raises(ModelError, match=r"unfolded route fails: unfolding changes the energies .* n_hops = 2 edges"):
        choose_route(model, GRAPH, route="unfolded")
    # The adjoint route needs no n_hops; what was found is said all the same.
    with pytest.warns(UserWarning, match="n_hops = 2"):
        assert choose_route(model, GRAPH)[0].name == "adjoint"


class Attention(ToyModel):
    def forward(self, graph):
        energies = super().forward(graph)
        query = torch.tanh(energies)[:, None]
        return energies + torch.softmax(query @ query.T, dim=1) @ energies


@pytest.mark.parametrize("route", ["auto", "local", "adjoint", "unfolded"])
def test_attention_over_all_atoms_is_refused(route):
    with pytest.raises(ModelError, match=r"Attention: the \w+ route fails") as error:
        choose_route(Attention(2), GRAPH, route=route)
    if route == "auto":
        assert "adjoint route fails" in str(error.value)
        assert "unfolded route fails" in str(error.value)


class OwnGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, data, index):
        ctx.save_for_backward(index)
        ctx.shape = data.shape
        return data[index]

    @staticmethod
    def backward(ctx, adjoint):
        return adjoint.new_zeros(ctx.shape).index_add(0, ctx.saved_tensors[0], adjoint), None


@pytest.mark.parametrize(
    ("gather", "words"),
    [
        (OwnGather.apply, "OwnGather .its inside cannot be seen"),
        (torch.compile(lambda data, index: torch.tanh(data[index]), backend="aot_eager"), "CompiledFunction"),
        (lambda data, index: data[index.flip(0)].flip(0), r"shape \[\(\d+,\)\] that is neither"),
    ],
    ids=["own function", "compiled", "reordered"],
)
def test_hidden_crossings_fall_back_to_unfolding(gather, words, monkeypatch):
    monkeypatch.setitem(GATHERS, "hidden", gather)
    model = ToyModel(2, gather="hidden")
    with pytest.raises(ModelError, match=rf"adjoint route fails: gauge check .*{words}"):
        choose_route(model, GRAPH, route="adjoint")
    with pytest.warns(UserWarning, match="the unfolded route is used"):
        route, report = choose_route(model, GRAPH)
    assert route.name == report.route == "unfolded"
    virials, _ = jacobian_oracle(model, FRAME)
    virial = route.atomic_virial(GRAPH)[1]
    np.testing.assert_allclose(virial, virials.sum(axis=0), atol=1e-11 * np.abs(virial).max())
    _, flux = route.potential_flux(GRAPH, FRAME.velocities, np.zeros(5, int), 1)
    expected = np.einsum("jab,jb->a", virial, FRAME.velocities)
    np.testing.assert_allclose(flux[0, 0], expected, atol=1e-11 * np.abs(expected).max())


def test_unknown_route():
    with pytest.raises(InputError, match="route='best' is not known; give one of auto, local, adjoint, unfolded"):
        choose_route(ToyModel(2), GRAPH, route="best")


class Returning(ToyModel):
    """A model whose result is spoiled on its way out."""

    def __init__(self, spoil):
        super().__init__(2)
        self.spoil = spoil

    def forward(self, graph):
        return self.spoil(super().forward(graph))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (torch.sum, r"returned a total instead of atomic energies: shape \(\), expected \(5,\) atomic energies"),
        (lambda u: u.sum()[None], r"returned a total instead of atomic energies: shape \(1,\)"),
        (lambda u: u[:, None], r"returned energies of shape \(5, 1\), expected \(5,\)"),
        (lambda u: u[:3], r"returned energies of shape \(3,\)"),
        (lambda u: u.round().long(), "returned energies of dtype torch.int64"),
        (lambda u: u.detach(), "returns energies detached from the positions"),
        (lambda u: {"energy": u}, "returned a dict"),
        (lambda u: u / (torch.arange(5) != 2), "gives atom 2 the energy -?inf; energies must be finite"),
        (lambda u: u @ torch.ones(3).double(), "Returning failed on 5 atoms: "),
        (lambda u: u.to("meta"), "returned energies on meta, expected cpu"),
    ],
)
@pytest.mark.parametrize("route", ["auto", "local", "unfolded"])
def test_broken_contracts(spoil, words, route):
    with pytest.raises(ModelError, match=words) as error:
        choose_route(Returning(spoil), GRAPH, route=route)
    assert "\n" not in str(error.value)


def test_without_gradients():
    with torch.no_grad(), pytest.raises(ModelError, match=r"ToyModel was called under torch\.no_grad\(\)"):
        choose_route(ToyModel(2), GRAPH)

    class Silent(ToyModel):
        @torch.no_grad()
        def forward(self, graph):
            return super().forward(graph)

    with pytest.raises(ModelError, match="Silent returns energies detached"):
        choose_route(Silent(2), GRAPH)


def test_training_mode():
    with pytest.raises(ModelError, match=r"ToyModel is in training mode: call model\.eval\(\) first"):
        choose_route(ToyModel(2).train(), GRAPH)
    model = ToyModel(2)
    model.dropout = torch.nn.Dropout()
    with pytest.raises(ModelError, match="its layer Dropout acts differently there"):
        choose_route(model, GRAPH)


def test_devices():
    with pytest.raises(ModelError, match=r"ToyModel: its tensors lie on no device \(meta\)"):
        choose_route(ToyModel(2).to("meta"), GRAPH)
    model = ToyModel(2)
    model.register_buffer("elsewhere", torch.zeros(1, device="meta"))
    with pytest.raises(ModelError, match="its tensors lie on cpu and meta; move the model to one device"):
        choose_route(model, GRAPH)
