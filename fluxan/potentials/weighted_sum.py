"""Weighted sums of potentials, into which ASE's calculators for sums and mixtures are converted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fluxan.errors import ModelError
from fluxan.potentials.base import Potential

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.system import Graph


class WeightedSum(Potential):
    """Σ_k w_k U_i^(k), each member on the edges within its own cutoff and in its own precision.

    Parameters
    ----------
    members : sequence of Potential
        The potentials.
    weights : sequence of float
        Weight of each.

    Raises
    ------
    ModelError
        There is no member, or no element that all members know.
    """

    def __init__(self, members: Sequence[Potential], weights: Sequence[float]) -> None:
        super().__init__()
        if not members:
            raise ModelError("a sum of potentials needs one at least")
        # The first member's precision is taken as that of the sum, so the least precise member comes first.
        ranked = sorted(zip(members, weights, strict=True), key=lambda pair: _bits(pair[0]))
        self.members = torch.nn.ModuleList([member for member, _ in ranked])
        self.weights = tuple(float(weight) for _, weight in ranked)
        self.cutoff = max(float(member.cutoff) for member in members)
        self.n_hops = max(int(member.n_hops) for member in members)
        known = [set(e) for member in members if (e := getattr(member, "elements", None)) is not None]
        self.elements = tuple(sorted(set.intersection(*known))) if known else None
        if self.elements == ():
            raise ModelError("the members of a sum of potentials know no element in common")

    def forward(self, graph: Graph) -> torch.Tensor:
        """Atomic energies, (n_atoms,) eV."""
        parts = [
            weight * member(self._seen_by(member, graph)[0]).to(graph.r_ij)
            for member, weight in zip(self.members, self.weights, strict=True)
        ]
        return torch.stack(parts).sum(dim=0)

    def pair_forces(self, graph: Graph) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Sums of the members' closed forms; None where one has none."""
        energies, g_ij = graph.r_ij.new_zeros(graph.n_atoms), torch.zeros_like(graph.r_ij)
        for member, weight in zip(self.members, self.weights, strict=True):
            seen, near = self._seen_by(member, graph)
            found = getattr(member, "pair_forces", lambda _: None)(seen)
            if found is None:
                return None
            energies += weight * found[0].to(energies)
            g_ij[near] += weight * found[1].to(g_ij)
        return energies, g_ij

    def _seen_by(self, member: torch.nn.Module, graph: Graph) -> tuple[Graph, torch.Tensor | slice]:
        """The graph that a member is made for, and which edges those are."""
        dtype = torch.float32 if _bits(member) == 32 else torch.float64 if _bits(member) == 64 else graph.r_ij.dtype
        cutoff = float(member.cutoff)  # type: ignore[arg-type]
        if cutoff >= self.cutoff:
            return (graph if graph.r_ij.dtype == dtype else graph.to(dtype=dtype)), slice(None)
        near = torch.nonzero(graph.r_ij.detach().norm(dim=1) < cutoff)[:, 0]
        edges = {name: getattr(graph, name)[near] for name in ("senders", "receivers", "shifts", "r_ij")}
        return graph.replace(**edges).to(dtype=dtype), near


def _bits(member: torch.nn.Module) -> int:
    """Number of bits of a member's real numbers; 128 if it has none, since it then uses the graph's precision."""
    tensors = [*member.parameters(), *member.buffers()]
    return min((torch.finfo(t.dtype).bits for t in tensors if t.is_floating_point()), default=128)
