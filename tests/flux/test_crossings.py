"""What the walk of the autograd graph finds, in all the ways that people gather and scatter."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fluxan.flux.adjoint import AdjointRoute, ForwardPass
from fluxan.neighbors import build_graph
from tests.message_passing import GATHERS, ToyModel, jacobian_oracle, random_frame

FRAME = random_frame(3, cell=2.8, triclinic=True)
GRAPH = build_graph(FRAME, 3.0)


def forward_pass(**options):
    return ForwardPass(ToyModel(2, **options), GRAPH)


@pytest.mark.parametrize("gather", GATHERS)
def test_every_way_to_gather(gather):
    model = ToyModel(2, vectors=True, gather=gather)
    virials, _ = jacobian_oracle(model, FRAME)
    virial = AdjointRoute(model).atomic_virial(GRAPH)[1]
    np.testing.assert_allclose(virial, virials.sum(axis=0), rtol=0, atol=1e-12 * np.abs(virial).max())


SCATTERS = {
    "index_add": lambda zero, index, data: zero.index_add(0, index, data),
    "negative_dim": lambda zero, index, data: zero.T.index_add(-1, index, data.T).T,
    "index_put": lambda zero, index, data: zero.index_put((index,), data, accumulate=True),
    "in_place": lambda zero, index, data: zero.index_put_((index,), data, accumulate=True) * 1.0,
    "later_dim": lambda zero, index, data: (
        torch.index_put(zero.T, (torch.arange(data.shape[1])[:, None], index[None]), data.T, accumulate=True).T
    ),
    "mean": lambda zero, index, data: zero.scatter_reduce(0, index[:, None].expand_as(data), data, "mean"),
}


@pytest.mark.parametrize("scatter", SCATTERS)
def test_every_way_to_scatter_to_senders(scatter, monkeypatch):
    monkeypatch.setattr("tests.message_passing.scatter_to_senders", SCATTERS[scatter])
    model = ToyModel(2, sender_scatter=True)
    virials, _ = jacobian_oracle(model, FRAME)
    virial = AdjointRoute(model).atomic_virial(GRAPH)[1]
    np.testing.assert_allclose(virial, virials.sum(axis=0), rtol=0, atol=1e-12 * np.abs(virial).max())


@pytest.mark.parametrize(
    ("options", "n_gathers", "n_scatters"),
    [({}, 2, 0), ({"vectors": True}, 3, 0), ({"sender_scatter": True}, 2, 2), ({"own_vectors": True}, 2, 0)],
)
def test_numbers_of_crossings(options, n_gathers, n_scatters):
    found = forward_pass(**options).crossings
    assert sum(crossing.slot is None for crossing in found) == n_gathers
    assert sum(crossing.slot is not None for crossing in found) == n_scatters


def test_nothing_is_hidden_in_plain_models():
    assert forward_pass(vectors=True, sender_scatter=True).hidden == ()


class OwnFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, data):
        ctx.set_materialize_grads(False)
        return data.clone()

    @staticmethod
    def backward(_, adjoint):
        return adjoint


HIDING = {
    "own function": (lambda data, index: OwnFunction.apply(data)[index], "OwnFunction"),
    "compiled": (torch.compile(lambda data, index: torch.tanh(data)[index], backend="aot_eager"), "CompiledFunction"),
    "reordered": (lambda data, index: data[index.flip(0)].flip(0), "neither senders nor receivers"),
    "masked": (lambda data, index: data[torch.ones(len(data), dtype=torch.bool)][index], "neither senders nor"),
    "reentrant": (
        lambda data, index: torch.utils.checkpoint.checkpoint(lambda x: x[index], data, use_reentrant=True),
        "CheckpointFunction",
    ),
}


@pytest.mark.parametrize("hiding", HIDING)
def test_what_hides_crossings_is_listed(hiding, monkeypatch):
    gather, words = HIDING[hiding]
    monkeypatch.setitem(GATHERS, "hiding", gather)
    (hidden,) = forward_pass(gather="hiding").hidden
    assert words in hidden


def test_sender_and_receiver_rows_of_one_index():
    # h[edge_index] gathers both ends at once: only the sender row crosses.
    class BothEnds(ToyModel):
        def forward(self, graph):
            local = ToyModel.forward(self, graph)
            ends = torch.tanh(local)[torch.stack([graph.receivers, graph.senders])]
            return local.index_add(0, graph.receivers, graph.r_ij.norm(dim=1) * ends[0] * ends[1] ** 2)

    model = BothEnds(1, n_hops=2)
    virials, _ = jacobian_oracle(model, FRAME)
    virial = AdjointRoute(model).atomic_virial(GRAPH)[1]
    np.testing.assert_allclose(virial, virials.sum(axis=0), rtol=0, atol=1e-12 * np.abs(virial).max())
