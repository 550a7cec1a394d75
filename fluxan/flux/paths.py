"""Displacements between atoms as paths along the edges of a graph, which determine the periodic image.

Two edges that share an atom have one of four relations, named by the role of that atom in the first and in the second
edge (R: receiver, S: sender). They give the displacement from the receiver of the first to that of the second:

    RR  none        RS  −r_second        SR  +r_first        SS  +r_first − r_second
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.system import Graph

#: Tolerance for equal displacements, Å: different ones differ by a lattice vector.
_SAME = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """One displacement per row: a sum of edge vectors, each times a factor; an empty sum is a displacement of zero.

    Attributes
    ----------
    steps : tuple of (factor, edges)
        Terms of the sum: a factor, scalar or (n_rows,), and the edge of each row, (n_rows,) int64.
    """

    steps: tuple[tuple[float | torch.Tensor, torch.Tensor], ...] = ()

    def __add__(self, other: Path) -> Path:
        """Path along this one, then the other."""
        return Path(self.steps + other.steps)

    def __sub__(self, other: Path) -> Path:
        """Path along this one, then the other backwards."""
        return Path(self.steps + tuple((-factor, edges) for factor, edges in other.steps))

    def at(self, rows: torch.Tensor) -> Path:
        """Path of the given rows."""
        return Path(tuple((f[rows] if isinstance(f, torch.Tensor) else f, edges[rows]) for f, edges in self.steps))

    def sum(self, weights: torch.Tensor) -> torch.Tensor | float:
        """Sum weights (n_edges, ...) along the path of every row; with r_ij this is the displacement."""
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
    """Relation of two edges per row, and the displacement between their receivers.

    Attributes
    ----------
    name : str
        Roles of the shared atom in the first and in the second edge ("RS": receiver and sender); "mixed" where they
        differ from row to row, "" where the edges of some row share no atom, "undecided" where several relations fit.
    path : Path
        From the receiver of the first edge to that of the second.
    doubtful : bool
        Whether some rows by themselves would allow another displacement.
    """

    name: str
    path: Path = Path()
    doubtful: bool = False


def ends_of(graph: Graph, index: torch.Tensor, edges: torch.Tensor) -> list[Path]:
    """Paths from the receivers of edges to the atoms of an index (n_rows,), if these are their receivers or senders."""
    ways = [Path()] if torch.equal(index, graph.receivers[edges]) else []
    return ways + ([Path(((1.0, edges),))] if torch.equal(index, graph.senders[edges]) else [])


def agree(graph: Graph, paths: Sequence[Path]) -> bool:
    """Whether all paths have the same displacements."""
    r_ij = graph.r_ij.detach()
    first = paths[0].sum(r_ij)
    return all(bool((torch.as_tensor(first - p.sum(r_ij)).abs() < _SAME).all()) for p in paths[1:])


def relate(graph: Graph, first: torch.Tensor, second: torch.Tensor) -> Relation:
    """Find the relation of two edges per row, given as indices `first` and `second`, (n_rows,) each.

    A relation that fits all rows is preferred, which may also be that the edges are equal or reverse. Where none fits
    all rows, each row may have its own, but only where no row allows several.
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
    # Relations that fit all rows.
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
    # Otherwise a relation for each row.
    if not bool(fits.any(dim=0).all()):
        return Relation("")
    which = fits.to(torch.uint8).argmax(dim=0)
    way = Path(((which >= 2, first), (-(which % 2), second)))
    doubtful = _differ(way.sum(r_ij), vectors, fits)
    return Relation("undecided" if doubtful else "mixed", way, doubtful)


def _fits(graph: Graph, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Which of the relations RR, RS, SR, SS two edges have, (4, n_rows) bool."""
    ends = (graph.receivers, graph.senders)
    return torch.stack([a[first] == b[second] for a in ends for b in ends])


def _are_reverse(graph: Graph, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Whether the second edge is the reverse of the first, (n_rows,) bool."""
    crossed = (graph.receivers[first] == graph.senders[second]) & (graph.senders[first] == graph.receivers[second])
    return crossed & (graph.shifts[first] == -graph.shifts[second]).all(dim=1)


def _differ(own: torch.Tensor | float, vectors: torch.Tensor, fits: torch.Tensor) -> bool:
    """Whether another relation that fits some row gives it another displacement than `own`."""
    others = (vectors - own).abs().amax(dim=2) > _SAME
    return bool((others & fits).any())
