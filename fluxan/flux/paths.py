"""Displacements between atoms as paths along the edges of a graph, so that periodic images are right by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.system import Graph

#: Displacements that differ at all differ by a lattice vector, Å.
_SAME = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """One displacement per row: a sum of edges, each times a number; no edge means no displacement.

    Attributes
    ----------
    steps : factor (n_rows,) or scalar, and edge (n_rows,), of every term
    """

    steps: tuple[tuple[float | torch.Tensor, torch.Tensor], ...] = ()

    def __add__(self, other: Path) -> Path:
        """One after the other."""
        return Path(self.steps + other.steps)

    def __sub__(self, other: Path) -> Path:
        """The other one backwards, after this."""
        return Path(self.steps + tuple((-factor, edges) for factor, edges in other.steps))

    def at(self, rows: torch.Tensor) -> Path:
        """The displacements of some rows."""
        return Path(tuple((f[rows] if isinstance(f, torch.Tensor) else f, edges[rows]) for f, edges in self.steps))

    def sum(self, weights: torch.Tensor) -> torch.Tensor | float:
        """Sum of weights (n_edges, ...) along the path of every row."""
        total: torch.Tensor | float = 0.0
        for factor, edges in self.steps:
            term = weights[edges]
            if isinstance(factor, torch.Tensor):
                term = term * factor.to(term).reshape([-1] + [1] * (term.ndim - 1))
            else:
                term = factor * term
            total = total + term
        return total


@dataclass(frozen=True, slots=True)
class Relation:
    """How the receivers of two edges per row lie to each other.

    Attributes
    ----------
    name : role of the shared atom in the first edge and in the second ("RS": receiver and sender); "mixed" where that
        differs from row to row, "" where no rule fits every row, "undecided" where several do
    path : from the first edge's receiver to the second's
    doubtful : some rows alone would allow another displacement
    """

    name: str
    path: Path = Path()
    doubtful: bool = False


def ends_of(graph: Graph, index: torch.Tensor, edges: torch.Tensor) -> list[Path]:
    """Ways from the edges' receivers to the atoms of an index (n_rows,): the receivers, or the senders."""
    ways = [Path()] if torch.equal(index, graph.receivers[edges]) else []
    return ways + ([Path(((1.0, edges),))] if torch.equal(index, graph.senders[edges]) else [])


def agree(graph: Graph, paths: Sequence[Path]) -> bool:
    """Whether paths are the same displacements."""
    r_ij = graph.r_ij.detach()
    first = paths[0].sum(r_ij)
    return all(bool((torch.as_tensor(first - p.sum(r_ij)).abs() < _SAME).all()) for p in paths[1:])


def relate(graph: Graph, first: torch.Tensor, second: torch.Tensor) -> Relation:
    """Find the atom that two edges per row (n_rows,) share.

    One rule has to hold for every row; the two edges may also be the same or the reverse of each other. Where no rule
    fits every row, each row may have its own, but only if that is certain.
    """
    if not len(first):
        return Relation("empty")
    fits = _fits(graph, first, second)
    ways = {
        "RR": Path(),
        "RS": Path(((-1.0, second),)),
        "SR": Path(((1.0, first),)),
        "SS": Path(((1.0, first), (-1.0, second))),
    }
    rules = {name: way for (name, way), fit in zip(ways.items(), fits, strict=True) if bool(fit.all())}
    turned = _are_reverse(graph, first, second)
    if bool(((first == second) | turned).all()):
        rules["same or reverse"] = Path(((turned, first),))
    r_ij = graph.r_ij.detach()
    vectors = torch.stack([way.sum(r_ij) + torch.zeros_like(r_ij[first]) for way in ways.values()])
    if rules:
        name, way = next(iter(rules.items()))
        if not agree(graph, list(rules.values())):
            return Relation("undecided", way, doubtful=True)
        return Relation(name, way, doubtful=_differ(way.sum(r_ij), vectors, fits))
    if not bool(fits.any(dim=0).all()):
        return Relation("")
    which = fits.to(torch.uint8).argmax(dim=0)
    way = Path(((which >= 2, first), (-(which % 2), second)))
    doubtful = _differ(way.sum(r_ij), vectors, fits)
    return Relation("undecided" if doubtful else "mixed", way, doubtful)


def _fits(graph: Graph, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Where (4, n_rows) two edges share an atom as receivers, receiver and sender, sender and receiver, senders."""
    ends = (graph.receivers, graph.senders)
    return torch.stack([a[first] == b[second] for a in ends for b in ends])


def _are_reverse(graph: Graph, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    crossed = (graph.receivers[first] == graph.senders[second]) & (graph.senders[first] == graph.receivers[second])
    return crossed & (graph.shifts[first] == -graph.shifts[second]).all(dim=1)


def _differ(own: torch.Tensor | float, vectors: torch.Tensor, fits: torch.Tensor) -> bool:
    """Whether a row allows another displacement than its own."""
    others = (vectors - own).abs().amax(dim=2) > _SAME
    return bool((others & fits).any())
