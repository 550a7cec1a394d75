"""What the check of a route has seen of a model's autograd graph, in a form that compares from frame to frame."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.flux.crossings import Crossing

#: Kind and number of crossings in the order of the graph, and what may hide more of them, without lengths.
Signature = tuple[tuple[str, ...], tuple[str, ...]]


def signature(crossings: Sequence[Crossing], hidden: Sequence[str], *, n_edges: int, n_atoms: int) -> Signature:
    """Signature of one forward pass.

    Lengths of indices change from frame to frame with the number of edges. What stays is whether they are empty, run
    over atoms, over all edges, or over fewer or more than these: a line graph that is empty on one frame, or an inner
    cutoff that drops no edge there, may hide a crossing on the next.
    """

    def length(found: re.Match[str]) -> str:
        n = int(found[0])
        if n in {0, n_edges, n_atoms}:
            return "none" if n == 0 else "edges" if n == n_edges else "atoms"
        return "fewer" if n < n_edges else "more"

    kinds = tuple(
        f"{'gather' if c.slot is None else 'scatter'}{'' if c.rows is None else ', rows'}"
        f"{'' if c.edges is None else ', subset'}"
        for c in crossings
    )
    return kinds, tuple(dict.fromkeys(re.sub(r"\b\d+\b", length, text) for text in hidden))
