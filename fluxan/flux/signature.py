"""Signatures of forward passes: a check of a route holds for all frames with the same signature."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fluxan.flux.crossings import CrossingSearch

#: Kinds of crossings in the order of the graph, with the relations of a line graph; and descriptions of what may hide
#: further crossings, without lengths.
Signature = tuple[tuple[str, ...], tuple[str, ...]]


def signature(found: CrossingSearch, *, n_edges: int, n_atoms: int) -> Signature:
    """Signature of one forward pass.

    Lengths of indices change from frame to frame with the number of edges. The signature holds only whether they are
    zero, the number of atoms, the number of edges, or less or more than that: a line graph that is empty in one frame,
    or an inner cutoff that drops no edge there, may hide a crossing in the next.

    Parameters
    ----------
    found : CrossingSearch
        Result of the search for crossings.
    n_edges, n_atoms : int
        Numbers of edges and atoms of the graph.
    """

    def length(number: re.Match[str]) -> str:
        n = int(number[0])
        if n in {0, n_edges, n_atoms}:
            return "none" if n == 0 else "edges" if n == n_edges else "atoms"
        return "fewer" if n < n_edges else "more"

    kinds = tuple(
        f"{'gather' if c.slot is None else 'scatter'}{'' if c.rows is None else ', rows'}"
        f"{'' if c.edges is None else ', subset'}"
        for c in found.crossings
    )
    hidden = dict.fromkeys(re.sub(r"\b\d+\b", length, text) for text in found.hidden)
    return kinds + found.relations, tuple(hidden)
