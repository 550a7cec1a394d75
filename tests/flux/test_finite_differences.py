"""Right gradients of energies that jump at a hard cutoff pass; wrong ones of the same models do not."""

from __future__ import annotations

import pytest
import torch

from fluxan.errors import ModelError
from fluxan.flux.check import choose_route
from fluxan.neighbors import build_graph
from fluxan.potentials.base import Potential
from tests.message_passing import random_frame

GRAPH = build_graph(random_frame(12, cell=6.0), 3.0)


class HardCutoff(Potential):
    """A pair potential that ends with a step, well within the list of neighbours."""

    cutoff = 3.0

    def __init__(self, inner, factor=1.0):
        super().__init__()
        self.inner, self.factor = inner, factor

    def forward(self, graph):
        r = graph.r_ij.norm(dim=1)
        energies = torch.where(r < self.inner, 0.3 * torch.exp(1 - r), 0.0)
        energies = self.factor * energies + (1 - self.factor) * energies.detach()
        return torch.zeros(graph.n_atoms).to(r).index_add(0, graph.receivers, energies)


def inner_cutoffs():
    """Cutoffs just beyond the lengths that edges have in the check, some of which its displacements pass."""
    from fluxan.flux.replicas import enlarge
    from fluxan.flux.route_checks import rattled

    lengths = rattled(enlarge(GRAPH, 8)).r_ij.norm(dim=1).unique().numpy()
    return [float(r) + offset for r in lengths[len(lengths) // 3 :: 3] for offset in (1e-6, 1e-5, 1e-4, 3e-4)]


@pytest.mark.parametrize("single", [False, True])
def test_energy_steps_are_not_taken_for_wrong_gradients(single):
    cutoffs = inner_cutoffs()
    assert len(cutoffs) > 20
    for inner in cutoffs:
        model = HardCutoff(inner)
        if single:
            model.dtype = torch.float32
        assert choose_route(model, GRAPH)[0].name == "local"


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_wrong_gradients_beside_steps_are_refused(factor):
    for inner in inner_cutoffs()[2::4]:  # 1e-4 Å beyond, less than the first step and more than the last
        with pytest.raises(ModelError, match="HardCutoff: its gradients are not those of its energies"):
            choose_route(HardCutoff(inner, factor), GRAPH)
