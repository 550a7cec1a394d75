"""What the check of a route has seen of a model's autograd graph, in a form that compares from frame to frame."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fluxan.flux.crossings import CrossingSearch

#: Kind and number of crossings in the order of the graph, with the relations of a line graph; and what may hide more of
#: them, without lengths.
Signature = tuple[tuple[str, ...], tuple[str, ...]]


def signature(found: CrossingSearch, *, n_edges: int, n_atoms: int) -> Signature:
    """Signature of one forward pass.

    Lengths of indices change from frame to frame with the number of edges. What stays is whether they are empty, run
    over atoms, over all edges, or over fewer or more than these: a line graph that is empty on one frame, or an inner
    cutoff that drops no edge there, may hide a crossing on the next.
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
